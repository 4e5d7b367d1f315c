//! Driftline's reference server: sync engine, pokes and file service over HTTP, on SQLite and the local disk.
//!
//! * [`Server`]: the whole, as the `driftline-server` command runs it; [`Server::bind_with`] takes an app's own mutator.
//! * [`engine`]: the sync engine alone, synchronous, for a program that has its own HTTP, and for simulation.
//! * [`livestore`]: the event logs of LiveStore's clients alone.
//! * [`files`]: the blob store alone.
//! * [`error`]: the crate's one error type.

mod config;
pub mod engine;
pub mod error;
pub mod files;
pub mod livestore;
mod metrics;
mod routes;
mod server;
mod writer;

pub use config::Config;
pub use server::{DRAIN_TIMEOUT, Server};
