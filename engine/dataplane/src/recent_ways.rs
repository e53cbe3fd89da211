//! The latest routing decisions: packets of one flow come shortly after each other, above all those of a train from a tunnel,
//! and need one between them, also where a few flows take turns.
//!
//! A decision follows from the snapshot, from where the packet comes and goes, and from what differs within a flow: TTL and
//! size. Where these could speak against the way, the decision is made anew.

use std::net::Ipv4Addr;

use crate::decision::Way;
use crate::ingress::Ingress;
use crate::packet::Classified;

/// Decisions that are remembered.
const SLOTS: usize = 8;

/// The ways of packets that were decided about lately; good for one snapshot. Ends that share a slot push each other out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecentWays([Option<(Ends, Way)>; SLOTS]);

/// Where a packet comes from and goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    ingress: Ingress,
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

impl RecentWays {
    /// Returns the way of a packet whose longest wire packet has `size` bytes, if it is known without a decision.
    pub(crate) fn find(&self, ingress: Ingress, packet: &Classified, size: usize) -> Option<Way> {
        let wanted = Ends::of(ingress, packet);
        let (ends, way) = self.0[wanted.slot()]?;
        let lives = packet.ttl > 1 || ingress == Ingress::Host || way == Way::Host;
        let fits = size <= usize::from(way.mtu());
        (ends == wanted && lives && fits).then_some(way)
    }

    /// Remembers a decision, in place of the one in its slot.
    pub(crate) fn note(&mut self, ingress: Ingress, packet: &Classified, way: Way) {
        let ends = Ends::of(ingress, packet);
        self.0[ends.slot()] = Some((ends, way));
    }
}

impl Ends {
    fn of(ingress: Ingress, packet: &Classified) -> Self {
        Self {
            ingress,
            source: packet.source,
            destination: packet.destination,
        }
    }

    /// Both ways of a flow, and neighbors in a subnet, have slots of their own.
    fn slot(&self) -> usize {
        let mixed = u32::from(self.source).wrapping_mul(3) ^ u32::from(self.destination);
        mixed as usize % SLOTS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision::decide;
    use crate::dscp::Dscp;
    use crate::fib::{FibBuilder, NextHop};
    use crate::ids::{PortId, TunnelId};
    use crate::packet::classify;
    use crate::sample::Udp;
    use crate::snapshot::{Encap, LanPort, Snapshot, Tunnel};

    const LAN: PortId = PortId(1);

    proptest! {
        #[test]
        fn what_is_remembered_is_what_would_be_decided(packets in prop::collection::vec(packet(), 1..200)) {
            let snapshot = snapshot();
            let mut recent = RecentWays::default();
            for (ingress, packet, size) in &packets {
                let decided = decide(&snapshot, *ingress, packet, *size);
                if let Some(way) = recent.find(*ingress, packet, *size) {
                    prop_assert_eq!(decided, Ok(way));
                }
                if let Ok(way) = decided {
                    recent.note(*ingress, packet, way);
                }
                // Another one like it needs no decision, unless it is one that does not fit.
                if decided.is_ok() && *size <= 1400 {
                    prop_assert!(recent.find(*ingress, packet, *size).is_some());
                }
            }
        }
    }

    /// Few ends, so that they repeat, and all that may differ within a flow.
    fn packet() -> impl Strategy<Value = (Ingress, Classified, usize)> {
        let ends = prop::sample::select(vec![
            (Ingress::Lan(LAN), 10, 20),
            (Ingress::Lan(LAN), 10, 30),
            (Ingress::Tunnel(TunnelId(0)), 20, 10),
            (Ingress::Tunnel(TunnelId(0)), 20, 1),
            (Ingress::Tunnel(TunnelId(0)), 20, 30),
            (Ingress::Tunnel(TunnelId(1)), 20, 10),
            (Ingress::Host, 1, 20),
            (Ingress::Lan(LAN), 20, 10),
        ]);
        let size = prop::sample::select(vec![100, 1400, 1401, 1500, 1501]);
        (ends, 0..4_u8, size, any::<bool>()).prop_map(
            |((ingress, from, to), ttl, size, dont_fragment)| {
                let mut classified = classify(&Udp::default().build()).unwrap();
                classified.source = host(from);
                classified.destination = host(to);
                (classified.ttl, classified.dont_fragment) = (ttl, dont_fragment);
                (ingress, classified, size)
            },
        )
    }

    fn host(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 60, last)
    }

    /// Our own address is .1, .10 is on the LAN, .20 and .30 behind tunnels, the second of which asks nobody before it
    /// fragments.
    fn snapshot() -> Snapshot {
        let mut fib = FibBuilder::default();
        for (last, next_hop) in [
            (1, NextHop::Local),
            (10, NextHop::Lan(LAN)),
            (20, NextHop::Tunnel(TunnelId(0))),
            (30, NextHop::Tunnel(TunnelId(1))),
        ] {
            fib.insert(host(last).into(), next_hop);
        }
        // Both lead to one site.
        let tunnel = |id, force_fragment| Tunnel {
            id: TunnelId(id),
            name: String::new(),
            encap: Encap::WireGuard(sam_wg::PeerIndex(id)),
            nested: None,
            mtu: 1400,
            mss_clamp: true,
            force_fragment,
            dscp: Dscp::default(),
            site: 7,
        };
        let lan = LanPort {
            id: LAN,
            name: String::new(),
            mac: [2; 6],
            address: Some(host(1)),
            subnet: "10.77.60.0/24".parse().unwrap(),
            pools: vec!["10.77.60.0/24".parse().unwrap()],
            mtu: 1500,
            answers: [].into_iter().collect(),
            virtual_address: None,
            gate_open: true,
            gratuitous_arp: true,
            conflicts: 0,
            siblings: Vec::new(),
            beside: Vec::new(),
            discovers: false,
            asks: false,
            interface: 2,
        };
        Snapshot {
            fib: fib.build(),
            lans: vec![lan],
            tunnels: vec![tunnel(0, false), tunnel(1, true)],
            ..Snapshot::default()
        }
    }
}
