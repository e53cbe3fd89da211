//! How packets get from one place to the next: over LANs, over the underlay; and what is checked on the way.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::invariants::{check_claim, check_delivery};
use crate::packet::{Arp, Probe, ProbeKind, addresses, ipv4_of};
use crate::site::Emission;
use crate::topology::{router_mac, underlay};
use crate::world::{Delivered, World};

/// Time for a frame to cross a LAN.
const LAN_DELAY: Duration = Duration::from_micros(50);

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
    /// A frame to all hosts on the LAN.
    FrameToHosts(Vec<u8>),
}

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
        let (Self::Datagram { bytes, .. } | Self::FrameToRouter(bytes) | Self::FrameToHosts(bytes)) =
            self;
        bytes.len()
    }
}

impl World {
    /// Sends a probe that wants to arrive; returns its number.
    pub fn probe(&mut self, source: Ipv4Addr, destination: Ipv4Addr) -> u32 {
        self.launch(source, destination, ProbeKind::OneWay)
    }

    /// Sends a probe that wants an answer; returns its number.
    pub fn ping(&mut self, source: Ipv4Addr, destination: Ipv4Addr) -> u32 {
        self.launch(source, destination, ProbeKind::Request)
    }

    fn launch(&mut self, source: Ipv4Addr, destination: Ipv4Addr, kind: ProbeKind) -> u32 {
        let id = u32::try_from(self.sent.len()).expect("few probes");
        let packet = Probe { id, kind }.packet(source, destination);
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
        let has = |site: &crate::Site| site.hosts.iter().any(|at| at.address == host);
        self.sites.iter().position(has)
    }

    pub(crate) fn arrive(&mut self, index: usize, arrival: Arrival) {
        let now = self.now;
        let site = &mut self.sites[index];
        match arrival {
            Arrival::Datagram { from, tos, bytes } => {
                if site.up {
                    site.receive_datagram(from, tos, &bytes, now);
                    self.settle(index);
                }
            }
            Arrival::FrameToRouter(bytes) => {
                if site.up && site.lan_up {
                    let answers = |lan: &sam_dataplane::snapshot::LanPort, address| {
                        lan.answers.contains(&address)
                    };
                    let heard = Arp::parse(&bytes).map(|arp| arp.sender);
                    let heard = heard.filter(|(_, address)| {
                        site.snapshot.lans.iter().any(|lan| answers(lan, *address))
                    });
                    if let Some((mac, address)) = heard {
                        let mut hosts = site.hosts.iter();
                        let lives = hosts.any(|host| (host.mac, host.address) == (mac, address));
                        self.watch.on_heard(index, address, lives, now);
                    }
                    site.receive_frame(&bytes, now);
                    self.settle(index);
                }
            }
            Arrival::FrameToHosts(bytes) => self.deliver_to_hosts(index, &bytes),
        }
    }

    /// Sends what left a site on its way.
    pub(crate) fn emit(&mut self, index: usize, emission: Emission) {
        match emission {
            Emission::Frame(bytes) => {
                self.check_frame(index, &bytes);
                if self.sites[index].lan_up {
                    self.schedule(LAN_DELAY, index, Arrival::FrameToHosts(bytes));
                }
            }
            Emission::Datagram { to, tos, bytes } => {
                let target = (0..self.sites.len()).find(|site| underlay(*site) == to);
                let target = target.expect("routers send to each other only");
                for delay in self.faults.deliveries(index, target, &mut self.rng) {
                    let from = underlay(index);
                    let bytes = bytes.clone();
                    self.schedule(delay, target, Arrival::Datagram { from, tos, bytes });
                }
            }
        }
    }

    /// Puts a host's frame on its LAN: every host and the router get a copy.
    pub(crate) fn send_host_frame(&mut self, index: usize, bytes: Vec<u8>) {
        if let Some(arp) = Arp::parse(&bytes).filter(|arp| arp.operation == 2) {
            self.watch.on_answer(index, &arp, self.now);
        }
        self.schedule(LAN_DELAY, index, Arrival::FrameToHosts(bytes.clone()));
        self.schedule(LAN_DELAY, index, Arrival::FrameToRouter(bytes));
    }

    fn send_from_host(&mut self, index: usize, host: Ipv4Addr, packet: Vec<u8>) {
        let hosts = &mut self.sites[index].hosts;
        let host = hosts.iter_mut().find(|at| at.address == host);
        let frame = host.expect("the host is on this LAN").send(packet);
        self.send_host_frame(index, frame);
    }

    fn deliver_to_hosts(&mut self, index: usize, bytes: &[u8]) {
        let mut frames = Vec::new();
        let mut packets = Vec::new();
        for host in &mut self.sites[index].hosts {
            let (answers, packet) = host.handle_frame(bytes);
            frames.extend(answers);
            packets.extend(packet);
        }
        for packet in packets {
            self.deliver(index, bytes, &packet);
        }
        for frame in frames {
            self.send_host_frame(index, frame);
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
        let hops = match (frame[6..12] == router_mac(index), sent.site == index) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
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
        let meant = match (Arp::parse(bytes), ipv4_of(bytes)) {
            (Some(arp), _) if arp.operation == 1 && arp.sender.1 != arp.target.1 => {
                check_claim(site, &arp);
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
                check_claim(site, &arp);
                self.watch.check_heard(site, arp.sender.1, self.now);
                if arp.operation == 2 && arp.to != [0xFF; 6] {
                    self.watch.on_answer(index, &arp, self.now);
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

fn discovers(site: &crate::Site) -> bool {
    site.snapshot.lans.iter().any(|lan| lan.discovers)
}
