//! Backends as pure codecs: what is sent and what came back, without sending anything.

mod mizu;

use std::rc::Rc;

use crate::{ErrorInfo, Failure, FailureKind, TransportError, Value, spec::BackendSpec, view::MutationKind};

/// A request to a remote. The driver adds the address, credentials and `Content-Type: application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// Below the remote's address, with a leading slash.
    pub path: String,
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
    Post,
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

/// Where a live channel is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEndpoint {
    /// Server-sent events at a path below the remote's address; the frames are the events' data.
    EventSource(String),
}

/// The codec of a remote.
pub(crate) struct Codec(mizu::Mizu);

/// Rows by key, in order; `None`: gone.
pub(crate) type KeyedRows<V> = Vec<(Rc<str>, Option<V>)>;

/// Rows that a pull brought, in order, by entity.
pub(crate) struct Pulled<V> {
    pub writes: Vec<(String, KeyedRows<V>)>,
    /// Where the next pull goes on.
    pub cursor: u64,
    pub has_more: bool,
    /// A snapshot: what is not among the rows is gone.
    pub is_whole: bool,
}

/// One mutation on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushItem {
    pub id: String,
    pub name: String,
    /// JSON text.
    pub args: String,
}

impl PushItem {
    /// About how long it is on the wire, in bytes.
    pub fn bytes(&self) -> usize {
        self.id.len() + self.name.len() + self.args.len() + mizu::ITEM_OVERHEAD_BYTES
    }
}

/// What became of one mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// The server has it, at this place in its log or before.
    Applied { cursor: u64 },
    /// The server answered, and did not take it.
    Refused(Failure),
}

/// A whole exchange that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireFailure {
    pub kind: FailureKind,
    pub error: ErrorInfo,
    /// The server's log no longer reaches back to the cursor.
    pub cursor_too_old: bool,
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
                        "the app's function for credentials failed ({reason}); call resume() once they are there"
                    ),
                ),
            ),
        };
        Self { kind, error, cursor_too_old: false }
    }
}

impl Codec {
    pub fn new(spec: &BackendSpec) -> Self {
        match spec {
            BackendSpec::Mizu { scope, poke } => Self(mizu::Mizu::new(scope, *poke)),
        }
    }

    pub fn push_max_bytes(&self) -> usize {
        mizu::PUSH_PAYLOAD_MAX_BYTES
    }

    pub fn push_max_mutations(&self) -> usize {
        mizu::PUSH_MAX_MUTATIONS
    }

    pub fn live(&self) -> Option<LiveEndpoint> {
        self.0.live()
    }

    /// The head that a live frame tells.
    pub fn decode_live(&self, text: &str) -> Result<u64, String> {
        self.0.decode_live(text)
    }

    pub fn encode_mutation<V: Value>(
        &self,
        id: String,
        entity: &str,
        key: &str,
        kind: MutationKind,
        changes: Option<&V>,
    ) -> Result<PushItem, ErrorInfo> {
        self.0.encode_mutation(id, entity, key, kind, changes)
    }

    pub fn encode_push(&self, items: Vec<PushItem>) -> HttpRequest {
        self.0.encode_push(items)
    }

    pub fn decode_push(
        &self,
        expected: usize,
        response: &HttpResponse,
    ) -> Result<Vec<PushOutcome>, WireFailure> {
        self.0.decode_push(expected, response)
    }

    pub fn encode_pull(&self, cursor: u64) -> HttpRequest {
        self.0.encode_pull(cursor)
    }

    pub fn decode_pull<V: Value>(
        &self,
        cursor: u64,
        response: &HttpResponse,
    ) -> Result<Pulled<V>, WireFailure> {
        self.0.decode_pull(cursor, response)
    }

    pub fn encode_snapshot(&self) -> HttpRequest {
        self.0.encode_snapshot()
    }

    pub fn decode_snapshot<V: Value>(&self, response: &HttpResponse) -> Result<Pulled<V>, WireFailure> {
        self.0.decode_snapshot(response)
    }
}
