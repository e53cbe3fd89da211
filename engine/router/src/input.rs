//! The complete list of what goes into the [`crate::Router`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::Ipv4Net;
use sam_bgp::PeerOrder;
use sam_capture::NodeId;
use sam_dataplane::Notice;
use sam_dataplane::notice::Mac;

use crate::cloud_control::CloudInput;
use crate::config::Config;
use crate::host::RoamedRoute;
use crate::lan_role::VrrpReport;

/// One thing that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A configuration to apply: the first one, or a reload.
    Config(Box<Config>),
    /// An event of a BGP connection.
    Bgp(sam_bgp::Input<'a>),
    /// A fact from the packet path.
    Notice(Notice),
    /// A fact about the host.
    Host(HostEvent),
    /// How all BFD sessions are.
    Bfd(&'a [sam_bfd::SessionStatus]),
    /// What the election on the LAN says.
    Vrrp(&'a VrrpReport),
    /// What the provider of the cloud says.
    Cloud(CloudInput),
    /// An order of the operator.
    Command(Command),
}

/// A fact about the host that runs the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// The capture interface is present, with these properties. Sent at start and when they change.
    Lan {
        /// Interface name.
        interface: String,
        /// The kernel's number of it: another one of the same name has another.
        index: u32,
        /// Our MAC on it.
        mac: Mac,
        /// The kernel's address and subnet on it, if any.
        address: Option<Ipv4Net>,
        /// MTU in bytes.
        mtu: u16,
        /// Administratively up and carrier present.
        up: bool,
    },
    /// The TUN device exists.
    Tun {
        /// The kernel's number of it.
        index: u32,
        /// MTU in bytes.
        mtu: u16,
    },
    /// Whether this host has the address of its own node's endpoint, and which that is.
    OuterSource(Option<IpAddr>),
    /// Where a node was last seen is not its configured endpoint, and this is about the way there.
    Roamed {
        /// Whose.
        node: NodeId,
        /// Where it was last seen.
        address: SocketAddr,
        /// The kernel's route there.
        route: RoamedRoute,
    },
    /// A node's endpoint was resolved (or resolved again).
    Endpoint {
        /// Whose.
        node: NodeId,
        /// Its address.
        address: SocketAddr,
        /// The kernel's number of the interface that the route to it leads out by; 0: there is none.
        interface: u32,
        /// MTU of the underlay route to it, in bytes.
        underlay_mtu: u16,
        /// Whether that route leads into the router's own TUN device.
        into_tun: bool,
    },
}

/// An order of the operator, by the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Own an address from now on.
    Announce(Ipv4Addr),
    /// Stop owning an address.
    Withdraw(Ipv4Addr),
    /// Leave everything to others, or act again.
    Drain(bool),
    /// Ask neighbors of other ASes to use other ways, or no longer (RFC 8326).
    GracefulShutdown(bool),
    /// Do something with the session of a BGP neighbor.
    Neighbor(NodeId, PeerOrder),
    /// Give an owned address to another node.
    Handover {
        /// The address.
        address: Ipv4Addr,
        /// Who gets it.
        to: NodeId,
    },
    /// Keep an address that is offered to another node.
    CancelHandover(Ipv4Addr),
    /// Do a change at the provider that waits for approval, by its number.
    Approve(u64),
    /// Give a captured address back, or all, and leave it alone for so long; zero ends that.
    Release {
        /// Which; all without.
        address: Option<Ipv4Addr>,
        /// How long.
        hold: Duration,
    },
    /// Undo a change at the provider, by the number of its action.
    Undo(u64),
    /// Orderly stop: withdraw everything, close sessions.
    Shutdown,
}
