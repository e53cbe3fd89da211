//! Fuzzes the order of connections, bytes, deadlines and changes; the property lives beside the test that replays it.
#![no_main]

#[path = "../../../bgp/tests/speaker/schedule.rs"]
mod schedule;
#[path = "../../../bgp/tests/speaker/vocabulary.rs"]
mod vocabulary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| schedule::check(data));
