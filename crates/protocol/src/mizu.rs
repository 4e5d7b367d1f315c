//! mizu/sync's wire as tagged v0.3.10 to v0.5.26: `POST <base>/_sync/push`, `/pull`, `/snapshot`.
//!
//! Requests refuse unknown fields, as that wire does (400); answers tolerate them, so that a newer server can say more.
//! [`plan`] is the dialect before it, [`live`] the WebSocket on which both poke.
//! The frames that these types are held to stand in `tests/vectors/mizu`, copied from transcripts of the real server.
//!
//! ```
//! use driftline_protocol::mizu::{Mutation, PushRequest};
//! use driftline_protocol::RawValue;
//!
//! let args = RawValue::from_string(r#"{"id":"t1","title":"one"}"#.into()).unwrap();
//! let push = PushRequest { mutations: vec![Mutation::new("m1", "s1", "todo.create", args)] };
//! assert_eq!(
//!     serde_json::to_string(&push).unwrap(),
//!     r#"{"mutations":[{"id":"m1","scope":"s1","name":"todo.create","args":{"id":"t1","title":"one"}}]}"#
//! );
//! ```

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

pub mod live;
pub mod plan;

/// Mutations in one push, at most.
pub const MAX_PUSH_MUTATIONS: usize = 100;
/// Bytes of one request's body, at most.
pub const MAX_PUSH_BYTES: usize = 1024 * 1024;
/// Changes in a pull's answer when the request names no limit.
pub const DEFAULT_PULL_CHANGES: u32 = 100;
/// Changes in a pull's answer, at most; a larger limit is lowered to it.
pub const MAX_PULL_CHANGES: u32 = 1000;
/// Bytes of a scope's name, at most.
pub const MAX_SCOPE_BYTES: usize = 256;
/// Bytes of a mutation's id, at most.
pub const MAX_MUTATION_ID_BYTES: usize = 256;
/// Bytes of a mutation's name, at most.
pub const MAX_MUTATION_NAME_BYTES: usize = 256;
/// The scope of a request that names none.
pub const DEFAULT_SCOPE: &str = "_default";

/// Paths under the backend's base URL.
pub mod path {
    /// Where mutations are pushed.
    pub const PUSH: &str = "/_sync/push";
    /// Where changes are pulled.
    pub const PULL: &str = "/_sync/pull";
    /// Where a scope's rows are fetched whole.
    pub const SNAPSHOT: &str = "/_sync/snapshot";
    /// Where pokes are listened for, as server-sent events; the scope is the query's `scope`.
    pub const EVENTS: &str = "/_sync/events";
}

/// Values of [`WireError::code`].
pub mod code {
    /// 400: the body is not a request of this wire, or breaks one of its limits.
    pub const INVALID_MUTATION: &str = "invalid_mutation";
    /// 410: the log has been trimmed past the cursor; a snapshot is needed.
    pub const CURSOR_TOO_OLD: &str = "cursor_too_old";
    /// 403 with "scope not allowed", and 500: the published server has one code for both.
    pub const INTERNAL_ERROR: &str = "internal_error";
    /// No token that the server takes came along.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// 413: the body, or the snapshot, is larger than the limit in the message.
    pub const TOO_LARGE: &str = "too_large";
    /// 404: no such route.
    pub const NOT_FOUND: &str = "not_found";
    /// 405: the route exists for another method.
    pub const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    /// 403: the page's origin is not among those that the server allows.
    pub const ORIGIN_NOT_ALLOWED: &str = "origin_not_allowed";
    /// 408: the request's body did not arrive in time.
    pub const REQUEST_TIMEOUT: &str = "request_timeout";
    /// 503: the server is busy or stopping; try again.
    pub const UNAVAILABLE: &str = "unavailable";
}

/// Body of `POST /_sync/push`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// In the order in which they are applied; 1 to [`MAX_PUSH_MUTATIONS`].
    #[serde(default, deserialize_with = "null_is_default")]
    pub mutations: Vec<Mutation>,
}

/// One state change that a client asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// Idempotency key within its scope. A mutation without one is never recognised as a repetition.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub id: String,
    /// Partition that the change belongs to; empty means [`DEFAULT_SCOPE`].
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub scope: String,
    /// `<entity>.create`, `<entity>.update`, `<entity>.delete`, or a name of the app's own.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// The row for a create, `{ id, ...changes }` for an update, `{ id }` for a delete.
    #[serde(default = "raw_null")]
    pub args: Box<RawValue>,
}

impl Mutation {
    /// Makes a mutation.
    pub fn new(
        id: impl Into<String>,
        scope: impl Into<String>,
        name: impl Into<String>,
        args: Box<RawValue>,
    ) -> Self {
        Self { id: id.into(), scope: scope.into(), name: name.into(), args }
    }

    /// The scope's name, [`DEFAULT_SCOPE`] if the mutation has none.
    pub fn scope(&self) -> &str {
        scope_or_default(&self.scope)
    }
}

/// Answer of `POST /_sync/push`, 200 even if some of the mutations failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PushResponse {
    /// One for each mutation, in the request's order.
    #[serde(default, deserialize_with = "null_is_default")]
    pub results: Vec<MutationResult>,
}

/// What became of one mutation: `{ ok: true, cursor, changes? }` or `{ ok: false, error }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MutationResult {
    /// Whether the mutation is applied, now or by an earlier push.
    pub ok: bool,
    /// The scope's head once it was applied. Never a cursor to pull from: others' changes may lie before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// What it changed; absent if that was nothing, and when the mutation was a repetition.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub changes: Vec<Change>,
    /// Why it was refused; see [`MutationResult::failure`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl MutationResult {
    /// The result of a mutation that is applied.
    pub fn applied(cursor: u64, changes: Vec<Change>) -> Self {
        Self { ok: true, cursor: Some(cursor), changes, error: None }
    }

    /// The result of a mutation that is refused. `error` is one of [`failure`]'s texts, or begins with one and a colon.
    pub fn refused(error: impl Into<String>) -> Self {
        Self { ok: false, cursor: None, changes: Vec::new(), error: Some(error.into()) }
    }

    /// Classifies a refusal; `None` if the mutation is applied. The wire has nothing but the text to go by.
    pub fn failure(&self) -> Option<Failure> {
        if self.ok {
            return None;
        }
        let text = self.error.as_deref().unwrap_or_default();
        let is = |known: &str| {
            text.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        Some(match () {
            () if is(failure::CONFLICT) => Failure::Conflict,
            () if is(failure::NOT_FOUND) => Failure::NotFound,
            () if is(failure::INVALID_MUTATION) => Failure::Invalid,
            () if is(failure::INTERNAL) => Failure::Internal,
            () => Failure::Other,
        })
    }
}

/// Why a mutation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The row to create is there already, or the change contradicts what is there. Permanent.
    Conflict,
    /// The row to change is not there. Permanent.
    NotFound,
    /// The server knows no mutation of that name, or not with those args. Permanent.
    Invalid,
    /// The server failed while it applied the mutation; nothing of it was kept. Temporary.
    Internal,
    /// The app's own reason. Permanent.
    Other,
}

/// Texts of [`MutationResult::error`]; a colon and a detail may follow.
pub mod failure {
    /// See [`Failure::Conflict`](super::Failure::Conflict).
    pub const CONFLICT: &str = "sync: conflict";
    /// See [`Failure::NotFound`](super::Failure::NotFound).
    pub const NOT_FOUND: &str = "sync: not found";
    /// See [`Failure::Invalid`](super::Failure::Invalid).
    pub const INVALID_MUTATION: &str = "sync: invalid mutation";
    /// See [`Failure::Internal`](super::Failure::Internal).
    pub const INTERNAL: &str = "sync: internal error";
}

/// One entry of a scope's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// Position in the log; grows within a scope, with gaps, since all scopes share one counter.
    pub cursor: u64,
    /// Partition that the change belongs to.
    #[serde(default)]
    pub scope: String,
    /// When it was applied, RFC 3339.
    #[serde(default)]
    pub time: String,
    /// `{ op: "create" | "update", <entity>: row }` with the row as it is after the change, or
    /// `{ op: "delete", <entity>: { id } }`; or whatever the app's mutator writes.
    pub data: Box<RawValue>,
}

/// Body of `POST /_sync/pull`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// Partition to read; empty means [`DEFAULT_SCOPE`].
    #[serde(default, deserialize_with = "null_is_default")]
    pub scope: String,
    /// Changes after this one are asked for; 0 for all that the log still has.
    #[serde(default)]
    pub cursor: u64,
    /// Changes wanted at most; absent or 0 means [`DEFAULT_PULL_CHANGES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl PullRequest {
    /// The scope's name, [`DEFAULT_SCOPE`] if the request has none.
    pub fn scope(&self) -> &str {
        scope_or_default(&self.scope)
    }

    /// How many changes may be answered: the limit within its bounds.
    pub fn page_changes(&self) -> u32 {
        match self.limit {
            None | Some(0) => DEFAULT_PULL_CHANGES,
            Some(limit) => limit.min(MAX_PULL_CHANGES),
        }
    }
}

/// Answer of `POST /_sync/pull`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullResponse {
    /// In the log's order; `null` if there are none.
    #[serde(default)]
    pub changes: Option<Vec<Change>>,
    /// Whether the log goes on after these.
    #[serde(default)]
    pub has_more: bool,
    /// Cursor to pull from next; absent if there were no changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<u64>,
}

/// Body of `POST /_sync/snapshot`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRequest {
    /// Partition to read; empty means [`DEFAULT_SCOPE`].
    #[serde(default, deserialize_with = "null_is_default")]
    pub scope: String,
}

impl SnapshotRequest {
    /// The scope's name, [`DEFAULT_SCOPE`] if the request has none.
    pub fn scope(&self) -> &str {
        scope_or_default(&self.scope)
    }
}

/// Rows by id.
pub type Rows = BTreeMap<String, Box<RawValue>>;

/// Answer of `POST /_sync/snapshot`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotResponse {
    /// `{ <entity>s: { <id>: row } }`. An entity without rows is `null` or absent.
    #[serde(default, deserialize_with = "null_is_default")]
    pub data: BTreeMap<String, Option<Rows>>,
    /// The scope's head when the rows were read: the cursor to pull from next.
    pub cursor: u64,
}

/// Body of an answer that is not 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// One of [`code`].
    #[serde(default)]
    pub code: String,
    /// What happened, for a person.
    #[serde(default)]
    pub error: String,
}

/// What a poke says: `{"type":"sync","payload":{"cursor":n}}`, the data of an SSE event `sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poke {
    #[serde(rename = "type")]
    kind: PokeKind,
    payload: PokePayload,
}

impl Poke {
    /// Name of the server-sent event that carries a poke.
    pub const EVENT: &'static str = "sync";

    /// A poke that says where the scope's head is.
    pub fn new(cursor: u64) -> Self {
        Self { kind: PokeKind::Sync, payload: PokePayload { cursor } }
    }

    /// The scope's head when the poke was sent.
    pub fn cursor(&self) -> u64 {
        self.payload.cursor
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PokeKind {
    Sync,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct PokePayload {
    cursor: u64,
}

/// The data of a change that the default mapping writes: `{ op, <entity>: row }`.
///
/// Reads the two members without parsing the row. Errors if there is no `op`, or not exactly one other member.
#[derive(Debug, Clone)]
pub struct EntityChange {
    /// What was done.
    pub op: Op,
    /// The entity's name, without the plural's `s`.
    pub entity: String,
    /// The row after the change; of a delete at least `{ id }`.
    pub row: Box<RawValue>,
}

/// What a change does to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The row is new.
    Create,
    /// The row replaces the one that was there.
    Update,
    /// The row is gone.
    Delete,
}

impl Op {
    /// The name on the wire, as a change's `op` and as the last part of a mutation's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete].into_iter().find(|op| op.as_str() == name)
    }
}

impl EntityChange {
    /// Writes the change's data.
    pub fn to_raw(&self) -> serde_json::Result<Box<RawValue>> {
        serde_json::value::to_raw_value(self)
    }
}

impl Serialize for EntityChange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("op", &self.op)?;
        map.serialize_entry(&self.entity, &self.row)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for EntityChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut members = BTreeMap::<String, Box<RawValue>>::deserialize(deserializer)?;
        let op = members.remove("op").ok_or_else(|| D::Error::missing_field("op"))?;
        let op = serde_json::from_str(op.get()).map_err(D::Error::custom)?;
        let (entity, row) =
            members.pop_first().ok_or_else(|| D::Error::custom("a change without an entity"))?;
        if !members.is_empty() {
            return Err(D::Error::custom("a change with more than one entity"));
        }
        Ok(Self { op, entity, row })
    }
}

fn scope_or_default(scope: &str) -> &str {
    if scope.is_empty() { DEFAULT_SCOPE } else { scope }
}

fn raw_null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// The published server decodes `null` into an absent value, wherever it stands.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
#[path = "mizu_tests.rs"]
mod tests;
