//! `/livestore/websocket`: sync-cf 0.3 on the same logs as 0.4.
//!
//! Unlike the published server's, an acknowledgement comes after the events are stored, and what is broadcast is read from the
//! log, so that nobody hears of an event that is not in it. Administration is off: there is no secret that would be right.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use driftline_protocol::livestore::v03::{ClientFrame, Context, ServerFrame};
use driftline_protocol::livestore::{Event, MAX_PUSH_BYTES, MAX_PUSH_EVENTS};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::App;
use super::livestore::{StoreQuery, append, check_store, read_logs};
use super::respond::{Shape, error_response};
use super::sockets::{HEARTBEAT, MAX_SILENT_BEATS, check_socket_origin, upgrade};
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
    upgrade(&app.clone(), socket, Shape::Plain, 2 * MAX_PUSH_BYTES, move |socket| async move {
        Session { app, socket, store: query.store_id, listener, told, pushed: None }.run().await;
    })
}

struct Session {
    app: Arc<App>,
    socket: WebSocket,
    store: String,
    /// The store's head, whenever it has moved.
    listener: watch::Receiver<u64>,
    /// The last event that was broadcast here, or the head when the connection was made.
    told: u64,
    /// The id of the connection's own last push, and the last event of it.
    pushed: Option<(String, u64)>,
}

/// The connection is gone, or must go.
struct Closed;

type Step = std::result::Result<(), Closed>;

impl Session {
    async fn run(mut self) {
        let stopping = self.app.stopping.clone();
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_beats = 0;
        loop {
            let step = tokio::select! {
                () = stopping.cancelled() => {
                    let frame = CloseFrame { code: close_code::AWAY, reason: "the server is stopping".into() };
                    let _ = self.socket.send(Message::Close(Some(frame))).await;
                    return;
                }
                message = self.socket.recv() => {
                    silent_beats = 0;
                    match message {
                        Some(Ok(Message::Text(text))) => self.take(&text).await,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                        Some(Ok(_)) => Ok(()),
                    }
                }
                changed = self.listener.changed() => match changed {
                    Ok(()) => self.broadcast().await,
                    Err(_) => return,
                },
                _ = heartbeat.tick() => {
                    silent_beats += 1;
                    if silent_beats > MAX_SILENT_BEATS {
                        return;
                    }
                    self.socket.send(Message::Ping(Vec::new().into())).await.map_err(|_| Closed)
                }
            };
            if step.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, text: &str) -> Step {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            request_id: String,
        }
        match ClientFrame::decode(text) {
            Ok(ClientFrame::Ping) => self.send(&ServerFrame::Pong).await,
            Ok(ClientFrame::Pull { request_id, cursor }) => {
                self.pull(request_id, cursor.unwrap_or_default()).await
            }
            Ok(ClientFrame::Push { request_id, batch }) => self.push(request_id, batch).await,
            Ok(
                ClientFrame::AdminInfo { request_id, .. } | ClientFrame::AdminResetRoom { request_id, .. },
            ) => self.refuse(request_id, "Invalid admin secret: administration is off on this server").await,
            // What does not say who asks can't be answered; the published server answers neither.
            Err(error) => match serde_json::from_str::<Named>(text) {
                Ok(Named { request_id }) => self.refuse(request_id, &error.to_string()).await,
                Err(_) => Ok(()),
            },
        }
    }

    /// All pages behind the cursor, one after another, as fast as the client takes them.
    async fn pull(&mut self, request_id: String, mut after: u64) -> Step {
        loop {
            let page = match self.page(after).await {
                Ok(page) => page,
                Err(error) => return self.refuse(request_id, error.message()).await,
            };
            after = page.events.last().map_or(after, |stored| stored.event.seq_num);
            let remaining = page.remaining;
            let context = Context::Pull(request_id.clone());
            self.send(&ServerFrame::Page { batch: page.events, context, remaining }).await?;
            if remaining == 0 {
                return Ok(());
            }
        }
    }

    async fn push(&mut self, request_id: String, batch: Vec<Event>) -> Step {
        let pushed = append(&self.app, &self.store, batch, None).await;
        match pushed {
            Ok(Pushed::Head(head)) => {
                self.send(&ServerFrame::PushAck { request_id: request_id.clone() }).await?;
                self.pushed = Some((request_id, head));
                self.broadcast().await
            }
            Ok(Pushed::ServerAhead { head, provided }) => {
                let text = format!("Invalid parent event number. Received e{provided} but expected e{head}");
                self.refuse(request_id, &text).await
            }
            Ok(Pushed::Invalid(text)) => self.refuse(request_id, &text).await,
            // This wire names no backend, so none can be the wrong one.
            Ok(Pushed::OtherBackend { .. }) => self.refuse(request_id, "another backend").await,
            Err(error) => self.refuse(request_id, error.message()).await,
        }
    }

    /// Sends what the log has that this connection has not been told, its own events too.
    async fn broadcast(&mut self) -> Step {
        self.listener.borrow_and_update();
        loop {
            // A log that can't be read now is read at the next poke, and by the client's own pull.
            let Ok(page) = self.page(self.told).await else { return Ok(()) };
            let Some(last) = page.events.last().map(|stored| stored.event.seq_num) else { return Ok(()) };
            self.told = last;
            let own = self.pushed.as_ref().filter(|(_, head)| last <= *head).map(|(id, _)| id.clone());
            let context = Context::Push(own.unwrap_or_else(|| OTHERS_PUSH.to_owned()));
            self.send(&ServerFrame::Page { batch: page.events, context, remaining: 0 }).await?;
            if page.remaining == 0 {
                return Ok(());
            }
        }
    }

    async fn page(&mut self, after: u64) -> Result<crate::livestore::Page> {
        let store = self.store.clone();
        read_logs(&self.app, move |logs| logs.page(&store, after, MAX_PUSH_EVENTS)).await
    }

    async fn refuse(&mut self, request_id: String, message: &str) -> Step {
        self.send(&ServerFrame::Error { request_id, message: message.to_owned() }).await
    }

    async fn send(&mut self, frame: &ServerFrame) -> Step {
        self.socket.send(Message::text(frame.encode())).await.map_err(|_| Closed)
    }
}

/// The id of a push that was not made on this connection; clients look at their own only.
const OTHERS_PUSH: &str = "broadcast";
