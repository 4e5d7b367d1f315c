//! The server of the app's own functions: what `persist` writes to and the sync feed reads from.

use std::collections::{BTreeMap, BTreeSet};

use driftline_core::{
    SyncUpdate, TxId,
    view::{MutationKind, PendingMutationView},
};
use serde_json::Value;

use crate::server::REFUSED_FIELD;

/// Rows by collection, and the transactions that were applied.
#[derive(Debug, Default)]
pub struct AppServer {
    rows: BTreeMap<String, BTreeMap<String, Value>>,
    applied: BTreeSet<TxId>,
    /// Rises with each transaction that is applied.
    version: u64,
    versions: BTreeMap<TxId, u64>,
    /// What rows are called that were inserted under a temporary key, by collection and that key.
    keys: BTreeMap<String, BTreeMap<String, String>>,
}

/// Rows that are inserted under a key that begins so get another.
pub const TEMPORARY: &str = "new-";

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    /// Just now, as this version.
    Now,
    /// By an earlier call with the same idempotency key.
    Before,
    /// Never: the reason is permanent.
    Refused(&'static str),
}

/// What one version changed in one collection.
pub type Changes = BTreeMap<String, Vec<(String, Option<Value>)>>;

impl AppServer {
    /// Applies a transaction as a whole, once.
    pub fn apply(&mut self, tx: TxId, mutations: &[PendingMutationView<Value>]) -> (Applied, Changes) {
        if self.applied.contains(&tx) {
            return (Applied::Before, Changes::new());
        }
        let mut changes = Changes::new();
        let mut keys = Vec::new();
        for mutation in mutations {
            let mut key = self.key_for(&mutation.collection, &mutation.key).unwrap_or(&mutation.key).clone();
            let row = self.rows.get(&mutation.collection).and_then(|rows| rows.get(&key));
            if mutation.changes.as_ref().is_some_and(|changes| changes.get(REFUSED_FIELD).is_some()) {
                return (Applied::Refused("refused"), Changes::new());
            }
            let row = match (mutation.kind, row, &mutation.changes) {
                (MutationKind::Insert, None, Some(row)) => {
                    let mut row = row.clone();
                    if key.starts_with(TEMPORARY) {
                        // One name for what one transaction inserts under one key, in whatever collections.
                        key = format!("row-{}-{}", self.version + 1, &key[TEMPORARY.len()..]);
                        row["id"] = key.as_str().into();
                        keys.push((mutation.collection.clone(), mutation.key.clone(), key.clone()));
                    }
                    Some(row)
                }
                (MutationKind::Insert, _, _) => return (Applied::Refused("conflict"), Changes::new()),
                (MutationKind::Update, Some(row), Some(changes)) => {
                    let mut row = row.clone();
                    for (field, value) in changes.as_object().into_iter().flatten() {
                        row[field.as_str()] = value.clone();
                    }
                    Some(row)
                }
                (MutationKind::Delete, Some(_), _) => None,
                (MutationKind::Update | MutationKind::Delete, _, _) => {
                    return (Applied::Refused("not found"), Changes::new());
                }
            };
            changes.entry(mutation.collection.clone()).or_default().push((key, row));
        }
        for (collection, temporary, key) in keys {
            self.keys.entry(collection).or_default().insert(temporary, key);
        }
        for (collection, writes) in &changes {
            let rows = self.rows.entry(collection.clone()).or_default();
            for (key, row) in writes {
                match row {
                    Some(row) => rows.insert(key.clone(), row.clone()),
                    None => rows.remove(key),
                };
            }
        }
        self.version += 1;
        self.applied.insert(tx);
        self.versions.insert(tx, self.version);
        (Applied::Now, changes)
    }

    /// The key that it gave a row which was inserted under a temporary one.
    pub fn key_for(&self, collection: &str, temporary: &str) -> Option<&String> {
        self.keys.get(collection)?.get(temporary)
    }

    /// The temporary key that a row was inserted under, if it has another now; else its own.
    pub fn first_key<'a>(&'a self, collection: &str, key: &'a str) -> &'a str {
        let keys = self.keys.get(collection).into_iter().flatten();
        keys.into_iter().find(|(_, now)| *now == key).map_or(key, |(first, _)| first)
    }

    /// All rows of a collection, as a feed's first data.
    pub fn full(&self, collection: &str) -> SyncUpdate<Value> {
        SyncUpdate::Full(self.rows(collection).map(|(key, row)| (key.to_owned(), row.clone())).collect())
    }

    /// The rows of a collection.
    pub fn rows(&self, collection: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.rows.get(collection).into_iter().flatten().map(|(key, row)| (key.as_str(), row))
    }

    /// The version that everything is at.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version that a transaction made, if it was applied.
    pub fn version_of(&self, tx: TxId) -> Option<u64> {
        self.versions.get(&tx).copied()
    }
}
