//! The server: a small model of mizu's `v0.3` wire that shares no code with the reference server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Something that answers the wire's three requests.
pub trait SyncServer {
    /// Answers a request: status and body.
    fn handle(&mut self, now_ms: u64, path: &str, body: &str) -> (u16, String);

    /// Drops the scope's log entries with cursors below `before`; its rows stay.
    fn trim(&mut self, scope: &str, before: u64);

    /// Forgets what is not durable.
    fn restart(&mut self);
}

/// The model.
#[derive(Debug, Default)]
pub struct Model {
    cursor: u64,
    scopes: BTreeMap<String, Scope>,
}

#[derive(Debug, Default)]
struct Scope {
    rows: BTreeMap<String, Map<String, Value>>,
    log: Vec<(u64, Value)>,
    seen: BTreeSet<String>,
    head: u64,
    floor: u64,
}

impl SyncServer for Model {
    fn handle(&mut self, _now_ms: u64, path: &str, body: &str) -> (u16, String) {
        let too_large = body.len() > REQUEST_MAX_BYTES;
        let Some(body) =
            serde_json::from_str::<Value>(body).ok().filter(|body| body.is_object() && !too_large)
        else {
            return invalid("invalid request body");
        };
        let answer = match path {
            "/_sync/push" => self.push(&body),
            "/_sync/pull" => self.pull(&body),
            "/_sync/snapshot" => self.snapshot(&body),
            _ => return (404, json!({ "code": "not_found", "error": "no such route" }).to_string()),
        };
        match answer {
            Ok(answer) => (200, answer.to_string()),
            Err((410, text)) => (410, json!({ "code": "cursor_too_old", "error": text }).to_string()),
            Err((_, text)) => invalid(text),
        }
    }

    fn trim(&mut self, scope: &str, before: u64) {
        let scope = self.scopes.entry(scope.to_owned()).or_default();
        scope.log.retain(|(cursor, _)| *cursor >= before);
        scope.floor = scope.floor.max(before);
    }

    // Everything it has is durable.
    fn restart(&mut self) {}
}

impl Model {
    fn push(&mut self, body: &Value) -> Result<Value, (u16, &'static str)> {
        only(body, &["mutations"])?;
        let mutations = body["mutations"].as_array().ok_or((400, "invalid request body"))?;
        if mutations.is_empty() {
            return Err((400, "no mutations provided"));
        }
        if mutations.len() > PUSH_MAX_MUTATIONS {
            return Err((400, "too many mutations in batch"));
        }
        for mutation in mutations {
            only(mutation, &["id", "scope", "name", "args"])?;
        }
        let results: Vec<_> = mutations.iter().map(|mutation| self.apply(mutation)).collect();
        Ok(json!({ "results": results }))
    }

    fn apply(&mut self, mutation: &Value) -> Value {
        let name = scope_name(mutation);
        let scope = self.scopes.entry(name.clone()).or_default();
        let id = mutation["id"].as_str().unwrap_or_default().to_owned();
        if !id.is_empty() && scope.seen.contains(&id) {
            return json!({ "ok": true, "cursor": scope.head });
        }
        let data = match scope.mutate(mutation) {
            Ok(Some(data)) => data,
            Ok(None) => {
                scope.seen.insert(id);
                return json!({ "ok": true, "cursor": scope.head });
            }
            Err(error) => return json!({ "ok": false, "error": error }),
        };
        self.cursor += 1;
        scope.head = self.cursor;
        let change =
            json!({ "cursor": self.cursor, "scope": name, "time": "2026-01-01T00:00:00Z", "data": data });
        scope.log.push((self.cursor, change.clone()));
        scope.seen.insert(id);
        json!({ "ok": true, "cursor": self.cursor, "changes": [change] })
    }

    fn pull(&mut self, body: &Value) -> Result<Value, (u16, &'static str)> {
        only(body, &["scope", "cursor", "limit"])?;
        let from = body.get("cursor").map_or(Some(0), Value::as_u64).ok_or((400, "invalid request body"))?;
        let limit = match body["limit"].as_u64() {
            None | Some(0) => PAGE_CHANGES,
            Some(limit) => usize::try_from(limit).unwrap_or(PAGE_MAX_CHANGES).min(PAGE_MAX_CHANGES),
        };
        if body.get("scope").is_some_and(|scope| !scope.is_string()) {
            return Err((400, "invalid request body"));
        }
        let scope = self.scopes.entry(scope_name(body)).or_default();
        if from > 0 && from < scope.floor {
            return Err((410, "sync: cursor too old"));
        }
        let rest: Vec<_> = scope.log.iter().filter(|(cursor, _)| *cursor > from).collect();
        let page = &rest[..rest.len().min(limit)];
        let Some((next, _)) = page.last() else {
            return Ok(json!({ "changes": null, "has_more": false }));
        };
        let changes: Vec<_> = page.iter().map(|(_, change)| change).collect();
        Ok(json!({ "changes": changes, "has_more": rest.len() > limit, "next_cursor": next }))
    }

    fn snapshot(&mut self, body: &Value) -> Result<Value, (u16, &'static str)> {
        only(body, &["scope"])?;
        let scope = self.scopes.entry(scope_name(body)).or_default();
        let data: Map<_, _> =
            scope.rows.iter().map(|(entity, rows)| (format!("{entity}s"), rows.clone().into())).collect();
        Ok(json!({ "data": data, "cursor": scope.head }))
    }
}

impl Scope {
    /// What changes; `None` for the delete of a row that is gone already.
    fn mutate(&mut self, mutation: &Value) -> Result<Option<Value>, &'static str> {
        let (entity, op) = mutation["name"]
            .as_str()
            .and_then(|name| name.rsplit_once('.'))
            .ok_or("sync: invalid mutation")?;
        let args = mutation["args"].as_object().ok_or("sync: invalid mutation")?;
        let id = args.get("id").and_then(Value::as_str).ok_or("sync: invalid mutation")?.to_owned();
        if args.contains_key(REFUSED_FIELD) {
            return Err("sync: invalid mutation: the row is refused");
        }
        let rows = self.rows.entry(entity.to_owned()).or_default();
        let row: Value = match (op, rows.get_mut(&id)) {
            ("create", Some(_)) => return Err("sync: conflict"),
            ("create", None) => args.clone().into(),
            ("update", None) => return Err("sync: not found"),
            ("delete", None) => return Ok(None),
            ("update", Some(row)) => {
                for (field, value) in args {
                    row[field.as_str()] = value.clone();
                }
                row.clone()
            }
            ("delete", Some(_)) => {
                rows.remove(&id);
                return Ok(Some(json!({ "op": op, entity: { "id": id } })));
            }
            _ => return Err("sync: invalid mutation"),
        };
        rows.insert(id, row.clone());
        Ok(Some(json!({ "op": op, entity: row })))
    }
}

/// A row with this field is refused for good.
pub const REFUSED_FIELD: &str = "refused";

fn scope_name(body: &Value) -> String {
    match body["scope"].as_str() {
        None | Some("") => "_default".to_owned(),
        Some(scope) => scope.to_owned(),
    }
}

fn only(body: &Value, fields: &[&str]) -> Result<(), (u16, &'static str)> {
    let known =
        body.as_object().is_some_and(|body| body.keys().all(|field| fields.contains(&field.as_str())));
    if known { Ok(()) } else { Err((400, "invalid request body")) }
}

fn invalid(text: &str) -> (u16, String) {
    (400, json!({ "code": "invalid_mutation", "error": text }).to_string())
}

const PUSH_MAX_MUTATIONS: usize = 100;
const REQUEST_MAX_BYTES: usize = 1024 * 1024;
const PAGE_CHANGES: usize = 100;
const PAGE_MAX_CHANGES: usize = 1_000;
