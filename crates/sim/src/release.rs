//! The simulated app, as a release of it registers its collections.

use std::rc::Rc;

use driftline_core::{
    CollectionSpec, RetryPolicy, Scope, StoredMutation, Strategy,
    spec::{MergeFn, MigrateFn, RemoteId},
    view::{MutationKind, PendingMutationView},
};
use serde_json::Value;

use crate::{
    reference::Effect,
    tab::{COLLECTIONS, ENTITIES, MIRRORED},
};

/// The newest release.
pub(crate) const NEWEST: u32 = 3;
/// The one merge that the collections name.
pub(crate) const MERGE: &str = "stack";
/// The one function that transactions may name.
pub(crate) const FUNCTION: &str = "save";
/// What the merge adds to a row that shows.
pub(crate) const MERGED_FIELD: &str = "merged";
/// What a migration adds to a row and to its changes begins with this.
pub(crate) const MIGRATED_FIELD: &str = "since";

/// How everything is retried.
pub(crate) fn retry() -> RetryPolicy {
    RetryPolicy { retries: 4, base_delay_ms: 500, max_delay_ms: 20_000, jitter: true }
}

/// A collection, by its place in [`COLLECTIONS`].
pub(crate) fn collection(index: usize, remote: RemoteId, release: u32) -> CollectionSpec<Value> {
    let name = COLLECTIONS[index];
    let entity = ENTITIES.iter().find(|(collection, _)| *collection == name);
    let merge: MergeFn<Value> = Rc::new(stack);
    let migrate: MigrateFn<Value> = Rc::new(move |stored, from| migrate(stored, from, release));
    CollectionSpec {
        id: name.into(),
        remote: entity.map(|(_, entity)| (remote, (*entity).into())),
        persist: match name {
            "notes" | "tags" => Some(1),
            "likes" => Some(2),
            _ => None,
        },
        has_sync: entity.is_none(),
        has_await_sync: matches!(name, "notes" | "likes"),
        functions: vec![FUNCTION.into()],
        merges: vec![(MERGE.into(), merge)],
        strategy: match name {
            "tags" => Strategy::Ordered(Scope::Collection),
            "likes" => Strategy::Parallel { merge: None },
            _ => Strategy::Ordered(Scope::Object),
        },
        retry: retry(),
        concurrent_persists: 3,
        version: release,
        migrate: (release > 1).then_some(migrate),
        key_field: Some("id".into()),
        mirror: name == MIRRORED,
        mapping: None,
    }
}

/// What shows of a row with parallel changes pending: they are laid over it, and counted.
fn stack(synced: Option<&Value>, pending: &[PendingMutationView<Value>]) -> Option<Value> {
    let mut row = synced.cloned();
    for mutation in pending {
        let changes = mutation.changes.clone().unwrap_or_default();
        let effect = match mutation.kind {
            MutationKind::Insert => Effect::Insert(changes),
            MutationKind::Update => Effect::Update(changes),
            MutationKind::Delete => Effect::Delete,
        };
        row = effect.applied(row);
    }
    let mut row = row?;
    row[MERGED_FIELD] = pending.len().into();
    Some(row)
}

/// A queued change, as today's release makes it; one in so many can't be.
fn migrate(mut stored: StoredMutation<Value>, from: u32, release: u32) -> Option<StoredMutation<Value>> {
    let number = stored.changes.as_ref().and_then(|changes| changes["n"].as_u64()).unwrap_or_default();
    if number % UNFIT_EVERY == 1 {
        return None;
    }
    for row in [&mut stored.changes, &mut stored.modified].into_iter().flatten() {
        row[format!("{MIGRATED_FIELD}{from}")] = release.into();
    }
    Some(stored)
}

/// A migration refuses one change in so many.
const UNFIT_EVERY: u64 = 7;
