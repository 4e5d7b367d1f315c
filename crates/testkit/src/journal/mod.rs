//! The journal as the engine sees it: a log of records, segments of a checkpoint, epochs of leases, and
//! the mirror of visible rows. One trait, one memory implementation, one conformance suite.

mod memory;
pub mod suite;

use core::future::Future;

use driftline_core::{Checkpoint, Commit, CommitError, Loaded, LogRead, Value};

pub use memory::{CrashPoint, MemoryDisk, MemoryHarness, MemoryJournal};

/// One tab's connection to a database's journal. Several may be open on one database.
///
/// Every method is one transaction: it happens as a whole or not at all, and its answer comes after it
/// completed.
pub trait JournalStore<V: Value> {
    /// Reads everything.
    fn load(&self) -> impl Future<Output = Result<Loaded<V>, CommitError>>;

    /// Appends the record and applies the mirror's changes, if every fence still stands, and answers the
    /// record's number: larger than any before it.
    fn append(&self, commit: &Commit<V>) -> impl Future<Output = Result<u64, CommitError>>;

    /// Reads the log's records after a number.
    fn read_log(&self, after: u64) -> impl Future<Output = Result<LogRead<V>, CommitError>>;

    /// Replaces the head of the log by segments, if the log ends and the last checkpoint stands where the
    /// new one says; otherwise answers `false` and changes nothing.
    fn checkpoint(&self, checkpoint: &Checkpoint<V>) -> impl Future<Output = Result<bool, CommitError>>;

    /// Raises a lease's epoch by one and answers it; the first is 1.
    fn raise_epoch(&self, lease: &str) -> impl Future<Output = Result<u64, CommitError>>;

    /// The mirrored rows, by key, in the order of the keys' code points.
    fn mirrored(&self) -> impl Future<Output = Result<Vec<(String, V)>, CommitError>>;
}

/// Opens journals for the suite.
pub trait JournalHarness {
    /// The row values of the journals.
    type Value: Value;
    /// What is opened.
    type Store: JournalStore<Self::Value>;

    /// Opens a database by name, and makes it if it is missing. Journals that are open on it stay so.
    fn open(&mut self, database: &str) -> impl Future<Output = Self::Store>;
}

/// Hands the names of all checks in [`suite`] to a macro.
#[macro_export]
macro_rules! for_each_journal_check {
    ($callback:ident) => {
        $callback! {
            a_new_database_loads_as_nothing
            records_load_in_the_order_in_which_they_were_appended
            numbers_rise_and_reading_the_log_gives_what_follows
            a_record_may_be_empty_or_large
            two_connections_see_each_others_records
            each_lease_has_an_epoch_of_its_own_that_rises_by_one
            a_commit_whose_fences_stand_is_kept
            a_commit_with_a_stale_fence_leaves_nothing
            one_stale_fence_among_several_is_enough
            a_fence_of_a_lease_that_was_never_raised_is_stale
            the_mirror_changes_with_its_commit
            a_checkpoint_takes_the_place_of_the_log_before_it
            a_checkpoint_puts_and_deletes_segments
            a_checkpoint_is_refused_when_the_log_has_moved_on
            a_checkpoint_is_refused_when_another_came_first
            numbers_go_on_rising_after_a_checkpoint_emptied_the_log
            reading_behind_a_checkpoint_says_so
        }
    };
}
