//! What a fact of the journal does to memory: the same in the tab that wrote it, in the others, and after a reload.

use std::rc::Rc;

use super::{
    Engine,
    checkpoint::{bucket, transaction_segment},
    transaction::{Attempt, Change, Mutation, Order, Slot, TxIx},
};
use crate::{
    ErrorInfo, Output, Timestamp, TxId, Value,
    output::TxEvent,
    record::{Fact, MutationFact, MutationFactKind, TransactionFact},
    view::TransactionState,
};

impl<V: Value> Engine<V> {
    pub(super) fn apply(&mut self, now: Timestamp, fact: Fact<V>, order: Order) {
        match fact {
            Fact::Transaction(fact) => self.apply_transaction(now, *fact, order),
            Fact::Started { tx, at } => self.with(tx, |engine, tx| engine.apply_started(tx, at)),
            Fact::Retried { tx, at, error, next_at, counts } => {
                self.with(tx, |engine, tx| engine.apply_retried(now, tx, at, error, next_at, counts))
            }
            Fact::Persisted { tx, at } => self.with(tx, |engine, tx| engine.apply_persisted(now, tx, at)),
            Fact::Completed { tx, at, confirmed, warning } => self.with(tx, |engine, tx| {
                let slot = engine.tx_mut(tx);
                // Its failure may have been on its way into the journal when it was recognised in the log: what the journal
                // has first is how it ended, in every tab.
                if slot.is_done() {
                    return;
                }
                slot.updated_at = at;
                slot.warning = warning;
                engine.end(tx, TransactionState::Completed, confirmed);
                engine.told(tx, TxEvent::Completed);
                engine.consider_after(now, tx);
            }),
            Fact::Failed { tx, at, error, cause } => {
                self.with(tx, |engine, tx| engine.apply_failed(now, tx, at, error, cause))
            }
            Fact::Discarded { tx } if !self.is_listed(tx) => self.remember_discarded(tx),
            Fact::Discarded { tx } => self.with(tx, |engine, tx| {
                // The backend had it before the journal had this: it can't be taken back any more.
                if matches!(
                    engine.tx(tx).state,
                    TransactionState::PersistedAwaitingSync | TransactionState::Completed
                ) {
                    let slot = engine.tx_mut(tx);
                    slot.deciding = slot.completing;
                    return;
                }
                engine.abandon(tx);
                engine.end(tx, TransactionState::Failed, false);
                engine.told(tx, TxEvent::Discarded);
                engine.consider_after(now, tx);
                engine.remove(tx);
            }),
            Fact::Pruned { tx } => self.with(tx, |engine, tx| {
                if engine.tx(tx).is_done() {
                    engine.remove(tx);
                }
            }),
            Fact::Rekeyed { collection, from, to, field } => {
                let collection = self.collection_named(&collection);
                self.rekey(collection, &from, &to, field.as_deref());
            }
            Fact::Rows { table, writes } => {
                let collection = self.collection_of_table(&table);
                for (key, value) in writes {
                    let row = self.collections[collection].row_ix(&key);
                    self.sync_row(collection, row, value);
                }
                self.synced_dirty.insert(collection);
            }
            Fact::Reset { table } => {
                let collection = self.collection_of_table(&table);
                for row in 0..self.collections[collection].rows.len() {
                    self.sync_row(collection, row, None);
                }
                self.synced_dirty.insert(collection);
            }
            Fact::Cursor { remote, cursor, identity } => self.apply_cursor(&remote, cursor, identity),
            Fact::Client { remote, client } => {
                self.remotes.entry(remote).or_default().client = Some(client);
            }
            Fact::Mapped { remote, mappings } => {
                self.remotes.entry(remote).or_default().mapped = mappings;
            }
            Fact::Landed { tx, events } => self.with(tx, |engine, tx| {
                let slot = engine.tx_mut(tx);
                // None at all: the log that had some is gone.
                slot.landed = if events == 0 { 0 } else { slot.landed.max(events) };
            }),
            Fact::Patched { table, writes } => {
                let collection = self.collection_of_table(&table);
                for (key, changes) in writes {
                    let row = self.collections[collection].row_ix(&key);
                    if let Some(synced) = &self.collections[collection].row(row).synced {
                        let value = synced.merge(&changes);
                        self.sync_row(collection, row, Some(value));
                    }
                }
                self.synced_dirty.insert(collection);
            }
            Fact::Synced { table } => {
                let collection = self.collection_of_table(&table);
                self.collections[collection].ever_synced = true;
                // All there is has been seen: what was taken as done without that is settled by it.
                for row in 0..self.collections[collection].rows.len() {
                    if self.collections[collection].row_mut(row).provisional.take().is_some() {
                        self.touch(collection, row);
                        self.refresh_unless_quiet(collection, row);
                    }
                }
                if !self.journal.quiet {
                    self.tell_synced(collection);
                }
            }
            Fact::Doubtful { collection, keys } => {
                let collection = self.collection_named(&collection);
                for key in keys {
                    let row = self.collections[collection].row_ix(&key);
                    self.journal.mirror_doubts.insert(collection, row);
                }
            }
            Fact::Table { collection, table } => {
                let collection = self.collection_named(&collection);
                let holder = &mut self.collections[collection];
                holder.journalled_table = Some(table.clone());
                if holder.registered.is_none() && holder.table != table {
                    self.adopt(collection, table);
                }
            }
            Fact::Held { table, writes } => {
                let collection = self.collection_of_table(&table);
                for (key, value) in writes {
                    let row = self.collections[collection].row_ix(&key);
                    self.collections[collection].row_mut(row).held = Some(value);
                    self.refresh_unless_quiet(collection, row);
                }
            }
            Fact::Provisional { table, writes } => {
                let collection = self.collection_of_table(&table);
                for (key, value) in writes {
                    let row = self.collections[collection].row_ix(&key);
                    self.collections[collection].row_mut(row).provisional = Some(value);
                    self.touch(collection, row);
                    self.refresh_unless_quiet(collection, row);
                }
            }
        }
    }

    /// A transaction of this tab's has its place in the log.
    pub(super) fn take_place(&mut self, now: Timestamp, tx: TxIx, order: Order) {
        let Some(old) = self.txs[tx].as_ref().map(|slot| slot.order) else { return };
        self.txs_by_order.remove(&old);
        self.txs_by_order.insert(order, tx);
        if self.unfinished.remove(&old).is_some() {
            self.unfinished.insert(order, tx);
        }
        self.tx_mut(tx).order = order;
        self.touched_txs.insert(transaction_segment(order));
        // Records of other tabs that were read meanwhile were put before it already, and what this tab wrote
        // later still comes after it: its place among the pending of each row stands. It waits for those that
        // came before it, as it does in every tab that reads it from the log.
        let nearest = self.nearest_before(tx);
        self.write_behind(tx, &nearest);
        if !self.journal.quiet {
            self.consider(now, tx);
        }
    }

    /// Takes what sync says of a row.
    fn sync_row(&mut self, collection: usize, row: usize, value: Option<V>) {
        self.touch(collection, row);
        self.collections[collection].row_mut(row).sync(value);
        self.refresh_unless_quiet(collection, row);
    }

    fn apply_transaction(&mut self, now: Timestamp, fact: TransactionFact<V>, order: Order) {
        let order = fact.place.map_or(order, |(seq, index)| Order(seq, index));
        self.touched_txs.insert(transaction_segment(order));
        if let Some(&tx) = self.txs_by_id.get(&fact.id) {
            let slot = self.tx_mut(tx);
            if !slot.order.is_committed() {
                // This tab's own, read back among those of other tabs.
                self.take_place(now, tx, order);
                if self.journal.quiet {
                    // The rows were emptied to read the journal anew, and its overlay with them.
                    self.lay_anew(tx, fact.mutations);
                }
                return;
            }
            // Known from before the journal was read anew.
            slot.order = order;
            slot.state = TransactionState::Pending;
            slot.attempts.clear();
            slot.spent = 0;
            slot.landed = 0;
            slot.error = None;
            self.txs_by_order.insert(order, tx);
            self.unfinished.insert(order, tx);
            self.lay_anew(tx, fact.mutations);
            return;
        }
        let mutations = self.mutations_of(fact.mutations);
        let tx = self.place(Slot {
            id: fact.id,
            order,
            kind: fact.order,
            function: fact.function,
            metadata: fact.metadata,
            behind: fact.behind,
            mutations,
            created_at: fact.created_at,
            updated_at: fact.created_at,
            state: TransactionState::Pending,
            attempts: Vec::new(),
            spent: 0,
            not_before: None,
            op: None,
            error: None,
            cause: None,
            warning: None,
            deciding: false,
            persisting: false,
            completing: false,
            landed: 0,
        });
        self.overlay(tx);
        self.migrate_transaction(tx);
        // The tab that wrote it mirrored what it saw then, which may lack what was committed before.
        for index in 0..self.tx(tx).mutations.len() {
            let mutation = &self.tx(tx).mutations[index];
            self.mirror_later(mutation.collection, mutation.row);
        }
        if !self.journal.quiet {
            self.changed.insert(tx);
            self.consider(now, tx);
        }
    }

    /// Lays a transaction that was known over the rows that are read anew: under the keys that they have by now.
    fn lay_anew(&mut self, tx: TxIx, mutations: Vec<MutationFact<V>>) {
        let mutations = self.mutations_of(mutations);
        self.tx_mut(tx).mutations = mutations;
        self.overlay(tx);
        self.migrate_transaction(tx);
    }

    fn mutations_of(&mut self, facts: Vec<MutationFact<V>>) -> Vec<Mutation<V>> {
        facts
            .into_iter()
            .map(|mutation| {
                let collection = self.collection_named(&mutation.collection);
                let row = self.collections[collection].row_ix(&mutation.key);
                let (kind, modified) = match mutation.kind {
                    MutationFactKind::Insert { row } => (Change::Insert(row.clone()), Some(row)),
                    MutationFactKind::Update { original, changes } => {
                        let modified = original
                            .as_ref()
                            .map_or_else(|| changes.clone(), |original| original.merge(&changes));
                        (Change::Update { original, changes }, Some(modified))
                    }
                    MutationFactKind::Delete { original } => (Change::Delete { original }, None),
                };
                let key = self.collections[collection].key(row).clone();
                Mutation { collection, row, key, version: mutation.version, kind, modified }
            })
            .collect()
    }

    fn apply_started(&mut self, tx: TxIx, at: Timestamp) {
        let quiet = self.journal.quiet;
        let slot = self.tx(tx);
        if slot.is_done() {
            return;
        }
        // The tab that sends it noted its attempt when it began; its answer may have come before this commit.
        // Where the journal is read anew, what was noted is forgotten, and noted again.
        let last = slot.attempts.last();
        let is_noted = !quiet
            && (slot.op.is_some()
                || last.is_some_and(|last| last.started_at == at && last.completed_at.is_none()));
        if !is_noted {
            self.note_started(tx, at);
        }
    }

    /// Notes that an attempt has begun.
    pub(super) fn note_started(&mut self, tx: TxIx, at: Timestamp) {
        let slot = self.tx_mut(tx);
        slot.attempts.push(Attempt {
            started_at: at,
            completed_at: None,
            error: None,
            retry_at: None,
            counted: true,
        });
        slot.state = TransactionState::Persisting;
        slot.updated_at = at;
        slot.not_before = None;
        self.lock_rows(tx);
        self.note(tx);
    }

    fn apply_retried(
        &mut self,
        now: Timestamp,
        tx: TxIx,
        at: Timestamp,
        error: ErrorInfo,
        next_at: Timestamp,
        counts: bool,
    ) {
        let slot = self.tx_mut(tx);
        if slot.is_done() {
            return;
        }
        slot.state = TransactionState::Pending;
        slot.updated_at = at;
        // It may have been recognised in the log since: then there is nothing more to send.
        slot.deciding = slot.completing;
        slot.spent += u32::from(counts);
        slot.not_before = Some(next_at);
        if let Some(attempt) = slot.attempts.last_mut() {
            attempt.completed_at = Some(at);
            attempt.error = Some(error);
            attempt.retry_at = Some(next_at);
            attempt.counted = counts;
        }
        // A night without a network is one attempt in the history, not a thousand.
        if !counts
            && let [.., earlier, last] = &mut slot.attempts[..]
            && earlier.error == last.error
        {
            last.started_at = earlier.started_at;
            let at = slot.attempts.len() - 2;
            slot.attempts.remove(at);
        }
        self.note(tx);
        if !self.journal.quiet {
            self.consider(now, tx);
        }
    }

    fn apply_persisted(&mut self, now: Timestamp, tx: TxIx, at: Timestamp) {
        let slot = self.tx_mut(tx);
        if slot.is_done() || slot.state == TransactionState::PersistedAwaitingSync {
            return;
        }
        slot.state = TransactionState::PersistedAwaitingSync;
        slot.updated_at = at;
        slot.persisting = false;
        slot.deciding = slot.completing;
        if let Some(attempt) = slot.attempts.last_mut() {
            attempt.completed_at = Some(at);
        }
        self.told(tx, TxEvent::Persisted);
        if !self.journal.quiet {
            self.await_sync(now, tx);
        }
    }

    fn apply_failed(
        &mut self,
        now: Timestamp,
        tx: TxIx,
        at: Timestamp,
        error: ErrorInfo,
        cause: Option<TxId>,
    ) {
        let slot = self.tx_mut(tx);
        if slot.is_done() {
            return;
        }
        slot.updated_at = at;
        slot.cause = cause;
        slot.error = Some(error.clone());
        if cause.is_none()
            && let Some(attempt) = slot.attempts.last_mut()
        {
            attempt.completed_at = Some(at);
            attempt.error = Some(error.clone());
        }
        // Those that were written behind it since the decision fail with it too.
        let dependents = if self.journal.quiet { Vec::new() } else { self.dependents(tx) };
        self.end(tx, TransactionState::Failed, false);
        self.told(tx, TxEvent::Failed { error, cause });
        for dependent in dependents {
            self.consider(now, dependent);
        }
        self.consider_after(now, tx);
    }

    fn apply_cursor(&mut self, remote: &Rc<str>, cursor: Option<u64>, identity: Option<Rc<str>>) {
        let known = self.remotes.entry(remote.clone()).or_default();
        known.cursor = cursor;
        known.identity = identity.clone();
        if let Some(&session) = self.sessions_by_name.get(remote) {
            let line = self.sessions[session].line;
            // The leader's own is ahead of what is committed: it has asked for more already.
            if !self.lines[line].leads() {
                self.sessions[session].cursor = cursor;
                self.sessions[session].identity = identity;
            }
            self.status_changed = true;
        }
    }

    pub(super) fn tell_ready(&mut self, collection: usize) {
        let holder = &mut self.collections[collection];
        if !holder.ready_told {
            holder.ready_told = true;
            self.tell_rows();
            self.outputs.push_back(Output::Ready(super::collection_id(collection)));
        }
    }

    pub(super) fn tell_synced(&mut self, collection: usize) {
        let holder = &mut self.collections[collection];
        if holder.registered.is_some() && !holder.synced_told {
            holder.synced_told = true;
            self.tell_rows();
            self.outputs.push_back(Output::Synced(super::collection_id(collection)));
        }
    }

    /// Another tab leads and has synced it: that counts for this one.
    pub(super) fn tell_synced_before(&mut self, collection: usize) {
        if self.collections[collection].ever_synced {
            self.tell_synced(collection);
        }
    }

    pub(super) fn refresh_unless_quiet(&mut self, collection: usize, row: usize) {
        if self.journal.quiet {
            // Whether what the log says of it had reached the mirror before the last session ended is not known.
            self.journal.mirror_doubts.insert(collection, row);
        } else {
            self.refresh(collection, row);
        }
    }

    /// Marks the rows of a transaction that has started as locked by it.
    pub(super) fn lock_rows(&mut self, tx: TxIx) {
        if !self.tx(tx).is_ordered() {
            return;
        }
        for index in 0..self.tx(tx).mutations.len() {
            let mutation = &self.tx(tx).mutations[index];
            let (collection, row) = (mutation.collection, mutation.row);
            self.collections[collection].row_mut(row).locked_by = Some(tx);
        }
    }

    /// Notes that a row's segment differs from the checkpoint's.
    pub(super) fn touch(&mut self, collection: usize, row: usize) {
        let bucket = bucket(self.collections[collection].key(row));
        self.touched_rows.insert(collection, bucket);
    }

    fn with(&mut self, id: TxId, act: impl FnOnce(&mut Self, TxIx)) {
        if let Some(&tx) = self.txs_by_id.get(&id) {
            let order = self.tx(tx).order;
            if order.is_committed() {
                self.touched_txs.insert(transaction_segment(order));
            }
            act(self, tx);
        }
    }
}
