//! The sync session of a remote: how it stands, and what begins and ends it. It pulls from the cursor
//! (`pull`), takes events (`events`), pushes what is ready (`push`) and keeps the live connection (`live`).
//! One tab runs it, the one that leads the remote's line.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{Engine, mapping::Refill, remote_id, transaction::TxIx};
use crate::{
    Code, ErrorInfo, OpId, Output, RemoteSpec, RetryPolicy, Timestamp, Value,
    backend::{Ask, Codec, Event, Position},
    record::Fact,
    view::RemoteState,
};

/// Pushes of one remote in flight at once: one keeps what reaches the server in order.
pub(super) const CONCURRENT_PUSHES: usize = 1;
/// The longest back-off of a pull or a live connection, in milliseconds.
const RECONNECT_MAX_MS: u64 = 30_000;
/// The first back-off of a pull or a live connection, in milliseconds.
const RECONNECT_BASE_MS: u64 = 500;
/// What a device calls itself at a remote has so many bits of randomness.
const CLIENT_BITS: u32 = 48;

pub(super) struct Session {
    pub name: Rc<str>,
    pub codec: Codec,
    pub retry: RetryPolicy,
    pub line: usize,
    /// How far this tab knows the remote to have been pulled.
    pub cursor: Option<u64>,
    /// Which log that is of, where the backend says so.
    pub identity: Option<Rc<str>>,
    /// What this device calls itself there.
    pub client: Rc<str>,
    /// The last event that the log is known to have: what is pushed follows it.
    pub head: u64,
    /// The log may have more than is known: nothing is pushed before a run of pulls begun at this count or
    /// later has reached the head.
    pub doubt: Option<u64>,
    /// Pushes in a row that the log was ahead of.
    pub conflicts: u32,
    /// Events that do not follow the cursor yet, by their position.
    pub held: BTreeMap<u64, Event>,
    /// The mappings that have had every event up to the cursor, and the log that is read again for those that have not.
    pub mapped: Vec<Rc<str>>,
    pub refill: Option<Refill>,
    /// Runs of pulls in a row that did not bring what is missing before those.
    pub gap_runs: u32,
    /// The last event that the server told of, where that may come before it can be read.
    pub told: u64,
    pub live: Live,
    pub live_failures: u32,
    /// When the last frame was heard, and when the last ping was sent over the live connection.
    pub heard_at: Timestamp,
    /// When something was heard that the service itself must have said.
    pub served_at: Timestamp,
    pub pinged_at: Option<Timestamp>,
    /// After how long a silence the backend is asked whether it is there.
    pub ping_ms: Option<u64>,
    /// When it was last heard of in any way, and when that is looked at next.
    pub answered_at: Timestamp,
    pub ping_at: Option<Timestamp>,
    pub ping: Option<OpId>,
    /// Whether it answered when last it was asked, or spoke since.
    pub connected: bool,
    /// The app in this tab, or in another one, waits to be told whether it is there.
    pub asked_here: bool,
    pub asked_elsewhere: bool,
    pub pull: Option<OpId>,
    /// The push that is to be answered over the live connection.
    pub frame_push: Option<OpId>,
    pub pull_wanted: bool,
    /// A push is under way.
    pub pushing: bool,
    /// Since when what was pushed waits to be pulled, while more is pushed.
    pub put_off: Option<Timestamp>,
    pub pull_failures: u32,
    pub pull_not_before: Option<Timestamp>,
    pub poll_at: Option<Timestamp>,
    /// Counts pulls that began, so that a transaction knows which pull must have seen it.
    pub pulls_begun: u64,
    /// The count when the present run of pages began.
    pub run_began: u64,
    /// Whether this run has reached the head once in this session.
    pub caught_up: bool,
    /// Whether the last bootstrap follows a reset that the app was told of.
    pub resetting: bool,
    pub awaiting: Vec<Awaiting>,
    /// Transactions that are pushed by themselves, since a push that held them was refused as a whole.
    pub alone: BTreeSet<TxIx>,
    /// The server told of a head behind the cursor: a snapshot must show whether it was wiped.
    pub suspect: bool,
    pub auth_failed_once: bool,
    state: Option<RemoteState>,
    pub last_error: Option<ErrorInfo>,
}

/// A live connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    Off,
    Opening,
    Open,
    Waiting(Timestamp),
}

impl Live {
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::Opening | Self::Open)
    }
}

/// A transaction that the server has, whose rows have not come back yet.
pub(super) struct Awaiting {
    pub tx: TxIx,
    /// Where in the change log it stands.
    pub cursor: u64,
    /// A run of pulls begun at this count or later has seen it, wherever the cursor stands.
    pub seen_by: u64,
}

/// What the journal knows of a remote, connected or not.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub cursor: Option<u64>,
    pub identity: Option<Rc<str>>,
    pub client: Option<Rc<str>>,
    /// The mappings that have had every event up to the cursor.
    pub mapped: Vec<Rc<str>>,
}

impl Session {
    pub fn new(name: Rc<str>, spec: RemoteSpec, line: usize) -> Self {
        Self {
            name,
            codec: Codec::new(&spec.backend),
            retry: spec.retry,
            line,
            cursor: None,
            identity: None,
            client: "".into(),
            head: 0,
            doubt: None,
            conflicts: 0,
            held: BTreeMap::new(),
            mapped: Vec::new(),
            refill: None,
            gap_runs: 0,
            told: 0,
            live: Live::Off,
            live_failures: 0,
            heard_at: Timestamp(0),
            served_at: Timestamp(0),
            pinged_at: None,
            ping_ms: spec.ping_ms,
            answered_at: Timestamp(0),
            ping_at: None,
            ping: None,
            connected: false,
            asked_here: false,
            asked_elsewhere: false,
            pull: None,
            frame_push: None,
            pull_wanted: false,
            pushing: false,
            put_off: None,
            pull_failures: 0,
            pull_not_before: None,
            poll_at: None,
            pulls_begun: 0,
            run_began: 0,
            caught_up: false,
            resetting: false,
            awaiting: Vec::new(),
            alone: BTreeSet::new(),
            suspect: false,
            auth_failed_once: false,
            state: None,
            last_error: None,
        }
    }

    pub fn mutation_max_bytes(&self) -> u64 {
        self.codec.limits().bytes as u64
    }

    pub fn mutations_max(&self) -> usize {
        self.codec.limits().items
    }

    pub fn awaits(&self, tx: TxIx) -> bool {
        self.awaiting.iter().any(|awaiting| awaiting.tx == tx)
    }

    pub fn state(&self) -> RemoteState {
        self.state.unwrap_or(RemoteState::Connecting)
    }

    /// The codec, and where the session stands.
    pub fn codec_and_position(&mut self) -> (&mut Codec, Position<'_>) {
        let position = Position {
            cursor: self.cursor.unwrap_or(0),
            head: self.head,
            identity: self.identity.as_deref(),
            client: &self.client,
        };
        (&mut self.codec, position)
    }

    /// Takes what the journal knows.
    pub fn recall(&mut self, known: Known) {
        self.cursor = known.cursor;
        self.identity = known.identity;
        self.client = known.client.unwrap_or_else(|| "".into());
        self.mapped = known.mapped;
        self.refill = None;
    }

    /// Whether all that is in the log is known, as far as this tab can tell. A server that keeps rows has none.
    pub fn knows_the_log(&self) -> bool {
        !self.codec.keeps_events() || (self.caught_up && self.doubt.is_none())
    }

    /// What is in the log behind the cursor is not known: nothing is pushed before it has been read.
    pub fn doubt_the_head(&mut self) {
        self.doubt = Some(self.pulls_begun + 1);
    }
}

impl<V: Value> Engine<V> {
    pub(super) fn start_session(&mut self, now: Timestamp, session: usize) {
        let known = self.known(&self.sessions[session].name);
        let holder = &mut self.sessions[session];
        holder.recall(known);
        holder.head = holder.cursor.unwrap_or(0);
        holder.doubt_the_head();
        holder.held.clear();
        holder.told = 0;
        holder.caught_up = false;
        holder.state = None;
        holder.pull_failures = 0;
        holder.live_failures = 0;
        if holder.codec.keeps_events() && holder.client.is_empty() {
            let client: Rc<str> = format!("{:012x}", self.random.up_to((1 << CLIENT_BITS) - 1)).into();
            let holder = &mut self.sessions[session];
            holder.client = client.clone();
            let (line, remote) = (holder.line, holder.name.clone());
            self.decide(line, Fact::Client { remote, client });
        }
        self.begin_refill(session);
        self.open_live(session);
        self.plan_ping(now, session);
        self.want_pull(now, session, true);
    }

    /// What the journal knows of a remote.
    pub(super) fn known(&self, remote: &Rc<str>) -> Known {
        self.remotes.get(remote).cloned().unwrap_or_default()
    }

    pub(super) fn stop_session(&mut self, session: usize) {
        let known = self.known(&self.sessions[session].name);
        let holder = &mut self.sessions[session];
        // What is not committed is the next leader's to read.
        holder.recall(known);
        holder.pull = None;
        holder.ping = None;
        holder.ping_at = None;
        holder.connected = false;
        holder.frame_push = None;
        holder.pull_wanted = false;
        holder.pushing = false;
        holder.put_off = None;
        holder.poll_at = None;
        holder.awaiting.clear();
        holder.held.clear();
        holder.state = None;
        if core::mem::replace(&mut holder.live, Live::Off).is_wanted() {
            self.outputs.push_back(Output::CloseLive(remote_id(session)));
        }
    }

    /// Sends what a codec has made for an operation. What goes over the live connection has no answer of its
    /// own, so that a time is set for it here.
    pub(super) fn ask(&mut self, now: Timestamp, session: usize, op: OpId, ask: Ask) {
        match ask {
            Ask::Request(request) => self.outputs.push_back(Output::Request(op, remote_id(session), request)),
            Ask::Frames(frames) => {
                self.send_frames(session, frames);
                self.await_frame(now, op);
            }
        }
    }

    /// The remote is not what it was: bootstrap again. Nothing pending is lost.
    pub(super) fn reset(&mut self, now: Timestamp, session: usize, why: &ErrorInfo) {
        let holder = &mut self.sessions[session];
        holder.cursor = None;
        holder.identity = None;
        holder.head = 0;
        holder.held.clear();
        holder.refill = None;
        holder.doubt_the_head();
        holder.caught_up = false;
        holder.resetting = true;
        let (line, name) = (holder.line, holder.name.clone());
        self.drop_pull(session);
        // What had landed of a transaction is gone with the log: all of it is sent again.
        for tx in 0..self.txs.len() {
            if self.txs[tx].as_ref().is_some_and(|slot| slot.landed > 0 && !slot.is_done())
                && self.tx_lines(tx).contains(&line)
            {
                let slot = self.tx_mut(tx);
                slot.landed = 0;
                let id = slot.id;
                self.decide(line, Fact::Landed { tx: id, events: 0 });
            }
        }
        self.decide(line, Fact::Cursor { remote: name, cursor: None, identity: None });
        self.tell_reset(session, &why.message);
        self.set_remote_state(session);
        self.want_pull(now, session, true);
    }

    /// What was asked for from another cursor is not wanted any more.
    pub(super) fn drop_pull(&mut self, session: usize) {
        if let Some(op) = self.sessions[session].pull.take()
            && self.answer(op).is_some()
        {
            self.outputs.push_back(Output::Cancel(op));
        }
    }

    pub(super) fn tell_reset(&mut self, session: usize, why: &str) {
        let name = &self.sessions[session].name;
        let error = ErrorInfo::of(
            Code::BackendReset,
            format!(
                "the backend {name} no longer has the changes since this device last synced ({why}). Its rows are fetched anew; what waits to be sent is kept"
            ),
        );
        self.note_remote_error(session, error.clone());
        self.outputs.push_back(Output::Error { code: Code::BackendReset, error, transaction: None });
    }

    /// The names of the tables that hold a remote's rows.
    pub(super) fn tables_of(&self, session: usize) -> Vec<Rc<str>> {
        let prefix = format!("{}/", self.sessions[session].name);
        self.collections_by_table.keys().filter(|table| table.starts_with(&prefix)).cloned().collect()
    }

    pub(super) fn note_remote_error(&mut self, session: usize, error: ErrorInfo) {
        self.last_error = Some(error.clone());
        self.sessions[session].last_error = Some(error);
        self.status_changed = true;
    }

    /// The backend has answered, or spoken.
    pub(super) fn heard_of(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        holder.answered_at = now;
        self.status_changed |= !core::mem::replace(&mut holder.connected, true);
        self.tell_pinged(session, None);
    }

    /// It did not answer, or not to what was asked.
    pub(super) fn lost_sight(&mut self, session: usize, why: &ErrorInfo) {
        self.status_changed |= core::mem::replace(&mut self.sessions[session].connected, false);
        self.tell_pinged(session, Some(why));
    }

    pub(super) fn set_remote_state(&mut self, session: usize) {
        let holder = &self.sessions[session];
        let line = &self.lines[holder.line];
        let state = if line.auth_since.is_some() {
            RemoteState::Auth
        } else if holder.resetting {
            RemoteState::Reset
        } else if holder.pull_failures > 0 {
            RemoteState::Offline
        } else if !holder.caught_up {
            RemoteState::Connecting
        } else if holder.live == Live::Open {
            RemoteState::Live
        } else {
            RemoteState::Polling
        };
        let holder = &mut self.sessions[session];
        if holder.state != Some(state) {
            holder.state = Some(state);
            self.status_changed = true;
        }
    }

    /// How long a pull or a live connection waits after so many failures; an app that sets a shorter bound for its retries gets it here too.
    pub(super) fn reconnect_wait(&mut self, session: usize, failures: u32) -> u64 {
        let max_delay_ms = self.sessions[session].retry.max_delay_ms.min(RECONNECT_MAX_MS);
        let policy = RetryPolicy { base_delay_ms: RECONNECT_BASE_MS, max_delay_ms, ..RetryPolicy::default() };
        self.backoff(&policy, failures).max(RECONNECT_BASE_MS / 2)
    }
}
