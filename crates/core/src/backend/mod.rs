//! Backends as pure codecs: what is sent and what came back, without sending anything.
//!
//! There are two kinds. A server that **keeps rows** (mizu) merges what it is sent, and tells whole rows and
//! a cursor. A server that **keeps events** (LiveStore, S2) tells events at dense positions, and takes new
//! ones only behind the last: rows are what the events say, in order. And there are two ways to ask: by
//! **requests**, each with its answer, or by **frames** over the live connection.

mod event;
mod json;
mod livestore;
mod livestore03;
mod mizu;
mod s2;

use std::rc::Rc;

pub(crate) use driftline_protocol::livestore::Event;
pub(crate) use event::Page;
pub(crate) use json::{id_of, text_of};

use crate::{
    ErrorInfo, Failure, FailureKind, TransportError, Value,
    spec::{BackendSpec, LiveStoreWire},
    view::MutationKind,
};

/// A request to a remote. The driver adds the address, credentials and `Content-Type: application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// Below the remote's address: a path with a leading slash, a query, both, or nothing.
    pub path: String,
    /// Headers besides the driver's own.
    pub headers: Vec<(&'static str, String)>,
    /// The body's text.
    pub body: String,
    /// When to give up, in milliseconds.
    pub timeout_ms: u64,
    /// The largest answer to read, in bytes.
    pub response_max_bytes: u64,
}

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// `Retry-After` in milliseconds, if it was there.
    pub retry_after_ms: Option<u64>,
    /// The body's text.
    pub body: String,
}

/// Where a live channel is opened, below the remote's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEndpoint {
    /// Server-sent events; the frames are the events' data.
    EventSource(String),
    /// Server-sent events that are read as they come, where a request needs headers; the frames are pieces of
    /// the stream's text, cut anywhere.
    EventStream(String, Vec<(&'static str, String)>),
    /// What the app's own backend calls back with.
    Calls,
    /// A WebSocket; the frames are its text messages, and frames go out over it too ([`crate::Output::SendFrame`]).
    WebSocket(String),
}

/// Where a session stands in a log of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position<'a> {
    /// The last event that was taken; 0 at the beginning.
    pub cursor: u64,
    /// The last event that the log is known to have.
    pub head: u64,
    /// Which log it is, as the backend names it.
    pub identity: Option<&'a str>,
    /// What this device calls itself there.
    pub client: &'a str,
}

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Request(HttpRequest),
    /// Over the live connection, one after the other.
    Frames(Vec<String>),
}

/// Rows by key, in order; `None`: gone.
pub(crate) type KeyedRows<V> = Vec<(Rc<str>, Option<V>)>;

/// What a pull brought.
pub(crate) enum Pulled<V> {
    Rows(PulledRows<V>),
    Events(Page),
}

/// Rows that a pull brought, in order, by entity.
pub(crate) struct PulledRows<V> {
    pub writes: Vec<(String, KeyedRows<V>)>,
    /// Where the next pull goes on.
    pub cursor: u64,
    pub has_more: bool,
    /// A snapshot: what is not among the rows is gone.
    pub is_whole: bool,
}

/// One mutation or event on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushItem {
    /// The transaction's id, with the place in it where there are several.
    pub id: String,
    pub name: String,
    /// JSON text.
    pub args: String,
}

/// What a push was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Each mutation by itself.
    Each(Vec<PushOutcome>),
    /// All events are behind the head that they were meant for.
    Appended,
    /// It was taken, which proves nothing: only what is read back is there.
    Provisional,
    /// The log does not end where they were meant for; where it does, if that was said.
    Ahead(Option<u64>),
}

/// What became of one mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// The server has it, at this place in its log or before.
    Applied { cursor: u64 },
    /// The server answered, and did not take it.
    Refused(Failure),
}

/// What a frame of the live connection says.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// There is something new; where the log ends, if that was said.
    Head(Option<u64>),
    /// Events, asked for or not, and what is sent back once they are taken.
    Page(Page, Option<String>),
    /// The pull that is under way has failed.
    PullFailed(WireFailure),
    /// The answer to the push that is under way.
    Pushed(Result<Pushed, WireFailure>),
    /// The other side is there, and nothing more.
    Alive,
    /// The connection is of no use any more.
    Broken(String),
}

/// A whole exchange that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireFailure {
    pub kind: FailureKind,
    pub error: ErrorInfo,
    /// It is not the log that the cursor is of: begin anew.
    pub reset: bool,
}

impl WireFailure {
    pub fn of_transport(error: &TransportError) -> Self {
        let (kind, error) = match error {
            TransportError::Unreachable(reason) => (
                FailureKind::Unreachable,
                ErrorInfo::of(
                    crate::Code::Offline,
                    format!(
                        "the backend can't be reached ({reason}); what waits is kept and sent when it can be"
                    ),
                ),
            ),
            TransportError::TimedOut => (
                FailureKind::Unreachable,
                ErrorInfo::of(
                    crate::Code::Offline,
                    "the backend did not answer in time; what waits is kept and sent again, under the same keys",
                ),
            ),
            TransportError::TooLarge { limit_bytes } => (
                FailureKind::Temporary { after_ms: None, counts_attempt: false },
                ErrorInfo::of(
                    crate::Code::InvalidPull,
                    format!("the backend's answer was larger than {limit_bytes} bytes and was not read"),
                ),
            ),
            TransportError::Credentials(reason) => (
                FailureKind::AuthRequired,
                ErrorInfo::of(
                    crate::Code::AuthRequired,
                    format!(
                        "there are no credentials that the backend takes ({reason}); what waits is kept. Call resume() once there are"
                    ),
                ),
            ),
        };
        Self { kind, error, reset: false }
    }
}

/// What one push takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PushLimits {
    pub items: usize,
    pub bytes: usize,
    /// What an item takes on the wire besides its id, name and arguments, in bytes.
    pub item_overhead_bytes: usize,
}

impl PushLimits {
    /// About how long an item is on the wire, in bytes.
    pub fn bytes_of(self, item: &PushItem) -> usize {
        item.id.len() + item.name.len() + item.args.len() + self.item_overhead_bytes
    }
}

/// The codec of a remote.
pub(crate) enum Codec {
    Mizu(mizu::Mizu),
    LiveStore(livestore::LiveStore),
    LiveStore03(livestore03::LiveStore03),
    S2(s2::S2),
}

impl Codec {
    pub fn new(spec: &BackendSpec) -> Self {
        match spec {
            BackendSpec::Mizu { scope, dialect, poke, poke_url } => {
                Self::Mizu(mizu::Mizu::new(scope, *dialect, *poke, poke_url.clone()))
            }
            BackendSpec::LiveStore { store_id, wire: LiveStoreWire::V03 } => {
                Self::LiveStore03(livestore03::LiveStore03::new(store_id))
            }
            BackendSpec::LiveStore { store_id, wire } => {
                Self::LiveStore(livestore::LiveStore::new(store_id, *wire))
            }
            BackendSpec::S2 { basin, stream, create } => Self::S2(s2::S2::direct(basin, stream, *create)),
            BackendSpec::S2Proxy { store_id, push_to, ping_to } => {
                Self::S2(s2::S2::proxied(store_id, push_to, ping_to))
            }
        }
    }

    pub fn limits(&self) -> PushLimits {
        match self {
            Self::Mizu(_) => mizu::LIMITS,
            Self::LiveStore(_) | Self::LiveStore03(_) => livestore::LIMITS,
            Self::S2(_) => s2::LIMITS,
        }
    }

    /// Whether the server keeps events at dense positions, and takes new ones only behind the last.
    pub fn keeps_events(&self) -> bool {
        !matches!(self, Self::Mizu(_))
    }

    /// Whether pulls and pushes go over the live connection.
    pub fn asks_by_frames(&self) -> bool {
        match self {
            Self::Mizu(_) | Self::S2(_) => false,
            Self::LiveStore(codec) => codec.asks_by_frames(),
            Self::LiveStore03(_) => true,
        }
    }

    /// Whether what is told of a head may not be stored yet.
    pub fn tells_early(&self) -> bool {
        matches!(self, Self::LiveStore03(_))
    }

    /// Whether the live connection brings events from where it is opened, and so is opened once the rest is there.
    pub fn streams(&self) -> bool {
        matches!(self, Self::S2(_))
    }

    /// How long the live connection may be silent, in milliseconds, where the other side speaks by itself.
    pub fn silence_max_ms(&self) -> Option<u64> {
        self.streams().then_some(driftline_protocol::s2::LIVE_SILENCE_MS)
    }

    pub fn live(&self, at: Position<'_>) -> Option<LiveEndpoint> {
        match self {
            Self::Mizu(codec) => codec.live(),
            Self::LiveStore(codec) => codec.live(),
            Self::LiveStore03(codec) => Some(codec.live()),
            Self::S2(codec) => Some(codec.live(at)),
        }
    }

    /// The live connection is new: what was going on over the last one is over. What is sent over it first.
    pub fn opened(&mut self) -> Vec<String> {
        match self {
            Self::Mizu(codec) => return codec.opened(),
            Self::LiveStore(codec) => codec.opened(),
            Self::LiveStore03(codec) => codec.opened(),
            Self::S2(codec) => codec.opened(),
        }
        Vec::new()
    }

    /// A live connection could not be opened. What is asked by a plain request then, since a page is not told why:
    /// whether the credentials are refused, or nobody is there.
    pub fn refused(&mut self) -> Option<HttpRequest> {
        match self {
            Self::Mizu(codec) => {
                codec.refused();
                None
            }
            Self::LiveStore(codec) => codec.probe(),
            Self::LiveStore03(codec) => Some(codec.probe()),
            Self::S2(_) => None,
        }
    }

    /// What the answer to that says. `true`: it is of use to ask by requests.
    pub fn decode_probe(&mut self, response: &HttpResponse) -> Result<bool, WireFailure> {
        livestore::decode_probe(response)?;
        Ok(match self {
            Self::LiveStore(codec) => codec.fall_back(),
            _ => false,
        })
    }

    /// What shows whether the other side is there; `None` where a pull is what shows it.
    pub fn encode_ping(&mut self) -> Option<Ask> {
        match self {
            Self::Mizu(_) => None,
            Self::LiveStore(codec) => codec.encode_ping(),
            Self::LiveStore03(codec) => Some(Ask::Frames(vec![codec.ping()])),
            Self::S2(codec) => Some(Ask::Request(codec.encode_ping())),
        }
    }

    /// Whether the answer to a ping tells of something that is new.
    pub fn decode_ping(&self, at: Position<'_>, response: &HttpResponse) -> Result<bool, WireFailure> {
        match self {
            Self::Mizu(_) => Ok(false),
            Self::S2(codec) => codec.decode_ping(at, response),
            Self::LiveStore(_) | Self::LiveStore03(_) => livestore::decode_ping(response).map(|()| false),
        }
    }

    /// What a frame of the live connection says.
    pub fn hear(&mut self, text: &str) -> Vec<Heard> {
        match self {
            Self::Mizu(codec) => codec.hear(text),
            Self::LiveStore(codec) => vec![codec.hear(text)],
            Self::LiveStore03(codec) => vec![codec.hear(text)],
            Self::S2(codec) => codec.hear(text),
        }
    }

    /// One mutation in the backend's own names.
    pub fn encode_mutation<V: Value>(
        &self,
        id: String,
        entity: &str,
        key: &str,
        kind: MutationKind,
        changes: Option<&V>,
    ) -> Result<PushItem, ErrorInfo> {
        match self {
            Self::Mizu(codec) => codec.encode_mutation(id, entity, key, kind, changes),
            _ => event::encode_mutation(id, entity, key, kind, changes),
        }
    }

    pub fn encode_push(&mut self, at: Position<'_>, items: Vec<PushItem>) -> Ask {
        match self {
            Self::Mizu(codec) => Ask::Request(codec.encode_push(items)),
            Self::LiveStore(codec) => codec.encode_push(at, items),
            Self::LiveStore03(codec) => codec.encode_push(at, items),
            Self::S2(codec) => codec.encode_push(at, items),
        }
    }

    pub fn decode_push(&self, expected: usize, response: &HttpResponse) -> Result<Pushed, WireFailure> {
        match self {
            Self::Mizu(codec) => codec.decode_push(expected, response).map(Pushed::Each),
            Self::S2(codec) => codec.decode_push(response),
            Self::LiveStore(_) | Self::LiveStore03(_) => livestore::decode_push(response),
        }
    }

    /// Asks for what follows the cursor, or with `whole`, where the server keeps rows, for all of them. Of a server that
    /// keeps events, `whole` asks for what shows that it is the log that the cursor is of.
    pub fn encode_pull(&mut self, at: Position<'_>, whole: bool) -> Ask {
        match self {
            Self::Mizu(codec) if whole => Ask::Request(codec.encode_snapshot()),
            Self::Mizu(codec) => Ask::Request(codec.encode_pull(at.cursor)),
            Self::LiveStore(codec) => codec.encode_pull(at),
            Self::LiveStore03(codec) => codec.encode_pull(at),
            Self::S2(codec) => codec.encode_pull(at, whole),
        }
    }

    pub fn decode_pull<V: Value>(
        &self,
        at: Position<'_>,
        whole: bool,
        response: &HttpResponse,
    ) -> Result<Pulled<V>, WireFailure> {
        match self {
            Self::Mizu(codec) if whole => codec.decode_snapshot(response).map(Pulled::Rows),
            Self::Mizu(codec) => codec.decode_pull(at.cursor, response).map(Pulled::Rows),
            Self::S2(codec) => codec.decode_pull(at, whole, response).map(Pulled::Events),
            Self::LiveStore(_) | Self::LiveStore03(_) => livestore::decode_pull(response).map(Pulled::Events),
        }
    }
}
