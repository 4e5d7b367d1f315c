//! A transaction as the engine holds it.

use std::rc::Rc;

use super::collection::RowIx;
use crate::{
    ErrorInfo, OpId, Timestamp, TxId, Value,
    record::{MutationFact, MutationFactKind, OrderKind, TransactionFact},
    view::{AttemptView, MutationKind, PendingMutationView, TransactionState, TransactionView},
};

/// A transaction's place in the engine's slab; never used again.
pub(super) type TxIx = usize;

/// A transaction's place in the journal's order: the record's number and the place in it. One that is not
/// committed yet comes after all that are, in the order in which the tab made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order(pub u64, pub u64);

impl Order {
    pub const UNCOMMITTED: u64 = u64::MAX;

    pub fn is_committed(self) -> bool {
        self.0 != Self::UNCOMMITTED
    }
}

/// Transactions that changed since they were last told of. One that changed in between others may be there more than
/// once, and one that is gone since stays.
#[derive(Default)]
pub(super) struct Changed(Vec<TxIx>);

impl Changed {
    pub fn insert(&mut self, tx: TxIx) {
        if self.0.last() != Some(&tx) {
            self.0.push(tx);
        }
    }

    pub fn extend(&mut self, txs: impl Iterator<Item = TxIx>) {
        self.0.extend(txs);
    }

    pub fn take(&mut self) -> Vec<TxIx> {
        core::mem::take(&mut self.0)
    }
}

/// One transaction.
pub(super) struct Slot<V> {
    pub id: TxId,
    pub order: Order,
    pub kind: OrderKind,
    pub function: Option<Rc<str>>,
    pub metadata: Option<V>,
    pub behind: Vec<TxId>,
    pub mutations: Vec<Mutation<V>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub state: TransactionState,
    pub attempts: Vec<Attempt>,
    /// How many attempts count against the limit.
    pub spent: u32,
    /// When the next attempt is due, while a back-off runs.
    pub not_before: Option<Timestamp>,
    /// The operation of this tab that sends it, or waits for its sync.
    pub op: Option<OpId>,
    pub error: Option<ErrorInfo>,
    pub cause: Option<TxId>,
    pub warning: Option<ErrorInfo>,
    /// A decision about it is in a record that is not committed yet: nothing new is decided meanwhile.
    pub deciding: bool,
    /// That decision is that the backend has it.
    pub persisting: bool,
    /// That decision includes its completion: nothing more is to be decided when its persistence is committed.
    pub completing: bool,
    /// How many of its events the backend is known to have, where it keeps events.
    pub landed: u32,
}

/// One change to one object.
pub(super) struct Mutation<V> {
    pub collection: usize,
    pub row: RowIx,
    pub key: Rc<str>,
    pub version: u32,
    pub kind: Change<V>,
    pub modified: Option<V>,
}

#[derive(Clone)]
pub(super) enum Change<V> {
    Insert(V),
    Update { original: Option<V>, changes: V },
    Delete { original: Option<V> },
}

#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub error: Option<ErrorInfo>,
    pub retry_at: Option<Timestamp>,
    /// Whether it counts against the limit.
    pub counted: bool,
}

impl<V: Value> Mutation<V> {
    /// The row with this mutation laid over it. An update of a row that is gone shows nothing.
    pub fn apply(&self, row: Option<V>) -> Option<V> {
        match &self.kind {
            Change::Insert(inserted) => Some(inserted.clone()),
            Change::Delete { .. } => None,
            Change::Update { original, changes } => {
                let row = row?;
                match (&self.modified, original) {
                    (Some(modified), Some(original)) if *original == row => Some(modified.clone()),
                    _ => Some(row.merge(changes)),
                }
            }
        }
    }

    pub fn kind(&self) -> MutationKind {
        match self.kind {
            Change::Insert(_) => MutationKind::Insert,
            Change::Update { .. } => MutationKind::Update,
            Change::Delete { .. } => MutationKind::Delete,
        }
    }

    pub fn original(&self) -> Option<&V> {
        match &self.kind {
            Change::Insert(_) => None,
            Change::Update { original, .. } | Change::Delete { original } => original.as_ref(),
        }
    }

    pub fn changes(&self) -> Option<&V> {
        match &self.kind {
            Change::Insert(row) => Some(row),
            Change::Update { changes, .. } => Some(changes),
            Change::Delete { .. } => None,
        }
    }

    fn fact(&self, collection: &Rc<str>) -> MutationFact<V> {
        MutationFact {
            collection: collection.clone(),
            key: self.key.clone(),
            version: self.version,
            kind: match &self.kind {
                Change::Insert(row) => MutationFactKind::Insert { row: row.clone() },
                Change::Update { original, changes } => {
                    MutationFactKind::Update { original: original.clone(), changes: changes.clone() }
                }
                Change::Delete { original } => MutationFactKind::Delete { original: original.clone() },
            },
        }
    }
}

impl<V: Value> Slot<V> {
    pub fn is_ordered(&self) -> bool {
        !matches!(self.kind, OrderKind::Parallel { .. })
    }

    pub fn is_done(&self) -> bool {
        self.state.is_final()
    }

    pub fn merge_name(&self) -> Option<&str> {
        match &self.kind {
            OrderKind::Parallel { merge } => merge.as_deref(),
            _ => None,
        }
    }

    /// What its journal record says.
    pub fn fact(&self, name_of: impl Fn(usize) -> Rc<str>) -> TransactionFact<V> {
        TransactionFact {
            id: self.id,
            created_at: self.created_at,
            place: None,
            order: self.kind.clone(),
            function: self.function.clone(),
            metadata: self.metadata.clone(),
            behind: self.behind.clone(),
            mutations: self
                .mutations
                .iter()
                .map(|mutation| mutation.fact(&name_of(mutation.collection)))
                .collect(),
        }
    }

    pub fn mutation_view(&self, index: usize, collection: &str) -> PendingMutationView<V> {
        let mutation = &self.mutations[index];
        PendingMutationView {
            mutation_id: format!("{}:{index}", self.id),
            collection: collection.to_owned(),
            key: mutation.key.to_string(),
            kind: mutation.kind(),
            original: mutation.original().cloned(),
            modified: mutation.modified.clone(),
            changes: mutation.changes().cloned(),
            metadata: self.metadata.clone(),
        }
    }

    pub fn view(
        &self,
        queued_behind: Option<TxId>,
        name_of: impl Fn(usize) -> Rc<str>,
    ) -> TransactionView<V> {
        TransactionView {
            id: self.id,
            idempotency_key: self.id.to_string(),
            state: self.state,
            created_at: self.created_at,
            updated_at: self.updated_at,
            mutations: (0..self.mutations.len())
                .map(|index| self.mutation_view(index, &name_of(self.mutations[index].collection)))
                .collect(),
            attempts: self
                .attempts
                .iter()
                .enumerate()
                .map(|(index, attempt)| AttemptView {
                    id: format!("{}:{}", self.id, index + 1),
                    started_at: attempt.started_at,
                    completed_at: attempt.completed_at,
                    error: attempt.error.clone(),
                    retry_scheduled_for: attempt.retry_at,
                })
                .collect(),
            current_attempt: u32::try_from(self.attempts.len()).unwrap_or(u32::MAX),
            queued_behind,
            metadata: self.metadata.clone(),
            function: self.function.as_deref().map(str::to_owned),
            error: self.error.clone(),
            cause: self.cause,
            durable: self.order.is_committed(),
            warning: self.warning.clone(),
        }
    }
}

impl<V: Value> super::Engine<V> {
    pub(super) fn tx(&self, tx: TxIx) -> &Slot<V> {
        self.txs[tx].as_deref().expect("an index of a transaction outlives it only where that is checked")
    }

    pub(super) fn tx_mut(&mut self, tx: TxIx) -> &mut Slot<V> {
        self.txs[tx].as_deref_mut().expect("an index of a transaction outlives it only where that is checked")
    }
}
