//! Fuzzes two whole forwarders with a live tunnel; the property lives beside the tests that replay it.
#![no_main]

#[path = "../../../engine/dataplane/tests/fuzz/forwarder.rs"]
mod forwarder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| forwarder::check(data));
