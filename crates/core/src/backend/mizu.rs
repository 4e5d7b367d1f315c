//! mizu's push, pull, snapshot and poke, dialect v0.3 (`spec/sync.md`).
//!
//! Rows stay JSON text here: they are cut out of the answer unread and handed to the value type in one go.

use std::{borrow::Cow, rc::Rc};

use driftline_protocol::mizu::{self as wire, path};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    HttpRequest, HttpResponse, KeyedRows, LiveEndpoint, Method, Pulled, PushItem, PushOutcome, WireFailure,
};
use crate::{Code, ErrorInfo, Failure, FailureKind, Value, view::MutationKind};

/// What a mutation takes on the wire besides its id, name and arguments, in bytes.
pub(super) const ITEM_OVERHEAD_BYTES: usize = 64 + wire::MAX_SCOPE_BYTES;
/// The mutations of one push, in bytes; the envelope takes the rest of the wire's limit.
pub(super) const PUSH_PAYLOAD_MAX_BYTES: usize = wire::MAX_PUSH_BYTES - 4 * 1024;
/// Mutations of one push.
pub(super) const PUSH_MAX_MUTATIONS: usize = wire::MAX_PUSH_MUTATIONS;
/// How long an exchange may take, in milliseconds.
const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// The largest answer to a push or a page, in bytes.
const RESPONSE_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// The largest snapshot, in bytes.
const SNAPSHOT_MAX_BYTES: u64 = 512 * 1024 * 1024;

pub(super) struct Mizu {
    scope: String,
    poke: bool,
}

impl Mizu {
    pub fn new(scope: &str, poke: bool) -> Self {
        Self { scope: scope.to_owned(), poke }
    }

    pub fn live(&self) -> Option<LiveEndpoint> {
        self.poke.then(|| {
            LiveEndpoint::EventSource(format!("{}?scope={}", path::EVENTS, percent_encode(&self.scope)))
        })
    }

    pub fn decode_live(&self, text: &str) -> Result<u64, String> {
        #[derive(Deserialize)]
        struct Poke {
            payload: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            cursor: u64,
        }
        serde_json::from_str::<Poke>(text)
            .map(|poke| poke.payload.cursor)
            .map_err(|error| format!("a poke is not what this wire sends: {error}"))
    }

    pub fn encode_mutation<V: Value>(
        &self,
        id: String,
        entity: &str,
        key: &str,
        kind: MutationKind,
        changes: Option<&V>,
    ) -> Result<PushItem, ErrorInfo> {
        let (verb, args) = match (kind, changes) {
            (MutationKind::Insert, Some(row)) => ("create", with_id(key, row, true)?),
            (MutationKind::Update, Some(changes)) => ("update", with_id(key, changes, false)?),
            _ => ("delete", format!("{{\"id\":{}}}", quoted(key))),
        };
        Ok(PushItem { id, name: format!("{entity}.{verb}"), args })
    }

    pub fn encode_push(&self, items: Vec<PushItem>) -> HttpRequest {
        let mutations = items
            .into_iter()
            .map(|item| {
                let args = RawValue::from_string(item.args).expect("arguments were made by a JSON writer");
                wire::Mutation::new(item.id, self.scope.as_str(), item.name, args)
            })
            .collect();
        post(path::PUSH, &wire::PushRequest { mutations }, RESPONSE_MAX_BYTES)
    }

    pub fn decode_push(
        &self,
        expected: usize,
        response: &HttpResponse,
    ) -> Result<Vec<PushOutcome>, WireFailure> {
        let answer: wire::PushResponse = read(response, Code::InvalidPush)?;
        if answer.results.len() != expected {
            return Err(malformed(
                Code::InvalidPush,
                format!("results: {} of them for {expected} mutations", answer.results.len()),
            ));
        }
        answer
            .results
            .into_iter()
            .map(|result| match result.failure() {
                None => result
                    .cursor
                    .map(|cursor| PushOutcome::Applied { cursor })
                    .ok_or_else(|| malformed(Code::InvalidPush, "results[].cursor is missing".into())),
                Some(failure) => {
                    let text = result.error.unwrap_or_default();
                    let kind = match failure {
                        wire::Failure::Internal => {
                            FailureKind::Temporary { after_ms: None, counts_attempt: true }
                        }
                        _ => FailureKind::Permanent,
                    };
                    let error = ErrorInfo {
                        name: "InvalidPushError".into(),
                        ..ErrorInfo::of(
                            Code::InvalidPush,
                            format!(
                                "the server refused the change: {text}. It was taken back; write it otherwise, or retry it once the server takes it"
                            ),
                        )
                    };
                    Ok(PushOutcome::Refused(Failure { kind, error }))
                }
            })
            .collect()
    }

    pub fn encode_pull(&self, cursor: u64) -> HttpRequest {
        post(
            path::PULL,
            &wire::PullRequest { scope: self.scope.clone(), cursor, limit: Some(wire::MAX_PULL_CHANGES) },
            RESPONSE_MAX_BYTES,
        )
    }

    pub fn decode_pull<V: Value>(
        &self,
        cursor: u64,
        response: &HttpResponse,
    ) -> Result<Pulled<V>, WireFailure> {
        let answer: wire::PullResponse = read(response, Code::InvalidPull)?;
        let changes = answer.changes.unwrap_or_default();
        let mut rows = Rows::default();
        let mut last = cursor;
        for (index, change) in changes.iter().enumerate() {
            if change.cursor <= last {
                return Err(malformed(
                    Code::InvalidPull,
                    format!("changes[{index}].cursor is {} after {last}", change.cursor),
                ));
            }
            last = change.cursor;
            rows.change(change.data.get())
                .map_err(|reason| malformed(Code::InvalidPull, format!("changes[{index}].data: {reason}")))?;
        }
        let next = answer.next_cursor.unwrap_or(last);
        if next < last {
            return Err(malformed(
                Code::InvalidPull,
                format!("next_cursor is {next} after a change at {last}"),
            ));
        }
        if answer.has_more && next == cursor {
            return Err(malformed(Code::InvalidPull, "has_more without progress".into()));
        }
        Ok(Pulled { writes: rows.values()?, cursor: next, has_more: answer.has_more, is_whole: false })
    }

    pub fn encode_snapshot(&self) -> HttpRequest {
        post(path::SNAPSHOT, &wire::SnapshotRequest { scope: self.scope.clone() }, SNAPSHOT_MAX_BYTES)
    }

    pub fn decode_snapshot<V: Value>(&self, response: &HttpResponse) -> Result<Pulled<V>, WireFailure> {
        #[derive(Deserialize)]
        struct Snapshot<'a> {
            #[serde(borrow, default)]
            data: Option<&'a RawValue>,
            cursor: u64,
        }
        let answer: Snapshot<'_> = read(response, Code::InvalidPull)?;
        let mut rows = Rows::default();
        let damaged =
            |at: &str, error: serde_json::Error| malformed(Code::InvalidPull, format!("{at}: {error}"));
        for (plural, entities) in fields(answer.data).map_err(|error| damaged("data", error))? {
            // The wire's convention: rows of the entity `todo` stand under `todos`.
            let entity = plural.strip_suffix('s').unwrap_or(&plural);
            for (key, row) in
                fields(Some(entities)).map_err(|error| damaged(&format!("data.{plural}"), error))?
            {
                rows.put(entity, (&*key).into(), row.get());
            }
        }
        Ok(Pulled { writes: rows.values()?, cursor: answer.cursor, has_more: false, is_whole: true })
    }
}

/// Rows as texts, in order, by entity; turned into values in one go.
#[derive(Default)]
struct Rows<'a> {
    entities: Vec<(String, KeyedRows<usize>)>,
    texts: Vec<&'a str>,
}

impl<'a> Rows<'a> {
    /// `{ "op": …, "<entity>": row }`.
    fn change(&mut self, data: &'a str) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Key {
            id: String,
        }
        let Fields(fields) = serde_json::from_str(data).map_err(|error| error.to_string())?;
        let (_, op) = fields.iter().find(|(name, _)| name == "op").ok_or("op is missing")?;
        let op: &str = serde_json::from_str(op.get()).map_err(|_| "op is not a word")?;
        let (entity, row) = fields.iter().find(|(name, _)| name != "op").ok_or("it names no entity")?;
        let Key { id } = serde_json::from_str(row.get()).map_err(|error| format!("{entity}.id: {error}"))?;
        match op {
            "create" | "update" => self.put(entity, id.into(), row.get()),
            "delete" => self.entity(entity).push((id.into(), None)),
            other => return Err(format!("op is {other:?}")),
        }
        Ok(())
    }

    fn put(&mut self, entity: &str, key: Rc<str>, row: &'a str) {
        let at = self.texts.len();
        self.texts.push(row);
        self.entity(entity).push((key, Some(at)));
    }

    fn entity(&mut self, name: &str) -> &mut KeyedRows<usize> {
        let at = match self.entities.iter().position(|(entity, _)| entity == name) {
            Some(at) => at,
            None => {
                self.entities.push((name.to_owned(), Vec::new()));
                self.entities.len() - 1
            }
        };
        &mut self.entities[at].1
    }

    fn values<V: Value>(self) -> Result<Vec<(String, KeyedRows<V>)>, WireFailure> {
        let values = if self.texts.is_empty() {
            Vec::new()
        } else {
            V::from_json_many(&self.texts).map_err(|reason| malformed(Code::InvalidPull, reason))?
        };
        if values.len() != self.texts.len() {
            return Err(malformed(
                Code::InvalidPull,
                format!("{} rows were read as {} values", self.texts.len(), values.len()),
            ));
        }
        Ok(self
            .entities
            .into_iter()
            .map(|(entity, rows)| {
                (entity, rows.into_iter().map(|(key, at)| (key, at.map(|at| values[at].clone()))).collect())
            })
            .collect())
    }
}

/// A row or its changes as arguments, with the key as `id`. A new row keeps an `id` that it has.
fn with_id<V: Value>(key: &str, value: &V, keep: bool) -> Result<String, ErrorInfo> {
    let refuse = |reason: String| {
        ErrorInfo::of(
            Code::InvalidPush,
            format!(
                "the row {key} can't be sent as JSON: {reason}. The change was taken back; store what JSON can hold"
            ),
        )
    };
    let text = value.to_json().map_err(refuse)?;
    let Fields(fields) = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    if keep && fields.iter().any(|(field, _)| field == "id") {
        return Ok(text);
    }
    let mut args = format!("{{\"id\":{}", quoted(key));
    for (field, value) in fields.iter().filter(|(field, _)| field != "id") {
        args.push(',');
        args.push_str(&quoted(field));
        args.push(':');
        args.push_str(value.get());
    }
    args.push('}');
    Ok(args)
}

/// An object's fields in order, their values unread. A list serves every object here: a map would cost a
/// tree of its own in the wasm, and these have few fields or are walked through once.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Visit)
    }
}

/// A field's name, borrowed unless it is written with escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of an object that may be missing or `null`.
fn fields(object: Option<&RawValue>) -> serde_json::Result<Vec<(Cow<'_, str>, &RawValue)>> {
    match object {
        None => Ok(Vec::new()),
        Some(object) if object.get() == "null" => Ok(Vec::new()),
        Some(object) => serde_json::from_str::<Fields<'_>>(object.get()).map(|Fields(fields)| fields),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

fn post(path: &str, body: &impl serde::Serialize, response_max_bytes: u64) -> HttpRequest {
    let body = serde_json::to_string(body).expect("the wire's own types are always JSON");
    HttpRequest {
        method: Method::Post,
        path: path.to_owned(),
        body,
        timeout_ms: REQUEST_TIMEOUT_MS,
        response_max_bytes,
    }
}

/// Reads an answer, or says what its status means.
fn read<'a, T: Deserialize<'a>>(response: &'a HttpResponse, code: Code) -> Result<T, WireFailure> {
    if response.status == 200 {
        return serde_json::from_str(&response.body).map_err(|error| malformed(code, error.to_string()));
    }
    let said: Option<wire::WireError> = serde_json::from_str(&response.body).ok();
    let text = said.as_ref().map_or("", |said| said.error.as_str());
    let cursor_too_old = response.status == 410;
    let kind = match response.status {
        401 => FailureKind::AuthRequired,
        408 | 425 | 429 | 500..=599 => {
            FailureKind::Temporary { after_ms: response.retry_after_ms, counts_attempt: true }
        }
        _ => FailureKind::Permanent,
    };
    let code = if response.status == 401 { Code::AuthRequired } else { code };
    let error = ErrorInfo::of(code, answered(response.status, text, kind));
    Err(WireFailure { kind, error, cursor_too_old })
}

/// What an answer with an error status means to a person.
fn answered(status: u16, text: &str, kind: FailureKind) -> String {
    let said = if text.is_empty() { String::new() } else { format!(" ({text})") };
    let advice = match kind {
        FailureKind::AuthRequired => "what waits is kept; sign in, then call resume()",
        FailureKind::Permanent => {
            "what it refused is taken back, all else is kept; look at the transaction's error"
        }
        _ => "what waits is kept and sent again",
    };
    format!("the backend answered {status}{said}; {advice}")
}

/// An answer of status 200 that is not what the wire says: the server may have acted, and asking again may help.
fn malformed(code: Code, reason: String) -> WireFailure {
    WireFailure {
        kind: FailureKind::Temporary { after_ms: None, counts_attempt: true },
        error: ErrorInfo::of(
            code,
            format!(
                "the backend's answer is not what this wire sends: {reason}. What waits is kept, and it is asked again; check that client and server speak one version"
            ),
        ),
        cursor_too_old: false,
    }
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
