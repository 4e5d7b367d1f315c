//! The journal in IndexedDB: one record a batch, checkpoints in segments, fences checked in the
//! transaction that they guard. A result counts only once its transaction has completed.
//!
//! A transaction that waits for the page stands in every other tab's way, and a page may stop at any moment:
//! frozen, suspended, busy. So what every tab does all the time, appending and reading on, is asked for in one
//! go and committed in the same breath; the browser ends it without the page. A fence is part of that: each
//! lease has one entry, and the index over their names is unique. Putting the entry of one's own epoch in its own
//! place changes nothing while the epoch stands, and fails with the whole transaction when the entry is of another
//! epoch. A commit under several leases is rare, and reads their epochs.

mod append;
pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod given;
mod marker;
mod records;
mod store;

use std::{cell::RefCell, collections::BTreeSet};

use driftline_core::{Checkpoint, Commit, CommitError, Fence, LeaseName, Loaded, LogRead, Record};
use indexed_db_futures::{
    Build, KeyRange,
    database::Database,
    object_store::ObjectStore,
    query_source::QuerySource,
    transaction::{Transaction, TransactionMode},
};
use js_sys::JsString;
use wasm_bindgen::JsValue;

use crate::{
    schema::{self, FENCES, FILES, LOG, META, META_CHECKPOINT, SEGMENTS},
    value::Row,
};
use append::Appender;
use connection::Connection;
use failure::{Failed, finish};
use records::{BATCH_RECORDS, ask_batch, number, read_records, record_to_js, stamp_of};

pub use store::Store;

/// One database's journal. Its calls may overlap; IndexedDB puts them in order.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    strict: bool,
    appender: Appender,
    /// Marks the records that this tab writes, with a number, so that one whose answer was lost is recognised.
    stamp: JsString,
    /// Leases that are known to have been raised once: their entries are never without an epoch again.
    raised: RefCell<BTreeSet<LeaseName>>,
}

impl Journal {
    /// A journal of the database with this name; nothing is opened before the first call.
    /// `strict`: commits wait for the disk, not only for the operating system.
    #[must_use]
    pub fn new(name: &str, strict: bool) -> Self {
        let stamp = format!(
            "{:x}-{:x}-",
            js_sys::Date::now() as u64,
            (js_sys::Math::random() * 2f64.powi(52)) as u64
        );
        Self {
            connection: Connection::new(name),
            strict,
            appender: Appender::new(strict),
            stamp: stamp.into(),
            raised: RefCell::default(),
        }
    }

    /// Reads checkpoint and log, all in one transaction.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`]: the database can't be opened or read.
    pub async fn load(&self) -> Result<Loaded<Row>, CommitError> {
        self.connection
            .run(async |database, _| {
                let transaction = database.transaction([META, SEGMENTS, LOG].as_slice()).build()?;
                let checkpoint = checkpoint_of(&transaction).await?;
                let segments = read_records(&transaction.object_store(SEGMENTS)?).await?;
                let log = read_records(&transaction.object_store(LOG)?).await?;
                finish(transaction).await?;
                let segments = segments
                    .into_iter()
                    .map(|(key, record)| (key.as_string().unwrap_or_default(), record))
                    .collect();
                let log: Vec<_> = log.into_iter().map(|(key, record)| (number(&key), record)).collect();
                self.connection.saw(log.last().map_or(checkpoint, |(key, _)| *key));
                Ok(Loaded { checkpoint, segments, log, is_anew: self.connection.is_anew() })
            })
            .await
    }

    /// Reads the log's records after a number.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`]: the database can't be opened or read.
    pub async fn read_log(&self, after: u64) -> Result<LogRead<Row>, CommitError> {
        let mut all = LogRead { checkpoint: 0, records: Vec::new() };
        loop {
            let after = all.records.last().map_or(after, |(key, _)| *key);
            let (checkpoint, mut records) = self.read_batch(after).await?;
            let is_last = records.len() < BATCH_RECORDS as usize;
            all.checkpoint = checkpoint;
            all.records.append(&mut records);
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn read_batch(&self, after: u64) -> Result<(u64, Vec<(u64, Record<Row>)>), CommitError> {
        self.connection
            .run(async |database, _| {
                let transaction = database.transaction([META, LOG].as_slice()).build()?;
                let checkpoint = transaction.object_store(META)?.get::<f64, _, _>(META_CHECKPOINT).build()?;
                let records =
                    ask_batch(&transaction.object_store(LOG)?, Some(JsValue::from_f64(after as f64)))?;
                finish(transaction).await?;
                let checkpoint = checkpoint.await?.unwrap_or_default() as u64;
                let records: Vec<_> =
                    records.await?.into_iter().map(|(key, record)| (number(&key), record)).collect();
                if let Some((key, _)) = records.last() {
                    self.connection.saw(*key);
                }
                Ok((checkpoint, records))
            })
            .await
    }

    /// Appends one record, with its mirror, if its fences stand; answers the record's number.
    ///
    /// # Errors
    /// Nothing of it was kept: [`CommitError::Fenced`], `Quota`, `NotCloneable` or `Unavailable`.
    pub async fn append(&self, commit: &Commit<Row>) -> Result<u64, CommitError> {
        self.check_raised(&commit.fences).await?;
        let stamp = self.stamp.concat(&JsValue::from_f64(self.connection.next_number() as f64));
        // Taken before the first try: where the answer to it was lost, the record can only be after this.
        let seen = self.connection.seen();
        let key = self
            .connection
            .run(async |database, repeated| {
                if !repeated && commit.fences.len() <= 1 {
                    return match (self.appender.append(database, commit, &stamp).await, &commit.fences[..]) {
                        (Err(Failed::Taken), [fence]) => Err(Failed::Fenced(fence.lease.clone())),
                        (answer, _) => answer,
                    };
                }
                self.append_with_care(database, repeated, commit, &stamp, seen).await
            })
            .await?;
        self.connection.saw(key);
        Ok(key)
    }

    /// The same, reading first what has to be known: whether a try that broke was committed after all, and the
    /// epochs of several leases.
    async fn append_with_care(
        &self,
        database: &Database,
        repeated: bool,
        commit: &Commit<Row>,
        stamp: &JsString,
        seen: u64,
    ) -> Result<u64, Failed> {
        let transaction = self.write(database, &[META, LOG, FILES])?;
        let log = transaction.object_store(LOG)?;
        if repeated {
            // The first try may have been committed before its connection broke.
            if checkpoint_of(&transaction).await? > seen {
                return Err(Failed::Unavailable(LOST_IN_CHECKPOINT.to_owned()));
            }
            if let Some(key) = stamp_of(&log, seen, stamp).await? {
                finish(transaction).await?;
                return Ok(key);
            }
        }
        let meta = transaction.object_store(META)?;
        for Fence { lease, epoch } in &commit.fences {
            let found = meta.get::<f64, _, _>(schema::meta_lease(lease)).build()?.await?;
            if found.unwrap_or_default() as u64 != *epoch {
                // Dropping the transaction aborts it.
                return Err(Failed::Fenced(lease.clone()));
            }
        }
        let files = transaction.object_store(FILES)?;
        for put in &commit.mirror {
            match &put.row {
                Some(row) => drop(files.put(row.0.clone()).with_key(put.key.as_str()).build()?),
                None => drop(files.delete(put.key.as_str()).build()?),
            }
        }
        // Last, as what all of it depends on.
        let added = log.add(record_to_js(&commit.record, Some(stamp))).with_key_type::<f64>().build()?;
        finish(transaction).await?;
        // Answered before its transaction completed: this does not wait.
        Ok(added.await? as u64)
    }

    /// A fence whose lease has no entry at all would hold; so what this tab has not raised itself is looked at once.
    async fn check_raised(&self, fences: &[Fence]) -> Result<(), CommitError> {
        for fence in fences {
            if !self.raised.borrow().contains(&fence.lease) {
                if self.epochs(core::slice::from_ref(&fence.lease)).await? != [fence.epoch] {
                    return Err(CommitError::Fenced(fence.lease.clone()));
                }
                self.raised.borrow_mut().insert(fence.lease.clone());
            }
        }
        Ok(())
    }

    /// Replaces the head of the log by segments; `false` if log or checkpoint had moved on meanwhile.
    ///
    /// # Errors
    /// Nothing of it was kept: [`CommitError::Quota`], `NotCloneable` or `Unavailable`.
    pub async fn checkpoint(&self, checkpoint: &Checkpoint<Row>) -> Result<bool, CommitError> {
        self.connection
            .run(async |database, repeated| {
                let transaction = self.write(database, &[META, SEGMENTS, LOG])?;
                let covered = checkpoint_of(&transaction).await?;
                if repeated && covered == checkpoint.upto {
                    finish(transaction).await?;
                    return Ok(true);
                }
                let log = transaction.object_store(LOG)?;
                let after = KeyRange::LowerBound(checkpoint.upto as f64, true);
                let newer: Option<f64> = log.get_key(after).build()?.await?;
                if covered != checkpoint.replaces || newer.is_some() {
                    finish(transaction).await?;
                    return Ok(false);
                }
                let segments = transaction.object_store(SEGMENTS)?;
                let mut written = Vec::with_capacity(checkpoint.puts.len());
                for (name, record) in &checkpoint.puts {
                    written.push(segments.put(record_to_js(record, None)).with_key(name.as_str()).build()?);
                }
                // Before the log is cut: what does not fit any more is not to be lost with it.
                for segment in written {
                    segment.await?;
                }
                for name in &checkpoint.deletes {
                    drop(segments.delete(name.as_str()).build()?);
                }
                drop(log.delete::<f64, _>(KeyRange::UpperBound(checkpoint.upto as f64, false)).build()?);
                let meta = transaction.object_store(META)?;
                drop(meta.put(checkpoint.upto as f64).with_key(META_CHECKPOINT).build()?);
                finish(transaction).await?;
                Ok(true)
            })
            .await
    }

    /// Raises a lease's epoch by one and answers it. Whoever held the lease can commit nothing from here on.
    ///
    /// # Errors
    /// [`CommitError::Quota`] or `Unavailable`; the epoch may have risen all the same, which is harmless.
    pub async fn raise_epoch(&self, lease: &str) -> Result<u64, CommitError> {
        loop {
            let epoch = self.epochs(&[lease.to_owned()]).await?.first().copied().unwrap_or_default();
            let raised = self
                .connection
                .run(async |database, _| {
                    let transaction = self.write(database, &[META, FENCES])?;
                    let meta = transaction.object_store(META)?;
                    drop(meta.put((epoch + 1) as f64).with_key(schema::meta_lease(lease)).build()?);
                    replace_fence(&transaction.object_store(FENCES)?, lease, epoch, epoch + 1)?;
                    match finish(transaction).await {
                        Ok(()) => Ok(true),
                        // Another tab has raised it since it was read.
                        Err(Failed::Taken) => Ok(false),
                        Err(failed) => Err(failed),
                    }
                })
                .await?;
            if raised {
                self.raised.borrow_mut().insert(lease.to_owned());
                return Ok(epoch + 1);
            }
        }
    }

    /// The present epochs of leases, in their order; zero for one that was never raised.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`]: the database can't be read.
    pub async fn epochs(&self, leases: &[LeaseName]) -> Result<Vec<u64>, CommitError> {
        if leases.is_empty() {
            // Firefox never tells the end of a transaction without a request.
            return Ok(Vec::new());
        }
        self.connection
            .run(async |database, _| {
                let transaction = database.transaction(META).with_mode(TransactionMode::Readonly).build()?;
                let meta = transaction.object_store(META)?;
                let asked = leases
                    .iter()
                    .map(|lease| meta.get::<f64, _, _>(schema::meta_lease(lease)).build())
                    .collect::<Result<Vec<_>, _>>()?;
                finish(transaction).await?;
                let mut epochs = Vec::with_capacity(leases.len());
                for epoch in asked {
                    epochs.push(epoch.await?.unwrap_or_default() as u64);
                }
                Ok(epochs)
            })
            .await
    }

    /// Puts a fact into the store of single facts, for readers outside the page.
    ///
    /// # Errors
    /// [`CommitError::Quota`], `NotCloneable` or `Unavailable`.
    pub async fn put_meta(&self, name: &str, value: &JsValue) -> Result<(), CommitError> {
        self.connection
            .run(async |database, _| {
                let transaction = self.write(database, &[META])?;
                drop(transaction.object_store(META)?.put(value.clone()).with_key(name).build()?);
                finish(transaction).await
            })
            .await
    }

    /// Closes the connection; later calls answer [`CommitError::Unavailable`].
    pub fn close(&self) {
        self.connection.close();
    }

    fn write<'a>(&self, database: &'a Database, stores: &[&str]) -> Result<Transaction<'a>, Failed> {
        let options = schema::write_options(self.strict);
        Ok(database
            .transaction(stores)
            .with_mode(TransactionMode::Readwrite)
            .with_options(options)
            .build()?)
    }
}

/// Deletes the database with this name. Connections of other pages are told to close, and do.
///
/// # Errors
/// [`CommitError::Unavailable`]: the browser refuses.
pub async fn delete(name: &str) -> Result<(), CommitError> {
    // First: a page that stops in between must not take its own wish for a loss.
    marker::remove(name);
    let run =
        async || -> Result<(), Failed> { Ok(Database::delete_by_name(&schema::database_name(name))?.await?) };
    match run().await {
        Ok(()) => Ok(()),
        Err(failed) => Err(failed.into_commit_error().await),
    }
}

/// Puts a lease's entry under an epoch in the place of the one that it had. Where the entry there is of a third
/// epoch, the transaction fails with [`Failed::Taken`].
fn replace_fence(fences: &ObjectStore<'_>, lease: &str, from: u64, to: u64) -> Result<(), Failed> {
    drop(fences.delete(schema::fence_key(lease, from)).build()?);
    drop(fences.add(lease).with_key(schema::fence_key(lease, to)).build()?);
    Ok(())
}

/// The log number that the segments cover; zero without a checkpoint.
async fn checkpoint_of(transaction: &Transaction<'_>) -> Result<u64, Failed> {
    let meta: ObjectStore<'_> = transaction.object_store(META)?;
    Ok(meta.get::<f64, _, _>(META_CHECKPOINT).build()?.await?.unwrap_or_default() as u64)
}

const LOST_IN_CHECKPOINT: &str = "The connection to the database broke while a change was written, and another tab has tidied the \
     journal since, so that it can't be told whether the change was kept. Reload the page to see what is stored.";
