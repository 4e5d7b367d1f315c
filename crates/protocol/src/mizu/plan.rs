//! mizu/sync's wire as first planned: a mutation is known by its client and that client's count, a change names its
//! entity, row and operation, and every answer has the cursor at its top.
//!
//! The first published server does not recognise what it has had before; the reference server does, by
//! `(client_id, client_seq)` within a scope. Requests refuse unknown fields, as that wire does.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Op, Rows, null_is_default, raw_null, scope_or_default};
use crate::decode::{DecodeError, from_json, position};

pub use super::{PullRequest, SnapshotRequest};

/// What errors call this wire.
pub const WIRE: &str = "mizu plan";
/// Bytes of a client's id, at most.
pub const MAX_CLIENT_ID_BYTES: usize = 128;
/// Bytes of a binary poke, at most.
pub const MAX_POKE_BYTES: usize = 4 * 1024;
/// The first byte of a binary poke: its kind in the plan's live protocol.
pub const POKE_KIND: u8 = 0x0B;
/// Bytes of an answer, at most.
const MAX_ANSWER_BYTES: usize = 512 * 1024 * 1024;

/// Body of `POST /_sync/push`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// In the order in which they are applied; 1 to [`super::MAX_PUSH_MUTATIONS`].
    #[serde(default, deserialize_with = "null_is_default")]
    pub mutations: Vec<Mutation>,
}

/// One state change that a client asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// `<entity>/create`, `<entity>/update`, `<entity>/delete`, or a name of the app's own.
    #[serde(default, deserialize_with = "null_is_default")]
    pub name: String,
    /// The row for a create, `{ id, ...changes }` for an update, `{ id }` for a delete.
    #[serde(default = "raw_null")]
    pub args: Box<RawValue>,
    /// Which client this is of. With `client_seq` the idempotency key; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub client_id: String,
    /// Which of its mutations, from 1 on.
    #[serde(default, deserialize_with = "position")]
    pub client_seq: u64,
    /// Partition that the change belongs to; empty means [`super::DEFAULT_SCOPE`].
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub scope: String,
}

impl Mutation {
    /// The scope's name, [`super::DEFAULT_SCOPE`] if the mutation has none.
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
    /// The head once all were applied. Never a cursor to pull from: others' changes may lie before it.
    #[serde(default, deserialize_with = "position")]
    pub cursor: u64,
}

/// What became of one mutation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MutationResult {
    /// Whether the mutation is applied, now or by an earlier push.
    pub ok: bool,
    /// The head once it was applied; 0 if it was not.
    #[serde(default, deserialize_with = "position")]
    pub cursor: u64,
    /// What it changed. Their own cursors and times are not filled in here by the published server.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub changes: Vec<Change>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Texts of [`MutationResult::error`]; a colon and a detail may follow.
pub mod failure {
    /// The server knows no mutation of that name. Permanent.
    pub const UNKNOWN_MUTATION: &str = "sync: unknown mutation";
    /// The row to change is not there. Permanent.
    pub const ENTITY_NOT_FOUND: &str = "sync: entity not found";
}

/// Why a mutation was refused, by the published texts of this dialect and of the one after it.
pub fn classify(error: &str) -> super::Failure {
    let is =
        |known: &str| error.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    if is(failure::UNKNOWN_MUTATION) {
        return super::Failure::Invalid;
    }
    if is(failure::ENTITY_NOT_FOUND) {
        return super::Failure::NotFound;
    }
    super::MutationResult::refused(error).failure().unwrap_or(super::Failure::Other)
}

/// One entry of a scope's log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// Position in the log; grows within a scope, with gaps.
    #[serde(deserialize_with = "position")]
    pub cursor: u64,
    /// Partition that the change belongs to.
    #[serde(default)]
    pub scope: String,
    /// Which kind of row.
    pub entity: String,
    /// Which row.
    pub id: String,
    /// What was done to it.
    pub op: Op,
    /// The row as it is after the change; absent or `null` for a delete.
    #[serde(default = "raw_null")]
    pub data: Box<RawValue>,
    /// When it was applied, RFC 3339.
    #[serde(default)]
    pub ts: String,
}

/// Answer of `POST /_sync/pull`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullResponse {
    /// In the log's order; `null` if there are none.
    #[serde(default)]
    pub changes: Option<Vec<Change>>,
    /// Cursor to pull from next.
    #[serde(deserialize_with = "position")]
    pub cursor: u64,
    /// Whether the log goes on after these.
    #[serde(default)]
    pub has_more: bool,
}

/// Answer of `POST /_sync/snapshot`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotResponse {
    /// `{ <entity>: { <id>: row } }`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub data: BTreeMap<String, Option<Rows>>,
    /// The head when the rows were read: the cursor to pull from next.
    #[serde(deserialize_with = "position")]
    pub cursor: u64,
}

/// Body of an answer that is not 200. The published server has no code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// One of [`super::code`], if the server has any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What happened, for a person.
    #[serde(default)]
    pub error: String,
}

/// What a poke says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poke {
    /// Whose head it is.
    pub scope: String,
    /// Where it is.
    #[serde(deserialize_with = "position")]
    pub cursor: u64,
}

impl Poke {
    /// The poke as a binary frame: [`POKE_KIND`], then JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = [POKE_KIND].to_vec();
        frame.extend(serde_json::to_vec(self).expect("the wire's own types are always JSON"));
        frame
    }

    /// Reads a binary frame of at most [`MAX_POKE_BYTES`]; `None` if it is another kind of the live protocol's.
    ///
    /// # Errors
    /// If it is a poke that can't be read.
    pub fn decode(frame: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some((&POKE_KIND, json)) = frame.split_first() else { return Ok(None) };
        let text = core::str::from_utf8(json)
            .map_err(|error| DecodeError::invalid(WIRE, "", format!("a poke is not UTF-8: {error}")))?;
        from_json(WIRE, MAX_POKE_BYTES, text).map(Some)
    }
}

/// Reads an answer of status 200 to a push of so many mutations.
///
/// # Errors
/// If it is none, or has another number of results.
pub fn decode_push(mutations: usize, text: &str) -> Result<PushResponse, DecodeError> {
    let answer: PushResponse = from_json(WIRE, MAX_ANSWER_BYTES, text)?;
    if answer.results.len() != mutations {
        let detail = format!("{} of them for {mutations} mutations", answer.results.len());
        return Err(DecodeError::invalid(WIRE, "results", detail));
    }
    Ok(answer)
}

/// Reads an answer of status 200 to a pull.
///
/// # Errors
/// If it is none, its changes are not in order, or its cursor lies before them.
pub fn decode_pull(text: &str) -> Result<PullResponse, DecodeError> {
    let answer: PullResponse = from_json(WIRE, MAX_ANSWER_BYTES, text)?;
    let mut last = 0;
    for (index, change) in answer.changes.iter().flatten().enumerate() {
        if change.cursor <= last {
            let detail = format!("{} after {last}", change.cursor);
            return Err(DecodeError::invalid(WIRE, format!("changes[{index}].cursor"), detail));
        }
        last = change.cursor;
    }
    if answer.cursor < last {
        let detail = format!("{} with a change at {last}", answer.cursor);
        return Err(DecodeError::invalid(WIRE, "cursor", detail));
    }
    Ok(answer)
}

/// Reads an answer of status 200 to a snapshot.
///
/// # Errors
/// If it is none.
pub fn decode_snapshot(text: &str) -> Result<SnapshotResponse, DecodeError> {
    from_json(WIRE, MAX_ANSWER_BYTES, text)
}

/// The idempotency key of a mutation within its scope, as the reference server remembers it; `None` without a client.
pub fn idempotency_key(mutation: &Mutation) -> Option<String> {
    if mutation.client_id.is_empty() {
        return None;
    }
    Some(format!("{} {}", mutation.client_seq, mutation.client_id))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
