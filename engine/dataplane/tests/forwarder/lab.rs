//! Two routers, A and B, joined by a WireGuard tunnel on virtual time, each with one LAN and one host.
//!
//! ```text
//!   client 10.77.60.10        router A 10.77.60.1          router B 10.77.60.2        server 10.77.60.20
//!   02::a1 ───── LAN A ────── 02::a0 ════ tunnel ═════════ 02::b0 ────── LAN B ─────── 02::b1
//!                             overlay 10.255.0.1           overlay 10.255.0.2
//! ```
//! Both LANs are parts of one subnet, 10.77.60.0/24: A answers ARP for .20, B for .10.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sam_dataplane::icmp_limiter::IcmpLimiter;
use sam_dataplane::notice::Mac;
use sam_dataplane::packet::arp::{ArpOperation, ArpPacket};
use sam_dataplane::snapshot::{Encap, LanPort, TunPort, Tunnel};
use sam_dataplane::trace::Tap;
use sam_dataplane::{
    BufferPool, DropReason, Dscp, Egress, FibBuilder, Forwarder, Handshakes, Io, Lane, NextHop,
    Notice, Offload, PortId, Role, Snapshot, Stats, TunnelId, TxQueue,
};
use sam_wg::{Device, PeerConfig, PeerIndex, PrivateKey};

// By path, because another test takes this file from elsewhere.
#[path = "packets.rs"]
mod packets;
pub(crate) use packets::*;
#[path = "arrivals.rs"]
mod arrivals;

pub(crate) const LAN: PortId = PortId(1);
pub(crate) const TUN: PortId = PortId(9);
/// Interfaces, by the kernel's numbers.
pub(crate) const WAN_INTERFACE: u32 = 2;
pub(crate) const LAN_INTERFACE: u32 = 3;
pub(crate) const TUN_INTERFACE: u32 = 4;
pub(crate) const TUNNEL: TunnelId = TunnelId(0);
pub(crate) const PEER: PeerIndex = PeerIndex(5);
pub(crate) const MTU: u16 = 1420;
pub(crate) const BROADCAST: Mac = [0xff; 6];

/// One side of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Site {
    /// MAC of the router on its LAN.
    pub(crate) router_mac: Mac,
    /// Address of the router on its LAN.
    pub(crate) router: Ipv4Addr,
    /// MAC of the only host.
    pub(crate) host_mac: Mac,
    /// Address of the only host.
    pub(crate) host: Ipv4Addr,
    /// The router's overlay address.
    pub(crate) overlay: Ipv4Addr,
    /// Where the router receives datagrams.
    pub(crate) underlay: ([u8; 4], u16),
}

pub(crate) const A: Site = Site {
    router_mac: [2, 0, 0, 0, 0, 0xa0],
    router: Ipv4Addr::new(10, 77, 60, 1),
    host_mac: [2, 0, 0, 0, 0, 0xa1],
    host: Ipv4Addr::new(10, 77, 60, 10),
    overlay: Ipv4Addr::new(10, 255, 0, 1),
    underlay: ([192, 0, 2, 1], 51820),
};
pub(crate) const B: Site = Site {
    router_mac: [2, 0, 0, 0, 0, 0xb0],
    router: Ipv4Addr::new(10, 77, 60, 2),
    host_mac: [2, 0, 0, 0, 0, 0xb1],
    host: Ipv4Addr::new(10, 77, 60, 20),
    overlay: Ipv4Addr::new(10, 255, 0, 2),
    underlay: ([192, 0, 2, 2], 51820),
};

/// What a router sent to a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) port: PortId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) offload: Offload,
}

impl Sent {
    /// The IP packet of a LAN frame.
    pub(crate) fn ip(&self) -> &[u8] {
        if self.port == TUN {
            &self.bytes
        } else {
            &self.bytes[14..]
        }
    }

    /// The ARP packet of a LAN frame, if it is one.
    pub(crate) fn arp(&self) -> Option<ArpPacket> {
        (self.bytes[12..14] == [8, 6]).then(|| ArpPacket::parse(&self.bytes[14..]).unwrap())
    }
}

/// A train of datagrams on the underlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Train {
    pub(crate) lane: Lane,
    pub(crate) to: SocketAddr,
    pub(crate) segment: usize,
    pub(crate) tos: u8,
    pub(crate) bytes: Vec<u8>,
}

/// A forwarder with its buffers.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) forwarder: Forwarder,
    pub(crate) handshakes: Handshakes,
    pub(crate) limiter: Arc<IcmpLimiter>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) pool: BufferPool,
    pub(crate) tx: TxQueue,
    pub(crate) snapshot: Snapshot,
}

/// Wall time at the start, since the Unix epoch.
pub(crate) const WALL: Duration = Duration::from_secs(1_700_000_000);
/// Buffers per router; after everything is sent all must be back.
pub(crate) const BUFFERS: usize = 256;

impl Router {
    pub(crate) fn new(site: Site, other: Site, now: Instant) -> Self {
        Self::with_seed(site, other, 7, now)
    }

    /// A router whose handshakes differ by `seed`.
    pub(crate) fn with_seed(site: Site, other: Site, seed: u8, now: Instant) -> Self {
        let mut device = Device::new(&key(site), [seed; 32], WALL, now);
        device.set_peers(&[peer(other)], now);
        let (limiter, stats) = <(Arc<IcmpLimiter>, Arc<Stats>)>::default();
        let handshakes = Handshakes::new(device, Arc::clone(&stats));
        let mut router = Self {
            forwarder: Forwarder::new(
                handshakes.data_path(),
                Role::Speaker,
                Arc::clone(&limiter),
                Arc::clone(&stats),
            ),
            handshakes,
            limiter,
            stats,
            pool: BufferPool::new(BUFFERS),
            tx: TxQueue::new(4096),
            snapshot: snapshot(site, other),
        };
        router.install(now, |_| ());
        router
    }

    /// Changes and installs the snapshot.
    pub(crate) fn install(&mut self, now: Instant, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot);
        self.snapshot.generation += 1;
        let snapshot = Arc::new(self.snapshot.clone());
        self.handshakes.install(&snapshot);
        self.with(|forwarder, io| forwarder.install(snapshot, io, now));
    }

    pub(crate) fn with<T>(&mut self, run: impl FnOnce(&mut Forwarder, &mut Io<'_>) -> T) -> T {
        let mut io = Io {
            pool: &mut self.pool,
            tx: &mut self.tx,
        };
        run(&mut self.forwarder, &mut io)
    }

    /// Ends the batch and lets the handshakes go on.
    pub(crate) fn flush(&mut self, now: Instant) {
        let mut io = Io {
            pool: &mut self.pool,
            tx: &mut self.tx,
        };
        self.forwarder.flush(&mut io, now);
        self.handshakes.serve(&mut self.forwarder, &mut io, now);
        self.forwarder.flush(&mut io, now);
    }

    /// Returns the next deadline, and its name.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let deadlines = [
            self.forwarder.poll_timeout(),
            self.handshakes.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.handshakes.handle_timeout(now);
        self.with(|forwarder, io| forwarder.handle_timeout(io, now));
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.stats.dropped(reason)
    }

    pub(crate) fn drops(&self) -> Vec<(DropReason, u64)> {
        self.stats.drops().filter(|(_, count)| *count > 0).collect()
    }

    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        let (forwarder, handshakes) = (&mut self.forwarder, &mut self.handshakes);
        std::iter::from_fn(|| handshakes.poll_notice().or_else(|| forwarder.poll_notice()))
            .collect()
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let mut counters = self.stats.counters();
        counters
            .find(|(found, ..)| *found == name)
            .expect("a counter of this name")
            .2
    }
}

/// Both routers, and what they sent.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) a: Router,
    pub(crate) b: Router,
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    /// What A sent to its LAN and host, with the milliseconds since the start.
    pub(crate) from_a: Vec<(u128, Sent)>,
    pub(crate) from_b: Vec<(u128, Sent)>,
    /// Trains from A to B that were delivered, and lost ones.
    pub(crate) trains: Vec<Train>,
    /// Whether datagrams get through.
    pub(crate) underlay_up: bool,
    /// TOS byte that the underlay puts on every datagram, instead of the sender's.
    pub(crate) remark: Option<u8>,
    /// Whether the hosts answer ARP.
    pub(crate) hosts_up: bool,
}

impl Lab {
    #[expect(
        clippy::disallowed_methods,
        reason = "an `Instant` has no other origin"
    )]
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        let mut lab = Self {
            a: Router::new(A, B, start),
            b: Router::new(B, A, start),
            now: start,
            start,
            from_a: Vec::new(),
            from_b: Vec::new(),
            trains: Vec::new(),
            underlay_up: true,
            remark: None,
            hosts_up: true,
        };
        lab.settle();
        lab
    }

    /// A lab with a session, resolved neighbors, finished announcements, and empty logs.
    pub(crate) fn connected() -> Self {
        let mut lab = Self::new();
        lab.send_a(&udp(A.host, B.host, 64, b"first"));
        lab.send_b(&udp(B.host, A.host, 64, b"second"));
        lab.advance(Duration::from_secs(6));
        assert_eq!((lab.a.drops(), lab.b.drops()), (vec![], vec![]));
        lab.a.notices();
        lab.b.notices();
        lab.clear();
        lab
    }

    pub(crate) fn clear(&mut self) {
        self.from_a.clear();
        self.from_b.clear();
        self.trains.clear();
    }

    /// Lets the client at A send an IP packet through router A.
    pub(crate) fn send_a(&mut self, ip: &[u8]) {
        self.send_a_with(ip, Offload::default());
    }

    pub(crate) fn send_a_with(&mut self, ip: &[u8], offload: Offload) {
        self.a
            .frame_with(&frame(A.router_mac, A.host_mac, ip), offload, self.now);
        self.settle();
    }

    /// Lets the server at B send an IP packet through router B.
    pub(crate) fn send_b(&mut self, ip: &[u8]) {
        let bytes = frame(B.router_mac, B.host_mac, ip);
        self.b.frame_with(&bytes, Offload::default(), self.now);
        self.settle();
    }

    /// Lets an ARP packet arrive at router A.
    pub(crate) fn arp_a(&mut self, packet: ArpPacket, to: Mac) {
        self.a
            .frame_with(&packet.emit_frame_to(to), Offload::default(), self.now);
        self.settle();
    }

    /// Ends the batch on both routers, and carries everything around until nothing moves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            let now = self.now;
            self.a.flush(now);
            self.b.flush(now);
            if self.a.tx.is_empty() && self.b.tx.is_empty() {
                return;
            }
            self.carry();
        }
        panic!("the lab does not come to rest");
    }

    fn carry(&mut self) {
        let at = (self.now - self.start).as_millis();
        while let Some(egress) = self.a.tx.pop() {
            match take(&mut self.a, egress) {
                Out::Port(sent) => {
                    self.answer_arp(true, &sent);
                    self.from_a.push((at, sent));
                }
                Out::Train(train) => {
                    if self.underlay_up {
                        let tos = self.remark.unwrap_or(train.tos);
                        self.b.train(socket(A), tos, &train, self.now);
                    }
                    self.trains.push(train);
                }
            }
        }
        while let Some(egress) = self.b.tx.pop() {
            match take(&mut self.b, egress) {
                Out::Port(sent) => {
                    self.answer_arp(false, &sent);
                    self.from_b.push((at, sent));
                }
                Out::Train(train) if self.underlay_up => {
                    let tos = self.remark.unwrap_or(train.tos);
                    self.a.train(socket(B), tos, &train, self.now);
                }
                Out::Train(_) => {}
            }
        }
    }

    /// Plays the host of a LAN: it answers ARP requests for its address.
    fn answer_arp(&mut self, at_a: bool, sent: &Sent) {
        let site = if at_a { A } else { B };
        if sent.port != LAN || !self.hosts_up {
            return;
        }
        let Some(request) = sent.arp() else { return };
        if request.operation == ArpOperation::Request && request.target == site.host {
            let reply = request.reply(site.host_mac).emit_frame();
            let router = if at_a { &mut self.a } else { &mut self.b };
            router.frame_with(&reply, Offload::default(), self.now);
        }
    }

    /// Moves time by both routers' own deadlines.
    pub(crate) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            let due = [self.a.poll_timeout(), self.b.poll_timeout()];
            let Some((at, _)) = due.into_iter().flatten().min().filter(|(at, _)| *at <= end) else {
                self.now = end;
                return self.settle();
            };
            self.now = self.now.max(at);
            let now = self.now;
            self.a.handle_timeout(now);
            self.b.handle_timeout(now);
            self.settle();
        }
        panic!("a deadline does not move");
    }

    /// The IP packets that B's LAN got, with their pending work.
    pub(crate) fn at_server(&self) -> Vec<(Vec<u8>, Offload)> {
        ip_packets(&self.from_b)
    }

    /// The IP packets that A's LAN got, with their pending work.
    pub(crate) fn at_client(&self) -> Vec<(Vec<u8>, Offload)> {
        ip_packets(&self.from_a)
    }

    /// All buffers are back where they belong.
    pub(crate) fn assert_no_buffer_is_lost(&self) {
        assert_eq!(
            (self.a.pool.available(), self.b.pool.available()),
            (BUFFERS, BUFFERS)
        );
    }

    pub(crate) fn set_tap(&mut self) {
        self.a.forwarder.set_tap(Some(Tap::new(1000, 4096)));
    }
}

fn ip_packets(sent: &[(u128, Sent)]) -> Vec<(Vec<u8>, Offload)> {
    let on_lan = sent
        .iter()
        .filter(|(_, sent)| sent.port == LAN && sent.arp().is_none());
    on_lan
        .map(|(_, sent)| (sent.ip().to_vec(), sent.offload))
        .collect()
}

/// Something that a router sent.
pub(crate) enum Out {
    Port(Sent),
    Train(Train),
}

/// Ends the batch of a router and takes all that it sent.
pub(crate) fn outputs(router: &mut Router, now: Instant) -> Vec<Out> {
    router.flush(now);
    let mut outputs = Vec::new();
    while let Some(egress) = router.tx.pop() {
        outputs.push(take(router, egress));
    }
    outputs
}

/// Takes the bytes out of an egress entry and gives its buffer back.
fn take(router: &mut Router, egress: Egress) -> Out {
    match egress {
        Egress::Port { port, unit } => {
            let sent = Sent {
                port,
                bytes: unit.buffer.bytes().to_vec(),
                offload: unit.offload,
            };
            router.pool.give(unit.buffer);
            Out::Port(sent)
        }
        Egress::Train {
            lane,
            to,
            segment,
            tos,
            buffer,
        } => {
            let bytes = buffer.bytes().to_vec();
            router.pool.give(buffer);
            Out::Train(Train {
                lane,
                to,
                segment: usize::from(segment),
                tos,
                bytes,
            })
        }
    }
}

pub(crate) fn socket(site: Site) -> SocketAddr {
    site.underlay.into()
}

pub(crate) fn key(site: Site) -> PrivateKey {
    PrivateKey::generate([site.router_mac[5]; 32])
}

pub(crate) fn peer(site: Site) -> PeerConfig {
    PeerConfig {
        index: PEER,
        public_key: key(site).public(),
        preshared_key: None,
        endpoint: Some(socket(site)),
        persistent_keepalive: None,
        roaming: true,
    }
}

pub(crate) fn snapshot(site: Site, other: Site) -> Snapshot {
    let mut fib = FibBuilder::default();
    for (prefix, next_hop) in [
        ("10.77.60.0/24", NextHop::Withhold),
        ("203.0.113.0/24", NextHop::Unreachable),
        ("198.51.100.0/24", NextHop::Blackhole),
    ] {
        fib.insert(prefix.parse().unwrap(), next_hop);
    }
    for (address, next_hop) in [
        (site.host, NextHop::Lan(LAN)),
        (site.router, NextHop::Local),
        (site.overlay, NextHop::Local),
        (other.host, NextHop::Tunnel(TUNNEL)),
        (other.router, NextHop::Tunnel(TUNNEL)),
        (other.overlay, NextHop::Tunnel(TUNNEL)),
        (silent(site), NextHop::Lan(LAN)),
        (silent(other), NextHop::Tunnel(TUNNEL)),
    ] {
        fib.insert(address.into(), next_hop);
    }
    Snapshot {
        fib: fib.build(),
        lans: vec![LanPort {
            id: LAN,
            name: "lan0".to_owned(),
            interface: LAN_INTERFACE,
            mac: site.router_mac,
            address: Some(site.router),
            subnet: "10.77.60.0/24".parse().unwrap(),
            pools: vec!["10.77.60.0/24".parse().unwrap()],
            mtu: 1500,
            answers: [other.host].into_iter().collect(),
            gate_open: true,
            virtual_address: None,
            conflicts: 0,
            siblings: Vec::new(),
            beside: Vec::new(),
            discovers: false,
            asks: false,
            gratuitous_arp: true,
        }],
        tun: Some(TunPort {
            id: TUN,
            name: "rtun0".to_owned(),
            interface: TUN_INTERFACE,
            address: site.overlay,
            mtu: MTU,
        }),
        tunnels: vec![Tunnel {
            id: TUNNEL,
            name: "other".to_owned(),
            encap: Encap::WireGuard(PEER),
            nested: None,
            mtu: MTU,
            mss_clamp: true,
            force_fragment: false,
            dscp: Dscp::default(),
            site: TUNNEL.0,
        }],
        ..Snapshot::default()
    }
}

/// Adds or replaces the route of one address.
pub(crate) fn add_route(snapshot: &mut Snapshot, address: Ipv4Addr, next_hop: NextHop) {
    add_prefix(snapshot, address.into(), next_hop);
}

/// Adds or replaces a route.
pub(crate) fn add_prefix(snapshot: &mut Snapshot, prefix: ipnet::Ipv4Net, next_hop: NextHop) {
    let mut fib = FibBuilder::default();
    for (prefix, next_hop) in snapshot.fib.entries() {
        fib.insert(prefix, next_hop);
    }
    fib.insert(prefix, next_hop);
    snapshot.fib = fib.build();
}

/// An address on the LAN of `site` that nobody has.
pub(crate) fn silent(site: Site) -> Ipv4Addr {
    let [a, b, c, d] = site.host.octets();
    Ipv4Addr::new(a, b, c, d + 100)
}
