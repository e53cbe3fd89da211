//! Fuzzes the framings of tunnels without encryption; the property lives beside the tests that replay it.
#![no_main]

#[path = "../../../engine/dataplane/tests/fuzz/encap.rs"]
mod encap;

libfuzzer_sys::fuzz_target!(|data: &[u8]| encap::check(data));
