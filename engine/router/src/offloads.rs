//! Which work the packet path leaves to the kernel, as far as it may be switched off.

use serde::{Deserialize, Serialize};

use crate::facts::WorkerFacts;

/// Offloads: as configured, or as in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offloads {
    /// TCP superpackets and unfinished checksums between the router and its own host.
    pub tun_tcp: bool,
    /// UDP superpackets between the router and its own host; needs `tun_tcp`.
    pub tun_udp: bool,
    /// TCP superpackets to LAN ports.
    pub lan_tcp: bool,
    /// UDP superpackets to LAN ports.
    pub lan_udp: bool,
    /// Trains of datagrams that the kernel cuts (`UDP_SEGMENT`).
    pub udp_segment: bool,
    /// Trains of datagrams that the kernel joins (`UDP_GRO`).
    pub udp_gro: bool,
}

impl Default for Offloads {
    /// All on.
    fn default() -> Self {
        Self {
            tun_tcp: true,
            tun_udp: true,
            lan_tcp: true,
            lan_udp: true,
            udp_segment: true,
            udp_gro: true,
        }
    }
}

impl Offloads {
    /// Lists all by the names that the configuration uses.
    #[must_use]
    pub fn list(self) -> [(&'static str, bool); 6] {
        [
            ("tunTcp", self.tun_tcp),
            ("tunUdp", self.tun_udp),
            ("lanTcp", self.lan_tcp),
            ("lanUdp", self.lan_udp),
            ("udpSegment", self.udp_segment),
            ("udpGro", self.udp_gro),
        ]
    }

    /// Returns what is on at all workers, if this is what is wanted.
    pub(crate) fn in_force(self, workers: &[WorkerFacts]) -> Self {
        let all = workers.iter().map(|worker| worker.offloads);
        all.fold(self, Self::and)
    }

    /// Returns what is on in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tun_tcp: self.tun_tcp && other.tun_tcp,
            tun_udp: self.tun_udp && other.tun_udp,
            lan_tcp: self.lan_tcp && other.lan_tcp,
            lan_udp: self.lan_udp && other.lan_udp,
            udp_segment: self.udp_segment && other.udp_segment,
            udp_gro: self.udp_gro && other.udp_gro,
        }
    }
}
