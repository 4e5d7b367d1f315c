//! Rows, log and receipts in memory: for tests, for the simulator, and for a server that may forget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use driftline_protocol::RawValue;
use driftline_protocol::mizu::Change;

use super::storage::{
    ChangeLog, LogReader, Page, ReadView, Receipts, RowReader, RowVisitor, Storage, Store, WriteTx,
};
use crate::error::Result;

/// A [`Storage`] in memory. One reader or writer at a time.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Storage for MemoryStorage {
    fn read(&self) -> Result<Box<dyn ReadView + '_>> {
        Ok(Box::new(View { state: self.lock() }))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>> {
        Ok(Box::new(Tx { state: self.lock(), undo: Vec::new() }))
    }
}

impl MemoryStorage {
    /// A panic elsewhere can't leave the state torn: an open transaction is undone as it is dropped.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    cursor: u64,
    scopes: BTreeMap<String, ScopeState>,
}

#[derive(Debug, Default)]
struct ScopeState {
    rows: BTreeMap<(String, String), Box<RawValue>>,
    log: BTreeMap<u64, Change>,
    head: u64,
    floor: u64,
    applied: BTreeSet<String>,
}

/// What takes one write back.
enum Undo {
    Row { scope: String, key: (String, String), before: Option<Box<RawValue>> },
    Append { scope: String, cursor: u64, head_before: u64 },
    Trim { scope: String, floor_before: u64, removed: BTreeMap<u64, Change> },
    Remember { scope: String, id: String },
}

struct View<'a> {
    state: MutexGuard<'a, State>,
}

impl ReadView for View<'_> {}

struct Tx<'a> {
    state: MutexGuard<'a, State>,
    undo: Vec<Undo>,
}

impl WriteTx for Tx<'_> {
    fn commit(mut self: Box<Self>) -> Result<()> {
        self.undo.clear();
        Ok(())
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        while let Some(step) = self.undo.pop() {
            self.state.take_back(step);
        }
    }
}

impl State {
    fn scope(&mut self, scope: &str) -> &mut ScopeState {
        self.scopes.entry(scope.to_owned()).or_default()
    }

    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Row { scope, key, before: Some(row) } => drop(self.scope(&scope).rows.insert(key, row)),
            Undo::Row { scope, key, before: None } => drop(self.scope(&scope).rows.remove(&key)),
            Undo::Append { scope, cursor, head_before } => {
                self.cursor = cursor - 1;
                let scope = self.scope(&scope);
                scope.log.remove(&cursor);
                scope.head = head_before;
            }
            Undo::Trim { scope, floor_before, mut removed } => {
                let scope = self.scope(&scope);
                scope.floor = floor_before;
                scope.log.append(&mut removed);
            }
            Undo::Remember { scope, id } => drop(self.scope(&scope).applied.remove(&id)),
        }
    }

    fn row(&self, scope: &str, entity: &str, id: &str) -> Option<Box<RawValue>> {
        self.scopes.get(scope)?.rows.get(&(entity.to_owned(), id.to_owned())).cloned()
    }

    fn for_each_row(&self, scope: &str, visit: &mut RowVisitor<'_>) -> Result<()> {
        let Some(scope) = self.scopes.get(scope) else { return Ok(()) };
        scope.rows.iter().try_for_each(|((entity, id), row)| visit(entity, id, row.clone()))
    }

    fn since(&self, scope: &str, after: u64, limit: u32, bytes: usize) -> Page {
        let mut page = Page { changes: Vec::new(), has_more: false };
        let (Some(scope), Some(first)) = (self.scopes.get(scope), after.checked_add(1)) else { return page };
        let mut used = 0;
        for change in scope.log.range(first..).map(|(_, change)| change) {
            used += change.data.get().len();
            if page.changes.len() >= limit as usize || (used > bytes && !page.changes.is_empty()) {
                page.has_more = true;
                break;
            }
            page.changes.push(change.clone());
        }
        page
    }
}

macro_rules! readers {
    ($holder:ident) => {
        impl RowReader for $holder<'_> {
            fn row(&self, scope: &str, entity: &str, id: &str) -> Result<Option<Box<RawValue>>> {
                Ok(self.state.row(scope, entity, id))
            }

            fn for_each_row(&self, scope: &str, visit: &mut RowVisitor<'_>) -> Result<()> {
                self.state.for_each_row(scope, visit)
            }
        }

        impl LogReader for $holder<'_> {
            fn head(&self, scope: &str) -> Result<u64> {
                Ok(self.state.scopes.get(scope).map_or(0, |scope| scope.head))
            }

            fn floor(&self, scope: &str) -> Result<u64> {
                Ok(self.state.scopes.get(scope).map_or(0, |scope| scope.floor))
            }

            fn since(&self, scope: &str, after: u64, limit: u32, bytes: usize) -> Result<Page> {
                Ok(self.state.since(scope, after, limit, bytes))
            }
        }
    };
}

readers!(View);
readers!(Tx);

impl Store for Tx<'_> {
    fn put_row(&mut self, scope: &str, entity: &str, id: &str, row: &RawValue) -> Result<()> {
        let key = (entity.to_owned(), id.to_owned());
        let before = self.state.scope(scope).rows.insert(key.clone(), row.to_owned());
        self.undo.push(Undo::Row { scope: scope.to_owned(), key, before });
        Ok(())
    }

    fn delete_row(&mut self, scope: &str, entity: &str, id: &str) -> Result<()> {
        let key = (entity.to_owned(), id.to_owned());
        if let Some(before) = self.state.scope(scope).rows.remove(&key) {
            self.undo.push(Undo::Row { scope: scope.to_owned(), key, before: Some(before) });
        }
        Ok(())
    }
}

impl ChangeLog for Tx<'_> {
    fn append(&mut self, scope: &str, time: &str, data: &RawValue) -> Result<u64> {
        self.state.cursor += 1;
        let cursor = self.state.cursor;
        let change = Change { cursor, scope: scope.to_owned(), time: time.to_owned(), data: data.to_owned() };
        let state = self.state.scope(scope);
        state.log.insert(cursor, change);
        let head_before = std::mem::replace(&mut state.head, cursor);
        self.undo.push(Undo::Append { scope: scope.to_owned(), cursor, head_before });
        Ok(cursor)
    }

    fn trim(&mut self, scope: &str, before: u64) -> Result<u64> {
        let state = self.state.scope(scope);
        let kept = state.log.split_off(&before);
        let removed = std::mem::replace(&mut state.log, kept);
        let count = removed.len() as u64;
        let floor_before = state.floor;
        state.floor = floor_before.max(before);
        self.undo.push(Undo::Trim { scope: scope.to_owned(), floor_before, removed });
        Ok(count)
    }
}

impl Receipts for Tx<'_> {
    fn is_applied(&self, scope: &str, id: &str) -> Result<bool> {
        Ok(self.state.scopes.get(scope).is_some_and(|scope| scope.applied.contains(id)))
    }

    fn remember(&mut self, scope: &str, id: &str, _cursor: u64) -> Result<()> {
        if self.state.scope(scope).applied.insert(id.to_owned()) {
            self.undo.push(Undo::Remember { scope: scope.to_owned(), id: id.to_owned() });
        }
        Ok(())
    }
}
