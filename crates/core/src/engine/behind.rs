//! Which transactions wait for which: the order of those that share an object.

use std::collections::BTreeMap;

use super::{
    Engine,
    transaction::{Order, TxIx},
};
use crate::{Code, ErrorInfo, Value, record::OrderKind, view::TransactionState};

impl<V: Value> Engine<V> {
    /// The nearest earlier unfinished ordered transaction that shares an object with this one.
    pub(super) fn predecessor(&self, tx: TxIx) -> Option<TxIx> {
        self.nearest_before(tx).into_iter().max_by_key(|&other| self.tx(other).order)
    }

    /// For each object of a transaction, the nearest earlier unfinished ordered one. One that locks a collection
    /// shares an object with all that touch it.
    pub(super) fn nearest_before(&self, tx: TxIx) -> Vec<TxIx> {
        let slot = self.tx(tx);
        let mut nearest = Vec::new();
        if !slot.is_ordered() {
            return nearest;
        }
        let mut add = |other: Option<TxIx>| nearest.extend(other.filter(|other| !nearest.contains(other)));
        for mutation in &slot.mutations {
            let holder = &self.collections[mutation.collection];
            let pending = &holder.row(mutation.row).pending;
            // From the end: what is new nearly always comes last.
            let at = pending.iter().rposition(|other| other.tx == tx).unwrap_or(0);
            add(pending[..at].iter().rev().find(|other| other.ordered).map(|other| other.tx));
            let at = holder.scoped.partition_point(|&other| self.tx(other).order < slot.order);
            let scoped = at.checked_sub(1).map(|at| holder.scoped[at]);
            add(scoped);
            if slot.kind == OrderKind::Collection {
                let from = scoped.map_or(Order(0, 0), |other| self.tx(other).order);
                let mut between = self.unfinished.range(from..slot.order).rev().map(|(_, &other)| other);
                add(between.find(|&other| self.is_ordered_on(other, mutation.collection)));
            }
        }
        nearest
    }

    /// Whether a transaction is ordered and touches a collection.
    pub(super) fn is_ordered_on(&self, tx: TxIx, collection: usize) -> bool {
        let slot = self.tx(tx);
        slot.is_ordered() && slot.mutations.iter().any(|mutation| mutation.collection == collection)
    }

    /// All unfinished ordered transactions that wait on this one, directly or not, in order.
    pub(super) fn dependents(&self, tx: TxIx) -> Vec<TxIx> {
        let mut found: BTreeMap<Order, TxIx> = BTreeMap::new();
        let mut next = vec![tx];
        while let Some(tx) = next.pop() {
            let slot = self.tx(tx);
            if !slot.is_ordered() {
                continue;
            }
            let mut waits = |other: TxIx| {
                if found.insert(self.tx(other).order, other).is_none() {
                    next.push(other);
                }
            };
            for mutation in &slot.mutations {
                let holder = &self.collections[mutation.collection];
                let pending = &holder.row(mutation.row).pending;
                let later = pending.iter().skip_while(|other| other.tx != tx).skip(1);
                later.filter(|other| other.ordered).for_each(|other| waits(other.tx));
                if slot.kind == OrderKind::Collection {
                    let later = self.unfinished.range(slot.order..).skip(1).map(|(_, &other)| other);
                    later
                        .filter(|&other| self.is_ordered_on(other, mutation.collection))
                        .for_each(&mut waits);
                } else {
                    let at = holder.scoped.partition_point(|&other| self.tx(other).order < slot.order);
                    holder.scoped[at..].iter().copied().for_each(&mut waits);
                }
            }
        }
        found.into_values().collect()
    }

    /// If one that this transaction was written behind has failed or was discarded: why, and which was first.
    pub(super) fn failed_before(&self, tx: TxIx) -> Option<(ErrorInfo, crate::TxId)> {
        // What was begun, by this leader or an earlier one, was waiting for nothing then.
        if !self.tx(tx).attempts.is_empty() {
            return None;
        }
        self.tx(tx).behind.iter().find_map(|id| {
            if self.discarded.contains(id) {
                return Some((
                    ErrorInfo::of(
                        Code::Discarded,
                        format!("it was written behind transaction {id}, which was discarded; its changes were taken back. Write them again if they still apply"),
                    ),
                    *id,
                ));
            }
            let other = self.txs_by_id.get(id).map(|&other| self.tx(other))?;
            let first = other.cause.unwrap_or(other.id);
            (other.state == TransactionState::Failed).then(|| (cascade_error(first), first))
        })
    }

    /// Notes what a transaction waits for, for good: should one of those fail, it fails with it.
    pub(super) fn write_behind(&mut self, tx: TxIx, nearest: &[TxIx]) {
        for &other in nearest {
            let id = self.tx(other).id;
            let behind = &mut self.tx_mut(tx).behind;
            if !behind.contains(&id) {
                behind.push(id);
            }
        }
    }
}

/// Why a transaction falls with the one that it waited for.
pub(super) fn cascade_error(first: crate::TxId) -> ErrorInfo {
    ErrorInfo::of(
        Code::Cascade,
        format!(
            "it was queued behind transaction {first}, which failed; its changes were taken back. Write them again if they still apply"
        ),
    )
}
