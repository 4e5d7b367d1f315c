//! The sync session of a remote: pulls from the cursor, pushes what is ready, listens for pokes. One tab
//! runs it, the one that leads the remote's line.

use std::{collections::BTreeSet, rc::Rc};

use super::{Engine, Op, Timer, remote_id, transaction::TxIx};
use crate::{
    Code, ErrorInfo, FailureKind, HttpResponse, LiveEvent, OpId, Output, RemoteSpec, RetryPolicy, Timestamp,
    TransportError, Value,
    backend::{Codec, Pulled, WireFailure},
    record::Fact,
    spec::RemoteId,
    view::RemoteState,
};

/// Pushes of one remote in flight at once: one keeps what reaches the server in order.
pub(super) const CONCURRENT_PUSHES: usize = 1;
/// The safety net: a pull after so long without one, in milliseconds.
const POLL_MS: u64 = 30_000;
/// The longest back-off of a pull or a live channel, in milliseconds.
const RECONNECT_MAX_MS: u64 = 30_000;
/// The first back-off of a pull or a live channel, in milliseconds.
const RECONNECT_BASE_MS: u64 = 500;

pub(super) struct Session {
    pub name: Rc<str>,
    pub codec: Codec,
    pub retry: RetryPolicy,
    pub line: usize,
    /// How far this tab knows the remote to have been pulled.
    pub cursor: Option<u64>,
    pub live: Live,
    live_failures: u32,
    pull: Option<OpId>,
    pull_wanted: bool,
    pub pull_failures: u32,
    pull_not_before: Option<Timestamp>,
    poll_at: Option<Timestamp>,
    /// Counts pulls that began, so that a transaction knows which pull must have seen it.
    pub pulls_begun: u64,
    /// The count when the present run of pages began.
    run_began: u64,
    /// Whether this run has reached the head once in this session.
    pub caught_up: bool,
    /// Whether the last bootstrap follows a reset that the app was told of.
    resetting: bool,
    pub awaiting: Vec<Awaiting>,
    /// Transactions that are pushed by themselves, since a push that held them was refused as a whole.
    pub alone: BTreeSet<TxIx>,
    /// The server told of a head behind the cursor: a snapshot must show whether it was wiped.
    suspect: bool,
    /// Whether the pull in flight is a snapshot.
    asked_whole: bool,
    pub auth_failed_once: bool,
    state: Option<RemoteState>,
    pub last_error: Option<ErrorInfo>,
}

/// A live channel.
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

impl Session {
    pub fn new(name: Rc<str>, spec: RemoteSpec, line: usize, cursor: Option<u64>) -> Self {
        Self {
            name,
            codec: Codec::new(&spec.backend),
            retry: spec.retry,
            line,
            cursor,
            live: Live::Off,
            live_failures: 0,
            pull: None,
            pull_wanted: false,
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
            asked_whole: false,
            auth_failed_once: false,
            state: None,
            last_error: None,
        }
    }

    pub fn mutation_max_bytes(&self) -> u64 {
        self.codec.push_max_bytes() as u64
    }

    pub fn mutations_max(&self) -> usize {
        self.codec.push_max_mutations()
    }

    pub fn awaits(&self, tx: TxIx) -> bool {
        self.awaiting.iter().any(|awaiting| awaiting.tx == tx)
    }

    pub fn state(&self) -> RemoteState {
        self.state.unwrap_or(RemoteState::Connecting)
    }
}

impl<V: Value> Engine<V> {
    pub(super) fn start_session(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        holder.cursor =
            self.cursors.iter().find(|(name, _)| *name == holder.name).and_then(|(_, cursor)| *cursor);
        holder.caught_up = false;
        holder.state = None;
        holder.pull_failures = 0;
        holder.live_failures = 0;
        self.open_live(session);
        self.want_pull(now, session, true);
    }

    /// How far the journal says that a remote has been pulled.
    pub(super) fn cursor_of(&self, remote: &Rc<str>) -> Option<u64> {
        self.cursors.iter().find(|(name, _)| name == remote).and_then(|(_, cursor)| *cursor)
    }

    pub(super) fn stop_session(&mut self, session: usize) {
        let holder = &mut self.sessions[session];
        holder.pull = None;
        holder.pull_wanted = false;
        holder.poll_at = None;
        holder.awaiting.clear();
        holder.state = None;
        if core::mem::replace(&mut holder.live, Live::Off).is_wanted() {
            self.outputs.push_back(Output::CloseLive(remote_id(session)));
        }
    }

    fn open_live(&mut self, session: usize) {
        let holder = &mut self.sessions[session];
        if let Some(endpoint) = holder.codec.live()
            && !holder.live.is_wanted()
        {
            holder.live = Live::Opening;
            self.outputs.push_back(Output::OpenLive(remote_id(session), endpoint));
        }
    }

    pub(super) fn handle_live(&mut self, now: Timestamp, remote: RemoteId, event: LiveEvent) {
        let session = remote.0 as usize;
        if session >= self.sessions.len() || !self.lines[self.sessions[session].line].leads() {
            return;
        }
        match event {
            LiveEvent::Opened => {
                let holder = &mut self.sessions[session];
                holder.live = Live::Open;
                holder.live_failures = 0;
                let line = holder.line;
                // A channel that opens is a network that is there.
                self.lines[line].not_before = None;
                self.stirred.insert(line);
                self.want_pull(now, session, true);
                self.set_remote_state(session);
            }
            LiveEvent::Frame(text) => {
                let holder = &self.sessions[session];
                match holder.codec.decode_live(&text) {
                    // What is known already needs no pull.
                    Ok(head) if Some(head) == holder.cursor && holder.caught_up => {}
                    Ok(head) => {
                        // A head behind the cursor is old news, or a server that was wiped.
                        self.sessions[session].suspect |=
                            self.sessions[session].cursor.is_some_and(|cursor| head < cursor);
                        self.want_pull(now, session, false);
                    }
                    Err(reason) => self.note_remote_error(session, ErrorInfo::of(Code::InvalidPull, reason)),
                }
            }
            LiveEvent::Closed => {
                let holder = &mut self.sessions[session];
                if !holder.live.is_wanted() {
                    return;
                }
                holder.live_failures = holder.live_failures.saturating_add(1);
                let failures = holder.live_failures;
                let wait = self.reconnect_wait(session, failures);
                let at = now + wait;
                self.sessions[session].live = Live::Waiting(at);
                self.set_timer(at, Timer::Reconnect(session));
                // Nothing is heard any more: whether the server is there, a pull will tell.
                self.want_pull(now, session, false);
                self.set_remote_state(session);
            }
        }
    }

    pub(super) fn reconnect_due(&mut self, session: usize, at: Timestamp) {
        if self.sessions[session].live == Live::Waiting(at) {
            self.sessions[session].live = Live::Off;
            self.open_live(session);
        }
    }

    /// Pulls as soon as it may; `at_once` passes over a back-off, for news that the network is there.
    pub(super) fn want_pull(&mut self, now: Timestamp, session: usize, at_once: bool) {
        self.sessions[session].pull_wanted = true;
        if at_once {
            self.sessions[session].pull_not_before = None;
            if let Live::Waiting(at) = self.sessions[session].live {
                self.reconnect_due(session, at);
            }
        }
        self.pull(now, session);
    }

    pub(super) fn pull_due(&mut self, now: Timestamp, session: usize, at: Timestamp) {
        if self.sessions[session].pull_not_before == Some(at) {
            self.sessions[session].pull_not_before = None;
            self.pull(now, session);
        }
    }

    pub(super) fn poll_due(&mut self, now: Timestamp, session: usize, at: Timestamp) {
        if self.sessions[session].poll_at == Some(at) {
            self.want_pull(now, session, false);
        }
    }

    fn pull(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        let line = &self.lines[holder.line];
        let waits =
            holder.pull.is_some() || !holder.pull_wanted || holder.pull_not_before.is_some_and(|at| at > now);
        if waits
            || !line.leads()
            || line.auth_since.is_some()
            || self.paused.is_some()
            || self.closed
            || !self.journal.is_loaded()
        {
            return;
        }
        holder.pull_wanted = false;
        holder.pulls_begun += 1;
        holder.run_began = holder.pulls_begun;
        self.request_page(session);
    }

    fn request_page(&mut self, session: usize) {
        let holder = &mut self.sessions[session];
        let suspect = core::mem::take(&mut holder.suspect);
        // From the very beginning, too, a snapshot: this wire leaves out silently what was trimmed since.
        let since = holder.cursor.filter(|&cursor| cursor > 0 && !suspect);
        holder.asked_whole = since.is_none();
        let request = match since {
            Some(cursor) => holder.codec.encode_pull(cursor),
            None => holder.codec.encode_snapshot(),
        };
        let op = self.op(Op::Pull { session });
        self.sessions[session].pull = Some(op);
        self.outputs.push_back(Output::Request(op, remote_id(session), request));
    }

    pub(super) fn handle_pull_answered(
        &mut self,
        now: Timestamp,
        op: OpId,
        session: usize,
        result: Result<HttpResponse, TransportError>,
    ) {
        self.sessions[session].pull = None;
        let holder = &self.sessions[session];
        let pulled = match result {
            Ok(response) => match holder.cursor.filter(|_| !holder.asked_whole) {
                Some(cursor) => holder.codec.decode_pull::<V>(cursor, &response),
                None => holder.codec.decode_snapshot::<V>(&response),
            },
            Err(error) => Err(WireFailure::of_transport(&error)),
        };
        match pulled {
            Ok(pulled) => self.take_pulled(now, session, pulled),
            Err(failure) => self.pull_failed(now, op, session, failure),
        }
    }

    fn take_pulled(&mut self, now: Timestamp, session: usize, pulled: Pulled<V>) {
        let holder = &mut self.sessions[session];
        holder.pull_failures = 0;
        holder.auth_failed_once = false;
        let (line, name) = (holder.line, holder.name.clone());
        // A snapshot is the whole, and bootstraps; a page follows the cursor.
        let still_empty =
            pulled.cursor == 0 && pulled.writes.is_empty() && holder.cursor == Some(0) && holder.caught_up;
        if pulled.is_whole && !still_empty {
            if let Some(cursor) = self.sessions[session].cursor.filter(|&cursor| pulled.cursor < cursor) {
                self.tell_reset(
                    session,
                    &format!("its log ends at {} and had reached {cursor}", pulled.cursor),
                );
            }
            for table in self.tables_of(session) {
                self.decide(line, Fact::Reset { table });
            }
        }
        for (entity, writes) in pulled.writes {
            let table: Rc<str> = format!("{name}/{entity}").into();
            self.decide(line, Fact::Rows { table, writes });
        }
        let holder = &mut self.sessions[session];
        if holder.cursor != Some(pulled.cursor) {
            holder.cursor = Some(pulled.cursor);
            self.decide(line, Fact::Cursor { remote: name, cursor: Some(pulled.cursor) });
        }
        self.settle_awaiting(now, session, !pulled.has_more);
        if pulled.has_more {
            self.request_page(session);
            return;
        }
        let holder = &mut self.sessions[session];
        holder.last_error = None;
        let first = !core::mem::replace(&mut holder.caught_up, true);
        if core::mem::take(&mut holder.resetting) || first {
            for collection in self.lines[line].collections.clone() {
                let table = self.collections[collection].table.clone();
                self.decide(line, Fact::Synced { table });
            }
        }
        let at = now + POLL_MS;
        self.sessions[session].poll_at = Some(at);
        self.set_timer(at, Timer::Poll(session));
        self.reached(line);
        self.stirred.insert(line);
        self.set_remote_state(session);
        self.pull(now, session);
    }

    fn pull_failed(&mut self, now: Timestamp, op: OpId, session: usize, failure: WireFailure) {
        let line = self.sessions[session].line;
        if failure.cursor_too_old {
            // The log no longer reaches back to the cursor: the rows are bootstrapped anew, pending work stays.
            self.reset(now, session, &failure.error);
            return;
        }
        if failure.kind == FailureKind::AuthRequired {
            let old = self.is_of_old_credentials(line, op);
            if !old && core::mem::replace(&mut self.sessions[session].auth_failed_once, true) {
                self.note_remote_error(session, failure.error);
                self.hold_for_auth(now, line);
                self.set_remote_state(session);
            } else {
                // Credentials are asked for with each request: once more, with fresh ones.
                self.want_pull(now, session, true);
            }
            return;
        }
        let holder = &mut self.sessions[session];
        holder.pull_failures = holder.pull_failures.saturating_add(1);
        holder.pull_wanted = true;
        let failures = holder.pull_failures;
        let wait = match failure.kind {
            FailureKind::Temporary { after_ms: Some(wait), .. } => wait,
            _ => self.reconnect_wait(session, failures),
        };
        let at = now + wait;
        self.sessions[session].pull_not_before = Some(at);
        self.set_timer(at, Timer::Pull(session));
        self.note_remote_error(session, failure.error);
        self.set_remote_state(session);
    }

    /// The remote is not what it was: bootstrap again. Nothing pending is lost.
    pub(super) fn reset(&mut self, now: Timestamp, session: usize, why: &ErrorInfo) {
        let holder = &mut self.sessions[session];
        holder.cursor = None;
        holder.caught_up = false;
        holder.resetting = true;
        let (line, name) = (holder.line, holder.name.clone());
        self.decide(line, Fact::Cursor { remote: name, cursor: None });
        self.tell_reset(session, &why.message);
        self.set_remote_state(session);
        self.want_pull(now, session, true);
    }

    fn tell_reset(&mut self, session: usize, why: &str) {
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

    /// Completes the transactions whose rows have come back.
    fn settle_awaiting(&mut self, now: Timestamp, session: usize, at_head: bool) {
        let holder = &mut self.sessions[session];
        let (cursor, run, line) = (holder.cursor.unwrap_or(0), holder.run_began, holder.line);
        let mut back = Vec::new();
        holder.awaiting.retain(|awaiting| {
            let is_back = cursor >= awaiting.cursor || (at_head && run >= awaiting.seen_by);
            if is_back {
                back.push(awaiting.tx);
            }
            !is_back
        });
        for tx in back {
            if let Some(slot) = self.txs[tx].as_mut()
                && !slot.is_done()
            {
                slot.deciding = true;
                slot.completing = true;
                let id = slot.id;
                self.decide(line, Fact::Completed { tx: id, at: now, confirmed: true, warning: None });
            }
        }
    }

    /// The names of the tables that hold a remote's rows.
    fn tables_of(&self, session: usize) -> Vec<Rc<str>> {
        let prefix = format!("{}/", self.sessions[session].name);
        self.collections_by_table.keys().filter(|table| table.starts_with(&prefix)).cloned().collect()
    }

    pub(super) fn note_remote_error(&mut self, session: usize, error: ErrorInfo) {
        self.last_error = Some(error.clone());
        self.sessions[session].last_error = Some(error);
        self.status_changed = true;
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

    /// How long a pull or a live channel waits after so many failures; an app that sets a shorter bound for its retries gets it here too.
    fn reconnect_wait(&mut self, session: usize, failures: u32) -> u64 {
        let max_delay_ms = self.sessions[session].retry.max_delay_ms.min(RECONNECT_MAX_MS);
        let policy = RetryPolicy { base_delay_ms: RECONNECT_BASE_MS, max_delay_ms, ..RetryPolicy::default() };
        self.backoff(&policy, failures).max(RECONNECT_BASE_MS / 2)
    }
}
