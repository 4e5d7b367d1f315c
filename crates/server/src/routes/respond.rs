//! Answers made of JSON.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::error::{Error, ErrorKind};

/// Which body an error has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{ code, error }`.
    Mizu,
    /// `{ code, message }`.
    Plain,
}

impl Shape {
    /// The shape of the wire that a path belongs to.
    pub(super) fn of_path(path: &str) -> Self {
        let is_mizu =
            path.starts_with("/_sync/") || path.starts_with("/plan/") || ["/events", "/ws"].contains(&path);
        if is_mizu { Self::Mizu } else { Self::Plain }
    }
}

/// 200 with this value. The line break at the end is the published server's.
pub(super) fn json(value: &impl Serialize) -> Response {
    with_status(StatusCode::OK, value)
}

/// The answer to a request that failed; never cached.
pub(super) fn error_response(error: &Error, shape: Shape) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(%error, cause = ?std::error::Error::source(error), "failed");
    }
    let mut response = match shape {
        Shape::Mizu => with_status(status, &error.to_wire()),
        Shape::Plain => with_status(status, &error.to_body()),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::StorageFull) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

fn with_status(status: StatusCode, value: &impl Serialize) -> Response {
    let mut text = serde_json::to_vec(value).expect("wire types have string keys and no failing parts");
    text.push(b'\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

const JSON: &str = "application/json; charset=utf-8";
const RETRY_AFTER_SECONDS: &str = "2";
