//! Real networks for tests of the real program: namespaces, `samctl run` children, captures.
//!
//! | file | owns |
//! |---|---|
//! | `topology` | sites that share one subnet: clients, LANs, routers, a WAN |
//! | `fabric` | keys and configuration files of all routers, and the routers |
//! | `router` | one `samctl run` and the verbs that talk to it |
//! | `shell` | commands and daemons inside a namespace |
//! | `capture` | tcpdump, and tshark's view of what it wrote |
//! | `capture_file` | the bytes in a capture |
//! | `pair` | two routers on one LAN |
//! | `cloud` | two routers in a subnet of the fake cloud |
//! | `pings` | a stream of pings, and its losses |
//! | `stream` | a stream of TCP, and how long it waited |
//! | `answerers` | who answers ARP at any instant |
//! | `usage` | memory and processor time of a process |
//! | `arp`, `frames` | hand-made ARP, hand-made IPv4 packets |
//! | `wait` | conditions with a deadline |
//!
//! This is test equipment: what cannot be done panics and says what it was. Everything that is made (processes,
//! files, namespaces) is gone when its value is dropped, and also when the test dies.

mod answerers;
mod arp;
mod capture;
mod capture_file;
pub mod cloud;
mod fabric;
mod frames;
pub mod pair;
mod pings;
mod router;
mod shell;
mod stream;
mod topology;
mod usage;
mod wait;

pub use answerers::{Answerers, Seen};
pub use arp::{ArpAnswer, ask_who_has, probe_for, send_arp};
pub use capture::{Capture, Packets};
pub use capture_file::CapturedPacket;
pub use fabric::Fabric;
pub use frames::send_ipv4;
pub use pings::{Loss, Pings};
pub use router::RouterProcess;
pub use shell::{Daemon, Folder, Outcome, is_installed, sh};
pub use stream::Stream;
pub use topology::{GATEWAY, Site, Topology, Wire};
pub use usage::Usage;
pub use wait::{holds_within, wait_until, wall_time};
