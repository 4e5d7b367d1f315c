//! What the engine asks of the place where rows, the log and the receipts are kept.
//!
//! One write transaction holds all three, so that a change, its log entry and the memory of the mutation that made it
//! are there together or not at all. Every implementation passes the suite in `tests/storage.rs`.

use driftline_protocol::RawValue;
use driftline_protocol::mizu::Change;

use crate::error::Result;

/// Rows, log and receipts, committed together.
pub trait Storage: Send + Sync + 'static {
    /// Opens a view of what is committed, which stays as it is while others write.
    fn read(&self) -> Result<Box<dyn ReadView + '_>>;

    /// Opens the one write transaction, waiting for the one before it. Dropped without a commit, it leaves nothing.
    fn write(&self) -> Result<Box<dyn WriteTx + '_>>;
}

/// A consistent view of what is committed.
pub trait ReadView: RowReader + LogReader {}

/// A transaction: sees its own writes, and nobody else does until it is committed.
pub trait WriteTx: Store + ChangeLog + Receipts {
    /// Makes everything durable; once this returns, a crash loses none of it.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// Reads rows. A row is the text of a JSON object, named by scope, entity and id.
pub trait RowReader {
    /// The row of that name.
    fn row(&self, scope: &str, entity: &str, id: &str) -> Result<Option<Box<RawValue>>>;

    /// Visits every row of a scope in the order of entity and id, until the visitor fails.
    fn for_each_row(&self, scope: &str, visit: &mut RowVisitor<'_>) -> Result<()>;
}

/// Takes entity, id and row.
pub type RowVisitor<'a> = dyn FnMut(&str, &str, Box<RawValue>) -> Result<()> + 'a;

/// Writes rows.
pub trait Store: RowReader {
    /// Puts a row in the place of the one of that name, if there is one.
    fn put_row(&mut self, scope: &str, entity: &str, id: &str, row: &RawValue) -> Result<()>;

    /// Removes a row; it need not be there.
    fn delete_row(&mut self, scope: &str, entity: &str, id: &str) -> Result<()>;
}

/// Reads the log.
pub trait LogReader {
    /// Cursor of the scope's last change; 0 if there never was one. A trim does not lower it.
    fn head(&self, scope: &str) -> Result<u64>;

    /// Where the scope's log begins: changes with a lower cursor have been trimmed; 0 if none have.
    fn floor(&self, scope: &str) -> Result<u64>;

    /// The scope's changes after a cursor, in order: at most `limit`, and at most as many as have `bytes` of data
    /// together, but one if there is any.
    fn since(&self, scope: &str, after: u64, limit: u32, bytes: usize) -> Result<Page>;
}

/// A piece of a scope's log.
#[derive(Debug)]
pub struct Page {
    /// In the log's order.
    pub changes: Vec<Change>,
    /// Whether the log goes on after these.
    pub has_more: bool,
}

/// Writes the log.
pub trait ChangeLog: LogReader {
    /// Appends a change and gives its cursor, which is higher than any that any scope has had.
    fn append(&mut self, scope: &str, time: &str, data: &RawValue) -> Result<u64>;

    /// Removes the scope's changes with a cursor lower than `before`, and says how many those were.
    fn trim(&mut self, scope: &str, before: u64) -> Result<u64>;
}

/// The memory of the mutations that are applied, kept for good.
pub trait Receipts {
    /// Whether a mutation of that id has been applied in the scope.
    fn is_applied(&self, scope: &str, id: &str) -> Result<bool>;

    /// Remembers that it has, at that cursor.
    fn remember(&mut self, scope: &str, id: &str, cursor: u64) -> Result<()>;
}
