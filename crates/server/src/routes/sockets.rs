//! What every WebSocket of the server has in common: who may open one, how many there are, how large a frame is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, header};
use axum::response::Response;

use super::App;
use super::is_allowed_origin;
use super::respond::{Shape, error_response};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};

/// How often a client is asked whether it is there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client answers each heartbeat by itself; who is silent through so many is gone.
pub(super) const MAX_SILENT_BEATS: u32 = 3;
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

/// Turns the request into a WebSocket and runs `session` on it, or says why not.
pub(super) fn upgrade<F: Future<Output = ()> + Send + 'static>(
    app: &App,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    shape: Shape,
    max_frame_bytes: usize,
    session: impl FnOnce(WebSocket) -> F + Send + 'static,
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
    socket.on_upgrade(move |socket| async move {
        let _permit = permit;
        session(socket).await;
    })
}
