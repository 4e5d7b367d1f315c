//! A journal record: what one turn wrote, and how it is encoded.
//!
//! A record is a list of [`Fact`]s. Its bytes hold a format version, a table of names and the facts in
//! postcard; row values stand beside them in a list, by position, so that they are never serialised here
//! and IndexedDB keeps them by structured clone.

use std::{collections::BTreeMap, rc::Rc};

use serde::{Deserialize, Serialize};

use crate::{ErrorInfo, Timestamp, TxId, spec::Scope};

/// The version of the encoding; the first byte of each record.
const FORMAT: u8 = 1;

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

/// Encodes facts.
pub(crate) fn encode<V: Clone>(facts: &[Fact<V>]) -> Record<V> {
    let mut writer = Writer { names: Vec::new(), by_name: BTreeMap::new(), values: Vec::new() };
    let facts = facts.iter().map(|fact| writer.fact(fact)).collect();
    let wire = Wire { names: writer.names, facts };
    let bytes = postcard::to_extend(&wire, vec![FORMAT]).expect("a record's own types always encode");
    Record { bytes, values: writer.values }
}

/// Decodes a record. A text for people if it is none of ours, damaged, or of a later version.
pub(crate) fn decode<V: Clone>(record: &Record<V>) -> Result<Vec<Fact<V>>, String> {
    match record.bytes.split_first() {
        Some((&FORMAT, rest)) => {
            let wire: Wire = postcard::from_bytes(rest)
                .map_err(|error| format!("a journal record is damaged: {error}"))?;
            let names: Vec<Rc<str>> = wire.names.into_iter().map(Into::into).collect();
            let reader = Reader { names: &names, values: &record.values };
            wire.facts
                .into_iter()
                .map(|fact| reader.fact(fact))
                .collect::<Option<_>>()
                .ok_or_else(|| "a journal record refers to values that it does not hold".into())
        }
        Some((version, _)) => Err(format!(
            "a journal record has format {version}, and this version of Driftline reads {FORMAT}"
        )),
        None => Err("a journal record is empty".into()),
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    names: Vec<String>,
    facts: Vec<WireFact>,
}

type Id = [u8; 16];

#[derive(Serialize, Deserialize)]
enum WireFact {
    Transaction {
        id: Id,
        created_at: Timestamp,
        place: Option<(u64, u64)>,
        order: OrderKind,
        function: Option<u32>,
        metadata: Option<u32>,
        behind: Vec<Id>,
        mutations: Vec<WireMutation>,
    },
    Started {
        tx: Id,
        at: Timestamp,
    },
    Retried {
        tx: Id,
        at: Timestamp,
        error: ErrorInfo,
        next_at: Timestamp,
        counts: bool,
    },
    Persisted {
        tx: Id,
        at: Timestamp,
    },
    Completed {
        tx: Id,
        at: Timestamp,
        confirmed: bool,
        warning: Option<ErrorInfo>,
    },
    Failed {
        tx: Id,
        at: Timestamp,
        error: ErrorInfo,
        cause: Option<Id>,
    },
    Discarded {
        tx: Id,
    },
    Pruned {
        tx: Id,
    },
    Rekeyed {
        collection: u32,
        from: String,
        to: String,
        field: Option<String>,
    },
    Rows {
        table: u32,
        writes: Vec<(String, Option<u32>)>,
    },
    Reset {
        table: u32,
    },
    Cursor {
        remote: u32,
        cursor: Option<u64>,
        identity: Option<String>,
    },
    Synced {
        table: u32,
    },
    Provisional {
        table: u32,
        writes: Vec<(String, Option<u32>)>,
    },
    Doubtful {
        collection: u32,
        keys: Vec<String>,
    },
    Patched {
        table: u32,
        writes: Vec<(String, u32)>,
    },
    Landed {
        tx: Id,
        events: u32,
    },
    Client {
        remote: u32,
        client: String,
    },
    Held {
        table: u32,
        writes: Vec<(String, Option<u32>)>,
    },
    Table {
        collection: u32,
        table: u32,
    },
    Mapped {
        remote: u32,
        mappings: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct WireMutation {
    collection: u32,
    key: String,
    version: u32,
    kind: WireKind,
}

#[derive(Serialize, Deserialize)]
enum WireKind {
    Insert { row: u32 },
    Update { original: Option<u32>, changes: u32 },
    Delete { original: Option<u32> },
}

struct Writer<V> {
    names: Vec<String>,
    by_name: BTreeMap<Rc<str>, usize>,
    values: Vec<V>,
}

impl<V: Clone> Writer<V> {
    fn name(&mut self, name: &Rc<str>) -> u32 {
        if let Some(&at) = self.by_name.get(name) {
            return index(at);
        }
        let at = self.names.len();
        self.names.push(name.to_string());
        self.by_name.insert(name.clone(), at);
        index(at)
    }

    fn value(&mut self, value: &V) -> u32 {
        self.values.push(value.clone());
        index(self.values.len() - 1)
    }

    fn writes(&mut self, writes: &[(Rc<str>, Option<V>)]) -> Vec<(String, Option<u32>)> {
        writes.iter().map(|(key, row)| (key.to_string(), row.as_ref().map(|row| self.value(row)))).collect()
    }

    fn fact(&mut self, fact: &Fact<V>) -> WireFact {
        match fact {
            Fact::Transaction(tx) => WireFact::Transaction {
                id: id(tx.id),
                created_at: tx.created_at,
                place: tx.place,
                order: tx.order.clone(),
                function: tx.function.as_ref().map(|name| self.name(name)),
                metadata: tx.metadata.as_ref().map(|value| self.value(value)),
                behind: tx.behind.iter().copied().map(id).collect(),
                mutations: tx.mutations.iter().map(|mutation| self.mutation(mutation)).collect(),
            },
            Fact::Started { tx, at } => WireFact::Started { tx: id(*tx), at: *at },
            Fact::Retried { tx, at, error, next_at, counts } => WireFact::Retried {
                tx: id(*tx),
                at: *at,
                error: error.clone(),
                next_at: *next_at,
                counts: *counts,
            },
            Fact::Persisted { tx, at } => WireFact::Persisted { tx: id(*tx), at: *at },
            Fact::Completed { tx, at, confirmed, warning } => {
                WireFact::Completed { tx: id(*tx), at: *at, confirmed: *confirmed, warning: warning.clone() }
            }
            Fact::Failed { tx, at, error, cause } => {
                WireFact::Failed { tx: id(*tx), at: *at, error: error.clone(), cause: cause.map(id) }
            }
            Fact::Discarded { tx } => WireFact::Discarded { tx: id(*tx) },
            Fact::Pruned { tx } => WireFact::Pruned { tx: id(*tx) },
            Fact::Rekeyed { collection, from, to, field } => WireFact::Rekeyed {
                collection: self.name(collection),
                from: from.to_string(),
                to: to.to_string(),
                field: field.clone(),
            },
            Fact::Rows { table, writes } => {
                WireFact::Rows { table: self.name(table), writes: self.writes(writes) }
            }
            Fact::Reset { table } => WireFact::Reset { table: self.name(table) },
            Fact::Cursor { remote, cursor, identity } => WireFact::Cursor {
                remote: self.name(remote),
                cursor: *cursor,
                identity: identity.as_deref().map(str::to_owned),
            },
            Fact::Synced { table } => WireFact::Synced { table: self.name(table) },
            Fact::Provisional { table, writes } => {
                WireFact::Provisional { table: self.name(table), writes: self.writes(writes) }
            }
            Fact::Doubtful { collection, keys } => WireFact::Doubtful {
                collection: self.name(collection),
                keys: keys.iter().map(ToString::to_string).collect(),
            },
            Fact::Patched { table, writes } => WireFact::Patched {
                table: self.name(table),
                writes: writes.iter().map(|(key, changes)| (key.to_string(), self.value(changes))).collect(),
            },
            Fact::Landed { tx, events } => WireFact::Landed { tx: id(*tx), events: *events },
            Fact::Client { remote, client } => {
                WireFact::Client { remote: self.name(remote), client: client.to_string() }
            }
            Fact::Table { collection, table } => {
                WireFact::Table { collection: self.name(collection), table: self.name(table) }
            }
            Fact::Mapped { remote, mappings } => WireFact::Mapped {
                remote: self.name(remote),
                mappings: mappings.iter().map(|mapping| mapping.to_string()).collect(),
            },
            Fact::Held { table, writes } => {
                WireFact::Held { table: self.name(table), writes: self.writes(writes) }
            }
        }
    }

    fn mutation(&mut self, mutation: &MutationFact<V>) -> WireMutation {
        WireMutation {
            collection: self.name(&mutation.collection),
            key: mutation.key.to_string(),
            version: mutation.version,
            kind: match &mutation.kind {
                MutationFactKind::Insert { row } => WireKind::Insert { row: self.value(row) },
                MutationFactKind::Update { original, changes } => WireKind::Update {
                    original: original.as_ref().map(|row| self.value(row)),
                    changes: self.value(changes),
                },
                MutationFactKind::Delete { original } => {
                    WireKind::Delete { original: original.as_ref().map(|row| self.value(row)) }
                }
            },
        }
    }
}

struct Reader<'a, V> {
    names: &'a [Rc<str>],
    values: &'a [V],
}

impl<V: Clone> Reader<'_, V> {
    fn name(&self, index: u32) -> Option<Rc<str>> {
        self.names.get(index as usize).cloned()
    }

    fn value(&self, index: u32) -> Option<V> {
        self.values.get(index as usize).cloned()
    }

    /// The outer `None`: the record is damaged.
    fn optional(&self, index: Option<u32>) -> Option<Option<V>> {
        index.map_or(Some(None), |index| self.value(index).map(Some))
    }

    fn writes(&self, writes: Vec<(String, Option<u32>)>) -> Option<Vec<(Rc<str>, Option<V>)>> {
        writes.into_iter().map(|(key, row)| Some((key.into(), self.optional(row)?))).collect()
    }

    fn fact(&self, fact: WireFact) -> Option<Fact<V>> {
        Some(match fact {
            WireFact::Transaction { id, created_at, place, order, function, metadata, behind, mutations } => {
                Fact::Transaction(Box::new(TransactionFact {
                    id: tx(id),
                    created_at,
                    place,
                    order,
                    function: match function {
                        Some(index) => Some(self.name(index)?),
                        None => None,
                    },
                    metadata: self.optional(metadata)?,
                    behind: behind.into_iter().map(tx).collect(),
                    mutations: mutations
                        .into_iter()
                        .map(|mutation| self.mutation(mutation))
                        .collect::<Option<_>>()?,
                }))
            }
            WireFact::Started { tx: id, at } => Fact::Started { tx: tx(id), at },
            WireFact::Retried { tx: id, at, error, next_at, counts } => {
                Fact::Retried { tx: tx(id), at, error, next_at, counts }
            }
            WireFact::Persisted { tx: id, at } => Fact::Persisted { tx: tx(id), at },
            WireFact::Completed { tx: id, at, confirmed, warning } => {
                Fact::Completed { tx: tx(id), at, confirmed, warning }
            }
            WireFact::Failed { tx: id, at, error, cause } => {
                Fact::Failed { tx: tx(id), at, error, cause: cause.map(tx) }
            }
            WireFact::Discarded { tx: id } => Fact::Discarded { tx: tx(id) },
            WireFact::Pruned { tx: id } => Fact::Pruned { tx: tx(id) },
            WireFact::Rekeyed { collection, from, to, field } => {
                Fact::Rekeyed { collection: self.name(collection)?, from: from.into(), to: to.into(), field }
            }
            WireFact::Rows { table, writes } => {
                Fact::Rows { table: self.name(table)?, writes: self.writes(writes)? }
            }
            WireFact::Reset { table } => Fact::Reset { table: self.name(table)? },
            WireFact::Cursor { remote, cursor, identity } => {
                Fact::Cursor { remote: self.name(remote)?, cursor, identity: identity.map(Into::into) }
            }
            WireFact::Synced { table } => Fact::Synced { table: self.name(table)? },
            WireFact::Provisional { table, writes } => {
                Fact::Provisional { table: self.name(table)?, writes: self.writes(writes)? }
            }
            WireFact::Doubtful { collection, keys } => Fact::Doubtful {
                collection: self.name(collection)?,
                keys: keys.into_iter().map(Into::into).collect(),
            },
            WireFact::Patched { table, writes } => Fact::Patched {
                table: self.name(table)?,
                writes: writes
                    .into_iter()
                    .map(|(key, changes)| Some((key.into(), self.value(changes)?)))
                    .collect::<Option<_>>()?,
            },
            WireFact::Landed { tx: id, events } => Fact::Landed { tx: tx(id), events },
            WireFact::Client { remote, client } => {
                Fact::Client { remote: self.name(remote)?, client: client.into() }
            }
            WireFact::Table { collection, table } => {
                Fact::Table { collection: self.name(collection)?, table: self.name(table)? }
            }
            WireFact::Mapped { remote, mappings } => Fact::Mapped {
                remote: self.name(remote)?,
                mappings: mappings.into_iter().map(Into::into).collect(),
            },
            WireFact::Held { table, writes } => {
                Fact::Held { table: self.name(table)?, writes: self.writes(writes)? }
            }
        })
    }

    fn mutation(&self, mutation: WireMutation) -> Option<MutationFact<V>> {
        Some(MutationFact {
            collection: self.name(mutation.collection)?,
            key: mutation.key.into(),
            version: mutation.version,
            kind: match mutation.kind {
                WireKind::Insert { row } => MutationFactKind::Insert { row: self.value(row)? },
                WireKind::Update { original, changes } => MutationFactKind::Update {
                    original: self.optional(original)?,
                    changes: self.value(changes)?,
                },
                WireKind::Delete { original } => {
                    MutationFactKind::Delete { original: self.optional(original)? }
                }
            },
        })
    }
}

fn id(tx: TxId) -> Id {
    tx.0.to_be_bytes()
}

fn tx(id: Id) -> TxId {
    TxId(u128::from_be_bytes(id))
}

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("a record holds what one turn wrote: far fewer than 2^32 values")
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
