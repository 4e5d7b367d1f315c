//! The engine of a tab: transactions, collections and sync sessions of one database. The crate's docs
//! have the driving contract.

mod apply;
mod behind;
mod checkpoint;
mod collection;
mod commands;
mod draft;
mod ending;
mod events;
mod evolve;
mod hand_over;
mod history;
mod journal;
mod lines;
mod live;
mod load;
mod mapping;
mod overlay;
mod ping;
mod pull;
mod push;
mod row_set;
mod schedule;
mod seal;
mod session;
mod tables;
mod transaction;
mod views;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::BuildHasherDefault,
    rc::Rc,
};

use indexmap::IndexMap;
use rustc_hash::FxHasher;

use self::{
    collection::{Collection, RowIx},
    journal::Journal,
    lines::Line,
    row_set::RowSet,
    session::{Known, Session},
    transaction::{Changed, Order, Slot, TxIx},
};
use crate::{
    Config, ErrorInfo, Input, OpId, Output, Timestamp, TxId, Value, WakeReason,
    backend::{Position, WireFailure},
    output::{Haste, RowChange, TxEvent},
    random::Random,
    spec::{CollectionId, RemoteId},
};

/// A database's transactions, collections and sync sessions, as one tab sees them.
pub struct Engine<V: Value> {
    config: Config,
    random: Random,
    collections: Vec<Collection<V>>,
    collections_by_name: BTreeMap<Rc<str>, usize>,
    collections_by_table: BTreeMap<Rc<str>, usize>,
    sessions: Vec<Session>,
    sessions_by_name: BTreeMap<Rc<str>, usize>,
    /// What the journal holds of remotes, connected or not.
    remotes: BTreeMap<Rc<str>, Known>,
    lines: Vec<Line>,
    lines_by_name: BTreeMap<Rc<str>, usize>,
    /// Boxed: a place is never used again, and what is pruned leaves no more than it.
    txs: Vec<Option<Box<Slot<V>>>>,
    txs_by_id: BTreeMap<TxId, TxIx>,
    txs_by_order: BTreeMap<Order, TxIx>,
    unfinished: BTreeMap<Order, TxIx>,
    failed_count: usize,
    /// Transactions that failed or were given up and are no longer listed: what was written behind one goes too.
    discarded: BTreeSet<TxId>,
    uncommitted_count: u64,
    journal: Journal<V>,
    /// Segments of rows and of transactions that differ from the checkpoint's.
    touched_rows: RowSet,
    touched_txs: BTreeSet<u64>,
    checkpoint_at: Option<Timestamp>,
    /// What the checkpoint under way covers.
    checkpointing: u64,
    ops: IndexMap<OpId, Op, BuildHasherDefault<FxHasher>>,
    next_op: u64,
    timers: BTreeSet<(Timestamp, Timer)>,
    told_wake: Option<Timestamp>,
    paused: Option<(String, Timestamp)>,
    online: bool,
    last_error: Option<ErrorInfo>,
    closed: bool,
    /// Transactions that the app's `migrate` could not make fit, and why.
    quarantine: Vec<(TxIx, ErrorInfo)>,
    /// Transactions whose `persist` this tab ran, until what follows is decided.
    sent_here: BTreeSet<TxIx>,
    /// Leases changed hands: what waits for several of them is to be looked at again.
    reconsider: bool,
    /// When that is due because a lease could not be given up just then.
    give_way_at: Option<Timestamp>,
    /// When the other tabs are asked for one that knows more collections than this one.
    help_at: Option<Timestamp>,
    /// Lines that may have something to start.
    stirred: BTreeSet<usize>,
    /// Rows whose change was not told yet, with what showed before.
    dirty: Vec<(usize, RowIx, Option<V>)>,
    /// Collections whose synced rows changed.
    synced_dirty: BTreeSet<usize>,
    changed: Changed,
    status_changed: bool,
    outputs: VecDeque<Output<V>>,
}

/// What an operation in flight is for.
#[derive(Clone, Debug)]
enum Op {
    Load,
    Commit,
    ReadLog,
    Checkpoint,
    Persist {
        tx: TxIx,
        line: usize,
    },
    AwaitSync {
        tx: TxIx,
    },
    /// The transactions, how many mutations or events of each, and where the last event would stand.
    Push {
        session: usize,
        txs: Vec<(TxIx, usize)>,
        last: u64,
    },
    /// Whether all rows were asked for, and the cursor that it was asked from: what comes over a live connection meanwhile
    /// may move it.
    Pull {
        session: usize,
        whole: bool,
        from: u64,
    },
    Ping {
        session: usize,
    },
    /// Asks by a plain request why a live connection can't be opened.
    Probe {
        session: usize,
    },
}

/// What a timer is for. A timer that no longer fits what it points to is ignored when it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Retry(TxIx),
    Pull(usize),
    Poll(usize),
    Reconnect(usize),
    Ping(usize),
    Frame(OpId),
    Line(usize),
    GiveWay,
    HandOver,
    Storage,
    Checkpoint,
}

impl<V: Value> Engine<V> {
    /// An engine of a tab that has just been opened. The first output is [`Output::Load`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut engine = Self {
            random: Random::new(config.seed),
            config,
            collections: Vec::new(),
            collections_by_name: BTreeMap::new(),
            collections_by_table: BTreeMap::new(),
            sessions: Vec::new(),
            sessions_by_name: BTreeMap::new(),
            remotes: BTreeMap::new(),
            lines: Vec::new(),
            lines_by_name: BTreeMap::new(),
            txs: Vec::new(),
            txs_by_id: BTreeMap::new(),
            txs_by_order: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            failed_count: 0,
            discarded: BTreeSet::new(),
            uncommitted_count: 0,
            journal: Journal::default(),
            touched_rows: RowSet::default(),
            touched_txs: BTreeSet::new(),
            checkpoint_at: None,
            checkpointing: 0,
            ops: IndexMap::default(),
            next_op: 0,
            timers: BTreeSet::new(),
            told_wake: None,
            paused: None,
            online: true,
            last_error: None,
            closed: false,
            quarantine: Vec::new(),
            sent_here: BTreeSet::new(),
            reconsider: false,
            give_way_at: None,
            help_at: None,
            stirred: BTreeSet::new(),
            dirty: Vec::new(),
            synced_dirty: BTreeSet::new(),
            changed: Changed::default(),
            status_changed: false,
            outputs: VecDeque::new(),
        };
        engine.load();
        engine
    }

    /// Moves the engine: the answer to an output, a frame, a change in the environment, the timer.
    /// An answer to an operation that is not in flight (answered, cancelled, of a lease that was lost) is ignored.
    pub fn handle_input(&mut self, now: Timestamp, input: Input<V>) {
        match input {
            Input::TurnEnded => self.seal(now),
            Input::Loaded(op, result) => {
                if let Some(Op::Load) = self.answer(op) {
                    self.handle_loaded(now, result);
                }
            }
            Input::Committed(op, result) => {
                if let Some(Op::Commit) = self.answer(op) {
                    self.handle_committed(now, result);
                }
            }
            Input::LogRead(op, result) => {
                if let Some(Op::ReadLog) = self.answer(op) {
                    self.handle_log_read(now, result);
                }
            }
            Input::Checkpointed(op, result) => {
                if let Some(Op::Checkpoint) = self.answer(op) {
                    self.handle_checkpointed(now, result);
                }
            }
            Input::CheckpointedElsewhere(upto) => self.handle_checkpointed_elsewhere(upto),
            Input::LogGrew(seq) => self.handle_log_grew(seq),
            Input::PersistAnswered(op, result) => {
                if let Some(Op::Persist { tx, line }) = self.answer(op) {
                    self.handle_persist_answered(now, op, tx, line, result);
                }
            }
            Input::AwaitSyncAnswered(op, result) => {
                if let Some(Op::AwaitSync { tx }) = self.answer(op) {
                    self.handle_await_sync_answered(now, tx, result);
                }
            }
            Input::RequestAnswered(op, result) => match self.answer(op) {
                Some(Op::Push { session, txs, last }) => {
                    let expected = txs.iter().map(|(_, count)| count).sum();
                    let pushed = match &result {
                        Ok(response) => self.sessions[session].codec.decode_push(expected, response),
                        Err(error) => Err(WireFailure::of_transport(error)),
                    };
                    self.handle_pushed(now, op, session, &txs, last, pushed);
                }
                Some(Op::Pull { session, whole, from }) => {
                    let (codec, position) = self.sessions[session].codec_and_position();
                    let position = Position { cursor: from, ..position };
                    let pulled = match &result {
                        Ok(response) => codec.decode_pull(position, whole, response),
                        Err(error) => Err(WireFailure::of_transport(error)),
                    };
                    self.handle_pulled(now, op, session, pulled);
                }
                Some(Op::Ping { session }) => {
                    let (codec, position) = self.sessions[session].codec_and_position();
                    let pinged = match &result {
                        Ok(response) => codec.decode_ping(position, response),
                        Err(error) => Err(WireFailure::of_transport(error)),
                    };
                    self.handle_pinged(now, op, session, pinged);
                }
                Some(Op::Probe { session }) => self.handle_probed(now, op, session, &result),
                _ => {}
            },
            Input::Live(remote, event) => self.handle_live(now, remote, event),
            Input::LeaseGained(name, epoch) => self.handle_lease_gained(&name, epoch),
            Input::LeaseLost(name) => self.handle_lease_lost(&name),
            Input::LeaseElsewhere(name) => self.handle_lease_elsewhere(&name),
            Input::TabNote(note) => self.handle_tab_note(now, note),
            Input::Online(online) => self.handle_online(now, online),
            Input::Visible(visible) => self.handle_visible(now, visible),
            Input::Timer => self.fire_timers(now),
        }
        self.start_what_can(now);
    }

    /// What to do next, or `None` until the next command or input.
    pub fn poll_output(&mut self) -> Option<Output<V>> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.tell_rows();
        self.tell_changes();
        self.tell_wake();
        self.outputs.pop_front()
    }

    /// Whether [`Input::TurnEnded`] has something to commit.
    #[must_use]
    pub fn wants_turn_end(&self) -> bool {
        self.journal.wants_seal()
    }

    /// How soon that is to be: the longer it may take, the more answers share one commit.
    #[must_use]
    pub fn turn_end_haste(&mut self) -> Haste {
        self.seal_haste()
    }

    /// Notes an error that no transaction has, for the status: the app's feed of a collection broke.
    pub fn note_error(&mut self, error: ErrorInfo) {
        self.last_error = Some(error);
        self.status_changed = true;
    }

    fn op(&mut self, op: Op) -> OpId {
        self.next_op += 1;
        let id = OpId(self.next_op);
        self.ops.insert(id, op);
        id
    }

    fn answer(&mut self, op: OpId) -> Option<Op> {
        self.ops.swap_remove(&op)
    }

    /// Recomputes what shows of a row, and notes it if that changed.
    fn refresh(&mut self, collection: usize, row: RowIx) {
        let value = self.collections[collection].fold(row, &self.txs);
        self.show(collection, row, value);
    }

    /// Notes what shows of a row now.
    fn show(&mut self, collection: usize, row: RowIx, value: Option<V>) {
        let holder = &mut self.collections[collection];
        let count = &mut holder.visible_count;
        let row_state = &mut holder.rows[row];
        if row_state.visible == value {
            return;
        }
        match (&row_state.visible, &value) {
            (None, Some(_)) => *count += 1,
            (Some(_), None) => *count -= 1,
            _ => {}
        }
        let previous = core::mem::replace(&mut row_state.visible, value);
        self.mirror_later(collection, row);
        let row_state = &mut self.collections[collection].rows[row];
        if !row_state.dirty {
            row_state.dirty = true;
            self.dirty.push((collection, row, previous));
        }
    }

    fn tell_rows(&mut self) {
        let mut dirty = core::mem::take(&mut self.dirty);
        // Stable: within a collection, changes keep the order in which they came.
        dirty.sort_by_key(|(collection, ..)| *collection);
        let mut by_collection: Vec<(usize, Vec<RowChange<V>>)> = Vec::new();
        for (collection, row, previous) in dirty {
            let holder = &mut self.collections[collection];
            holder.rows[row].dirty = false;
            let value = holder.rows[row].visible.clone();
            if value.is_none() && previous.is_none() {
                continue;
            }
            let key = holder.key(row).as_ref().to_owned();
            if by_collection.last().is_none_or(|(last, _)| *last != collection) {
                by_collection.push((collection, Vec::new()));
            }
            if let Some((_, changes)) = by_collection.last_mut() {
                changes.push(RowChange { key, value, previous });
            }
        }
        for (collection, changes) in by_collection {
            if self.collections[collection].registered.is_some() {
                self.outputs.push_back(Output::Rows(collection_id(collection), changes));
            }
        }
        for collection in core::mem::take(&mut self.synced_dirty) {
            if self.collections[collection].registered.is_some() {
                self.outputs.push_back(Output::SyncedRows(collection_id(collection)));
            }
        }
    }

    fn tell_changes(&mut self) {
        for tx in self.changed.take() {
            if let Some(slot) = &self.txs[tx] {
                self.outputs.push_back(Output::Transaction(slot.id, TxEvent::Changed));
                self.status_changed = true;
            }
        }
        if core::mem::take(&mut self.status_changed) {
            self.outputs.push_back(Output::Status);
        }
    }

    fn tell_wake(&mut self) {
        let next = self.timers.first().copied();
        if let Some((at, timer)) = next
            && self.told_wake != Some(at)
        {
            self.told_wake = Some(at);
            let reason = match timer {
                Timer::Retry(_) | Timer::Line(_) | Timer::GiveWay | Timer::HandOver => WakeReason::Retry,
                Timer::Pull(_) => WakeReason::PullBackoff,
                Timer::Poll(_) => WakeReason::Poll,
                Timer::Reconnect(_) => WakeReason::Reconnect,
                Timer::Ping(_) | Timer::Frame(_) => WakeReason::Liveness,
                Timer::Storage => WakeReason::Storage,
                Timer::Checkpoint => WakeReason::Checkpoint,
            };
            self.outputs.push_back(Output::Wake(at, reason));
        }
    }

    fn tell(&mut self, tx: TxIx, event: TxEvent) {
        let id = self.tx(tx).id;
        self.changed.insert(tx);
        self.outputs.push_back(Output::Transaction(id, event));
    }

    fn set_timer(&mut self, at: Timestamp, timer: Timer) {
        self.timers.insert((at, timer));
    }

    fn fire_timers(&mut self, now: Timestamp) {
        self.told_wake = None;
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Retry(tx) => self.retry_due(at, tx),
                Timer::Pull(session) => self.pull_due(now, session, at),
                Timer::Poll(session) => self.poll_due(now, session, at),
                Timer::Reconnect(session) => self.reconnect_due(session, at),
                Timer::Ping(session) => self.ping_due(now, session, at),
                Timer::Frame(op) => self.frame_overdue(now, op),
                Timer::Line(line) => self.line_due(line, at),
                Timer::GiveWay => {
                    if self.give_way_at == Some(at) {
                        self.give_way_at = None;
                        self.reconsider = true;
                    }
                }
                Timer::HandOver => self.help_due(now, at),
                Timer::Storage => {
                    self.journal.storage_due(at);
                    self.read_on();
                }
                Timer::Checkpoint => self.checkpoint_due(at),
            }
        }
    }

    /// A back-off: full jitter below an exponential bound.
    fn backoff(&mut self, retry: &crate::RetryPolicy, failures: u32) -> u64 {
        let bound = retry
            .base_delay_ms
            .saturating_mul(1 << failures.saturating_sub(1).min(20))
            .min(retry.max_delay_ms);
        if retry.jitter { self.random.up_to(bound) } else { bound }
    }
}

fn collection_id(index: usize) -> CollectionId {
    CollectionId(u32::try_from(index).expect("far fewer than 2^32 collections"))
}

fn remote_id(index: usize) -> RemoteId {
    RemoteId(u32::try_from(index).expect("far fewer than 2^32 remotes"))
}

impl<V: Value> core::fmt::Debug for Engine<V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("collections", &self.collections.len())
            .field("transactions", &self.txs.len())
            .finish_non_exhaustive()
    }
}
