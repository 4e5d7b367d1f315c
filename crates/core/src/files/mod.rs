//! The file planner: decides what to upload, download, delete and tell, and does none of it.
//!
//! One [`FileEngine`] runs in the dedicated worker of the tab that leads a database's transfers. It is
//! moved by [`FileEngine::handle_input`] and drained by [`FileEngine::poll_output`]; nothing else moves it.
//!
//! The driver's duties:
//!
//! 1. First [`Input::Restored`], with everything from the `transfers` store. Records may come before
//!    or after; nothing is sent before it, and nothing is deleted before a [`Input::Records`] that says
//!    it is complete.
//! 2. Answer each output that has an [`OpId`](crate::OpId) exactly once, by the input that names it.
//!    [`Output::Cancel`] asks for an early answer to a start, and is not answered itself.
//! 3. Answer [`Output::StoreState`] only once its IndexedDB transaction has completed.
//! 4. Keep the one timer that [`Output::Wake`] sets (each replaces the last), and send
//!    [`Input::Timer`] when it is due; early and late wake-ups are harmless.
//! 5. Delete under the blob's Web Lock, and only if the stored `saves` is still the one that
//!    [`Output::DeleteBlob`] names: another tab may have saved the same bytes meanwhile. The same
//!    IndexedDB transaction that looks sets `local` to `false`, so that a crash half-way leaves no
//!    promise of bytes that are gone.
//! 6. Perform what concerns one blob's state in the order it was asked for.
//!
//! Bytes, not records, are what moves: everything is per [`Digest`], so that two records with the same
//! bytes share one blob and one transfer. Reconciliation has two passes (files.md): what records and
//! stored state decide needs no disk; for the rest there is [`Output::Probe`]. Only what changed is
//! looked at again.

mod answers;
mod blob;
mod digest;
mod engine;
mod input;
mod output;
mod queue;
mod settle;
mod stored;

pub use digest::{Digest, DigestError};
pub use engine::{Config, FileEngine};
pub use input::{DeleteOutcome, Failure, FailureKind, FileId, Input, RecordFacts};
pub use output::{FileState, Held, Output, Status, TransferKind, TransferStatus, WakeReason};
pub use stored::{LaneState, Stored, TransferError};

/// The largest blob that is stored: 16 GiB (files.md, Bounds).
pub const MAX_BLOB_BYTES: u64 = 16 << 30;

/// How long an open reader may still use a blob after its last record went (files.md).
pub const READER_GRACE_MS: u64 = 60_000;

/// How long a saved blob may wait for its first record before it counts as an orphan.
pub const ORPHAN_GRACE_MS: u64 = 3_600_000;
