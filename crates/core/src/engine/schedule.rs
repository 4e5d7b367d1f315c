//! When a transaction is sent, and what its answers decide.

use std::collections::BTreeSet;

use super::{Engine, Op, Timer, behind::cascade_error, transaction::TxIx};
use crate::{
    ErrorInfo, Failure, FailureKind, OpId, Output, PersistOk, RetryPolicy, Timestamp, Value,
    record::{Fact, OrderKind},
    view::TransactionState,
};

/// The longest wait between two tries while nothing is reached, in milliseconds.
const UNREACHABLE_MAX_DELAY_MS: u64 = 30_000;

impl<V: Value> Engine<V> {
    /// Looks at whether a transaction waits, can be sent, or must go with one that it was written behind.
    pub(super) fn consider(&mut self, now: Timestamp, tx: TxIx) {
        let Some(slot) = self.txs[tx].as_ref() else { return };
        if !slot.order.is_committed() || slot.is_done() || slot.deciding || slot.op.is_some() {
            return;
        }
        if !matches!(slot.state, TransactionState::Pending | TransactionState::Queued) {
            return;
        }
        if self.predecessor(tx).is_some() {
            self.set_state(tx, TransactionState::Queued);
            return;
        }
        self.set_state(tx, TransactionState::Pending);
        let lines = self.tx_lines(tx);
        let Some(&line) = lines.first() else {
            self.want_help(now, tx);
            return;
        };
        if !lines.iter().all(|&line| self.lines[line].leads()) {
            self.give_way(now, &lines);
            return;
        }
        if let Some((error, cause)) = self.failed_before(tx) {
            self.fail(now, line, tx, error, Some(cause));
            return;
        }
        if let Some(error) =
            self.quarantine.iter().find(|(other, _)| *other == tx).map(|(_, error)| error.clone())
        {
            // An earlier tab may have sent it as it was: what has landed has happened, and the log tells.
            if self.lines[line].session.is_some_and(|session| !self.sessions[session].knows_the_log()) {
                return;
            }
            self.fail(now, line, tx, error, None);
            return;
        }
        if !self.is_understood(tx) {
            return;
        }
        if self.is_local(tx) {
            // Nobody is to be told: being in the journal is all there is.
            self.persisted(now, line, tx, true);
            return;
        }
        let slot = self.tx(tx);
        match slot.not_before.filter(|&at| at > now) {
            Some(at) => {
                // A clock that was set back, or was wrong in the tab that noted it, makes no wait longer than it was meant to be.
                let meant = slot
                    .attempts
                    .last()
                    .and_then(|attempt| Some(attempt.retry_at?.0.saturating_sub(attempt.completed_at?.0)));
                let at = meant.map_or(at, |meant| at.min(now + meant));
                self.tx_mut(tx).not_before = Some(at);
                self.set_timer(at, Timer::Retry(tx));
            }
            None => {
                let (order, named) = (slot.order, slot.function.is_some());
                let holder = &mut self.lines[line];
                let of_the_app = named && holder.session.is_some();
                let ready = if of_the_app { &mut holder.ready_named } else { &mut holder.ready };
                ready.insert(order, tx);
                self.stirred.insert(line);
            }
        }
    }

    /// Stops caring for the answer to what this tab sends of a transaction that ended otherwise meanwhile.
    pub(super) fn abandon(&mut self, tx: TxIx) {
        let Some(op) = self.tx_mut(tx).op.take() else { return };
        match self.ops.get(&op) {
            Some(&Op::Persist { line, .. }) => {
                self.lines[line].running = self.lines[line].running.saturating_sub(1);
                self.stirred.insert(line);
            }
            Some(Op::AwaitSync { .. }) => {}
            // A push holds others too, and its answer is read for them.
            _ => return,
        }
        self.ops.swap_remove(&op);
        self.outputs.push_back(Output::Cancel(op));
    }

    /// Looks at all unfinished transactions: after a load, or when this tab begins to lead.
    pub(super) fn consider_all(&mut self, now: Timestamp) {
        let unfinished: Vec<TxIx> = self.unfinished.values().copied().collect();
        for tx in unfinished {
            let Some(slot) = self.txs[tx].as_ref() else { continue };
            if slot.op.is_none() && slot.order.is_committed() && !slot.deciding {
                match slot.state {
                    // Whoever was sending it is gone: it is sent again, under the same key.
                    TransactionState::Persisting if self.leads_all(tx) => {
                        self.set_state(tx, TransactionState::Pending)
                    }
                    TransactionState::Persisting => {
                        let lines = self.tx_lines(tx);
                        self.give_way(now, &lines);
                    }
                    TransactionState::PersistedAwaitingSync => self.await_sync(now, tx),
                    _ => {}
                }
                self.want_help(now, tx);
            }
            self.consider(now, tx);
        }
    }

    /// After a transaction has ended: those that waited for it.
    pub(super) fn consider_after(&mut self, now: Timestamp, tx: TxIx) {
        if self.journal.quiet {
            return;
        }
        let mut next: BTreeSet<TxIx> = BTreeSet::new();
        let slot = self.tx(tx);
        for mutation in &slot.mutations {
            let holder = &self.collections[mutation.collection];
            next.extend(holder.row(mutation.row).first_ordered());
            let first_scoped = holder.scoped.first().copied();
            next.extend(first_scoped);
            if slot.kind == OrderKind::Collection {
                // What had to wait for the whole collection, up to who wants it whole next.
                let later = self.unfinished.range(slot.order..).map(|(_, &other)| other);
                let later = later.take_while(|&other| Some(other) != first_scoped);
                next.extend(later.filter(|&other| self.is_ordered_on(other, mutation.collection)));
            }
        }
        for tx in next {
            self.consider(now, tx);
        }
    }

    /// Starts what can be started on the lines where something changed.
    pub(super) fn start_what_can(&mut self, now: Timestamp) {
        if self.closed || !self.journal.is_loaded() {
            return;
        }
        if core::mem::take(&mut self.reconsider) {
            self.consider_all(now);
        }
        if self.paused.is_some() {
            return;
        }
        while let Some(line) = self.stirred.pop_first() {
            let holder = &self.lines[line];
            let session = holder.session;
            let is_held = !holder.leads()
                || holder.auth_since.is_some()
                || holder.not_before.is_some_and(|at| at > now);
            if !is_held {
                self.start_persists(now, line);
            }
            if let Some(session) = session {
                if !is_held {
                    self.push(now, session);
                }
                if !self.sessions[session].pushing {
                    self.pull_what_was_pushed(now, session);
                }
            }
        }
    }

    fn start_persists(&mut self, now: Timestamp, line: usize) {
        while self.lines[line].running < self.lines[line].concurrent_max {
            let holder = &mut self.lines[line];
            let ready = if holder.session.is_some() { &mut holder.ready_named } else { &mut holder.ready };
            let Some((_, tx)) = ready.pop_first() else { break };
            if !self.can_start(tx) {
                continue;
            }
            self.begin(now, line, tx);
            self.lines[line].running += 1;
            let op = self.op(Op::Persist { tx, line });
            let slot = self.tx_mut(tx);
            slot.op = Some(op);
            let attempt = u32::try_from(slot.attempts.len()).unwrap_or(u32::MAX);
            let output = Output::Persist {
                op,
                transaction: slot.id,
                collection: super::collection_id(slot.mutations[0].collection),
                function: slot.function.as_deref().map(str::to_owned),
                attempt,
            };
            self.outputs.push_back(output);
        }
    }

    /// Whether what was ready still is.
    pub(super) fn can_start(&self, tx: TxIx) -> bool {
        self.txs[tx].as_ref().is_some_and(|slot| {
            slot.state == TransactionState::Pending && slot.op.is_none() && !slot.deciding
        }) && self.leads_all(tx)
            && self.predecessor(tx).is_none()
    }

    /// Notes that an attempt begins.
    pub(super) fn begin(&mut self, now: Timestamp, line: usize, tx: TxIx) {
        self.note_started(tx, now);
        let id = self.tx(tx).id;
        self.decide(line, Fact::Started { tx: id, at: now });
    }

    pub(super) fn handle_persist_answered(
        &mut self,
        now: Timestamp,
        op: OpId,
        tx: TxIx,
        line: usize,
        result: Result<PersistOk, Failure>,
    ) {
        self.lines[line].running = self.lines[line].running.saturating_sub(1);
        self.stirred.insert(line);
        self.tx_mut(tx).op = None;
        match result {
            Ok(ok) => {
                self.reached(line);
                for (from, to) in ok.rekey {
                    self.decide_rekey(line, tx, &from, &to);
                }
                let collection = self.tx(tx).mutations[0].collection;
                let awaits = self.collections[collection]
                    .registered
                    .as_ref()
                    .is_some_and(|registration| registration.has_await_sync);
                self.persisted(now, line, tx, !awaits);
                // What a function of the app's wrote to a remote comes back by a pull.
                if let Some(session) = self.lines[line].session {
                    self.want_pull(now, session, false);
                }
            }
            Err(mut failure) => {
                if failure.kind == FailureKind::AuthRequired && self.is_of_old_credentials(line, op) {
                    failure.kind = FailureKind::Temporary { after_ms: Some(0), counts_attempt: false };
                }
                self.not_persisted(now, line, tx, failure);
            }
        }
    }

    /// Decides that the backend has a transaction, and with `completes` that nothing more is waited for.
    pub(super) fn persisted(&mut self, now: Timestamp, line: usize, tx: TxIx, completes: bool) {
        let slot = self.tx_mut(tx);
        slot.deciding = true;
        slot.persisting = true;
        slot.completing = completes;
        let id = slot.id;
        self.decide(line, Fact::Persisted { tx: id, at: now });
        if completes {
            self.decide(line, Fact::Completed { tx: id, at: now, confirmed: false, warning: None });
        } else if self.lines[line].session.is_none() {
            self.sent_here.insert(tx);
        }
    }

    /// Decides what a failed attempt means.
    pub(super) fn not_persisted(&mut self, now: Timestamp, line: usize, tx: TxIx, failure: Failure) {
        let policy = self.retry_policy(tx);
        let slot = self.tx_mut(tx);
        slot.deciding = true;
        let (id, spent) = (slot.id, slot.spent);
        let error = failure.error;
        let (next_at, counts) = match failure.kind {
            FailureKind::Permanent => {
                self.reached(line);
                self.fail(now, line, tx, error, None);
                return;
            }
            FailureKind::Temporary { after_ms, counts_attempt } => {
                self.reached(line);
                if counts_attempt && spent >= policy.retries {
                    self.fail(now, line, tx, error, None);
                    return;
                }
                let wait = match after_ms {
                    Some(wait) => wait,
                    None => self.backoff(&policy, spent + 1),
                };
                (now + wait, counts_attempt)
            }
            FailureKind::Unreachable => {
                self.unreached(now, line);
                (now, false)
            }
            FailureKind::AuthRequired => {
                self.hold_for_auth(now, line);
                (now, false)
            }
        };
        self.last_error = Some(error.clone());
        self.decide(line, Fact::Retried { tx: id, at: now, error, next_at, counts });
    }

    /// Decides that a transaction has failed, and all that wait on it with it, newest first.
    pub(super) fn fail(
        &mut self,
        now: Timestamp,
        line: usize,
        tx: TxIx,
        error: ErrorInfo,
        cause: Option<crate::TxId>,
    ) {
        let first = cause.unwrap_or(self.tx(tx).id);
        for dependent in self.dependents(tx).into_iter().rev() {
            // Its own line's lease may be another's; then that leader sees the failure and draws the same conclusion.
            if self.tx(dependent).deciding || !self.leads_all(dependent) {
                continue;
            }
            let slot = self.tx_mut(dependent);
            slot.deciding = true;
            let id = slot.id;
            let error = cascade_error(first);
            self.decide(line, Fact::Failed { tx: id, at: now, error, cause: Some(first) });
        }
        let slot = self.tx_mut(tx);
        slot.deciding = true;
        let id = slot.id;
        self.last_error = Some(error.clone());
        self.decide(line, Fact::Failed { tx: id, at: now, error, cause });
    }

    /// After the fact that the backend has a transaction: waits for its rows to come back, or takes that as done.
    pub(super) fn await_sync(&mut self, now: Timestamp, tx: TxIx) {
        let lines = self.tx_lines(tx);
        let Some(&line) = lines.first() else { return };
        if self.tx(tx).op.is_some() || self.tx(tx).completing {
            return;
        }
        if !self.leads_all(tx) {
            self.give_way(now, &lines);
            return;
        }
        if let Some(session) = self.lines[line].session {
            if self.sessions[session].awaits(tx) {
                return;
            }
        } else {
            // Only the tab that has sent it waits; one that takes over takes the sync as done.
            let sent_here = self.sent_here.remove(&tx);
            let slot = self.tx(tx);
            let collection = slot.mutations[0].collection;
            let awaits = self.collections[collection]
                .registered
                .as_ref()
                .is_some_and(|registration| registration.has_await_sync);
            if awaits && sent_here {
                let (id, function) = (slot.id, slot.function.as_deref().map(str::to_owned));
                let op = self.op(Op::AwaitSync { tx });
                self.tx_mut(tx).op = Some(op);
                self.outputs.push_back(Output::AwaitSync {
                    op,
                    transaction: id,
                    collection: super::collection_id(collection),
                    function,
                });
                return;
            }
        }
        let slot = self.tx_mut(tx);
        if !slot.deciding {
            (slot.deciding, slot.completing) = (true, true);
            let id = slot.id;
            self.decide(line, Fact::Completed { tx: id, at: now, confirmed: false, warning: None });
        }
    }

    pub(super) fn handle_await_sync_answered(
        &mut self,
        now: Timestamp,
        tx: TxIx,
        result: Result<(), ErrorInfo>,
    ) {
        let lines = self.tx_lines(tx);
        let slot = self.tx_mut(tx);
        slot.op = None;
        slot.deciding = true;
        let id = slot.id;
        let Some(&line) = lines.first() else { return };
        self.decide(
            line,
            Fact::Completed { tx: id, at: now, confirmed: result.is_ok(), warning: result.err() },
        );
    }

    pub(super) fn retry_due(&mut self, at: Timestamp, tx: TxIx) {
        if let Some(slot) = self.txs[tx].as_mut()
            && slot.not_before == Some(at)
        {
            slot.not_before = None;
            self.consider(at, tx);
        }
    }

    pub(super) fn leads_all(&self, tx: TxIx) -> bool {
        let lines = self.tx_lines(tx);
        !lines.is_empty() && lines.iter().all(|&line| self.lines[line].leads())
    }

    fn is_local(&self, tx: TxIx) -> bool {
        let slot = self.tx(tx);
        slot.function.is_none()
            && slot.mutations.iter().all(|mutation| {
                self.collections[mutation.collection]
                    .registered
                    .as_ref()
                    .is_some_and(super::collection::Registration::is_local)
            })
    }

    fn set_state(&mut self, tx: TxIx, state: TransactionState) {
        let slot = self.tx_mut(tx);
        if slot.state != state {
            slot.state = state;
            self.changed.insert(tx);
        }
    }

    fn retry_policy(&self, tx: TxIx) -> RetryPolicy {
        let collection = self.tx(tx).mutations[0].collection;
        match &self.collections[collection].registered {
            Some(registration) => match &registration.remote {
                Some((remote, _)) => self.sessions[remote.0 as usize].retry.clone(),
                None => registration.retry.clone(),
            },
            None => RetryPolicy::default(),
        }
    }

    /// The other side answered: whatever holds the line for want of a network is over.
    pub(super) fn reached(&mut self, line: usize) {
        self.lines[line].unreachable = 0;
        self.lines[line].not_before = None;
    }

    /// Nothing was reached: the whole line waits a little.
    pub(super) fn unreached(&mut self, now: Timestamp, line: usize) {
        let holder = &mut self.lines[line];
        holder.unreachable = holder.unreachable.saturating_add(1);
        let failures = holder.unreachable;
        let policy = RetryPolicy { max_delay_ms: UNREACHABLE_MAX_DELAY_MS, ..RetryPolicy::default() };
        let at = now + self.backoff(&policy, failures).max(policy.base_delay_ms / 4);
        self.lines[line].not_before = Some(at);
        self.set_timer(at, Timer::Line(line));
        self.status_changed = true;
    }

    pub(super) fn hold_for_auth(&mut self, now: Timestamp, line: usize) {
        self.lines[line].auth_since.get_or_insert(now);
        self.status_changed = true;
    }

    pub(super) fn handle_online(&mut self, now: Timestamp, online: bool) {
        self.online = online;
        self.status_changed = true;
        if online {
            for line in 0..self.lines.len() {
                self.lines[line].not_before = None;
                self.stirred.insert(line);
            }
            for session in 0..self.sessions.len() {
                self.want_pull(now, session, true);
            }
        }
    }

    pub(super) fn handle_visible(&mut self, now: Timestamp, visible: bool) {
        if visible {
            for session in 0..self.sessions.len() {
                self.want_pull(now, session, true);
            }
        }
    }
}
