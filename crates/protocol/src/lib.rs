//! The wire: what travels between a Driftline client and the servers that it speaks to.
//!
//! Plain data with serde derives, and the limits and names that both sides must agree on. No I/O, no clock, no
//! randomness. What an app put into a row is opaque here: it is carried as [`RawValue`], the JSON text as it came,
//! and never parsed on its way through.
//!
//! * [`decode`]: how all of them are read, and what is said when that fails.
//! * [`mizu`]: the push/pull dialect of mizu/sync v0.3, the reference server's own.
//! * [`livestore`]: the event log of LiveStore's sync-cf.
//! * [`s2`]: records of an S2 stream, read and appended directly or through a proxy; [`sse`] cuts its live reads.
//! * [`files`]: the file service's headers, limits and error body.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod decode;
pub mod files;
mod json;
pub mod livestore;
pub mod mizu;
pub mod s2;
pub mod sse;

#[cfg(test)]
mod testing;

pub use serde_json::value::RawValue;
