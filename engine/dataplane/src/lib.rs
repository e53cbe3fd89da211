//! The packet path: everything that runs per packet, and nothing else.
//!
//! No thread, socket, clock or random source lives here: [`Forwarder`] gets packets and `now`, and fills a
//! [`TxQueue`]. The way of a packet (engine/ARCHITECTURE.md "The way of a packet"):
//! 1. the driver hands over a [`Unit`] (LAN frame, TUN packet) or a UDP datagram train,
//! 2. `packet::classify` finds offsets and flags in one pass,
//! 3. ARP goes to the `ArpResponder` and the `NeighborTable`; IP goes to `decision::decide`: source check,
//!    `Fib::lookup` of the [`NextHop`], TTL and MTU,
//! 4. what may go on is one hop older and gets its MSS lowered, what may not is reported by ICMP,
//! 5. the unit leaves by LAN, TUN or a tunnel (segmentation fused with sealing),
//! 6. `Forwarder::flush` closes open trains and coalesced runs at the end of a batch.

pub mod announcer;
pub mod arp_advertisement;
pub mod arp_responder;
pub mod buffer;
pub mod coalesce;
pub mod decision;
pub mod drop_reason;
pub mod dscp;
pub mod encap;
pub mod fabric_question;
pub mod fib;
pub mod force_fragment;
pub mod forwarder;
pub mod fragment;
pub mod handshake_post;
pub mod handshakes;
pub mod icmp_error;
pub mod icmp_limiter;
pub mod ids;
pub mod ingress;
pub mod ip_packet;
pub mod lan_watch;
mod long_packets;
pub mod merged;
pub mod merging;
pub mod mss;
pub mod neighbor;
pub mod notice;
pub mod observer;
pub mod outlet;
pub mod packet;
pub mod packet_filter;
pub mod path_error;
pub mod path_probe;
pub mod path_watch;
mod recent_ways;
pub mod role;
#[cfg(test)]
mod sample;
pub mod segment;
pub mod snapshot;
pub mod staging;
pub mod stats;
pub mod trace;
pub mod train;
pub mod tunnel_traffic;
pub mod tx;
pub mod unit;
pub mod verdict;
pub mod wire_packet;

pub use buffer::{Buffer, BufferPool};
pub use drop_reason::DropReason;
pub use dscp::Dscp;
pub use encap::{Carrier, Lane};
pub use fabric_question::FabricQuestion;
pub use fib::{AddressSet, Fib, FibBuilder, NextHop};
pub use forwarder::{Forwarder, LanQuestion, NeighborView, PlainDatagrams};
pub use handshake_post::{HandshakeMessage, HandshakePost, Posts};
pub use handshakes::Handshakes;
pub use ids::{PortId, TunnelId};
pub use merging::{MergePolicy, Merging};
pub use notice::Notice;
pub use outlet::Io;
pub use packet_filter::PacketFilter;
pub use path_error::{PathError, PathErrorKind, Undelivered};
pub use path_probe::PathProbe;
pub use role::Role;
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use tunnel_traffic::TunnelTraffic;
pub use tx::{Egress, TxQueue};
pub use unit::{Checksum, Gso, Offload, Unit};
pub use verdict::Verdict;
