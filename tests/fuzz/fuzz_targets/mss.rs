//! Fuzzes the MSS clamp; the property lives beside the tests that replay it.
#![no_main]

#[path = "../../../engine/dataplane/tests/fuzz/mss.rs"]
mod mss;

libfuzzer_sys::fuzz_target!(|data: &[u8]| mss::check(data));
