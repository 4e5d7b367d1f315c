//! Who may use the server: whoever shows one of its tokens, where it has any. It is looked at with each request.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::App;
use super::respond::{Shape, error_response};
use crate::error::{Error, ErrorKind};

/// Lets a request pass that shows a token, and each if the server has none.
pub(super) async fn check_token(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let tokens = &app.config.auth_token;
    // A browser asks without credentials what it may ask with them.
    let is_free = tokens.is_empty() || request.method() == Method::OPTIONS;
    if is_free || shown(&request).is_some_and(|shown| tokens.iter().any(|token| is_same(token, &shown))) {
        return next.run(request).await;
    }
    let text = "this server wants a token that it knows: nothing was done; send one as `Authorization: Bearer`, or over \
                LiveStore's wire as authToken in the payload";
    let shape = Shape::of_path(request.uri().path());
    let mut response = error_response(&Error::new(ErrorKind::Unauthorized, text), shape);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The token that a request shows. In the address it is only taken where the published wire has it there.
fn shown(request: &Request) -> Option<String> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) {
        return Some(token.trim().to_owned());
    }
    if !request.uri().path().starts_with("/livestore") {
        return None;
    }
    #[derive(Deserialize)]
    struct Payloads {
        payload: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        auth_token: String,
    }
    let Query(Payloads { payload }) = Query::try_from_uri(request.uri()).ok()?;
    // This wire percent-encodes it twice.
    let text = percent_decode_str(&payload).decode_utf8().ok()?;
    serde_json::from_str::<Payload>(&text).ok().map(|payload| payload.auth_token)
}

/// Compares digests, so that the time that it takes says nothing of how much is right.
fn is_same(token: &str, shown: &str) -> bool {
    Sha256::digest(token) == Sha256::digest(shown)
}
