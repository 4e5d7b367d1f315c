//! What the driver tells the planner.

use serde::{Deserialize, Serialize};

use crate::{
    OpId,
    files::{Digest, Stored},
};

/// The id of a file record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub String);

/// An answer, a fact, a wish, or the timer.
#[derive(Clone, Debug)]
pub enum Input {
    /// What the `transfers` store holds. Sent once, first; what comes before it is only noted.
    Restored(Vec<(Digest, Stored)>),
    /// File records that changed.
    Records {
        /// New or changed ones.
        upserts: Vec<RecordFacts>,
        /// Ones that are gone, or deleted by tombstone.
        removed: Vec<FileId>,
        /// Whether every record that this device knows has been told by now.
        complete: bool,
    },
    /// A blob was published on disk by a save, in this tab or another; `Stored` is what the save put.
    Saved(Digest, Stored),
    /// Blobs that the sweep at start found on disk and no stored state says to be there, with their sizes in bytes:
    /// a crash came between publishing and writing that down.
    Found(Vec<(Digest, u64)>),
    /// Answers [`crate::files::Output::Probe`]: the size of the published blob, or `None`.
    Probed(OpId, Option<u64>),
    /// Answers [`crate::files::Output::StoreState`]: whether its transaction completed.
    StateStored(OpId, bool),
    /// Answers [`crate::files::Output::DeleteBlob`].
    Deleted(OpId, DeleteOutcome),
    /// A running transfer has moved `loaded` bytes of the blob in all.
    Progressed(OpId, u64),
    /// A start is answered: the remote has all of it, or this device has it published and verified.
    Finished(OpId),
    /// A start is answered: it did not get there.
    Failed(OpId, Failure),
    /// The page or the service worker waits for these bytes: they come next, even if they were left,
    /// given up or evicted before.
    Wanted(Digest),
    /// Move it ahead of the others, in either direction.
    Prioritize(Digest),
    /// Try the upload (again), also where uploads do not start by themselves.
    EnqueueUpload(Digest),
    /// Try the download (again), also where downloads do not start by themselves.
    EnqueueDownload(Digest),
    /// Leave what moves or waits to move, until somebody asks for it again.
    Cancel(Digest),
    /// Keep it on this device (and bring it here), or let it go again.
    Pin(Digest, bool),
    /// Drop the local copy if that is safe; answered by [`crate::files::Output::Evicted`] with this number.
    Evict(u32, Digest),
    /// Start nothing more, and stop what runs; it goes on where it was after [`Input::Resume`].
    Pause,
    /// Release every hold: pause, credentials, quota.
    Resume,
    /// The browser's hint about the network.
    Online(bool),
    /// A wake-up is due.
    Timer,
}

/// What a file record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordFacts {
    /// Its id.
    pub id: FileId,
    /// Its `contentHash`.
    pub hash: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether its `remoteKey` is set: the remote has the bytes.
    pub remote: bool,
    /// Whether the app's `autoDownload` says yes to it.
    pub auto_download: bool,
}

/// What became of a deletion.
#[derive(Clone, Debug, PartialEq)]
pub enum DeleteOutcome {
    /// The blob is not there any more.
    Deleted,
    /// It was saved again meanwhile, and stands; this is what the store has now.
    Kept(Stored),
    /// It could not be deleted now.
    Busy,
}

/// How a transfer failed, classified once, at the edge, by type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// What happened, for people.
    pub message: String,
}

/// What a failure means for the transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It was cancelled by [`crate::files::Output::Cancel`].
    Aborted,
    /// Nothing was reached: no attempt is spent.
    Unreachable,
    /// The remote wants credentials: everything waits for [`Input::Resume`].
    AuthRequired,
    /// Worth another try, after a back-off or after the milliseconds that the other side asked for.
    Temporary(Option<u64>),
    /// The remote does not take so large a blob; its limit in bytes, if it told.
    TooLarge(Option<u64>),
    /// The bytes were not those of the digest; what was loaded is thrown away.
    DigestMismatch,
    /// The remote does not have it.
    NotFound,
    /// The local blob is not there any more.
    LocalMissing,
    /// This device has no room for it: downloads wait for [`Input::Resume`] or a deletion.
    QuotaExceeded,
    /// Any other answer that trying again can't help.
    Rejected,
}
