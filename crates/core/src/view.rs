//! What the app sees of transactions and status: snapshots, made when asked for.

use crate::{ErrorInfo, Timestamp, TxId, spec::CollectionId};

/// A transaction's state, in the words of `spec/transactions.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum TransactionState {
    Pending,
    Queued,
    Persisting,
    PersistedAwaitingSync,
    Completed,
    Failed,
}

impl TransactionState {
    /// Every state, in the order in which a transaction goes through them.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Queued,
        Self::Persisting,
        Self::PersistedAwaitingSync,
        Self::Completed,
        Self::Failed,
    ];

    /// The state's text in JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Persisting => "persisting",
            Self::PersistedAwaitingSync => "persisted_awaiting_sync",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The state with this text in JavaScript.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// Which transactions are listed; what is `None` asks for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransactionFilter<'a> {
    /// In one of these states.
    pub states: Option<&'a [TransactionState]>,
    /// With a mutation of the collection of this name.
    pub collection: Option<&'a str>,
    /// Made at this time or later.
    pub since: Option<Timestamp>,
}

/// A transaction, as it stands.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TransactionView<V> {
    pub id: TxId,
    /// The same for every attempt, for life.
    pub idempotency_key: String,
    pub state: TransactionState,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub mutations: Vec<PendingMutationView<V>>,
    pub attempts: Vec<AttemptView>,
    /// The attempt that runs or ran last, from 1; zero before the first.
    pub current_attempt: u32,
    /// The nearest earlier transaction that it waits for.
    pub queued_behind: Option<TxId>,
    pub metadata: Option<V>,
    pub function: Option<String>,
    pub error: Option<ErrorInfo>,
    /// The transaction that failed first, when this one failed with it.
    pub cause: Option<TxId>,
    /// Whether it is in the journal.
    pub durable: bool,
    /// What `awaitSync` said, when it did not succeed.
    pub warning: Option<ErrorInfo>,
}

/// One try of a transaction.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct AttemptView {
    /// `<transaction>:<number from 1>`.
    pub id: String,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    pub error: Option<ErrorInfo>,
    pub retry_scheduled_for: Option<Timestamp>,
}

/// What a mutation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MutationKind {
    Insert,
    Update,
    Delete,
}

impl MutationKind {
    /// The kind's text in JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One change of a transaction to one object.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PendingMutationView<V> {
    /// `<transaction>:<index from 0>`.
    pub mutation_id: String,
    /// The collection's id, as the app names it.
    pub collection: String,
    pub key: String,
    pub kind: MutationKind,
    pub original: Option<V>,
    pub modified: Option<V>,
    /// What changed; `None` for a delete.
    pub changes: Option<V>,
    pub metadata: Option<V>,
}

/// What stands and why.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StatusView {
    /// Unfinished transactions.
    pub pending: usize,
    /// Failed ones that nobody discarded.
    pub failed: usize,
    /// The oldest one that waits.
    pub oldest_waiting: Option<OldestWaiting>,
    /// Whether this tab leads each registered collection.
    pub leader: Vec<(CollectionId, bool)>,
    /// The hold that is on, if any.
    pub paused: Option<PausedView>,
    pub last_error: Option<ErrorInfo>,
}

/// The oldest transaction that waits, and for what.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct OldestWaiting {
    pub since: Timestamp,
    pub transaction: TxId,
    /// In words for people.
    pub why: String,
}

/// A hold.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PausedView {
    pub reason: String,
    pub since: Timestamp,
    /// The collection or remote that is held; `None`: all.
    pub of: Option<String>,
}

/// The state of a remote's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RemoteState {
    Connecting,
    Live,
    Polling,
    Offline,
    Auth,
    Reset,
}

impl RemoteState {
    /// The state's text in JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Polling => "polling",
            Self::Offline => "offline",
            Self::Auth => "auth",
            Self::Reset => "reset",
        }
    }
}

/// A remote's session, as it stands.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct RemoteView {
    pub state: RemoteState,
    pub cursor: Option<u64>,
    pub pending: usize,
    pub last_error: Option<ErrorInfo>,
    /// Whether the backend answered when last it was asked, or spoke since.
    pub connected: bool,
    /// Whether this tab runs the session; otherwise the state is what the leading tab last told, if it did.
    pub leads: bool,
}
