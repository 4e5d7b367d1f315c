//! The journal in IndexedDB: one record a batch, checkpoints in segments, fences checked in the
//! transaction that they guard. A result counts only once its transaction has completed.

pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod given;
mod records;
mod store;

use driftline_core::{Checkpoint, Commit, CommitError, Loaded, LogRead};
use indexed_db_futures::{
    Build, KeyRange,
    database::Database,
    object_store::ObjectStore,
    query_source::QuerySource,
    transaction::{Transaction, TransactionMode},
};
use wasm_bindgen::JsValue;

use crate::{
    schema::{self, FILES, LOG, META, META_CHECKPOINT, SEGMENTS},
    value::Row,
};
use connection::Connection;
use failure::{Failed, finish};
use records::{number, read_records, record_to_js, stamp_of};

pub use store::Store;

/// One database's journal. Its calls may overlap; IndexedDB puts them in order.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    strict: bool,
    /// Marks the records that this tab writes, so that one whose answer was lost is recognised.
    stamp: String,
}

impl Journal {
    /// A journal of the database with this name; nothing is opened before the first call.
    /// `strict`: commits wait for the disk, not only for the operating system.
    #[must_use]
    pub fn new(name: &str, strict: bool) -> Self {
        let stamp =
            format!("{:x}-{:x}", js_sys::Date::now() as u64, (js_sys::Math::random() * 2f64.powi(52)) as u64);
        Self { connection: Connection::new(name), strict, stamp }
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
                let segments = read_records(&transaction.object_store(SEGMENTS)?, None).await?;
                let log = read_records(&transaction.object_store(LOG)?, Some(checkpoint)).await?;
                finish(transaction).await?;
                let segments = segments
                    .into_iter()
                    .map(|(key, record)| (key.as_string().unwrap_or_default(), record))
                    .collect();
                let log: Vec<_> = log.into_iter().map(|(key, record)| (number(&key), record)).collect();
                self.connection.saw(log.last().map_or(checkpoint, |(key, _)| *key));
                Ok(Loaded { checkpoint, segments, log })
            })
            .await
    }

    /// Reads the log's records after a number.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`]: the database can't be opened or read.
    pub async fn read_log(&self, after: u64) -> Result<LogRead<Row>, CommitError> {
        self.connection
            .run(async |database, _| {
                let transaction = database.transaction([META, LOG].as_slice()).build()?;
                let checkpoint = checkpoint_of(&transaction).await?;
                let records = read_records(&transaction.object_store(LOG)?, Some(after)).await?;
                finish(transaction).await?;
                let records: Vec<_> =
                    records.into_iter().map(|(key, record)| (number(&key), record)).collect();
                if let Some((key, _)) = records.last() {
                    self.connection.saw(*key);
                }
                Ok(LogRead { checkpoint, records })
            })
            .await
    }

    /// Appends one record, with its mirror, if its fences stand; answers the record's number.
    ///
    /// # Errors
    /// Nothing of it was kept: [`CommitError::Fenced`], `Quota`, `NotCloneable` or `Unavailable`.
    pub async fn append(&self, commit: &Commit<Row>) -> Result<u64, CommitError> {
        let stamp = format!("{}-{}", self.stamp, self.connection.next_number());
        // Taken before the first try: where the answer to it was lost, the record can only be after this.
        let seen = self.connection.seen();
        let mut stores = vec![LOG, META];
        if !commit.mirror.is_empty() {
            stores.push(FILES);
        }
        let key = self
            .connection
            .run(async |database, repeated| {
                let transaction = self.write(database, &stores)?;
                let meta = transaction.object_store(META)?;
                let log = transaction.object_store(LOG)?;
                if repeated {
                    // The first try may have been committed before its connection broke.
                    if checkpoint_of(&transaction).await? > seen {
                        return Err(Failed::Unavailable(LOST_IN_CHECKPOINT.to_owned()));
                    }
                    if let Some(key) = stamp_of(&log, seen, &stamp).await? {
                        finish(transaction).await?;
                        return Ok(key);
                    }
                }
                let epochs = commit
                    .fences
                    .iter()
                    .map(|fence| meta.get::<f64, _, _>(schema::meta_lease(&fence.lease)).build())
                    .collect::<Result<Vec<_>, _>>()?;
                for (fence, epoch) in commit.fences.iter().zip(epochs) {
                    if epoch.await?.unwrap_or_default() as u64 != fence.epoch {
                        // Dropping the transaction aborts it.
                        return Err(Failed::Fenced(fence.lease.clone()));
                    }
                }
                let added =
                    log.add(record_to_js(&commit.record, Some(&stamp))).with_key_type::<f64>().build()?;
                if !commit.mirror.is_empty() {
                    let files = transaction.object_store(FILES)?;
                    for put in &commit.mirror {
                        match &put.row {
                            Some(row) => drop(files.put(row.0.clone()).with_key(put.key.as_str()).build()?),
                            None => drop(files.delete(put.key.as_str()).build()?),
                        }
                    }
                }
                let key = added.await?;
                finish(transaction).await?;
                Ok(key as u64)
            })
            .await?;
        self.connection.saw(key);
        Ok(key)
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
                for (name, record) in &checkpoint.puts {
                    drop(segments.put(record_to_js(record, None)).with_key(name.as_str()).build()?);
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
        self.connection
            .run(async |database, _| {
                let transaction = self.write(database, &[META])?;
                let meta = transaction.object_store(META)?;
                let name = schema::meta_lease(lease);
                let epoch = meta.get::<f64, _, _>(name.as_str()).build()?.await?.unwrap_or_default() + 1.0;
                drop(meta.put(epoch).with_key(name).build()?);
                finish(transaction).await?;
                Ok(epoch as u64)
            })
            .await
    }

    /// The present epochs of leases, in their order; zero for one that was never raised.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`]: the database can't be read.
    pub async fn epochs(&self, leases: &[String]) -> Result<Vec<u64>, CommitError> {
        if leases.is_empty() {
            // Firefox never tells the end of a transaction without a request.
            return Ok(Vec::new());
        }
        self.connection
            .run(async |database, _| {
                let transaction = database.transaction(META).with_mode(TransactionMode::Readonly).build()?;
                let meta = transaction.object_store(META)?;
                let mut epochs = Vec::with_capacity(leases.len());
                for lease in leases {
                    epochs.push(
                        meta.get::<f64, _, _>(schema::meta_lease(lease)).build()?.await?.unwrap_or_default()
                            as u64,
                    );
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
    let run =
        async || -> Result<(), Failed> { Ok(Database::delete_by_name(&schema::database_name(name))?.await?) };
    match run().await {
        Ok(()) => Ok(()),
        Err(failed) => Err(failed.into_commit_error().await),
    }
}

/// The log number that the segments cover; zero without a checkpoint.
async fn checkpoint_of(transaction: &Transaction<'_>) -> Result<u64, Failed> {
    let meta: ObjectStore<'_> = transaction.object_store(META)?;
    Ok(meta.get::<f64, _, _>(META_CHECKPOINT).build()?.await?.unwrap_or_default() as u64)
}

const LOST_IN_CHECKPOINT: &str = "The connection to the database broke while a change was written, and another tab has tidied the \
     journal since, so that it can't be told whether the change was kept. Reload the page to see what is stored.";
