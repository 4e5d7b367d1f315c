//! Pushing: what a remote's session sends, and what the answers decide.

use super::{
    Engine, Op,
    events::session_of,
    session::{Awaiting, Live},
    transaction::TxIx,
};
use crate::{
    Code, ErrorInfo, Failure, FailureKind, OpId, Timestamp, Value,
    backend::{Ask, PushItem, PushOutcome, Pushed, WireFailure, text_of},
    record::Fact,
    view::TransactionState,
};

/// How long what was pushed waits to be pulled while more is pushed, in milliseconds.
const PUT_OFF_MAX_MS: u64 = 250;
/// Pushes in a row that the log may be ahead of before the next one waits.
const CONFLICTS_AT_ONCE_MAX: u32 = 5;

impl<V: Value> Engine<V> {
    /// Sends what is ready, as much as one push takes.
    pub(super) fn push(&mut self, now: Timestamp, session: usize) {
        let line = self.sessions[session].line;
        let limits = self.sessions[session].codec.limits();
        while self.lines[line].running < self.lines[line].concurrent_max && self.may_push(session) {
            let mut txs: Vec<(TxIx, usize)> = Vec::new();
            let mut items: Vec<PushItem> = Vec::new();
            let mut bytes = 0;
            while let Some((&order, &tx)) = self.lines[line].ready.first_key_value() {
                if !self.can_start(tx) {
                    self.lines[line].ready.pop_first();
                    continue;
                }
                let encoded = match self.encode_transaction(session, tx) {
                    Ok(encoded) => encoded,
                    Err(error) => {
                        self.lines[line].ready.pop_first();
                        self.begin(now, line, tx);
                        self.fail(now, line, tx, error, None);
                        continue;
                    }
                };
                if encoded.is_empty() {
                    // The app's mapping makes no event of it: there is nothing that anybody is to be told.
                    self.lines[line].ready.pop_first();
                    self.begin(now, line, tx);
                    self.persisted(now, line, tx, true);
                    continue;
                }
                let more = encoded.iter().map(|item| limits.bytes_of(item)).sum::<usize>();
                let alone = self.sessions[session].alone.contains(&tx);
                if alone && !txs.is_empty() {
                    break;
                }
                let full = items.len() + encoded.len() > limits.items || bytes + more > limits.bytes;
                if full && !txs.is_empty() {
                    break;
                }
                self.lines[line].ready.remove(&order);
                if full {
                    let (limit, count) = (limits.bytes, encoded.len());
                    self.begin(now, line, tx);
                    let error = ErrorInfo::of(
                        Code::TooLarge,
                        format!(
                            "this change takes {count} events or changes and {more} bytes on the wire, and the backend takes at most {} and {limit} at once; it was taken back. Large content belongs in files",
                            limits.items
                        ),
                    )
                    .with_figures(limit as u64, more as u64);
                    self.fail(now, line, tx, error, None);
                    continue;
                }
                bytes += more;
                txs.push((tx, encoded.len()));
                items.extend(encoded);
                if alone {
                    self.sessions[session].alone.remove(&tx);
                    break;
                }
            }
            if txs.is_empty() {
                return;
            }
            for &(tx, _) in &txs {
                self.begin(now, line, tx);
            }
            let last = self.sessions[session].head + items.len() as u64;
            let (codec, position) = self.sessions[session].codec_and_position();
            let ask = codec.encode_push(position, items);
            let op = self.op(Op::Push { session, txs: txs.clone(), last });
            for (tx, _) in txs {
                self.tx_mut(tx).op = Some(op);
            }
            self.lines[line].running += 1;
            self.sessions[session].pushing = true;
            if matches!(ask, Ask::Frames(_)) {
                self.sessions[session].frame_push = Some(op);
            }
            self.ask(now, session, op, ask);
        }
    }

    /// Events go behind the last one, so that it must be known: what a lost answer has left behind is read first.
    fn may_push(&self, session: usize) -> bool {
        let holder = &self.sessions[session];
        holder.knows_the_log() && (!holder.codec.asks_by_frames() || holder.live == Live::Open)
    }

    /// What a transaction is on the wire, without what the backend has of it already.
    fn encode_transaction(&self, session: usize, tx: TxIx) -> Result<Vec<PushItem>, ErrorInfo> {
        let slot = self.tx(tx);
        let codec = &self.sessions[session].codec;
        let mut items = Vec::with_capacity(slot.mutations.len());
        for (index, mutation) in slot.mutations.iter().enumerate() {
            let holder = &self.collections[mutation.collection];
            let registration = holder.registered.as_ref();
            let to_events = registration
                .and_then(|registration| registration.mapping.as_ref())
                .and_then(|mapping| mapping.to_events.as_ref());
            if let Some(to_events) = to_events {
                let made = to_events(&slot.mutation_view(index, &holder.name)).map_err(|reason| {
                    ErrorInfo::of(
                        Code::InvalidPush,
                        format!(
                            "toEvents() failed for the row {}: {reason}. The change was taken back",
                            mutation.key
                        ),
                    )
                })?;
                for (name, args) in made {
                    items.push(PushItem { id: String::new(), name, args: text_of(&mutation.key, &args)? });
                }
                continue;
            }
            let entity = registration
                .and_then(|registration| registration.remote.as_ref())
                .map_or("", |(_, entity)| entity.as_str());
            let (kind, changes) = (mutation.kind(), mutation.changes());
            items.push(codec.encode_mutation(String::new(), entity, &mutation.key, kind, changes)?);
        }
        let count = items.len();
        for (index, item) in items.iter_mut().enumerate() {
            item.id = if codec.keeps_events() || count == 1 {
                session_of(slot.id, index, count)
            } else {
                format!("{}:{index}", slot.id)
            };
        }
        items.drain(..count.min(slot.landed as usize));
        Ok(items)
    }

    pub(super) fn handle_pushed(
        &mut self,
        now: Timestamp,
        op: OpId,
        session: usize,
        pushed: &[(TxIx, usize)],
        last: u64,
        result: Result<Pushed, WireFailure>,
    ) {
        let line = self.sessions[session].line;
        self.lines[line].running = self.lines[line].running.saturating_sub(1);
        self.sessions[session].pushing = false;
        self.stirred.insert(line);
        // One that was discarded meanwhile is gone, and one that was read back is done: their results are passed over.
        let mut txs = Vec::with_capacity(pushed.len());
        for &(tx, _) in pushed {
            if let Some(slot) = self.txs[tx].as_mut()
                && slot.op.take().is_some()
                && !slot.completing
            {
                txs.push(tx);
            }
        }
        if result.is_ok() {
            self.sessions[session].auth_failed_once = false;
            self.heard_of(now, session);
            self.reached(line);
        }
        match result {
            Ok(Pushed::Each(outcomes)) => {
                let mut rest = &outcomes[..];
                for &(tx, count) in pushed {
                    let (own, others) = rest.split_at(count);
                    rest = others;
                    if txs.contains(&tx) {
                        self.take_push_outcome(now, session, tx, own);
                    }
                }
                self.put_off_pull(now, session);
            }
            Ok(Pushed::Appended) => self.appended(now, session, pushed, &txs, last),
            Ok(Pushed::Provisional) => self.read_back(now, session, &txs),
            Ok(Pushed::Ahead(head)) => {
                let meant_for = last - pushed.iter().map(|(_, count)| *count as u64).sum::<u64>();
                self.overtaken(now, session, &txs, meant_for, head);
            }
            Err(failure) if pushed.len() > 1 && self.is_refusal(session, &failure) => {
                // One of them is what the backend refuses; each alone shows which.
                if self.sessions[session].codec.keeps_events() {
                    self.sessions[session].doubt_the_head();
                    self.want_pull(now, session, false);
                }
                for tx in txs {
                    self.not_persisted(
                        now,
                        line,
                        tx,
                        Failure {
                            kind: FailureKind::Temporary { after_ms: Some(0), counts_attempt: false },
                            error: failure.error.clone(),
                        },
                    );
                    self.sessions[session].alone.insert(tx);
                }
            }
            Err(failure) => self.push_failed(now, op, session, &txs, failure),
        }
    }

    /// Whether a failure may be about one of several. A server that keeps events does not say for how long.
    fn is_refusal(&self, session: usize, failure: &WireFailure) -> bool {
        match failure.kind {
            FailureKind::Permanent => true,
            FailureKind::Temporary { counts_attempt, .. } => {
                counts_attempt && self.sessions[session].codec.keeps_events()
            }
            _ => false,
        }
    }

    /// The log has them all, the last one at this place.
    fn appended(
        &mut self,
        now: Timestamp,
        session: usize,
        pushed: &[(TxIx, usize)],
        txs: &[TxIx],
        last: u64,
    ) {
        let holder = &mut self.sessions[session];
        let line = holder.line;
        holder.conflicts = 0;
        holder.head = holder.head.max(last);
        let seen_by = holder.pulls_begun + 1;
        let mut place = last - pushed.iter().map(|(_, count)| *count as u64).sum::<u64>();
        for &(tx, count) in pushed {
            place += count as u64;
            if txs.contains(&tx) {
                self.sessions[session].awaiting.push(Awaiting { tx, cursor: place, seen_by });
                self.persisted(now, line, tx, false);
            }
        }
        // A live connection brings them back by itself.
        if self.sessions[session].live != Live::Open {
            self.want_pull(now, session, true);
        }
    }

    /// What was pushed is to be pulled, by one pull for as much as is pushed in a row; but not too late.
    fn put_off_pull(&mut self, now: Timestamp, session: usize) {
        let since = *self.sessions[session].put_off.get_or_insert(now);
        if now.0.saturating_sub(since.0) >= PUT_OFF_MAX_MS {
            self.pull_what_was_pushed(now, session);
        }
    }

    /// Pulls what was pushed, unless nothing was, or that pull has begun.
    pub(super) fn pull_what_was_pushed(&mut self, now: Timestamp, session: usize) {
        if self.sessions[session].put_off.take().is_some() {
            self.want_pull(now, session, true);
        }
    }

    /// They were taken, and whether they are there is read. Those that are not are sent again.
    fn read_back(&mut self, now: Timestamp, session: usize, txs: &[TxIx]) {
        self.sessions[session].doubt_the_head();
        for &tx in txs {
            let slot = self.tx_mut(tx);
            if slot.state == TransactionState::Persisting && !slot.deciding {
                slot.state = TransactionState::Pending;
                self.consider(now, tx);
            }
        }
        self.want_pull(now, session, true);
    }

    /// The log goes on behind the head that they were meant for: what is there is read, and they are sent
    /// again behind it, but for those that turn out to be there themselves.
    fn overtaken(&mut self, now: Timestamp, session: usize, txs: &[TxIx], meant_for: u64, head: Option<u64>) {
        let holder = &mut self.sessions[session];
        let (line, cursor) = (holder.line, holder.cursor.unwrap_or(0));
        holder.conflicts = holder.conflicts.saturating_add(1);
        let conflicts = holder.conflicts;
        if let Some(head) = head.filter(|&head| head < meant_for) {
            let why = format!("its log ends at {head} and had reached {meant_for}");
            self.reset(now, session, &ErrorInfo::of(Code::BackendReset, why));
        } else if head.is_some_and(|head| head <= cursor) {
            // What came over the live connection meanwhile is behind it, or where it is.
            self.sessions[session].head = cursor;
        } else {
            self.sessions[session].doubt_the_head();
            self.want_pull(now, session, true);
        }
        let wait = match conflicts.checked_sub(CONFLICTS_AT_ONCE_MAX) {
            None | Some(0) => 0,
            Some(more) => self.reconnect_wait(session, more),
        };
        let error = ErrorInfo::of(
            Code::ServerAhead,
            "others wrote first; what they wrote is read, and this is sent again behind it",
        );
        for &tx in txs {
            let slot = self.tx_mut(tx);
            slot.deciding = true;
            let id = slot.id;
            let error = error.clone();
            self.decide(line, Fact::Retried { tx: id, at: now, error, next_at: now + wait, counts: false });
        }
    }

    fn push_failed(&mut self, now: Timestamp, op: OpId, session: usize, txs: &[TxIx], failure: WireFailure) {
        let line = self.sessions[session].line;
        if failure.reset && self.sessions[session].cursor.is_some() {
            self.reset(now, session, &failure.error);
        } else if self.sessions[session].codec.keeps_events() {
            // It may have arrived all the same.
            self.sessions[session].doubt_the_head();
            self.want_pull(now, session, false);
        }
        let mut kind = failure.kind;
        if kind == FailureKind::AuthRequired
            && (self.is_of_old_credentials(line, op)
                || !core::mem::replace(&mut self.sessions[session].auth_failed_once, true))
        {
            kind = FailureKind::Temporary { after_ms: Some(0), counts_attempt: false };
        }
        self.note_remote_error(session, failure.error.clone());
        for &tx in txs {
            self.not_persisted(now, line, tx, Failure { kind, error: failure.error.clone() });
        }
        if kind == FailureKind::Unreachable {
            self.lost_sight(session, &failure.error);
            self.sessions[session].pull_failures = self.sessions[session].pull_failures.max(1);
            // The next pull tells whether the server is back; the line's hold tries in any case.
            self.want_pull(now, session, false);
        }
        self.set_remote_state(session);
    }

    fn take_push_outcome(&mut self, now: Timestamp, session: usize, tx: TxIx, outcomes: &[PushOutcome]) {
        let line = self.sessions[session].line;
        let refused = outcomes.iter().find_map(|outcome| match outcome {
            PushOutcome::Applied { .. } => None,
            PushOutcome::Refused(failure) => Some(failure.clone()),
        });
        if let Some(failure) = refused {
            self.not_persisted(now, line, tx, failure);
            return;
        }
        let cursor = outcomes
            .iter()
            .map(|outcome| if let PushOutcome::Applied { cursor } = outcome { *cursor } else { 0 })
            .max()
            .unwrap_or(0);
        let holder = &mut self.sessions[session];
        let seen_by = holder.pulls_begun + 1;
        holder.awaiting.push(Awaiting { tx, cursor, seen_by });
        self.persisted(now, line, tx, false);
    }
}
