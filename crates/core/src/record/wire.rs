//! The encoding of a record: facts whose names and values are numbers, in postcard.

use std::{collections::BTreeMap, rc::Rc};

use serde::{Deserialize, Serialize};

use super::{Fact, MutationFact, MutationFactKind, OrderKind, Record, TransactionFact};
use crate::{ErrorInfo, Timestamp, TxId};

/// The version of the encoding; the first byte of each record.
const FORMAT: u8 = 1;

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
