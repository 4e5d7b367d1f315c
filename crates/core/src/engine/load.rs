//! Taking everything from disk: at the start, and when another tab's checkpoint has passed this one.

use std::collections::BTreeSet;

use super::{
    Engine,
    journal::{Open, State, storage_error},
    transaction::{Change, TxIx},
};
use crate::{
    Code, CommitError, ErrorInfo, Output, Timestamp, TxId, Value, input::Loaded, record::Fact,
    view::TransactionState,
};

impl<V: Value> Engine<V> {
    /// Takes everything from disk: at the start, and when another tab's checkpoint has passed this one.
    pub(super) fn handle_loaded(&mut self, now: Timestamp, result: Result<Loaded<V>, CommitError>) {
        self.journal.busy = false;
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(error) => {
                let info = storage_error(&error);
                self.journal.state = State::Failed(info.clone());
                // Nothing more is read: what is taken back is told as it goes.
                self.journal.quiet = false;
                for tx in core::mem::take(&mut self.journal.open)
                    .into_iter()
                    .filter_map(|entry| if let Open::Transaction(tx) = entry { Some(tx) } else { None })
                    .rev()
                {
                    self.refuse(tx, info.clone());
                }
                self.last_error = Some(info.clone());
                self.status_changed = true;
                self.outputs.push_back(Output::Error {
                    code: Code::StorageUnavailable,
                    error: info,
                    transaction: None,
                });
                return;
            }
        };
        let first = !self.journal.is_loaded();
        if loaded.is_anew {
            self.tell_loss();
        }
        let before: Vec<(TxIx, TransactionState)> = self
            .txs_by_order
            .iter()
            .filter(|(order, _)| order.is_committed())
            .map(|(_, &tx)| (tx, self.tx(tx).state))
            .collect();
        self.forget_rows();
        self.journal.quiet = true;
        self.journal.undecodable = 0;
        self.journal.checkpoint = loaded.checkpoint;
        self.journal.applied = loaded.checkpoint;
        for (_, record) in &loaded.segments {
            self.replay(now, loaded.checkpoint, record);
        }
        // What the segments say is checkpointed.
        self.touched_rows.clear();
        self.touched_txs.clear();
        for (seq, record) in &loaded.log {
            self.replay(now, *seq, record);
            self.journal.applied = *seq;
        }
        self.journal.grown = self.journal.grown.max(self.journal.applied);
        self.journal.state = State::Loaded;
        self.journal.quiet = false;
        self.take_up_open();
        for collection in 0..self.collections.len() {
            for row in 0..self.collections[collection].rows.len() {
                self.refresh(collection, row);
            }
        }
        let uncommitted: Vec<TxIx> =
            self.unfinished.iter().filter(|(order, _)| !order.is_committed()).map(|(_, &tx)| tx).collect();
        let mut refused: BTreeSet<TxId> = BTreeSet::new();
        for tx in uncommitted {
            if !self.journal.open.iter().any(|entry| matches!(entry, Open::Transaction(open) if *open == tx))
            {
                // It was committed, has ended and was dropped, all before this tab could read it back.
                let slot = self.tx(tx);
                let (order, state) = (slot.order, slot.state);
                self.unfinished.remove(&order);
                self.txs_by_order.remove(&order);
                self.tell_outcome(tx, state);
                continue;
            }
            // What was written over one that is taken back now stands on the rows that are there.
            self.tx_mut(tx).behind.retain(|id| !refused.contains(id));
            match if first { self.check_late(tx) } else { None } {
                Some(info) => {
                    refused.insert(self.tx(tx).id);
                    self.journal
                        .open
                        .retain(|entry| !matches!(entry, Open::Transaction(other) if *other == tx));
                    self.refuse(tx, info);
                }
                None => self.overlay(tx),
            }
        }
        for (tx, state) in before {
            self.tell_outcome(tx, state);
        }
        if first {
            for collection in 0..self.collections.len() {
                if self.collections[collection].registered.is_some() {
                    self.tell_ready(collection);
                }
            }
        }
        for session in 0..self.sessions.len() {
            let known = self.known(&self.sessions[session].name);
            self.sessions[session].recall(known);
        }
        for line in 0..self.lines.len() {
            if self.lines[line].leads() {
                self.lead_line(now, line);
            } else if self.lines[line].elsewhere {
                for collection in self.lines[line].collections.clone() {
                    self.tell_synced_before(collection);
                }
            }
        }
        self.status_changed = true;
        if !first {
            self.lead_what_was_gained(now);
        }
        self.read_on();
        self.plan_checkpoint(now);
    }

    /// What this tab has begun and decided and not committed yet is not in what was read: it is noted again.
    fn take_up_open(&mut self) {
        for slot in self.txs.iter_mut().flatten() {
            (slot.deciding, slot.completing) = (false, false);
        }
        let mut begun = Vec::new();
        for entry in &self.journal.open {
            let Open::Fact(fact, _) = entry else { continue };
            let Some(&tx) = fact.tx().and_then(|id| self.txs_by_id.get(&id)) else { continue };
            let slot = self.txs[tx].as_mut().expect("an indexed transaction is there");
            match fact {
                Fact::Started { at, .. } if !slot.is_done() => begun.push((tx, *at)),
                Fact::Started { .. } => {}
                _ => slot.deciding = true,
            }
            slot.completing |= matches!(fact, Fact::Completed { .. });
        }
        for (tx, at) in begun {
            self.note_started(tx, at);
        }
    }

    /// Empties what is told by the journal, for reading it anew. Rows keep their places.
    fn forget_rows(&mut self) {
        for collection in &mut self.collections {
            collection.scoped.clear();
            for row in collection.rows.values_mut() {
                row.synced = None;
                row.held = None;
                row.provisional = None;
                row.pending.clear();
                row.locked_by = None;
            }
        }
        for line in &mut self.lines {
            line.ready.clear();
            line.ready_named.clear();
        }
        self.failed_count = self
            .txs_by_order
            .values()
            .filter(|&&tx| !self.tx(tx).order.is_committed() && self.tx(tx).state == TransactionState::Failed)
            .count();
        self.unfinished.retain(|order, _| !order.is_committed());
        self.txs_by_order.retain(|order, _| !order.is_committed());
    }

    /// What is wrong with a transaction that was written before the rows were known.
    fn check_late(&mut self, tx: TxIx) -> Option<ErrorInfo> {
        for index in 0..self.tx(tx).mutations.len() {
            let mutation = &self.tx(tx).mutations[index];
            let holder = &self.collections[mutation.collection];
            let there = holder.row(mutation.row).visible.clone();
            let (name, key) = (&holder.name, &mutation.key);
            match (&mutation.kind, &there) {
                (Change::Insert(_), Some(_)) => {
                    return Some(ErrorInfo::of(
                        Code::DuplicateKey,
                        format!(
                            "the collection {name} has a row with the key {key} already. The insert was taken back; update the row instead"
                        ),
                    ));
                }
                (Change::Update { .. } | Change::Delete { .. }, None) => {
                    return Some(ErrorInfo::of(
                        Code::MissingKey,
                        format!(
                            "the collection {name} has no row with the key {key}. The change was taken back; insert the row first"
                        ),
                    ));
                }
                (Change::Update { changes, .. }, Some(row)) => {
                    let (changes, modified) = (changes.clone(), row.merge(changes));
                    let mutation = &mut self.tx_mut(tx).mutations[index];
                    mutation.kind = Change::Update { original: there, changes };
                    mutation.modified = Some(modified);
                }
                (Change::Delete { .. }, Some(_)) => {
                    self.tx_mut(tx).mutations[index].kind = Change::Delete { original: there }
                }
                (Change::Insert(_), None) => {}
            }
        }
        None
    }

    fn tell_loss(&mut self) {
        let error = ErrorInfo::of(
            Code::StorageLost,
            "the browser has lost or emptied the database that was here, and with it all that was written and not sent: it was damaged, or deleted by hand. Nothing of it is kept but what the backend has, which comes back by itself; write the rest again",
        );
        self.last_error = Some(error.clone());
        self.status_changed = true;
        self.outputs.push_back(Output::Error { code: Code::StorageLost, error, transaction: None });
    }
}
