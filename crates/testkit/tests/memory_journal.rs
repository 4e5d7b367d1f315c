//! The memory journal passes the journal's conformance suite.

use driftline_testkit::{
    block_on, for_each_journal_check,
    journal::{MemoryHarness, suite},
};

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                block_on(suite::$name(&mut MemoryHarness::default()));
            }
        )*
    };
}

for_each_journal_check!(tests);
