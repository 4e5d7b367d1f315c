//! Pokes over a WebSocket: mizu's live protocol, of which only the topics `sync:<scope>` are served.
//!
//! A scope is subscribed to by a frame, or by the query's `scope`. Once it is, its head is told, and then whenever it has
//! moved: as JSON, or on the plan's route as the plan's binary frame. Who takes pokes slowly gets the newest only.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use driftline_protocol::mizu::live::{Frame, MAX_FRAME_BYTES};
use driftline_protocol::mizu::{DEFAULT_SCOPE, plan};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::StreamMap;
use tokio_stream::wrappers::WatchStream;

use super::App;
use super::respond::{Shape, error_response};
use super::sockets::{HEARTBEAT, MAX_SILENT_BEATS, check_socket_origin, upgrade};
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
    upgrade(&app.clone(), socket, Shape::Mizu, MAX_FRAME_BYTES, move |socket| async move {
        Session { app, socket, dialect, scopes: StreamMap::new(), told: HashSet::new() }
            .run(query.scope)
            .await;
    })
}

struct Session {
    app: Arc<App>,
    socket: WebSocket,
    dialect: Dialect,
    scopes: StreamMap<String, WatchStream<u64>>,
    /// Scopes whose names were refused; told once each, so that a client that insists is not answered for ever.
    told: HashSet<String>,
}

impl Session {
    async fn run(mut self, first: Option<String>) {
        let stopping = self.app.stopping.clone();
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_beats = 0;
        if let Some(scope) = first
            && self.subscribe(scope, None).await.is_err()
        {
            return;
        }
        loop {
            let done = tokio::select! {
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
                Some((scope, cursor)) = self.scopes.next() => self.poke(scope, cursor).await,
                _ = heartbeat.tick() => {
                    silent_beats += 1;
                    if silent_beats > MAX_SILENT_BEATS {
                        return;
                    }
                    self.socket.send(Message::Ping(Vec::new().into())).await
                }
            };
            if done.is_err() {
                return;
            }
        }
    }

    /// Frames that are none of sync's are passed over, as the published server does.
    async fn take(&mut self, text: &str) -> std::result::Result<(), axum::Error> {
        match Frame::decode(text) {
            Ok(Frame::Subscribe { scope, reference }) => self.subscribe(scope, Some(reference)).await,
            Ok(Frame::Unsubscribe { scope }) => {
                self.scopes.remove(&scope);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn subscribe(
        &mut self,
        scope: String,
        reference: Option<String>,
    ) -> std::result::Result<(), axum::Error> {
        let listening = self.listen(if scope.is_empty() { DEFAULT_SCOPE } else { &scope }).await;
        let head = match listening {
            Ok(head) => head,
            Err(error) => {
                if self.told.len() < MAX_SCOPES && self.told.insert(scope.clone()) {
                    let frame = Frame::Error { scope, message: error.message().to_owned() };
                    return self.socket.send(Message::text(frame.encode())).await;
                }
                return Ok(());
            }
        };
        if let Some(reference) = reference {
            let frame = Frame::Ack { scope: scope.clone(), reference };
            self.socket.send(Message::text(frame.encode())).await?;
        }
        self.poke(scope, head).await
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

    async fn poke(&mut self, scope: String, cursor: u64) -> std::result::Result<(), axum::Error> {
        let message = match self.dialect {
            Dialect::Json => Message::text(Frame::Poke { scope, cursor }.encode()),
            Dialect::Binary => Message::binary(plan::Poke { scope, cursor }.encode()),
        };
        self.socket.send(message).await
    }
}

const MAX_SCOPES: usize = 100;
