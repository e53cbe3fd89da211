//! Superpackets that a real kernel refuses, for it cuts none into more than 128 datagrams: they are cut here, and after a
//! few of them the kernel is not asked again for some time, which the log says once.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use sam_dataplane::packet::checksum::pseudo_header;
use sam_dataplane::packet::ipv4::{UDP, write_checksum};
use sam_dataplane::{
    BufferPool, Checksum, Egress, Gso, Merging, Offload, PortId, Role, Stats, TxQueue, Unit,
};
use sam_net::{Epoll, Namespace, Netlink, PacketSocket, Tun};
use sam_router::{LAN_PORT, Offloads, TUN_PORT};

use super::logged::logged;
use super::mailbox::LanSockets;
use super::ports::Ports;
use super::trust::RETRY;

#[test]
fn by_the_tun_device() {
    let Some(host) = namespace() else { return };
    let tun = open_tun(&host);
    configure(&host, TUN);
    let mut lab = Lab::new(tun, &host);
    let log = logged(|| {
        lab.refuses(TUN_PORT, &superpacket(), 0, |merging| {
            [merging.host.tcp, merging.host.udp]
        });
    });
    let expected = [
        "WARN the kernel refuses superpackets of UDP on the TUN device: they are cut here for some time",
        "INFO superpackets are tried again on the TUN device",
    ];
    assert_eq!(log, expected, "once, not for each packet");
}

#[test]
fn by_a_lan_port() {
    let (Some(router), Some(host)) = (namespace(), namespace()) else {
        return;
    };
    let lay = || Netlink::open()?.create_veth(NEAR, FAR, Some(host.as_fd()));
    router.enter(lay).expect("entered").expect("a cable");
    let up = || {
        let mut netlink = Netlink::open()?;
        let link = netlink.link(NEAR)?;
        netlink.set_up(link.index)
    };
    router.enter(up).expect("entered").expect("a link");
    let mac = configure(&host, FAR);
    let mut lab = Lab::new(open_tun(&router), &host);
    let open = || PacketSocket::open(NEAR, None);
    let mut sockets = (0..2).map(|_| router.enter(open).expect("entered").expect("a socket"));
    let sockets = LanSockets {
        ipv4: sockets.next().expect("two"),
        receives: true,
        arp: sockets.next().expect("two"),
    };
    lab.ports
        .set_lan(LAN_PORT, sockets, &lab.epoll, &mut lab.pool);
    let frame = [&mac[..], &[2, 0, 0, 0, 0, 1, 8, 0], &superpacket()].concat();
    let log = logged(|| {
        lab.refuses(LAN_PORT, &frame, 14, |merging| {
            [merging.lan.tcp, merging.lan.udp]
        });
    });
    let expected = [
        "WARN the kernel refuses superpackets of UDP on the LAN: they are cut here for some time",
        "INFO superpackets are tried again on the LAN",
    ];
    assert_eq!(log, expected, "once, not for each packet");
}

/// A worker's ports, and a host that receives what they send.
struct Lab {
    ports: Ports,
    epoll: Epoll,
    pool: BufferPool,
    stats: Stats,
    host: UdpSocket,
}

impl Lab {
    fn new(tun: Tun, host: &Namespace) -> Self {
        let epoll = Epoll::new(8).expect("a descriptor");
        let bind = || UdpSocket::bind((HOST, PORT));
        let host = host.enter(bind).expect("entered").expect("a free port");
        host.set_read_timeout(Some(Duration::from_secs(10)))
            .expect("valid");
        let ports = Ports::new(tun, true, Offloads::default(), Role::Speaker, &epoll);
        Self {
            ports: ports.expect("watched"),
            epoll,
            pool: BufferPool::new(256),
            stats: Stats::default(),
            host,
        }
    }

    /// Sends the superpacket in `bytes`, behind `link` bytes of link header, until the kernel is not asked any more, and
    /// until it is asked again. `trusted` tells whether it is trusted with TCP and with UDP.
    fn refuses(
        &mut self,
        port: PortId,
        bytes: &[u8],
        link: u16,
        trusted: fn(Merging) -> [bool; 2],
    ) {
        let start = Instant::now();
        for refused in [1, 2, 3, 3, 3] {
            self.send(port, bytes, link);
            assert_eq!(self.stats.superpackets_refused.load(Relaxed), refused);
        }
        assert_eq!(trusted(self.ports.merging()), [true, false]);
        assert_eq!(self.stats.drops().map(|(_, count)| count).sum::<u64>(), 0);
        self.ports.retry_offloads(start);
        self.ports.retry_offloads(start + RETRY);
        assert_eq!(trusted(self.ports.merging()), [true, true]);
        self.send(port, bytes, link);
        assert_eq!(self.stats.superpackets_refused.load(Relaxed), 4);
        assert_eq!(self.pool.available(), 256);
    }

    /// Every datagram arrives, in order, and a single packet that leaves with them behind them.
    fn send(&mut self, port: PortId, bytes: &[u8], link: u16) {
        let mut tx = TxQueue::new(8);
        let whole = Gso::Udp { size: DATA };
        let link_header = &bytes[..usize::from(link)];
        let last = [link_header, &packet(&[low_byte(DATAGRAMS); DATA as usize])].concat();
        for (bytes, gso) in [(bytes, whole), (&last, Gso::None)] {
            let mut buffer = self.pool.take().expect("a free buffer");
            assert!(buffer.append(bytes));
            let offload = Offload {
                gso,
                checksum: Checksum::Partial {
                    start: link + 20,
                    offset: 6,
                },
            };
            let unit = Unit { buffer, offload };
            assert!(tx.push(Egress::Port { port, unit }).is_ok());
        }
        self.ports.send(&mut tx, &mut self.pool, &self.stats);
        for number in 0..=DATAGRAMS {
            let mut datagram = [0; 99];
            let length = self.host.recv(&mut datagram).expect("a datagram");
            assert_eq!(datagram[..length], [low_byte(number); DATA as usize]);
        }
    }
}

/// A UDP superpacket for the host.
fn superpacket() -> Vec<u8> {
    let payload = (0..DATAGRAMS).flat_map(|number| [low_byte(number); DATA as usize]);
    packet(&payload.collect::<Vec<u8>>())
}

/// A UDP packet for the host, its checksum begun.
fn packet(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("short");
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, UDP, 0, 0];
    packet[2..4].copy_from_slice(&(20 + length).to_be_bytes());
    packet.extend(SENDER.octets());
    packet.extend(HOST.octets());
    write_checksum(&mut packet);
    let sum = pseudo_header(SENDER, HOST, UDP, length).fold();
    packet.extend([PORT, PORT, length, sum].map(u16::to_be_bytes).concat());
    packet.extend(payload);
    packet
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

fn namespace() -> Option<Namespace> {
    let made = Namespace::create();
    made.map_err(|error| println!("skipped: {error}")).ok()
}

fn open_tun(namespace: &Namespace) -> Tun {
    let opened = namespace.enter(|| Tun::open(TUN)).expect("entered");
    opened.expect("a TUN device")
}

/// Gives a link the host's address and sets it up; returns its MAC address.
fn configure(namespace: &Namespace, link: &str) -> [u8; 6] {
    let configure = || {
        let mut netlink = Netlink::open()?;
        let link = netlink.link(link)?;
        let network = Ipv4Net::new_assert(HOST, 24);
        netlink.add_address(link.index, IpNet::V4(network))?;
        netlink.set_up(link.index)?;
        Ok::<_, sam_net::NetError>(link.mac.unwrap_or_default())
    };
    namespace
        .enter(configure)
        .expect("entered")
        .expect("a link")
}

/// One more than the kernel cuts.
const DATAGRAMS: usize = 129;
const DATA: u16 = 10;
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const PORT: u16 = 7000;
const TUN: &str = "tun-refuses";
const NEAR: &str = "near";
const FAR: &str = "far";
