//! How transactions end and leave the list, and what the app is told of them.

use super::{Engine, checkpoint::bucket, transaction::TxIx};
use crate::{TxId, Value, output::TxEvent, record::OrderKind, view::TransactionState};

/// How many discarded transactions are remembered by name.
const DISCARDED_MAX: usize = 1_000;

impl<V: Value> Engine<V> {
    /// Ends a transaction: its overlay goes, its locks open. Completed and not confirmed, what it wrote stays
    /// until sync says something of the row.
    pub(super) fn end(&mut self, tx: TxIx, state: TransactionState, confirmed: bool) {
        let slot = self.tx_mut(tx);
        let was_failed = slot.state == TransactionState::Failed;
        slot.state = state;
        slot.op = None;
        slot.not_before = None;
        slot.deciding = false;
        slot.persisting = false;
        slot.completing = false;
        let order = slot.order;
        let scoped = slot.kind == OrderKind::Collection;
        let touched: Vec<_> =
            slot.mutations.iter().map(|mutation| (mutation.collection, mutation.row)).collect();
        self.unfinished.remove(&order);
        if state == TransactionState::Failed && !was_failed {
            self.failed_count += 1;
        }
        for (index, (collection, row)) in touched.into_iter().enumerate() {
            let keeps = state == TransactionState::Completed && !confirmed;
            let written = if keeps {
                let base = self.collections[collection].row(row).base().cloned();
                Some(self.tx(tx).mutations[index].apply(base))
            } else {
                None
            };
            let holder = &mut self.collections[collection];
            let scope = &mut holder.scoped;
            if scoped {
                scope.retain(|&other| other != tx);
            }
            let row_state = &mut holder.rows[row];
            let held = row_state.held.is_some();
            row_state.pending.retain(|pending| pending.tx != tx);
            if row_state.locked_by == Some(tx) {
                row_state.locked_by = None;
                row_state.held = None;
            } else if held && state == TransactionState::Completed {
                // Another one locks the row, and what sync says of it is held back: what this one wrote shows on.
                let mutation = &self.txs[tx].as_ref().expect("it is ending").mutations[index];
                row_state.held = row_state.held.take().map(|held| mutation.apply(held));
            }
            // A held update is newer than what was beneath: it shows now, under nothing.
            if let Some(written) = written
                && !held
            {
                row_state.provisional = Some(written);
                let bucket = bucket(holder.key(row));
                self.touched_rows.insert(collection, bucket);
            }
            self.refresh_unless_quiet(collection, row);
        }
    }

    /// Tells what became of a transaction while this tab was not looking.
    pub(super) fn tell_outcome(&mut self, tx: TxIx, before: TransactionState) {
        let Some(slot) = self.txs[tx].as_ref() else { return };
        if !self.txs_by_order.contains_key(&slot.order) {
            // The journal no longer has it: it was discarded, or was done and was pruned.
            let id = slot.id;
            if !before.is_final() && self.discarded.contains(&id) {
                self.tell(tx, TxEvent::Discarded);
            } else if !before.is_final() {
                if before != TransactionState::PersistedAwaitingSync {
                    self.tell(tx, TxEvent::Persisted);
                }
                self.tell(tx, TxEvent::Completed);
            }
            self.txs_by_id.remove(&id);
            self.txs[tx] = None;
            return;
        }
        let (state, error, cause) = (slot.state, slot.error.clone(), slot.cause);
        if state == before || before.is_final() {
            return;
        }
        match state {
            TransactionState::PersistedAwaitingSync => self.tell(tx, TxEvent::Persisted),
            TransactionState::Completed => {
                if before != TransactionState::PersistedAwaitingSync {
                    self.tell(tx, TxEvent::Persisted);
                }
                self.tell(tx, TxEvent::Completed);
            }
            TransactionState::Failed => {
                self.tell(tx, TxEvent::Failed { error: error.unwrap_or_default(), cause })
            }
            _ => {
                self.changed.insert(tx);
            }
        }
    }

    /// Whether a transaction is in what was read of the journal so far, or was written here.
    pub(super) fn is_listed(&self, id: TxId) -> bool {
        let Some(&tx) = self.txs_by_id.get(&id) else { return false };
        self.txs_by_order.get(&self.tx(tx).order) == Some(&tx)
    }

    /// What was written behind it in a tab that has not heard of it goes too, and its author may still be asleep.
    pub(super) fn remember_discarded(&mut self, id: TxId) {
        self.discarded.insert(id);
        if self.discarded.len() > DISCARDED_MAX {
            // Identifiers begin with a time: the oldest goes.
            self.discarded.pop_first();
        }
    }

    /// Drops a transaction from the list.
    pub(super) fn remove(&mut self, tx: TxIx) {
        let Some(slot) = &self.txs[tx] else { return };
        // What was written behind one that is completed has what it waited for, pruned or not.
        let (id, order, failed) = (slot.id, slot.order, slot.state == TransactionState::Failed);
        if failed {
            self.failed_count -= 1;
            self.remember_discarded(id);
        }
        self.txs_by_id.remove(&id);
        self.txs_by_order.remove(&order);
        self.txs[tx] = None;
        self.status_changed = true;
    }

    pub(super) fn note(&mut self, tx: TxIx) {
        if !self.journal.quiet {
            self.changed.insert(tx);
        }
    }

    pub(super) fn told(&mut self, tx: TxIx, event: TxEvent) {
        if !self.journal.quiet {
            self.tell(tx, event);
        }
    }
}
