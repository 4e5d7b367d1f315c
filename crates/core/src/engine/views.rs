//! What the app sees, made when asked for.

use super::{Engine, transaction::TxIx};
use crate::{
    TxId, Value,
    spec::{CollectionId, RemoteId},
    view::{OldestWaiting, PausedView, RemoteView, StatusView, TransactionState, TransactionView},
};

impl<V: Value> Engine<V> {
    /// What shows of a row. A key that was given up leads to the one that replaced it.
    #[must_use]
    pub fn row(&self, collection: CollectionId, key: &str) -> Option<&V> {
        let holder = self.collections.get(collection.0 as usize)?;
        match holder.aliases.get(key) {
            Some(&row) => holder.row(row).visible.as_ref(),
            None => holder.rows.get(key)?.visible.as_ref(),
        }
    }

    /// All rows that show, in the order in which their keys first came.
    pub fn rows(&self, collection: CollectionId) -> impl Iterator<Item = (&str, &V)> {
        self.collections.get(collection.0 as usize).into_iter().flat_map(|holder| {
            holder.rows.iter().filter_map(|(key, row)| Some((&**key, row.visible.as_ref()?)))
        })
    }

    /// All rows as sync delivered them, held updates included.
    pub fn synced_rows(&self, collection: CollectionId) -> impl Iterator<Item = (&str, &V)> {
        self.collections.get(collection.0 as usize).into_iter().flat_map(|holder| {
            holder.rows.iter().filter_map(|(key, row)| Some((&**key, row.synced.as_ref()?)))
        })
    }

    /// How many rows show.
    #[must_use]
    pub fn row_count(&self, collection: CollectionId) -> usize {
        self.collections.get(collection.0 as usize).map_or(0, |holder| holder.visible_count)
    }

    /// A transaction as it stands; `None` if it never was or is discarded.
    #[must_use]
    pub fn transaction(&self, id: TxId) -> Option<TransactionView<V>> {
        let &tx = self.txs_by_id.get(&id)?;
        let slot = self.tx(tx);
        let waits = matches!(slot.state, TransactionState::Pending | TransactionState::Queued);
        let queued_behind = if waits { self.predecessor(tx).map(|other| self.tx(other).id) } else { None };
        Some(slot.view(queued_behind, |collection| self.collections[collection].name.clone()))
    }

    /// All transactions, in order: finished ones too, until they are pruned or discarded.
    #[must_use]
    pub fn transactions(&self) -> Vec<TxId> {
        self.txs_by_order.values().map(|&tx| self.tx(tx).id).collect()
    }

    /// The objects that a started transaction locks, as `<collection>/<key>`.
    #[must_use]
    pub fn locked_objects(&self) -> Vec<String> {
        let mut locked = Vec::new();
        for &tx in self.unfinished.values() {
            for mutation in &self.tx(tx).mutations {
                let holder = &self.collections[mutation.collection];
                if holder.row(mutation.row).locked_by == Some(tx) {
                    locked.push(format!("{}/{}", holder.name, mutation.key));
                }
            }
        }
        locked
    }

    /// What stands and why.
    #[must_use]
    pub fn status(&self) -> StatusView {
        let oldest = self.unfinished.first_key_value().map(|(_, &tx)| {
            let slot = self.tx(tx);
            OldestWaiting { since: slot.created_at, transaction: slot.id, why: self.why_waiting(tx) }
        });
        let paused = self
            .paused
            .as_ref()
            .map(|(reason, since)| PausedView { reason: reason.clone(), since: *since, of: None })
            .or_else(|| {
                self.lines.iter().find_map(|line| {
                    line.auth_since.map(|since| PausedView {
                        reason: "auth".into(),
                        since,
                        of: Some(line.name.split_once('/').map_or(&*line.name, |(_, of)| of).to_owned()),
                    })
                })
            });
        StatusView {
            pending: self.unfinished.len(),
            failed: self.failed_count,
            oldest_waiting: oldest,
            leader: self
                .collections
                .iter()
                .enumerate()
                .filter_map(|(index, holder)| {
                    Some((super::collection_id(index), self.lines[holder.registered.as_ref()?.line].leads()))
                })
                .collect(),
            paused,
            last_error: self.last_error.clone(),
        }
    }

    /// A remote's session as it stands.
    #[must_use]
    pub fn remote(&self, remote: RemoteId) -> Option<RemoteView> {
        let session = self.sessions.get(remote.0 as usize)?;
        let line = &self.lines[session.line];
        let pending = self.unfinished.values().filter(|&&tx| self.is_on_line(tx, session.line)).count();
        Some(RemoteView {
            state: session.state(),
            cursor: session.cursor,
            pending,
            last_error: session.last_error.clone(),
            connected: session.connected,
            leads: line.leads(),
        })
    }

    /// Whether a line sends it. All collections of a transaction with a remote share the remote's line.
    fn is_on_line(&self, tx: TxIx, line: usize) -> bool {
        self.tx(tx).mutations.first().is_some_and(|mutation| {
            self.collections[mutation.collection]
                .registered
                .as_ref()
                .is_some_and(|registration| registration.line == line)
        })
    }

    fn why_waiting(&self, tx: TxIx) -> String {
        let slot = self.tx(tx);
        if !slot.order.is_committed() {
            return "it is being written to the journal".into();
        }
        if let Some(other) = self.predecessor(tx) {
            return format!("it is queued behind transaction {}", self.tx(other).id);
        }
        match slot.state {
            TransactionState::Persisting => return "it is being sent".into(),
            TransactionState::PersistedAwaitingSync => {
                return "it was sent and waits for its rows to come back".into();
            }
            _ => {}
        }
        let lines = self.tx_lines(tx);
        if lines.is_empty() || !self.is_understood(tx) {
            return self.why_not_understood(tx);
        }
        if let Some((reason, _)) = &self.paused {
            return format!("sending is paused: {reason}");
        }
        for line in lines {
            let line = &self.lines[line];
            if line.auth_since.is_some() {
                return "the backend asks for credentials; call resume() once they are there".into();
            }
            if line.not_before.is_some()
                || line.session.is_some_and(|session| {
                    self.sessions[session].state() == crate::view::RemoteState::Offline
                })
            {
                return "the backend can't be reached".into();
            }
            if !line.leads() {
                return "another tab sends for this collection".into();
            }
        }
        match (slot.not_before, slot.attempts.last().and_then(|attempt| attempt.error.as_ref())) {
            (Some(_), Some(error)) => {
                format!(
                    "its last attempt failed ({}); it is tried again",
                    error.message.trim_end_matches('.')
                )
            }
            (Some(_), None) => "it waits for its next attempt".into(),
            (None, _) => "it is next to be sent".into(),
        }
    }

    /// What this tab lacks to send it.
    fn why_not_understood(&self, tx: TxIx) -> String {
        let slot = self.tx(tx);
        for mutation in &slot.mutations {
            let holder = &self.collections[mutation.collection];
            match &holder.registered {
                None => return format!("the collection {} is not registered in this tab", holder.name),
                Some(registration) if mutation.version > registration.version => {
                    return format!(
                        "it was written by version {} of the collection {}, and this tab has version {}",
                        mutation.version, holder.name, registration.version
                    );
                }
                Some(_) => {}
            }
        }
        let function = slot.function.as_deref().unwrap_or_default();
        format!("this tab does not know the mutation function {function}")
    }
}
