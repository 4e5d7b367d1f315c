//! `/livestore/websocket`: sync-cf 0.3 on the same logs as 0.4.
//!
//! Unlike the published server's, an acknowledgement comes after the events are stored, and what is broadcast is read from the
//! log, so that nobody hears of an event that is not in it. Administration is off: there is no secret that would be right.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use driftline_protocol::livestore::v03::{ClientFrame, Context, ServerFrame};
use driftline_protocol::livestore::{Event, MAX_PUSH_BYTES, MAX_PUSH_EVENTS};
use serde::Deserialize;
use tokio::sync::watch;

use super::App;
use super::livestore::{StoreQuery, append, check_store, read_logs};
use super::respond::{Shape, error_response};
use super::sockets::{Client, Session, Step, check_socket_origin, upgrade};
use crate::error::Result;
use crate::livestore::Pushed;

pub(super) async fn socket(
    State(app): State<Arc<App>>,
    Query(query): Query<StoreQuery>,
    headers: HeaderMap,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let opened = async {
        check_socket_origin(&app.config, &headers)?;
        check_store(&app, &query.store_id)?;
        // Listening before the head is read misses nothing between the two.
        let listener = app.stores.listen(&query.store_id)?;
        let store = query.store_id.clone();
        let head = read_logs(&app, move |logs| logs.head(&store)).await?;
        Ok((listener, head.seq_num))
    };
    let (listener, told) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return error_response(&error, Shape::Plain),
    };
    let session = Connection { app: Arc::clone(&app), store: query.store_id, listener, told, pushed: None };
    upgrade(&app, socket, Shape::Plain, 2 * MAX_PUSH_BYTES, session)
}

struct Connection {
    app: Arc<App>,
    store: String,
    /// The store's head, whenever it has moved.
    listener: watch::Receiver<u64>,
    /// The last event that was broadcast here, or the head when the connection was made.
    told: u64,
    /// The id of the connection's own last push, and the last event of it.
    pushed: Option<(String, u64)>,
}

impl Session for Connection {
    type News = ();

    async fn begin(&mut self, _: &mut Client) -> Step {
        Ok(())
    }

    async fn wait(&mut self) -> Option<()> {
        self.listener.changed().await.ok()
    }

    async fn tell(&mut self, client: &mut Client, (): ()) -> Step {
        self.broadcast(client).await
    }

    async fn take(&mut self, client: &mut Client, text: &str) -> Step {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            request_id: String,
        }
        match ClientFrame::decode(text) {
            Ok(ClientFrame::Ping) => send(client, &ServerFrame::Pong).await,
            Ok(ClientFrame::Pull { request_id, cursor }) => {
                self.pull(client, request_id, cursor.unwrap_or_default()).await
            }
            Ok(ClientFrame::Push { request_id, batch }) => self.push(client, request_id, batch).await,
            Ok(
                ClientFrame::AdminInfo { request_id, .. } | ClientFrame::AdminResetRoom { request_id, .. },
            ) => {
                refuse(client, request_id, "Invalid admin secret: administration is off on this server").await
            }
            // What does not say who asks can't be answered; the published server answers neither.
            Err(error) => match serde_json::from_str::<Named>(text) {
                Ok(Named { request_id }) => refuse(client, request_id, &error.to_string()).await,
                Err(_) => Ok(()),
            },
        }
    }
}

impl Connection {
    /// All pages behind the cursor, one after another, as fast as the client takes them.
    async fn pull(&mut self, client: &mut Client, request_id: String, mut after: u64) -> Step {
        loop {
            let page = match self.page(after).await {
                Ok(page) => page,
                Err(error) => return refuse(client, request_id, error.message()).await,
            };
            after = page.events.last().map_or(after, |stored| stored.event.seq_num);
            let remaining = page.remaining;
            let context = Context::Pull(request_id.clone());
            send(client, &ServerFrame::Page { batch: page.events, context, remaining }).await?;
            if remaining == 0 {
                return Ok(());
            }
        }
    }

    async fn push(&mut self, client: &mut Client, request_id: String, batch: Vec<Event>) -> Step {
        let pushed = append(&self.app, &self.store, batch, None).await;
        match pushed {
            Ok(Pushed::Head(head)) => {
                send(client, &ServerFrame::PushAck { request_id: request_id.clone() }).await?;
                self.pushed = Some((request_id, head));
                self.broadcast(client).await
            }
            Ok(Pushed::ServerAhead { head, provided }) => {
                let text = format!("Invalid parent event number. Received e{provided} but expected e{head}");
                refuse(client, request_id, &text).await
            }
            Ok(Pushed::Invalid(text)) => refuse(client, request_id, &text).await,
            // This wire names no backend, so none can be the wrong one.
            Ok(Pushed::OtherBackend { .. }) => refuse(client, request_id, "another backend").await,
            Err(error) => refuse(client, request_id, error.message()).await,
        }
    }

    /// Sends what the log has that this connection has not been told, its own events too.
    async fn broadcast(&mut self, client: &mut Client) -> Step {
        self.listener.borrow_and_update();
        loop {
            // A log that can't be read now is read at the next poke, and by the client's own pull.
            let Ok(page) = self.page(self.told).await else { return Ok(()) };
            let Some(last) = page.events.last().map(|stored| stored.event.seq_num) else { return Ok(()) };
            self.told = last;
            let own = self.pushed.as_ref().filter(|(_, head)| last <= *head).map(|(id, _)| id.clone());
            let context = Context::Push(own.unwrap_or_else(|| OTHERS_PUSH.to_owned()));
            send(client, &ServerFrame::Page { batch: page.events, context, remaining: 0 }).await?;
            if page.remaining == 0 {
                return Ok(());
            }
        }
    }

    async fn page(&mut self, after: u64) -> Result<crate::livestore::Page> {
        let store = self.store.clone();
        read_logs(&self.app, move |logs| logs.page(&store, after, MAX_PUSH_EVENTS)).await
    }
}

async fn refuse(client: &mut Client, request_id: String, message: &str) -> Step {
    send(client, &ServerFrame::Error { request_id, message: message.to_owned() }).await
}

async fn send(client: &mut Client, frame: &ServerFrame) -> Step {
    client.send(Message::text(frame.encode())).await
}

/// The id of a push that was not made on this connection; clients look at their own only.
const OTHERS_PUSH: &str = "broadcast";
