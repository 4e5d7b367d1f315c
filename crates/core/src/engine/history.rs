//! Listing transactions, a long history of finished ones included.

use super::{Engine, transaction::TxIx};
use crate::{
    TxId, Value,
    view::{TransactionFilter, TransactionState},
};

impl<V: Value> Engine<V> {
    /// The transactions that match, in order, each with its state: finished ones too, until they are pruned or discarded.
    ///
    /// Takes time in proportion to the unfinished ones if only those are asked for, to the whole history otherwise.
    #[must_use]
    pub fn list(&self, filter: &TransactionFilter<'_>) -> Vec<(TxId, TransactionState)> {
        let unfinished_only =
            filter.states.is_some_and(|states| !states.iter().any(|state| state.is_final()));
        let candidates = if unfinished_only { &self.unfinished } else { &self.txs_by_order };
        // A name that no collection has is of none.
        let collection = filter.collection.map(|name| self.collections_by_name.get(name).copied());
        let matches = |tx: TxIx| {
            let slot = self.tx(tx);
            filter.states.is_none_or(|states| states.contains(&slot.state))
                && filter.since.is_none_or(|since| slot.created_at >= since)
                && collection.is_none_or(|wanted| {
                    slot.mutations.iter().any(|mutation| Some(mutation.collection) == wanted)
                })
        };
        candidates
            .values()
            .filter(|&&tx| matches(tx))
            .map(|&tx| (self.tx(tx).id, self.tx(tx).state))
            .collect()
    }
}
