//! What a turn has written, made into one commit: when that is due, under which fences, and what of it the mirror
//! gets.

use std::collections::BTreeSet;

use super::{
    Engine, Op,
    journal::{Late, Open},
    row_set::RowSet,
    transaction::Mutation,
};
use crate::{
    Commit, Fence, MirrorPut, Output, Timestamp, Value,
    output::Haste,
    record::{self, Fact},
};

impl<V: Value> Engine<V> {
    /// Makes one commit of everything that was written since the last.
    pub(super) fn seal(&mut self, _now: Timestamp) {
        if !self.journal.wants_seal() {
            return;
        }
        let mut fences: Vec<Fence> = Vec::new();
        let mut mirrored = RowSet::default();
        for (collection, row) in core::mem::take(&mut self.journal.mirror_dirty).iter() {
            let line = self.collections[collection].registered.as_ref().map(|registration| registration.line);
            if let Some(line) = line
                && self.lines[line].leads()
            {
                // The mirror is the leader's to keep, so a leader that was taken over must not write it.
                self.fence(line, &mut fences);
                mirrored.insert(collection, row);
            } else {
                self.journal.mirror_doubts.insert(collection, row);
            }
        }
        let mut open = core::mem::take(&mut self.journal.open);
        self.journal.late = Late::default();
        if open.is_empty() && mirrored.is_empty() {
            return;
        }
        self.name_tables(&mut open);
        let mut facts = Vec::with_capacity(open.len());
        let mut mirror: Vec<MirrorPut<V>> = Vec::new();
        for entry in &open {
            match entry {
                Open::Transaction(tx) => {
                    let slot = self.tx(*tx);
                    facts.push(Fact::Transaction(Box::new(
                        slot.fact(|collection| self.collections[collection].name.clone()),
                    )));
                    for mutation in &slot.mutations {
                        mirrored.insert(mutation.collection, mutation.row);
                    }
                }
                Open::Fact(fact, line) => {
                    if let Some(line) = line {
                        self.fence(*line, &mut fences);
                    }
                    facts.push(fact.clone());
                }
            }
        }
        for (collection, row) in mirrored.iter() {
            let holder = &self.collections[collection];
            if holder.registered.as_ref().is_some_and(|registration| registration.mirror) {
                mirror.push(MirrorPut {
                    key: holder.key(row).to_string(),
                    row: holder.row(row).visible.clone(),
                });
            }
        }
        let record = record::encode(&facts);
        self.journal.in_flight = open;
        self.journal.mirror_in_flight = mirrored;
        self.journal.fences = fences.clone();
        self.journal.busy = true;
        let op = self.op(Op::Commit);
        self.outputs.push_back(Output::Commit(op, Commit { record, fences, mirror }));
    }

    /// Puts the tables of the collections that are written to in front, where the journal does not name them yet: a
    /// tab that has not registered such a collection could not tell otherwise that its rows are those of the table.
    fn name_tables(&self, open: &mut Vec<Open<V>>) {
        let mut unnamed = BTreeSet::new();
        for entry in &*open {
            let tx = match entry {
                Open::Transaction(tx) => tx,
                // It stands there already: an earlier commit of it failed.
                Open::Fact(Fact::Table { .. }, _) => return,
                Open::Fact(..) => continue,
            };
            unnamed.extend(self.tx(*tx).mutations.iter().map(|mutation| mutation.collection).filter(
                |&index| {
                    let holder = &self.collections[index];
                    holder.table != holder.name && holder.journalled_table.as_ref() != Some(&holder.table)
                },
            ));
        }
        let named = unnamed.into_iter().map(|index| {
            let holder = &self.collections[index];
            Open::Fact(Fact::Table { collection: holder.name.clone(), table: holder.table.clone() }, None)
        });
        open.splice(0..0, named);
    }

    /// How soon what waits to be committed is to be.
    pub(super) fn seal_haste(&mut self) -> Haste {
        let mut late = core::mem::take(&mut self.journal.late);
        let stands = late.count <= self.journal.open.len()
            && late.lines.iter().all(|&line| self.lines[line].running > 0);
        if !stands {
            late = Late::default();
        }
        let mut haste = if self.journal.mirror_dirty.is_empty() { Haste::Late } else { Haste::Soon };
        for (at, entry) in self.journal.open.iter().enumerate().skip(late.count) {
            match entry {
                Open::Fact(fact, Some(line)) => {
                    if !self.can_wait(fact, *line) {
                        haste = haste.min(Haste::Soon);
                    } else if late.count == at {
                        late.count += 1;
                        if !late.lines.contains(line) {
                            late.lines.push(*line);
                        }
                    }
                }
                _ => {
                    haste = Haste::Now;
                    break;
                }
            }
        }
        self.journal.late = late;
        haste
    }

    /// Whether a fact is what became of a transaction that nothing else waits for, while others of its line are
    /// still being sent.
    fn can_wait(&self, fact: &Fact<V>, line: usize) -> bool {
        let (Fact::Started { tx, .. }
        | Fact::Retried { tx, .. }
        | Fact::Persisted { tx, .. }
        | Fact::Completed { tx, .. }) = fact
        else {
            return false;
        };
        let Some(slot) = self.txs_by_id.get(tx).map(|&tx| self.tx(tx)) else { return false };
        let is_last = |mutation: &Mutation<V>| {
            let holder = &self.collections[mutation.collection];
            holder.row(mutation.row).pending.last().is_none_or(|last| self.tx(last.tx).id == *tx)
                && holder.scoped.last().is_none_or(|&last| self.tx(last).id == *tx)
        };
        // Nothing is written behind it, and its completion, if that is what comes next, is in the same record.
        self.lines[line].running > 0
            && (slot.completing || !matches!(fact, Fact::Persisted { .. }))
            && slot.mutations.iter().all(is_last)
    }

    /// Makes a commit depend on a lease that this tab holds.
    fn fence(&self, line: usize, fences: &mut Vec<Fence>) {
        let line = &self.lines[line];
        let epoch = line.epoch.expect("what needs a lease is dropped when the lease is lost");
        if !fences.iter().any(|fence| *fence.lease == *line.name) {
            fences.push(Fence { lease: line.name.to_string(), epoch });
        }
    }

    /// Notes that the mirror may lack what shows of a row now. The tab that leads the row's line puts it there
    /// with its next commit; the others remember it, in case they lead before it was done.
    pub(super) fn mirror_later(&mut self, collection: usize, row: usize) {
        let Some(registration) = &self.collections[collection].registered else {
            self.journal.mirror_doubts.insert(collection, row);
            return;
        };
        if registration.mirror {
            let leads = self.lines[registration.line].leads() && self.journal.is_loaded();
            let rows = if leads { &mut self.journal.mirror_dirty } else { &mut self.journal.mirror_doubts };
            rows.insert(collection, row);
        }
    }

    /// This tab leads a line now: what may be missing from the mirror is its to put there. So is what another release
    /// may have put there as it saw it: of rows whose changes it migrates otherwise, or not at all.
    pub(super) fn mirror_doubtful(&mut self, line: usize) {
        for &collection in &self.lines[line].collections {
            let holder = &self.collections[collection];
            if !holder.registered.as_ref().is_some_and(|registration| registration.mirror) {
                continue;
            }
            for (ix, row) in holder.rows.values().enumerate() {
                if !row.pending.is_empty() || row.provisional.is_some() {
                    self.journal.mirror_dirty.insert(collection, ix);
                }
            }
        }
        let doubts = core::mem::take(&mut self.journal.mirror_doubts);
        for (collection, row) in doubts.iter() {
            match &self.collections[collection].registered {
                Some(registration) if !registration.mirror => {}
                Some(registration) if registration.line == line => {
                    self.journal.mirror_dirty.insert(collection, row);
                }
                _ => {
                    self.journal.mirror_doubts.insert(collection, row);
                }
            }
        }
    }
}
