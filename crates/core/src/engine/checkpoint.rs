//! Checkpoints: when nothing else is to do, what the log says is written as segments, and the log is cut.
//!
//! A segment holds the rows of a table whose keys hash to its number, or a stretch of transactions. Only
//! segments that changed since the last checkpoint are written again.

use std::rc::Rc;

use super::{
    Engine, Op, Timer,
    session::Known,
    transaction::{Order, TxIx},
};
use crate::{
    Checkpoint, CommitError, Output, Timestamp, Value,
    record::{self, Fact},
    view::TransactionState,
};

/// A checkpoint is due once the log has so many records after the last one.
const CHECKPOINT_EVERY_RECORDS: u64 = 256;
/// How long the journal must have been left alone before one is written, in milliseconds.
const CHECKPOINT_IDLE_MS: u64 = 2_000;
/// Row segments a table.
const ROW_SEGMENTS: usize = 64;
/// Log numbers a transaction segment covers.
const TRANSACTION_SEGMENT_RECORDS: u64 = 128;
/// The segment of the cursors.
const CURSORS_SEGMENT: &str = "cursors";
/// Read last: the transactions that lock the rows must have their locks by then.
const HELD_SEGMENT: &str = "u/held";

impl<V: Value> Engine<V> {
    /// Plans a checkpoint, if the log has grown enough.
    pub(super) fn plan_checkpoint(&mut self, now: Timestamp) {
        if self.journal.applied >= self.journal.checkpoint + CHECKPOINT_EVERY_RECORDS
            && self.checkpoint_at.is_none()
        {
            let at = now + CHECKPOINT_IDLE_MS;
            self.checkpoint_at = Some(at);
            self.set_timer(at, Timer::Checkpoint);
        }
    }

    pub(super) fn checkpoint_due(&mut self, at: Timestamp) {
        if self.checkpoint_at != Some(at) {
            return;
        }
        self.checkpoint_at = None;
        // What can't be read is not understood, so it can't be summed up: the log is left as it is.
        if self.closed || self.journal.undecodable > 0 {
            return;
        }
        // What the log says of mirrored rows is what a new leader goes by: only the tab that keeps the mirror cuts it.
        if self
            .collections
            .iter()
            .filter_map(|holder| holder.registered.as_ref())
            .any(|registration| registration.mirror && !self.lines[registration.line].leads())
        {
            self.plan_checkpoint(at);
            return;
        }
        if !self.journal.is_idle() {
            self.plan_checkpoint(at);
            return;
        }
        let upto = self.journal.applied;
        let (puts, deletes) = self.segments();
        self.journal.busy = true;
        let op = self.op(Op::Checkpoint);
        let replaces = self.journal.checkpoint;
        self.outputs.push_back(Output::Checkpoint(op, Checkpoint { replaces, upto, puts, deletes }));
        self.checkpointing = upto;
    }

    pub(super) fn handle_checkpointed(&mut self, now: Timestamp, result: Result<bool, CommitError>) {
        self.journal.busy = false;
        // Otherwise another tab was quicker, or wrote meanwhile; or there is no room. Nothing is lost: the log is
        // still whole.
        if result == Ok(true) {
            // Nothing was replayed meanwhile: what had changed is in the segments now.
            self.touched_rows.clear();
            self.touched_txs.clear();
            self.handle_checkpointed_elsewhere(self.checkpointing);
        }
        self.handle_log_grew(0);
        if result.is_ok() {
            self.plan_checkpoint(now);
        }
    }

    pub(super) fn handle_checkpointed_elsewhere(&mut self, upto: u64) {
        self.journal.checkpoint = self.journal.checkpoint.max(upto);
    }

    /// Rows that are gone and may still be in the mirror, of collections that this tab does not know: the log, from
    /// which a leader would learn of them, is about to go.
    fn doubtful(&self) -> Vec<Fact<V>> {
        let mut facts: Vec<Fact<V>> = Vec::new();
        for (collection, row) in self.journal.mirror_doubts.iter() {
            let holder = &self.collections[collection];
            if holder.registered.is_some() || holder.row(row).base().is_some() {
                continue;
            }
            let key = holder.key(row).clone();
            match facts.last_mut() {
                Some(Fact::Doubtful { collection: last, keys }) if *last == holder.name => keys.push(key),
                _ => facts.push(Fact::Doubtful { collection: holder.name.clone(), keys: vec![key] }),
            }
        }
        facts
    }

    /// The segments that the log since the last checkpoint has changed: what to put, and what is empty now.
    fn segments(&self) -> (Vec<(String, crate::Record<V>)>, Vec<String>) {
        let mut segments: Vec<(String, Vec<Fact<V>>)> = Vec::new();
        let mut collections: Vec<usize> =
            self.touched_rows.iter().map(|(collection, _)| collection).collect();
        collections.dedup();
        for index in collections {
            let collection = &self.collections[index];
            let mut rows: Vec<Vec<(Rc<str>, Option<V>)>> = (0..ROW_SEGMENTS).map(|_| Vec::new()).collect();
            let mut provisional: Vec<Vec<(Rc<str>, Option<V>)>> =
                (0..ROW_SEGMENTS).map(|_| Vec::new()).collect();
            for (key, row) in &collection.rows {
                let bucket = bucket(key);
                if !self.touched_rows.contains(index, bucket) {
                    continue;
                }
                if let Some(value) = &row.synced {
                    rows[bucket].push((key.clone(), Some(value.clone())));
                }
                if let Some(value) = &row.provisional {
                    provisional[bucket].push((key.clone(), value.clone()));
                }
            }
            let table = &collection.table;
            for (bucket, (rows, provisional)) in rows.into_iter().zip(provisional).enumerate() {
                if !self.touched_rows.contains(index, bucket) {
                    continue;
                }
                let mut facts = Vec::new();
                if !rows.is_empty() {
                    facts.push(Fact::Rows { table: table.clone(), writes: rows });
                }
                if !provisional.is_empty() {
                    facts.push(Fact::Provisional { table: table.clone(), writes: provisional });
                }
                segments.push((row_segment(table, bucket), facts));
            }
        }
        // First of all, so that the rows that follow come to their collections.
        let mut cursors: Vec<Fact<V>> = self
            .collections
            .iter()
            .filter_map(|holder| {
                let (collection, table) = (holder.name.clone(), holder.journalled_table.clone()?);
                Some(Fact::Table { collection, table })
            })
            .collect();
        for (remote, known) in &self.remotes {
            let Known { cursor, identity, client, mapped } = known.clone();
            cursors.push(Fact::Cursor { remote: remote.clone(), cursor, identity });
            cursors.extend(client.map(|client| Fact::Client { remote: remote.clone(), client }));
            if !mapped.is_empty() {
                cursors.push(Fact::Mapped { remote: remote.clone(), mappings: mapped });
            }
        }
        cursors.extend(
            self.collections
                .iter()
                .filter(|collection| collection.ever_synced)
                .map(|collection| Fact::Synced { table: collection.table.clone() }),
        );
        cursors.extend(self.doubtful());
        cursors.extend(self.discarded.iter().map(|&tx| Fact::Discarded { tx }));
        for collection in &self.collections {
            cursors.extend(collection.aliases.iter().map(|(from, to)| Fact::Rekeyed {
                collection: collection.name.clone(),
                from: from.clone(),
                to: collection.key(*to).clone(),
                field: None,
            }));
        }
        segments.push((CURSORS_SEGMENT.to_owned(), cursors));
        for &number in &self.touched_txs {
            let mut facts = Vec::new();
            let (from, to) = (
                Order(number * TRANSACTION_SEGMENT_RECORDS, 0),
                Order((number + 1) * TRANSACTION_SEGMENT_RECORDS, 0),
            );
            for (order, &tx) in self.txs_by_order.range(from..to) {
                facts.extend(self.transaction_facts(*order, tx));
            }
            segments.push((format!("t/{number:012}"), facts));
        }
        segments.push((HELD_SEGMENT.to_owned(), self.held_rows()));
        let (empty, full): (Vec<_>, Vec<_>) = segments.into_iter().partition(|(_, facts)| facts.is_empty());
        let puts = full.into_iter().map(|(name, facts)| (name, record::encode(&facts))).collect();
        (puts, empty.into_iter().map(|(name, _)| name).collect())
    }

    /// What shows of locked rows instead of what sync has brought since. Few rows are locked when nothing is under
    /// way: those of transactions that wait for another try.
    fn held_rows(&self) -> Vec<Fact<V>> {
        let mut facts = Vec::new();
        for collection in &self.collections {
            let held =
                |(key, row): (&Rc<str>, &super::collection::Row<V>)| Some((key.clone(), row.held.clone()?));
            let writes: Vec<_> = collection.rows.iter().filter_map(held).collect();
            if !writes.is_empty() {
                facts.push(Fact::Held { table: collection.table.clone(), writes });
            }
        }
        facts
    }

    /// The facts that make a transaction what it is.
    fn transaction_facts(&self, order: Order, tx: TxIx) -> Vec<Fact<V>> {
        let slot = self.tx(tx);
        let id = slot.id;
        let mut fact = slot.fact(|collection| self.collections[collection].name.clone());
        fact.place = Some((order.0, order.1));
        let mut facts = vec![Fact::Transaction(Box::new(fact))];
        let last = slot.attempts.len().saturating_sub(1);
        for (index, attempt) in slot.attempts.iter().enumerate() {
            facts.push(Fact::Started { tx: id, at: attempt.started_at });
            if let (Some(at), Some(error)) = (attempt.completed_at, &attempt.error)
                && (index < last || attempt.retry_at.is_some())
            {
                facts.push(Fact::Retried {
                    tx: id,
                    at,
                    error: error.clone(),
                    next_at: attempt.retry_at.unwrap_or(at),
                    counts: attempt.counted,
                });
            }
        }
        if slot.landed > 0 && !slot.is_done() {
            facts.push(Fact::Landed { tx: id, events: slot.landed });
        }
        let at = slot.attempts.last().and_then(|attempt| attempt.completed_at).unwrap_or(slot.updated_at);
        match slot.state {
            TransactionState::PersistedAwaitingSync => facts.push(Fact::Persisted { tx: id, at }),
            TransactionState::Completed => {
                facts.push(Fact::Persisted { tx: id, at });
                // Its rows stand in the row segments already.
                facts.push(Fact::Completed {
                    tx: id,
                    at: slot.updated_at,
                    confirmed: true,
                    warning: slot.warning.clone(),
                });
            }
            TransactionState::Failed => facts.push(Fact::Failed {
                tx: id,
                at: slot.updated_at,
                error: slot.error.clone().unwrap_or_default(),
                cause: slot.cause,
            }),
            TransactionState::Pending | TransactionState::Queued | TransactionState::Persisting => {}
        }
        facts
    }
}

/// The number of the transaction segment that holds a place in the order.
pub(super) fn transaction_segment(order: Order) -> u64 {
    order.0 / TRANSACTION_SEGMENT_RECORDS
}

/// The number of the row segment that holds a key: FNV-1a, the same in every tab and on every machine.
pub(super) fn bucket(key: &str) -> usize {
    key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
        as usize
        % ROW_SEGMENTS
}

fn row_segment(table: &str, number: usize) -> String {
    format!("r/{table}/{number:02}")
}
