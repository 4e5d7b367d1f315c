//! What every WebSocket of the server has in common: who may open one, how many there are, how large a frame is, and the
//! loop that each of them runs in.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::App;
use super::is_allowed_origin;
use super::respond::{Shape, error_response};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

/// How often a client is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client answers each heartbeat by itself; who is silent through so many is gone.
const MAX_SILENT_BEATS: u32 = 3;
/// Sockets at a time, at most.
pub(crate) const MAX_SOCKETS: usize = 4096;

/// Refuses pages of foreign origins: a browser opens a WebSocket to anywhere, and tells only where it is from.
pub(super) fn check_socket_origin(config: &Config, headers: &HeaderMap) -> Result<()> {
    let text =
        |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("invalid"));
    let is_own = match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), host) => origin.split_once("://").is_some_and(|(_, from)| Some(from) == host),
    };
    if is_own || is_allowed_origin(config, headers) {
        return Ok(());
    }
    let text = "a page of this origin may not open a WebSocket here: nothing was done; the server's --allow-origin names \
                the origins that may";
    Err(Error::new(ErrorKind::OriginNotAllowed, text))
}

/// The connection is gone, or must go.
pub(super) struct Closed;

pub(super) type Step = std::result::Result<(), Closed>;

/// The way to the client of one connection.
pub(super) struct Client(WebSocket);

impl Client {
    pub(super) async fn send(&mut self, message: Message) -> Step {
        self.0.send(message).await.map_err(|_| Closed)
    }
}

/// What one connection is about.
pub(super) trait Session: Send + 'static {
    /// What comes from elsewhere and concerns it.
    type News: Send;

    /// What is done once the connection is open.
    fn begin(&mut self, client: &mut Client) -> impl Future<Output = Step> + Send;

    /// What the client says.
    fn take(&mut self, client: &mut Client, text: &str) -> impl Future<Output = Step> + Send;

    /// Waits for news; `None` when there will be none any more, which ends the connection. It may be dropped while it waits,
    /// and called anew.
    fn wait(&mut self) -> impl Future<Output = Option<Self::News>> + Send;

    /// What the client hears of them.
    fn tell(&mut self, client: &mut Client, news: Self::News) -> impl Future<Output = Step> + Send;
}

/// Runs a connection to its end: until the client is gone or silent, or the server stops.
async fn run<S: Session>(socket: WebSocket, stopping: CancellationToken, mut session: S) {
    let mut client = Client(socket);
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent_beats = 0;
    if session.begin(&mut client).await.is_err() {
        return;
    }
    loop {
        let step = tokio::select! {
            () = stopping.cancelled() => {
                let frame = CloseFrame { code: close_code::AWAY, reason: "the server is stopping".into() };
                // A client that is gone already needs no farewell.
                let _ = client.send(Message::Close(Some(frame))).await;
                return;
            }
            message = client.0.recv() => {
                silent_beats = 0;
                match message {
                    Some(Ok(Message::Text(text))) => session.take(&mut client, &text).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => Ok(()),
                }
            }
            news = session.wait() => match news {
                Some(news) => session.tell(&mut client, news).await,
                None => return,
            },
            _ = heartbeat.tick() => {
                silent_beats += 1;
                if silent_beats > MAX_SILENT_BEATS {
                    return;
                }
                client.send(Message::Ping(Vec::new().into())).await
            }
        };
        if step.is_err() {
            return;
        }
    }
}

/// Turns the request into a WebSocket and runs a session on it, or says why not.
pub(super) fn upgrade<S: Session>(
    app: &App,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    shape: Shape,
    max_frame_bytes: usize,
    session: S,
) -> Response {
    let Ok(socket) = socket else {
        let text = "this address takes WebSockets only: nothing was done";
        return error_response(&Error::new(ErrorKind::Invalid, text), shape);
    };
    let Ok(permit) = Arc::clone(&app.sockets).try_acquire_owned() else {
        let text = format!("{MAX_SOCKETS} WebSockets are open, which is the limit; poll, or try again later");
        return error_response(&Error::new(ErrorKind::Unavailable, text), shape);
    };
    let socket = socket.max_message_size(max_frame_bytes).max_frame_size(max_frame_bytes);
    let stopping = app.stopping.clone();
    socket.on_upgrade(move |socket| async move {
        let _permit = permit;
        run(socket, stopping, session).await;
    })
}
