//! Driftline's deterministic state machines. No clock, no randomness, no I/O, no web, no async.
//!
//! # The driving contract
//!
//! One [`Engine`] per tab holds a database's transactions, collections and sync sessions. It is
//! moved by three kinds of calls and by nothing else, each of which takes the time:
//!
//! - **commands** of the app ([`Engine::register`], [`Engine::transact`], [`Engine::discard`], …),
//!   which answer at once, with a typed error if the input is bad, and leave the state as it was then;
//! - [`Engine::handle_input`] with an [`Input`]: the answer to an earlier output, a frame, a change in
//!   the environment, the end of a turn, the timer;
//! - [`Engine::poll_output`], called after each of the former until it returns `None`: it hands out
//!   the [`Output`]s, in order. An output with an [`OpId`] is answered exactly once, by the input that
//!   names it.
//!
//! The driver's duties:
//!
//! 1. Start with [`Output::Load`]; nothing else comes before it is answered, though commands are taken.
//! 2. After the commands and inputs of one turn of the event loop, if [`Engine::wants_turn_end`], send
//!    [`Input::TurnEnded`]: what the turn wrote becomes one [`Output::Commit`]. One commit is in flight
//!    at a time; what is written meanwhile shares the next one.
//! 3. Answer a commit only once its IndexedDB transaction has completed. Fences are checked in that
//!    same transaction.
//! 4. Keep the one timer that [`Output::Wake`] sets (each replaces the last), and send
//!    [`Input::Timer`] when it is due; early and late wake-ups are harmless.
//! 5. Tell other tabs of each commit's number; they pass it on as [`Input::LogGrew`].
//!
//! # What the engine is
//!
//! The journal is a log that all tabs of a database share; every tab's engine replays it, so each sees
//! the others' pending work. A tab's own writes show before they are in the log and take their place in
//! the order when they are committed. What is sent, and what is decided about it, is decided by the one
//! tab that holds a *lease* (a lock and an epoch), and its records are refused once the epoch has risen.
//!
//! Row values are opaque: see [`Value`].

mod backend;
mod engine;
mod error;
pub mod files;
pub mod input;
pub mod output;
mod random;
mod record;
pub mod response;
pub mod spec;
mod time;
mod value;
pub mod view;

pub use backend::{HttpRequest, HttpResponse, LiveEndpoint, Method};
pub use engine::Engine;
pub use error::{Code, Error, ErrorInfo, Failure, FailureKind, Lasting};
pub use input::{
    CommitError, Input, LeaseName, LiveEvent, Loaded, LogRead, PersistOk, TabNote, TransportError,
};
pub use output::{Checkpoint, Commit, Fence, Haste, MirrorPut, Output, RowChange, TxEvent, WakeReason};
pub use record::Record;
pub use spec::{
    CollectionSpec, Config, DraftKind, MutationDraft, RemoteSpec, RetryPolicy, RowWrite, Scope,
    StoredMutation, Strategy, SyncUpdate, TransactionDraft,
};
pub use time::Timestamp;
pub use value::Value;

/// Numbers an output that is answered; unique for the life of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Names a transaction: a UUID (version 7), made from the engine's seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u128);

impl TxId {
    /// Reads the text form of an id; `None` if it is not a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|id| Self(id.as_u128()))
    }

    /// The text form: 32 hexadecimal digits in groups.
    pub fn text(self) -> [u8; 36] {
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.to_be_bytes().into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            for nibble in [byte >> 4, byte & 15] {
                text[at] = b"0123456789abcdef"[usize::from(nibble)];
                at += 1;
            }
        }
        text
    }
}

impl core::fmt::Display for TxId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(core::str::from_utf8(&self.text()).expect("digits and hyphens are ASCII"))
    }
}

impl core::fmt::Debug for TxId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}
