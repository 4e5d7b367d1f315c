//! The journal in IndexedDB: the conformance suite, and what only a real browser has.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use driftline_core::{Checkpoint, Commit, CommitError, Fence, Loaded, LogRead, MirrorPut, Record};
use driftline_testkit::{
    for_each_journal_check,
    journal::{JournalHarness, JournalStore, suite},
};
use driftline_web::{
    journal::{self, Journal},
    schema,
    value::Row,
};
use indexed_db_futures::{Build, database::Database, query_source::QuerySource};
use js_sys::{Array, Function, Map, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

/// A journal whose mirror can be read back.
struct Store {
    name: String,
    journal: Journal,
}

impl JournalStore<Row> for Store {
    async fn load(&self) -> Result<Loaded<Row>, CommitError> {
        self.journal.load().await
    }

    async fn append(&self, commit: &Commit<Row>) -> Result<u64, CommitError> {
        self.journal.append(commit).await
    }

    async fn read_log(&self, after: u64) -> Result<LogRead<Row>, CommitError> {
        self.journal.read_log(after).await
    }

    async fn checkpoint(&self, checkpoint: &Checkpoint<Row>) -> Result<bool, CommitError> {
        self.journal.checkpoint(checkpoint).await
    }

    async fn raise_epoch(&self, lease: &str) -> Result<u64, CommitError> {
        self.journal.raise_epoch(lease).await
    }

    async fn mirrored(&self) -> Result<Vec<(String, Row)>, CommitError> {
        let database = schema::open(&self.name).await.expect("the database opens");
        let transaction = database.transaction(schema::FILES).build().expect("a transaction");
        let files = transaction.object_store(schema::FILES).expect("the store");
        let keys = files.get_all_keys::<String>().build().expect("a request");
        let rows = files.get_all::<JsValue>().build().expect("a request");
        let keys = keys.await.expect("keys");
        let mirrored = keys
            .zip(rows.await.expect("rows"))
            .map(|(key, row)| (key.expect("a key"), Row(row.expect("a row"))))
            .collect();
        transaction.commit().await.expect("a committed transaction");
        database.close();
        Ok(mirrored)
    }
}

/// Opens databases under names of its own.
#[derive(Default)]
struct Harness;

impl JournalHarness for Harness {
    type Value = Row;
    type Store = Store;

    async fn open(&mut self, database: &str) -> Store {
        let name = format!("suite/{database}");
        Store { journal: Journal::new(&name, false), name }
    }
}

macro_rules! conformance {
    ($($name:ident)*) => { $(
        #[wasm_bindgen_test]
        async fn $name() {
            suite::$name(&mut Harness).await;
        }
    )* };
}
for_each_journal_check!(conformance);

#[wasm_bindgen_test]
async fn what_structured_clone_knows_comes_back_as_it_was() {
    let journal = Journal::new("clone", true);
    let made = js_sys::eval(
        "({ date: new Date(5), map: new Map([['a', 1n]]), set: new Set([2]), bytes: new Uint8Array([1, 2]), gone: undefined, blob: new Blob(['x']) })",
    )
    .expect("a value");
    journal.append(&commit(&[made])).await.expect("it is written");
    let loaded = Journal::new("clone", true).load().await.expect("it loads");
    let row = &loaded.log[0].1.values[0].0;
    assert_eq!(field(row, "date").unchecked_into::<js_sys::Date>().get_time(), 5.0);
    let map: Map = field(row, "map").unchecked_into();
    assert_eq!(map.get(&"a".into()), JsValue::from(js_sys::BigInt::from(1)));
    assert!(field(row, "set").is_instance_of::<js_sys::Set>());
    assert_eq!(js_sys::Uint8Array::new(&field(row, "bytes")).to_vec(), [1, 2]);
    assert!(
        Object::keys(row.unchecked_ref::<Object>()).includes(&"gone".into(), 0),
        "a field that is undefined is still a field"
    );
    assert_eq!(Reflect::get(&field(row, "blob"), &"size".into()).expect("a size"), 1.0);
}

#[wasm_bindgen_test]
async fn a_value_that_cannot_be_cloned_leaves_nothing_of_its_commit() {
    let store = Store { name: "uncloneable".into(), journal: Journal::new("uncloneable", false) };
    let function: JsValue = Function::new_no_args("").into();
    assert!(matches!(
        store.append(&commit(std::slice::from_ref(&function))).await,
        Err(CommitError::NotCloneable(_))
    ));
    let mut mirrored = commit(&[JsValue::from_f64(1.0)]);
    mirrored.mirror = vec![
        MirrorPut { key: "kept".into(), row: Some(Row("a".into())) },
        MirrorPut { key: "refused".into(), row: Some(Row(function)) },
    ];
    assert!(matches!(store.append(&mirrored).await, Err(CommitError::NotCloneable(_))));
    assert!(store.load().await.expect("it loads").log.is_empty());
    assert!(store.mirrored().await.expect("it reads").is_empty());
    store.append(&commit(&[JsValue::from_f64(2.0)])).await.expect("the journal goes on working");
}

#[wasm_bindgen_test]
async fn a_log_longer_than_one_batch_loads_whole_and_in_order() {
    let journal = Journal::new("long", false);
    let mut last = 0;
    for n in 0..1_100_u32 {
        last = journal.append(&commit(&[n.into()])).await.expect("it is written");
    }
    let loaded = journal.load().await.expect("it loads");
    let values: Vec<_> = loaded.log.iter().map(|(_, record)| record.values[0].0.as_f64()).collect();
    assert_eq!(values, (0..1_100).map(|n| Some(f64::from(n))).collect::<Vec<_>>());
    assert_eq!(loaded.log.last().map(|(number, _)| *number), Some(last));
}

#[wasm_bindgen_test]
async fn commits_that_are_issued_together_all_get_numbers_of_their_own() {
    let journal = Journal::new("together", false);
    let (a, b, c) = (commit(&["a".into()]), commit(&["b".into()]), commit(&["c".into()]));
    let promise = |commit: Commit<Row>| {
        let journal = Journal::new("together", false);
        wasm_bindgen_futures::future_to_promise(async move {
            Ok(JsValue::from_f64(journal.append(&commit).await.expect("it is written") as f64))
        })
    };
    let all = js_sys::Promise::all(&[promise(a), promise(b), promise(c)].iter().collect::<Array>());
    let numbers: Array =
        wasm_bindgen_futures::JsFuture::from(all).await.expect("all are written").unchecked_into();
    let mut numbers: Vec<_> =
        numbers.iter().map(|number| number.as_f64().expect("a number") as u64).collect();
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        journal.load().await.expect("it loads").log.iter().map(|(number, _)| *number).collect::<Vec<_>>()
    );
    assert_eq!(numbers.len(), 3);
}

#[wasm_bindgen_test]
async fn a_write_on_a_connection_that_broke_is_made_once_on_a_new_one() {
    let journal = Journal::new("broken", false);
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    let heal = patch(
        "const make = IDBDatabase.prototype.transaction; let broken = 1
         IDBDatabase.prototype.transaction = function (...given) {
           if (broken-- > 0) { this.close(); throw new DOMException('Connection to Indexed Database server lost.', 'UnknownError') }
           return make.apply(this, given)
         }
         return () => { IDBDatabase.prototype.transaction = make }",
    );
    let number = journal.append(&commit(&["second".into()])).await;
    heal();
    let loaded = journal.load().await.expect("it loads");
    assert_eq!(loaded.log.len(), 2);
    assert_eq!(number, Ok(loaded.log[1].0));
}

#[wasm_bindgen_test]
async fn a_write_whose_answer_was_lost_is_not_made_again() {
    let journal = Journal::new("lost answer", false);
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    let heal = patch(
        "const commit = IDBTransaction.prototype.commit
         IDBTransaction.prototype.commit = function () {
           IDBTransaction.prototype.commit = commit
           this.addEventListener('complete', event => { event.stopImmediatePropagation(); this.dispatchEvent(new Event('abort')) })
           const told = this.oncomplete; this.oncomplete = null; this.addEventListener('complete', () => told?.call(this))
           return commit.call(this)
         }
         return () => { IDBTransaction.prototype.commit = commit }",
    );
    let number = journal.append(&commit(&["second".into()])).await;
    heal();
    let loaded = journal.load().await.expect("it loads");
    assert_eq!(loaded.log.len(), 2, "the second is there once");
    assert_eq!(number, Ok(loaded.log[1].0));
}

#[wasm_bindgen_test]
async fn a_quota_that_is_full_is_told_as_such() {
    let journal = Journal::new("quota", false);
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    // As browsers do it: the transaction aborts at its end, no request fails, and the cause stands in `error`.
    let heal = patch(
        "const commit = IDBTransaction.prototype.commit
         IDBTransaction.prototype.commit = function () {
           Object.defineProperty(this, 'error', { value: new DOMException('no room', 'QuotaExceededError') })
           this.abort()
         }
         return () => { IDBTransaction.prototype.commit = commit }",
    );
    let refused = journal.append(&commit(&["second".into()])).await;
    heal();
    assert!(matches!(refused, Err(CommitError::Quota { .. })), "{refused:?}");
    assert_eq!(journal.load().await.expect("it loads").log.len(), 1);
}

#[wasm_bindgen_test]
async fn a_database_can_be_deleted_elsewhere_and_is_not_made_anew_in_silence() {
    let journal = Journal::new("deleted", false);
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    // Would wait for ever if the journal kept its connection.
    journal::delete("deleted").await.expect("it is deleted");
    let refused = journal.append(&commit(&["second".into()])).await;
    assert!(
        matches!(&refused, Err(CommitError::Unavailable(text)) if text.contains("deleted")),
        "{refused:?}"
    );
    assert!(Journal::new("deleted", false).load().await.expect("a new one loads").log.is_empty());
}

#[wasm_bindgen_test]
async fn a_database_that_was_deleted_and_made_anew_is_recognised() {
    let journal = Journal::new("made anew", false);
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    // A connection that closes without a word, as a frozen page's does: no event tells of it.
    let heal = patch(
        "const make = IDBDatabase.prototype.transaction
         IDBDatabase.prototype.transaction = function (...given) { globalThis.lastDatabase = this; return make.apply(this, given) }
         return () => { IDBDatabase.prototype.transaction = make }",
    );
    journal.load().await.expect("it loads");
    heal();
    js_sys::eval("lastDatabase.close()").expect("it closes");
    journal::delete("made anew").await.expect("it is deleted");
    Journal::new("made anew", false).append(&commit(&["other".into()])).await.expect("it is written");
    let refused = journal.append(&commit(&["second".into()])).await;
    assert!(
        matches!(&refused, Err(CommitError::Unavailable(text)) if text.contains("deleted")),
        "{refused:?}"
    );
    assert_eq!(Journal::new("made anew", false).load().await.expect("it loads").log.len(), 1);
}

#[wasm_bindgen_test]
async fn a_newer_version_of_the_schema_is_let_through_and_ends_writing_here() {
    let journal = Journal::new("newer", false);
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    let newer = Database::open(schema::database_name("newer"))
        .with_version(schema::VERSION + 1)
        .with_on_upgrade_needed(|_, _| Ok(()))
        .build()
        .expect("a request")
        .await
        .expect("the upgrade is not blocked");
    newer.close();
    let refused = journal.append(&commit(&["second".into()])).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
}

#[wasm_bindgen_test]
async fn a_database_of_the_first_schema_is_taken_over_with_its_epochs() {
    let first = Database::open(schema::database_name("first schema"))
        .with_version(1_u32)
        .with_on_upgrade_needed(|_, database| {
            database.create_object_store(schema::LOG).with_auto_increment(true).build()?;
            for name in [schema::SEGMENTS, schema::FILES, schema::TRANSFERS] {
                database.create_object_store(name).build()?;
            }
            let meta = database.create_object_store(schema::META).build()?;
            drop(meta.put(0.5).with_key(schema::META_IDENTITY).build()?);
            drop(meta.put(3.0).with_key(schema::meta_lease("c/todos")).build()?);
            Ok(())
        })
        .build()
        .expect("a request")
        .await
        .expect("the database opens");
    first.close();
    let journal = Journal::new("first schema", false);
    assert_eq!(journal.append(&under(3, "a")).await, Ok(1));
    assert_eq!(journal.raise_epoch("c/todos").await, Ok(4));
    assert_eq!(journal.append(&under(3, "b")).await, Err(CommitError::Fenced("c/todos".into())));
    assert_eq!(journal.append(&under(4, "c")).await, Ok(2), "what was refused took no number");
}

#[wasm_bindgen_test]
async fn an_append_and_a_look_at_the_log_are_committed_in_the_turn_in_which_they_are_asked_for() {
    let journal = Journal::new("in one go", false);
    journal.raise_epoch("c/todos").await.expect("it is raised");
    // A page that stops between two of its turns would keep a transaction open that still waits for it.
    let heal = patch(
        "const make = IDBDatabase.prototype.transaction, commit = IDBTransaction.prototype.commit
         globalThis.left = 0
         IDBDatabase.prototype.transaction = function (...given) { globalThis.left++; return make.apply(this, given) }
         IDBTransaction.prototype.commit = function () { globalThis.left--; return commit.call(this) }
         return () => { IDBDatabase.prototype.transaction = make; IDBTransaction.prototype.commit = commit }",
    );
    let left = || js_sys::eval("left").expect("a count").as_f64();
    let (commit, epochs) = (under(1, "a"), ["c/todos".to_owned()]);
    let mut calls: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = vec![
        Box::pin(async { drop(journal.append(&commit).await) }),
        Box::pin(async { drop(journal.read_log(0).await) }),
        Box::pin(async { drop(journal.epochs(&epochs).await) }),
    ];
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
        assert_eq!(left(), Some(0.0), "none is left open");
    }
    for call in calls {
        call.await;
    }
    heal();
    assert_eq!(journal.load().await.expect("it loads").log.len(), 1);
}

#[wasm_bindgen_test]
async fn a_checkpoint_of_which_a_part_can_not_be_written_leaves_the_log_whole() {
    let journal = Journal::new("half a checkpoint", false);
    let checkpoint = |replaces, upto| Checkpoint {
        replaces,
        upto,
        puts: vec![("rows".to_owned(), commit(&["s".into()]).record)],
        deletes: Vec::new(),
    };
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    assert_eq!(journal.checkpoint(&checkpoint(0, 1)).await, Ok(true));
    journal.append(&commit(&["second".into()])).await.expect("it is written");
    // A request that fails, as on a full disk; Firefox would commit what was asked for after it.
    let heal = patch(
        "const put = IDBObjectStore.prototype.put
         IDBObjectStore.prototype.put = function (...given) { return this.name === 'segments' ? this.add(...given) : put.apply(this, given) }
         return () => { IDBObjectStore.prototype.put = put }",
    );
    let refused = journal.checkpoint(&checkpoint(1, 2)).await;
    heal();
    assert!(refused.is_err(), "{refused:?}");
    let loaded = journal.load().await.expect("it loads");
    assert_eq!((loaded.checkpoint, loaded.log.len()), (1, 1));
    assert_eq!(journal.checkpoint(&checkpoint(1, 2)).await, Ok(true), "the next one goes through");
}

#[wasm_bindgen_test]
async fn a_closed_journal_says_so() {
    let journal = Journal::new("closed", false);
    journal.append(&commit(&["first".into()])).await.expect("it is written");
    journal.close();
    assert!(matches!(&journal.load().await, Err(CommitError::Unavailable(text)) if text.contains("closed")));
}

fn commit(values: &[JsValue]) -> Commit<Row> {
    let record = Record { bytes: vec![1, 2, 3], values: values.iter().cloned().map(Row).collect() };
    Commit { record, fences: Vec::new(), mirror: Vec::new() }
}

/// A commit of the tab that leads `c/todos` under this epoch.
fn under(epoch: u64, value: &str) -> Commit<Row> {
    Commit { fences: vec![Fence { lease: "c/todos".into(), epoch }], ..commit(&[value.into()]) }
}

fn poll_once(future: &mut Pin<Box<dyn Future<Output = ()> + '_>>) -> Poll<()> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn field(row: &JsValue, name: &str) -> JsValue {
    Reflect::get(row, &JsValue::from_str(name)).expect("a field")
}

/// Changes the browser's IndexedDB, and answers what undoes it.
fn patch(body: &str) -> impl Fn() {
    let heal: Function =
        Function::new_no_args(body).call0(&JsValue::UNDEFINED).expect("the patch runs").unchecked_into();
    move || {
        heal.call0(&JsValue::UNDEFINED).expect("the patch is undone");
    }
}
