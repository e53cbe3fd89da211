//! Which packets from tunnels may be merged into superpackets, by where they leave.
//!
//! Not every kernel takes every superpacket: UDP ones need Linux 6.2, and a TUN device without virtio header takes
//! none. The driver knows and tells by [`crate::Forwarder::set_merging`].

use crate::packet::L4;
use crate::unit::Gso;

/// Which superpackets one kind of port takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergePolicy {
    /// TCP superpackets.
    pub tcp: bool,
    /// UDP superpackets.
    pub udp: bool,
}

/// Which superpackets the ports take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merging {
    /// LAN ports.
    pub lan: MergePolicy,
    /// The router's own host.
    pub host: MergePolicy,
}

impl MergePolicy {
    /// Every packet alone.
    pub const NOTHING: Self = Self {
        tcp: false,
        udp: false,
    };

    /// Tells whether packets of this protocol may be merged; those of others never become superpackets.
    #[must_use]
    pub fn allows(self, l4: L4) -> bool {
        match l4 {
            L4::Tcp { .. } => self.tcp,
            L4::Udp => self.udp,
            L4::Icmp { .. } | L4::Other => true,
        }
    }

    /// Tells whether a unit with this metadata may be sent whole.
    #[must_use]
    pub fn takes(self, gso: Gso) -> bool {
        match gso {
            Gso::None => true,
            Gso::Tcp { .. } => self.tcp,
            Gso::Udp { .. } => self.udp,
        }
    }
}

impl Default for MergePolicy {
    /// Everything.
    fn default() -> Self {
        Self {
            tcp: true,
            udp: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forbidden_is_not_allowed_and_nothing_else_changes() {
        let tcp = L4::Tcp { flags: 0 };
        let all = MergePolicy::default();
        assert!(all.allows(tcp) && all.allows(L4::Udp));
        let policy = MergePolicy { udp: false, ..all };
        assert!(!policy.takes(Gso::Udp { size: 9 }) && policy.takes(Gso::None));
        assert!(policy.allows(tcp) && !policy.allows(L4::Udp));
        let policy = MergePolicy { tcp: false, ..all };
        assert!(!policy.takes(Gso::Tcp { size: 9 }) && policy.takes(Gso::Udp { size: 9 }));
        assert!(!policy.allows(tcp) && policy.allows(L4::Other));
    }
}
