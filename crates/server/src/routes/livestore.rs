//! `/livestore`: sync-cf 0.4 for LiveStore's published clients and ours, over a WebSocket and over HTTP.
//!
//! Unlike the published server's, a call for another store than the address names is refused, and pages of one pull never
//! overtake each other: what is pushed while a page waits for its acknowledgement comes in the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use driftline_protocol::decode::DecodeError;
use driftline_protocol::livestore::v04::{
    CallRequest, ClientFrame, Cursor, Exit, Failure, OwnedCall, Page, PageInfo, ServerFrame, Transport,
};
use driftline_protocol::livestore::{Event, MAX_PUSH_BYTES, MAX_PUSH_EVENTS};
use serde::Deserialize;
use tokio::sync::watch;

use super::App;
use super::body::read_whole;
use super::respond::{Shape, error_response, json};
use super::sockets::{Client, Session, Step, check_socket_origin, upgrade};
use crate::engine::PokeBroker;
use crate::error::{Error, ErrorKind, Result};
use crate::livestore::{EventLogs, Pushed};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoreQuery {
    pub(super) store_id: String,
}

pub(super) async fn socket(
    State(app): State<Arc<App>>,
    Query(query): Query<StoreQuery>,
    headers: HeaderMap,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Err(error) =
        check_socket_origin(&app.config, &headers).and_then(|()| check_store(&app, &query.store_id))
    {
        return error_response(&error, Shape::Plain);
    }
    let listener = match app.stores.listen(&query.store_id) {
        Ok(listener) => listener,
        Err(error) => return error_response(&error, Shape::Plain),
    };
    let session =
        Connection { app: Arc::clone(&app), store: query.store_id, listener, pulls: BTreeMap::new() };
    upgrade(&app, socket, Shape::Plain, 2 * MAX_PUSH_BYTES, session)
}

pub(super) async fn call(
    State(app): State<Arc<App>>,
    Query(query): Query<StoreQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        check_store(&app, &query.store_id)?;
        let bytes = read_whole(&headers, body, 2 * MAX_PUSH_BYTES).await?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::new(ErrorKind::Invalid, "the body is not UTF-8"))?;
        answer_http(&app, &query.store_id, text).await
    };
    match answer.await {
        Ok(frames) => json(&frames),
        Err(error) => error_response(&error, Shape::Plain),
    }
}

async fn answer_http(app: &App, store: &str, text: &str) -> Result<Vec<ServerFrame>> {
    let request = match ClientFrame::decode(Transport::Http, text) {
        Ok(ClientFrame::Request(request)) => request,
        Ok(_) => {
            return Ok(vec![ServerFrame::Defect { message: "only a Request is taken over HTTP".into() }]);
        }
        Err(error) => return Ok(vec![refusal(Transport::Http, text, &error)]),
    };
    let request_id = request.id;
    if request.store_id != store {
        return Ok(vec![ServerFrame::Exit { request_id, exit: Exit::Failure(other_store()) }]);
    }
    let mut frames = Vec::new();
    let exit = match request.call {
        OwnedCall::Ping => Exit::Success,
        OwnedCall::Push { batch, backend_id } => push(app, store, batch, backend_id).await?,
        OwnedCall::Pull { cursor, .. } => match begin(app, store, cursor).await? {
            Err(failure) => Exit::Failure(failure),
            Ok(mut after) => loop {
                let page = page(app, store, after).await?;
                after = page.batch.last().map_or(after, |stored| stored.event.seq_num);
                let ends = page.page_info == PageInfo::NoMore;
                frames.push(ServerFrame::Chunk { request_id, pages: vec![page] });
                if ends {
                    break Exit::Success;
                }
            },
        },
    };
    frames.push(ServerFrame::Exit { request_id, exit });
    Ok(frames)
}

struct Connection {
    app: Arc<App>,
    store: String,
    /// The store's head, whenever it has moved.
    listener: watch::Receiver<u64>,
    pulls: BTreeMap<u64, Pull>,
}

/// A pull that has not ended.
struct Pull {
    /// The last event that was sent, or where the pull began.
    sent: u64,
    live: bool,
    /// A page waits to be acknowledged.
    is_waiting: bool,
    /// The last page had nothing behind it.
    has_all: bool,
}

impl Session for Connection {
    type News = ();

    async fn begin(&mut self, _: &mut Client) -> Step {
        Ok(())
    }

    async fn wait(&mut self) -> Option<()> {
        self.listener.changed().await.ok()
    }

    async fn tell(&mut self, client: &mut Client, (): ()) -> Step {
        self.advance(client).await
    }

    async fn take(&mut self, client: &mut Client, text: &str) -> Step {
        match ClientFrame::decode(Transport::WebSocket, text) {
            Ok(ClientFrame::Request(request)) => self.request(client, request).await,
            Ok(ClientFrame::Ack { request_id }) => {
                if let Some(pull) = self.pulls.get_mut(&request_id) {
                    pull.is_waiting = false;
                }
                self.advance(client).await
            }
            Ok(ClientFrame::Interrupt { request_id }) => match self.pulls.remove(&request_id) {
                Some(_) => end(client, request_id, Exit::Failure(Failure::Interrupted)).await,
                None => Ok(()),
            },
            Ok(ClientFrame::Ping) => send(client, &ServerFrame::Pong).await,
            Ok(ClientFrame::Eof) => Ok(()),
            Err(error) => send(client, &refusal(Transport::WebSocket, text, &error)).await,
        }
    }
}

impl Connection {
    async fn request(&mut self, client: &mut Client, request: CallRequest) -> Step {
        let id = request.id;
        if request.store_id != self.store {
            return end(client, id, Exit::Failure(other_store())).await;
        }
        match request.call {
            OwnedCall::Push { batch, backend_id } => {
                let pushed = push(&self.app, &self.store, batch, backend_id).await;
                let exit = pushed.unwrap_or_else(|error| Exit::Failure(failed(&error)));
                end(client, id, exit).await
            }
            OwnedCall::Pull { cursor, live } => {
                if self.pulls.len() >= MAX_PULLS || self.pulls.contains_key(&id) {
                    let message =
                        format!("a connection has {MAX_PULLS} pulls at most, each under an id of its own");
                    return end(client, id, Exit::Failure(Failure::Defect { message })).await;
                }
                match begin(&self.app, &self.store, cursor).await {
                    Ok(Ok(sent)) => {
                        self.pulls.insert(id, Pull { sent, live, is_waiting: false, has_all: false });
                        self.advance(client).await
                    }
                    Ok(Err(failure)) => end(client, id, Exit::Failure(failure)).await,
                    Err(error) => end(client, id, Exit::Failure(failed(&error))).await,
                }
            }
            OwnedCall::Ping => end(client, id, Exit::Success).await,
        }
    }

    /// Sends each pull its next page, if it may have one and there is one, and ends those that have all they asked for.
    async fn advance(&mut self, client: &mut Client) -> Step {
        let head = *self.listener.borrow_and_update();
        let ids: Vec<u64> = self.pulls.keys().copied().collect();
        for id in ids {
            let Some(pull) = self.pulls.get(&id).filter(|pull| !pull.is_waiting) else { continue };
            if pull.has_all && !pull.live {
                self.pulls.remove(&id);
                end(client, id, Exit::Success).await?;
                continue;
            }
            // A poke of 0 is none: the listener begins so.
            if pull.has_all && head <= pull.sent {
                continue;
            }
            let (sent, is_first) = (pull.sent, !pull.has_all);
            let page = match page(&self.app, &self.store, sent).await {
                Ok(page) => page,
                Err(error) => {
                    self.pulls.remove(&id);
                    end(client, id, Exit::Failure(failed(&error))).await?;
                    continue;
                }
            };
            let Some(pull) = self.pulls.get_mut(&id) else { continue };
            pull.has_all = page.page_info == PageInfo::NoMore;
            pull.sent = page.batch.last().map_or(sent, |stored| stored.event.seq_num);
            // The first page of a pull says that there is nothing, later ones need not.
            if is_first || !page.batch.is_empty() {
                pull.is_waiting = true;
                send(client, &ServerFrame::Chunk { request_id: id, pages: vec![page] }).await?;
            }
        }
        Ok(())
    }
}

async fn end(client: &mut Client, request_id: u64, exit: Exit) -> Step {
    send(client, &ServerFrame::Exit { request_id, exit }).await
}

async fn send(client: &mut Client, frame: &ServerFrame) -> Step {
    client.send(Message::text(frame.encode())).await
}

/// The place behind which a pull begins, if the cursor is of this log.
async fn begin(app: &App, store: &str, cursor: Option<Cursor>) -> Result<std::result::Result<u64, Failure>> {
    let Some(cursor) = cursor else { return Ok(Ok(0)) };
    let store = store.to_owned();
    let head = read_logs(app, move |logs| logs.head(&store)).await?;
    Ok(if cursor.backend_id == head.backend_id {
        Ok(cursor.event_sequence_number)
    } else {
        Err(Failure::BackendIdMismatch { expected: head.backend_id, received: cursor.backend_id })
    })
}

async fn page(app: &App, store: &str, after: u64) -> Result<Page> {
    let store = store.to_owned();
    let page = read_logs(app, move |logs| logs.page(&store, after, MAX_PUSH_EVENTS)).await?;
    let page_info = match page.remaining {
        0 => PageInfo::NoMore,
        remaining => PageInfo::MoreKnown { remaining },
    };
    Ok(Page { batch: page.events, page_info, backend_id: page.backend_id })
}

async fn push(app: &App, store: &str, batch: Vec<Event>, backend_id: Option<String>) -> Result<Exit> {
    let received = backend_id.clone().unwrap_or_default();
    Ok(match append(app, store, batch, backend_id).await? {
        Pushed::Head(_) => Exit::Success,
        Pushed::ServerAhead { head, provided } => Exit::Failure(Failure::ServerAhead { head, provided }),
        Pushed::OtherBackend { expected } => Exit::Failure(Failure::BackendIdMismatch { expected, received }),
        Pushed::Invalid(message) => {
            Exit::Failure(Failure::Other { name: "InvalidPushError".into(), message })
        }
    })
}

/// Appends a batch, and tells who listens to the store.
pub(super) async fn append(
    app: &App,
    store: &str,
    batch: Vec<Event>,
    backend_id: Option<String>,
) -> Result<Pushed> {
    let (store, stores) = (store.to_owned(), Arc::clone(&app.stores));
    // The poke belongs to the work: a client that goes away meanwhile must not keep it from the others.
    read_logs(app, move |logs| {
        let pushed = logs.push(SystemTime::now(), &store, backend_id.as_deref(), &batch)?;
        if let Pushed::Head(head) = pushed {
            stores.poke(&store, head);
        }
        Ok(pushed)
    })
    .await
}

/// Works on the logs on a thread that may block, a bounded number at a time.
pub(super) async fn read_logs<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&EventLogs) -> Result<T> + Send + 'static,
) -> Result<T> {
    let logs = Arc::clone(&app.event_logs);
    super::sync::read_engine(app, move |_| work(&logs)).await
}

pub(super) fn check_store(app: &App, store: &str) -> Result<()> {
    if !(1..=MAX_STORE_ID_BYTES).contains(&store.len()) {
        let text = format!("storeId has {} bytes, it must have 1 to {MAX_STORE_ID_BYTES}", store.len());
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    if !app.config.allow_scope.is_empty() && !app.config.allow_scope.iter().any(|allowed| allowed == store) {
        return Err(Error::new(ErrorKind::ScopeNotAllowed, "store not allowed"));
    }
    Ok(())
}

fn other_store() -> Failure {
    Failure::Defect { message: "the call names another store than the address: nothing was done".into() }
}

fn failed(error: &Error) -> Failure {
    tracing::error!(%error, cause = ?std::error::Error::source(error), "livestore");
    Failure::Other { name: "UnknownError".into(), message: error.message().to_owned() }
}

/// A call that can't be read fails by its id, if it has a usable one and a known name; all else is a defect.
fn refusal(transport: Transport, text: &str, error: &DecodeError) -> ServerFrame {
    #[derive(Deserialize)]
    struct Call {
        id: String,
        tag: String,
    }
    let message = error.to_string();
    let prefix = match transport {
        Transport::WebSocket => "SyncWsRpc.",
        Transport::Http => "SyncHttpRpc.",
    };
    let known = serde_json::from_str::<Call>(text)
        .ok()
        .filter(|call| call.tag.strip_prefix(prefix).is_some_and(|name| ["Pull", "Push"].contains(&name)));
    match known.and_then(|call| call.id.parse().ok()) {
        Some(request_id) => {
            ServerFrame::Exit { request_id, exit: Exit::Failure(Failure::Defect { message }) }
        }
        None => ServerFrame::Defect { message },
    }
}

const MAX_STORE_ID_BYTES: usize = 256;
const MAX_PULLS: usize = 16;
