//! Fuzzes ARP and Ethernet headers; the property lives beside the tests that replay it.
#![no_main]

#[path = "../../../engine/dataplane/tests/fuzz/arp.rs"]
mod arp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| arp::check(data));
