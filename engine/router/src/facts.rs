//! What the router itself cannot know: gathered by the runtime for one answer, never stored.
//!
//! Views, `doctor` and `explain` are pure functions of the [`crate::Router`] and of these facts. Times are seconds
//! ago; a fact that could not be read is `None` (the check that needs it is skipped, never passed).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::offloads::Offloads;

/// Everything that the runtime knows beside the router.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Version of the program, from its package.
    pub version: String,
    /// Seconds since the process started.
    pub uptime_s: f64,
    /// The host.
    pub host: HostFacts,
    /// Packet workers.
    pub workers: Vec<WorkerFacts>,
    /// Counters that are no drops, summed over the workers.
    pub counters: Vec<CounterFacts>,
    /// Drops by reason, summed over the workers; every reason is present, also with zero.
    pub drops: Vec<DropFacts>,
    /// WireGuard peers, as the device shows them.
    pub peers: Vec<PeerFacts>,
    /// What went through each tunnel, summed over the workers.
    pub tunnels: Vec<TunnelFacts>,
    /// Neighbor table of all LAN ports.
    pub neighbors: Vec<NeighborFacts>,
    /// Bounded queues between threads.
    pub queues: Vec<QueueFacts>,
    /// BFD.
    pub bfd: BfdFacts,
    /// VRRP.
    pub vrrp: VrrpFacts,
}

/// VRRP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VrrpFacts {
    /// `real-time`, or why not.
    pub scheduling: String,
    /// The election; `None` while none is held.
    pub election: Option<ElectionFacts>,
    /// Why no election can be held, if it should be.
    pub failure: Option<String>,
    /// A thread of this router that stands still.
    pub stalled: Option<String>,
    /// Whether the thread of the election itself does, so that nobody knows who is master.
    #[serde(default)]
    pub silent: bool,
    /// Advertisements that did not count, or were odd, by reason.
    pub counters: Vec<CounterFacts>,
}

/// An election on the LAN as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ElectionFacts {
    /// Our state: initialize, backup, master.
    pub state: String,
    /// Seconds in this state.
    pub since_s: f64,
    /// Why: started, silence, relieved, outranked, overslept, address-owner, stopped.
    pub cause: String,
    /// The same in words.
    pub why: String,
    /// Our priority with penalties.
    pub priority: u8,
    /// The last other master that was heard.
    pub heard: Option<HeardFacts>,
    /// The last time that two others were masters at once.
    #[serde(default)]
    pub rivals: Option<RivalsFacts>,
    /// Senders that count though nobody named them, and that are none of our make; with peers, those that do not count.
    #[serde(default)]
    pub strangers: Vec<Ipv4Addr>,
    /// How long the master may be silent, in milliseconds.
    pub down_ms: f64,
    /// How often this router became master.
    pub promotions: u64,
    /// How often another router took itself for the master while we were it.
    pub conflicts: u64,
    /// Advertisements that counted.
    pub received: u64,
    /// Advertisements sent.
    pub sent: u64,
}

/// Two other masters at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RivalsFacts {
    /// Their addresses.
    pub addresses: [Ipv4Addr; 2],
    /// How many times it began.
    pub times: u64,
    /// Seconds since it was noticed last.
    pub last_s: f64,
}

impl RivalsFacts {
    /// Returns who they are, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let [one, other] = self.addresses;
        format!("{one} and {other} both advertise as masters")
    }
}

/// Another master as it was heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeardFacts {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its priority.
    pub priority: u8,
    /// Its interval in milliseconds.
    pub interval_ms: f64,
    /// Seconds since it was heard.
    pub last_s: f64,
    /// Whether only ARP frames brought its advertisement: its own packets are lost.
    pub by_arp_only: bool,
}

impl ElectionFacts {
    /// Makes the facts of an election.
    #[must_use]
    pub fn new(status: &sam_vrrp::Status, now: std::time::Instant) -> Self {
        let ago = |at| now.saturating_duration_since(at).as_secs_f64();
        Self {
            state: status.state.name().into(),
            since_s: ago(status.since),
            cause: status.cause.name().into(),
            why: status.cause.text().into(),
            priority: status.priority,
            heard: status.heard.map(|heard| HeardFacts {
                address: heard.address,
                priority: heard.priority,
                interval_ms: heard.interval.as_secs_f64() * 1e3,
                last_s: ago(heard.at),
                by_arp_only: heard.copy_only,
            }),
            rivals: status.rivals.map(|rivals| RivalsFacts {
                addresses: rivals.addresses,
                times: rivals.times,
                last_s: ago(rivals.at),
            }),
            strangers: status.strangers.clone(),
            down_ms: status.down_interval.as_secs_f64() * 1e3,
            promotions: status.promotions,
            conflicts: status.conflicts,
            received: status.received,
            sent: status.sent,
        }
    }
}

/// BFD.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BfdFacts {
    /// `real-time`, or why not.
    pub scheduling: String,
    /// Whether the thread did not answer in time; then the rest is what it said last.
    #[serde(default)]
    pub silent: bool,
    /// Sessions, by address.
    pub sessions: Vec<BfdSessionFacts>,
    /// Datagrams that did not count, by reason.
    pub discarded: Vec<CounterFacts>,
}

/// One BFD session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BfdSessionFacts {
    /// Address of the peer.
    pub address: Ipv4Addr,
    /// Our state: admin-down, down, init, up.
    pub state: String,
    /// Seconds in this state.
    pub since_s: f64,
    /// The peer's state as it last said.
    pub remote_state: String,
    /// Our discriminator.
    pub local_discriminator: u32,
    /// The peer's discriminator; 0 while nothing is heard.
    pub remote_discriminator: u32,
    /// Interval at which we send, before jitter, in milliseconds; `None` when the peer wants no packets.
    pub transmit_ms: Option<f64>,
    /// Interval at which the peer is to send, in milliseconds; `None` while nothing is heard.
    pub receive_ms: Option<f64>,
    /// How long nothing may be heard, in milliseconds; `None` while nothing is heard.
    pub detection_ms: Option<f64>,
    /// Our multiplier.
    pub multiplier: u8,
    /// The peer's multiplier; 0 while nothing is heard.
    pub remote_multiplier: u8,
    /// How often the session came up.
    pub ups: u64,
    /// How often it left Up because the path failed, as far as known.
    pub failures: u64,
    /// The last time that it left Up.
    pub last_down: Option<BfdDownFacts>,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
}

impl BfdSessionFacts {
    /// Tells whether packets pass in both directions.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == sam_bfd::State::Up.name()
    }
}

/// The last time that a BFD session left Up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BfdDownFacts {
    /// Seconds ago.
    pub ago_s: f64,
    /// Why: detection-time-expired, neighbor-down, neighbor-admin-down or admin-down.
    pub reason: String,
    /// What the peer told as its reason.
    pub remote_diagnostic: String,
}

impl BfdSessionFacts {
    /// Makes the facts of a session.
    #[must_use]
    pub fn new(status: &sam_bfd::SessionStatus, now: std::time::Instant) -> Self {
        let ago = |at| now.saturating_duration_since(at).as_secs_f64();
        let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        Self {
            address: status.peer,
            state: status.state.name().into(),
            since_s: ago(status.since),
            remote_state: status.remote_state.name().into(),
            local_discriminator: status.local_discriminator,
            remote_discriminator: status.remote_discriminator,
            transmit_ms: status.transmit_interval.map(millis),
            receive_ms: status.receive_interval.map(millis),
            detection_ms: status.detection_time.map(millis),
            multiplier: status.multiplier,
            remote_multiplier: status.remote_multiplier,
            ups: status.ups,
            failures: status.failures,
            last_down: status.last_down.map(|down| BfdDownFacts {
                ago_s: ago(down.at),
                reason: down.cause.name().into(),
                remote_diagnostic: down.remote_diagnostic.to_string(),
            }),
            received: status.received,
            sent: status.sent,
        }
    }
}

/// Facts about the host. `None` means: could not be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Host name.
    pub hostname: String,
    /// `net.ipv4.ip_forward`.
    pub ip_forward: Option<bool>,
    /// `net.ipv4.conf.all.proxy_arp`.
    pub proxy_arp_all: Option<bool>,
    /// Effective capabilities by kernel name, such as `CAP_NET_ADMIN`; `None` when unreadable.
    pub capabilities: Option<Vec<String>>,
    /// Lowest port that needs no CAP_NET_BIND_SERVICE (`net.ipv4.ip_unprivileged_port_start`).
    pub unprivileged_port_start: Option<u16>,
    /// All addresses assigned on the host; `None` when unreadable.
    pub addresses: Option<Vec<AddressFacts>>,
    /// Tunnels of the kernel itself, of GRE and IP in IP; `None` when unreadable.
    pub tunnels: Option<Vec<KernelTunnelFacts>>,
    /// The TUN device; `None` when it does not exist.
    pub tun: Option<TunFacts>,
    /// The capture interface; `None` when it does not exist or none is configured.
    pub lan: Option<LanFacts>,
}

/// One address of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressFacts {
    /// Interface name.
    pub interface: String,
    /// Address.
    pub address: IpAddr,
}

/// A tunnel of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelTunnelFacts {
    /// Interface name.
    pub interface: String,
    /// Kind by the kernel's name: `gre`, `ip6gre`, `ipip`, `ip6tnl`, `sit`.
    pub kind: String,
    /// Its own address; `None`: any.
    pub local: Option<IpAddr>,
    /// The far one; `None`: any.
    pub remote: Option<IpAddr>,
    /// Key of GRE packets that it takes; `None`: those without.
    #[serde(default)]
    pub key: Option<u32>,
}

/// The TUN device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunFacts {
    /// Interface name.
    pub name: String,
    /// Administratively up.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u16,
    /// IPv4 addresses on it.
    pub addresses: Vec<Ipv4Addr>,
}

/// The capture interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanFacts {
    /// Interface name.
    pub name: String,
    /// Administratively up and carrier present.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u16,
    /// `net.ipv4.conf.<lan>.forwarding`.
    pub forwarding: Option<bool>,
    /// `net.ipv4.conf.<lan>.proxy_arp`.
    pub proxy_arp: Option<bool>,
    /// `net.ipv4.conf.<lan>.send_redirects`.
    pub send_redirects: Option<bool>,
    /// `net.ipv4.conf.<lan>.arp_ignore`.
    pub arp_ignore: Option<u8>,
}

/// One packet worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFacts {
    /// Its number.
    pub worker: u16,
    /// Units received from LAN ports.
    pub lan_rx_units: u64,
    /// Units received from the router's own host.
    pub tun_rx_units: u64,
    /// Packets received from tunnels.
    pub tunnel_rx_packets: u64,
    /// Offloads in force.
    pub offloads: Offloads,
    /// Whether it receives from the LAN ports.
    pub receives_lan: bool,
    /// Whether it receives from the router's own host.
    pub receives_host: bool,
    /// Generation of the snapshot that it forwards by.
    pub generation: u64,
    /// Packet buffers free.
    pub buffers_free: u64,
    /// Packet buffers in all.
    pub buffers: u64,
}

/// One counter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterFacts {
    /// Name.
    pub name: String,
    /// Meaning, one sentence.
    pub text: String,
    /// Value.
    pub value: u64,
}

/// Drops for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropFacts {
    /// Name of the reason.
    pub reason: String,
    /// Meaning, one sentence.
    pub text: String,
    /// Packets since start.
    pub total: u64,
    /// Packets within the last minute.
    pub last_minute: u64,
}

/// One WireGuard peer (`sam_wg::PeerStatus` with times as seconds ago).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerFacts {
    /// Peer index; equals the tunnel number.
    pub index: u16,
    /// Current outer address.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the newest session was established.
    pub last_handshake_s: Option<f64>,
    /// Seconds since the last authenticated packet.
    pub last_received_s: Option<f64>,
    /// Whether packets can be sealed now.
    pub session: bool,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Handshake initiations sent since the last success.
    pub attempts: u32,
    /// How often the endpoint moved by roaming.
    pub roams: u64,
}

/// What went through one tunnel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TunnelFacts {
    /// Its number.
    pub tunnel: u16,
    /// Inner packets received.
    pub rx_packets: u64,
    /// Inner bytes received.
    pub rx_bytes: u64,
    /// Inner packets sent.
    pub tx_packets: u64,
    /// Inner bytes sent.
    pub tx_bytes: u64,
    /// Seconds since the last packet was received.
    pub last_received_s: Option<f64>,
}

/// One neighbor on a LAN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeighborFacts {
    /// Port number.
    pub port: u16,
    /// Address.
    pub address: Ipv4Addr,
    /// MAC, once known, as `02:00:00:00:00:01`.
    pub mac: Option<String>,
    /// State in RFC 4861 words: incomplete, reachable, stale, probe, failed.
    pub state: String,
    /// Seconds in this state.
    pub since_s: f64,
    /// Packets waiting.
    pub queued: usize,
}

/// One bounded queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueFacts {
    /// Name.
    pub name: String,
    /// Entries now.
    pub length: u64,
    /// Entries at most.
    pub limit: u64,
    /// How often it was full.
    pub full: u64,
}
