//! What happened, for logs, `samctl events` and metrics: ids and numbers, not sentences.
//!
//! They leave by [`crate::event_queue::Events`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use sam_capture::{ClaimState, NodeId};
use serde::{Deserialize, Serialize};

/// One thing that happened. As JSON: an object with the member `event` naming the kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub enum Event {
    /// A configuration is in force.
    ConfigApplied {
        /// Nodes of the fabric.
        nodes: usize,
        /// Pools of the fabric.
        pools: usize,
        /// Addresses configured as owned here.
        owned: usize,
    },
    /// A configuration was refused because it changes what only a restart can change; the former one stays.
    ConfigRefused {
        /// Names of the settings.
        settings: Vec<String>,
    },
    /// An order of the operator was refused.
    CommandRefused {
        /// Address it was about.
        address: Ipv4Addr,
        /// Reason's name.
        reason: String,
    },
    /// The owner of an address changed, or the state of its claim.
    OwnerChanged {
        /// The address.
        address: Ipv4Addr,
        /// Former owner.
        from: Option<NodeId>,
        /// New owner.
        to: Option<NodeId>,
        /// State of the new owner's claim.
        state: Option<ClaimState>,
        /// Sequence of the new owner's claim.
        sequence: Option<u32>,
        /// Decision step that made the difference.
        step: String,
    },
    /// Several nodes claim one address.
    DuplicateOwner {
        /// The address.
        address: Ipv4Addr,
        /// Who claims it; the first one is the owner.
        nodes: Vec<NodeId>,
    },
    /// Only one claim is left on an address that had several.
    DuplicateOwnerEnded {
        /// The address.
        address: Ipv4Addr,
    },
    /// This router was told to leave everything to others, or to act again.
    Drain {
        /// Which of both.
        on: bool,
    },
    /// This router was told to ask neighbors of other ASes to use other ways, or no longer.
    GracefulShutdown {
        /// Which of both.
        on: bool,
    },
    /// A drained router has nothing left to do.
    Drained,
    /// A step of a planned move of an address to another node.
    Handover {
        /// The address.
        address: Ipv4Addr,
        /// The other node: the successor, at the successor the owner.
        node: NodeId,
        /// offered, canceled, done; at the successor accepted or `refused: ` and why. Found out only afterwards by a router of
        /// the LAN: given-away; inherited from the router that acts there, or forgotten with it.
        step: String,
    },
    /// An operator gave an order about the session with a BGP neighbor.
    NeighborOrder {
        /// The neighbor.
        node: NodeId,
        /// refresh-in, refresh-out, reset, hard-reset, disable, enable.
        order: String,
    },
    /// A BGP session reached Established.
    SessionUp {
        /// The peer.
        node: NodeId,
    },
    /// A BGP session left Established.
    SessionDown {
        /// The peer.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// A BGP session was not reached: an attempt failed after the OPEN.
    SessionAttemptFailed {
        /// The peer.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Three quarters of the routes that are accepted from a peer are reached: beyond the limit they are refused.
    MaxPrefixesNear {
        /// The peer.
        node: NodeId,
        /// The family.
        family: String,
        /// How many are accepted at most.
        limit: usize,
    },
    /// A BGP session ended, and the peer's routes are kept as stale for a limited time (RFC 4724).
    RoutesRetained {
        /// The peer.
        node: NodeId,
        /// How many.
        routes: usize,
        /// For how many seconds at most.
        seconds: u64,
    },
    /// Routes of a peer were removed that it did not confirm: kept from a session that ended (RFC 4724), or not told again
    /// within a refresh (RFC 7313).
    StaleRemoved {
        /// The peer.
        node: NodeId,
        /// How many.
        routes: usize,
        /// Why.
        reason: String,
    },
    /// Our own restart is over: everybody who was there before was heard, or waited for long enough.
    RestartOver {
        /// Who was waited for in vain.
        missing: Vec<NodeId>,
    },
    /// The next hop of stale routes does not answer: they are not used.
    NextHopSilent {
        /// The node.
        node: NodeId,
    },
    /// The next hop of stale routes answers again: they are used.
    NextHopAnswers {
        /// The node.
        node: NodeId,
    },
    /// A BGP route was refused.
    RouteRejected {
        /// The peer.
        node: NodeId,
        /// The prefix.
        prefix: IpNet,
        /// Reason's name.
        reason: String,
    },
    /// A malformed BGP attribute was survived (RFC 7606).
    AttributeMalformed {
        /// The peer.
        node: NodeId,
        /// Attribute type code.
        kind: u8,
        /// What was wrong.
        reason: String,
    },
    /// A BGP connection was refused.
    ConnectionRefused {
        /// Who connected; the last one of several.
        from: Ipv4Addr,
        /// Why.
        reason: String,
        /// How many this event stands for.
        count: u64,
    },
    /// A tunnel can carry packets.
    TunnelUp {
        /// The far node.
        node: NodeId,
    },
    /// A tunnel cannot carry packets: no handshake could be completed.
    TunnelDown {
        /// The far node.
        node: NodeId,
    },
    /// A tunnel is refused, or no longer: while it is, nothing is forwarded into it or taken from it.
    TunnelFault {
        /// The far node.
        node: NodeId,
        /// What is wrong: `routed-into-itself` (the host's route to its endpoint leads into the TUN device); `None`:
        /// nothing any more.
        reason: Option<String>,
    },
    /// BFD hears a node, and the node hears us.
    BfdUp {
        /// The far node.
        node: NodeId,
    },
    /// A BFD session left Up. Unless an operator holds it down, routes by the node are not used.
    BfdDown {
        /// The far node.
        node: NodeId,
        /// Why: detection-time-expired, neighbor-down, neighbor-admin-down or admin-down.
        reason: String,
        /// What the node tells as its reason.
        remote: String,
    },
    /// The outer address of a node moved.
    EndpointMoved {
        /// The far node.
        node: NodeId,
        /// Former address.
        from: Option<SocketAddr>,
        /// New address.
        to: SocketAddr,
    },
    /// The path to a node carries less than before, or more.
    PathMtu {
        /// The far node.
        node: NodeId,
        /// Largest inner packet in bytes.
        mtu: u16,
        /// What tells: `error` (ICMP, or a refusal of the kernel), `probe`, or `underlay` (nothing speaks against it).
        by: String,
    },
    /// The underlay says that packets to a node are not delivered, and said nothing like that for a while. Nobody vouches for
    /// it: the tunnel is used all the same.
    Undelivered {
        /// The far node.
        node: NodeId,
        /// Why: `net-unreachable`, `host-unreachable`, `protocol-unreachable`, `port-unreachable`, `prohibited`,
        /// `time-exceeded`, `source-route-failed` or `parameter-problem`.
        reason: String,
        /// Who says so.
        by: Option<IpAddr>,
    },
    /// An address of another site is on our network interface in the cloud.
    Captured {
        /// The address.
        address: Ipv4Addr,
    },
    /// A captured address was given back.
    Released {
        /// The address.
        address: Ipv4Addr,
    },
    /// A captured address was taken from our network interface by others.
    CaptureLost {
        /// The address.
        address: Ipv4Addr,
        /// For how many seconds it is left alone, because that happens again and again.
        hold: Option<u64>,
    },
    /// A change at the provider was not sent, or given up: its reason ended.
    CaptureFenced {
        /// What it was.
        operation: String,
        /// With which addresses.
        addresses: Vec<Ipv4Addr>,
        /// Why.
        reason: String,
    },
    /// The provider refused something.
    CaptureRefused {
        /// What it was.
        operation: String,
        /// With which addresses.
        addresses: Vec<Ipv4Addr>,
        /// Class of the refusal.
        class: String,
        /// The provider's code and message.
        reason: String,
    },
    /// Our network interface in the cloud has no room for wanted addresses.
    CaptureNoRoom {
        /// How many.
        addresses: usize,
    },
    /// Another router of the LAN takes itself for the VRRP master too: everything is announced again.
    VrrpConflict {
        /// Its address.
        address: Ipv4Addr,
        /// Its priority; zero: it was the master and gives up.
        priority: u8,
    },
    /// A router takes part in the election that nobody named, and that is none of our make; or, where others are named, tries to.
    VrrpStranger {
        /// Its address on the LAN.
        address: Ipv4Addr,
    },
    /// Two routers of the LAN act there at once.
    SplitBrain {
        /// The virtual address, or the address that both answer for.
        address: Ipv4Addr,
        /// The other router: its LAN address, or its node and MAC.
        by: String,
        /// Who keeps silent, and by which rule.
        verdict: String,
    },
    /// Another router of the LAN claims the same addresses, and their hosts do not answer here: the LAN is cut in two.
    LanDivided {
        /// How many of them are not on this side, so far.
        absent: usize,
    },
    /// Two routers seem to run as one node.
    IdentityConflict {
        /// The node.
        node: NodeId,
        /// What alternates: `marker-epoch` or `endpoint`.
        evidence: String,
        /// How often it alternated.
        count: u32,
    },
    /// Somebody else on the LAN answers ARP for an address that this router answers for.
    ForeignAnswer {
        /// The address.
        address: Ipv4Addr,
        /// MAC that answers.
        mac: String,
    },
    /// A host on the LAN probes (RFC 5227) for an address that the RIB places elsewhere.
    AddressProbed {
        /// The address.
        address: Ipv4Addr,
        /// MAC that probes.
        mac: String,
    },
    /// A host of the LAN was heard and has its home here now.
    HomeLearned {
        /// Its address.
        address: Ipv4Addr,
        /// Its MAC.
        mac: String,
    },
    /// An operator wants an address left alone by capture in the cloud, or all; or not any more.
    CaptureHeld {
        /// Which; all without.
        address: Option<Ipv4Addr>,
        /// For so many seconds; 0 ends it.
        hold_s: u64,
    },
    /// The provider of our cloud lists a machine that runs: its address lives here.
    MachineFound {
        /// Its address.
        address: Ipv4Addr,
        /// Its network interface, by the provider's name.
        nic: String,
    },
    /// A machine of our cloud is there no longer.
    MachineGone {
        /// Its address.
        address: Ipv4Addr,
        /// Its network interface, by the provider's name.
        nic: String,
        /// Why: `stopped`, or `not-listed` for longer than `expiry`.
        reason: String,
    },
    /// A host that was heard has its home here no longer.
    HomeExpired {
        /// Its address.
        address: Ipv4Addr,
        /// Its MAC.
        mac: String,
        /// Why: `silent`, `moved` (another node claims the address, and the host does not answer here), or
        /// `owned-elsewhere` (the claim of another node wins).
        reason: String,
    },
    /// Another MAC uses the address of a host that was heard.
    MacChanged {
        /// The address.
        address: Ipv4Addr,
        /// MAC of the host.
        from: String,
        /// The other MAC.
        to: String,
        /// The host still answers, so two use the address; else the address has the other MAC now.
        kept: bool,
    },
    /// A host of the LAN was heard, but may not have its home here.
    DiscoveryRefused {
        /// Its address.
        address: Ipv4Addr,
        /// Its MAC.
        mac: String,
        /// Reason's name.
        reason: String,
    },
    /// This router may (or may no longer) act on its LAN.
    Gate {
        /// Whether it may.
        open: bool,
        /// Why.
        reason: String,
    },
    /// An orderly stop began.
    Stopping,
}

/// Why a connection is refused that only lost the race against another one to the same peer.
const COLLISION: &str = "collision";

impl Event {
    /// Returns the kind's name, as in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConfigApplied { .. } => "config-applied",
            Self::ConfigRefused { .. } => "config-refused",
            Self::CommandRefused { .. } => "command-refused",
            Self::OwnerChanged { .. } => "owner-changed",
            Self::DuplicateOwner { .. } => "duplicate-owner",
            Self::DuplicateOwnerEnded { .. } => "duplicate-owner-ended",
            Self::Drain { .. } => "drain",
            Self::GracefulShutdown { .. } => "graceful-shutdown",
            Self::Drained => "drained",
            Self::Handover { .. } => "handover",
            Self::NeighborOrder { .. } => "neighbor-order",
            Self::SessionUp { .. } => "session-up",
            Self::SessionDown { .. } => "session-down",
            Self::SessionAttemptFailed { .. } => "session-attempt-failed",
            Self::MaxPrefixesNear { .. } => "max-prefixes-near",
            Self::RoutesRetained { .. } => "routes-retained",
            Self::StaleRemoved { .. } => "stale-removed",
            Self::RestartOver { .. } => "restart-over",
            Self::NextHopSilent { .. } => "next-hop-silent",
            Self::NextHopAnswers { .. } => "next-hop-answers",
            Self::RouteRejected { .. } => "route-rejected",
            Self::AttributeMalformed { .. } => "attribute-malformed",
            Self::ConnectionRefused { .. } => "connection-refused",
            Self::TunnelUp { .. } => "tunnel-up",
            Self::TunnelDown { .. } => "tunnel-down",
            Self::TunnelFault { .. } => "tunnel-fault",
            Self::BfdUp { .. } => "bfd-up",
            Self::BfdDown { .. } => "bfd-down",
            Self::VrrpConflict { .. } => "vrrp-conflict",
            Self::Captured { .. } => "captured",
            Self::Released { .. } => "released",
            Self::CaptureLost { .. } => "capture-lost",
            Self::CaptureFenced { .. } => "capture-fenced",
            Self::CaptureRefused { .. } => "capture-refused",
            Self::CaptureNoRoom { .. } => "capture-no-room",
            Self::EndpointMoved { .. } => "endpoint-moved",
            Self::PathMtu { .. } => "path-mtu",
            Self::Undelivered { .. } => "undelivered",
            Self::VrrpStranger { .. } => "vrrp-stranger",
            Self::SplitBrain { .. } => "split-brain",
            Self::LanDivided { .. } => "lan-divided",
            Self::IdentityConflict { .. } => "identity-conflict",
            Self::ForeignAnswer { .. } => "foreign-answer",
            Self::AddressProbed { .. } => "address-probed",
            Self::HomeLearned { .. } => "home-learned",
            Self::HomeExpired { .. } => "home-expired",
            Self::CaptureHeld { .. } => "capture-held",
            Self::MachineFound { .. } => "machine-found",
            Self::MachineGone { .. } => "machine-gone",
            Self::MacChanged { .. } => "mac-changed",
            Self::DiscoveryRefused { .. } => "discovery-refused",
            Self::Gate { .. } => "gate",
            Self::Stopping => "stopping",
        }
    }

    /// Tells whether the event says that something needs attention.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        match self {
            Self::ConfigRefused { .. }
            | Self::CommandRefused { .. }
            | Self::DuplicateOwner { .. }
            | Self::SessionDown { .. }
            | Self::SessionAttemptFailed { .. }
            | Self::MaxPrefixesNear { .. }
            | Self::RoutesRetained { .. }
            | Self::NextHopSilent { .. }
            | Self::RouteRejected { .. }
            | Self::AttributeMalformed { .. }
            | Self::TunnelDown { .. }
            | Self::Undelivered { .. }
            | Self::BfdDown { .. }
            | Self::CaptureLost { .. }
            | Self::CaptureRefused { .. }
            | Self::CaptureNoRoom { .. }
            | Self::VrrpStranger { .. }
            | Self::SplitBrain { .. }
            | Self::LanDivided { .. }
            | Self::IdentityConflict { .. }
            | Self::ForeignAnswer { .. }
            | Self::MacChanged { .. }
            | Self::DiscoveryRefused { .. }
            | Self::AddressProbed { .. } => true,
            // Both ends call each other at start, and one call loses (RFC 4271 section 6.8): no fault.
            Self::ConnectionRefused { reason, .. } => reason != COLLISION,
            Self::Gate { open, .. } => !open,
            // Who says that it leaves was outranked, or slept.
            Self::VrrpConflict { priority, .. } => *priority > 0,
            Self::Handover { step, .. } => step.starts_with("refused"),
            Self::RestartOver { missing } => !missing.is_empty(),
            Self::TunnelFault { reason, .. } => reason.is_some(),
            Self::StaleRemoved { .. }
            | Self::NextHopAnswers { .. }
            | Self::ConfigApplied { .. }
            | Self::OwnerChanged { .. }
            | Self::DuplicateOwnerEnded { .. }
            | Self::Drain { .. }
            | Self::GracefulShutdown { .. }
            | Self::Drained
            | Self::NeighborOrder { .. }
            | Self::SessionUp { .. }
            | Self::TunnelUp { .. }
            | Self::BfdUp { .. }
            | Self::Captured { .. }
            | Self::Released { .. }
            | Self::CaptureFenced { .. }
            | Self::EndpointMoved { .. }
            | Self::HomeLearned { .. }
            | Self::HomeExpired { .. }
            | Self::CaptureHeld { .. }
            | Self::MachineFound { .. }
            | Self::MachineGone { .. }
            | Self::PathMtu { .. }
            | Self::Stopping => false,
        }
    }

    /// Tells whether an equal event shortly after carries no news (state changes always do).
    pub(crate) fn repeats(&self) -> bool {
        match self {
            Self::RouteRejected { .. }
            | Self::AttributeMalformed { .. }
            | Self::ConnectionRefused { .. }
            | Self::SessionAttemptFailed { .. }
            | Self::MaxPrefixesNear { .. }
            | Self::ForeignAnswer { .. }
            | Self::VrrpConflict { .. }
            | Self::VrrpStranger { .. }
            | Self::SplitBrain { .. }
            | Self::LanDivided { .. }
            | Self::CaptureRefused { .. }
            | Self::CaptureNoRoom { .. }
            | Self::AddressProbed { .. }
            | Self::MacChanged { .. }
            | Self::DiscoveryRefused { .. }
            | Self::EndpointMoved { .. } => true,
            Self::ConfigApplied { .. }
            | Self::ConfigRefused { .. }
            | Self::CommandRefused { .. }
            | Self::OwnerChanged { .. }
            | Self::DuplicateOwner { .. }
            | Self::DuplicateOwnerEnded { .. }
            | Self::Drain { .. }
            | Self::GracefulShutdown { .. }
            | Self::Drained
            | Self::Handover { .. }
            | Self::NeighborOrder { .. }
            | Self::SessionUp { .. }
            | Self::SessionDown { .. }
            | Self::RoutesRetained { .. }
            | Self::StaleRemoved { .. }
            | Self::RestartOver { .. }
            | Self::NextHopSilent { .. }
            | Self::NextHopAnswers { .. }
            | Self::TunnelUp { .. }
            | Self::TunnelDown { .. }
            | Self::TunnelFault { .. }
            | Self::BfdUp { .. }
            | Self::BfdDown { .. }
            | Self::PathMtu { .. }
            | Self::Undelivered { .. }
            | Self::IdentityConflict { .. }
            | Self::Captured { .. }
            | Self::Released { .. }
            | Self::CaptureLost { .. }
            | Self::CaptureFenced { .. }
            | Self::HomeLearned { .. }
            | Self::HomeExpired { .. }
            | Self::CaptureHeld { .. }
            | Self::MachineFound { .. }
            | Self::MachineGone { .. }
            | Self::Gate { .. }
            | Self::Stopping => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_race_of_connections_is_no_warning_and_a_refused_stranger_is() {
        let refused = |reason: &str| Event::ConnectionRefused {
            from: [10, 99, 0, 2].into(),
            reason: reason.into(),
            count: 1,
        };

        assert!(!refused("collision").is_warning());
        assert!(refused("no such peer").is_warning());
    }
}
