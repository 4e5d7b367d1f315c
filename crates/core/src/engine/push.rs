//! Pushing: what a remote's session sends, and what the answers decide.

use super::{Engine, Op, remote_id, session::Awaiting, transaction::TxIx};
use crate::{
    Code, ErrorInfo, Failure, FailureKind, HttpResponse, OpId, Output, Timestamp, TransportError, Value,
    backend::{PushItem, PushOutcome, WireFailure},
};

impl<V: Value> Engine<V> {
    /// Sends what is ready, as much as one push takes.
    pub(super) fn push(&mut self, now: Timestamp, session: usize) {
        let line = self.sessions[session].line;
        while self.lines[line].running < self.lines[line].concurrent_max {
            let mut txs: Vec<TxIx> = Vec::new();
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
                let more = encoded.iter().map(PushItem::bytes).sum::<usize>();
                let codec = &self.sessions[session].codec;
                let alone = self.sessions[session].alone.contains(&tx);
                if alone && !txs.is_empty() {
                    break;
                }
                let full = items.len() + encoded.len() > codec.push_max_mutations()
                    || bytes + more > codec.push_max_bytes();
                if full && !txs.is_empty() {
                    break;
                }
                self.lines[line].ready.remove(&order);
                if full {
                    let limit = codec.push_max_bytes();
                    self.begin(now, line, tx);
                    let error = ErrorInfo::of(
                        Code::TooLarge,
                        format!(
                            "this change takes {more} bytes on the wire and the backend takes at most {limit}; it was taken back. Large content belongs in files"
                        ),
                    )
                    .with_figures(limit as u64, more as u64);
                    self.fail(now, line, tx, error, None);
                    continue;
                }
                bytes += more;
                items.extend(encoded);
                txs.push(tx);
                if alone {
                    self.sessions[session].alone.remove(&tx);
                    break;
                }
            }
            if txs.is_empty() {
                return;
            }
            for &tx in &txs {
                self.begin(now, line, tx);
            }
            let request = self.sessions[session].codec.encode_push(items);
            let counted = txs.iter().map(|&tx| (tx, self.tx(tx).mutations.len())).collect();
            let op = self.op(Op::Push { session, txs: counted });
            for tx in txs {
                self.tx_mut(tx).op = Some(op);
            }
            self.lines[line].running += 1;
            self.outputs.push_back(Output::Request(op, remote_id(session), request));
        }
    }

    fn encode_transaction(&self, session: usize, tx: TxIx) -> Result<Vec<PushItem>, ErrorInfo> {
        let slot = self.tx(tx);
        let codec = &self.sessions[session].codec;
        let single = slot.mutations.len() == 1;
        slot.mutations
            .iter()
            .enumerate()
            .map(|(index, mutation)| {
                let holder = &self.collections[mutation.collection];
                let entity = holder
                    .registered
                    .as_ref()
                    .and_then(|registration| registration.remote.as_ref())
                    .map_or("", |(_, entity)| entity.as_str());
                let id = if single { slot.id.to_string() } else { format!("{}:{index}", slot.id) };
                codec.encode_mutation(id, entity, &mutation.key, mutation.kind(), mutation.changes())
            })
            .collect()
    }

    pub(super) fn handle_push_answered(
        &mut self,
        now: Timestamp,
        op: OpId,
        session: usize,
        pushed: &[(TxIx, usize)],
        result: Result<HttpResponse, TransportError>,
    ) {
        let line = self.sessions[session].line;
        self.lines[line].running = self.lines[line].running.saturating_sub(1);
        self.stirred.insert(line);
        // One that was discarded meanwhile is gone, and its results are passed over.
        let mut txs = Vec::with_capacity(pushed.len());
        for &(tx, _) in pushed {
            if let Some(slot) = self.txs[tx].as_mut()
                && slot.op.take().is_some()
            {
                txs.push(tx);
            }
        }
        let outcomes = match &result {
            Ok(response) => self.sessions[session]
                .codec
                .decode_push(pushed.iter().map(|(_, count)| count).sum(), response),
            Err(error) => Err(WireFailure::of_transport(error)),
        };
        match outcomes {
            Ok(outcomes) => {
                self.sessions[session].auth_failed_once = false;
                self.reached(line);
                let mut rest = &outcomes[..];
                for &(tx, count) in pushed {
                    let (own, others) = rest.split_at(count);
                    rest = others;
                    if txs.contains(&tx) {
                        self.take_push_outcome(now, session, tx, own);
                    }
                }
                self.want_pull(now, session, true);
            }
            Err(failure) if failure.kind == FailureKind::Permanent && pushed.len() > 1 => {
                // One of them is what the backend refuses; each alone shows which.
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

    fn push_failed(&mut self, now: Timestamp, op: OpId, session: usize, txs: &[TxIx], failure: WireFailure) {
        let line = self.sessions[session].line;
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
