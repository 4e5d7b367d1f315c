//! Where a database's journal is: in IndexedDB, or wherever a test keeps it.

use driftline_core::{Checkpoint, Commit, CommitError, Loaded, LogRead};
use wasm_bindgen::JsValue;

use super::{
    Journal,
    given::{self, GivenJournal},
};
use crate::{scope::Scope, value::Row};

/// A database's journal. Its calls may overlap; they take effect in order.
#[derive(Debug)]
pub enum Store {
    /// In IndexedDB.
    IndexedDb(Journal),
    /// A test's.
    Given(GivenJournal),
}

/// Each call is [`Journal`]'s of the same name, with its errors.
#[expect(clippy::missing_errors_doc, reason = "the journal's calls say what goes wrong")]
impl Store {
    /// The journal of the database with this name. `strict`: see [`Journal::new`].
    #[must_use]
    pub fn new(scope: &Scope, name: &str, strict: bool) -> Self {
        match scope.journal() {
            Some(given) => Self::Given(given),
            None => Self::IndexedDb(Journal::new(name, strict)),
        }
    }

    /// Reads everything.
    pub async fn load(&self) -> Result<Loaded<Row>, CommitError> {
        match self {
            Self::IndexedDb(journal) => journal.load().await,
            Self::Given(given) => given::load(given).await,
        }
    }

    /// Reads the log's records after a number.
    pub async fn read_log(&self, after: u64) -> Result<LogRead<Row>, CommitError> {
        match self {
            Self::IndexedDb(journal) => journal.read_log(after).await,
            Self::Given(given) => given::read_log(given, after).await,
        }
    }

    /// Appends a record, if its fences stand.
    pub async fn append(&self, commit: &Commit<Row>) -> Result<u64, CommitError> {
        match self {
            Self::IndexedDb(journal) => journal.append(commit).await,
            Self::Given(given) => given::append(given, commit).await,
        }
    }

    /// Replaces the head of the log.
    pub async fn checkpoint(&self, checkpoint: &Checkpoint<Row>) -> Result<bool, CommitError> {
        match self {
            Self::IndexedDb(journal) => journal.checkpoint(checkpoint).await,
            Self::Given(given) => given::checkpoint(given, checkpoint).await,
        }
    }

    /// Raises a lease's epoch.
    pub async fn raise_epoch(&self, lease: &str) -> Result<u64, CommitError> {
        match self {
            Self::IndexedDb(journal) => journal.raise_epoch(lease).await,
            Self::Given(given) => given::raise_epoch(given, lease).await,
        }
    }

    /// The epochs of leases; zero for one that was never raised.
    pub async fn epochs(&self, leases: &[String]) -> Result<Vec<u64>, CommitError> {
        match self {
            Self::IndexedDb(journal) => journal.epochs(leases).await,
            Self::Given(given) => given::epochs(given, leases).await,
        }
    }

    /// Puts a fact into the store of single facts.
    pub async fn put_meta(&self, name: &str, value: &JsValue) -> Result<(), CommitError> {
        match self {
            Self::IndexedDb(journal) => journal.put_meta(name, value).await,
            Self::Given(given) => given::put_meta(given, name, value).await,
        }
    }

    /// Closes the connection to the disk.
    pub fn close(&self) {
        if let Self::IndexedDb(journal) = self {
            journal.close();
        }
    }
}
