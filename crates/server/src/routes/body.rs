//! Reading requests' bodies within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};

/// Reads a body of at most `limit` bytes into memory.
///
/// # Errors
/// [`ErrorKind::TooLarge`], [`ErrorKind::RequestTimeout`], or [`ErrorKind::Invalid`] if the connection broke.
pub(super) async fn read_whole(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes> {
    let too_large = |size| {
        let text = format!(
            "the request's body has more than {limit} bytes, the limit: nothing was done; send less at a time"
        );
        Error::new(ErrorKind::TooLarge, text).with_limit(limit as u64, size)
    };
    if let Some(length) = content_length(headers).filter(|length| *length > limit as u64) {
        drain(body);
        return Err(too_large(Some(length)));
    }
    let read = async {
        let mut whole = BytesMut::new();
        while let Some(bytes) = next_bytes(&mut body).await? {
            if whole.len() + bytes.len() > limit {
                return Err(too_large(None));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    };
    let result = timeout(WHOLE_BODY_TIMEOUT, read).await.unwrap_or_else(|_| Err(timed_out()));
    if result.is_err() {
        drain(body);
    }
    result
}

/// The body's next bytes; `None` at its end.
///
/// # Errors
/// [`ErrorKind::RequestTimeout`] if none come for [`IDLE_TIMEOUT`], [`ErrorKind::Invalid`] if the connection broke.
pub(super) async fn next_bytes(body: &mut Body) -> Result<Option<Bytes>> {
    loop {
        let frame = timeout(IDLE_TIMEOUT, body.frame()).await.map_err(|_| timed_out())?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Some(Err(_)) => {
                let text = "the request's body ended early: send it again";
                return Err(Error::new(ErrorKind::Invalid, text));
            }
        }
    }
}

/// Goes on reading a body whose answer is clear already, so that the client gets to read that answer: many send all they
/// have first, and see a broken connection if nobody takes it. Bounded; past the bound the connection is closed.
pub(super) fn drain(mut body: Body) {
    tokio::spawn(timeout(DRAIN_TIMEOUT, async move {
        let mut left = MAX_DRAIN_BYTES;
        while let Ok(Some(bytes)) = next_bytes(&mut body).await {
            left = left.saturating_sub(bytes.len() as u64);
            if left == 0 {
                break;
            }
        }
    }));
}

/// What `Content-Length` says.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn timed_out() -> Error {
    Error::new(
        ErrorKind::RequestTimeout,
        "the request's body stopped arriving: what was stored is kept; send the rest again",
    )
}

const WHOLE_BODY_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_DRAIN_BYTES: u64 = 256 * 1024 * 1024;
