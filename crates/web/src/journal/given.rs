//! A journal that a test gives: an object with the calls of [`super::Journal`], each of which is one transaction.

use driftline_core::{Checkpoint, Commit, CommitError, Loaded, LogRead, Record};
use js_sys::{Array, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use super::records::{number, record_from_js, record_to_js};
use crate::value::{Row, message_of};

#[wasm_bindgen]
extern "C" {
    /// `js/scope.ts` has its shape. Each call answers a promise, which rejects with a `CommitError` as
    /// `{ kind: 'fenced' | 'quota' | 'notCloneable' | 'unavailable', lease?, usage?, quota?, message? }`.
    #[derive(Clone, Debug)]
    pub type GivenJournal;
    #[wasm_bindgen(method)]
    fn load(this: &GivenJournal) -> Promise;
    #[wasm_bindgen(method, js_name = readLog)]
    fn read_log(this: &GivenJournal, after: f64) -> Promise;
    #[wasm_bindgen(method)]
    fn append(this: &GivenJournal, record: &JsValue, fences: &Array, mirror: &Array) -> Promise;
    #[wasm_bindgen(method)]
    fn checkpoint(this: &GivenJournal, replaces: f64, upto: f64, puts: &Array, deletes: &Array) -> Promise;
    #[wasm_bindgen(method, js_name = raiseEpoch)]
    fn raise_epoch(this: &GivenJournal, lease: &str) -> Promise;
    #[wasm_bindgen(method)]
    fn epochs(this: &GivenJournal, leases: &Array) -> Promise;
    #[wasm_bindgen(method, js_name = putMeta)]
    fn put_meta(this: &GivenJournal, name: &str, value: &JsValue) -> Promise;
}

/// `{ checkpoint, segments: [name, record][], log: [number, record][] }`.
pub(super) async fn load(journal: &GivenJournal) -> Result<Loaded<Row>, CommitError> {
    let loaded = answer(journal.load()).await?;
    Ok(Loaded {
        checkpoint: number(&field(&loaded, "checkpoint")),
        segments: pairs(&field(&loaded, "segments"), |name| name.as_string().unwrap_or_default())?,
        log: pairs(&field(&loaded, "log"), |key| number(&key))?,
        is_anew: false,
    })
}

/// `{ checkpoint, records: [number, record][] }`.
pub(super) async fn read_log(journal: &GivenJournal, after: u64) -> Result<LogRead<Row>, CommitError> {
    let read = answer(journal.read_log(after as f64)).await?;
    Ok(LogRead {
        checkpoint: number(&field(&read, "checkpoint")),
        records: pairs(&field(&read, "records"), |key| number(&key))?,
    })
}

/// Fences and mirror puts cross as `[lease, epoch][]` and `[key, row or undefined][]`.
pub(super) async fn append(journal: &GivenJournal, commit: &Commit<Row>) -> Result<u64, CommitError> {
    let fences =
        commit.fences.iter().map(|fence| pair(&fence.lease, JsValue::from_f64(fence.epoch as f64))).collect();
    let row = |row: &Option<Row>| row.as_ref().map_or(JsValue::UNDEFINED, |row| row.0.clone());
    let mirror = commit.mirror.iter().map(|put| pair(&put.key, row(&put.row))).collect();
    Ok(number(&answer(journal.append(&record_to_js(&commit.record, None), &fences, &mirror)).await?))
}

pub(super) async fn checkpoint(
    journal: &GivenJournal,
    checkpoint: &Checkpoint<Row>,
) -> Result<bool, CommitError> {
    let puts = checkpoint.puts.iter().map(|(name, record)| pair(name, record_to_js(record, None))).collect();
    let deletes = checkpoint.deletes.iter().map(|name| JsValue::from_str(name)).collect();
    let written = journal.checkpoint(checkpoint.replaces as f64, checkpoint.upto as f64, &puts, &deletes);
    Ok(answer(written).await?.is_truthy())
}

pub(super) async fn raise_epoch(journal: &GivenJournal, lease: &str) -> Result<u64, CommitError> {
    Ok(number(&answer(journal.raise_epoch(lease)).await?))
}

/// A list of numbers, in the order of the leases.
pub(super) async fn epochs(journal: &GivenJournal, leases: &[String]) -> Result<Vec<u64>, CommitError> {
    let leases = leases.iter().map(|lease| JsValue::from_str(lease)).collect();
    let found: Array = answer(journal.epochs(&leases)).await?.unchecked_into();
    Ok(found.iter().map(|epoch| number(&epoch)).collect())
}

pub(super) async fn put_meta(journal: &GivenJournal, name: &str, value: &JsValue) -> Result<(), CommitError> {
    answer(journal.put_meta(name, value)).await.map(drop)
}

async fn answer(promise: Promise) -> Result<JsValue, CommitError> {
    JsFuture::from(promise).await.map_err(|thrown| {
        let text = |name: &str| field(&thrown, name).as_string().unwrap_or_default();
        match text("kind").as_str() {
            "fenced" => CommitError::Fenced(text("lease")),
            "quota" => CommitError::Quota {
                usage_bytes: number(&field(&thrown, "usage")),
                quota_bytes: number(&field(&thrown, "quota")),
            },
            "notCloneable" => CommitError::NotCloneable(text("message")),
            _ => CommitError::Unavailable(message_of(&thrown)),
        }
    })
}

fn pairs<K>(all: &JsValue, key: impl Fn(JsValue) -> K) -> Result<Vec<(K, Record<Row>)>, CommitError> {
    if !Array::is_array(all) {
        return Err(CommitError::Unavailable("The test's journal answered no list.".to_owned()));
    }
    let all: &Array = all.unchecked_ref();
    all.iter()
        .map(|entry| {
            let entry: Array = entry.unchecked_into();
            match record_from_js(&entry.get(1)) {
                Ok(record) => Ok((key(entry.get(0)), record)),
                Err(_) => Err(CommitError::Unavailable(
                    "The test's journal holds a record that was not written by Driftline.".to_owned(),
                )),
            }
        })
        .collect()
}

fn pair(name: &str, value: JsValue) -> Array {
    Array::of2(&JsValue::from_str(name), &value)
}

fn field(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}
