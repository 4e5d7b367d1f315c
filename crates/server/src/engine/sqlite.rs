//! Rows, log and receipts in one SQLite file, in WAL mode: a crash at any moment keeps what was committed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftline_protocol::RawValue;
use driftline_protocol::mizu::Change;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::storage::{
    ChangeLog, LogReader, Page, ReadView, Receipts, RowReader, RowVisitor, Storage, Store, WriteTx,
};
use crate::error::{Error, Result};

/// A [`Storage`] in a SQLite file. One writer; readers beside it see what was committed when they began.
#[derive(Debug)]
pub struct SqliteStorage {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl SqliteStorage {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// If it can't be opened or written, is not a database of ours, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self> {
        let writer = connect(path)?;
        let version: i64 =
            writer.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed("opening"))?;
        match version {
            0 => writer
                .execute_batch(&format!(
                    "BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                ))
                .map_err(failed("creating the tables"))?,
            SCHEMA_VERSION => {}
            newer => {
                let text = format!("the database has version {newer}, this server knows {SCHEMA_VERSION}");
                return Err(Error::storage("opening the database", text));
            }
        }
        Ok(Self { path: path.to_owned(), writer: Mutex::new(writer), readers: Mutex::default() })
    }
}

impl Storage for SqliteStorage {
    fn read(&self) -> Result<Box<dyn ReadView + '_>> {
        let idle = lock(&self.readers).pop();
        let conn = idle.map_or_else(|| connect(&self.path), Ok)?;
        conn.execute_batch("BEGIN").map_err(failed("reading"))?;
        Ok(Box::new(View { conn: Some(conn), storage: self }))
    }

    fn write(&self) -> Result<Box<dyn WriteTx + '_>> {
        let conn = lock(&self.writer);
        conn.execute_batch("BEGIN IMMEDIATE").map_err(failed("writing"))?;
        Ok(Box::new(Tx { conn, open: true }))
    }
}

struct View<'a> {
    /// `Some` until dropped, when it goes back to its pool.
    conn: Option<Connection>,
    storage: &'a SqliteStorage,
}

impl View<'_> {
    fn conn(&self) -> &Connection {
        self.conn.as_ref().expect("the connection is there until the view is dropped")
    }
}

impl ReadView for View<'_> {}

impl Drop for View<'_> {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let mut idle = lock(&self.storage.readers);
        if conn.execute_batch("ROLLBACK").is_ok() && idle.len() < MAX_IDLE_READERS {
            idle.push(conn);
        }
    }
}

struct Tx<'a> {
    conn: MutexGuard<'a, Connection>,
    open: bool,
}

impl Tx<'_> {
    fn conn(&self) -> &Connection {
        &self.conn
    }
}

impl WriteTx for Tx<'_> {
    fn commit(mut self: Box<Self>) -> Result<()> {
        self.conn.execute_batch("COMMIT").map_err(failed("committing"))?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.open
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            // SQLite has rolled back by itself after some errors, and says so by refusing.
            tracing::debug!(%error, "rollback");
        }
    }
}

macro_rules! readers {
    ($holder:ident) => {
        impl RowReader for $holder<'_> {
            fn row(&self, scope: &str, entity: &str, id: &str) -> Result<Option<Box<RawValue>>> {
                read_row(self.conn(), scope, entity, id)
            }

            fn for_each_row(&self, scope: &str, visit: &mut RowVisitor<'_>) -> Result<()> {
                for_each_row(self.conn(), scope, visit)
            }
        }

        impl LogReader for $holder<'_> {
            fn head(&self, scope: &str) -> Result<u64> {
                Ok(bounds(self.conn(), scope)?.0)
            }

            fn floor(&self, scope: &str) -> Result<u64> {
                Ok(bounds(self.conn(), scope)?.1)
            }

            fn since(&self, scope: &str, after: u64, limit: u32, bytes: usize) -> Result<Page> {
                since(self.conn(), scope, after, limit, bytes)
            }
        }
    };
}

readers!(View);
readers!(Tx);

impl Store for Tx<'_> {
    fn put_row(&mut self, scope: &str, entity: &str, id: &str, row: &RawValue) -> Result<()> {
        let sql = "INSERT INTO row (scope, entity, id, data) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (scope, entity, id) DO UPDATE SET data = excluded.data";
        self.run(sql, params![scope, entity, id, row.get()]).map(drop)
    }

    fn delete_row(&mut self, scope: &str, entity: &str, id: &str) -> Result<()> {
        let sql = "DELETE FROM row WHERE scope = ?1 AND entity = ?2 AND id = ?3";
        self.run(sql, params![scope, entity, id]).map(drop)
    }
}

impl ChangeLog for Tx<'_> {
    fn append(&mut self, scope: &str, time: &str, data: &RawValue) -> Result<u64> {
        let sql = "INSERT INTO change (scope, time, data) VALUES (?1, ?2, ?3)";
        self.run(sql, params![scope, time, data.get()])?;
        let cursor = self.conn.last_insert_rowid();
        let sql = "INSERT INTO scope (name, head, floor) VALUES (?1, ?2, 0)
                   ON CONFLICT (name) DO UPDATE SET head = excluded.head";
        self.run(sql, params![scope, cursor])?;
        Ok(cursor.unsigned_abs())
    }

    fn trim(&mut self, scope: &str, before: u64) -> Result<u64> {
        let before = clamp(before);
        let sql = "INSERT INTO scope (name, head, floor) VALUES (?1, 0, ?2)
                   ON CONFLICT (name) DO UPDATE SET floor = max(floor, excluded.floor)";
        self.run(sql, params![scope, before])?;
        let removed =
            self.run("DELETE FROM change WHERE scope = ?1 AND cursor < ?2", params![scope, before])?;
        Ok(removed as u64)
    }
}

impl Receipts for Tx<'_> {
    fn is_applied(&self, scope: &str, id: &str) -> Result<bool> {
        self.conn
            .prepare_cached("SELECT 1 FROM receipt WHERE scope = ?1 AND id = ?2")
            .and_then(|mut statement| statement.exists(params![scope, id]))
            .map_err(failed("reading receipts"))
    }

    fn remember(&mut self, scope: &str, id: &str, cursor: u64) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO receipt (scope, id, cursor) VALUES (?1, ?2, ?3)";
        self.run(sql, params![scope, id, clamp(cursor)]).map(drop)
    }
}

impl Tx<'_> {
    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(failed("writing"))
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed("opening"))?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(failed("opening"))?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;")
        .map_err(failed("opening"))?;
    Ok(conn)
}

fn read_row(conn: &Connection, scope: &str, entity: &str, id: &str) -> Result<Option<Box<RawValue>>> {
    conn.prepare_cached("SELECT data FROM row WHERE scope = ?1 AND entity = ?2 AND id = ?3")
        .and_then(|mut statement| {
            statement.query_row(params![scope, entity, id], |row| row.get(0)).optional()
        })
        .map_err(failed("reading rows"))?
        .map(raw)
        .transpose()
}

fn for_each_row(conn: &Connection, scope: &str, visit: &mut RowVisitor<'_>) -> Result<()> {
    let failed = failed("reading rows");
    let sql = "SELECT entity, id, data FROM row WHERE scope = ?1 ORDER BY entity, id";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query(params![scope]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let (entity, id, data): (String, String, String) =
            (|| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))().map_err(&failed)?;
        visit(&entity, &id, raw(data)?)?;
    }
    Ok(())
}

fn bounds(conn: &Connection, scope: &str) -> Result<(u64, u64)> {
    conn.prepare_cached("SELECT head, floor FROM scope WHERE name = ?1")
        .and_then(|mut statement| {
            statement.query_row(params![scope], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?))).optional()
        })
        .map(Option::unwrap_or_default)
        .map_err(failed("reading the log"))
}

fn since(conn: &Connection, scope: &str, after: u64, limit: u32, bytes: usize) -> Result<Page> {
    let failed = failed("reading the log");
    let sql =
        "SELECT cursor, time, data FROM change WHERE scope = ?1 AND cursor > ?2 ORDER BY cursor LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query(params![scope, clamp(after), i64::from(limit) + 1]).map_err(&failed)?;
    let mut page = Page { changes: Vec::new(), has_more: false };
    let mut used = 0;
    while let Some(row) = rows.next().map_err(&failed)? {
        let (cursor, time, data): (u64, String, String) =
            (|| Ok((unsigned(row, 0)?, row.get(1)?, row.get(2)?)))().map_err(&failed)?;
        used += data.len();
        if page.changes.len() >= limit as usize || (used > bytes && !page.changes.is_empty()) {
            page.has_more = true;
            break;
        }
        page.changes.push(Change { cursor, scope: scope.to_owned(), time, data: raw(data)? });
    }
    Ok(page)
}

fn raw(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text)
        .map_err(|error| Error::storage("reading a stored row, which is not JSON", error))
}

/// Cursors are counted by SQLite and never negative.
fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::unsigned_abs)
}

/// A cursor from the wire may be larger than any that SQLite can count to; it then lies past every head.
fn clamp(cursor: u64) -> i64 {
    i64::try_from(cursor).unwrap_or(i64::MAX)
}

fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| Error::storage(&format!("{doing} in the database"), error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic interrupts is a transaction, and its drop has rolled it back.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SCHEMA_VERSION: i64 = 1;
const MAX_IDLE_READERS: usize = 8;
const CACHED_STATEMENTS: usize = 32;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// AUTOINCREMENT: a trim may remove the last change of all, and its cursor must not be given again.
const SCHEMA: &str = "
CREATE TABLE row (scope TEXT NOT NULL, entity TEXT NOT NULL, id TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (scope, entity, id));
CREATE TABLE change (cursor INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, time TEXT NOT NULL,
    data TEXT NOT NULL);
CREATE INDEX change_by_scope ON change (scope, cursor);
CREATE TABLE scope (name TEXT PRIMARY KEY, head INTEGER NOT NULL, floor INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE receipt (scope TEXT NOT NULL, id TEXT NOT NULL, cursor INTEGER NOT NULL,
    PRIMARY KEY (scope, id)) WITHOUT ROWID;
";
