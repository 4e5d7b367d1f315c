//! What the TypeScript face hands in. It is typed there, so that a field of another type is as good as none.

use std::rc::Rc;

use driftline_core::{
    DraftKind, ErrorInfo, Failure, FailureKind, MutationDraft, RemoteSpec, RetryPolicy, Scope,
    StoredMutation, Strategy, Value,
    spec::{
        ApplyEventFn, BackendSpec, CollectionId, EventWrite, LiveStoreWire, Mapping, MergeFn, MigrateFn,
        MizuDialect, MizuPoke, ToEventsFn,
    },
    view::PendingMutationView,
};
use driftline_web::value::{Row, message_of};
use js_sys::{Array, Function, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::{
    as_function,
    to_js::{mutation_to_js, stored_to_js},
};

/// Reads an object's fields.
pub struct Fields<'a>(pub &'a JsValue);

impl Fields<'_> {
    /// A field, or `undefined`.
    pub fn value(&self, field: &str) -> JsValue {
        Reflect::get(self.0, &JsValue::from_str(field)).unwrap_or(JsValue::UNDEFINED)
    }

    /// A text, or an empty one.
    pub fn text(&self, field: &str) -> String {
        self.value(field).as_string().unwrap_or_default()
    }

    /// A number that is not negative.
    pub fn number(&self, field: &str) -> Option<f64> {
        self.value(field).as_f64().filter(|number| *number >= 0.0)
    }

    /// Whether it is true.
    pub fn flag(&self, field: &str) -> bool {
        self.value(field).is_truthy()
    }

    /// An array, or an empty one.
    pub fn array(&self, field: &str) -> Array {
        self.value(field).dyn_into().unwrap_or_default()
    }

    /// An array's texts.
    pub fn texts(&self, field: &str) -> Vec<String> {
        self.array(field).iter().filter_map(|text| text.as_string()).collect()
    }
}

/// Mutations from a flat array: kind (`0` insert, `1` update, `2` delete), collection, key, value, size.
pub fn mutations(flat: &Array) -> Vec<MutationDraft<Row>> {
    let mut mutations = Vec::with_capacity(flat.length() as usize / MUTATION_FIELDS as usize);
    for start in (0..flat.length()).step_by(MUTATION_FIELDS as usize) {
        let value = || Row(flat.get(start + 3));
        let kind = match flat.get(start).as_f64() {
            Some(0.0) => DraftKind::Insert(value()),
            Some(1.0) => DraftKind::Update(value()),
            _ => DraftKind::Delete,
        };
        mutations.push(MutationDraft {
            collection: CollectionId(flat.get(start + 1).as_f64().unwrap_or_default() as u32),
            key: flat.get(start + 2).as_string().unwrap_or_default(),
            kind,
            size_bytes: flat.get(start + 4).as_f64().unwrap_or_default() as u64,
        });
    }
    mutations
}

/// `{ type, scope?, merge? }`, or `None` for `undefined`.
pub fn strategy(strategy: &JsValue) -> Option<Strategy> {
    if strategy.is_undefined() {
        return None;
    }
    let fields = Fields(strategy);
    Some(match fields.text("type").as_str() {
        "parallel" => Strategy::Parallel { merge: fields.value("merge").as_string() },
        _ if fields.text("scope") == "collection" => Strategy::Ordered(Scope::Collection),
        _ => default_strategy(),
    })
}

/// What a collection has that says nothing about it.
pub fn default_strategy() -> Strategy {
    Strategy::Ordered(Scope::Object)
}

/// `{ retries?, baseDelayMs?, maxDelayMs?, jitter? }`.
pub fn retry_policy(policy: &JsValue) -> RetryPolicy {
    let default = RetryPolicy::default();
    if policy.is_undefined() {
        return default;
    }
    let fields = Fields(policy);
    RetryPolicy {
        retries: fields.number("retries").map_or(default.retries, |n| n as u32),
        base_delay_ms: fields.number("baseDelayMs").map_or(default.base_delay_ms, |n| n as u64),
        max_delay_ms: fields.number("maxDelayMs").map_or(default.max_delay_ms, |n| n as u64),
        jitter: fields.value("jitter").as_bool().unwrap_or(default.jitter),
    }
}

/// `{ id, kind, scope, retry?, pingMs? }` and what the kind of backend has.
pub fn remote_spec(spec: &JsValue) -> RemoteSpec {
    let fields = Fields(spec);
    RemoteSpec {
        id: fields.text("id"),
        backend: match fields.text("kind").as_str() {
            "livestore" | "custom" => BackendSpec::LiveStore {
                store_id: fields.text("scope"),
                wire: match fields.text("wire").as_str() {
                    "http" => LiveStoreWire::Http,
                    "calls" => {
                        LiveStoreWire::Calls { ping: fields.flag("canPing"), live: fields.flag("live") }
                    }
                    "auto" => LiveStoreWire::Auto,
                    "0.3" => LiveStoreWire::V03,
                    _ => LiveStoreWire::WebSocket,
                },
            },
            "s2" => BackendSpec::S2 {
                basin: fields.text("basin"),
                stream: fields.text("stream"),
                create: fields.flag("create"),
            },
            "s2Proxy" => BackendSpec::S2Proxy {
                store_id: fields.text("scope"),
                push_to: fields.text("pushTo"),
                ping_to: fields.text("pingTo"),
            },
            _ => BackendSpec::Mizu {
                scope: fields.text("scope"),
                dialect: match fields.text("dialect").as_str() {
                    "plan" => MizuDialect::Plan,
                    _ => MizuDialect::V03,
                },
                poke: match fields.text("poke").as_str() {
                    "ws" => Some(MizuPoke::WebSocket),
                    "sse" => Some(MizuPoke::EventSource),
                    "auto" => Some(MizuPoke::Auto),
                    _ => None,
                },
                poke_url: fields.value("pokeUrl").as_string(),
            },
        },
        retry: retry_policy(&fields.value("retry")),
        ping_ms: fields.number("pingMs").map(|ms| ms as u64),
    }
}

/// Names and functions, one after the other.
pub fn merges(flat: &Array) -> Vec<(String, MergeFn<Row>)> {
    let mut merges: Vec<(String, MergeFn<Row>)> = Vec::new();
    for start in (0..flat.length()).step_by(2) {
        if let (Some(name), Some(function)) = (flat.get(start).as_string(), as_function(flat.get(start + 1)))
        {
            merges.push((name, merge(function)));
        }
    }
    merges
}

/// An app's function for queued work of an older version. A throw is as good as `null`: it can't be made to fit.
pub fn migrate(function: &JsValue) -> Option<MigrateFn<Row>> {
    let function = as_function(function.clone())?;
    Some(Rc::new(move |stored, from| {
        let answer = function
            .call2(&JsValue::UNDEFINED, &stored_to_js(&stored), &JsValue::from(from))
            .ok()
            .filter(JsValue::is_object)?;
        let fields = Fields(&answer);
        let row = |field| Some(fields.value(field)).filter(|value| !value.is_undefined()).map(Row);
        Some(StoredMutation {
            original: row("original"),
            modified: row("modified"),
            changes: row("changes"),
            metadata: row("metadata"),
            ..stored
        })
    }))
}

/// An app's `toEvents` and `applyEvent`.
pub fn mapping(collection: &Fields<'_>) -> Option<Mapping<Row>> {
    let to_events = as_function(collection.value("toEvents"));
    let apply = as_function(collection.value("applyEvent"));
    if to_events.is_none() && apply.is_none() {
        return None;
    }
    Some(Mapping {
        to_events: to_events.map(|function| {
            Rc::new(move |mutation: &PendingMutationView<Row>| {
                let events = function
                    .call1(&JsValue::UNDEFINED, &mutation_to_js(mutation))
                    .map_err(|thrown| message_of(&thrown))?;
                let events: Array = events.dyn_into().map_err(|_| NO_ARRAY.to_owned())?;
                Ok(events
                    .iter()
                    .map(|event| {
                        let fields = Fields(&event);
                        (fields.text("name"), Row(fields.value("args")))
                    })
                    .collect())
            }) as ToEventsFn<Row>
        }),
        apply: apply.map(|function| {
            Rc::new(move |name: &str, args: &Row| {
                let event = crate::to_js::event_to_js(name, args);
                let writes =
                    function.call1(&JsValue::UNDEFINED, &event).map_err(|thrown| message_of(&thrown))?;
                let writes: Array = writes.dyn_into().map_err(|_| NO_ARRAY.to_owned())?;
                Ok(writes
                    .iter()
                    .map(|write| {
                        let fields = Fields(&write);
                        let key = fields.text("key");
                        match fields.text("type").as_str() {
                            "put" => EventWrite::Put(key, Row(fields.value("value"))),
                            "update" => EventWrite::Update(key, Row(fields.value("changes"))),
                            _ => EventWrite::Delete(key),
                        }
                    })
                    .collect())
            }) as ApplyEventFn<Row>
        }),
    })
}

const NO_ARRAY: &str = "it did not give an array";

/// `{ kind, afterMs?, countsAttempt?, name, code, message, original? }`.
pub fn failure(failed: &JsValue) -> Failure {
    let fields = Fields(failed);
    let kind = match fields.text("kind").as_str() {
        "permanent" => FailureKind::Permanent,
        "unreachable" => FailureKind::Unreachable,
        "auth" => FailureKind::AuthRequired,
        _ => FailureKind::Temporary {
            after_ms: fields.number("afterMs").map(|ms| ms as u64),
            counts_attempt: fields.value("countsAttempt").as_bool().unwrap_or(true),
        },
    };
    Failure { kind, error: error_info(failed) }
}

/// `{ name, code, message, original? }`.
pub fn error_info(error: &JsValue) -> ErrorInfo {
    let fields = Fields(error);
    ErrorInfo {
        name: fields.text("name"),
        code: fields.text("code"),
        message: fields.text("message"),
        original: fields.number("original").map(|original| original as u32),
        figures: None,
    }
}

/// An app's merge function. One that throws counts as none: the changes are laid over the row in order.
fn merge(function: Function) -> MergeFn<Row> {
    Rc::new(move |synced, pending| {
        let given = synced.map_or(JsValue::UNDEFINED, |row| row.0.clone());
        let mutations: Array = pending.iter().map(mutation_to_js).collect();
        match function.call2(&JsValue::UNDEFINED, &given, &mutations) {
            Ok(shown) => (!shown.is_undefined()).then_some(Row(shown)),
            Err(_) => pending.iter().fold(synced.cloned(), |row, mutation| match (row, &mutation.changes) {
                (_, None) => None,
                (Some(row), Some(changes)) => Some(row.merge(changes)),
                (None, Some(_)) => mutation.modified.clone(),
            }),
        }
    })
}

const MUTATION_FIELDS: u32 = 5;
