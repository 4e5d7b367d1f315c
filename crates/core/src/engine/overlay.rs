//! Where a transaction stands in the order, and how it lies over the rows that it touches.

use super::{
    Engine,
    collection::{PendingRef, RowIx},
    transaction::{Slot, TxIx},
};
use crate::{Value, record::OrderKind, view::TransactionState};

impl<V: Value> Engine<V> {
    /// Puts a transaction into the slab and the indexes.
    pub(super) fn place(&mut self, slot: Slot<V>) -> TxIx {
        let tx = self.txs.len();
        self.txs_by_id.insert(slot.id, tx);
        self.txs_by_order.insert(slot.order, tx);
        if !slot.is_done() {
            self.unfinished.insert(slot.order, tx);
        }
        self.txs.push(Some(Box::new(slot)));
        tx
    }

    /// Lays a transaction over the rows it touches, in its place in the order, and says what it waits for.
    pub(super) fn overlay(&mut self, tx: TxIx) {
        let slot = self.tx(tx);
        let (order, ordered, scoped) = (slot.order, slot.is_ordered(), slot.kind == OrderKind::Collection);
        let touched: Vec<(usize, RowIx)> =
            slot.mutations.iter().map(|mutation| (mutation.collection, mutation.row)).collect();
        for (index, &(collection, row)) in touched.iter().enumerate() {
            let holder = &mut self.collections[collection];
            let pending = &mut holder.rows[row].pending;
            // From the end: what is new nearly always comes last.
            let mut at = pending.len();
            while at > 0 && self.txs[pending[at - 1].tx].as_ref().is_some_and(|other| other.order > order) {
                at -= 1;
            }
            pending.insert(at, PendingRef { tx, mutation: index, ordered });
            let last = at + 1 == pending.len();
            if scoped && ordered && !holder.scoped.contains(&tx) {
                let at = holder
                    .scoped
                    .iter()
                    .rposition(|&other| self.txs[other].as_ref().is_some_and(|slot| slot.order < order))
                    .map_or(0, |at| at + 1);
                holder.scoped.insert(at, tx);
            }
            if self.journal.quiet && order.is_committed() {
                // What is read shows once, when all that is pending on the row is read: it may be thousands.
                continue;
            }
            // What a merge has a say in is for the merge to show, however late it was written.
            let pending = &self.collections[collection].row(row).pending;
            let mergeless =
                pending.iter().all(|other| other.ordered || self.tx(other.tx).merge_name().is_none());
            if last
                && mergeless
                && self.journal.is_loaded()
                && self.tx(tx).mutations[index].original()
                    == self.collections[collection].row(row).visible.as_ref()
            {
                // It lies on top of what shows: no need to fold all that lies beneath.
                let value = self.tx(tx).mutations[index].modified.clone();
                self.show(collection, row, value);
            } else {
                self.refresh(collection, row);
            }
        }
        let nearest = self.nearest_before(tx);
        self.write_behind(tx, &nearest);
        let slot = self.tx_mut(tx);
        if slot.state == TransactionState::Pending && !nearest.is_empty() {
            slot.state = TransactionState::Queued;
        }
    }
}
