//! Lines: what one lease covers. A collection with functions of the app's own has a line, and a remote has
//! one for all its collections, since they share a cursor. A line's transactions are sent by the tab that leads it.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    Engine, Op, Timer,
    journal::Open,
    transaction::{Order, TxIx},
};
use crate::{OpId, Output, Timestamp, Value, record::Fact, view::TransactionState};

/// How long a tab that gave way keeps a lease that it got back, in milliseconds.
const GIVE_WAY_REST_MS: u64 = 5_000;

pub(super) struct Line {
    /// The lease's name.
    pub name: Rc<str>,
    pub claimed: bool,
    /// The epoch, while this tab leads.
    pub epoch: Option<u64>,
    /// The epoch of a lease that was just gained. This tab leads once it has read what the leader before it
    /// committed: whatever is in the log by now is all that one ever decides.
    pub gained: Option<Gained>,
    /// Another tab leads.
    pub elsewhere: bool,
    pub collections: Vec<usize>,
    pub session: Option<usize>,
    /// What can be sent, in order.
    pub ready: BTreeMap<Order, TxIx>,
    /// Of a remote's line: what is sent by a function of the app's, which the transaction names, and not pushed.
    pub ready_named: BTreeMap<Order, TxIx>,
    pub running: usize,
    pub concurrent_max: usize,
    /// Credentials are wanted, since then.
    pub auth_since: Option<Timestamp>,
    /// The last operation that had begun when the app resumed: what it says of credentials is of old ones.
    pub resumed_at: u64,
    /// Nothing was reached: not before then, unless the network is said to be back.
    pub not_before: Option<Timestamp>,
    /// Unreachable answers in a row.
    pub unreachable: u32,
    /// When this tab last gave the lease up for what it could not send itself.
    pub gave_way_at: Option<Timestamp>,
}

/// A lease that was gained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gained {
    pub epoch: u64,
    /// Whether the log has been asked for since.
    pub asked: bool,
}

impl Line {
    pub fn new(name: Rc<str>, concurrent_max: usize) -> Self {
        Self {
            name,
            claimed: false,
            epoch: None,
            gained: None,
            elsewhere: false,
            collections: Vec::new(),
            session: None,
            ready: BTreeMap::new(),
            ready_named: BTreeMap::new(),
            running: 0,
            concurrent_max: concurrent_max.max(1),
            auth_since: None,
            resumed_at: 0,
            not_before: None,
            unreachable: 0,
            gave_way_at: None,
        }
    }

    pub fn leads(&self) -> bool {
        self.epoch.is_some()
    }
}

impl<V: Value> Engine<V> {
    /// Notes a decision of this tab's as a leader. It takes effect once it is committed, as in other tabs.
    pub(super) fn decide(&mut self, line: usize, fact: Fact<V>) {
        self.journal.open.push(Open::Fact(fact, Some(line)));
    }

    pub(super) fn handle_lease_gained(&mut self, name: &str, epoch: u64) {
        let Some(&line) = self.lines_by_name.get(name) else { return };
        if self.closed {
            return;
        }
        self.lines[line].gained = Some(Gained { epoch, asked: false });
        self.lines[line].elsewhere = false;
        self.status_changed = true;
        self.read_on();
    }

    /// The log has been read to its end: leases that were gained before it was asked for are taken up.
    pub(super) fn lead_what_was_gained(&mut self, now: Timestamp) {
        for line in 0..self.lines.len() {
            if let Some(gained) = self.lines[line].gained.take_if(|gained| gained.asked) {
                self.lines[line].epoch = Some(gained.epoch);
                self.status_changed = true;
                self.lead_line(now, line);
            }
        }
    }

    pub(super) fn handle_lease_elsewhere(&mut self, name: &str) {
        let Some(&line) = self.lines_by_name.get(name) else { return };
        self.lines[line].elsewhere = true;
        self.status_changed = true;
        self.reconsider = true;
        if self.journal.is_loaded() {
            for collection in self.lines[line].collections.clone() {
                self.tell_synced_before(collection);
            }
        }
    }

    /// Takes up the work of a line: what an earlier leader left, its feeds, its session.
    pub(super) fn lead_line(&mut self, now: Timestamp, line: usize) {
        self.mirror_doubtful(line);
        for collection in self.lines[line].collections.clone() {
            self.lead_collection(now, collection);
        }
        if let Some(session) = self.lines[line].session {
            self.start_session(now, session);
        }
        self.consider_all(now);
    }

    /// Starts a collection's own feed.
    pub(super) fn lead_collection(&mut self, _now: Timestamp, collection: usize) {
        let holder = &self.collections[collection];
        if holder.registered.as_ref().is_some_and(|registration| registration.has_sync) {
            self.outputs.push_back(Output::StartSync(super::collection_id(collection)));
        }
    }

    pub(super) fn handle_lease_lost(&mut self, name: &str) {
        let Some(&line) = self.lines_by_name.get(name) else { return };
        let holder = &mut self.lines[line];
        holder.gained = None;
        holder.elsewhere = true;
        self.status_changed = true;
        self.reconsider = true;
        if holder.epoch.take().is_none() {
            return;
        }
        holder.running = 0;
        holder.ready.clear();
        holder.ready_named.clear();
        let mut undecided = Vec::new();
        self.journal.open.retain(|entry| match entry {
            Open::Fact(fact, Some(of)) if *of == line => {
                undecided.extend(fact.tx());
                false
            }
            _ => true,
        });
        for id in undecided {
            self.undecide(Some(id));
        }
        let session = self.lines[line].session;
        let gone: Vec<_> = self
            .ops
            .iter()
            .filter(|(_, op)| match op {
                Op::Persist { line: of, .. } => *of == line,
                Op::AwaitSync { tx } => self.tx_lines(*tx).contains(&line),
                Op::Push { session: of, .. }
                | Op::Pull { session: of, .. }
                | Op::Ping { session: of }
                | Op::Probe { session: of } => Some(*of) == session,
                _ => false,
            })
            .map(|(&id, op)| (id, op.clone()))
            .collect();
        for (id, op) in gone {
            self.ops.swap_remove(&id);
            self.outputs.push_back(Output::Cancel(id));
            let txs = match op {
                Op::Persist { tx, .. } | Op::AwaitSync { tx } => vec![tx],
                Op::Push { txs, .. } => txs.into_iter().map(|(tx, _)| tx).collect(),
                _ => Vec::new(),
            };
            for tx in txs {
                if let Some(slot) = self.txs[tx].as_mut() {
                    slot.op = None;
                    if slot.state == TransactionState::Persisting {
                        slot.state = TransactionState::Pending;
                    }
                    self.changed.insert(tx);
                }
            }
        }
        for collection in self.lines[line].collections.clone() {
            if self.collections[collection]
                .registered
                .as_ref()
                .is_some_and(|registration| registration.has_sync)
            {
                self.outputs.push_back(Output::StopSync(super::collection_id(collection)));
            }
        }
        if let Some(session) = session {
            self.stop_session(session);
        }
    }

    /// A transaction needs several leases and this tab has only some. Leases are taken in the order of their
    /// names, so the tab that lacks the first one it needs gives the others up, for whoever has it.
    pub(super) fn give_way(&mut self, now: Timestamp, needed: &[usize]) {
        let Some(missing) = needed
            .iter()
            .filter(|&&line| !self.lines[line].leads())
            .map(|&line| self.lines[line].name.clone())
            .min()
        else {
            return;
        };
        for &line in needed {
            let holder = &self.lines[line];
            if !holder.leads() || holder.name <= missing {
                continue;
            }
            if !self.is_rested(now, line) || holder.running > 0 {
                if self.give_way_at.is_none() {
                    let at = now + GIVE_WAY_REST_MS;
                    self.give_way_at = Some(at);
                    self.set_timer(at, Timer::GiveWay);
                }
            } else {
                self.let_go(now, line);
            }
        }
    }

    /// Whether a lease that this tab gave up was left to others for a while.
    pub(super) fn is_rested(&self, now: Timestamp, line: usize) -> bool {
        self.lines[line].gave_way_at.is_none_or(|at| now >= at + GIVE_WAY_REST_MS)
    }

    /// Gives a lease to the next tab in line, and stands in line for it again.
    pub(super) fn let_go(&mut self, now: Timestamp, line: usize) {
        let name = self.lines[line].name.to_string();
        self.lines[line].gave_way_at = Some(now);
        self.handle_lease_lost(&name);
        self.outputs.push_back(Output::ReleaseLease(name.clone()));
        self.outputs.push_back(Output::ClaimLease(name));
    }

    /// The lines whose leases a transaction's sender must hold; empty while one of its collections is not registered.
    pub(super) fn tx_lines(&self, tx: TxIx) -> Vec<usize> {
        let mut lines = Vec::new();
        for mutation in &self.tx(tx).mutations {
            match &self.collections[mutation.collection].registered {
                None => return Vec::new(),
                Some(registration) if !lines.contains(&registration.line) => lines.push(registration.line),
                Some(_) => {}
            }
        }
        lines
    }

    /// Whether an operation was begun before the app last gave its word that the credentials are good.
    pub(super) fn is_of_old_credentials(&self, line: usize, op: OpId) -> bool {
        op.0 <= self.lines[line].resumed_at
    }

    /// The network hold of a line is over.
    pub(super) fn line_due(&mut self, line: usize, at: Timestamp) {
        if self.lines[line].not_before == Some(at) {
            self.lines[line].not_before = None;
            self.stirred.insert(line);
        }
    }

    /// The line with this lease, made if there is none yet.
    pub(super) fn line(&mut self, name: &str, concurrent_max: usize) -> usize {
        if let Some(&line) = self.lines_by_name.get(name) {
            return line;
        }
        let name: Rc<str> = name.into();
        let line = self.lines.len();
        self.lines.push(Line::new(name.clone(), concurrent_max));
        self.lines_by_name.insert(name, line);
        line
    }
}
