//! Pulling: when a session asks for what follows its cursor, and what the answers decide.

use std::rc::Rc;

use super::{Engine, Op, Timer, session::Live};
use crate::{
    Code, ErrorInfo, FailureKind, OpId, Timestamp, Value,
    backend::{Pulled, PulledRows, WireFailure},
    record::Fact,
};

/// The safety net: a pull after so long without one, in milliseconds.
const POLL_MS: u64 = 30_000;
/// The first wait for an event that was told of and could not be read yet, in milliseconds; it doubles.
const TOLD_WAIT_MS: u64 = 50;
/// How often that is waited for.
const TOLD_WAITS_MAX: u32 = 6;

impl<V: Value> Engine<V> {
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

    pub(super) fn pull(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        let line = &self.lines[holder.line];
        let waits = holder.pull.is_some()
            || !holder.pull_wanted
            || holder.pull_not_before.is_some_and(|at| at > now)
            || (holder.codec.asks_by_frames() && holder.live != Live::Open);
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
        self.request_page(now, session);
    }

    pub(super) fn request_page(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        let suspect = core::mem::take(&mut holder.suspect);
        // Of a server that keeps rows the whole from the very beginning, too: a wire without events leaves out
        // silently what was trimmed since.
        let from = holder.cursor.unwrap_or(0);
        // Of one that keeps events, whether it is still that log, before anything is written to it.
        let is_new =
            if holder.codec.keeps_events() { holder.doubt.is_some() || !holder.caught_up } else { from == 0 };
        let whole = suspect || is_new;
        let (codec, position) = holder.codec_and_position();
        let ask = codec.encode_pull(position, whole);
        let op = self.op(Op::Pull { session, whole, from });
        self.sessions[session].pull = Some(op);
        self.ask(now, session, op, ask);
    }

    pub(super) fn handle_pulled(
        &mut self,
        now: Timestamp,
        op: OpId,
        session: usize,
        pulled: Result<Pulled<V>, WireFailure>,
    ) {
        let holder = &mut self.sessions[session];
        holder.pull = None;
        if pulled.is_ok() {
            holder.pull_failures = 0;
            holder.auth_failed_once = false;
            self.heard_of(now, session);
        }
        match pulled {
            Ok(Pulled::Rows(rows)) => self.take_rows(now, session, rows),
            Ok(Pulled::Events(page)) => {
                let has_more = page.has_more;
                if !self.take_page(now, session, page) {
                    return;
                }
                self.settle_awaiting(now, session, !has_more);
                if has_more {
                    self.request_page(now, session);
                } else {
                    self.run_ended(now, session);
                }
            }
            Err(failure) => self.pull_failed(now, op, session, failure),
        }
    }

    fn take_rows(&mut self, now: Timestamp, session: usize, pulled: PulledRows<V>) {
        let holder = &self.sessions[session];
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
            self.decide(line, Fact::Cursor { remote: name, cursor: Some(pulled.cursor), identity: None });
        }
        self.settle_awaiting(now, session, !pulled.has_more);
        if pulled.has_more {
            self.request_page(now, session);
        } else {
            self.run_ended(now, session);
        }
    }

    /// A run of pages has reached the head.
    pub(super) fn run_ended(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        let line = holder.line;
        let known = holder.cursor.unwrap_or(0);
        if self.is_refilling(session, known) {
            let why = "its log ends before what had been read of it".to_owned();
            return self.reset(now, session, &ErrorInfo::of(Code::BackendReset, why));
        }
        let holder = &mut self.sessions[session];
        holder.last_error = None;
        if holder.doubt.is_some_and(|from| holder.run_began >= from) {
            holder.doubt = None;
            holder.head = known;
        }
        holder.head = holder.head.max(known);
        if holder.codec.asks_by_frames() {
            holder.live_failures = 0;
        } else if !holder.held.is_empty() {
            holder.gap_runs += 1;
        }
        let mut sooner = None;
        if holder.codec.tells_early() {
            if holder.told > known && holder.gap_runs < TOLD_WAITS_MAX {
                sooner = Some(now + (TOLD_WAIT_MS << holder.gap_runs));
                holder.gap_runs += 1;
                holder.pull_wanted = true;
                holder.pull_not_before = sooner;
            } else {
                holder.told = 0;
                holder.gap_runs = 0;
            }
        }
        if let Some(at) = sooner {
            self.set_timer(at, Timer::Pull(session));
        }
        let holder = &mut self.sessions[session];
        let first = !core::mem::replace(&mut holder.caught_up, true);
        if core::mem::take(&mut holder.resetting) || first {
            for collection in self.lines[line].collections.clone() {
                let table = self.collections[collection].table.clone();
                self.decide(line, Fact::Synced { table });
            }
        }
        // What can't be made to fit today's version waited to see whether it is in the log.
        for index in 0..self.quarantine.len() {
            self.consider(now, self.quarantine[index].0);
        }
        let at = now + POLL_MS;
        self.sessions[session].poll_at = Some(at);
        self.set_timer(at, Timer::Poll(session));
        self.reached(line);
        self.stirred.insert(line);
        self.set_remote_state(session);
        self.pull(now, session);
        if self.sessions[session].live == Live::Off {
            self.open_live(session);
        }
    }

    pub(super) fn pull_failed(&mut self, now: Timestamp, op: OpId, session: usize, failure: WireFailure) {
        let line = self.sessions[session].line;
        if failure.reset && self.sessions[session].cursor.is_some() {
            // The log no longer reaches back to the cursor: the rows are bootstrapped anew, pending work stays.
            self.reset(now, session, &failure.error);
            return;
        }
        if failure.kind == FailureKind::AuthRequired {
            let old = self.is_of_old_credentials(line, op);
            if !old && core::mem::replace(&mut self.sessions[session].auth_failed_once, true) {
                self.lost_sight(session, &failure.error);
                self.note_remote_error(session, failure.error);
                self.hold_for_auth(now, line);
                self.set_remote_state(session);
            } else {
                // Credentials are asked for with each request: once more, with fresh ones.
                self.want_pull(now, session, true);
            }
            return;
        }
        self.lost_sight(session, &failure.error);
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

    /// Completes the transactions whose rows have come back.
    pub(super) fn settle_awaiting(&mut self, now: Timestamp, session: usize, at_head: bool) {
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
                && !slot.completing
            {
                slot.deciding = true;
                slot.completing = true;
                let id = slot.id;
                self.decide(line, Fact::Completed { tx: id, at: now, confirmed: true, warning: None });
            }
        }
    }
}
