//! A record appended in one breath: all requests of its transaction are made in one turn and committed in the same,
//! and nothing is read. Each write of an app waits for this, so that it calls IndexedDB directly, keeps the texts
//! that it needs as JavaScript has them, and has one pair of listeners for one transaction after the other.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use driftline_core::{Commit, Fence};
use indexed_db_futures::{database::Database, internals::SystemRepr};
use js_sys::{Array, Function, JsString, Object};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::IdbRequest;

use super::{failure::Failed, records::record_to_js};
use crate::{
    schema::{self, FENCES, FILES, LOG},
    value::Row,
};

#[wasm_bindgen]
extern "C" {
    type RawDatabase;
    #[wasm_bindgen(method, catch)]
    fn transaction(
        this: &RawDatabase,
        stores: &Array,
        mode: &JsValue,
        options: &JsValue,
    ) -> Result<RawTransaction, JsValue>;

    #[wasm_bindgen(extends = web_sys::IdbTransaction)]
    type RawTransaction;
    #[wasm_bindgen(method, catch, js_name = objectStore)]
    fn object_store(this: &RawTransaction, name: &JsValue) -> Result<web_sys::IdbObjectStore, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn commit(this: &RawTransaction) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn abort(this: &RawTransaction) -> Result<(), JsValue>;

    #[wasm_bindgen(extends = Object)]
    type Durability;
    #[wasm_bindgen(method, setter)]
    fn set_durability(this: &Durability, durability: &str);
}

/// Appends records, one transaction each.
#[derive(Debug)]
pub(super) struct Appender {
    log: JsValue,
    mode: JsValue,
    options: JsValue,
    /// The stores of a commit without a mirror, without a fence and with one.
    plain: Array,
    fenced: Array,
    /// Listeners that no transaction uses just now.
    spare: RefCell<Option<Ending>>,
}

impl Appender {
    pub(super) fn new(strict: bool) -> Self {
        let options: Durability = Object::new().unchecked_into();
        options.set_durability(if strict { "strict" } else { "relaxed" });
        let log = JsValue::from_str(LOG);
        Self {
            mode: JsValue::from_str("readwrite"),
            options: options.into(),
            plain: Array::of1(&log),
            fenced: Array::of2(&log, &FENCES.into()),
            log,
            spare: RefCell::new(None),
        }
    }

    /// Appends a record under one fence or none, and answers its number once its transaction has completed.
    pub(super) async fn append(
        &self,
        database: &Database,
        commit: &Commit<Row>,
        stamp: &JsString,
    ) -> Result<u64, Failed> {
        let raw: &web_sys::IdbDatabase = database.as_sys();
        let stores = self.stores(commit);
        let record = record_to_js(&commit.record, Some(stamp));
        // From here to the commit nothing else is done: what comes to the browser together costs it half as much.
        let transaction =
            raw.unchecked_ref::<RawDatabase>().transaction(&stores, &self.mode, &self.options)?;
        let asked = self.ask(&transaction, commit, &record).and_then(|added| {
            transaction.commit()?;
            Ok(added)
        });
        let added = match asked {
            Ok(added) => added,
            Err(failed) => {
                // What has ended by itself can't be aborted, and need not be.
                let _ = transaction.abort();
                return Err(failed);
            }
        };
        let mut running = Running::watch(transaction, self.spare.take().unwrap_or_default());
        let completed = running.ended().await;
        if !completed {
            return Err(match running.transaction.error() {
                Some(cause) => JsValue::from(cause).into(),
                None => Failed::Connection("The transaction was aborted.".to_owned()),
            });
        }
        // Firefox completes without a request that failed after the commit was asked for, unless it is the last.
        if let Ok(Some(error)) = added.error() {
            return Err(JsValue::from(error).into());
        }
        self.spare.replace(running.finish());
        Ok(added.result()?.as_f64().unwrap_or_default() as u64)
    }

    fn stores(&self, commit: &Commit<Row>) -> Array {
        match (commit.mirror.is_empty(), commit.fences.is_empty()) {
            (true, true) => self.plain.clone(),
            (true, false) => self.fenced.clone(),
            (false, true) => Array::of2(&self.log, &FILES.into()),
            (false, false) => Array::of3(&self.log, &FENCES.into(), &FILES.into()),
        }
    }

    fn ask(
        &self,
        transaction: &RawTransaction,
        commit: &Commit<Row>,
        record: &JsValue,
    ) -> Result<IdbRequest, Failed> {
        if !commit.mirror.is_empty() {
            let files = transaction.object_store(&FILES.into())?;
            for put in &commit.mirror {
                let key = JsValue::from_str(&put.key);
                match &put.row {
                    Some(row) => files.put_with_key(&row.0, &key)?,
                    None => files.delete(&key)?,
                };
            }
        }
        let added = transaction.object_store(&self.log)?.add(record)?;
        // Last, as what all of it depends on. The entry replaces itself while the epoch stands; if the lease has one
        // under another epoch, the index over the names refuses it, and the whole transaction with it.
        if let [Fence { lease, epoch }] = &commit.fences[..] {
            let key = JsValue::from_str(&schema::fence_key(lease, *epoch));
            transaction.object_store(&FENCES.into())?.put_with_key(&JsValue::from_str(lease), &key)?;
        }
        Ok(added)
    }
}

/// A transaction that is watched until it ends.
struct Running {
    transaction: RawTransaction,
    ending: Option<Ending>,
}

impl Running {
    fn watch(transaction: RawTransaction, ending: Ending) -> Self {
        transaction.set_oncomplete(Some(ending.function(&ending.on_complete)));
        transaction.set_onabort(Some(ending.function(&ending.on_abort)));
        Self { transaction, ending: Some(ending) }
    }

    /// Whether it completed, once it has ended.
    async fn ended(&mut self) -> bool {
        let Some(ending) = &self.ending else { return false };
        poll_fn(|context| match ending.state.completed.get() {
            Some(completed) => Poll::Ready(completed),
            None => {
                ending.state.waker.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// The listeners of a transaction that has ended, for the next one.
    fn finish(mut self) -> Option<Ending> {
        let ending = self.ending.take();
        if let Some(ending) = &ending {
            ending.state.completed.set(None);
        }
        ending
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(ending) = self.ending.take() else { return };
        self.transaction.set_oncomplete(None);
        self.transaction.set_onabort(None);
        drop(ending);
    }
}

/// Listeners for the two ways in which a transaction ends.
#[derive(Debug)]
struct Ending {
    state: Rc<EndingState>,
    on_complete: Closure<dyn FnMut()>,
    on_abort: Closure<dyn FnMut()>,
}

#[derive(Debug, Default)]
struct EndingState {
    completed: Cell<Option<bool>>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Ending {
    fn default() -> Self {
        let state: Rc<EndingState> = Rc::default();
        let listener = |completed: bool| {
            let state = Rc::clone(&state);
            Closure::new(move || {
                state.completed.set(Some(completed));
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            })
        };
        Self { on_complete: listener(true), on_abort: listener(false), state }
    }
}

impl Ending {
    fn function<'a>(&self, closure: &'a Closure<dyn FnMut()>) -> &'a Function {
        closure.as_ref().unchecked_ref()
    }
}
