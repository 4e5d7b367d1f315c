//! What the engine asks of its driver and tells the app.

use crate::{
    Code, ErrorInfo, HttpRequest, LiveEndpoint, OpId, Record, Timestamp, TxId,
    input::{LeaseName, TabNote},
    spec::{CollectionId, RemoteId},
};

/// An effect to perform, or an event for the app. Those with an [`OpId`] are answered exactly once.
#[derive(Clone, Debug)]
pub enum Output<V> {
    /// Read everything from disk: [`crate::Input::Loaded`].
    Load(OpId),
    /// Append one record to the log: [`crate::Input::Committed`].
    Commit(OpId, Commit<V>),
    /// Read the log's records after a number: [`crate::Input::LogRead`].
    ReadLog(OpId, u64),
    /// Replace the head of the log by segments: [`crate::Input::Checkpointed`].
    Checkpoint(OpId, Checkpoint<V>),
    /// Call the app's `persist` for a transaction: [`crate::Input::PersistAnswered`].
    Persist {
        /// The operation.
        op: OpId,
        /// The transaction; [`crate::Engine::transaction`] has the rest.
        transaction: TxId,
        /// The collection whose function it is: the first that the transaction touched.
        collection: CollectionId,
        /// The named function, or `None` for the collection's own.
        function: Option<String>,
        /// From 1.
        attempt: u32,
    },
    /// Call the app's `awaitSync`: [`crate::Input::AwaitSyncAnswered`].
    AwaitSync {
        /// The operation.
        op: OpId,
        /// The transaction.
        transaction: TxId,
        /// The collection whose function it is.
        collection: CollectionId,
        /// The named function, or `None` for the collection's own.
        function: Option<String>,
    },
    /// Abort the signal of a running `persist`, `awaitSync` or request. Its answer may still come, or not.
    Cancel(OpId),
    /// Send a request to a remote: [`crate::Input::RequestAnswered`].
    Request(OpId, RemoteId, HttpRequest),
    /// Open a remote's live channel: [`crate::Input::Live`].
    OpenLive(RemoteId, LiveEndpoint),
    /// Send a text over the live channel, which is open.
    SendFrame(RemoteId, String),
    /// Close it; nothing more is expected from it.
    CloseLive(RemoteId),
    /// Start the collection's own sync feed: this tab leads it. The feed's first full data is given to
    /// [`crate::Engine::sync_update`].
    StartSync(CollectionId),
    /// Stop it: another tab leads.
    StopSync(CollectionId),
    /// Ask for a lease and keep asking: [`crate::Input::LeaseGained`], and so on.
    ClaimLease(LeaseName),
    /// Give a lease back, or stop asking.
    ReleaseLease(LeaseName),
    /// Tell the other tabs of this database: [`crate::Input::TabNote`] there.
    TellTabs(TabNote),
    /// Rows of a collection changed, in the order in which they did.
    Rows(CollectionId, Vec<RowChange<V>>),
    /// A row has another key now; what follows the old one follows the new one. The rows themselves come as
    /// [`Output::Rows`].
    Rekeyed {
        /// The collection.
        collection: CollectionId,
        /// The temporary key.
        from: String,
        /// The server's.
        to: String,
    },
    /// Synced rows of a collection changed beneath what shows: predicates over them are to be tried again.
    SyncedRows(CollectionId),
    /// Something happened to a transaction.
    Transaction(TxId, TxEvent),
    /// The rows of the last session are there.
    Ready(CollectionId),
    /// The first sync of this session is in.
    Synced(CollectionId),
    /// Whether a remote answered after [`crate::Engine::ping`], or why it did not.
    Pinged(RemoteId, Option<ErrorInfo>),
    /// The status changed; [`crate::Engine::status`] has it.
    Status,
    /// An error that belongs to no transaction, or that nobody else will hear of.
    Error {
        /// What kind.
        code: Code,
        /// What to show.
        error: ErrorInfo,
        /// The transaction, if there is one.
        transaction: Option<TxId>,
    },
    /// Set the one timer.
    Wake(Timestamp, WakeReason),
}

/// A record to append, and what must hold for it.
#[derive(Clone, Debug)]
pub struct Commit<V> {
    /// The record.
    pub record: Record<V>,
    /// Leases whose epoch must still be this, checked in the same transaction.
    pub fences: Vec<Fence>,
    /// Rows to put into or take out of the mirror store, in the same transaction.
    pub mirror: Vec<MirrorPut<V>>,
}

/// A lease's epoch that must still stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease.
    pub lease: LeaseName,
    /// Its epoch.
    pub epoch: u64,
}

/// A visible row of a mirrored collection, for readers outside the page (the service worker).
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorPut<V> {
    /// The row's key.
    pub key: String,
    /// The row; `None`: gone.
    pub row: Option<V>,
}

/// A checkpoint to write in one transaction, if the log's last number is `upto` and the checkpoint on
/// disk is `replaces`; log records up to `upto` go in the same transaction.
#[derive(Clone, Debug)]
pub struct Checkpoint<V> {
    /// The checkpoint it follows.
    pub replaces: u64,
    /// The log number it covers.
    pub upto: u64,
    /// Segments to put.
    pub puts: Vec<(String, Record<V>)>,
    /// Segments to delete.
    pub deletes: Vec<String>,
}

/// One visible row before and after; both are never `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange<V> {
    /// The key.
    pub key: String,
    /// What shows now.
    pub value: Option<V>,
    /// What showed before.
    pub previous: Option<V>,
}

/// What happened to a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum TxEvent {
    /// Its state, attempts or place changed.
    Changed,
    /// It is in the journal.
    Durable,
    /// It could not be written to the journal; its rows are taken back.
    NotDurable(ErrorInfo),
    /// The backend has it.
    Persisted,
    /// It is done.
    Completed,
    /// It failed for good; its rows are taken back.
    Failed {
        /// Why.
        error: ErrorInfo,
        /// The transaction that failed first, when this one only waited on it.
        cause: Option<TxId>,
    },
    /// The app discarded it.
    Discarded,
}

/// Why the engine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeReason {
    /// A transaction's back-off is over.
    Retry,
    /// A pull that failed is tried again.
    PullBackoff,
    /// The safety net: a pull in any case.
    Poll,
    /// A live channel is opened anew.
    Reconnect,
    /// A live channel is asked whether it lives, or has not answered in time.
    Liveness,
    /// A write to disk that failed is tried again.
    Storage,
    /// The journal is idle: time to write a checkpoint.
    Checkpoint,
}

/// How soon [`Input::TurnEnded`](crate::Input::TurnEnded) is due. Whichever it is, earlier and later are both right:
/// nothing takes effect before its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// When the app's code that runs now is done: it has written.
    Now,
    /// After the microtasks that what was just told brings about, so that what the app writes then is in the
    /// same record.
    Soon,
    /// Some milliseconds later: what became of transactions that nothing waits for, while others are being sent.
    Late,
}
