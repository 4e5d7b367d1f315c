//! `/_sync/push`, `/pull`, `/snapshot`: mizu's wire as tagged v0.3.10 to v0.5.26.
//!
//! Differs from the published server in one answer: a body over the limit is 413 with the limit in its text, where that
//! server says 400 "invalid request body".

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use driftline_protocol::mizu::MAX_PUSH_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::App;
use super::body::read_whole;
use super::respond::{Shape, error_response, json};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

pub(super) async fn push(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    let apply = async {
        let push = parse(&headers, body).await?;
        let response = app.writer.push(push).await?;
        app.metrics.count_push(&response);
        Ok(json(&response))
    };
    answer(apply.await)
}

pub(super) async fn pull(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    answer(read(&app, &headers, body, Engine::pull).await)
}

pub(super) async fn snapshot(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    answer(read(&app, &headers, body, Engine::snapshot).await)
}

/// Runs a read of the engine on a thread that may block, a bounded number at a time.
pub(super) async fn read_engine<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
) -> Result<T> {
    let busy = || Error::new(ErrorKind::Unavailable, "the server is busy: nothing was read; try again later");
    let permit = timeout(READER_TIMEOUT, Arc::clone(&app.readers).acquire_owned()).await;
    let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
    let engine = Arc::clone(&app.engine);
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&engine)
    });
    done.await.map_err(|error| Error::storage("reading", error))?
}

async fn read<Q, R>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    work: fn(&Engine, &Q) -> Result<R>,
) -> Result<Response>
where
    Q: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
{
    let request: Q = parse(headers, body).await?;
    // Written to text on the same thread: a snapshot can be large.
    read_engine(app, move |engine| work(engine, &request).map(|response| json(&response))).await
}

/// The published server looks at no `Content-Type`, so neither do we; foreign pages are kept out by their origin.
pub(super) async fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T> {
    let bytes = read_whole(headers, body, MAX_PUSH_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|_| Error::new(ErrorKind::Invalid, "invalid request body"))
}

pub(super) fn answer(result: Result<Response>) -> Response {
    result.unwrap_or_else(|error| error_response(&error, Shape::Mizu))
}

const READER_TIMEOUT: Duration = Duration::from_secs(10);
