//! What the app hands in to be written, before anything changes: checked, and changes to one object merged.

use std::collections::BTreeSet;

use super::{
    Engine,
    collection::Registration,
    transaction::{Change, Mutation},
};
use crate::{
    Code, DraftKind, Error, MutationDraft, Strategy, TransactionDraft, Value,
    record::OrderKind,
    spec::{KEY_MAX_BYTES, MUTATION_MAX_BYTES},
};

impl<V: Value> Engine<V> {
    /// Checks what does not depend on the rows, and says how the transaction is ordered.
    pub(super) fn check_draft(&self, draft: &TransactionDraft<V>) -> Result<OrderKind, Error> {
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        let mut first: Option<&Registration<V>> = None;
        for mutation in &draft.mutations {
            let length = mutation.key.len();
            if length == 0 || length > KEY_MAX_BYTES {
                return Err(Error::limit(
                    Code::InvalidKey,
                    KEY_MAX_BYTES as u64,
                    length as u64,
                    format!(
                        "a row's key is a non-empty string of at most {KEY_MAX_BYTES} bytes; this one has {length}. Nothing was written"
                    ),
                ));
            }
            let Some(registration) = self
                .collections
                .get(mutation.collection.0 as usize)
                .and_then(|holder| holder.registered.as_ref())
            else {
                return Err(Error::new(
                    Code::NotFound,
                    "the collection is not registered with this database. Nothing was written; use the one that db.collection() gave",
                ));
            };
            let limit = registration.remote.as_ref().map_or(MUTATION_MAX_BYTES, |(remote, _)| {
                self.sessions[remote.0 as usize].mutation_max_bytes().min(MUTATION_MAX_BYTES)
            });
            if mutation.size_bytes > limit {
                let size = mutation.size_bytes;
                return Err(Error::limit(
                    Code::TooLarge,
                    limit,
                    size,
                    format!(
                        "this change to {} takes about {size} bytes, and at most {limit} can be stored and sent. Nothing was written; large content belongs in files",
                        mutation.key
                    ),
                ));
            }
            if seen.insert(mutation.collection.0 as usize) {
                if let Some(name) = &draft.function
                    && !registration.functions.contains(name)
                {
                    return Err(Error::new(
                        Code::UnknownMutation,
                        format!(
                            "no mutation function is called {name}; name it in the collection's mutationFns. Nothing was written"
                        ),
                    ));
                }
                match first {
                    None => first = Some(registration),
                    Some(first) => {
                        let together = draft.function.is_some()
                            || match (&first.remote, &registration.remote) {
                                (Some((one, _)), Some((other, _))) => one == other,
                                (None, None) => first.persist == registration.persist,
                                _ => false,
                            };
                        if !together {
                            return Err(Error::new(
                                Code::MixedPersist,
                                "a transaction over several collections needs one persist function or one remote for all of them, or the name of a mutation function. Nothing was written",
                            ));
                        }
                    }
                }
            }
        }
        if let Some((remote, _)) = first.and_then(|registration| registration.remote.as_ref()) {
            let limit = self.sessions[remote.0 as usize].mutations_max();
            if draft.mutations.len() > limit {
                return Err(Error::limit(
                    Code::TooLarge,
                    limit as u64,
                    draft.mutations.len() as u64,
                    format!(
                        "a transaction of {} changes is more than this backend takes in one push ({limit}). Nothing was written",
                        draft.mutations.len()
                    ),
                ));
            }
        }
        let strategy = draft.strategy.as_ref().or(first.map(|registration| &registration.strategy));
        Ok(match strategy {
            None => OrderKind::Object,
            Some(Strategy::Ordered(scope)) => (*scope).into(),
            Some(Strategy::Parallel { merge }) => {
                if let Some(name) = merge
                    && first.is_some_and(|registration| registration.merge(name).is_none())
                {
                    return Err(Error::new(
                        Code::UnknownMutation,
                        format!(
                            "no merge is called {name}; name it in the collection's merges. Nothing was written"
                        ),
                    ));
                }
                OrderKind::Parallel { merge: merge.clone() }
            }
        })
    }

    /// Checks the changes against what shows, and merges those on one object into one.
    pub(super) fn merge_draft(&mut self, drafts: Vec<MutationDraft<V>>) -> Result<Vec<Mutation<V>>, Error> {
        let mut merged: Vec<Mutation<V>> = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let collection = draft.collection.0 as usize;
            let holder = &mut self.collections[collection];
            let row = holder.row_ix(&draft.key);
            let key = holder.key(row).clone();
            let earlier =
                merged.iter().position(|mutation| mutation.collection == collection && mutation.row == row);
            let before = match earlier {
                Some(at) => merged[at].modified.clone(),
                None => holder.row(row).visible.clone(),
            };
            let name = holder.name.clone();
            let version = holder.registered.as_ref().map_or(1, |registration| registration.version);
            // Until the journal is read, what is there is not known: the check comes then.
            let known = self.journal.is_loaded();
            let missing = || {
                Error::new(
                    Code::MissingKey,
                    format!(
                        "the collection {name} has no row with the key {key}. Nothing was written; insert it first"
                    ),
                )
            };
            let (kind, modified) = match draft.kind {
                DraftKind::Insert(inserted) => {
                    if before.is_some() {
                        return Err(Error::new(
                            Code::DuplicateKey,
                            format!(
                                "the collection {name} has a row with the key {key} already. Nothing was written; update it, or insert under another key"
                            ),
                        ));
                    }
                    (Change::Insert(inserted.clone()), Some(inserted))
                }
                DraftKind::Update(changes) => {
                    if before.is_none() && known {
                        return Err(missing());
                    }
                    let modified =
                        before.as_ref().map_or_else(|| changes.clone(), |before| before.merge(&changes));
                    (Change::Update { original: before, changes }, Some(modified))
                }
                DraftKind::Delete => {
                    if before.is_none() && known {
                        return Err(missing());
                    }
                    (Change::Delete { original: before }, None)
                }
            };
            let mutation = Mutation { collection, row, key, version, kind, modified };
            match earlier {
                None => merged.push(mutation),
                Some(at) => match combine(&merged[at], mutation) {
                    Some(combined) => merged[at] = combined,
                    None => {
                        merged.remove(at);
                    }
                },
            }
        }
        Ok(merged)
    }
}

/// Two changes of one transaction to one object, as one; `None`: they cancel out.
fn combine<V: Value>(earlier: &Mutation<V>, later: Mutation<V>) -> Option<Mutation<V>> {
    let kind = match (&earlier.kind, later.kind) {
        (Change::Insert(_), Change::Delete { .. }) => return None,
        (Change::Insert(_), Change::Insert(row)) => Change::Insert(row),
        (Change::Insert(_), Change::Update { .. }) => {
            Change::Insert(later.modified.clone().expect("an update has a modified row"))
        }
        (Change::Update { original, .. }, Change::Delete { .. }) => {
            Change::Delete { original: original.clone() }
        }
        (Change::Update { original, changes }, Change::Update { changes: more, .. }) => {
            Change::Update { original: original.clone(), changes: changes.merge_changes(&more) }
        }
        (Change::Delete { original }, Change::Insert(row)) => {
            let changes = original.as_ref().map_or_else(|| row.clone(), |original| original.changes_to(&row));
            Change::Update { original: original.clone(), changes }
        }
        (Change::Update { original, .. } | Change::Delete { original }, kind) => match kind {
            Change::Insert(row) => Change::Insert(row),
            _ => Change::Delete { original: original.clone() },
        },
    };
    Some(Mutation { kind, ..later })
}
