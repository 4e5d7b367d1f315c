//! The reference model of one tab: what `spec/transactions.md` says of transactions and rows, written down as
//! plainly as can be, and without the engine. Everything is looked for by going through all there is.

use std::collections::{BTreeMap, BTreeSet};

use driftline_core::{TxId, view::TransactionState as State};
use serde_json::Value;

use crate::{ledger::Object, reference::Effect, release::MERGED_FIELD};

/// Tries after the first.
pub const RETRIES: u32 = 2;
/// The first back-off, in milliseconds; each further one is twice as long.
pub const BACKOFF_MS: u64 = 100;

/// How a transaction is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Collection,
    Parallel,
    Merged,
}

/// One transaction.
#[derive(Clone, Debug)]
pub struct Tx {
    pub id: TxId,
    pub kind: Kind,
    /// In the order in which the objects were first touched.
    pub effects: Vec<(Object, Effect)>,
    pub state: State,
    pub attempts: u32,
    pub spent: u32,
    pub retry_at: Option<u64>,
    pub cause: Option<TxId>,
}

/// What is known of one object besides what is pending on it.
#[derive(Clone, Debug, Default)]
struct Row {
    synced: Option<Value>,
    held: Option<Option<Value>>,
    provisional: Option<Option<Value>>,
}

/// All transactions, in order, and all rows.
#[derive(Debug, Default)]
pub struct Model {
    pub txs: Vec<Tx>,
    rows: BTreeMap<Object, Row>,
    pub awaits_sync: bool,
    pub paused: bool,
}

impl Tx {
    pub fn is_ordered(&self) -> bool {
        matches!(self.kind, Kind::Object | Kind::Collection)
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Completed | State::Failed)
    }

    fn touches(&self, object: &Object) -> bool {
        self.effects.iter().any(|(touched, _)| touched == object)
    }

    /// Whether it holds the locks of its objects: from its first attempt to its end.
    fn locks(&self) -> bool {
        self.is_ordered() && !self.is_done() && self.attempts > 0
    }

    /// Whether the two may not run at the same time.
    fn excludes(&self, other: &Self) -> bool {
        let whole = self.kind == Kind::Collection || other.kind == Kind::Collection;
        let both = |one: &Object, two: &Object| one == two || (whole && one.0 == two.0);
        self.is_ordered()
            && other.is_ordered()
            && self.effects.iter().any(|(one, _)| other.effects.iter().any(|(two, _)| both(one, two)))
    }
}

impl Model {
    /// A model of nothing; whether the app has an `awaitSync`.
    pub fn new(awaits_sync: bool) -> Self {
        Self { awaits_sync, ..Self::default() }
    }

    /// What shows of an object.
    pub fn shows(&self, object: &Object) -> Option<Value> {
        let pending = || {
            let unfinished = self.txs.iter().filter(|tx| !tx.is_done());
            unfinished.flat_map(|tx| tx.effects.iter().map(move |(touched, effect)| (tx, touched, effect)))
        };
        let mut row = self.beneath(object);
        for (_, _, effect) in
            pending().filter(|(tx, touched, _)| *touched == object && tx.kind != Kind::Merged)
        {
            row = effect.applied(row);
        }
        let merged: Vec<&Effect> = pending()
            .filter(|(tx, touched, _)| *touched == object && tx.kind == Kind::Merged)
            .map(|(_, _, effect)| effect)
            .collect();
        for effect in &merged {
            row = effect.applied(row);
        }
        if let (Some(row), true) = (&mut row, !merged.is_empty()) {
            row[MERGED_FIELD] = merged.len().into();
        }
        row
    }

    /// Everything that shows in a collection.
    pub fn shows_in(&self, collection: &str) -> BTreeMap<String, Value> {
        let shown = self.objects_of(collection).into_iter();
        shown.filter_map(|object| Some((object.1.clone(), self.shows(&object)?))).collect()
    }

    /// All objects of a collection that were ever heard of.
    fn objects_of(&self, collection: &str) -> BTreeSet<Object> {
        let touched = self.txs.iter().flat_map(|tx| tx.effects.iter().map(|(object, _)| object));
        self.rows.keys().chain(touched).filter(|(name, _)| *name == collection).cloned().collect()
    }

    /// What lies beneath all that is pending on an object.
    fn beneath(&self, object: &Object) -> Option<Value> {
        let row = self.rows.get(object)?;
        row.held.clone().or_else(|| row.provisional.clone()).unwrap_or_else(|| row.synced.clone())
    }

    /// The nearest earlier unfinished transaction that one waits for.
    pub fn waits_for(&self, at: usize) -> Option<TxId> {
        let earlier = self.txs[..at].iter().rev();
        earlier.filter(|tx| !tx.is_done()).find(|tx| tx.excludes(&self.txs[at])).map(|tx| tx.id)
    }

    /// Objects that are locked, as `<collection>/<key>`.
    pub fn locked(&self) -> Vec<String> {
        let locking = self.txs.iter().filter(|tx| tx.locks());
        let mut locked: Vec<String> =
            locking.flat_map(|tx| &tx.effects).map(|((name, key), _)| format!("{name}/{key}")).collect();
        locked.sort();
        locked
    }

    /// Where a transaction stands in the order.
    pub fn find(&self, id: TxId) -> usize {
        self.txs.iter().position(|tx| tx.id == id).expect("it was written and not dropped")
    }

    /// Starts what can start.
    pub fn start(&mut self, now: u64) {
        for at in 0..self.txs.len() {
            let waits = self.waits_for(at).is_some();
            let tx = &mut self.txs[at];
            if !matches!(tx.state, State::Pending | State::Queued) {
                continue;
            }
            tx.state = if waits { State::Queued } else { State::Pending };
            if tx.retry_at.is_some_and(|due| due <= now) {
                tx.retry_at = None;
            }
            if !waits && !self.paused && tx.retry_at.is_none() {
                tx.state = State::Persisting;
                tx.attempts += 1;
            }
        }
    }

    /// `persist` resolved.
    pub fn persisted(&mut self, at: usize) {
        if self.awaits_sync {
            self.txs[at].state = State::PersistedAwaitingSync;
        } else {
            self.complete(at, false);
        }
    }

    /// It is done. What sync has not confirmed stays as it was written.
    pub fn complete(&mut self, at: usize, confirmed: bool) {
        for (object, effect) in self.txs[at].effects.clone() {
            let locked_by_other = self
                .txs
                .iter()
                .enumerate()
                .any(|(other, tx)| other != at && tx.locks() && tx.touches(&object));
            let written = effect.applied(self.beneath(&object));
            let row = self.rows.entry(object).or_default();
            match &mut row.held {
                Some(held) if locked_by_other => *held = effect.applied(held.take()),
                Some(_) => {}
                None if confirmed => {}
                None => row.provisional = Some(written),
            }
        }
        self.txs[at].state = State::Completed;
        self.unlock(at);
    }

    /// An attempt failed: for good, or until later.
    pub fn failed(&mut self, now: u64, at: usize, for_good: bool) {
        let tx = &mut self.txs[at];
        if !for_good && tx.spent < RETRIES {
            tx.spent += 1;
            tx.state = State::Pending;
            tx.retry_at = Some(now + (BACKOFF_MS << (tx.spent - 1)));
            return;
        }
        let first = tx.id;
        for dependent in self.dependents(at) {
            self.txs[dependent].cause = Some(first);
            self.txs[dependent].state = State::Failed;
        }
        self.txs[at].state = State::Failed;
        self.unlock(at);
    }

    /// All that wait on one, directly or not.
    pub fn dependents(&self, at: usize) -> Vec<usize> {
        let mut found = vec![at];
        for later in at + 1..self.txs.len() {
            let tx = &self.txs[later];
            if !tx.is_done() && found.iter().any(|&earlier| self.txs[earlier].excludes(tx)) {
                found.push(later);
            }
        }
        found.remove(0);
        found
    }

    /// What sync says of an object. While it is locked, what shows stays.
    pub fn sync(&mut self, object: &Object, value: Option<Value>) {
        let beneath = self.beneath(object);
        let locked = self.txs.iter().any(|tx| tx.locks() && tx.touches(object));
        let row = self.rows.entry(object.clone()).or_default();
        if locked {
            row.held.get_or_insert(beneath);
        }
        row.synced = value;
        row.provisional = None;
    }

    /// What sync says of all objects of a collection.
    pub fn sync_all(&mut self, collection: &'static str, rows: &BTreeMap<String, Value>) {
        // That an object is not among them is said of it, too.
        let mut objects = self.objects_of(collection);
        objects.extend(rows.keys().map(|key| (collection, key.clone())));
        for object in objects {
            self.sync(&object, rows.get(&object.1).cloned());
        }
    }

    /// The tab is gone, and another one has read the journal. It leads one collection first: what was sent of that
    /// alone is taken as done before the rest.
    pub fn reload(&mut self, first: &str) {
        self.paused = false;
        let alone = |tx: &Tx| tx.effects.iter().all(|((name, _), _)| *name == first);
        for now in [true, false] {
            for at in 0..self.txs.len() {
                match self.txs[at].state {
                    // Whether it arrived is not known: it is sent again.
                    State::Persisting => self.txs[at].state = State::Pending,
                    State::PersistedAwaitingSync if alone(&self.txs[at]) == now => self.complete(at, false),
                    _ => {}
                }
            }
        }
    }

    /// It is dropped: what it had locked is free.
    pub fn give_up(&mut self, at: usize) {
        // One that has failed locks nothing any more.
        if !self.txs[at].is_done() {
            self.txs[at].state = State::Failed;
            self.unlock(at);
        }
    }

    fn unlock(&mut self, at: usize) {
        if self.txs[at].is_ordered() && self.txs[at].attempts > 0 {
            for (object, _) in self.txs[at].effects.clone() {
                self.rows.entry(object).or_default().held = None;
            }
        }
    }
}
