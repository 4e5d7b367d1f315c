//! What the app commands: registering, writing, retrying, discarding, holding.

use std::rc::Rc;

use super::{
    Engine,
    collection::Registration,
    collection_id,
    journal::Open,
    remote_id,
    session::Session,
    transaction::{Change, Order, Slot, TxIx},
};
use crate::{
    Code, CollectionSpec, DraftKind, Error, MutationDraft, Output, RemoteSpec, Strategy, SyncUpdate,
    Timestamp, TransactionDraft, TxId, Value,
    output::TxEvent,
    record::{Fact, OrderKind},
    spec::{CollectionId, RemoteId},
    view::TransactionState,
};

impl<V: Value> Engine<V> {
    /// Connects a backend. Its session starts when a collection of it is registered and this tab leads it.
    ///
    /// # Errors
    /// `closed`; `already_registered` for the same id again.
    pub fn connect(&mut self, _now: Timestamp, spec: RemoteSpec) -> Result<RemoteId, Error> {
        self.check_open("connect")?;
        if self.sessions_by_name.contains_key(spec.id.as_str()) {
            return Err(Error::new(
                Code::AlreadyRegistered,
                format!(
                    "the backend {} is connected already, and that connection stands; use the Remote that connect() gave",
                    spec.id
                ),
            ));
        }
        let name: Rc<str> = spec.id.as_str().into();
        let line = self.line(&format!("r/{name}"), super::session::CONCURRENT_PUSHES);
        let index = self.sessions.len();
        self.lines[line].session = Some(index);
        let mut session = Session::new(name.clone(), spec, line);
        session.recall(self.known(&name));
        self.sessions.push(session);
        self.sessions_by_name.insert(name, index);
        Ok(remote_id(index))
    }

    /// Registers a collection. Rows and queued work that the journal has of it become its own.
    ///
    /// # Errors
    /// `closed`; `already_registered` if the id is taken; `not_found` for a remote that was not connected.
    pub fn register(&mut self, now: Timestamp, spec: CollectionSpec<V>) -> Result<CollectionId, Error> {
        self.check_open("collection")?;
        let index = self.collection_named(&spec.id.as_str().into());
        if self.collections[index].registered.is_some() {
            return Err(Error::new(
                Code::AlreadyRegistered,
                format!(
                    "a collection with the id {} is registered already, with another configuration; the first one stands. Make the configuration once, or take another id",
                    spec.id
                ),
            ));
        }
        let line = match &spec.remote {
            Some((remote, entity)) => {
                let Some(session) = self.sessions.get(remote.0 as usize) else {
                    return Err(Error::new(
                        Code::NotFound,
                        "the collection's remote is not connected to this database. Nothing was registered; make it with connect()",
                    ));
                };
                let line = session.line;
                let table: Rc<str> = format!("{}/{entity}", session.name).into();
                self.adopt(index, table);
                line
            }
            None => self.line(&format!("c/{}", spec.id), spec.concurrent_persists),
        };
        // What showed while nobody listened shows now.
        self.dirty.retain(|&(collection, ..)| collection != index);
        for row in 0..self.collections[index].rows.len() {
            let holder = self.collections[index].row_mut(row);
            holder.dirty = holder.visible.is_some();
            if holder.dirty {
                self.dirty.push((index, row, None));
            }
        }
        self.collections[index].registered = Some(Registration::new(spec, line));
        self.migrate_collection(index);
        let members = &mut self.lines[line].collections;
        members.push(index);
        if !self.lines[line].claimed {
            self.lines[line].claimed = true;
            let name = self.lines[line].name.to_string();
            self.outputs.push_back(Output::ClaimLease(name));
        }
        if self.journal.is_loaded() {
            self.tell_ready(index);
            if self.lines[line].leads() {
                self.mirror_doubtful(line);
                self.lead_collection(now, index);
                if let Some(session) = self.lines[line].session {
                    self.refill(now, session);
                }
                // The rows of a table are kept before anything is registered for it: it is as far as the remote is.
                if self.lines[line].session.is_some_and(|session| self.sessions[session].caught_up) {
                    let table = self.collections[index].table.clone();
                    self.decide(line, Fact::Synced { table });
                }
                self.consider_all(now);
                self.start_what_can(now);
            } else if self.lines[line].elsewhere {
                self.tell_synced_before(index);
            }
        }
        Ok(collection_id(index))
    }

    /// Writes: shows at once, and is committed with what else the turn writes.
    ///
    /// # Errors
    /// Nothing was written: `closed`, `storage_unavailable`, `invalid_key`, `too_large`, `duplicate_key`,
    /// `missing_key`, `mixed_persist`, `unknown_mutation`, `queue_full`.
    pub fn transact(&mut self, now: Timestamp, draft: TransactionDraft<V>) -> Result<TxId, Error> {
        self.check_open("transaction")?;
        if let Some(error) = self.journal.refusal() {
            return Err(error);
        }
        if self.unfinished.len() >= self.config.pending_max {
            let limit = self.config.pending_max as u64;
            return Err(Error::limit(
                Code::QueueFull,
                limit,
                limit + 1,
                format!(
                    "the queue is full: {limit} transactions wait to be sent, which is the most this database takes. They are kept, and nothing was written. Wait for the queue to drain, discard some, or raise maxPending"
                ),
            ));
        }
        let kind = self.check_draft(&draft)?;
        let mutations = self.merge_draft(draft.mutations)?;
        let id = self.random.tx_id(now);
        self.uncommitted_count += 1;
        let order = Order(Order::UNCOMMITTED, self.uncommitted_count);
        let empty = mutations.is_empty();
        let slot = Slot {
            id,
            order,
            kind,
            function: draft.function.map(Into::into),
            metadata: draft.metadata,
            behind: Vec::new(),
            mutations,
            created_at: now,
            updated_at: now,
            state: if empty { TransactionState::Completed } else { TransactionState::Pending },
            attempts: Vec::new(),
            spent: 0,
            not_before: None,
            op: None,
            error: None,
            cause: None,
            warning: None,
            deciding: false,
            persisting: false,
            completing: false,
            landed: 0,
        };
        if empty {
            // There is nothing to keep, to send or to wait for, so it takes no place in the journal.
            let tx = self.place(slot);
            for event in [TxEvent::Durable, TxEvent::Persisted, TxEvent::Completed] {
                self.tell(tx, event);
            }
            return Ok(id);
        }
        let tx = self.place(slot);
        self.overlay(tx);
        self.journal.open.push(Open::Transaction(tx));
        self.changed.insert(tx);
        Ok(id)
    }

    /// Makes a new transaction of one that failed, on today's rows.
    ///
    /// # Errors
    /// `not_found`; those of [`Engine::transact`]; `unexpected` for one that has not failed.
    pub fn retry(&mut self, now: Timestamp, id: TxId) -> Result<TxId, Error> {
        self.check_open("retry")?;
        let tx = self.find(id)?;
        let slot = self.tx(tx);
        if slot.state != TransactionState::Failed {
            return Err(Error::new(
                Code::Unexpected,
                format!(
                    "only a failed transaction can be retried, and {id} is {}. Nothing was written",
                    slot.state.as_str()
                ),
            ));
        }
        let draft = TransactionDraft {
            mutations: slot
                .mutations
                .iter()
                .map(|mutation| MutationDraft {
                    collection: collection_id(mutation.collection),
                    key: mutation.key.to_string(),
                    kind: match &mutation.kind {
                        Change::Insert(row) => DraftKind::Insert(row.clone()),
                        Change::Update { changes, .. } => DraftKind::Update(changes.clone()),
                        Change::Delete { .. } => DraftKind::Delete,
                    },
                    size_bytes: 0,
                })
                .collect(),
            strategy: Some(match &slot.kind {
                OrderKind::Object => Strategy::Ordered(crate::Scope::Object),
                OrderKind::Collection => Strategy::Ordered(crate::Scope::Collection),
                OrderKind::Parallel { merge } => Strategy::Parallel { merge: merge.clone() },
            }),
            function: slot.function.as_deref().map(str::to_owned),
            metadata: slot.metadata.clone(),
        };
        self.transact(now, draft)
    }

    /// Drops a transaction that failed or is not being sent, with those that wait on it.
    ///
    /// # Errors
    /// `closed`; `not_found`; `not_discardable` while it is being sent, or once the backend has it.
    pub fn discard(&mut self, _now: Timestamp, id: TxId) -> Result<(), Error> {
        self.check_open("discard")?;
        let tx = self.find(id)?;
        let slot = self.tx(tx);
        let sent = matches!(
            slot.state,
            TransactionState::Persisting
                | TransactionState::PersistedAwaitingSync
                | TransactionState::Completed
        );
        if sent || slot.deciding {
            return Err(Error::new(
                Code::NotDiscardable,
                format!(
                    "transaction {id} is {} and can't be discarded; it is kept. Wait until it has failed, or write what undoes it",
                    slot.state.as_str()
                ),
            ));
        }
        let mut dropped = if slot.is_done() { Vec::new() } else { self.dependents(tx) };
        dropped.insert(0, tx);
        // Newest first, so that rows go back the way they came.
        for &tx in dropped.iter().rev() {
            self.tx_mut(tx).deciding = true;
            let id = self.tx(tx).id;
            self.journal.open.push(Open::Fact(Fact::Discarded { tx: id }, None));
        }
        Ok(())
    }

    /// Drops finished transactions from the history, and says how many.
    ///
    /// # Errors
    /// `closed`.
    pub fn prune(
        &mut self,
        _now: Timestamp,
        older_than: Option<Timestamp>,
        states: &[TransactionState],
    ) -> Result<usize, Error> {
        self.check_open("prune")?;
        let pruned: Vec<TxId> = self
            .txs_by_order
            .values()
            .map(|&tx| self.tx(tx))
            .filter(|slot| {
                slot.is_done()
                    && slot.order.is_committed()
                    && states.contains(&slot.state)
                    && older_than.is_none_or(|limit| slot.updated_at < limit)
            })
            .map(|slot| slot.id)
            .collect();
        for &tx in &pruned {
            self.journal.open.push(Open::Fact(Fact::Pruned { tx }, None));
        }
        Ok(pruned.len())
    }

    /// Takes what a collection's own sync feed delivers. Only the leading tab runs the feed.
    pub fn sync_update(&mut self, _now: Timestamp, collection: CollectionId, update: SyncUpdate<V>) {
        let index = collection.0 as usize;
        let Some(holder) = self.collections.get(index) else { return };
        let Some(registration) = &holder.registered else { return };
        let (line, table) = (registration.line, holder.table.clone());
        if !self.lines[line].leads() || self.closed {
            return;
        }
        let keyed = |writes: Vec<(String, Option<V>)>| {
            writes.into_iter().map(|(key, value)| (Rc::from(key), value)).collect::<Vec<_>>()
        };
        match update {
            SyncUpdate::Delta(writes) => self.decide(line, Fact::Rows { table, writes: keyed(writes) }),
            SyncUpdate::Full(rows) => {
                self.decide(line, Fact::Reset { table: table.clone() });
                let writes = keyed(rows.into_iter().map(|(key, row)| (key, Some(row))).collect());
                self.decide(line, Fact::Rows { table: table.clone(), writes });
                self.decide(line, Fact::Synced { table });
            }
        }
    }

    /// Holds everything that would be sent; what is in flight goes on.
    pub fn pause(&mut self, now: Timestamp, reason: &str) {
        self.paused = Some((reason.to_owned(), now));
        self.status_changed = true;
    }

    /// Releases every hold: the pause, and lines that wait for credentials.
    pub fn resume(&mut self, now: Timestamp) {
        self.paused = None;
        for line in 0..self.lines.len() {
            self.lines[line].auth_since = None;
            self.lines[line].resumed_at = self.next_op;
            self.lines[line].not_before = None;
            self.stirred.insert(line);
        }
        for session in 0..self.sessions.len() {
            self.sessions[session].auth_failed_once = false;
            self.set_remote_state(session);
            self.want_pull(now, session, true);
        }
        self.status_changed = true;
        self.start_what_can(now);
    }

    /// Asks a remote for what is new, now. Where another tab leads, that is its affair.
    ///
    /// # Errors
    /// `closed`; `not_found` for a remote that is not connected.
    pub fn pull_now(&mut self, now: Timestamp, remote: RemoteId) -> Result<(), Error> {
        self.check_open("ping")?;
        if self.sessions.get(remote.0 as usize).is_none() {
            return Err(Error::new(Code::NotFound, "the remote is not connected to this database"));
        }
        self.want_pull(now, remote.0 as usize, true);
        Ok(())
    }

    /// Closes: every later command is refused with `closed`, leases and channels are given back, and what
    /// is not committed yet is committed with the next [`crate::Input::TurnEnded`].
    pub fn close(&mut self, _now: Timestamp) {
        if self.closed {
            return;
        }
        self.closed = true;
        for index in 0..self.sessions.len() {
            if self.sessions[index].live.is_wanted() {
                self.outputs.push_back(Output::CloseLive(remote_id(index)));
            }
        }
        for line in &self.lines {
            if line.claimed {
                self.outputs.push_back(Output::ReleaseLease(line.name.to_string()));
            }
        }
        self.timers.clear();
    }

    pub(super) fn check_open(&self, call: &str) -> Result<(), Error> {
        if self.closed {
            return Err(Error::new(
                Code::Closed,
                format!(
                    "{call}() was called on a closed database; what was written before is kept. Open it again with openDriftline()"
                ),
            ));
        }
        Ok(())
    }

    fn find(&self, id: TxId) -> Result<TxIx, Error> {
        self.txs_by_id
            .get(&id)
            .copied()
            .ok_or_else(|| Error::new(Code::NotFound, format!("there is no transaction {id}; nothing was changed. It may be discarded or pruned: list() has those that are kept")))
    }
}
