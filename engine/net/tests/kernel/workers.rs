//! Ports that several workers share: every packet reaches one of them, and a flow keeps to one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use sam_dataplane::{Buffer, BufferPool, Gso};
use sam_net::tun::TunOffloads;
use sam_net::{FrameFilter, PacketSocket, Tun, UdpGroup, UdpSocket};

use crate::cable::{Cable, LEFT, RIGHT, namespace, set_up};
use crate::frame::{self, ETHERNET};

const WORKERS: usize = 3;
const FLOWS: u16 = 40;
const PACKETS: usize = 3;
const FRAGMENTS: usize = 3;

/// Which worker got how many packets of each flow.
#[derive(Debug, Default)]
struct Tally(BTreeMap<u16, BTreeMap<usize, usize>>);

impl Tally {
    fn count(&mut self, flow: u16, worker: usize) {
        *self.0.entry(flow).or_default().entry(worker).or_default() += 1;
    }

    fn total(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }

    /// Every packet came once, each flow at one worker, and more than one worker has something to do.
    fn assert_spread(&self, packets: usize) {
        assert_eq!(self.0.len(), usize::from(FLOWS), "{self:?}");
        assert!(
            self.0.values().all(
                |workers| workers.len() == 1 && workers.values().all(|count| *count == packets)
            ),
            "{self:?}"
        );
        let used: BTreeSet<_> = self.0.values().flat_map(BTreeMap::keys).collect();
        assert!(used.len() > 1, "{self:?}");
    }
}

/// Lets `step` look for packets until `done`, for at most ten seconds.
fn poll_until(mut step: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !step() {
        assert!(Instant::now() < end, "packets are missing");
        std::thread::yield_now();
    }
}

#[test]
fn frames_are_spread_over_packet_sockets_by_flow() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let Some(mut sockets) = group(&cable) else {
        return;
    };
    let mut sender = cable
        .left
        .enter(|| PacketSocket::open(LEFT, None))
        .unwrap()
        .unwrap();
    for _ in 0..PACKETS {
        for flow in 0..FLOWS {
            let datagram = frame::udp(5000 + flow, 7000, b"x");
            let packet = frame::ipv4("10.9.0.1", "10.9.0.2", 17, datagram);
            let frame = frame::ethernet(sockets[0].mac(), sender.mac(), &packet);
            let unit = frame::unit(&frame, 0, Gso::None);
            assert_eq!(sender.send_batch(&[unit], &mut Vec::new()), 1);
        }
    }

    let mut tally = Tally::default();
    receive_all(&mut sockets, PACKETS, |worker, packet| {
        tally.count(u16::from_be_bytes([packet[20], packet[21]]), worker);
    });
    tally.assert_spread(PACKETS);
}

#[test]
fn the_fragments_of_a_datagram_reach_one_packet_socket_in_order() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let Some(mut sockets) = group(&cable) else {
        return;
    };
    let mut sender = cable
        .left
        .enter(|| PacketSocket::open(LEFT, None))
        .unwrap()
        .unwrap();
    // Each host sends one fragmented datagram after the other, of changing ports; the fragments of all hosts are mixed.
    for datagram in 0..PACKETS {
        for (offset, more) in [(0, true), (1, true), (2, false)] {
            for host in 0..FLOWS {
                let port = 5000 + 7 * host + u16::try_from(datagram).unwrap();
                let payload = frame::udp(port, 7000, &[0; 16]);
                let packet = frame::ipv4(&format!("10.9.0.{}", 10 + host), "10.9.0.2", 17, payload);
                let packet = frame::fragment(packet, offset, more);
                let frame = frame::ethernet(sockets[0].mac(), sender.mac(), &packet);
                assert_eq!(
                    sender.send_batch(&[frame::plain(&frame)], &mut Vec::new()),
                    1
                );
            }
        }
    }

    let mut tally = Tally::default();
    let mut offsets: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    receive_all(&mut sockets, FRAGMENTS * PACKETS, |worker, packet| {
        let host = u16::from(packet[15]) - 10;
        tally.count(host, worker);
        offsets.entry(host).or_default().push(packet[7]);
    });
    tally.assert_spread(FRAGMENTS * PACKETS);
    let expected = [0, 1, 2].repeat(PACKETS);
    assert!(
        offsets.values().all(|offsets| *offsets == expected),
        "{offsets:?}"
    );
}

/// Packet sockets of one group on the right.
fn group(cable: &Cable) -> Option<Vec<PacketSocket>> {
    let filter = FrameFilter {
        prefixes: vec!["10.9.0.0/24".parse().unwrap()],
        ..FrameFilter::default()
    };
    let filter = filter.build().unwrap();
    let open = || PacketSocket::open(RIGHT, Some(&filter));
    let opened: Result<Vec<_>, _> = cable
        .right
        .enter(|| (0..WORKERS).map(|_| open()).collect())
        .unwrap();
    let sockets = match opened {
        Ok(sockets) => sockets,
        Err(error) if error.errno() == Some(libc::EPERM) => {
            println!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    PacketSocket::fan_out(&sockets).unwrap();
    Some(sockets)
}

/// Receives so many packets of each flow, and hands over each with the number of its socket.
fn receive_all(sockets: &mut [PacketSocket], packets: usize, mut take: impl FnMut(usize, &[u8])) {
    let (mut total, mut pool) = (0, BufferPool::new(64 * WORKERS));
    poll_until(|| {
        for (worker, socket) in sockets.iter_mut().enumerate() {
            let mut frames = Vec::new();
            socket.recv_batch(&mut pool, &mut frames, 32).unwrap();
            for unit in frames {
                let buffer = unit.unwrap().buffer;
                take(worker, &buffer.bytes()[ETHERNET..]);
                total += 1;
                pool.give(buffer);
            }
        }
        total >= usize::from(FLOWS) * packets
    });
}

#[test]
fn what_the_host_sends_reaches_no_packet_socket() {
    let Some(cable) = Cable::lay(Some("10.9.0.1/24"), Some("10.9.0.2/24")) else {
        return;
    };
    let filter = FrameFilter {
        arp: true,
        prefixes: vec!["10.9.0.0/24".parse().unwrap()],
        ..FrameFilter::default()
    };
    let filter = filter.build().unwrap();
    let open = || PacketSocket::open(RIGHT, Some(&filter));
    let opened: Result<Vec<_>, _> = cable
        .right
        .enter(|| (0..WORKERS).map(|_| open()).collect())
        .unwrap();
    let mut sockets = match opened {
        Ok(sockets) => sockets,
        Err(error) if error.errno() == Some(libc::EPERM) => {
            println!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    PacketSocket::fan_out(&sockets).unwrap();
    let bind = |address: &'static str| move || std::net::UdpSocket::bind(address).unwrap();
    let left = cable.left.enter(bind("10.9.0.1:7000")).unwrap();
    let right = cable.right.enter(bind("10.9.0.2:7000")).unwrap();
    left.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();

    right.send_to(b"from the host", "10.9.0.1:7000").unwrap();
    left.recv(&mut [0; 99]).unwrap();
    // This one comes in, behind all that went out.
    left.send_to(b"to the host", "10.9.0.2:7000").unwrap();

    let (mut pool, own, mut seen) = (BufferPool::new(64 * WORKERS), sockets[0].mac(), false);
    poll_until(|| {
        for socket in &mut sockets {
            let mut frames = Vec::new();
            socket.recv_batch(&mut pool, &mut frames, 32).unwrap();
            for unit in frames {
                let buffer = unit.unwrap().buffer;
                let bytes = buffer.bytes();
                assert_ne!(bytes[6..12], own, "a frame of this host");
                seen |= bytes[12..14] == [8, 0];
                pool.give(buffer);
            }
        }
        seen
    });
}

#[test]
fn host_packets_are_spread_over_tun_queues_and_the_device_stays_ours() {
    let Some(namespace) = namespace() else {
        return;
    };
    let opened = namespace.enter(|| Tun::open_queues("tun-many", WORKERS, TunOffloads::TcpUdp));
    let mut queues = match opened.unwrap() {
        Ok(queues) => queues,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    assert_eq!(queues.len(), WORKERS);
    namespace
        .enter(|| set_up("tun-many", Some("10.8.0.1/24")))
        .unwrap();
    for count in [1, WORKERS] {
        let second = namespace.enter(|| Tun::open_queues("tun-many", count, TunOffloads::TcpUdp));
        let error = second.unwrap().expect_err("a second router");
        assert!(error.remedy.is_some(), "{error}");
    }
    // The kernel keeps a flow to the queue that last wrote to it, and spreads the others by their hash.
    let senders: Vec<_> = namespace
        .enter(|| {
            let bind = |_| std::net::UdpSocket::bind("10.8.0.1:0").unwrap();
            (0..FLOWS).map(bind).collect()
        })
        .unwrap();
    for _ in 0..PACKETS {
        for sender in &senders {
            sender.send_to(b"x", "10.8.0.2:7000").unwrap();
        }
    }

    let mut tally = Tally::default();
    poll_until(|| {
        for (worker, queue) in queues.iter_mut().enumerate() {
            let mut buffer = Buffer::new();
            while queue.recv(&mut buffer).unwrap().is_some() {
                let bytes = buffer.bytes();
                if bytes[0] == 0x45 && bytes[9] == 17 {
                    tally.count(u16::from_be_bytes([bytes[20], bytes[21]]), worker);
                }
                buffer.clear();
            }
        }
        tally.total() >= usize::from(FLOWS) * PACKETS
    });
    tally.assert_spread(PACKETS);
}

#[test]
fn senders_are_spread_over_underlay_sockets_and_the_port_stays_ours() {
    for any in [LOCAL_V4, LOCAL_V6] {
        let mut group = UdpGroup::bind(any, WORKERS).unwrap();
        let to = group.control.local_addr();
        assert!(group.members.iter().all(|socket| socket.local_addr() == to));
        for count in [1, WORKERS] {
            let error = UdpGroup::bind(to, count).expect_err("a second router");
            assert_eq!(error.errno(), Some(libc::EADDRINUSE), "{error}");
        }
        let senders: Vec<_> = (0..FLOWS)
            .map(|_| std::net::UdpSocket::bind(any).unwrap())
            .collect();
        for _ in 0..PACKETS {
            for sender in &senders {
                sender.send_to(b"x", to).unwrap();
            }
        }

        let mut tally = Tally::default();
        poll_until(|| {
            for (worker, socket) in group.members.iter_mut().enumerate() {
                for from in receive(socket) {
                    tally.count(from, worker);
                }
            }
            tally.total() >= usize::from(FLOWS) * PACKETS
        });
        tally.assert_spread(PACKETS);
        assert_eq!(receive(&mut group.control), []);
    }
}

#[test]
fn control_messages_have_a_socket_of_their_own_that_a_flood_cannot_fill() {
    for any in [LOCAL_V4, LOCAL_V6] {
        let mut group = UdpGroup::bind(any, WORKERS).unwrap();
        let to = group.control.local_addr();
        let sender = UdpSocket::bind(any).unwrap();
        let port = sender.local_addr().port();
        let send = |tos: u8| {
            let mut buffer = Buffer::new();
            assert!(buffer.append(&[tos; 1400]));
            let segment = 1400;
            let mut trains = [sam_net::Train {
                to,
                segment,
                tos,
                buffer,
            }];
            let mut handle = sender.try_clone().unwrap();
            assert_eq!(handle.send_trains(&mut trains, &mut Vec::new()), 1);
        };
        // More than the members' receive buffers hold; the ECN field does not matter.
        for _ in 0..40_000 {
            send(0x03);
        }
        for tos in [0xc0, 0xc1, 0xc2, 0xc3] {
            send(tos);
        }

        let mut heard = 0;
        poll_until(|| {
            let ports = receive(&mut group.control);
            assert!(ports.iter().all(|from| *from == port));
            heard += ports.len();
            heard >= 4
        });
        let mut flood = 0;
        for socket in &mut group.members {
            loop {
                let count = receive(socket).len();
                flood += count;
                if count == 0 {
                    break;
                }
            }
        }
        assert!((1..40_000).contains(&flood), "{flood} of 40000 were kept");
    }
}

/// Source ports of all datagrams of one batch.
fn receive(socket: &mut UdpSocket) -> Vec<u16> {
    let mut pool = BufferPool::new(64);
    let mut trains = Vec::new();
    socket.recv_batch(&mut pool, &mut trains, 32).unwrap();
    let ports = trains.iter().flat_map(|train| {
        let count = train.buffer.len().div_ceil(train.segment.max(1));
        std::iter::repeat_n(train.from.port(), count)
    });
    ports.collect()
}

const LOCAL_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const LOCAL_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

#[test]
fn another_handle_of_an_underlay_socket_sends_from_its_port() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = UdpSocket::bind(any).unwrap();
    let mut handle = socket.try_clone().unwrap();
    let far = std::net::UdpSocket::bind(any).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = Buffer::new();
    assert!(buffer.append(b"hello"));
    let to = far.local_addr().unwrap();
    let mut trains = [sam_net::Train {
        to,
        segment: 5,
        tos: 0,
        buffer,
    }];
    assert_eq!(handle.send_trains(&mut trains, &mut Vec::new()), 1);
    let mut bytes = [0; 9];
    let (len, from) = far.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..len], from), (&b"hello"[..], socket.local_addr()));
}
