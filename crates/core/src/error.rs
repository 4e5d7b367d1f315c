//! One error type for the crate: what went wrong, as a code of `spec/api.md`, with the figures a person needs.

use serde::{Deserialize, Serialize};

/// The code of an error, as JavaScript sees it. The texts are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Code {
    DuplicateKey,
    MissingKey,
    InvalidKey,
    TooLarge,
    QueueFull,
    QuotaExceeded,
    StorageUnavailable,
    Closed,
    AlreadyRegistered,
    MixedPersist,
    UnknownMutation,
    NotDiscardable,
    Discarded,
    Cascade,
    BackendReset,
    ServerAhead,
    InvalidPush,
    InvalidPull,
    Offline,
    AuthRequired,
    NotFound,
    Unexpected,
    NotCloneable,
    InvalidRow,
}

impl Code {
    /// The code's text in JavaScript, such as `duplicate_key`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateKey => "duplicate_key",
            Self::MissingKey => "missing_key",
            Self::InvalidKey => "invalid_key",
            Self::TooLarge => "too_large",
            Self::QueueFull => "queue_full",
            Self::QuotaExceeded => "quota_exceeded",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Closed => "closed",
            Self::AlreadyRegistered => "already_registered",
            Self::MixedPersist => "mixed_persist",
            Self::UnknownMutation => "unknown_mutation",
            Self::NotDiscardable => "not_discardable",
            Self::Discarded => "discarded",
            Self::Cascade => "cascade",
            Self::BackendReset => "backend_reset",
            Self::ServerAhead => "server_ahead",
            Self::InvalidPush => "invalid_push",
            Self::InvalidPull => "invalid_pull",
            Self::Offline => "offline",
            Self::AuthRequired => "auth_required",
            Self::NotFound => "not_found",
            Self::Unexpected => "unexpected",
            Self::NotCloneable => "not_cloneable",
            Self::InvalidRow => "invalid_row",
        }
    }

    /// Whether the same call may succeed later without a change to it.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::QueueFull
                | Self::QuotaExceeded
                | Self::StorageUnavailable
                | Self::ServerAhead
                | Self::Offline
                | Self::AuthRequired
        )
    }
}

/// Bad input to a command: the state before it stands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of thing went wrong.
    pub code: Code,
    /// What happened, what was kept, what to do.
    pub message: String,
    /// The limit that was passed, in bytes or pieces as the code says.
    pub limit: Option<u64>,
    /// The figure that passed it.
    pub actual: Option<u64>,
}

impl Error {
    /// An error without figures.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), limit: None, actual: None }
    }

    /// An error about a limit that was passed.
    pub fn limit(code: Code, limit: u64, actual: u64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), limit: Some(limit), actual: Some(actual) }
    }
}

/// What is known of an error that was met while sending: enough to show it again after a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// The JavaScript `name`, or the type.
    pub name: String,
    /// The `code`, one of [`Code`]'s texts for Driftline's own, the app's otherwise; empty if it had none.
    pub code: String,
    /// The message.
    pub message: String,
    /// The driver's number for the original error object, which lives as long as the tab.
    #[serde(skip)]
    pub original: Option<u32>,
}

impl ErrorInfo {
    /// One of Driftline's own errors.
    pub fn of(code: Code, message: impl Into<String>) -> Self {
        Self {
            name: "DriftlineError".into(),
            code: code.as_str().into(),
            message: message.into(),
            original: None,
        }
    }
}

/// How sending failed, classified once, at the edge, by type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// What to show.
    pub error: ErrorInfo,
}

/// What a failure means for the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Trying again can't help: the transaction fails, with those that wait on it.
    Permanent,
    /// Worth another try, after a back-off or after what the other side asked for.
    Temporary {
        /// The wait the other side or the app asked for, in milliseconds; `None`: the policy's back-off.
        after_ms: Option<u64>,
        /// Whether this try counts against the limit.
        counts_attempt: bool,
    },
    /// Nothing was reached: no attempt is spent.
    Unreachable,
    /// The other side wants credentials: everything on this line waits for [`crate::Engine::resume`].
    AuthRequired,
}
