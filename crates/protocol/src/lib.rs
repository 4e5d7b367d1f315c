//! The wire: what travels between a Driftline client and the servers that it speaks to.
//!
//! Plain data with serde derives, and the limits and names that both sides must agree on. No I/O, no clock, no
//! randomness. What an app put into a row is opaque here: it is carried as [`RawValue`], the JSON text as it came,
//! and never parsed on its way through.
//!
//! * [`mizu`]: the push/pull dialect of mizu/sync v0.3, the reference server's own.
//! * [`files`]: the file service's headers, limits and error body.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod files;
pub mod mizu;

pub use serde_json::value::RawValue;
