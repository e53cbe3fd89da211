//! Bidirectional Forwarding Detection (RFC 5880) over single hops (RFC 5881) and several (RFC 5883), sans-IO.
//!
//! [`Sessions`] is the whole of one router: datagrams and `now` go in, datagrams and states come out. [`Session`] is the
//! machine with one peer, [`Packet`] the wire format. Asynchronous mode only: no echo, no demand mode of our own, no
//! authentication (tunnels have theirs). A peer in demand mode is obeyed.

mod jitter;
mod packet;
mod session;
mod sessions;
mod state;
mod status;
mod timing;

pub use packet::{Malformed, Packet};
pub use session::{Event, Session};
pub use sessions::{Discard, Sessions};
pub use state::{Diagnostic, DownCause, State};
pub use status::{LastDown, SessionStatus};
pub use timing::Timing;

/// UDP destination port of control packets (RFC 5881 section 4).
pub const PORT: u16 = 3784;
/// The same of sessions over several hops (RFC 5883 section 5).
pub const MULTIHOP_PORT: u16 = 4784;
/// UDP source ports of control packets (RFC 5881 section 4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// TTL of control packets: sent, and required of those over a single hop (RFC 5881 section 5, RFC 5082).
pub const TTL: u8 = 255;
