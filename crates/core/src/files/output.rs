//! What the planner asks of its driver and tells the app.

use serde::{Deserialize, Serialize};

use crate::{
    OpId, Timestamp,
    files::{Digest, FileId, Stored, TransferError},
};

/// An effect to perform, or an event for the app. Those with an [`OpId`] are answered exactly once.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Look whether the blob is published: [`crate::files::Input::Probed`].
    Probe(OpId, Digest),
    /// Write the blob's durable state, with [`Stored::absorb_saves`] of what is there:
    /// [`crate::files::Input::StateStored`].
    StoreState(OpId, Digest, Stored),
    /// Forget the blob's durable state, unless it counts more saves than this:
    /// [`crate::files::Input::StateStored`].
    ForgetState(OpId, Digest, u32),
    /// Delete the published blob, its stored state no longer [`Stored::local`] before the first byte
    /// goes: [`crate::files::Input::Deleted`].
    DeleteBlob {
        /// The operation.
        op: OpId,
        /// The blob.
        hash: Digest,
        /// The number of saves that the decision knew of; more than that, and the blob stands.
        saves: u32,
    },
    /// Move bytes: [`crate::files::Input::Progressed`] any number of times, then
    /// [`crate::files::Input::Finished`] or [`crate::files::Input::Failed`].
    Start {
        /// The operation.
        op: OpId,
        /// Which way.
        kind: TransferKind,
        /// The blob; also the name of its partial.
        hash: Digest,
        /// Its size in bytes, as the records have it.
        size: u64,
        /// Where it was when last heard of; the remote or the partial know better.
        offset: u64,
        /// Whether what an earlier try left must be thrown away first.
        fresh: bool,
    },
    /// End a running transfer early; what was moved stays for the next try.
    Cancel(OpId),
    /// Bytes moved. Never less than before for one blob and direction while it lives.
    Progress {
        /// Which way.
        kind: TransferKind,
        /// The blob.
        hash: Digest,
        /// The records that share it.
        files: Vec<FileId>,
        /// Bytes of the blob that have been moved.
        loaded: u64,
        /// Its size in bytes.
        total: u64,
    },
    /// What a file record's state on this device is now.
    StateChanged(FileState),
    /// The record is gone, and its state with it.
    StateRemoved(FileId),
    /// The remote has these bytes, durably known: the records that do not say so yet may.
    RecordUploaded {
        /// The blob.
        hash: Digest,
        /// The records.
        files: Vec<FileId>,
    },
    /// Answers [`crate::files::Input::Evict`]: whether the local copy is gone.
    Evicted(u32, bool),
    /// The whole has changed.
    StatusChanged(Status),
    /// Send [`crate::files::Input::Timer`] then; `None`: no wake-up is needed.
    Wake(Option<(Timestamp, WakeReason)>),
}

/// Which way bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransferKind {
    /// To the remote.
    Upload,
    /// From the remote.
    Download,
}

/// api.md, `TransferStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransferStatus {
    /// Nothing to do.
    #[default]
    None,
    /// To be done, but not now: it waits for a back-off, the disk, or another device.
    Pending,
    /// Waits for its turn.
    Queued,
    /// Runs.
    InProgress,
    /// Done.
    Done,
    /// Given up; the state's error says why.
    Error,
}

/// api.md, `LocalFileState`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileState {
    /// The record.
    pub file_id: FileId,
    /// The blob.
    pub hash: Digest,
    /// Whether the bytes are on this device.
    pub local: bool,
    /// Where the upload stands.
    pub upload_status: TransferStatus,
    /// Where the download stands.
    pub download_status: TransferStatus,
    /// Bytes moved by the transfer that runs or waits, else 0.
    pub loaded: u64,
    /// The blob's size in bytes.
    pub total: u64,
    /// Why a transfer was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<TransferError>,
    /// Whether it stays on this device.
    pub pinned: bool,
}

/// Why nothing is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Held {
    /// The remote wants credentials.
    Auth,
    /// The app said so.
    Paused,
    /// The browser says so, or the remote was not reached.
    Offline,
    /// This device is full; uploads go on.
    Quota,
}

/// api.md, `FileStore.status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Uploads that run.
    pub uploading: usize,
    /// Downloads that run.
    pub downloading: usize,
    /// Transfers that wait for their turn or for a back-off.
    pub queued: usize,
    /// Why nothing is started, if something holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Bytes moved by those that run.
    pub loaded: u64,
    /// Bytes of those that run or wait.
    pub total: u64,
    /// Whether nothing runs, waits, or is being looked up or written.
    pub idle: bool,
}

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeReason {
    /// A transfer's back-off is over, a state is to be written again, or a grace has passed.
    Blob,
    /// The remote was not reached; it is tried again.
    Reconnect,
}
