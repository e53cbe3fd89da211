//! What becomes of a received packet, in the words of the packet path.

use crate::decision::Way;
use crate::drop_reason::DropReason;
use crate::ids::TunnelId;

/// What becomes of a packet, as far as is known when the packet path is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves by this way.
    Forwarded(Way),
    /// It is kept until a neighbor answers or a session is there; the reason under which it is dropped if in vain.
    Waits(DropReason),
    /// It goes nowhere.
    Dropped(DropReason),
    /// Of an outer packet: what it carries is the packet recorded next.
    Opened(TunnelId),
    /// Of an outer packet: an empty one, which keeps a session alive.
    Keepalive,
    /// Of an outer packet: it belongs to a handshake.
    Handshake,
    /// It answers a probe of the path's MTU.
    ProbeAnswer,
    /// It asks whether an address lives here.
    Question,
    /// It pings the virtual address of the LAN, and is answered.
    EchoAnswered,
    /// Of an ARP frame: whether this router answers.
    Arp {
        /// Whether it does.
        answered: bool,
    },
}
