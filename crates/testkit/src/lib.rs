//! Fakes and conformance suites: what every journal, backend and blob store must pass, be it a fake or
//! the real one.
//!
//! - [`journal`]: the [`journal::JournalStore`] trait, [`journal::MemoryDisk`] and its suite.
//! - [`blob_store`]: the [`blob_store::BlobStore`] trait, [`blob_store::MemoryBlobs`] and its suite.
//! - [`backend`]: the suite for a server that speaks mizu's `v0.3` wire, given as a request function.
//! - [`livestore`]: the suites for servers of LiveStore's sync-cf, given as a WebSocket.
//! - [`replay`]: the suite for the client's side of every wire, given what the published servers were recorded to say.
//! - [`s2`]: the suites for servers of S2's REST v1 and of LiveStore's sync-s2, given as a request function, and fakes of
//!   both.
//!
//! Suites are plain async functions, one per behaviour, that panic when it does not hold. They wait for
//! nothing but the thing under test: natively [`block_on`] runs them, in a browser the test runner does.
//! To make a test of each, hand a macro to [`for_each_journal_check!`] or [`for_each_backend_check!`]:
//!
//! ```
//! use driftline_testkit::{block_on, for_each_journal_check, journal::{MemoryHarness, suite}};
//!
//! macro_rules! tests {
//!     ($($name:ident)*) => { $(fn $name() { block_on(suite::$name(&mut MemoryHarness::default())); })* fn all() { $($name();)* } };
//! }
//! for_each_journal_check!(tests);
//! all();
//! ```

pub mod backend;
pub mod blob_store;
pub mod journal;
pub mod livestore;
pub mod replay;
pub mod s2;

use core::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// Runs a future that never waits for the outside: each poll must bring it on.
///
/// # Panics
/// If the future is still pending after [`POLLS_MAX`] polls: it waits for something that natively never comes.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!(
        "the future waits for something outside of it; natively only futures that are always ready are run"
    );
}

/// How often [`block_on`] polls before it gives up.
pub const POLLS_MAX: usize = 1_000;
