//! Fuzzes merging and cutting streams of packets; the property lives beside the tests that replay it.
#![no_main]

#[path = "../../../engine/dataplane/tests/fuzz/coalesce.rs"]
mod coalesce;

libfuzzer_sys::fuzz_target!(|data: &[u8]| coalesce::check(data));
