//! The live connection of a session: pokes and events that come by themselves, and for some backends all
//! that is asked and answered.

use super::{Engine, Op, Timer, remote_id, session::Live};
use crate::{
    Code, ErrorInfo, FailureKind, HttpResponse, LiveEvent, OpId, Output, Timestamp, TransportError, Value,
    backend::{Ask, Heard, Page, WireFailure},
    spec::RemoteId,
};

/// How long an answer over the live connection may take, in milliseconds.
const FRAME_TIMEOUT_MS: u64 = 30_000;

impl<V: Value> Engine<V> {
    pub(super) fn open_live(&mut self, session: usize) {
        let holder = &mut self.sessions[session];
        if holder.live.is_wanted() || (holder.codec.streams() && !holder.caught_up) {
            return;
        }
        let (codec, position) = holder.codec_and_position();
        if let Some(endpoint) = codec.live(position) {
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
            LiveEvent::Opened => self.live_opened(now, session),
            LiveEvent::Frame(text) => {
                let holder = &mut self.sessions[session];
                holder.heard_at = now;
                if holder.live != Live::Open {
                    return;
                }
                let streams = holder.codec.streams();
                for heard in holder.codec.hear(&text) {
                    if !matches!(heard, Heard::Broken(_)) {
                        self.heard_of(now, session);
                        if streams && core::mem::take(&mut self.sessions[session].live_failures) > 0 {
                            self.network_is_there(session);
                        }
                    }
                    if !matches!(heard, Heard::Alive) {
                        self.sessions[session].served_at = now;
                    }
                    self.take_heard(now, session, heard);
                }
            }
            LiveEvent::Refused(reason) => {
                let failure = WireFailure::of_transport(&TransportError::Credentials(reason));
                self.live_lost(now, session, &failure);
            }
            LiveEvent::Closed => {
                let reason = "the live connection was closed".to_owned();
                let failure = WireFailure::of_transport(&TransportError::Unreachable(reason));
                self.live_lost(now, session, &failure);
            }
        }
    }

    fn live_opened(&mut self, now: Timestamp, session: usize) {
        let holder = &mut self.sessions[session];
        holder.live = Live::Open;
        holder.heard_at = now;
        holder.pinged_at = None;
        let frames = holder.codec.opened();
        // What is asked and answered over it shows by its answers whether the server is there, and what streams by itself by
        // what it brings: a proxy may answer its own failures as if all were well.
        let streams = holder.codec.streams();
        if !holder.codec.asks_by_frames() && !streams {
            holder.live_failures = 0;
        }
        if !streams {
            self.network_is_there(session);
        }
        self.send_frames(session, frames);
        self.plan_ping(now, session);
        self.want_pull(now, session, !streams);
        self.set_remote_state(session);
    }

    fn network_is_there(&mut self, session: usize) {
        let line = self.sessions[session].line;
        self.lines[line].not_before = None;
        self.stirred.insert(line);
    }

    fn take_heard(&mut self, now: Timestamp, session: usize, heard: Heard) {
        let holder = &self.sessions[session];
        match heard {
            Heard::Alive => {}
            // What is known already needs no pull.
            Heard::Head(Some(head)) if Some(head) == holder.cursor && holder.caught_up => {}
            Heard::Head(head) => {
                // A head behind the cursor is old news, or a server that was wiped.
                let behind = head.zip(holder.cursor).is_some_and(|(head, cursor)| head < cursor);
                let holder = &mut self.sessions[session];
                holder.suspect |= behind;
                holder.told = holder.told.max(head.unwrap_or(0));
                self.want_pull(now, session, false);
            }
            Heard::Page(page, reply) => {
                self.take_live_page(now, session, page);
                self.send_frames(session, reply.into_iter().collect());
            }
            Heard::PullFailed(failure) => {
                if let Some(op) = self.sessions[session].pull.take() {
                    self.answer(op);
                    self.pull_failed(now, op, session, failure);
                } else {
                    self.note_remote_error(session, failure.error);
                    self.want_pull(now, session, false);
                }
            }
            Heard::Pushed(result) => {
                if let Some(op) = self.sessions[session].frame_push.take()
                    && let Some(Op::Push { session, txs, last }) = self.answer(op)
                {
                    self.handle_pushed(now, op, session, &txs, last, result);
                }
            }
            Heard::Broken(reason) => {
                let failure = WireFailure::of_transport(&TransportError::Unreachable(reason));
                self.live_broken(now, session, &failure);
            }
        }
    }

    /// Events over the live connection: pages of the pull that is under way, and what is broadcast meanwhile.
    /// The two can't be told apart, so that the end is reached where nothing is missing before an event that
    /// says that nothing comes after it.
    fn take_live_page(&mut self, now: Timestamp, session: usize, page: Page) {
        let has_more = page.has_more;
        if !self.take_page(now, session, page) {
            return;
        }
        let holder = &mut self.sessions[session];
        // What is asked by requests is answered by them: this may have been told before it was asked.
        let at_head = !has_more && holder.held.is_empty() && holder.codec.asks_by_frames();
        let pull = if at_head { holder.pull.take() } else { None };
        let is_end = !has_more || holder.codec.streams();
        if pull.is_none() && is_end && !holder.held.is_empty() && holder.pull.is_none() {
            // Where requests are asked for it, only those that are answered count: none may get through for long.
            holder.gap_runs += u32::from(holder.codec.asks_by_frames());
            self.want_pull(now, session, false);
        }
        self.settle_awaiting(now, session, pull.is_some());
        if let Some(op) = pull {
            self.answer(op);
            let holder = &mut self.sessions[session];
            holder.pull_failures = 0;
            holder.auth_failed_once = false;
            self.run_ended(now, session);
        }
    }

    /// The connection is of no use any more: another one is opened after a back-off.
    pub(super) fn live_broken(&mut self, now: Timestamp, session: usize, failure: &WireFailure) {
        if self.sessions[session].live.is_wanted() {
            self.outputs.push_back(Output::CloseLive(remote_id(session)));
            self.live_lost(now, session, failure);
        }
    }

    fn live_lost(&mut self, now: Timestamp, session: usize, failure: &WireFailure) {
        let holder = &mut self.sessions[session];
        if !holder.live.is_wanted() {
            return;
        }
        let is_told_why = failure.kind == FailureKind::AuthRequired;
        let probe = if holder.live == Live::Opening && !is_told_why { holder.codec.refused() } else { None };
        holder.live_failures = holder.live_failures.saturating_add(1);
        holder.held.clear();
        let failures = holder.live_failures;
        let wait = self.reconnect_wait(session, failures);
        let at = now + wait;
        let holder = &mut self.sessions[session];
        holder.live = Live::Waiting(at);
        let (by_frames, pull, push) = (holder.codec.asks_by_frames(), holder.pull, holder.frame_push.take());
        self.set_timer(at, Timer::Reconnect(session));
        if let Some(op) = push
            && let Some(Op::Push { session, txs, last }) = self.answer(op)
        {
            self.handle_pushed(now, op, session, &txs, last, Err(failure.clone()));
        }
        if by_frames {
            self.sessions[session].pull = None;
            if let Some(op) = pull {
                self.answer(op);
            }
            let op = pull.unwrap_or(OpId(self.next_op));
            self.pull_failed(now, op, session, failure.clone());
        } else {
            // Nothing is heard any more: whether the server is there, a pull will tell.
            self.want_pull(now, session, false);
            self.set_remote_state(session);
        }
        if let Some(request) = probe {
            let op = self.op(Op::Probe { session });
            self.ask(now, session, op, Ask::Request(request));
        }
    }

    /// What a plain request was answered after a connection could not be opened.
    pub(super) fn handle_probed(
        &mut self,
        now: Timestamp,
        op: OpId,
        session: usize,
        result: &Result<HttpResponse, TransportError>,
    ) {
        let holder = &mut self.sessions[session];
        let Ok(response) = result else { return };
        if holder.live == Live::Open {
            return;
        }
        match holder.codec.decode_probe(response) {
            Ok(true) => {
                holder.pull_not_before = None;
                self.want_pull(now, session, false);
            }
            Ok(false) => {
                let message = "the backend answers, and no WebSocket to it can be opened: something between may take none, or it is no backend of this kind. What waits is kept, and it is tried again; where there are both, the transport `auto` asks by HTTP meanwhile";
                self.note_remote_error(session, ErrorInfo::of(Code::Offline, message));
            }
            Err(failure) if failure.kind == FailureKind::AuthRequired => {
                self.pull_failed(now, op, session, failure);
            }
            Err(failure) => self.note_remote_error(session, failure.error),
        }
    }

    pub(super) fn reconnect_due(&mut self, session: usize, at: Timestamp) {
        let line = &self.lines[self.sessions[session].line];
        let may = line.leads() && line.auth_since.is_none() && !self.closed;
        if may && self.sessions[session].live == Live::Waiting(at) {
            self.sessions[session].live = Live::Off;
            self.open_live(session);
        }
    }

    pub(super) fn send_frames(&mut self, session: usize, frames: Vec<String>) {
        if self.sessions[session].live == Live::Open {
            let remote = remote_id(session);
            self.outputs.extend(frames.into_iter().map(|frame| Output::SendFrame(remote, frame)));
        }
    }

    /// Sets the time within which something that was asked over the live connection is answered.
    pub(super) fn await_frame(&mut self, now: Timestamp, op: OpId) {
        self.set_timer(now + FRAME_TIMEOUT_MS, Timer::Frame(op));
    }

    pub(super) fn frame_overdue(&mut self, now: Timestamp, op: OpId) {
        let session = match self.ops.get(&op) {
            Some(Op::Push { session, .. }) => *session,
            Some(Op::Pull { session, .. }) => {
                // A pull of many pages is alive as long as pages come; pings may be answered by the transport alone.
                let alive_until = self.sessions[*session].served_at + FRAME_TIMEOUT_MS;
                if alive_until > now {
                    self.set_timer(alive_until, Timer::Frame(op));
                    return;
                }
                *session
            }
            _ => return,
        };
        self.live_broken(now, session, &WireFailure::of_transport(&TransportError::TimedOut));
    }
}
