//! The blob store as saves and transfers see it: bytes in, a name that is their SHA-256 out. One trait,
//! one memory implementation, one conformance suite (files.md, The store).

mod memory;
pub mod suite;

use core::future::Future;

use driftline_core::files::Digest;

pub use memory::{MemoryBlobHarness, MemoryBlobs};

/// One tab's view of a database's blobs. Several may be open on one database.
pub trait BlobStore {
    /// A save that is under way. Dropping one is a crash: it leaves what it leaves.
    type Writer;

    /// Starts a save.
    fn begin(&self) -> impl Future<Output = Self::Writer>;

    /// Appends bytes.
    fn write(&self, writer: &mut Self::Writer, bytes: &[u8]) -> impl Future<Output = ()>;

    /// Gives the bytes their final name; answers it and their number.
    fn publish(&self, writer: Self::Writer) -> impl Future<Output = (Digest, u64)>;

    /// Drops a save.
    fn discard(&self, writer: Self::Writer) -> impl Future<Output = ()>;

    /// The size of a published blob in bytes.
    fn size(&self, hash: &Digest) -> impl Future<Output = Option<u64>>;

    /// Bytes of a published blob, from `start` to before `end`, or as far as they go.
    fn read(&self, hash: &Digest, start: u64, end: u64) -> impl Future<Output = Option<Vec<u8>>>;

    /// Deletes a published blob, if it is there.
    fn remove(&self, hash: &Digest) -> impl Future<Output = ()>;

    /// Removes what crashes have left, with the sizes that are known of some blobs; answers what stands.
    fn sweep(&self, known: &[(Digest, u64)]) -> impl Future<Output = Vec<(Digest, u64)>>;
}

/// Opens blob stores for the suite, and reaches under them.
pub trait BlobHarness {
    /// What is opened.
    type Store: BlobStore;

    /// Opens a database's store, and makes it if it is missing.
    fn open(&mut self, database: &str) -> impl Future<Output = Self::Store>;

    /// Puts a file where a crash, or a hand, might have left one: a path below the database's folder.
    fn litter(&mut self, database: &str, path: &str, bytes: &[u8]) -> impl Future<Output = ()>;

    /// The paths of all files below the database's folder, sorted.
    fn paths(&mut self, database: &str) -> impl Future<Output = Vec<String>>;
}

/// The path of a published blob below its database's folder.
#[must_use]
pub fn blob_path(hash: &Digest) -> String {
    format!("blobs/{:02x}/{hash}", hash.0[0])
}

/// Hands the names of all checks in [`suite`] to a macro.
#[macro_export]
macro_rules! for_each_blob_store_check {
    ($callback:ident) => {
        $callback! {
            a_blob_is_named_by_the_sha_256_of_its_bytes
            nothing_at_all_is_a_blob_too
            pieces_of_any_size_make_the_blob_that_their_sum_makes
            a_part_is_read_as_it_was_written
            nothing_shows_before_it_is_published
            a_discarded_save_leaves_nothing
            the_same_bytes_saved_twice_are_one_blob
            saves_side_by_side_do_not_touch_each_other
            a_removed_blob_is_gone_and_can_be_saved_again
            removing_what_is_not_there_is_no_error
            databases_keep_apart_whatever_their_names
            a_blob_is_there_when_the_store_is_opened_again
            a_sweep_removes_what_a_crash_left_and_keeps_what_is_right
            a_sweep_removes_a_blob_of_the_wrong_size
            a_sweep_leaves_alone_what_another_tab_is_writing
        }
    };
}
