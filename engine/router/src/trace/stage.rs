//! The stages of the way, and what each one of the decision looks at.

use sam_dataplane::decision::Way;
use sam_dataplane::ingress::Ingress;
use sam_dataplane::packet::Classified;
use sam_dataplane::{DropReason, NextHop};

use super::Walk;

/// A stage, in the order of the packet path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Where the packet comes in.
    Entrance,
    /// Whether this router draws the packet in.
    Arp,
    /// Whether the packet reaches the engine.
    Filter,
    /// What one pass over the packet tells.
    Packet,
    /// Both addresses name one host.
    Addresses,
    /// The source lives where the packet came from.
    Source,
    /// Where the destination lives.
    Route,
    /// One more hop is allowed.
    Ttl,
    /// The packet fits.
    Mtu,
    /// What the sender is told.
    Icmp,
    /// What it is cut into.
    Fragments,
    /// What passing SYNs announce.
    Mss,
    /// How it leaves through a tunnel.
    Encapsulation,
    /// To whom it leaves on the LAN.
    Neighbor,
    /// How the host gets it.
    Host,
}

impl Stage {
    /// The stages of [`sam_dataplane::decision::decide`], in its order.
    pub(super) const DECISION: [Self; 5] = [
        Self::Addresses,
        Self::Source,
        Self::Route,
        Self::Ttl,
        Self::Mtu,
    ];

    /// The stage of the decision that refuses for a reason.
    pub(super) fn of(reason: DropReason) -> Self {
        const BESIDE_ROUTE: [(DropReason, Stage); 6] = [
            (DropReason::SourceInvalid, Stage::Addresses),
            (DropReason::Multicast, Stage::Addresses),
            (DropReason::SourceNotAllowed, Stage::Source),
            (DropReason::ForwardedByKernel, Stage::Source),
            (DropReason::TtlExceeded, Stage::Ttl),
            (DropReason::TooBig, Stage::Mtu),
        ];
        let mut found = BESIDE_ROUTE.iter();
        found
            .find(|(known, _)| *known == reason)
            .map_or(Self::Route, |(_, stage)| *stage)
    }

    /// The stage that drops for a reason, decided or not; `way` is where the packet was to leave.
    pub(super) fn of_drop(reason: DropReason, way: Option<Way>) -> Self {
        const BEYOND_DECISION: [(DropReason, Stage); 16] = [
            (DropReason::FrameTooShort, Stage::Filter),
            (DropReason::EtherTypeUnknown, Stage::Filter),
            (DropReason::FrameNotForUs, Stage::Filter),
            (DropReason::FrameLooped, Stage::Filter),
            (DropReason::NotIpv4, Stage::Packet),
            (DropReason::IpMalformed, Stage::Packet),
            (DropReason::IpChecksum, Stage::Packet),
            (DropReason::L4Malformed, Stage::Packet),
            (DropReason::OffloadMalformed, Stage::Packet),
            (DropReason::EcnCeNotEct, Stage::Packet),
            (DropReason::FragmentFailed, Stage::Fragments),
            (DropReason::NeighborQueueFull, Stage::Neighbor),
            (DropReason::NeighborFailed, Stage::Neighbor),
            (DropReason::NeighborTableFull, Stage::Neighbor),
            (DropReason::TunnelNoSession, Stage::Encapsulation),
            (DropReason::TunnelNoEndpoint, Stage::Encapsulation),
        ];
        if matches!(
            reason,
            DropReason::BufferPoolEmpty | DropReason::TxQueueFull
        ) {
            return match way {
                Some(Way::Tunnel { .. }) => Self::Encapsulation,
                Some(Way::Lan { .. }) => Self::Neighbor,
                Some(Way::Host) => Self::Host,
                None => Self::Packet,
            };
        }
        let mut found = BEYOND_DECISION.iter();
        found
            .find(|(known, _)| *known == reason)
            .map_or_else(|| Self::of(reason), |(_, stage)| *stage)
    }

    /// Tells whether it belongs to the decision.
    pub(super) fn is_of_decision(self) -> bool {
        Self::DECISION.contains(&self)
    }

    /// Returns the name as in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Entrance => "entrance",
            Self::Arp => "arp",
            Self::Filter => "filter",
            Self::Packet => "packet",
            Self::Addresses => "addresses",
            Self::Source => "source",
            Self::Route => "route",
            Self::Ttl => "ttl",
            Self::Mtu => "mtu",
            Self::Icmp => "icmp",
            Self::Fragments => "fragments",
            Self::Mss => "mss",
            Self::Encapsulation => "encapsulation",
            Self::Neighbor => "neighbor",
            Self::Host => "host",
        }
    }
}

impl Walk<'_> {
    /// Says what a packet is.
    pub(super) fn describe(&self, classified: &Classified) -> String {
        let Classified { total, ttl, .. } = *classified;
        let size = self.subject.size;
        let wire = if size == total {
            String::new()
        } else {
            format!(" in wire packets of at most {size}")
        };
        let df = if classified.dont_fragment {
            "set"
        } else {
            "clear"
        };
        format!(
            "{}, {total} bytes{wire}, TTL {ttl}, DF {df}",
            self.subject.what
        )
    }

    /// Says what a stage of the decision looks at.
    pub(super) fn seen_by(
        &self,
        stage: Stage,
        ingress: Ingress,
        classified: &Classified,
    ) -> String {
        match stage {
            Stage::Addresses => format!("{} to {}", classified.source, classified.destination),
            Stage::Source => {
                let way_back = self.way_to(classified.source);
                format!("{}: {way_back}", classified.source)
            }
            Stage::Route => self.route_text(),
            Stage::Ttl if ingress == Ingress::Host || self.is_for_host() => {
                format!("{}, unchanged", classified.ttl)
            }
            Stage::Ttl => {
                let left = classified.ttl.saturating_sub(1);
                format!("{}, {left} when it leaves", classified.ttl)
            }
            Stage::Mtu => self.mtu_text(self.subject.size),
            Stage::Entrance
            | Stage::Arp
            | Stage::Filter
            | Stage::Packet
            | Stage::Icmp
            | Stage::Fragments
            | Stage::Mss
            | Stage::Encapsulation
            | Stage::Neighbor
            | Stage::Host => String::new(),
        }
    }

    fn is_for_host(&self) -> bool {
        self.snapshot.fib.lookup(self.subject.to) == Some(NextHop::Local)
    }

    /// Compares a length with the MTU of the way to the destination, which is a sum where a tunnel is involved.
    fn mtu_text(&self, length: usize) -> String {
        match self.snapshot.fib.lookup(self.subject.to) {
            Some(NextHop::Tunnel(id)) => {
                let Some(row) = self.tunnels.iter().find(|row| row.tunnel == id.0) else {
                    return format!("{length} bytes");
                };
                let (underlay, overhead, mtu) = (row.underlay_mtu, row.overhead, row.mtu);
                let sum = match underlay.checked_sub(overhead) {
                    _ if row.path_mtu.is_some() => {
                        let text = row.path_mtu_text().unwrap_or_default();
                        format!("tunnel {}; {text}", row.mtu_sum())
                    }
                    Some(difference) if difference == mtu => {
                        format!("underlay {underlay} - overhead {overhead} = tunnel {mtu}")
                    }
                    Some(_) | None => {
                        format!(
                            "tunnel {mtu} as configured, underlay {underlay}, overhead {overhead}"
                        )
                    }
                };
                format!("{length} bytes; {sum}")
            }
            Some(NextHop::Lan(port)) => {
                let mtu = self.snapshot.lan(port).map_or(0, |lan| lan.mtu);
                format!("{length} bytes; LAN {mtu}")
            }
            Some(
                NextHop::Local | NextHop::Withhold | NextHop::Blackhole | NextHop::Unreachable,
            )
            | None => format!("{length} bytes; the host takes any"),
        }
    }
}
