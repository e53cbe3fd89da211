//! How packets get from one place to the next: over LANs, over the underlay; and what is checked on the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sam_vrrp::Arrival as Advertised;

use crate::invariants::{check_claim, check_delivery};
use crate::packet::{Arp, BROADCAST, Probe, ProbeKind, addresses, ipv4_of};
use crate::site::{Emission, Site};
use crate::topology::{router_mac, underlay};
use crate::world::{Delivered, World};

/// Time for a frame to cross a LAN.
const LAN_DELAY: Duration = Duration::from_micros(50);
/// A VRRP advertisement takes up to this long, for it passes threads that have other things to do.
const ADVERTISEMENT_DELAY: u64 = 3_000;

/// What is on its way to a site.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A datagram to the router.
    Datagram {
        /// Outer source.
        from: SocketAddr,
        /// Outer TOS byte.
        tos: u8,
        /// UDP payload.
        bytes: Vec<u8>,
    },
    /// A frame to the router.
    FrameToRouter(Vec<u8>),
    /// A frame to the hosts on the LAN, to all or to those of one part of it.
    FrameToHosts(Part, Vec<u8>),
    /// A VRRP advertisement to the router.
    Advertisement(Advertised, Vec<u8>),
}

/// The part of a partitioned LAN in which something is: the island or the rest. `None`: the LAN is whole.
pub(crate) type Part = Option<bool>;

/// A packet that a host sent.
#[derive(Debug)]
pub(crate) struct SentPacket {
    /// As it was sent.
    bytes: Vec<u8>,
    /// Where.
    site: usize,
}

impl Arrival {
    pub(crate) fn len(&self) -> usize {
        let (Self::Datagram { bytes, .. }
        | Self::FrameToRouter(bytes)
        | Self::FrameToHosts(_, bytes)
        | Self::Advertisement(_, bytes)) = self;
        bytes.len()
    }
}

impl World {
    /// Sends a probe that wants to arrive; returns its number.
    pub fn probe(&mut self, source: Ipv4Addr, destination: Ipv4Addr) -> u32 {
        self.launch(source, destination, ProbeKind::OneWay, 0)
    }

    /// Sends a probe that wants to arrive, as a packet of `length` bytes; returns its number.
    pub fn long_probe(&mut self, source: Ipv4Addr, destination: Ipv4Addr, length: usize) -> u32 {
        self.launch(source, destination, ProbeKind::OneWay, length)
    }

    /// Sends a probe that wants an answer; returns its number.
    pub fn ping(&mut self, source: Ipv4Addr, destination: Ipv4Addr) -> u32 {
        self.launch(source, destination, ProbeKind::Request, 0)
    }

    fn launch(
        &mut self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        kind: ProbeKind,
        length: usize,
    ) -> u32 {
        let id = u32::try_from(self.sent.len()).expect("few probes");
        let packet = Probe { id, kind }.packet_of(length, source, destination);
        let site = self.site_of(source).expect("the probing host is on a LAN");
        self.sent.push(SentPacket {
            bytes: packet.clone(),
            site,
        });
        self.send_from_host(site, source, packet);
        id
    }

    /// Returns the site on whose LAN a host is.
    #[must_use]
    pub fn site_of(&self, host: Ipv4Addr) -> Option<usize> {
        let has = |site: &Site| site.hosts.iter().any(|at| at.address == host);
        self.sites.iter().position(has)
    }

    pub(crate) fn arrive(&mut self, index: usize, arrival: Arrival) {
        let now = self.now;
        let for_router = !matches!(arrival, Arrival::FrameToHosts(..));
        let frozen_until = self.sites[index].frozen_until;
        if for_router && now < frozen_until {
            self.schedule(frozen_until - now, index, arrival);
            return;
        }
        match arrival {
            Arrival::Datagram { from, tos, bytes } => {
                let site = &mut self.sites[index];
                if site.up {
                    site.receive_datagram(from, tos, &bytes, now);
                    self.settle(index);
                }
            }
            Arrival::FrameToRouter(bytes) => {
                if self.sites[index].up && self.sites[index].lan_up {
                    self.overhear(index, &bytes);
                    self.sites[index].receive_frame(&bytes, now);
                    self.settle(index);
                }
            }
            Arrival::Advertisement(from, bytes) => {
                let site = &mut self.sites[index];
                if site.up && site.lan_up {
                    site.receive_advertisement(from, &bytes, now);
                    self.settle(index);
                }
            }
            Arrival::FrameToHosts(part, bytes) => self.deliver_to_hosts(index, part, &bytes),
        }
    }

    /// Notes what a router hears of addresses for which it would answer.
    fn overhear(&mut self, index: usize, bytes: &[u8]) {
        let site = &self.sites[index];
        let listed = |address| {
            let mut lans = site.snapshot.lans.iter();
            lans.any(|lan| lan.answers.contains(address))
        };
        // What a switch that forgot its stations floods is for others.
        let for_us = |arp: &Arp| [BROADCAST, router_mac(index)].contains(&arp.to);
        let heard = Arp::parse(bytes).filter(for_us).map(|arp| arp.sender);
        if let Some((mac, address)) = heard.filter(|(_, address)| listed(*address)) {
            let mut hosts = self.sites[site.lan].hosts.iter();
            let lives = hosts.any(|host| (host.mac, host.address) == (mac, address));
            self.watch.on_heard(index, address, lives, self.now);
        }
    }

    /// Sends what left a site on its way.
    pub(crate) fn emit(&mut self, index: usize, emission: Emission) {
        match emission {
            Emission::Frame(bytes) => {
                self.check_frame(index, &bytes);
                let Site { lan, island, .. } = self.sites[index];
                if self.sites[index].lan_up {
                    self.broadcast(lan, island, Some(index), bytes);
                }
            }
            Emission::Advertisement(from, bytes) => {
                let Site { lan, island, .. } = self.sites[index];
                for to in self.routers_on(lan, self.part(lan, island)) {
                    let delay = Duration::from_micros(self.rng.below(ADVERTISEMENT_DELAY));
                    if to != index && self.sites[index].lan_up {
                        self.schedule(delay, to, Arrival::Advertisement(from, bytes.clone()));
                    }
                }
            }
            Emission::Datagram { to, tos, bytes } => {
                let target = (0..self.sites.len()).find(|site| underlay(*site) == to);
                let target = target.expect("routers send to each other only");
                let way = (index, target);
                for delay in self.faults.deliveries(way, bytes.len(), &mut self.rng) {
                    let from = underlay(index);
                    let bytes = bytes.clone();
                    self.schedule(delay, target, Arrival::Datagram { from, tos, bytes });
                }
            }
        }
    }

    /// Puts a host's frame on its LAN: every host and router that it reaches get a copy.
    pub(crate) fn send_host_frame(&mut self, lan: usize, island: bool, bytes: Vec<u8>) {
        if let Some(arp) = Arp::parse(&bytes).filter(|arp| arp.operation == 2) {
            let part = self.part(lan, island);
            self.watch.on_answer(lan, part, &arp, self.now);
        }
        self.broadcast(lan, island, None, bytes);
    }

    /// Brings a frame to all hosts of a LAN, and to all routers but the one that sent it.
    fn broadcast(&mut self, lan: usize, island: bool, sender: Option<usize>, bytes: Vec<u8>) {
        let part = self.part(lan, island);
        for router in self.routers_on(lan, part) {
            if Some(router) != sender {
                self.schedule(LAN_DELAY, router, Arrival::FrameToRouter(bytes.clone()));
            }
        }
        self.schedule(LAN_DELAY, lan, Arrival::FrameToHosts(part, bytes));
    }

    fn part(&self, lan: usize, island: bool) -> Part {
        self.partitioned.contains(&lan).then_some(island)
    }

    /// Lists the routers in a part of a LAN.
    fn routers_on(&self, lan: usize, part: Part) -> Vec<usize> {
        let sites = self.sites.iter();
        let reached = sites.filter(|site| site.lan == lan && is_in(part, site.island));
        reached.map(|site| site.index).collect()
    }

    fn send_from_host(&mut self, index: usize, host: Ipv4Addr, packet: Vec<u8>) {
        let hosts = &mut self.sites[index].hosts;
        let host = hosts.iter_mut().find(|at| at.address == host);
        let host = host.expect("the host is on this LAN");
        let (island, frame) = (host.island, host.send(packet));
        self.send_host_frame(index, island, frame);
    }

    fn deliver_to_hosts(&mut self, index: usize, part: Part, bytes: &[u8]) {
        let mut frames = Vec::new();
        let mut packets = Vec::new();
        let hosts = self.sites[index].hosts.iter_mut();
        for host in hosts.filter(|host| is_in(part, host.island)) {
            let (answers, packet) = host.handle_frame(bytes);
            frames.extend(answers.into_iter().map(|frame| (host.island, frame)));
            packets.extend(packet);
        }
        for packet in packets {
            self.deliver(index, bytes, &packet);
        }
        for (island, frame) in frames {
            self.send_host_frame(index, island, frame);
        }
    }

    /// Checks and records a packet that reached its host in `frame`; answers it if it wants that.
    fn deliver(&mut self, index: usize, frame: &[u8], packet: &[u8]) {
        let Some(Probe { id, kind }) = Probe::parse(packet) else {
            return;
        };
        let sent = match kind {
            ProbeKind::Reply => self.replies.get(&id),
            ProbeKind::OneWay | ProbeKind::Request => self.sent.get(id as usize),
        };
        let sent = sent.expect("only what was sent arrives");
        let mut routers = self.routers_on(index, None).into_iter();
        let routed = routers.any(|router| frame[6..12] == router_mac(router));
        let direct = match (routed, sent.site == index) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        // Where two routers stand, the one that does not act hands on what still reaches it.
        let pairs = [index, sent.site].map(|lan| self.routers_on(lan, None).len() > 1);
        let detours = pairs.into_iter().filter(|pair| *pair).count();
        let most = direct + if routed { small(detours) } else { 0 };
        let hops = sent.bytes[TTL_AT].saturating_sub(packet[TTL_AT]);
        assert!((direct..=most).contains(&hops), "I13: {hops} routers");
        check_delivery(&sent.bytes, packet, hops);
        if kind == ProbeKind::Reply {
            self.answered.insert(id);
            return;
        }
        let delivered = Delivered {
            id,
            site: index,
            hops,
            at: self.elapsed(),
        };
        self.delivered.insert(id, delivered);
        if kind == ProbeKind::Request {
            let (source, destination) = addresses(packet);
            let kind = ProbeKind::Reply;
            let bytes = Probe { id, kind }.packet(destination, source);
            let reply = SentPacket {
                bytes: bytes.clone(),
                site: index,
            };
            self.replies.insert(id, reply);
            self.send_from_host(index, destination, bytes);
        }
    }

    /// Checks a frame that a router sends to its LAN.
    fn check_frame(&mut self, index: usize, bytes: &[u8]) {
        let site = &self.sites[index];
        let part = self.part(site.lan, site.island);
        let hosts = &self.sites[site.lan].hosts;
        let meant = match (Arp::parse(bytes), ipv4_of(bytes)) {
            (Some(arp), _) if arp.operation == 1 && arp.sender.1 != arp.target.1 => {
                check_claim(site, hosts, &arp);
                // Whoever claims an address that lives elsewhere is asked whether that is so; who answers asks for what it
                // answers for; and who discovers hosts asks for addresses that nobody owns, and for those that may have moved
                // here.
                let address = arp.target.1;
                let is_asked = self.watch.was_claimed(index, address)
                    || site
                        .snapshot
                        .lans
                        .iter()
                        .any(|lan| lan.is_answered(address))
                    || discovers(site);
                (!is_asked).then_some(arp.target.1)
            }
            (Some(arp), _) => {
                check_claim(site, hosts, &arp);
                self.watch.check_heard(site, arp.sender.1, self.now);
                if arp.operation == 2 && arp.to != [0xFF; 6] {
                    self.watch.on_answer(site.lan, part, &arp, self.now);
                }
                None
            }
            (None, packet) => packet.map(|packet| addresses(packet).1),
        };
        // While all agree, nothing leaves for a LAN that is not the owner's.
        if let Some(address) = meant.filter(|_| self.agreed) {
            assert_eq!(
                self.expected_owner(address),
                Some(index),
                "site {index} looks for {address} on its LAN"
            );
        }
    }

    pub(crate) fn schedule(&mut self, delay: Duration, site: usize, arrival: Arrival) {
        let at: Instant = self.now + delay;
        self.order += 1;
        self.queue.insert((at, self.order), (site, arrival));
    }
}

/// Tells whether something on the island of a LAN, or on the rest of it, is in this part.
fn is_in(part: Part, island: bool) -> bool {
    part.is_none_or(|part| part == island)
}

fn small(count: usize) -> u8 {
    u8::try_from(count).expect("few")
}

/// Where an IPv4 header has its TTL.
const TTL_AT: usize = 8;

fn discovers(site: &Site) -> bool {
    site.snapshot.lans.iter().any(|lan| lan.discovers)
}
