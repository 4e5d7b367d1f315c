//! A journal record: what one turn wrote, and how it is encoded.
//!
//! A record is a list of [`Fact`]s. Its bytes hold a format version, a table of names and the facts in
//! postcard; row values stand beside them in a list, by position, so that they are never serialised here
//! and IndexedDB keeps them by structured clone.

mod wire;

use std::rc::Rc;

use serde::{Deserialize, Serialize};

pub(crate) use wire::{decode, encode};

use crate::{ErrorInfo, Timestamp, TxId, spec::Scope};

/// One record of the journal, of the log or of a checkpoint's segment: the engine's own bytes, and the
/// row values that they refer to by position. IndexedDB stores the values by structured clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<V> {
    /// The entries, encoded; the first byte is the format's version.
    pub bytes: Vec<u8>,
    /// The values the entries refer to.
    pub values: Vec<V>,
}

/// Something that is true once its record is committed. A tab's state is all facts of the log, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fact<V> {
    /// The app wrote something.
    Transaction(Box<TransactionFact<V>>),
    /// An attempt began.
    Started { tx: TxId, at: Timestamp },
    /// An attempt failed and another is due.
    Retried { tx: TxId, at: Timestamp, error: ErrorInfo, next_at: Timestamp, counts: bool },
    /// The backend has it.
    Persisted { tx: TxId, at: Timestamp },
    /// It is done. `confirmed`: sync has brought what was written; else it stays as provisional rows.
    Completed { tx: TxId, at: Timestamp, confirmed: bool, warning: Option<ErrorInfo> },
    /// It failed for good.
    Failed { tx: TxId, at: Timestamp, error: ErrorInfo, cause: Option<TxId> },
    /// The app dropped it.
    Discarded { tx: TxId },
    /// It was done, and its history is dropped.
    Pruned { tx: TxId },
    /// The server gave a row another key, which stands in this field of it, too.
    Rekeyed { collection: Rc<str>, from: Rc<str>, to: Rc<str>, field: Option<String> },
    /// Synced rows of a table: a collection with its own feed, or `<remote>/<entity>`.
    Rows { table: Rc<str>, writes: Vec<(Rc<str>, Option<V>)> },
    /// All synced rows of a table are gone; those that follow are all there is.
    Reset { table: Rc<str> },
    /// How far a remote has been pulled, and which log that is of, where it says so. `None`: it must be
    /// bootstrapped anew.
    Cursor { remote: Rc<str>, cursor: Option<u64>, identity: Option<Rc<str>> },
    /// The first data of a session is in, for a collection with its own feed.
    Synced { table: Rc<str> },
    /// Rows of a table that were written, are done, and have not come back by sync (checkpoints only).
    Provisional { table: Rc<str>, writes: Vec<(Rc<str>, Option<V>)> },
    /// Rows of a collection that are gone and may still be in the mirror (checkpoints only).
    Doubtful { collection: Rc<str>, keys: Vec<Rc<str>> },
    /// Fields of synced rows of a table; a row that is gone stays gone.
    Patched { table: Rc<str>, writes: Vec<(Rc<str>, V)> },
    /// The backend has the first so many events of a transaction.
    Landed { tx: TxId, events: u32 },
    /// What this device calls itself at a remote.
    Client { remote: Rc<str>, client: Rc<str> },
    /// Under which table the synced rows of a collection are journalled, for tabs that have not registered it.
    Table { collection: Rc<str>, table: Rc<str> },
    /// What shows beneath the overlays of locked rows while newer sync is held back (checkpoints only).
    Held { table: Rc<str>, writes: Vec<(Rc<str>, Option<V>)> },
    /// The mappings of a remote's collections that have had every event up to its cursor.
    Mapped { remote: Rc<str>, mappings: Vec<Rc<str>> },
}

impl<V> Fact<V> {
    /// The transaction that it is a decision about.
    pub fn tx(&self) -> Option<TxId> {
        match self {
            Self::Started { tx, .. }
            | Self::Retried { tx, .. }
            | Self::Persisted { tx, .. }
            | Self::Completed { tx, .. }
            | Self::Failed { tx, .. }
            | Self::Landed { tx, .. }
            | Self::Discarded { tx } => Some(*tx),
            _ => None,
        }
    }
}

/// A transaction as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransactionFact<V> {
    pub id: TxId,
    pub created_at: Timestamp,
    /// Its place in the journal's order, where the record's own place does not say it (checkpoints only).
    pub place: Option<(u64, u64)>,
    pub order: OrderKind,
    pub function: Option<Rc<str>>,
    pub metadata: Option<V>,
    /// The ordered transactions that it was queued behind when it was written.
    pub behind: Vec<TxId>,
    pub mutations: Vec<MutationFact<V>>,
}

/// The strategy that a transaction was written with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OrderKind {
    Object,
    Collection,
    Parallel { merge: Option<String> },
}

impl From<Scope> for OrderKind {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Object => Self::Object,
            Scope::Collection => Self::Collection,
        }
    }
}

/// One change to one object, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MutationFact<V> {
    pub collection: Rc<str>,
    pub key: Rc<str>,
    pub version: u32,
    pub kind: MutationFactKind<V>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MutationFactKind<V> {
    Insert { row: V },
    Update { original: Option<V>, changes: V },
    Delete { original: Option<V> },
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Vec<Fact<serde_json::Value>> {
        let info =
            ErrorInfo { name: "Error".into(), code: "x".into(), message: "m".into(), ..ErrorInfo::default() };
        let tx = TxId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let at = Timestamp(1_000);
        let mutation = |kind| MutationFact { collection: "todos".into(), key: "t1".into(), version: 1, kind };
        vec![
            Fact::Transaction(Box::new(TransactionFact {
                id: tx,
                created_at: at,
                place: Some((3, 4)),
                order: OrderKind::Parallel { merge: Some("sum".into()) },
                function: Some("save".into()),
                metadata: Some(json!({ "from": "drag" })),
                behind: vec![TxId(1)],
                mutations: vec![
                    mutation(MutationFactKind::Insert { row: json!({ "id": "t1" }) }),
                    mutation(MutationFactKind::Update { original: None, changes: json!({ "done": true }) }),
                    mutation(MutationFactKind::Delete { original: Some(json!(1)) }),
                ],
            })),
            Fact::Started { tx, at },
            Fact::Retried { tx, at, error: info.clone(), next_at: Timestamp(2_000), counts: true },
            Fact::Persisted { tx, at },
            Fact::Completed { tx, at, confirmed: true, warning: Some(info.clone()) },
            Fact::Failed { tx, at, error: info, cause: Some(TxId(2)) },
            Fact::Discarded { tx },
            Fact::Pruned { tx },
            Fact::Rekeyed {
                collection: "todos".into(),
                from: "temp".into(),
                to: "t9".into(),
                field: Some("id".into()),
            },
            Fact::Rows {
                table: "r/todo".into(),
                writes: vec![("a".into(), Some(json!([1]))), ("b".into(), None)],
            },
            Fact::Reset { table: "r/todo".into() },
            Fact::Cursor { remote: "r".into(), cursor: Some(7), identity: Some("log".into()) },
            Fact::Patched { table: "t".into(), writes: vec![("k".into(), json!({ "n": 2 }))] },
            Fact::Landed { tx: TxId(7), events: 2 },
            Fact::Client { remote: "r".into(), client: "c".into() },
            Fact::Table { collection: "todos".into(), table: "r/todo".into() },
            Fact::Held { table: "todos".into(), writes: vec![("a".into(), None)] },
            Fact::Mapped { remote: "r".into(), mappings: vec!["r/todo".into()] },
            Fact::Synced { table: "todos".into() },
            Fact::Provisional { table: "todos".into(), writes: vec![("a".into(), None)] },
            Fact::Doubtful { collection: "todos".into(), keys: vec!["a".into()] },
        ]
    }

    #[test]
    fn every_fact_survives_its_encoding() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
    }

    #[test]
    fn a_record_of_a_later_version_or_a_damaged_one_is_refused_in_words() {
        let mut record = encode(&sample());
        record.bytes[0] = 9;
        assert!(decode(&record).unwrap_err().contains("format 9"));
        let mut record = encode(&sample());
        record.bytes.truncate(40);
        assert!(decode(&record).unwrap_err().contains("damaged"));
        let mut record = encode(&sample());
        record.values.clear();
        assert!(decode(&record).unwrap_err().contains("values"));
    }
}
