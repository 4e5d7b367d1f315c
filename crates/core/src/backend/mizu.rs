//! mizu's push, pull, snapshot and poke, in the dialect of its releases and in that of its plan (`spec/sync.md`).
//!
//! Rows stay JSON text here: they are cut out of the answer unread and handed to the value type in one go.

use std::rc::Rc;

use driftline_protocol::mizu::{self as wire, live, path, plan};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Heard, HttpRequest, HttpResponse, KeyedRows, LiveEndpoint, PulledRows, PushItem, PushLimits, PushOutcome,
    WireFailure,
    json::{Fields, fields, malformed, percent_encode, post, quoted, refusal, with_id},
};
use crate::{
    Code, ErrorInfo, Failure, FailureKind, Value,
    spec::{MizuDialect, MizuPoke},
    view::MutationKind,
};

/// One push; the envelope takes the rest of the wire's limit.
pub(super) const LIMITS: PushLimits = PushLimits {
    items: wire::MAX_PUSH_MUTATIONS,
    bytes: wire::MAX_PUSH_BYTES - 4 * 1024,
    item_overhead_bytes: 64 + wire::MAX_SCOPE_BYTES,
};
/// The largest snapshot, in bytes.
const SNAPSHOT_MAX_BYTES: u64 = 512 * 1024 * 1024;

pub(crate) struct Mizu {
    scope: String,
    dialect: MizuDialect,
    poke: Option<MizuPoke>,
    /// Where pokes come over a WebSocket, if that is not below the remote's address.
    poke_url: Option<String>,
    /// Whether pokes are asked for over a WebSocket just now.
    by_socket: bool,
}

impl Mizu {
    pub fn new(scope: &str, dialect: MizuDialect, poke: Option<MizuPoke>, poke_url: Option<String>) -> Self {
        let by_socket = poke == Some(MizuPoke::WebSocket);
        Self { scope: scope.to_owned(), dialect, poke, poke_url, by_socket }
    }

    pub fn live(&self) -> Option<LiveEndpoint> {
        self.poke?;
        let query = format!("?scope={}", percent_encode(&self.scope));
        Some(if self.by_socket {
            let at = self.poke_url.as_deref().unwrap_or(live::PATH);
            LiveEndpoint::WebSocket(format!("{at}{query}"))
        } else {
            LiveEndpoint::EventSource(format!("{}{query}", path::EVENTS))
        })
    }

    /// What is sent once a connection is open.
    pub fn opened(&self) -> Vec<String> {
        if !self.by_socket {
            return Vec::new();
        }
        vec![live::Frame::Subscribe { scope: self.scope.clone(), reference: "r1".to_owned() }.encode()]
    }

    /// A connection could not be opened: where it is not known how pokes come, the other way is tried.
    pub fn refused(&mut self) {
        if self.poke == Some(MizuPoke::Auto) {
            self.by_socket = !self.by_socket;
        }
    }

    pub fn hear(&self, text: &str) -> Vec<Heard> {
        if text.as_bytes().first() == Some(&plan::POKE_KIND) {
            return match plan::Poke::decode(text.as_bytes()) {
                Ok(Some(poke)) if poke.scope == self.scope => vec![Heard::Head(Some(poke.cursor))],
                Ok(_) => vec![Heard::Alive],
                // A poke that can't be read is a poke all the same.
                Err(_) => vec![Heard::Head(None)],
            };
        }
        if self.by_socket {
            return vec![match live::Frame::decode(text) {
                Ok(live::Frame::Poke { scope, cursor }) if scope == self.scope => Heard::Head(Some(cursor)),
                // What came before it was not told.
                Ok(live::Frame::Ack { .. }) => Heard::Head(None),
                Ok(live::Frame::Error { message, .. }) => Heard::Broken(message),
                _ => Heard::Alive,
            }];
        }
        vec![Heard::Head(serde_json::from_str::<wire::Poke>(text).ok().map(|poke| poke.cursor()))]
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
        let separator = if self.dialect == MizuDialect::Plan { '/' } else { '.' };
        Ok(PushItem { id, name: format!("{entity}{separator}{verb}"), args })
    }

    pub fn encode_push(&self, items: Vec<PushItem>) -> HttpRequest {
        if self.dialect == MizuDialect::Plan {
            let mutations = items.into_iter().map(|item| self.planned(item)).collect();
            return post(path::PUSH, json(&plan::PushRequest { mutations }));
        }
        let mutations = items
            .into_iter()
            .map(|item| {
                let args = RawValue::from_string(item.args).expect("arguments were made by a JSON writer");
                wire::Mutation::new(item.id, self.scope.as_str(), item.name, args)
            })
            .collect();
        post(path::PUSH, json(&wire::PushRequest { mutations }))
    }

    /// A mutation as the plan has it. Its transaction stands for the client there: what a server remembers of a
    /// client is a set or a highest number, and transactions that wait and are tried again come in any order.
    fn planned(&self, item: PushItem) -> plan::Mutation {
        let (client, place) = item.id.split_once(':').unwrap_or((&item.id, "0"));
        plan::Mutation {
            name: item.name,
            args: RawValue::from_string(item.args).expect("arguments were made by a JSON writer"),
            client_seq: place.parse::<u64>().unwrap_or(0) + 1,
            client_id: client.to_owned(),
            scope: self.scope.clone(),
        }
    }

    pub fn decode_push(
        &self,
        expected: usize,
        response: &HttpResponse,
    ) -> Result<Vec<PushOutcome>, WireFailure> {
        if self.dialect == MizuDialect::Plan && response.status == 200 {
            let answer = plan::decode_push(expected, &response.body)
                .map_err(|error| malformed(Code::InvalidPush, error))?;
            let outcomes = answer.results.into_iter().map(|result| {
                if result.ok {
                    return PushOutcome::Applied { cursor: result.cursor };
                }
                let text = result.error.unwrap_or_default();
                PushOutcome::Refused(refused(plan::classify(&text), &text))
            });
            return Ok(outcomes.collect());
        }
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
                    .ok_or_else(|| malformed(Code::InvalidPush, "results[].cursor is missing")),
                Some(failure) => {
                    let text = result.error.unwrap_or_default();
                    Ok(PushOutcome::Refused(refused(failure, &text)))
                }
            })
            .collect()
    }

    pub fn encode_pull(&self, cursor: u64) -> HttpRequest {
        post(
            path::PULL,
            json(&wire::PullRequest {
                scope: self.scope.clone(),
                cursor,
                limit: Some(wire::MAX_PULL_CHANGES),
            }),
        )
    }

    pub fn decode_pull<V: Value>(
        &self,
        cursor: u64,
        response: &HttpResponse,
    ) -> Result<PulledRows<V>, WireFailure> {
        if self.dialect == MizuDialect::Plan && response.status == 200 {
            return planned_pull(cursor, &response.body);
        }
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
            return Err(malformed(Code::InvalidPull, "has_more without progress"));
        }
        Ok(PulledRows { writes: rows.values()?, cursor: next, has_more: answer.has_more, is_whole: false })
    }

    pub fn encode_snapshot(&self) -> HttpRequest {
        HttpRequest {
            response_max_bytes: SNAPSHOT_MAX_BYTES,
            ..post(path::SNAPSHOT, json(&wire::SnapshotRequest { scope: self.scope.clone() }))
        }
    }

    pub fn decode_snapshot<V: Value>(&self, response: &HttpResponse) -> Result<PulledRows<V>, WireFailure> {
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
            // The wire's convention: rows of the entity `todo` stand under `todos`; in the plan, under `todo`.
            let entity = match self.dialect {
                MizuDialect::V03 => plural.strip_suffix('s').unwrap_or(&plural),
                MizuDialect::Plan => &*plural,
            };
            for (key, row) in
                fields(Some(entities)).map_err(|error| damaged(&format!("data.{plural}"), error))?
            {
                rows.put(entity, (&*key).into(), row.get());
            }
        }
        Ok(PulledRows { writes: rows.values()?, cursor: answer.cursor, has_more: false, is_whole: true })
    }
}

/// Reads a page of the plan's dialect.
fn planned_pull<V: Value>(cursor: u64, body: &str) -> Result<PulledRows<V>, WireFailure> {
    let broken = |reason: String| malformed(Code::InvalidPull, reason);
    let answer = plan::decode_pull(body).map_err(|error| broken(error.to_string()))?;
    let changes = answer.changes.unwrap_or_default();
    let mut rows = Rows::default();
    for change in &changes {
        match change.op {
            _ if change.cursor <= cursor => {
                return Err(broken(format!("changes: {} is not behind {cursor}", change.cursor)));
            }
            // What names no row is an app's own affair.
            _ if change.entity.is_empty() => {}
            wire::Op::Delete => rows.entity(&change.entity).push((change.id.as_str().into(), None)),
            _ => rows.put(&change.entity, change.id.as_str().into(), change.data.get()),
        }
    }
    if answer.has_more && answer.cursor <= cursor {
        return Err(broken("has_more without progress".to_owned()));
    }
    Ok(PulledRows {
        writes: rows.values()?,
        cursor: answer.cursor.max(cursor),
        has_more: answer.has_more,
        is_whole: false,
    })
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

fn refused(failure: wire::Failure, text: &str) -> Failure {
    let kind = match failure {
        wire::Failure::Internal => FailureKind::Temporary { after_ms: None, counts_attempt: true },
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
    Failure { kind, error }
}

/// Reads an answer, or says what its status means.
fn read<'a, T: Deserialize<'a>>(response: &'a HttpResponse, code: Code) -> Result<T, WireFailure> {
    if response.status == 200 {
        return serde_json::from_str(&response.body).map_err(|error| malformed(code, error));
    }
    Err(WireFailure { reset: response.status == 410, ..refusal(response, code) })
}

fn json(body: &impl serde::Serialize) -> String {
    serde_json::to_string(body).expect("the wire's own types are always JSON")
}
