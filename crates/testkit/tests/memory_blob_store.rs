//! The blob store in memory passes the conformance suite.

use driftline_testkit::{
    blob_store::{MemoryBlobHarness, suite},
    block_on, for_each_blob_store_check,
};

macro_rules! tests {
    ($($name:ident)*) => { $(#[test] fn $name() { block_on(suite::$name(&mut MemoryBlobHarness::default())); })* };
}
for_each_blob_store_check!(tests);
