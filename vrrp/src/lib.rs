//! The Virtual Router Redundancy Protocol for IPv4 (RFC 9568, version 3; RFC 3768, version 2), sans-IO.
//!
//! [`Instance`] is one virtual router as one router takes part in it: packets and `now` go in, packets and roles come
//! out. [`Packet`] is the wire format. RFC 9568 says "Active Router" where everybody says master; so does this crate.
//! Beyond the RFC an advertisement may come a second way ([`Instance::handle_copy`]), for where its packets are lost.
//! No authentication (RFC 9568 section 9), no accept mode: who owns which MAC and answers for which address is not
//! decided here.

mod instance;
mod packet;
mod refusal;
mod senders;
mod settings;
mod status;

pub use instance::{Arrival, Instance, Transmit};
pub use packet::{Malformed, Packet, Version};
pub use refusal::{Refusal, Remark};
pub use senders::Rivals;
pub use settings::{Settings, effective_priority};
pub use status::{Cause, Heard, State, Status};

use std::net::Ipv4Addr;

/// Number of the IP protocol (RFC 9568 section 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// Where advertisements go when no peers are named (RFC 9568 section 5.1.1.2).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// TTL of advertisements, sent and required (RFC 9568 section 5.1.1.3).
pub const TTL: u8 = 255;
