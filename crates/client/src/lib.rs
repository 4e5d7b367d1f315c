//! The page's wasm module: [`Client`] for JavaScript, over the core's engine and its browser drivers.
//! There is no logic here, only the passage: rows go through as handles, everything else as numbers,
//! texts and flat arrays.

mod from_js;
mod recent;
mod to_js;

use std::{fmt::Write as _, rc::Rc};

use driftline_core::{
    CollectionSpec, Config, DraftKind, Error, Input, MutationDraft, OpId, PersistOk, RemoteSpec, SyncUpdate,
    Timestamp, TransactionDraft, TxId,
    spec::{CollectionId, RemoteId},
    view::{TransactionFilter, TransactionState},
};
use driftline_web::{
    driver::Driver,
    http::Endpoint,
    scope::{GivenScope, Scope},
    value::Row,
};
use js_sys::{Array, Function, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

use from_js::{Fields, failure, mutations, remote_spec, retry_policy, strategy};
use recent::Recent;
use to_js::{error_to_js, status_to_js, told_to_js, transaction_to_js};

/// One open database.
///
/// Methods that can fail throw `{ code, message, limit?, actual? }`; the TypeScript face makes errors of it.
#[wasm_bindgen]
pub struct Client {
    driver: Rc<Driver>,
    recent: Rc<Recent>,
}

#[wasm_bindgen]
impl Client {
    /// Opens a database. `seed` has 32 bytes. `told` is called with a flat array of what happened, once
    /// per drain, never from inside the engine: see `js/wire.ts` for its form. `scope` stands for the global
    /// object in tests: see `js/scope.ts`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        name: &str,
        strict: bool,
        seed: &[u8],
        pending_max: u32,
        told: Function,
        scope: Option<GivenScope>,
    ) -> Result<Client, JsValue> {
        let seed = seed.try_into().map_err(|_| JsValue::from_str("a seed has 32 bytes"))?;
        let config = Config { seed, pending_max: pending_max as usize };
        let recent = Rc::new(Recent::default());
        let texts = Rc::clone(&recent);
        let tell = Box::new(move |outputs| {
            // The face catches what the app's listeners throw.
            let _ = told.call1(&JsValue::UNDEFINED, &told_to_js(outputs, &texts));
        });
        Ok(Self {
            driver: Driver::open(scope.map_or(Scope::Global, Scope::Given), name, strict, config, tell),
            recent,
        })
    }

    /// Registers a collection and answers its number.
    pub fn register(&self, spec: &JsValue) -> Result<u32, JsValue> {
        let fields = Fields(spec);
        let remote = fields.number("remote").map(|remote| (RemoteId(remote as u32), fields.text("entity")));
        let spec = CollectionSpec {
            id: fields.text("id"),
            remote,
            persist: fields.number("persist").map(|persist| persist as u32),
            has_sync: fields.flag("hasSync"),
            has_await_sync: fields.flag("hasAwaitSync"),
            functions: fields.texts("functions"),
            merges: from_js::merges(&fields.array("merges")),
            strategy: strategy(&fields.value("strategy")).unwrap_or_else(from_js::default_strategy),
            retry: retry_policy(&fields.value("retry")),
            concurrent_persists: fields
                .number("concurrentPersists")
                .map_or(driftline_core::spec::CONCURRENT_PERSISTS, |n| n as usize),
            version: fields.number("version").map_or(1, |version| version as u32),
            migrate: from_js::migrate(&fields.value("migrate")),
            key_field: fields.value("keyField").as_string(),
            mirror: fields.flag("mirror"),
            mapping: from_js::mapping(&fields),
        };
        thrown(self.driver.command(|engine, now| engine.register(now, spec))).map(|id| id.0)
    }

    /// Connects a remote and answers its number. The endpoint is `{ url, headers?, query?, call? }`, of functions
    /// that are called for each request.
    pub fn connect(&self, spec: &JsValue, endpoint: &JsValue) -> Result<u32, JsValue> {
        let spec: RemoteSpec = remote_spec(spec);
        let fields = Fields(endpoint);
        let function = |field| as_function(fields.value(field));
        let endpoint = Endpoint {
            url: fields.text("url"),
            headers: function("headers"),
            query: function("query"),
            call: function("call"),
        };
        thrown(self.driver.connect(spec, endpoint)).map(|id| id.0)
    }

    /// Asks a remote for what is new, now.
    #[wasm_bindgen(js_name = pullNow)]
    pub fn pull_now(&self, remote: u32) -> Result<(), JsValue> {
        thrown(self.driver.command(|engine, now| engine.pull_now(now, RemoteId(remote))))
    }

    /// Asks a remote whether it is there; what is told says so.
    pub fn ping(&self, remote: u32) -> Result<(), JsValue> {
        thrown(self.driver.command(|engine, now| engine.ping(now, RemoteId(remote))))
    }

    /// Inserts one row under the collection's own strategy and answers the transaction's id.
    pub fn insert(
        &self,
        collection: u32,
        key: JsValue,
        row: JsValue,
        size_bytes: f64,
    ) -> Result<JsValue, JsValue> {
        self.one(collection, key, DraftKind::Insert(Row(row)), size_bytes)
    }

    /// Updates fields of one row; a field that is there as `undefined` is removed.
    pub fn update(
        &self,
        collection: u32,
        key: JsValue,
        changes: JsValue,
        size_bytes: f64,
    ) -> Result<JsValue, JsValue> {
        self.one(collection, key, DraftKind::Update(Row(changes)), size_bytes)
    }

    /// Deletes one row.
    pub fn remove(&self, collection: u32, key: JsValue) -> Result<JsValue, JsValue> {
        self.one(collection, key, DraftKind::Delete, 0.0)
    }

    /// Any transaction: `flat` has kind, collection, key, value and size of each mutation, one after the other.
    pub fn transact(
        &self,
        flat: &Array,
        strategy_of: &JsValue,
        function: Option<String>,
        metadata: JsValue,
    ) -> Result<String, JsValue> {
        let draft = TransactionDraft {
            mutations: mutations(flat),
            strategy: strategy(strategy_of),
            function,
            metadata: (!metadata.is_undefined()).then_some(Row(metadata)),
        };
        thrown(self.driver.command(|engine, now| engine.transact(now, draft))).map(|id| id.to_string())
    }

    /// Makes a new transaction of a failed one.
    pub fn retry(&self, id: &str) -> Result<String, JsValue> {
        let id = transaction_id(id)?;
        thrown(self.driver.command(|engine, now| engine.retry(now, id))).map(|id| id.to_string())
    }

    /// Drops a transaction that is not being sent.
    pub fn discard(&self, id: &str) -> Result<(), JsValue> {
        let id = transaction_id(id)?;
        thrown(self.driver.command(|engine, now| engine.discard(now, id)))
    }

    /// Drops finished transactions from the history and answers how many; `older_than` in milliseconds since 1970.
    pub fn prune(&self, older_than: Option<f64>, completed: bool, failed: bool) -> Result<u32, JsValue> {
        let states =
            [completed.then_some(TransactionState::Completed), failed.then_some(TransactionState::Failed)];
        let states: Vec<_> = states.into_iter().flatten().collect();
        let older_than = older_than.map(|ms| Timestamp(ms as u64));
        thrown(self.driver.command(|engine, now| engine.prune(now, older_than, &states)))
            .map(|count| count as u32)
    }

    /// What the app's own sync feed delivered: some rows (`undefined` where one is gone), or all.
    #[wasm_bindgen(js_name = syncUpdate)]
    pub fn sync_update(
        &self,
        collection: u32,
        keys: Vec<String>,
        values: &Array,
        full: bool,
    ) -> Result<(), JsValue> {
        let rows = keys.into_iter().zip(values.iter());
        let update = if full {
            SyncUpdate::Full(rows.map(|(key, value)| (key, Row(value))).collect())
        } else {
            SyncUpdate::Delta(
                rows.map(|(key, value)| (key, (!value.is_undefined()).then_some(Row(value)))).collect(),
            )
        };
        let collection = CollectionId(collection);
        self.driver.feed_works(collection);
        thrown(self.driver.command(|engine, now| {
            engine.sync_update(now, collection, update);
            Ok(())
        }))
    }

    /// The app's sync feed broke; it is asked for again after a back-off.
    #[wasm_bindgen(js_name = syncFailed)]
    pub fn sync_failed(&self, collection: u32, error: &JsValue) {
        self.driver.feed_failed(CollectionId(collection), from_js::error_info(error));
    }

    /// Answers a call to `persist`: nothing, or a failure as classified. `rekey` has temporary keys, each
    /// followed by the server's.
    #[wasm_bindgen(js_name = persistAnswered)]
    pub fn persist_answered(&self, op: f64, failed: &JsValue, rekey: Option<Vec<String>>) {
        let result = if failed.is_undefined() {
            let rekey = rekey
                .unwrap_or_default()
                .chunks_exact(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect();
            Ok(PersistOk { rekey })
        } else {
            Err(failure(failed))
        };
        self.driver.input(Input::PersistAnswered(OpId(op as u64), result));
    }

    /// Answers a call to `awaitSync`: nothing, or the error.
    #[wasm_bindgen(js_name = awaitSyncAnswered)]
    pub fn await_sync_answered(&self, op: f64, error: &JsValue) {
        let result = if error.is_undefined() { Ok(()) } else { Err(from_js::error_info(error)) };
        self.driver.input(Input::AwaitSyncAnswered(OpId(op as u64), result));
    }

    /// Holds all sending.
    pub fn pause(&self, reason: &str) -> Result<(), JsValue> {
        thrown(self.driver.command(|engine, now| {
            engine.pause(now, reason);
            Ok(())
        }))
    }

    /// Releases every hold.
    pub fn resume(&self) -> Result<(), JsValue> {
        thrown(self.driver.command(|engine, now| {
            engine.resume(now);
            Ok(())
        }))
    }

    /// Writes what is still to be written and closes the database.
    pub async fn close(&self) {
        Rc::clone(&self.driver).close().await;
    }

    /// Resolves once every disk operation that runs now has been answered.
    pub async fn idle(&self) {
        let driver = Rc::clone(&self.driver);
        driver.idle().await;
    }

    /// A transaction as it stands, or `undefined`.
    pub fn transaction(&self, id: &str) -> Result<JsValue, JsValue> {
        let id = transaction_id(id)?;
        thrown(self.driver.look(|engine| {
            engine.transaction(id).map_or(JsValue::UNDEFINED, |view| transaction_to_js(&view))
        }))
    }

    /// The transactions that match, in order: their ids in one text, one behind the other, and of each whether it
    /// is unfinished (`0`), completed (`1`) or failed (`2`). A text each would cost ten times as much.
    pub fn transactions(
        &self,
        states: Option<Vec<String>>,
        collection: Option<String>,
        since: Option<f64>,
    ) -> Result<JsValue, JsValue> {
        let states: Option<Vec<_>> =
            states.map(|names| names.iter().filter_map(|name| TransactionState::named(name)).collect());
        let filter = TransactionFilter {
            states: states.as_deref(),
            collection: collection.as_deref(),
            since: since.map(|ms| Timestamp(ms.max(0.0) as u64)),
        };
        thrown(self.driver.look(|engine| {
            let found = engine.list(&filter);
            let mut ids = String::new();
            let mut ends = Vec::with_capacity(found.len());
            for (id, state) in found {
                // Writing to a text can't fail.
                let _ = write!(ids, "{id}");
                ends.push(match state {
                    TransactionState::Completed => 1,
                    TransactionState::Failed => 2,
                    _ => 0,
                });
            }
            Array::of2(&ids.into(), &Uint8Array::from(ends.as_slice())).into()
        }))
    }

    /// `<collection>/<key>` of every object that is locked.
    #[wasm_bindgen(js_name = lockedObjects)]
    pub fn locked_objects(&self) -> Result<Vec<String>, JsValue> {
        thrown(self.driver.look(|engine| engine.locked_objects()))
    }

    /// What sync delivered for a collection: key and row, one after the other.
    #[wasm_bindgen(js_name = syncedRows)]
    pub fn synced_rows(&self, collection: u32) -> Result<Array, JsValue> {
        thrown(self.driver.look(|engine| {
            let flat = Array::new();
            for (key, row) in engine.synced_rows(CollectionId(collection)) {
                flat.push(&JsValue::from_str(key));
                flat.push(&row.0);
            }
            flat
        }))
    }

    /// What stands and why.
    pub fn status(&self) -> Result<JsValue, JsValue> {
        thrown(self.driver.look(|engine| status_to_js(&engine.status())))
    }

    /// How a remote stands.
    pub fn remote(&self, remote: u32) -> JsValue {
        self.driver.remote_status(RemoteId(remote))
    }

    /// Puts a fact beside the journal, for the service worker.
    #[wasm_bindgen(js_name = putMeta)]
    pub async fn put_meta(&self, name: String, value: JsValue) -> Result<(), JsValue> {
        let driver = Rc::clone(&self.driver);
        driver.journal().put_meta(&name, &value).await.map_err(|error| to_js::commit_error_to_js(&error))
    }
}

impl Client {
    fn one(
        &self,
        collection: u32,
        key: JsValue,
        kind: DraftKind<Row>,
        size_bytes: f64,
    ) -> Result<JsValue, JsValue> {
        let key = self.recent.take_key(key);
        let mutation =
            MutationDraft { collection: CollectionId(collection), key, kind, size_bytes: size_bytes as u64 };
        let draft =
            TransactionDraft { mutations: vec![mutation], strategy: None, function: None, metadata: None };
        thrown(self.driver.command(|engine, now| engine.transact(now, draft))).map(|id| self.recent.id(id))
    }
}

/// Deletes the database of this name; its connections elsewhere close by themselves.
#[wasm_bindgen(js_name = deleteDatabase)]
pub async fn delete_database(name: String) -> Result<(), JsValue> {
    driftline_web::journal::delete(&name).await.map_err(|error| to_js::commit_error_to_js(&error))
}

fn transaction_id(id: &str) -> Result<TxId, JsValue> {
    TxId::parse(id).ok_or_else(|| {
        let message = format!("There is no transaction \"{id}\". Nothing was changed; an id is the text of a transaction's `id`.");
        error_to_js(&Error::new(driftline_core::Code::NotFound, message))
    })
}

fn thrown<T>(result: Result<T, Error>) -> Result<T, JsValue> {
    result.map_err(|error| error_to_js(&error))
}

/// Casts what is known to be a function.
pub(crate) fn as_function(value: JsValue) -> Option<Function> {
    value.dyn_into().ok()
}
