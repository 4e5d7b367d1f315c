//! The journal as this tab drives it: one operation on disk at a time, commits shared by a turn, records
//! of other tabs read and replayed in order.

use super::{
    Engine, Op, Timer,
    row_set::RowSet,
    transaction::{Order, TxIx},
};
use crate::{
    Code, CommitError, Error, ErrorInfo, Fence, Output, Timestamp, TxId, Value,
    input::LogRead,
    output::TxEvent,
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
    pub in_flight: Vec<Open<V>>,
    pub fences: Vec<Fence>,
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
    pub late: Late,
    /// Rows of mirrored collections that are put into the mirror with the next commit.
    pub mirror_dirty: RowSet,
    /// Those of the commit in flight.
    pub mirror_in_flight: RowSet,
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
pub(super) struct Late {
    /// So many of them, from the first on.
    pub count: usize,
    /// The lines that they are of.
    pub lines: Vec<usize>,
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
