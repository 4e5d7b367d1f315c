//! What moves the engine besides commands.

use crate::{ErrorInfo, Failure, HttpResponse, OpId, Record, spec::RemoteId};

/// The name of a lease: `c/<collection>` or `r/<remote>`. The driver makes a Web Lock and an epoch of it.
pub type LeaseName = String;

/// An answer, a frame, or a change in the environment.
#[derive(Clone, Debug)]
pub enum Input<V> {
    /// The present turn of the event loop is over: what it wrote may be committed.
    TurnEnded,
    /// Answers [`crate::Output::Load`]. An error closes the engine's storage: every write is refused with it.
    Loaded(OpId, Result<Loaded<V>, CommitError>),
    /// Answers [`crate::Output::Commit`], after the transaction completed or aborted. The number is the
    /// record's key in the log.
    Committed(OpId, Result<u64, CommitError>),
    /// Answers [`crate::Output::ReadLog`].
    LogRead(OpId, Result<LogRead<V>, CommitError>),
    /// Answers [`crate::Output::Checkpoint`]: whether it was written; `false` when the log had moved on.
    Checkpointed(OpId, Result<bool, CommitError>),
    /// Answers [`crate::Output::Persist`].
    PersistAnswered(OpId, Result<PersistOk, Failure>),
    /// Answers [`crate::Output::AwaitSync`]; an error is a warning, since what is persisted can't fail.
    AwaitSyncAnswered(OpId, Result<(), ErrorInfo>),
    /// Answers [`crate::Output::Request`].
    RequestAnswered(OpId, Result<HttpResponse, TransportError>),
    /// Something came over a remote's live channel.
    Live(RemoteId, LiveEvent),
    /// Another tab committed the record with this number.
    LogGrew(u64),
    /// Another tab wrote a checkpoint of everything up to this number.
    CheckpointedElsewhere(u64),
    /// This tab holds the lease, with this epoch.
    LeaseGained(LeaseName, u64),
    /// This tab no longer holds the lease.
    LeaseLost(LeaseName),
    /// The lease was asked for and another tab holds it; the request stays queued.
    LeaseElsewhere(LeaseName),
    /// Another tab of this database tells something ([`crate::Output::TellTabs`]).
    TabNote(TabNote),
    /// The browser's hint about the network. It makes a try come sooner, never later.
    Online(bool),
    /// The page became visible or hidden.
    Visible(bool),
    /// The time of the last [`crate::Output::Wake`] has come.
    Timer,
}

/// What the engines of tabs tell each other. It may be lost; it is told again as long as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TabNote {
    /// Work waits on this lease whose collections are these, and the tab that holds it does not know them all.
    Wanted {
        /// The lease.
        lease: LeaseName,
        /// The collections' ids.
        collections: Vec<String>,
    },
    /// The app of a tab wants to know whether the remote of this lease is there.
    Ping {
        /// The lease.
        lease: LeaseName,
    },
    /// Whether it is, as the tab knows that holds the lease.
    Pinged {
        /// The lease.
        lease: LeaseName,
        /// Why it is not.
        failed: Option<ErrorInfo>,
    },
    /// A tab that stands in line for this lease knows all that was asked for.
    Offered {
        /// The lease.
        lease: LeaseName,
    },
}

/// Everything that is on disk.
#[derive(Clone, Debug)]
pub struct Loaded<V> {
    /// The log number that the checkpoint covers; zero without one.
    pub checkpoint: u64,
    /// The checkpoint's segments, by name.
    pub segments: Vec<(String, Record<V>)>,
    /// The log after it, in order.
    pub log: Vec<(u64, Record<V>)>,
    /// There was another database of this name, which nobody has deleted through Driftline.
    pub is_anew: bool,
}

/// A stretch of the log.
#[derive(Clone, Debug)]
pub struct LogRead<V> {
    /// The number that the checkpoint on disk covers: when it is past what was asked for, records are missing.
    pub checkpoint: u64,
    /// The records after the number that was asked for, in order.
    pub records: Vec<(u64, Record<V>)>,
}

/// Why a write to disk did not happen. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// A lease of this tab had been taken over.
    Fenced(LeaseName),
    /// The browser has no room; the figures are the origin's, in bytes.
    Quota {
        /// What is used.
        usage_bytes: u64,
        /// What there is.
        quota_bytes: u64,
    },
    /// IndexedDB can't be used: a private window, a deleted database, a connection that could not be reopened.
    Unavailable(String),
    /// Structured clone refused a value that had passed the check at the call.
    NotCloneable(String),
}

/// What `persist` answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersistOk {
    /// Temporary keys that the transaction wrote under, and the server's for them.
    pub rekey: Vec<(String, String)>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// Nothing was reached, or the connection broke; the other side may or may not have acted.
    Unreachable(String),
    /// No answer within the request's time-out; the other side may have acted.
    TimedOut,
    /// The answer was larger than the request allowed, in bytes.
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The app's function for credentials threw, or the backend said of them that they are no good.
    Credentials(String),
}

/// What a live channel brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// It is open.
    Opened,
    /// A message's text.
    Frame(String),
    /// It was not opened, since the app's function for credentials threw, or the backend closed it for want of good ones.
    Refused(String),
    /// It is closed, for whatever reason. The engine opens it anew after a back-off.
    Closed,
}
