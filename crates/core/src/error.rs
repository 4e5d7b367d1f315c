//! One error type for the crate: what went wrong, as a code of `spec/api.md`, with the figures a person needs.

use serde::{Deserialize, Serialize};

/// The one list of codes: `js/codes.ts` and `js/errors.md` are made from it, by `tests/codes.rs`.
///
/// Each has its name, its text, whether it lasts, the fields that such an error may carry in JavaScript, what
/// happened, and what to do.
macro_rules! codes {
    ($($name:ident $text:literal: $lasting:ident, [$($field:literal),*], $happened:literal, $remedy:literal;)*) => {
        /// The code of an error, as JavaScript sees it. The texts are a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $happened] $name,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code's text in JavaScript, such as `duplicate_key`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether it lasts.
            #[must_use]
            pub fn lasting(self) -> Lasting {
                match self { $(Self::$name => Lasting::$lasting,)* }
            }

            /// The fields that an error of this code may carry in JavaScript, besides those that all have.
            #[must_use]
            pub fn fields(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($field),*],)* }
            }

            /// What happened, as a sentence.
            #[must_use]
            pub fn happened(self) -> &'static str {
                match self { $(Self::$name => $happened,)* }
            }

            /// What to do about it, as a sentence.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

codes! {
    // Thrown by Driftline.
    DuplicateKey "duplicate_key": Final, [],
        "A row with this key is there already.",
        "Update that row, or insert under another key.";
    MissingKey "missing_key": Final, [],
        "There is no row with this key.",
        "Insert it first, or look with `has` before the call.";
    InvalidKey "invalid_key": Final, [],
        "A row's key is not a string, is empty, or has more than 1,024 bytes.",
        "Give the row an id, or say with `getKey` where its key is.";
    NotCloneable "not_cloneable": Final, ["path"],
        "A value can't be stored: structured clone refuses it (a function, a symbol, a DOM node).",
        "Leave out the field that `path` names, or store what it is made of.";
    InvalidRow "invalid_row": Final, ["issues"],
        "The row or the change is no object, or the collection's schema refuses it or answers asynchronously.",
        "Show `issues` to the person who typed it; a schema for rows answers synchronously.";
    TooLarge "too_large": Final, ["limitBytes", "sizeBytes"],
        "A change, a push or a file is larger than what stores it takes.",
        "Keep large content in files; split what is many.";
    QueueFull "queue_full": Temporary, [],
        "As many transactions wait as `maxPending` allows.",
        "Wait for the queue to drain, discard some, or raise `maxPending`.";
    QuotaExceeded "quota_exceeded": Temporary, ["usage", "quota"],
        "The browser has no room left for this site.",
        "Free some space, then write again.";
    StorageUnavailable "storage_unavailable": Temporary, [],
        "The browser's storage can't be opened, read or written.",
        "Leave private browsing, or reload; then write again.";
    StorageLost "storage_lost": Final, [],
        "The browser has lost or emptied the database that was here: all that was stored in it and not sent is gone.",
        "Tell the person who wrote it; what the backend has comes back by itself.";
    Closed "closed": Final, [],
        "The database was closed.",
        "Open it again with `openDriftline()`.";
    AlreadyRegistered "already_registered": Final, [],
        "The id of a collection or a backend is taken, with another config.",
        "Keep what the first call gave, or make the config once.";
    MixedPersist "mixed_persist": Final, [],
        "A transaction spans collections that have no `persist` function or remote in common.",
        "Give them one, or name a function: `db.transaction(body, { mutationFn })`.";
    UnknownMutation "unknown_mutation": Final, [],
        "A mutation function or a merge is named that the collection does not have.",
        "Add it to the collection's `mutationFns` or `merges`.";
    NotDiscardable "not_discardable": Final, [],
        "The transaction is being sent, or the backend has it.",
        "Wait for its end, or write what undoes it.";
    Discarded "discarded": Final, [],
        "The transaction was discarded, alone or with one that it waited on.",
        "Nothing: its changes are taken back. Write them anew if they are wanted.";
    Cascade "cascade": Final, ["transactionId"],
        "An earlier transaction on the same row failed, and this one with it.",
        "Look at the error of `transactionId`; `transactions.retry()` sends this one again.";
    BackendReset "backend_reset": Final, [],
        "The backend was wiped or replaced: it does not know what it gave before.",
        "What waits is kept and sent to the new one; check what only the old one had.";
    ServerAhead "server_ahead": Temporary, [],
        "The backend has events that this client has not seen.",
        "Nothing: they are pulled first, and the push is made again.";
    InvalidPush "invalid_push": Final, [],
        "The backend refused a change, or answered a push with what can't be understood.",
        "Look at the message; retry or discard the transaction.";
    InvalidPull "invalid_pull": Final, [],
        "The backend answered a pull with what can't be understood.",
        "Check that client and server speak one version; it is asked again after a pause.";
    Offline "offline": Temporary, [],
        "The backend can't be reached.",
        "Nothing: what is written is kept, and sent when it can be.";
    AuthRequired "auth_required": Temporary, [],
        "The backend asks for credentials.",
        "Sign in, then call `resume()`; what is written is kept.";
    NotFound "not_found": Final, [],
        "There is no transaction, file, collection or remote with this id.",
        "Look at what `list()` gives.";
    DigestMismatch "digest_mismatch": Final, [],
        "The bytes of a file are not those that its hash names.",
        "Download or save it again; the wrong bytes are never served.";
    NotInitialized "not_initialized": Final, [],
        "Something was used before the call that the message names.",
        "Make that call first.";
    Unexpected "unexpected": Final, [],
        "A call was made in a way that is none of the above, or an app's function failed.",
        "Read the message, and `cause` where there is one.";

    // Thrown by an app's functions, to say what to do.
    NonRetriable "non_retriable": Final, [],
        "`NonRetriableError`: trying again can't help.",
        "The transaction fails now, with those that wait on it; retry or discard it.";
    RetryAfter "retry_after": Temporary, [],
        "`RetryAfterError`: try again, but not before `afterMs` have passed.",
        "Nothing: it is tried again then.";
    Network "network": Temporary, [],
        "`NetworkError`: nothing was reached, so no attempt is spent.",
        "Nothing: it is tried again when the network may be back.";
}

impl Code {
    /// Whether the same call may succeed later without a change to it.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.lasting() == Lasting::Temporary
    }

    /// Whether Driftline never throws it by itself: it is there for an app's functions.
    #[must_use]
    pub fn is_apps(self) -> bool {
        matches!(self, Self::NonRetriable | Self::RetryAfter | Self::Network)
    }
}

/// Whether what went wrong may go well later by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// The same call fails again.
    Final,
    /// The same call may succeed later.
    Temporary,
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
        Self { code, message: sentence(message.into()), limit: None, actual: None }
    }

    /// An error about a limit that was passed.
    pub fn limit(code: Code, limit: u64, actual: u64, message: impl Into<String>) -> Self {
        Self { limit: Some(limit), actual: Some(actual), ..Self::new(code, message) }
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
    /// The limit that was passed and the figure that passed it; of errors that no journal holds.
    #[serde(skip)]
    pub figures: Option<(u64, u64)>,
}

impl ErrorInfo {
    /// One of Driftline's own errors.
    pub fn of(code: Code, message: impl Into<String>) -> Self {
        Self {
            name: "DriftlineError".into(),
            code: code.as_str().into(),
            message: sentence(message.into()),
            original: None,
            figures: None,
        }
    }

    /// The same with the limit that was passed and the figure that passed it.
    #[must_use]
    pub fn with_figures(self, limit: u64, actual: u64) -> Self {
        Self { figures: Some((limit, actual)), ..self }
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

/// A message as a person reads it: it begins with a capital and ends with a full stop.
fn sentence(mut message: String) -> String {
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if !message.is_empty() && !message.ends_with(['.', '!', '?']) {
        message.push('.');
    }
    message
}
