//! A collection's rows: what sync delivered, what is pending over it, and what shows.

use std::{collections::BTreeMap, hash::BuildHasherDefault, rc::Rc};

use indexmap::IndexMap;
use rustc_hash::FxHasher;

use super::transaction::{Slot, TxIx};
use crate::{
    Value,
    spec::{CollectionSpec, Mapping, MergeFn, MigrateFn, RemoteId, RetryPolicy, Strategy},
};

/// The position of a row in its collection; rows are never removed, so it stays.
pub(super) type RowIx = usize;

pub(super) type RowMap<V> = IndexMap<Rc<str>, Row<V>, BuildHasherDefault<FxHasher>>;

/// One collection, registered or only known from the journal.
pub(super) struct Collection<V> {
    pub name: Rc<str>,
    /// Under which name synced rows are journalled: its own, or `<remote>/<entity>`.
    pub table: Rc<str>,
    /// The table that the journal names for it: tabs that have not registered it know it from there.
    pub journalled_table: Option<Rc<str>>,
    pub registered: Option<Registration<V>>,
    pub rows: RowMap<V>,
    /// How many rows show.
    pub visible_count: usize,
    /// Transactions that lock the whole collection, unfinished, in order.
    pub scoped: Vec<TxIx>,
    pub ready_told: bool,
    /// Whether this session's first sync was told to the app.
    pub synced_told: bool,
    /// Whether some session has synced it once.
    pub ever_synced: bool,
    /// Keys that rows had before the server gave them another.
    pub aliases: BTreeMap<Rc<str>, RowIx>,
}

/// What the app said when it registered a collection.
pub(super) struct Registration<V> {
    pub line: usize,
    pub remote: Option<(RemoteId, String)>,
    pub persist: Option<u32>,
    pub has_sync: bool,
    pub has_await_sync: bool,
    pub functions: Vec<String>,
    pub merges: Vec<(String, MergeFn<V>)>,
    pub strategy: Strategy,
    pub retry: RetryPolicy,
    pub version: u32,
    pub migrate: Option<MigrateFn<V>>,
    pub key_field: Option<String>,
    pub mirror: bool,
    pub mapping: Option<Rc<Mapping<V>>>,
}

impl<V> Registration<V> {
    pub fn new(spec: CollectionSpec<V>, line: usize) -> Self {
        Self {
            line,
            remote: spec.remote,
            persist: spec.persist,
            has_sync: spec.has_sync,
            has_await_sync: spec.has_await_sync,
            functions: spec.functions,
            merges: spec.merges,
            strategy: spec.strategy,
            retry: spec.retry,
            version: spec.version,
            migrate: spec.migrate,
            key_field: spec.key_field,
            mirror: spec.mirror,
            mapping: spec.mapping.map(Rc::new),
        }
    }

    pub fn merge(&self, name: &str) -> Option<&MergeFn<V>> {
        self.merges.iter().find(|(known, _)| known == name).map(|(_, merge)| merge)
    }

    /// Nothing sends what is written here: it is done once it is in the journal.
    pub fn is_local(&self) -> bool {
        self.remote.is_none() && self.persist.is_none()
    }
}

/// One object.
pub(super) struct Row<V> {
    /// What sync delivered last, held updates included.
    pub synced: Option<V>,
    /// What lies beneath the overlays instead while a started transaction locks the object.
    pub held: Option<Option<V>>,
    /// What was written, is done, and has not come back by sync yet.
    pub provisional: Option<Option<V>>,
    /// The unfinished mutations of it, in order.
    pub pending: Vec<PendingRef>,
    /// The ordered transaction that has started on it.
    pub locked_by: Option<TxIx>,
    pub visible: Option<V>,
    /// Whether it stands in the engine's list of rows whose change was not told yet.
    pub dirty: bool,
}

/// One mutation of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PendingRef {
    pub tx: TxIx,
    pub mutation: usize,
    pub ordered: bool,
}

impl<V> Default for Row<V> {
    fn default() -> Self {
        Self {
            synced: None,
            held: None,
            provisional: None,
            pending: Vec::new(),
            locked_by: None,
            visible: None,
            dirty: false,
        }
    }
}

impl<V: Value> Row<V> {
    /// What lies beneath the overlays.
    pub fn base(&self) -> Option<&V> {
        match (&self.held, &self.provisional) {
            (Some(held), _) => held.as_ref(),
            (None, Some(provisional)) => provisional.as_ref(),
            (None, None) => self.synced.as_ref(),
        }
    }

    /// Takes what sync says of the object. While it is locked, what shows stays.
    pub fn sync(&mut self, value: Option<V>) {
        if self.locked_by.is_some() && self.held.is_none() {
            self.held = Some(self.base().cloned());
        }
        self.synced = value;
        self.provisional = None;
    }

    /// The first unfinished ordered transaction on it.
    pub fn first_ordered(&self) -> Option<TxIx> {
        self.pending.iter().find(|pending| pending.ordered).map(|pending| pending.tx)
    }
}

impl<V: Value> Collection<V> {
    pub fn new(name: Rc<str>) -> Self {
        Self {
            table: name.clone(),
            journalled_table: None,
            name,
            registered: None,
            rows: RowMap::default(),
            visible_count: 0,
            scoped: Vec::new(),
            ready_told: false,
            synced_told: false,
            ever_synced: false,
            aliases: BTreeMap::new(),
        }
    }

    /// The row with this key, made if there is none. A key that was given up leads to the one that replaced it.
    pub fn row_ix(&mut self, key: &str) -> RowIx {
        if !self.aliases.is_empty()
            && let Some(&row) = self.aliases.get(key)
        {
            return row;
        }
        match self.rows.get_index_of(key) {
            Some(ix) => ix,
            None => self.rows.insert_full(key.into(), Row::default()).0,
        }
    }

    pub fn row(&self, ix: RowIx) -> &Row<V> {
        &self.rows[ix]
    }

    pub fn row_mut(&mut self, ix: RowIx) -> &mut Row<V> {
        &mut self.rows[ix]
    }

    pub fn key(&self, ix: RowIx) -> &Rc<str> {
        self.rows.get_index(ix).map(|(key, _)| key).expect("rows are never removed")
    }

    /// What shows of a row: its base with the pending mutations laid over it in order. Parallel ones with
    /// a merge of their own come last, through it.
    pub fn fold(&self, ix: RowIx, txs: &[Option<Box<Slot<V>>>]) -> Option<V> {
        let row = self.row(ix);
        let mut value = row.base().cloned();
        let mut merged: Vec<(TxIx, usize)> = Vec::new();
        let mut merge: Option<&MergeFn<V>> = None;
        for pending in &row.pending {
            let slot = txs[pending.tx].as_ref().expect("a pending mutation's transaction is there");
            if let Some(name) = slot.merge_name()
                && let Some(registration) = &self.registered
                && let Some(function) = registration.merge(name)
            {
                merge = Some(function);
                merged.push((pending.tx, pending.mutation));
                continue;
            }
            value = slot.mutations[pending.mutation].apply(value);
        }
        if let Some(merge) = merge {
            let views: Vec<_> = merged
                .iter()
                .filter_map(|&(tx, mutation)| {
                    txs[tx].as_ref().map(|slot| slot.mutation_view(mutation, &self.name))
                })
                .collect();
            value = merge(value.as_ref(), &views);
        }
        value
    }
}
