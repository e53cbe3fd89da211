//! Fuzzes two speakers with a bad cable between them; the property lives beside the test that replays it.
#![no_main]

#[expect(dead_code, reason = "the tests of the speaker use all of it")]
#[path = "../../../bgp/tests/speaker/fabric.rs"]
mod fabric;
#[path = "../../../bgp/tests/speaker/propagation.rs"]
mod propagation;
#[expect(dead_code, reason = "the tests of the speaker use all of it")]
#[path = "../../../bgp/tests/speaker/vocabulary.rs"]
mod vocabulary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| propagation::check(data));
