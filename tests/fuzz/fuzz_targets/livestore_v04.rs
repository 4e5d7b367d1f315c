#![no_main]

#[path = "../../../crates/protocol/tests/decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|input: &[u8]| decoders::livestore_v04(input));
