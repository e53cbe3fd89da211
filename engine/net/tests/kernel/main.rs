//! Real packets through a real kernel, in namespaces that vanish with the test.
//!
//! ```text
//!   namespace left                        namespace right
//!   [ left  10.9.0.1/24 ] ---- veth ---- [ right 10.9.0.2/24 ]
//! ```
//!
//! A test that lacks a privilege or a device says `skipped: why` and returns.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panic and say what they skip"
)]

mod cable;
mod echo_socket;
mod error_queue;
mod frame;
mod netlink;
mod netns;
mod packet_socket;
mod raw_ip;
mod tun;
mod udp;
mod workers;
