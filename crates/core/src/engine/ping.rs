//! Whether a backend is there: it is asked after each silence, and when the app wants to know.

use super::{Engine, Op, Timer, remote_id, session::Live};
use crate::{
    Code, Error, ErrorInfo, OpId, Output, TabNote, Timestamp, TransportError, Value,
    backend::{Ask, WireFailure},
    spec::RemoteId,
};

impl<V: Value> Engine<V> {
    /// Asks a remote whether it is there, now, past every back-off: [`Output::Pinged`] tells. Where another tab leads,
    /// that one asks.
    ///
    /// # Errors
    /// `closed`; `not_found` for a remote that is not connected; `not_initialized` if it has no collection yet.
    pub fn ping(&mut self, now: Timestamp, remote: RemoteId) -> Result<(), Error> {
        self.check_open("ping")?;
        let session = remote.0 as usize;
        let Some(holder) = self.sessions.get_mut(session) else {
            return Err(Error::new(Code::NotFound, "the remote is not connected to this database"));
        };
        if !self.lines[holder.line].claimed {
            return Err(Error::new(
                Code::NotInitialized,
                "the remote has no collection yet, and is connected to with the first one. Nothing was asked; call db.collection() with it first",
            ));
        }
        holder.asked_here = true;
        if self.lines[holder.line].leads() {
            self.ping_now(now, session);
        } else {
            let lease = self.lines[holder.line].name.to_string();
            self.outputs.push_back(Output::TellTabs(TabNote::Ping { lease }));
        }
        Ok(())
    }

    /// The app of another tab wants to know.
    pub(super) fn ping_for_tabs(&mut self, now: Timestamp, lease: &str) {
        if let Some(session) = self.session_of(lease).filter(|&(_, leads)| leads).map(|(session, _)| session)
        {
            self.sessions[session].asked_elsewhere = true;
            self.ping_now(now, session);
        }
    }

    /// The tab that leads has heard.
    pub(super) fn pinged_elsewhere(&mut self, lease: &str, failed: Option<ErrorInfo>) {
        if let Some((session, false)) = self.session_of(lease)
            && core::mem::take(&mut self.sessions[session].asked_here)
        {
            self.outputs.push_back(Output::Pinged(remote_id(session), failed));
        }
    }

    /// Tells who has asked.
    pub(super) fn tell_pinged(&mut self, session: usize, failed: Option<&ErrorInfo>) {
        let holder = &mut self.sessions[session];
        if core::mem::take(&mut holder.asked_here) {
            self.outputs.push_back(Output::Pinged(remote_id(session), failed.cloned()));
        }
        let holder = &mut self.sessions[session];
        if core::mem::take(&mut holder.asked_elsewhere) {
            let lease = self.lines[holder.line].name.to_string();
            self.outputs.push_back(Output::TellTabs(TabNote::Pinged { lease, failed: failed.cloned() }));
        }
    }

    fn session_of(&self, lease: &str) -> Option<(usize, bool)> {
        let line = &self.lines[*self.lines_by_name.get(lease)?];
        Some((line.session?, line.leads()))
    }

    fn ping_now(&mut self, now: Timestamp, session: usize) {
        let holder = &self.sessions[session];
        if self.lines[holder.line].auth_since.is_some() {
            let why = holder.last_error.clone().unwrap_or_else(|| {
                ErrorInfo::of(
                    Code::AuthRequired,
                    "the backend wants credentials; call resume() once they are there",
                )
            });
            return self.tell_pinged(session, Some(&why));
        }
        let by_frames = holder.codec.asks_by_frames();
        let is_slowed = holder.pull_not_before.is_some() || (by_frames && holder.live != Live::Open);
        if is_slowed {
            self.want_pull(now, session, true);
        } else if holder.pull.is_none() && holder.ping.is_none() {
            self.send_ping(now, session);
        }
        // Else what is under way will tell.
    }

    pub(super) fn plan_ping(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        let asked_at = holder.ping_ms.map(|wait| now + wait);
        let silence_max_ms = holder.codec.silence_max_ms().filter(|_| holder.live == Live::Open);
        let silent_at = silence_max_ms.map(|silence_ms| holder.heard_at + silence_ms);
        holder.ping_at = asked_at.into_iter().chain(silent_at.filter(|&at| at > now)).min();
        if let Some(at) = holder.ping_at {
            self.set_timer(at, Timer::Ping(session));
        }
    }

    /// Looks whether the other side is there: ends a live connection over which the last ping was not answered, or which
    /// is silent for too long, and asks where nothing was heard for a while.
    pub(super) fn ping_due(&mut self, now: Timestamp, session: usize, at: Timestamp) {
        let holder = &self.sessions[session];
        if holder.ping_at != Some(at) || self.closed {
            return;
        }
        self.plan_ping(now, session);
        let holder = &self.sessions[session];
        let is_open = holder.live == Live::Open;
        let silence_max_ms = holder.codec.silence_max_ms();
        let is_silent = match silence_max_ms {
            Some(silence_ms) => holder.heard_at + silence_ms <= now,
            None => holder.pinged_at.is_some_and(|pinged_at| holder.heard_at < pinged_at),
        };
        if is_open && is_silent {
            let failure = WireFailure::of_transport(&TransportError::TimedOut);
            return self.live_broken(now, session, &failure);
        }
        let Some(every) = holder.ping_ms else { return };
        if holder.codec.asks_by_frames() {
            if is_open {
                self.send_ping(now, session);
            }
            return;
        }
        // What is under way, or due after a failure, shows as much.
        let is_asked = holder.pull.is_some() || holder.ping.is_some() || holder.pull_not_before.is_some();
        let is_held = self.lines[holder.line].auth_since.is_some() || self.paused.is_some();
        if !is_asked && !is_held && holder.answered_at + every <= now {
            self.send_ping(now, session);
        }
    }

    fn send_ping(&mut self, now: Timestamp, session: usize) {
        match self.sessions[session].codec.encode_ping() {
            Some(Ask::Frames(frames)) => {
                self.sessions[session].pinged_at = Some(now);
                self.send_frames(session, frames);
            }
            Some(ask) => {
                let op = self.op(Op::Ping { session });
                self.sessions[session].ping = Some(op);
                self.ask(now, session, op, ask);
            }
            None => self.want_pull(now, session, false),
        }
    }

    pub(super) fn handle_pinged(
        &mut self,
        now: Timestamp,
        op: OpId,
        session: usize,
        result: Result<bool, WireFailure>,
    ) {
        self.sessions[session].ping = None;
        match result {
            Ok(is_news) => {
                self.heard_of(now, session);
                if is_news {
                    self.want_pull(now, session, false);
                }
            }
            // A pull that is under way tells by itself.
            Err(failure) if self.sessions[session].pull.is_some() => self.lost_sight(session, &failure.error),
            Err(failure) => self.pull_failed(now, op, session, failure),
        }
    }
}
