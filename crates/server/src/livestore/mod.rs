//! LiveStore's event logs: one per store, numbered from 1 without a gap, in a SQLite file of their own.
//!
//! What a push appends is durable before anybody hears of it. A batch is taken whole or not at all, and unlike the published
//! server this one checks each event's parent, not the first one's only, and refuses an event that no pull could carry.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use driftline_protocol::RawValue;
use driftline_protocol::livestore::{Event, MAX_PUSH_BYTES, ROOT, Stored};
use rusqlite::{Connection, OptionalExtension, params};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{Error, Result};

/// The logs of all stores.
#[derive(Debug)]
pub struct EventLogs {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

/// What a store's log is called, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its identity: another one after the store was wiped.
    pub backend_id: String,
    /// The last event's number; [`ROOT`] if there is none.
    pub seq_num: u64,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// Durable; the log ends here now.
    Head(u64),
    /// The first event's parent is not the log's head.
    ServerAhead {
        /// The head.
        head: u64,
        /// The parent that came.
        provided: u64,
    },
    /// The events follow another log.
    OtherBackend {
        /// This log's identity.
        expected: String,
    },
    /// An event does not follow the one before it, or is larger than a pull can carry.
    Invalid(String),
}

/// A part of a log.
#[derive(Debug)]
pub struct Page {
    /// In order.
    pub events: Vec<Stored>,
    /// How many follow them.
    pub remaining: u64,
    /// The log's identity.
    pub backend_id: String,
}

impl EventLogs {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// If it can't be opened or written.
    pub fn open(path: &Path) -> Result<Self> {
        let connect = || -> rusqlite::Result<Connection> {
            let conn = Connection::open(path)?;
            conn.busy_timeout(BUSY_TIMEOUT)?;
            conn.pragma_update(None, "journal_mode", "WAL")?;
            conn.pragma_update(None, "synchronous", "FULL")?;
            Ok(conn)
        };
        let writer = connect().map_err(failed("opening the event logs"))?;
        writer.execute_batch(SCHEMA).map_err(failed("opening the event logs"))?;
        let reader = connect().map_err(failed("opening the event logs"))?;
        Ok(Self { writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    /// Where a store's log ends. A store that nobody has named before gets an identity.
    ///
    /// # Errors
    /// Storage failures.
    pub fn head(&self, store: &str) -> Result<Head> {
        if let Some(head) = read_head(&lock(&self.reader), store)? {
            return Ok(head);
        }
        let conn = lock(&self.writer);
        conn.execute(
            "INSERT OR IGNORE INTO stores (store, backend_id) VALUES (?1, ?2)",
            params![store, new_identity()],
        )
        .map_err(failed("making a store"))?;
        read_head(&conn, store)?.ok_or_else(|| Error::storage("making a store", "it is not there"))
    }

    /// Appends a batch; durable once this returns.
    ///
    /// # Errors
    /// Storage failures, after which nothing of the batch is there.
    pub fn push(
        &self,
        now: SystemTime,
        store: &str,
        backend_id: Option<&str>,
        batch: &[Event],
    ) -> Result<Pushed> {
        self.head(store)?;
        let mut conn = lock(&self.writer);
        let tx = conn
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed("writing events"))?;
        let head =
            read_head(&tx, store)?.ok_or_else(|| Error::storage("writing events", "the store is gone"))?;
        if backend_id.is_some_and(|received| received != head.backend_id) {
            return Ok(Pushed::OtherBackend { expected: head.backend_id });
        }
        let Some(first) = batch.first() else { return Ok(Pushed::Head(head.seq_num)) };
        if first.parent_seq_num != head.seq_num {
            return Ok(Pushed::ServerAhead { head: head.seq_num, provided: first.parent_seq_num });
        }
        if let Some(fault) = fault_of(batch) {
            return Ok(Pushed::Invalid(fault));
        }
        let time = OffsetDateTime::from(now)
            .format(&Rfc3339)
            .map_err(|error| Error::storage("telling the time", error))?;
        {
            let mut insert = tx.prepare_cached(INSERT).map_err(failed("writing events"))?;
            for event in batch {
                insert
                    .execute(params![
                        store,
                        to_sql(event.seq_num),
                        event.name,
                        event.args.get(),
                        event.client_id,
                        event.session_id,
                        time
                    ])
                    .map_err(failed("writing events"))?;
            }
        }
        tx.commit().map_err(failed("writing events"))?;
        Ok(Pushed::Head(head.seq_num + batch.len() as u64))
    }

    /// Reads the events behind `after`: at most `limit`, and at most as many as one page may carry.
    ///
    /// # Errors
    /// Storage failures.
    pub fn page(&self, store: &str, after: u64, limit: usize) -> Result<Page> {
        let head = self.head(store)?;
        let conn = lock(&self.reader);
        let mut select = conn.prepare_cached(SELECT).map_err(failed("reading events"))?;
        let mut rows = select
            .query(params![store, to_sql(after), to_sql(limit as u64)])
            .map_err(failed("reading events"))?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next().map_err(failed("reading events"))? {
            let stored = stored(row)?;
            bytes += bytes_of(&stored.event);
            if bytes > MAX_PUSH_BYTES && !events.is_empty() {
                break;
            }
            events.push(stored);
        }
        let last = events.last().map_or(after, |stored| stored.event.seq_num);
        // The head may have been read before the last of these were written.
        Ok(Page { remaining: head.seq_num.saturating_sub(last), backend_id: head.backend_id, events })
    }
}

/// What is wrong with a batch whose first parent is right.
fn fault_of(batch: &[Event]) -> Option<String> {
    batch.iter().enumerate().find_map(|(index, event)| {
        let parent = batch[..index].last().map_or(event.parent_seq_num, |before| before.seq_num);
        if event.parent_seq_num != parent || event.seq_num != parent + 1 {
            return Some(format!(
                "batch[{index}] is event {} on parent {}, where {} on {parent} should follow: nothing was stored",
                event.seq_num,
                event.parent_seq_num,
                parent + 1
            ));
        }
        let bytes = bytes_of(event);
        (bytes > MAX_EVENT_BYTES).then(|| {
            format!("batch[{index}] has {bytes} bytes, the limit of an event is {MAX_EVENT_BYTES}: nothing was stored")
        })
    })
}

/// About what an event takes on the wire.
fn bytes_of(event: &Event) -> usize {
    EVENT_ENVELOPE_BYTES
        + event.name.len()
        + event.args.get().len()
        + event.client_id.len()
        + event.session_id.len()
}

fn read_head(conn: &Connection, store: &str) -> Result<Option<Head>> {
    conn.prepare_cached(HEAD)
        .and_then(|mut head| {
            head.query_row([store], |row| {
                Ok(Head { backend_id: row.get(0)?, seq_num: from_sql(row.get(1)?) })
            })
            .optional()
        })
        .map_err(failed("reading a store's head"))
}

fn stored(row: &rusqlite::Row<'_>) -> Result<Stored> {
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(u64, String, String, String, String, String)> {
        Ok((from_sql(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    };
    let (seq_num, name, args, client_id, session_id, time) = read(row).map_err(failed("reading events"))?;
    let args = RawValue::from_string(args).map_err(|error| Error::storage("reading events", error))?;
    let event = Event { name, args, seq_num, parent_seq_num: seq_num - 1, client_id, session_id };
    Ok(Stored { event, created_at: Some(time) })
}

/// SQLite's integers have a sign; positions are far below where that shows.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// 128 bits that nobody has had: what the standard library seeds its hash maps with.
fn new_identity() -> String {
    let word = || RandomState::new().hash_one(SystemTime::now());
    format!("{:016x}{:016x}", word(), word())
}

fn lock(conn: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    conn.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| Error::storage(doing, error)
}

const _: () = assert!(ROOT == 0, "the schema counts from it");
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS stores (store TEXT PRIMARY KEY, backend_id TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS events (
        store TEXT NOT NULL, seq_num INTEGER NOT NULL, name TEXT NOT NULL, args TEXT NOT NULL, client_id TEXT NOT NULL,
        session_id TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (store, seq_num)
    ) STRICT, WITHOUT ROWID;";
const HEAD: &str =
    "SELECT backend_id, (SELECT coalesce(max(seq_num), 0) FROM events WHERE events.store = stores.store)
    FROM stores WHERE store = ?1";
const INSERT: &str = "INSERT INTO events (store, seq_num, name, args, client_id, session_id, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const SELECT: &str = "SELECT seq_num, name, args, client_id, session_id, created_at FROM events
    WHERE store = ?1 AND seq_num > ?2 ORDER BY seq_num LIMIT ?3";
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Names of fields, numbers and the time.
const EVENT_ENVELOPE_BYTES: usize = 256;
/// Bytes of one event, at most: less than a page may have.
pub const MAX_EVENT_BYTES: usize = MAX_PUSH_BYTES - 4 * 1024;

#[cfg(test)]
mod tests;
