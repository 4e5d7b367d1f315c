//! Pokes as server-sent events: the scope's head at once, then whenever it has moved.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use driftline_protocol::mizu::{DEFAULT_SCOPE, Poke};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::watch;

use super::App;
use super::respond::{Shape, error_response};
use super::sync::read_engine;
use crate::error::Result;

#[derive(Debug, Deserialize)]
pub(super) struct EventsQuery {
    #[serde(default)]
    scope: String,
}

pub(super) async fn events(State(app): State<Arc<App>>, Query(query): Query<EventsQuery>) -> Response {
    match listen(&app, query.scope).await {
        Ok(stream) => {
            let keep_alive = KeepAlive::new().interval(HEARTBEAT);
            let mut response = Sse::new(stream).keep_alive(keep_alive).into_response();
            // Proxies that gather small writes would hold the pokes back.
            response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => error_response(&error, Shape::Mizu),
    }
}

async fn listen(
    app: &App,
    scope: String,
) -> Result<impl Stream<Item = std::result::Result<Event, Infallible>> + use<>> {
    let scope = if scope.is_empty() { DEFAULT_SCOPE.to_owned() } else { scope };
    // The head bounds the scope's name and says whether it is served. Listening before it is read again misses nothing.
    let check = scope.clone();
    read_engine(app, move |engine| engine.head(&check)).await?;
    let listener = app.pokes.listen(&scope)?;
    let head = read_engine(app, move |engine| engine.head(&scope)).await?;
    let first = stream::iter([Ok(event(head).retry(RECONNECT))]);
    let later = stream::unfold((listener, head), next_poke).map(Ok);
    Ok(first.chain(later).take_until(app.stopping.clone().cancelled_owned()))
}

async fn next_poke(
    (mut listener, sent): (watch::Receiver<u64>, u64),
) -> Option<(Event, (watch::Receiver<u64>, u64))> {
    loop {
        let newest = *listener.borrow_and_update();
        if newest > sent {
            return Some((event(newest), (listener, newest)));
        }
        listener.changed().await.ok()?;
    }
}

fn event(cursor: u64) -> Event {
    let data = serde_json::to_string(&Poke::new(cursor)).expect("a poke is plain data");
    Event::default().event(Poke::EVENT).data(data)
}

const HEARTBEAT: Duration = Duration::from_secs(15);
const RECONNECT: Duration = Duration::from_secs(1);
