//! The sync engine: applies mutations once, keeps the log, answers pulls and snapshots.
//!
//! Synchronous and without a clock of its own: each call that writes takes the time. A program links it with its own
//! [`Mutator`]; the simulator drives it over a [`MemoryStorage`].
//!
//! ```
//! use std::time::SystemTime;
//! use driftline_protocol::mizu::{PullRequest, PushRequest};
//! use driftline_server::engine::{Engine, EntityMutator, MemoryStorage};
//!
//! let engine = Engine::new(MemoryStorage::new(), EntityMutator::new());
//! let push = r#"{"mutations":[{"id":"m1","scope":"s","name":"todo.create","args":{"id":"t1","title":"one"}}]}"#;
//! let push: PushRequest = serde_json::from_str(push)?;
//! assert!(engine.push(SystemTime::UNIX_EPOCH, &push)?.results[0].ok);
//! let page = engine.pull(&PullRequest { scope: "s".into(), ..PullRequest::default() })?;
//! assert_eq!(page.next_cursor, Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod broker;
mod draft;
mod memory;
mod mutator;
mod sqlite;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use driftline_protocol::mizu::{
    self, Change, Mutation, MutationResult, PullRequest, PullResponse, PushRequest, PushResponse, Rows,
    SnapshotRequest, SnapshotResponse, failure,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use broker::{LocalPokes, MAX_LISTENERS, NoPokes, PokeBroker};
pub use draft::Draft;
pub use memory::MemoryStorage;
pub use mutator::{EntityMutator, MAX_ROW_BYTES, MAX_ROW_ID_BYTES, Mutator, Refusal};
pub use sqlite::SqliteStorage;
pub use storage::{
    ChangeLog, LogReader, Page, ReadView, Receipts, RowReader, RowVisitor, Storage, Store, WriteTx,
};

use crate::error::{Error, ErrorKind, Result};

/// Applies mutations to a [`Storage`] through a [`Mutator`], and pokes listeners through a [`PokeBroker`].
pub struct Engine {
    storage: Box<dyn Storage>,
    mutator: Box<dyn Mutator>,
    broker: Arc<dyn PokeBroker>,
    scopes: Option<BTreeSet<String>>,
}

impl Engine {
    /// An engine that serves every scope and pokes nobody.
    pub fn new(storage: impl Storage, mutator: impl Mutator) -> Self {
        Self {
            storage: Box::new(storage),
            mutator: Box::new(mutator),
            broker: Arc::new(NoPokes),
            scopes: None,
        }
    }

    /// The same engine, which pokes through `broker`.
    pub fn with_broker(mut self, broker: Arc<dyn PokeBroker>) -> Self {
        self.broker = broker;
        self
    }

    /// The same engine, which serves these scopes only.
    pub fn with_scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Applies a push's mutations in order, in one durable transaction; each succeeds or fails by itself.
    ///
    /// A mutation whose id has been applied in its scope before succeeds again without a change. One that failed is not
    /// remembered.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] and [`ErrorKind::ScopeNotAllowed`] before anything is applied; storage failures, after
    /// which nothing of the push is.
    pub fn push(&self, now: SystemTime, push: &PushRequest) -> Result<PushResponse> {
        self.push_group(now, &[push]).pop().expect("one result for each push")
    }

    /// Applies several clients' pushes in order, as [`Engine::push`] does, with one commit for all of them. Gives a
    /// result for each.
    pub fn push_group(&self, now: SystemTime, group: &[&PushRequest]) -> Vec<Result<PushResponse>> {
        let mut results: Vec<_> = group.iter().map(|push| self.check_push(push)).collect();
        let valid: Vec<&PushRequest> = group
            .iter()
            .zip(&results)
            .filter(|(_, checked)| checked.is_ok())
            .map(|(push, _)| *push)
            .collect();
        let mut applied = match self.apply_all(now, &valid) {
            Ok(responses) => responses.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => {
                tracing::error!(%error, cause = ?std::error::Error::source(&error), "push");
                valid.iter().map(|_| Err(Error::new(error.kind(), error.message()))).collect()
            }
        }
        .into_iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = applied.next().expect("one response for each valid push");
        }
        results
    }

    /// Reads the changes after a cursor.
    ///
    /// A cursor past the head gives nothing, and cursor 0 gives what the log still has even after a trim: the wire is
    /// like that, so a client begins with a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::CursorTooOld`] if changes after the cursor may have been trimmed; [`ErrorKind::Invalid`],
    /// [`ErrorKind::ScopeNotAllowed`], storage failures.
    pub fn pull(&self, pull: &PullRequest) -> Result<PullResponse> {
        let scope = pull.scope();
        self.check_scope(scope)?;
        let view = self.storage.read()?;
        if pull.cursor > 0 && pull.cursor < view.floor(scope)? {
            return Err(Error::new(ErrorKind::CursorTooOld, "sync: cursor too old"));
        }
        let page = view.since(scope, pull.cursor, pull.page_changes(), MAX_PULL_BYTES)?;
        Ok(PullResponse {
            next_cursor: page.changes.last().map(|change| change.cursor),
            changes: (!page.changes.is_empty()).then_some(page.changes),
            has_more: page.has_more,
        })
    }

    /// Reads all rows of a scope, with the cursor to pull from next.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if the rows have more than [`MAX_SNAPSHOT_BYTES`]; [`ErrorKind::Invalid`],
    /// [`ErrorKind::ScopeNotAllowed`], storage failures.
    pub fn snapshot(&self, snapshot: &SnapshotRequest) -> Result<SnapshotResponse> {
        let scope = snapshot.scope();
        self.check_scope(scope)?;
        let mut data: BTreeMap<String, Option<Rows>> =
            self.mutator.entities().iter().map(|entity| (format!("{entity}s"), None)).collect();
        let view = self.storage.read()?;
        let mut bytes = 0;
        view.for_each_row(scope, &mut |entity, id, row| {
            bytes += entity.len() + id.len() + row.get().len();
            if bytes > MAX_SNAPSHOT_BYTES {
                let text = format!(
                    "the scope's rows have more than {MAX_SNAPSHOT_BYTES} bytes, the limit of a snapshot"
                );
                return Err(Error::new(ErrorKind::TooLarge, text).with_limit(MAX_SNAPSHOT_BYTES as u64, None));
            }
            data.entry(format!("{entity}s")).or_default().get_or_insert_default().insert(id.to_owned(), row);
            Ok(())
        })?;
        Ok(SnapshotResponse { data, cursor: view.head(scope)? })
    }

    /// Cursor of the scope's last change; 0 if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::ScopeNotAllowed`], storage failures.
    pub fn head(&self, scope: &str) -> Result<u64> {
        self.check_scope(scope)?;
        self.storage.read()?.head(scope)
    }

    /// Whether storage can be read.
    ///
    /// # Errors
    /// If it can't.
    pub fn check(&self) -> Result<()> {
        self.storage.read()?.head(mizu::DEFAULT_SCOPE).map(drop)
    }

    /// Removes the scope's changes with a cursor lower than `before` from the log, and says how many those were. Rows
    /// and receipts stay; a client whose cursor is lower has to begin with a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::ScopeNotAllowed`], storage failures.
    pub fn trim(&self, scope: &str, before: u64) -> Result<u64> {
        self.check_scope(scope)?;
        let mut tx = self.storage.write()?;
        let removed = tx.trim(scope, before)?;
        tx.commit()?;
        Ok(removed)
    }

    fn check_push(&self, push: &PushRequest) -> Result<PushResponse> {
        let count = push.mutations.len();
        if count == 0 {
            return Err(Error::new(ErrorKind::Invalid, "no mutations provided"));
        }
        if count > mizu::MAX_PUSH_MUTATIONS {
            return Err(Error::new(ErrorKind::Invalid, "too many mutations in batch"));
        }
        push.mutations.iter().try_for_each(|mutation| self.check_scope(mutation.scope()))?;
        Ok(PushResponse { results: Vec::with_capacity(count) })
    }

    fn check_scope(&self, scope: &str) -> Result<()> {
        if scope.len() > mizu::MAX_SCOPE_BYTES {
            let text = format!("scope has {} bytes, the limit is {}", scope.len(), mizu::MAX_SCOPE_BYTES);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        match &self.scopes {
            Some(scopes) if !scopes.contains(scope) => {
                Err(Error::new(ErrorKind::ScopeNotAllowed, "scope not allowed"))
            }
            _ => Ok(()),
        }
    }

    fn apply_all(&self, now: SystemTime, group: &[&PushRequest]) -> Result<Vec<PushResponse>> {
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let time = OffsetDateTime::from(now)
            .format(&Rfc3339)
            .map_err(|error| Error::storage("telling the time", error))?;
        let mut pokes = BTreeMap::new();
        let mut tx = self.storage.write()?;
        let mut responses = Vec::with_capacity(group.len());
        for push in group {
            let mut results = Vec::with_capacity(push.mutations.len());
            for mutation in &push.mutations {
                let result = self.apply(&mut *tx, &time, mutation)?;
                if let (false, Some(cursor)) = (result.changes.is_empty(), result.cursor) {
                    pokes.insert(mutation.scope().to_owned(), cursor);
                }
                results.push(result);
            }
            responses.push(PushResponse { results });
        }
        tx.commit()?;
        pokes.iter().for_each(|(scope, cursor)| self.broker.poke(scope, *cursor));
        Ok(responses)
    }

    fn apply(&self, tx: &mut dyn WriteTx, time: &str, mutation: &Mutation) -> Result<MutationResult> {
        let scope = mutation.scope();
        if let Some(refusal) = check_mutation(mutation) {
            return Ok(MutationResult::refused(refusal.to_wire()));
        }
        if !mutation.id.is_empty() && tx.is_applied(scope, &mutation.id)? {
            return Ok(MutationResult::applied(tx.head(scope)?, Vec::new()));
        }
        let mut draft = Draft::new(&*tx, scope);
        // An app's mutator that panics fails its own mutation: the draft is dropped, storage has seen nothing of it.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.mutator.apply(&mut draft, mutation)));
        let data = match outcome {
            Ok(Ok(data)) => data,
            Ok(Err(Refusal::Storage(error))) => return Err(error),
            Ok(Err(refusal)) => return Ok(MutationResult::refused(refusal.to_wire())),
            Err(_) => return Ok(MutationResult::refused(failure::INTERNAL)),
        };
        draft.into_writes().write_to(tx, scope)?;
        let mut changes = Vec::with_capacity(data.len());
        for data in data {
            let cursor = tx.append(scope, time, &data)?;
            changes.push(Change { cursor, scope: scope.to_owned(), time: time.to_owned(), data });
        }
        let head = tx.head(scope)?;
        if !mutation.id.is_empty() {
            tx.remember(scope, &mutation.id, head)?;
        }
        Ok(MutationResult::applied(head, changes))
    }
}

/// What is wrong with a mutation whatever the mutator; only the mutation fails, not those beside it.
fn check_mutation(mutation: &Mutation) -> Option<Refusal> {
    let limits = [
        ("id", mutation.id.len(), mizu::MAX_MUTATION_ID_BYTES),
        ("name", mutation.name.len(), mizu::MAX_MUTATION_NAME_BYTES),
    ];
    let (what, bytes, limit) = limits.into_iter().find(|(_, bytes, limit)| bytes > limit)?;
    Some(Refusal::Invalid(format!("{what} has {bytes} bytes, the limit is {limit}")))
}

/// Bytes of the changes in a pull's answer, at most, unless one change alone has more.
pub const MAX_PULL_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the rows in a snapshot, at most.
pub const MAX_SNAPSHOT_BYTES: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests;
