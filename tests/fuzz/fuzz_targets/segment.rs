//! Fuzzes segmentation; the property lives beside the tests that replay it.
#![no_main]

#[path = "../../../engine/dataplane/tests/fuzz/segment.rs"]
mod segment;

libfuzzer_sys::fuzz_target!(|data: &[u8]| segment::check(data));
