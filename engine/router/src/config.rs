//! The validated configuration: what the rest of the program sees.
//!
//! It cannot hold an invalid combination; `samctl`'s `config::lower` is the only maker and reports all errors with
//! file, line and column. After that nobody validates again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
pub use sam_bfd::Timing as BfdTiming;
pub use sam_bgp::GracefulRestartConfig;
pub use sam_capture::Mode as CaptureMode;
use sam_capture::provider::NicId;
use sam_capture::{NodeId, Pool, Role};
use sam_dataplane::Carrier;
pub use sam_dataplane::Dscp;
pub use sam_dataplane::dscp::CONTROL_TOS;
pub use sam_vrrp::{Settings as VrrpSettings, Version as VrrpVersion};
use sam_wg::{PresharedKey, PrivateKey, PublicKey};

pub use crate::cloud_homes::ProviderDiscovery;
pub use crate::discovery::ArpDiscovery;
use crate::encapsulation::Encapsulation;
use crate::foreign::Foreign;
use crate::offloads::Offloads;

/// Everything that is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Identical on all routers.
    pub fabric: Fabric,
    /// This router's own part (`self` in the file).
    pub local: Local,
}

/// What all routers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fabric {
    /// Name of the fabric.
    pub name: String,
    /// The AS number of the iBGP mesh.
    pub asn: u32,
    /// Pools; disjoint.
    pub pools: Vec<Pool>,
    /// UDP port of WireGuard where none is written.
    pub wireguard_port: u16,
    /// How nodes reach each other.
    pub transport: Transport,
    /// How pairs of nodes reach each other that do it in another way; the smaller id first.
    pub pairs: BTreeMap<(NodeId, NodeId), Transport>,
    /// BGP settings.
    pub bgp: BgpSettings,
    /// Timing of BFD with every node; `None` switches it off.
    pub bfd: Option<BfdTiming>,
    /// All nodes, by id; ids, names, overlay addresses and public keys are unique, overlays outside all pools.
    pub nodes: BTreeMap<NodeId, Node>,
}

impl Fabric {
    /// Returns how two nodes reach each other.
    #[must_use]
    pub fn transport_between(&self, one: NodeId, other: NodeId) -> &Transport {
        let pair = (one.min(other), one.max(other));
        self.pairs.get(&pair).unwrap_or(&self.transport)
    }
}

/// How nodes reach each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// How packets are wrapped.
    pub encapsulation: Encapsulation,
    /// Inner MTU.
    pub mtu: TunnelMtu,
    /// Lower the MSS of passing SYNs.
    pub mss_clamp: bool,
    /// Fragment packets that do not fit though their sender forbids it, instead of telling the sender.
    pub force_fragment: bool,
    /// DSCP of outer headers.
    pub dscp: Dscp,
    /// Persistent keepalive of WireGuard; `None` when switched off, and for other encapsulations.
    pub keepalive: Option<Duration>,
}

/// Inner MTU of tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelMtu {
    /// Underlay MTU of the route to the endpoint less the overhead.
    Auto,
    /// Fixed, in bytes.
    Fixed(u16),
}

/// BGP settings of the fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BgpSettings {
    /// Proposed hold time.
    pub hold_time: Duration,
    /// Base of the connect retry.
    pub connect_retry: Duration,
    /// Route reflectors; empty means a full mesh.
    pub route_reflectors: BTreeSet<NodeId>,
    /// Prefixes accepted per session.
    pub max_prefixes: usize,
    /// Graceful restart; `None` when switched off.
    pub graceful_restart: Option<GracefulRestartConfig>,
    /// IPv6 unicast is exchanged between nodes for prefixes inside of these; without any it is not offered.
    pub ipv6: Vec<Ipv6Net>,
}

/// One router of the fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Identity.
    pub id: NodeId,
    /// Name, unique.
    pub name: String,
    /// Site, for people and sibling election.
    pub site: String,
    /// Where it runs.
    pub role: Role,
    /// Overlay address: BGP router id, session address and next hop.
    pub overlay: Ipv4Addr,
    /// Underlay address; `None` when only it can call others.
    pub endpoint: Option<Endpoint>,
    /// WireGuard public key.
    pub public_key: PublicKey,
    /// Addresses that it may own; empty means any of the pools.
    pub may: Vec<Ipv4Net>,
    /// Its network interface by the name of its cloud's provider: addresses there are known to be its captures.
    pub nic: Option<NicId>,
}

/// An underlay address, perhaps by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Host.
    pub host: Host,
    /// UDP port.
    pub port: u16,
}

/// A host by address or name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Literal address.
    Address(IpAddr),
    /// Name, resolved at run time and again when handshakes fail.
    Name(String),
}

/// Most packet workers: more than any machine that forwards for one LAN has use for.
pub const WORKERS_MAX: u16 = 64;

/// What is this router's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Which of the nodes this is.
    pub node: NodeId,
    /// Its private key; matches `fabric.nodes[node].public_key`.
    pub private_key: PrivateKey,
    /// Preshared keys per peer.
    pub preshared_keys: BTreeMap<NodeId, PresharedKey>,
    /// UDP port to listen on.
    pub listen_port: u16,
    /// Name of the TUN device.
    pub tun: String,
    /// Packet workers; `None` is one per core.
    pub workers: Option<NonZeroUsize>,
    /// What the kernel may be asked to do.
    pub offloads: Offloads,
    /// How packets for other sites' addresses are drawn in.
    pub capture: Capture,
    /// Addresses that live at this site; inside a pool, not excluded.
    pub owned: BTreeSet<Ipv4Addr>,
    /// BGP neighbors outside of the fabric.
    pub foreign: Foreign,
    /// Control socket.
    pub control_socket: PathBuf,
    /// Where run-time state survives a restart; `None` forgets it.
    pub state_file: Option<PathBuf>,
}

/// How packets for other sites' addresses are drawn in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// Not at all: a pure route reflector.
    None,
    /// Proxy ARP on a LAN.
    ProxyArp {
        /// Interface name.
        interface: String,
        /// Announce newly answered addresses.
        gratuitous_arp: bool,
        /// When this router may answer.
        active_when: ActiveWhen,
        /// How it learns which addresses live on the LAN; `None`: it is told only.
        discovery: Option<ArpDiscovery>,
    },
    /// Addresses on this router's network interface in a cloud.
    Cloud(CloudCapture),
}

/// Capture in a cloud: addresses of other sites on our network interface there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudCapture {
    /// Which cloud.
    pub provider: CloudKind,
    /// Name of the interface in the cloud's subnet.
    pub interface: String,
    /// How far the router goes on its own.
    pub mode: CaptureMode,
    /// Who captures for the site, where several can and none does so yet: the one with the most.
    pub priority: u8,
    /// What it does where several routers of the site capture.
    pub placement: CapturePlacement,
    /// Most addresses that it captures; `None`: as many as the provider has room for.
    pub max_captures: Option<usize>,
    /// How long a route may be missing before an address is given back.
    pub release_hold: Duration,
    /// Changes at the provider per minute.
    pub changes_per_minute: usize,
    /// How it learns which addresses live at the site; `None`: it is told only.
    pub discovery: Option<ProviderDiscovery>,
    /// Where it is written what was done; `None` forgets it.
    pub journal_file: Option<PathBuf>,
    /// Where the provider is, if not where everybody finds it.
    pub endpoints: CloudEndpoints,
}

/// How the routers of a site divide what is to be captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CapturePlacement {
    /// One captures while it has room; the others stand by.
    #[default]
    ActiveStandby,
    /// Each captures a share, where all of them are told so.
    ActiveActive,
}

impl CapturePlacement {
    /// Returns its name, as in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActiveStandby => "active-standby",
            Self::ActiveActive => "active-active",
        }
    }
}

/// Base URLs of a provider other than its usual ones: private endpoints, or a fake cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudEndpoints {
    /// The API.
    pub api: Option<String>,
    /// The metadata service of the instance.
    pub metadata: Option<String>,
    /// Where a certificate of the instance becomes a token (OCI).
    pub federation: Option<String>,
    /// Interface of the underlay by which calls leave, whatever the host routes elsewhere.
    pub interface: Option<String>,
}

/// How long a route may be missing before an address is given back, where nothing is written.
pub const DEFAULT_RELEASE_HOLD: Duration = Duration::from_secs(120);
/// Priority among the routers that capture for a site, where nothing is written.
pub const DEFAULT_CAPTURE_PRIORITY: u8 = 100;
/// Most addresses that a router may be told to capture: no provider has more on one network interface.
pub const MAX_CAPTURES_MAX: usize = 255;
/// Changes at the provider per minute, where nothing is written.
pub const DEFAULT_CHANGES_PER_MINUTE: usize = 30;
/// Most changes at the provider per minute.
pub const CHANGES_PER_MINUTE_MAX: usize = 600;

/// Clouds in which addresses can be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudKind {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Oracle Cloud Infrastructure.
    Oci,
}

impl CloudKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aws, Self::Azure, Self::Oci];

    /// Returns its name, as in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Oci => "oci",
        }
    }

    /// How long a change may take there: Azure carries it out later, and is asked meanwhile.
    #[must_use]
    pub const fn patience(self) -> Duration {
        match self {
            Self::Aws | Self::Oci => Duration::from_secs(30),
            Self::Azure => Duration::from_secs(600),
        }
    }
}

/// When a router may act on its LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActiveWhen {
    /// It is the only router of the site: always.
    SingleRouter,
    /// While it is the master.
    Vrrp(Vrrp),
}

/// The election among the routers of one LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vrrp {
    /// What VRRP itself is told.
    pub settings: VrrpSettings,
    /// What is taken from the priority while something does not work.
    pub track: Track,
}

/// Penalties of tracked conditions; zero does not track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// No BGP session to another site is up.
    pub bgp: u8,
    /// No tunnel to another site is up.
    pub tunnels: u8,
    /// A thread of this router stands still: control, or a worker of the packet path.
    pub engine: u8,
}

/// The penalty that leaves the least priority, whatever it was: whoever else is there takes over.
pub const FULL_PENALTY: u8 = 254;

impl Default for Track {
    /// Who can carry nothing to other sites, or stands still, gives way to whoever can. Without a session of BGP packets
    /// are carried on for a while, and both routers of a LAN mostly lose theirs at the same time.
    fn default() -> Self {
        Self {
            bgp: 0,
            tunnels: FULL_PENALTY,
            engine: FULL_PENALTY,
        }
    }
}

impl Config {
    /// Returns this router's own node.
    ///
    /// # Panics
    /// Never: `local.node` is one of `fabric.nodes` by construction.
    #[must_use]
    pub fn own_node(&self) -> &Node {
        self.fabric
            .nodes
            .get(&self.local.node)
            .expect("lower() checked that self.node exists")
    }

    /// Returns how this router and another node reach each other.
    #[must_use]
    pub fn transport_to(&self, node: NodeId) -> &Transport {
        self.fabric.transport_between(self.local.node, node)
    }

    /// Tells whether packets to a node are wrapped in the same way by another configuration.
    #[must_use]
    pub(crate) fn wraps_alike(&self, other: &Self, node: NodeId) -> bool {
        self.transport_to(node).encapsulation == other.transport_to(node).encapsulation
    }

    /// Lists the addresses of this router outside of the fabric, as far as they are written: those towards neighbors, and
    /// those at which nodes call it.
    pub(crate) fn addresses_outside(&self) -> BTreeSet<IpAddr> {
        let towards = self.local.foreign.all().flat_map(|(_, terms)| {
            let ipv6 = terms.local_address_ipv6.map(IpAddr::V6);
            ipv6.into_iter().chain([IpAddr::V4(terms.local_address)])
        });
        let own = self.fabric.nodes.get(&self.local.node);
        let called = own.into_iter().flat_map(|node| &node.endpoint);
        let called = called.filter_map(|endpoint| match endpoint.host {
            Host::Address(address) => Some(address.to_canonical()),
            Host::Name(_) => None,
        });
        towards.chain(called).collect()
    }

    /// Lists what this router's tunnels without encryption travel in.
    #[must_use]
    pub fn carriers(&self) -> BTreeSet<Carrier> {
        let others = self
            .fabric
            .nodes
            .keys()
            .filter(|node| **node != self.local.node);
        others
            .filter_map(|node| self.transport_to(*node).encapsulation.carrier())
            .collect()
    }

    /// Returns the pool that admits `address`.
    #[must_use]
    pub fn pool_of(&self, address: Ipv4Addr) -> Option<&Pool> {
        self.fabric.pools.iter().find(|pool| pool.admits(address))
    }
}
