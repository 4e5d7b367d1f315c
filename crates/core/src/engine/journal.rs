//! The journal as this tab drives it: one operation on disk at a time, commits shared by a turn, records
//! of other tabs read and replayed in order.

use std::collections::BTreeSet;

use super::{
    Engine, Op, Timer,
    row_set::RowSet,
    transaction::{Mutation, Order, TxIx},
};
use crate::{
    Code, Commit, CommitError, Error, ErrorInfo, Fence, MirrorPut, Output, Timestamp, TxId, Value,
    input::LogRead,
    output::{Haste, TxEvent},
    record::{self, Fact},
    view::TransactionState,
};

/// How long a write that failed for want of storage waits before it is tried again, in milliseconds.
const STORAGE_RETRY_MS: u64 = 5_000;

/// What the engine knows of the journal on disk.
pub(super) struct Journal<V> {
    pub state: State,
    /// What this tab has written and not committed yet, in order.
    pub open: Vec<Open<V>>,
    /// What is being committed, and under which epochs.
    in_flight: Vec<Open<V>>,
    fences: Vec<Fence>,
    /// A commit, a read or a checkpoint is under way.
    pub busy: bool,
    /// The number of the last record that was replayed.
    pub applied: u64,
    /// The highest number that is known to be on disk.
    pub grown: u64,
    /// What that was when the log was last asked for.
    asked_grown: u64,
    /// What the checkpoint on disk covers.
    pub checkpoint: u64,
    /// Records that could not be decoded, kept on disk: no checkpoint is written while there are any.
    pub undecodable: usize,
    retry_at: Option<Timestamp>,
    late: Late,
    /// Rows of mirrored collections that are put into the mirror with the next commit.
    pub mirror_dirty: RowSet,
    /// Those of the commit in flight.
    mirror_in_flight: RowSet,
    /// Rows that the tab that leads them puts there, or was to put there before it was gone.
    pub mirror_doubts: RowSet,
    /// While the journal is read, rows are not recomputed one by one.
    pub quiet: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Loading,
    Loaded,
    Failed(ErrorInfo),
}

/// What of the open facts was found to be able to wait, so that it is not looked at again with each one that comes.
#[derive(Default)]
struct Late {
    /// So many of them, from the first on.
    count: usize,
    /// The lines that they are of.
    lines: Vec<usize>,
}

/// Something to commit.
pub(super) enum Open<V> {
    Transaction(TxIx),
    /// A fact, and the line whose lease it needs.
    Fact(Fact<V>, Option<usize>),
}

impl<V> Default for Journal<V> {
    fn default() -> Self {
        Self {
            state: State::Loading,
            open: Vec::new(),
            in_flight: Vec::new(),
            fences: Vec::new(),
            busy: false,
            applied: 0,
            grown: 0,
            asked_grown: 0,
            checkpoint: 0,
            undecodable: 0,
            retry_at: None,
            late: Late::default(),
            mirror_dirty: RowSet::default(),
            mirror_in_flight: RowSet::default(),
            mirror_doubts: RowSet::default(),
            quiet: true,
        }
    }
}

impl<V> Journal<V> {
    pub fn is_loaded(&self) -> bool {
        self.state == State::Loaded
    }

    pub fn wants_seal(&self) -> bool {
        self.is_loaded()
            && !self.busy
            && self.retry_at.is_none()
            && !(self.open.is_empty() && self.mirror_dirty.is_empty())
    }

    /// Whether nothing is under way or waiting, so that memory is what the log says.
    pub fn is_idle(&self) -> bool {
        self.is_loaded()
            && !self.busy
            && self.open.is_empty()
            && self.mirror_dirty.is_empty()
            && self.applied >= self.grown
    }

    pub fn storage_due(&mut self, at: Timestamp) {
        if self.retry_at == Some(at) {
            self.retry_at = None;
        }
    }

    /// Why no write can be taken, if none can.
    pub fn refusal(&self) -> Option<Error> {
        match &self.state {
            State::Failed(info) => Some(Error::new(Code::StorageUnavailable, info.message.clone())),
            _ => None,
        }
    }
}

impl<V: Value> Engine<V> {
    pub(super) fn load(&mut self) {
        self.journal.busy = true;
        let op = self.op(Op::Load);
        self.outputs.push_back(Output::Load(op));
    }

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

    pub(super) fn handle_committed(&mut self, now: Timestamp, result: Result<u64, CommitError>) {
        let batch = core::mem::take(&mut self.journal.in_flight);
        let mirrored = core::mem::take(&mut self.journal.mirror_in_flight);
        self.journal.busy = false;
        if result.is_err() {
            for (collection, row) in mirrored.iter() {
                self.mirror_later(collection, row);
            }
        }
        match result {
            Ok(seq) => {
                self.journal.grown = self.journal.grown.max(seq);
                let written: Vec<TxIx> = batch
                    .iter()
                    .filter_map(|entry| if let Open::Transaction(tx) = entry { Some(*tx) } else { None })
                    .collect();
                for tx in written {
                    if self.txs[tx].is_some() {
                        self.tell(tx, TxEvent::Durable);
                    }
                }
                if seq == self.journal.applied + 1 {
                    for (index, entry) in batch.into_iter().enumerate() {
                        match entry {
                            Open::Transaction(tx) => self.take_place(now, tx, Order(seq, index as u64)),
                            Open::Fact(fact, _) => self.apply(now, fact, Order(seq, index as u64)),
                        }
                    }
                    self.journal.applied = seq;
                }
                // Else records of other tabs come before it: it is read back with them, in order.
                self.read_on();
                self.plan_checkpoint(now);
            }
            Err(CommitError::Fenced(lease)) => {
                // Nothing of the batch was kept. What needed the lease is for the new leader to decide.
                self.handle_lease_lost(&lease);
                self.reopen(batch);
                self.outputs.push_back(Output::ReleaseLease(lease.clone()));
                self.outputs.push_back(Output::ClaimLease(lease));
                self.read_on();
            }
            Err(error) => self.refuse_batch(now, batch, &error),
        }
    }

    /// Puts what was not committed back in front of what was written since, less the decisions whose
    /// lease has been lost, regained or not: they are for today's leader.
    fn reopen(&mut self, batch: Vec<Open<V>>) {
        let fences = core::mem::take(&mut self.journal.fences);
        let mut kept = Vec::with_capacity(batch.len() + self.journal.open.len());
        for entry in batch {
            if let Open::Fact(fact, Some(line)) = &entry {
                let line = &self.lines[*line];
                let stands =
                    fences.iter().any(|fence| *fence.lease == *line.name && Some(fence.epoch) == line.epoch);
                if !stands {
                    self.undecide(fact.tx());
                    continue;
                }
            }
            kept.push(entry);
        }
        kept.append(&mut self.journal.open);
        self.journal.open = kept;
        self.journal.late = Late::default();
    }

    /// A decision about a transaction was dropped: another may be made.
    pub(super) fn undecide(&mut self, id: Option<TxId>) {
        if let Some(&tx) = id.and_then(|id| self.txs_by_id.get(&id)) {
            let slot = self.tx_mut(tx);
            slot.deciding = false;
            slot.persisting = false;
            slot.completing = false;
            self.sent_here.remove(&tx);
        }
    }

    /// A batch could not be written: what the app wrote is taken back, with its reason; what this tab
    /// decided as a leader stays and is tried again.
    fn refuse_batch(&mut self, now: Timestamp, batch: Vec<Open<V>>, error: &CommitError) {
        let info = storage_error(error);
        let mut kept = Vec::new();
        let mut refused = Vec::new();
        for entry in batch {
            match entry {
                Open::Transaction(tx) => refused.push(tx),
                fact @ Open::Fact(..) => kept.push(fact),
            }
        }
        // What was written over a refused transaction meanwhile was written on rows that are gone now.
        let mut index = 0;
        while index < refused.len() {
            for dependent in self.dependents(refused[index]) {
                if !self.tx(dependent).order.is_committed() && !refused.contains(&dependent) {
                    refused.push(dependent);
                }
            }
            index += 1;
        }
        let dropped: Vec<_> = refused.iter().map(|&tx| self.tx(tx).id).collect();
        self.reopen(kept);
        self.journal.late = Late::default();
        self.journal.open.retain(|entry| match entry {
            Open::Transaction(tx) => !refused.contains(tx),
            Open::Fact(Fact::Failed { tx, .. } | Fact::Discarded { tx }, _) => !dropped.contains(tx),
            Open::Fact(..) => true,
        });
        for &tx in refused.iter().rev() {
            self.refuse(tx, info.clone());
        }
        self.last_error = Some(info.clone());
        self.status_changed = true;
        let code = if matches!(error, CommitError::Quota { .. }) {
            Code::QuotaExceeded
        } else {
            Code::StorageUnavailable
        };
        self.outputs.push_back(Output::Error { code, error: info, transaction: None });
        if !self.journal.open.is_empty() {
            let at = now + STORAGE_RETRY_MS;
            self.journal.retry_at = Some(at);
            self.set_timer(at, Timer::Storage);
        }
        self.read_on();
    }

    /// Takes back a transaction that is in no journal.
    pub(super) fn refuse(&mut self, tx: TxIx, info: ErrorInfo) {
        let slot = self.tx_mut(tx);
        slot.error = Some(info.clone());
        self.note_error(info.clone());
        self.end(tx, TransactionState::Failed, false);
        self.tell(tx, TxEvent::NotDurable(info));
    }

    pub(super) fn handle_log_grew(&mut self, seq: u64) {
        self.journal.grown = self.journal.grown.max(seq);
        self.read_on();
    }

    /// Reads what other tabs have written, if there is something.
    pub(super) fn read_on(&mut self) {
        let gained = self.lines.iter().any(|line| line.gained.is_some_and(|gained| !gained.asked));
        if self.journal.is_loaded()
            && !self.journal.busy
            && (gained || self.journal.grown > self.journal.applied)
        {
            for line in &mut self.lines {
                if let Some(gained) = &mut line.gained {
                    gained.asked = true;
                }
            }
            self.journal.busy = true;
            self.journal.asked_grown = self.journal.grown;
            let op = self.op(Op::ReadLog);
            self.outputs.push_back(Output::ReadLog(op, self.journal.applied));
        }
    }

    pub(super) fn handle_log_read(&mut self, now: Timestamp, result: Result<LogRead<V>, CommitError>) {
        self.journal.busy = false;
        match result {
            Ok(read) if read.checkpoint > self.journal.applied => self.load(),
            Ok(read) => {
                for (seq, record) in read.records {
                    if seq > self.journal.applied {
                        self.replay(now, seq, &record);
                        self.journal.applied = seq;
                    }
                }
                // What was announced before it was asked for, and is not there, was rolled back with its tab.
                if self.journal.grown == self.journal.asked_grown {
                    self.journal.grown = self.journal.applied;
                }
                self.lead_what_was_gained(now);
                self.read_on();
                self.plan_checkpoint(now);
            }
            Err(error) => {
                for gained in self.lines.iter_mut().filter_map(|line| line.gained.as_mut()) {
                    gained.asked = false;
                }
                let at = now + STORAGE_RETRY_MS;
                self.journal.retry_at = Some(at);
                self.set_timer(at, Timer::Storage);
                let info = storage_error(&error);
                self.last_error = Some(info.clone());
                self.status_changed = true;
                self.outputs.push_back(Output::Error {
                    code: Code::StorageUnavailable,
                    error: info,
                    transaction: None,
                });
            }
        }
    }

    pub(super) fn replay(&mut self, now: Timestamp, seq: u64, record: &crate::Record<V>) {
        match record::decode(record) {
            Ok(facts) => {
                for (index, fact) in facts.into_iter().enumerate() {
                    self.apply(now, fact, Order(seq, index as u64));
                }
            }
            Err(reason) => {
                self.journal.undecodable += 1;
                let info = ErrorInfo::of(
                    Code::Unexpected,
                    format!(
                        "journal record {seq} can't be read ({reason}); it is kept on disk, and the rest goes on"
                    ),
                );
                self.last_error = Some(info.clone());
                self.outputs.push_back(Output::Error {
                    code: Code::Unexpected,
                    error: info,
                    transaction: None,
                });
            }
        }
    }
}

/// An error of the disk, for people.
pub(super) fn storage_error(error: &CommitError) -> ErrorInfo {
    match error {
        &CommitError::Quota { usage_bytes, quota_bytes } => ErrorInfo::of(
            Code::QuotaExceeded,
            format!(
                "the browser has no room for this write: {usage_bytes} of {quota_bytes} bytes are used. What was stored before is kept, this write was taken back; free some space and write again"
            ),
        )
        .with_figures(quota_bytes, usage_bytes),
        CommitError::Unavailable(reason) => ErrorInfo::of(
            Code::StorageUnavailable,
            format!(
                "the browser's storage can't be used ({reason}). What was stored before is kept, this write was taken back; leave private browsing or reload, then write again"
            ),
        ),
        CommitError::NotCloneable(reason) => ErrorInfo::of(
            Code::NotCloneable,
            format!("the browser can't store a value of this write ({reason}); it was taken back, what was stored before is kept. Leave that value out and write again"),
        ),
        CommitError::Fenced(lease) => ErrorInfo::of(
            Code::Unexpected,
            format!("another tab has taken over {lease}; what is written is kept, and that tab sends it"),
        ),
    }
}
