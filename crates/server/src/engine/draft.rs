//! The rows of one scope as a mutation sees and changes them.

use std::collections::BTreeMap;

use driftline_protocol::RawValue;

use super::storage::{RowReader, Store};
use crate::error::Result;

/// A scope's rows with the writes of one mutation laid over them.
///
/// Nothing is written before the mutation has succeeded, so one that is refused leaves nothing; and a mutation can't
/// reach into another scope.
pub struct Draft<'a> {
    rows: &'a dyn RowReader,
    scope: &'a str,
    writes: Writes,
}

impl<'a> Draft<'a> {
    pub(super) fn new(rows: &'a dyn RowReader, scope: &'a str) -> Self {
        Self { rows, scope, writes: Writes::default() }
    }

    /// The scope that the rows are of.
    pub fn scope(&self) -> &str {
        self.scope
    }

    /// The row of that entity and id.
    ///
    /// # Errors
    /// If storage fails.
    pub fn get(&self, entity: &str, id: &str) -> Result<Option<Box<RawValue>>> {
        match self.writes.0.get(&(entity.to_owned(), id.to_owned())) {
            Some(written) => Ok(written.clone()),
            None => self.rows.row(self.scope, entity, id),
        }
    }

    /// Puts a row in the place of the one of that name, if there is one.
    pub fn put(&mut self, entity: &str, id: &str, row: Box<RawValue>) {
        self.writes.0.insert((entity.to_owned(), id.to_owned()), Some(row));
    }

    /// Removes a row; it need not be there.
    pub fn delete(&mut self, entity: &str, id: &str) {
        self.writes.0.insert((entity.to_owned(), id.to_owned()), None);
    }

    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }
}

/// What a mutation wrote: a row, or its absence.
#[derive(Default)]
pub(super) struct Writes(BTreeMap<(String, String), Option<Box<RawValue>>>);

impl Writes {
    pub(super) fn write_to(self, store: &mut (impl Store + ?Sized), scope: &str) -> Result<()> {
        self.0.into_iter().try_for_each(|((entity, id), row)| match row {
            Some(row) => store.put_row(scope, &entity, &id, &row),
            None => store.delete_row(scope, &entity, &id),
        })
    }
}
