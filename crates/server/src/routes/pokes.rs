//! Pokes over a WebSocket: mizu's live protocol, of which only the topics `sync:<scope>` are served.
//!
//! A scope is subscribed to by a frame, or by the query's `scope`. Once it is, its head is told, and then whenever it has
//! moved: as JSON, or on the plan's route as the plan's binary frame. Who takes pokes slowly gets the newest only.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use driftline_protocol::mizu::live::{Frame, MAX_FRAME_BYTES};
use driftline_protocol::mizu::{DEFAULT_SCOPE, plan};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio_stream::StreamMap;
use tokio_stream::wrappers::WatchStream;

use super::App;
use super::respond::{Shape, error_response};
use super::sockets::{Client, Session, Step, check_socket_origin, upgrade};
use super::sync::read_engine;
use crate::error::{Error, ErrorKind, Result};

#[derive(Debug, Deserialize)]
pub(super) struct PokesQuery {
    #[serde(default)]
    scope: Option<String>,
}

/// How pokes are written.
#[derive(Debug, Clone, Copy)]
enum Dialect {
    Json,
    Binary,
}

pub(super) async fn json(
    State(app): State<Arc<App>>,
    Query(query): Query<PokesQuery>,
    headers: HeaderMap,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    open(app, query, &headers, socket, Dialect::Json)
}

pub(super) async fn binary(
    State(app): State<Arc<App>>,
    Query(query): Query<PokesQuery>,
    headers: HeaderMap,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    open(app, query, &headers, socket, Dialect::Binary)
}

fn open(
    app: Arc<App>,
    query: PokesQuery,
    headers: &HeaderMap,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    dialect: Dialect,
) -> Response {
    if let Err(error) = check_socket_origin(&app.config, headers) {
        return error_response(&error, Shape::Mizu);
    }
    let session = Connection {
        app: Arc::clone(&app),
        dialect,
        first: query.scope,
        scopes: StreamMap::new(),
        told: HashSet::new(),
    };
    upgrade(&app, socket, Shape::Mizu, MAX_FRAME_BYTES, session)
}

struct Connection {
    app: Arc<App>,
    dialect: Dialect,
    /// The scope that the address names.
    first: Option<String>,
    scopes: StreamMap<String, WatchStream<u64>>,
    /// Scopes whose names were refused; told once each, so that a client that insists is not answered for ever.
    told: HashSet<String>,
}

impl Session for Connection {
    type News = (String, u64);

    async fn begin(&mut self, client: &mut Client) -> Step {
        match self.first.take() {
            Some(scope) => self.subscribe(client, scope, None).await,
            None => Ok(()),
        }
    }

    async fn wait(&mut self) -> Option<Self::News> {
        match self.scopes.next().await {
            Some(news) => Some(news),
            // Nothing is listened to yet: what the client says next changes that.
            None => std::future::pending().await,
        }
    }

    async fn tell(&mut self, client: &mut Client, (scope, cursor): Self::News) -> Step {
        self.poke(client, scope, cursor).await
    }

    /// Frames that are none of sync's are passed over, as the published server does.
    async fn take(&mut self, client: &mut Client, text: &str) -> Step {
        match Frame::decode(text) {
            Ok(Frame::Subscribe { scope, reference }) => self.subscribe(client, scope, Some(reference)).await,
            Ok(Frame::Unsubscribe { scope }) => {
                self.scopes.remove(&scope);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Connection {
    async fn subscribe(&mut self, client: &mut Client, scope: String, reference: Option<String>) -> Step {
        let listening = self.listen(if scope.is_empty() { DEFAULT_SCOPE } else { &scope }).await;
        let head = match listening {
            Ok(head) => head,
            Err(error) => {
                if self.told.len() < MAX_SCOPES && self.told.insert(scope.clone()) {
                    let frame = Frame::Error { scope, message: error.message().to_owned() };
                    return client.send(Message::text(frame.encode())).await;
                }
                return Ok(());
            }
        };
        if let Some(reference) = reference {
            let frame = Frame::Ack { scope: scope.clone(), reference };
            client.send(Message::text(frame.encode())).await?;
        }
        self.poke(client, scope, head).await
    }

    /// Listening before the head is read misses nothing between the two.
    async fn listen(&mut self, scope: &str) -> Result<u64> {
        if self.scopes.len() >= MAX_SCOPES && !self.scopes.contains_key(scope) {
            let text =
                format!("a connection listens to {MAX_SCOPES} scopes at most: this one is not listened to");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let check = scope.to_owned();
        read_engine(&self.app, move |engine| engine.head(&check)).await?;
        let listener = self.app.pokes.listen(scope)?;
        self.scopes.insert(scope.to_owned(), WatchStream::from_changes(listener));
        let scope = scope.to_owned();
        read_engine(&self.app, move |engine| engine.head(&scope)).await
    }

    async fn poke(&mut self, client: &mut Client, scope: String, cursor: u64) -> Step {
        let message = match self.dialect {
            Dialect::Json => Message::text(Frame::Poke { scope, cursor }.encode()),
            Dialect::Binary => Message::binary(plan::Poke { scope, cursor }.encode()),
        };
        client.send(message).await
    }
}

const MAX_SCOPES: usize = 100;
