//! The reference model: what each client was told and what the servers applied, and what must hold between
//! the two. It shares no code with the engine and knows of its records only that a transaction's id stands
//! in them as 16 bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use driftline_core::{TxEvent, TxId};
use serde_json::Value;

use crate::{plan::Fault, reference::Effect, release::MIGRATED_FIELD};

/// An object: a collection's name and a row's key.
pub type Object = (&'static str, String);

/// Everything that is known of all transactions.
#[derive(Debug, Default)]
pub struct Ledger {
    transactions: BTreeMap<TxId, Known>,
    /// Where in the journal the last applied ordered transaction of a client on an object stands.
    last_applied: BTreeMap<(usize, Object), (Place, TxId)>,
    not_on_disk: BTreeMap<usize, BTreeSet<TxId>>,
    violation: Option<String>,
    counts: Counts,
}

/// How often what happened: a simulation in which nothing fails proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Counts {
    pub written: u64,
    pub completed: u64,
    pub failed: u64,
    pub cascaded: u64,
    pub discarded: u64,
    pub not_durable: u64,
    pub applied: u64,
    pub repeated: u64,
    pub crashes: u64,
    pub steals: u64,
    pub fenced: u64,
    pub checkpoints: u64,
    pub resets: u64,
    pub requests: u64,
    pub rekeyed: u64,
    pub releases: u64,
    pub pruned: u64,
    pub mixed: u64,
    pub outages: u64,
    pub full: u64,
    pub writes: u64,
    pub steps: u64,
    pub events: u64,
    pub forgotten: u64,
    pub wipes: u64,
    pub held: u64,
    /// How often each fault has struck.
    pub faults: Strikes,
}

/// A number for each fault, in the order of [`Fault::ALL`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Strikes(pub [u64; Fault::ALL.len()]);

impl Default for Strikes {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts")
            .field("written", &self.written)
            .field("completed", &self.completed)
            .field("failed", &self.failed)
            .field("cascaded", &self.cascaded)
            .field("discarded", &self.discarded)
            .field("not_durable", &self.not_durable)
            .field("applied", &self.applied)
            .field("repeated", &self.repeated)
            .field("crashes", &self.crashes)
            .field("steals", &self.steals)
            .field("fenced", &self.fenced)
            .field("checkpoints", &self.checkpoints)
            .field("resets", &self.resets)
            .field("requests", &self.requests)
            .field("rekeyed", &self.rekeyed)
            .field("releases", &self.releases)
            .field("pruned", &self.pruned)
            .field("mixed", &self.mixed)
            .field("outages", &self.outages)
            .field("full", &self.full)
            .field("writes", &self.writes)
            .field("steps", &self.steps)
            .field("events", &self.events)
            .field("forgotten", &self.forgotten)
            .field("wipes", &self.wipes)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cascaded += other.cascaded;
        self.discarded += other.discarded;
        self.not_durable += other.not_durable;
        self.applied += other.applied;
        self.repeated += other.repeated;
        self.crashes += other.crashes;
        self.steals += other.steals;
        self.fenced += other.fenced;
        self.checkpoints += other.checkpoints;
        self.resets += other.resets;
        self.requests += other.requests;
        self.rekeyed += other.rekeyed;
        self.releases += other.releases;
        self.pruned += other.pruned;
        self.mixed += other.mixed;
        self.outages += other.outages;
        self.full += other.full;
        self.writes += other.writes;
        self.steps += other.steps;
        self.events += other.events;
        self.forgotten += other.forgotten;
        self.wipes += other.wipes;
        self.held += other.held;
        for (mine, others) in self.faults.0.iter_mut().zip(other.faults.0) {
            *mine += others;
        }
    }
}

/// A record's number and the position in it.
type Place = (u64, usize);

/// What is known of one transaction.
#[derive(Debug)]
pub struct Known {
    /// The client.
    pub client: usize,
    /// The tab that wrote it.
    pub tab: u32,
    /// The objects it changes, under the keys that it was written with, and what it does to each.
    pub effects: BTreeMap<Object, Effect>,
    /// Whether it is ordered.
    pub ordered: bool,
    /// Where its record stands, once it is on disk.
    pub place: Option<Place>,
    /// Whether some tab was told that it is durable.
    pub durable: bool,
    /// Whether the app has discarded it, told or not.
    pub discard_asked: bool,
    /// How it had ended when the app pruned it.
    pub pruned: Option<End>,
    /// What became of it, as told first.
    pub end: Option<End>,
    /// What the servers applied of it: mutation ids.
    applied: BTreeSet<String>,
    /// How many of them a log had that has forgotten them since.
    applied_before: usize,
    told: BTreeMap<u32, Vec<&'static str>>,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum End {
    Completed,
    Failed { cascade: bool },
    Discarded,
    NotDurable,
}

impl Ledger {
    /// The first thing that does not hold.
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Notes that something does not hold. The first one stands.
    pub fn violate(&mut self, what: fmt::Arguments<'_>) {
        self.violation.get_or_insert_with(|| what.to_string());
    }

    /// The counts, for adding to.
    pub fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// A tab wrote a transaction that changes these objects.
    pub fn written(
        &mut self,
        client: usize,
        tab: u32,
        tx: TxId,
        effects: BTreeMap<Object, Effect>,
        ordered: bool,
    ) {
        self.counts.written += 1;
        if !effects.is_empty() {
            self.not_on_disk.entry(client).or_default().insert(tx);
        }
        let known = Known {
            client,
            tab,
            effects,
            ordered,
            place: None,
            durable: false,
            discard_asked: false,
            pruned: None,
            end: None,
            applied: BTreeSet::new(),
            applied_before: 0,
            told: BTreeMap::new(),
        };
        if self.transactions.insert(tx, known).is_some() {
            self.violate(format_args!("two transactions are called {tx}"));
        }
    }

    /// A record is on disk.
    pub fn recorded(&mut self, client: usize, number: u64, bytes: &[u8]) {
        let mut found = Vec::new();
        for tx in self.not_on_disk.get(&client).into_iter().flatten() {
            let id = tx.0.to_be_bytes();
            if let Some(at) = bytes.windows(id.len()).position(|window| window == id) {
                found.push((*tx, (number, at)));
            }
        }
        for (tx, place) in found {
            self.not_on_disk.entry(client).or_default().remove(&tx);
            let known = self.transactions.get_mut(&tx).expect("what is not on disk is known");
            known.place = Some(place);
            // Discarding what was refused notes its name, and no more.
            if known.end == Some(End::NotDurable) && !known.discard_asked {
                self.violate(format_args!("{tx} was told not durable and is on disk, in record {number}"));
            }
        }
    }

    /// A tab's command to discard a transaction was accepted; its dependents go with it.
    pub fn discard_asked(&mut self, tx: TxId) {
        if let Some(known) = self.transactions.get_mut(&tx) {
            known.discard_asked = true;
        }
    }

    /// The app pruned its history, and this was in it.
    pub fn prune_asked(&mut self, tx: TxId, end: End) {
        if let Some(known) = self.transactions.get_mut(&tx) {
            known.pruned.get_or_insert(end);
        }
    }

    /// How a transaction ended that nobody was told of, as a tab has read it.
    pub fn learn(&mut self, tx: TxId, end: End) {
        if let Some(known) = self.transactions.get_mut(&tx) {
            known.end.get_or_insert(end);
        }
    }

    /// A tab was told something.
    pub fn told(&mut self, tab: u32, tx: TxId, event: &TxEvent) {
        let Some(known) = self.transactions.get_mut(&tx) else {
            return self.violate(format_args!("tab {tab} was told {event:?} of {tx}, which nobody wrote"));
        };
        let empty = known.effects.is_empty();
        let before = known.told.entry(tab).or_default();
        let (name, end) = match event {
            TxEvent::Changed => return,
            TxEvent::Durable => ("durable", None),
            TxEvent::Persisted => ("persisted", None),
            TxEvent::NotDurable(_) => ("not durable", Some(End::NotDurable)),
            TxEvent::Completed => ("completed", Some(End::Completed)),
            TxEvent::Failed { cause, .. } => ("failed", Some(End::Failed { cascade: cause.is_some() })),
            TxEvent::Discarded => ("discarded", Some(End::Discarded)),
        };
        if before.contains(&name) {
            return self.violate(format_args!("tab {tab} was told twice that {tx} is {name}"));
        }
        before.push(name);
        let on_disk = known.place.is_some() || empty;
        if matches!(name, "durable" | "persisted" | "completed") && !on_disk {
            return self
                .violate(format_args!("tab {tab} was told that {tx} is {name}, and it is not on disk"));
        }
        known.durable |= name == "durable";
        let Some(end) = end else { return };
        let agrees = match (known.end, end) {
            (None, _)
            | (Some(End::Failed { .. }), End::Failed { .. } | End::Discarded)
            | (Some(End::NotDurable), End::Discarded)
            | (Some(End::Discarded), End::Failed { .. }) => true,
            (Some(before), now) => before == now,
        };
        if !agrees {
            let before = known.end;
            return self.violate(format_args!(
                "tab {tab} was told that {tx} is {name}, after somebody was told {before:?}"
            ));
        }
        if end == End::NotDurable && known.durable {
            return self.violate(format_args!(
                "tab {tab} was told that {tx} is not durable, after somebody was told that it is"
            ));
        }
        if known.end.is_none() {
            match end {
                End::Completed => self.counts.completed += 1,
                End::Failed { cascade } => {
                    self.counts.failed += 1;
                    self.counts.cascaded += u64::from(cascade);
                }
                End::Discarded => self.counts.discarded += 1,
                End::NotDurable => self.counts.not_durable += 1,
            }
        }
        known.end = Some(end);
    }

    /// A tab sends a transaction.
    pub fn sent(&mut self, client: usize, tab: u32, tx: TxId) {
        let Some(known) = self.transactions.get(&tx) else {
            return self.violate(format_args!("tab {tab} sends {tx}, which nobody wrote"));
        };
        let told = known.told.get(&tab).map_or(&[][..], Vec::as_slice);
        let over = ["completed", "persisted", "failed", "discarded", "not durable"]
            .into_iter()
            .find(|end| told.contains(end));
        if known.client != client {
            self.violate(format_args!("client {client} sends {tx}, which another client wrote"));
        } else if known.place.is_none() {
            self.violate(format_args!("tab {tab} sends {tx} before its commit has completed"));
        } else if let Some(over) = over {
            self.violate(format_args!("tab {tab} sends {tx}, of which it was told that it is {over}"));
        }
    }

    /// A server was sent a mutation, for an object under the key that the transaction was written with: it must
    /// say what was written, as it was written or as it was migrated.
    pub fn arrived(&mut self, tx: TxId, object: &Object, sent: &Effect) {
        let written = self.transactions.get(&tx).and_then(|known| known.effects.get(object));
        let agrees = match (written, sent) {
            (Some(Effect::Insert(written)), Effect::Insert(sent))
            | (Some(Effect::Update(written)), Effect::Update(sent)) => plain(written) == plain(sent),
            (Some(Effect::Delete), Effect::Delete) => true,
            _ => false,
        };
        if !agrees {
            let written = written.cloned();
            self.violate(format_args!("{tx} sends {sent:?} for {object:?}, and {written:?} was written"));
        }
    }

    /// A server applied a mutation of a transaction to an object.
    pub fn applied(&mut self, tx: TxId, mutation: &str, object: Object) {
        self.counts.applied += 1;
        let Some(known) = self.transactions.get_mut(&tx) else {
            return self.violate(format_args!("the server applied {mutation}, which nobody wrote"));
        };
        if !known.applied.insert(mutation.to_owned()) {
            return self.violate(format_args!("the server applied {mutation} twice"));
        }
        if !known.effects.contains_key(&object) {
            return self.violate(format_args!(
                "the server applied {mutation} to {object:?}, which it does not change"
            ));
        }
        let Some(place) = known.place else {
            return self.violate(format_args!("the server applied {mutation}, which is not on disk"));
        };
        // One that was failed or discarded while its request was still under way may arrive late: nothing
        // can call it back, and nobody was promised an order for it.
        if !known.ordered || matches!(known.end, Some(End::Failed { .. } | End::Discarded)) {
            return;
        }
        match self.last_applied.get(&(known.client, object.clone())) {
            Some((last, other)) if *last > place => {
                let other = *other;
                self.violate(format_args!(
                    "the server applied {tx} to {object:?} after {other}, which was written later"
                ));
            }
            _ => {
                self.last_applied.insert((known.client, object), (place, tx));
            }
        }
    }

    /// A log does not have an event any more: it may be appended again, and what follows it too.
    pub fn forgotten(&mut self, tx: TxId, mutation: &str) {
        let Some(known) = self.transactions.get_mut(&tx) else { return };
        known.applied_before = known.applied_before.max(known.applied.len());
        known.applied.remove(mutation);
        let client = known.client;
        self.last_applied.retain(|(of, _), (_, last)| *of != client || *last != tx);
    }

    /// Whether a mutation was applied.
    pub fn was_applied(&self, tx: TxId, mutation: &str) -> bool {
        self.transactions.get(&tx).is_some_and(|known| known.applied.contains(mutation))
    }

    /// How many mutations of it were applied.
    pub fn applied_count(&self, tx: TxId) -> usize {
        self.transactions.get(&tx).map_or(0, |known| known.applied.len().max(known.applied_before))
    }

    /// All transactions of a client.
    pub fn of_client(&self, client: usize) -> impl Iterator<Item = (TxId, &Known)> {
        self.transactions
            .iter()
            .filter(move |(_, known)| known.client == client)
            .map(|(tx, known)| (*tx, known))
    }

    /// One transaction.
    pub fn known(&self, tx: TxId) -> Option<&Known> {
        self.transactions.get(&tx)
    }
}

impl Known {
    /// Whether a tab was told this of it.
    pub fn was_told(&self, tab: u32, what: &str) -> bool {
        self.told.get(&tab).is_some_and(|told| told.contains(&what))
    }
}

/// A row or its changes without what the way may add: the server's key, a migration's mark.
fn plain(row: &Value) -> BTreeMap<&str, &Value> {
    let fields = row.as_object().into_iter().flatten().map(|(field, value)| (field.as_str(), value));
    fields.filter(|(field, _)| *field != "id" && !field.starts_with(MIGRATED_FIELD)).collect()
}
