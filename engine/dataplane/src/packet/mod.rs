//! Packet formats: views and values, no policy.

pub mod arp;
pub mod checksum;
pub mod classify;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;

pub use classify::{Classified, L4, classify};
