//! Queued work that must change to be sent: rows that got another key, mutations of an older version.

use std::rc::Rc;

use super::{
    Engine,
    collection::PendingRef,
    transaction::{Change, Order, TxIx},
};
use crate::{
    Code, ErrorInfo, Output, StoredMutation, Value, record::Fact, spec::KEY_MAX_BYTES, view::MutationKind,
};

impl<V: Value> Engine<V> {
    /// Decides that what the transaction wrote under a key has another one now: in each collection where it
    /// inserted it, or, if it did so in none, where it changed it. A key that can't be one is left as it is, and told.
    pub(super) fn decide_rekey(&mut self, line: usize, tx: TxIx, from: &str, to: &str) {
        let slot = self.tx(tx);
        let id = slot.id;
        let wrote = |inserts: bool| -> Vec<usize> {
            let of_key = slot.mutations.iter().filter(|mutation| *mutation.key == *from);
            of_key
                .filter(|mutation| (mutation.kind() == MutationKind::Insert) == inserts)
                .map(|mutation| mutation.collection)
                .collect()
        };
        let mut written = wrote(true);
        if written.is_empty() {
            written = wrote(false);
        }
        if written.is_empty() || to.is_empty() || to.len() > KEY_MAX_BYTES {
            let error = ErrorInfo::of(
                Code::InvalidKey,
                format!(
                    "persist() gave the row {from} a new key, and either the transaction did not write that row or the key is not a string of 1 to {KEY_MAX_BYTES} bytes; the row keeps its key"
                ),
            );
            self.outputs.push_back(Output::Error { code: Code::InvalidKey, error, transaction: Some(id) });
            return;
        }
        for collection in written {
            let holder = &self.collections[collection];
            let field = holder.registered.as_ref().and_then(|registration| registration.key_field.clone());
            let collection = holder.name.clone();
            self.decide(line, Fact::Rekeyed { collection, from: from.into(), to: to.into(), field });
        }
    }

    /// Moves a row with all that is pending on it to another key.
    pub(super) fn rekey(&mut self, collection: usize, from: &Rc<str>, to: &Rc<str>, field: Option<&str>) {
        if from == to {
            return;
        }
        let holder = &mut self.collections[collection];
        let old = holder.row_ix(from);
        let new = holder.row_ix(to);
        for target in holder.aliases.values_mut().filter(|target| **target == old) {
            *target = new;
        }
        holder.aliases.insert(from.clone(), new);
        if old == new {
            return;
        }
        let rekeyed = |row: &V| field.map_or_else(|| row.clone(), |field| row.with_text(field, to));
        let row = holder.row_mut(old);
        let moved = core::mem::take(&mut row.pending);
        let locked_by = row.locked_by.take();
        row.held = None;
        let (synced, provisional) = (row.synced.take(), row.provisional.take());
        let target = holder.row_mut(new);
        // What sync already brought under the new key is the server's word; else what was there moves along.
        if target.synced.is_none() {
            target.synced = synced.as_ref().map(&rekeyed);
        }
        if target.provisional.is_none() {
            target.provisional = provisional.map(|row| row.as_ref().map(&rekeyed));
        }
        target.locked_by = target.locked_by.or(locked_by);
        for pending in &moved {
            let slot = self.txs[pending.tx].as_mut().expect("a pending mutation's transaction is there");
            let mutation = &mut slot.mutations[pending.mutation];
            mutation.row = new;
            mutation.key = to.clone();
            mutation.modified = mutation.modified.as_ref().map(&rekeyed);
            mutation.kind = match &mutation.kind {
                Change::Insert(row) => Change::Insert(rekeyed(row)),
                Change::Update { original, changes } => {
                    Change::Update { original: original.as_ref().map(&rekeyed), changes: changes.clone() }
                }
                Change::Delete { original } => Change::Delete { original: original.as_ref().map(&rekeyed) },
            };
        }
        let mut pending: Vec<PendingRef> =
            core::mem::take(&mut self.collections[collection].row_mut(new).pending);
        pending.extend(moved.iter().copied());
        pending.sort_by_key(|pending| {
            (self.txs[pending.tx].as_ref().map_or(Order(0, 0), |slot| slot.order), pending.mutation)
        });
        self.collections[collection].row_mut(new).pending = pending;
        self.touch(collection, old);
        self.touch(collection, new);
        if !self.journal.quiet {
            self.changed.extend(moved.iter().map(|pending| pending.tx));
            self.refresh(collection, old);
            self.refresh(collection, new);
            if self.collections[collection].registered.is_some() {
                self.outputs.push_back(Output::Rekeyed {
                    collection: super::collection_id(collection),
                    from: from.to_string(),
                    to: to.to_string(),
                });
            }
            for row in [old, new] {
                self.mirror_later(collection, row);
            }
        }
    }

    /// Makes the queued work of a collection fit the version that was registered.
    pub(super) fn migrate_collection(&mut self, collection: usize) {
        let unfinished: Vec<TxIx> = self
            .unfinished
            .values()
            .copied()
            .filter(|&tx| self.tx(tx).mutations.iter().any(|mutation| mutation.collection == collection))
            .collect();
        for tx in unfinished {
            self.migrate_transaction(tx);
        }
    }

    /// Makes a transaction's mutations fit the versions that are registered.
    pub(super) fn migrate_transaction(&mut self, tx: TxIx) {
        for index in 0..self.tx(tx).mutations.len() {
            let slot = self.tx(tx);
            let mutation = &slot.mutations[index];
            let collection = mutation.collection;
            let holder = &self.collections[collection];
            let Some(registration) = &holder.registered else { continue };
            let (from, version) = (mutation.version, registration.version);
            let Some(migrate) = registration.migrate.clone().filter(|_| from < version) else { continue };
            let stored = StoredMutation {
                collection: holder.name.to_string(),
                version: from,
                key: mutation.key.to_string(),
                kind: mutation.kind(),
                original: mutation.original().cloned(),
                modified: mutation.modified.clone(),
                changes: mutation.changes().cloned(),
                metadata: slot.metadata.clone(),
            };
            match migrate(stored, from).and_then(|migrated| Some((change_of(&migrated)?, migrated))) {
                Some((kind, migrated)) => {
                    let mutation = &mut self.tx_mut(tx).mutations[index];
                    mutation.kind = kind;
                    mutation.modified = migrated.modified;
                    mutation.version = version;
                    let row = mutation.row;
                    if !self.journal.quiet {
                        self.refresh(collection, row);
                    }
                }
                None => {
                    let error = ErrorInfo::of(
                        Code::Unexpected,
                        format!(
                            "this change was queued by version {from} of the collection, and migrate() can't make it fit version {version}. It is kept with all it holds; retry or discard it"
                        ),
                    );
                    self.quarantine.push((tx, error));
                    return;
                }
            }
        }
    }

    /// Whether this tab knows the functions and the versions that a transaction was written with. One that
    /// it does not know waits, listed, for a tab or a release that does.
    pub(super) fn is_understood(&self, tx: TxIx) -> bool {
        let slot = self.tx(tx);
        slot.mutations.iter().all(|mutation| {
            self.collections[mutation.collection].registered.as_ref().is_some_and(|registration| {
                mutation.version <= registration.version
                    && slot
                        .function
                        .as_deref()
                        .is_none_or(|name| registration.functions.iter().any(|known| known == name))
            })
        })
    }
}

/// The change that a migrated mutation makes; `None` if it lacks what its kind needs.
fn change_of<V: Clone>(migrated: &StoredMutation<V>) -> Option<Change<V>> {
    Some(match migrated.kind {
        MutationKind::Insert => Change::Insert(migrated.modified.clone()?),
        MutationKind::Update => {
            Change::Update { original: migrated.original.clone(), changes: migrated.changes.clone()? }
        }
        MutationKind::Delete => Change::Delete { original: migrated.original.clone() },
    })
}
