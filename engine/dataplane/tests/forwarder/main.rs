//! Whole forwarders on virtual time: two routers with real WireGuard devices between two LANs (see `lab.rs`).
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

mod arp;
mod counting;
mod errors;
mod fitting;
mod forwarding;
mod hosts;
mod isolation;
mod lab;
mod neighbors;
mod nested;
mod paths;
mod plain;
mod refusals;
mod sessions;
mod sources;
mod tapping;
mod workers;
