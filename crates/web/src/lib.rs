//! Drivers for browsers: what the core's outputs ask for, done with IndexedDB, requests, live channels,
//! locks, channels between tabs and the clock.

pub mod channel;
pub mod driver;
pub mod environment;
pub mod http;
pub mod journal;
pub mod live;
pub mod locks;
pub mod opfs;
pub mod schema;
pub mod scope;
pub mod transfer;
pub mod value;
