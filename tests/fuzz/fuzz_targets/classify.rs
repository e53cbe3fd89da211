//! Fuzzes classification of IPv4 packets; the property lives beside the tests that replay it.
#![no_main]

#[path = "../../../engine/dataplane/tests/fuzz/classify.rs"]
mod classify;

libfuzzer_sys::fuzz_target!(|data: &[u8]| classify::check(data));
