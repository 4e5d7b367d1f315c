//! What is handed out to the TypeScript face, which knows it by the types in `js/wire.ts`.

use driftline_core::{
    CommitError, Error, ErrorInfo, Output, StoredMutation, TxEvent,
    view::{AttemptView, PendingMutationView, StatusView, TransactionView},
};
use driftline_web::value::Row;
use js_sys::{Array, Object, Reflect};
use std::cell::RefCell;
use wasm_bindgen::JsValue;

use crate::recent::{Recent, id_text};

/// What happened, in order, in one flat array: a tag, then as many values as the tag says.
pub fn told_to_js(outputs: Vec<Output<Row>>, texts: &Recent) -> JsValue {
    let flat = Array::new();
    let number = |n: u32| JsValue::from_f64(f64::from(n));
    let op = |op: driftline_core::OpId| JsValue::from_f64(op.0 as f64);
    let tell = |tag: u32, values: &[JsValue]| {
        flat.push(&number(tag));
        for value in values {
            flat.push(value);
        }
    };
    for output in outputs {
        match output {
            Output::Rows(collection, changes) => {
                for change in changes {
                    tell(
                        0,
                        &[
                            number(collection.0),
                            texts.key(&change.key),
                            row(change.value),
                            row(change.previous),
                        ],
                    );
                }
            }
            Output::SyncedRows(collection) => tell(1, &[number(collection.0)]),
            Output::Transaction(id, event) => {
                let (kind, error, cause) = match event {
                    TxEvent::Changed => (0, None, None),
                    TxEvent::Durable => (1, None, None),
                    TxEvent::NotDurable(error) => (2, Some(error), None),
                    TxEvent::Persisted => (3, None, None),
                    TxEvent::Completed => (4, None, None),
                    TxEvent::Failed { error, cause } => (5, Some(error), cause),
                    TxEvent::Discarded => (6, None, None),
                };
                tell(2, &[texts.id(id), number(kind), error_info(error.as_ref()), optional_text(cause)]);
            }
            Output::Ready(collection) => tell(3, &[number(collection.0)]),
            Output::Synced(collection) => tell(4, &[number(collection.0)]),
            Output::Status => tell(5, &[]),
            Output::Error { code, error, transaction } => {
                tell(6, &[code.as_str().into(), error_info(Some(&error)), optional_text(transaction)]);
            }
            Output::Persist { op: id, transaction, collection, function, attempt } => {
                tell(
                    7,
                    &[
                        op(id),
                        texts.id(transaction),
                        number(collection.0),
                        optional_text(function),
                        number(attempt),
                    ],
                );
            }
            Output::AwaitSync { op: id, transaction, collection, function } => {
                tell(8, &[op(id), texts.id(transaction), number(collection.0), optional_text(function)]);
            }
            Output::Cancel(id) => tell(9, &[op(id)]),
            Output::StartSync(collection) => tell(10, &[number(collection.0)]),
            Output::StopSync(collection) => tell(11, &[number(collection.0)]),
            Output::Rekeyed { collection, from, to } => {
                tell(12, &[number(collection.0), from.into(), to.into()])
            }
            Output::Pinged(remote, failed) => tell(13, &[number(remote.0), error_info(failed.as_ref())]),
            // The driver keeps the rest to itself.
            _ => {}
        }
    }
    flat.into()
}

/// `{ code, message, limit?, actual? }`.
pub fn error_to_js(error: &Error) -> JsValue {
    Built::new()
        .with("code", error.code.as_str())
        .with("message", error.message.as_str())
        .with_some("limit", error.limit.map(|n| n as f64))
        .with_some("actual", error.actual.map(|n| n as f64))
        .done()
}

/// A failed write beside the journal, in the same form.
pub fn commit_error_to_js(error: &CommitError) -> JsValue {
    let built = Built::new();
    match error {
        CommitError::Quota { usage_bytes, quota_bytes } => built
            .with("code", "quota_exceeded")
            .with("message", "The browser has no room left for this site. Nothing was written; free some space and try again.")
            .with("limit", *quota_bytes as f64)
            .with("actual", *usage_bytes as f64),
        CommitError::NotCloneable(text) => built.with("code", "not_cloneable").with("message", text.as_str()),
        CommitError::Fenced(_) => built.with("code", "unexpected").with("message", "Another tab has taken over."),
        CommitError::Unavailable(text) => built.with("code", "storage_unavailable").with("message", text.as_str()),
    }
    .done()
}

/// A transaction as it stands; times are milliseconds since the epoch.
pub fn transaction_to_js(view: &TransactionView<Row>) -> JsValue {
    Built::new()
        .with("id", id_text(view.id))
        .with("idempotencyKey", view.idempotency_key.as_str())
        .with("state", name(view.state.as_str()))
        .with("createdAt", view.created_at.0 as f64)
        .with("updatedAt", view.updated_at.0 as f64)
        .with("mutations", view.mutations.iter().map(mutation_to_js).collect::<Array>())
        .with("attempts", view.attempts.iter().map(attempt_to_js).collect::<Array>())
        .with("currentAttempt", view.current_attempt)
        .with_some("queuedBehind", view.queued_behind.map(|id| id.to_string()))
        .with_some("metadata", view.metadata.as_ref().map(|metadata| metadata.0.clone()))
        .with_some("function", view.function.as_deref())
        .with("error", error_info(view.error.as_ref()))
        .with_some("cause", view.cause.map(|id| id.to_string()))
        .with("durable", view.durable)
        .with("warning", error_info(view.warning.as_ref()))
        .done()
}

/// One change of a transaction to one object.
pub fn mutation_to_js(view: &PendingMutationView<Row>) -> JsValue {
    Built::new()
        .with("mutationId", view.mutation_id.as_str())
        .with("collection", view.collection.as_str())
        .with("key", view.key.as_str())
        .with("type", name(view.kind.as_str()))
        .with("original", row(view.original.clone()))
        .with("modified", row(view.modified.clone()))
        .with("changes", row(view.changes.clone()))
        .with("metadata", row(view.metadata.clone()))
        .done()
}

/// An event, for the app's `applyEvent`.
pub fn event_to_js(name: &str, args: &Row) -> JsValue {
    Built::new().with("name", name).with("args", args.0.clone()).done()
}

/// A queued mutation, for the app's `migrate`.
pub fn stored_to_js(stored: &StoredMutation<Row>) -> JsValue {
    Built::new()
        .with("collection", stored.collection.as_str())
        .with("version", stored.version)
        .with("key", stored.key.as_str())
        .with("type", stored.kind.as_str())
        .with("original", row(stored.original.clone()))
        .with("modified", row(stored.modified.clone()))
        .with("changes", row(stored.changes.clone()))
        .with("metadata", row(stored.metadata.clone()))
        .done()
}

/// What stands and why; `leader` has number and flag of each collection, one after the other.
pub fn status_to_js(view: &StatusView) -> JsValue {
    let leader = Array::new();
    for (collection, leads) in &view.leader {
        leader.push(&JsValue::from_f64(f64::from(collection.0)));
        leader.push(&JsValue::from_bool(*leads));
    }
    let oldest = view.oldest_waiting.as_ref().map(|oldest| {
        Built::new()
            .with("since", oldest.since.0 as f64)
            .with("transactionId", oldest.transaction.to_string())
            .with("why", oldest.why.as_str())
            .done()
    });
    let paused = view.paused.as_ref().map(|paused| {
        Built::new()
            .with("reason", paused.reason.as_str())
            .with("since", paused.since.0 as f64)
            .with_some("of", paused.of.as_deref())
            .done()
    });
    Built::new()
        .with("pending", view.pending as f64)
        .with("failed", view.failed as f64)
        .with("leader", leader)
        .with_some("oldestWaiting", oldest)
        .with_some("paused", paused)
        .with("lastError", error_info(view.last_error.as_ref()))
        .done()
}

fn attempt_to_js(view: &AttemptView) -> JsValue {
    Built::new()
        .with("id", view.id.as_str())
        .with("startedAt", view.started_at.0 as f64)
        .with_some("completedAt", view.completed_at.map(|at| at.0 as f64))
        .with("error", error_info(view.error.as_ref()))
        .with_some("retryScheduledFor", view.retry_scheduled_for.map(|at| at.0 as f64))
        .done()
}

fn error_info(info: Option<&ErrorInfo>) -> JsValue {
    info.map_or(JsValue::UNDEFINED, |info| {
        Built::new()
            .with("name", info.name.as_str())
            .with("code", info.code.as_str())
            .with("message", info.message.as_str())
            .with_some("original", info.original)
            .with_some("limit", info.figures.map(|(limit, _)| limit as f64))
            .with_some("actual", info.figures.map(|(_, actual)| actual as f64))
            .done()
    })
}

fn row(row: Option<Row>) -> JsValue {
    row.map_or(JsValue::UNDEFINED, |row| row.0)
}

fn optional_text(text: Option<impl ToString>) -> JsValue {
    text.map_or(JsValue::UNDEFINED, |text| JsValue::from_str(&text.to_string()))
}

/// A text of the program's own for JavaScript: made once, as each costs as much as a call that does something.
fn name(text: &'static str) -> JsValue {
    thread_local! {
        static NAMES: RefCell<Vec<(&'static str, JsValue)>> = const { RefCell::new(Vec::new()) };
    }
    NAMES.with_borrow_mut(|names| {
        // There are some dozens, each in one place of the program.
        if let Some((_, made)) = names.iter().find(|(known, _)| core::ptr::eq(*known, text)) {
            return made.clone();
        }
        let made = JsValue::from_str(text);
        names.push((text, made.clone()));
        made
    })
}

/// An object in the making.
struct Built(Object);

impl Built {
    fn new() -> Self {
        Self(Object::new())
    }

    fn with(self, field: &'static str, value: impl Into<JsValue>) -> Self {
        // Can't fail: the object is ours, and not frozen.
        let _ = Reflect::set(&self.0, &name(field), &value.into());
        self
    }

    fn with_some(self, field: &'static str, value: Option<impl Into<JsValue>>) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self,
        }
    }

    fn done(self) -> JsValue {
        self.0.into()
    }
}
