//! LAN port against a kernel host on the other end of the cable.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use sam_dataplane::{BufferPool, Checksum, Gso, Unit};
use sam_net::{FrameError, FrameFilter, NetError, Netlink, PacketSocket, Train};

use crate::cable::{Cable, LEFT, RIGHT, wait_for};
use crate::frame::{self, ETHERNET, IPV4};

#[test]
fn a_datagram_of_the_kernel_is_received_and_its_echo_delivered() {
    let Some(cable) = Cable::lay(None, Some("10.9.0.2/24")) else {
        return;
    };
    let Some(mut port) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let host = cable.right.enter(|| host_socket("10.9.0.2:7000")).unwrap();

    host.send_to(b"through the port", "10.9.0.77:9").unwrap();
    let mut unit = port.next_ipv4();
    assert_eq!(
        &unit.buffer.bytes()[ETHERNET + IPV4 + 8..][..16],
        b"through the port"
    );
    assert_eq!(unit.buffer.bytes()[..6], port.socket.mac());
    frame::turn_around(unit.buffer.bytes_mut());
    port.send(&[unit]);

    let mut answer = [0; 100];
    let (length, from) = host.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"through the port");
    assert_eq!(from, "10.9.0.77:9".parse().unwrap());
}

#[test]
fn packets_of_the_underlay_have_a_ttl_of_64_and_may_not_be_fragmented() {
    let Some(cable) = Cable::lay(Some("10.9.0.1/24"), None) else {
        return;
    };
    let Some(mut port) = port(cable.right.enter(|| PacketSocket::open(RIGHT, None))) else {
        return;
    };
    let other = || std::fs::write("/proc/sys/net/ipv4/ip_default_ttl", "99");
    cable.left.enter(other).unwrap().unwrap();
    let sockets: [fn() -> Result<sam_net::UdpSocket, NetError>; 2] = [
        || sam_net::UdpSocket::bind_sender(false),
        || sam_net::UdpSocket::open_raw(47, false),
    ];
    for open in sockets {
        let mut socket = cable.left.enter(open).unwrap().unwrap();
        let mut buffer = sam_dataplane::Buffer::new();
        assert!(buffer.append(b"outer"));
        let train = Train {
            to: "10.9.0.77:0".parse().unwrap(),
            segment: 5,
            tos: 0xb9,
            buffer,
        };
        let to = std::net::SocketAddr::new(train.to.ip(), socket.local_addr().port());
        assert_eq!(
            socket.send_trains(&mut [Train { to, ..train }], &mut Vec::new()),
            1
        );

        let unit = port.next_ipv4();
        let ip = &unit.buffer.bytes()[ETHERNET..][..IPV4];
        assert_eq!((ip[1], ip[6], ip[8]), (0xb9, 0x40, 64));
    }
}

#[test]
fn a_burst_of_local_tcp_arrives_as_superpackets() {
    let Some(cable) = Cable::lay(Some("10.9.0.1/24"), Some("10.9.0.2/24")) else {
        return;
    };
    let Some(mut port) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let listener = cable
        .left
        .enter(|| TcpListener::bind("10.9.0.1:7001"))
        .unwrap()
        .unwrap();
    let mut sender = cable
        .right
        .enter(|| TcpStream::connect("10.9.0.1:7001"))
        .unwrap()
        .unwrap();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        all.len()
    });
    sender.write_all(&frame::pattern(500_000)).unwrap();
    drop(sender);
    assert_eq!(reader.join().unwrap(), 500_000);

    let unit = port.next_matching(|unit| unit.offload.gso != Gso::None);
    assert!(
        matches!(unit.offload.gso, Gso::Tcp { size: 1200..=1460 }),
        "{:?}",
        unit.offload
    );
    assert_eq!(
        unit.offload.checksum,
        Checksum::Partial {
            start: 34,
            offset: 16
        }
    );
    assert!(unit.buffer.len() > 1514, "{}", unit.buffer.len());
}

#[test]
fn a_udp_superpacket_leaves_as_its_datagrams() {
    let Some(cable) = Cable::lay(None, Some("10.9.0.2/24")) else {
        return;
    };
    let Some(mut port) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let host = cable.right.enter(|| host_socket("10.9.0.2:7002")).unwrap();
    let payload = frame::pattern(40 * 1400);
    let packet = frame::ipv4("10.9.0.1", "10.9.0.2", 17, frame::udp(9, 7002, &payload));
    let frame = frame::ethernet(mac_of_right(&cable), port.socket.mac(), &packet);

    port.send(&[frame::unit(&frame, ETHERNET, Gso::Udp { size: 1400 })]);

    let mut datagram = [0; 2000];
    for expected in payload.chunks(1400) {
        let length = host.recv(&mut datagram).unwrap();
        assert!(
            datagram[..length] == *expected,
            "a datagram of {length} bytes differs"
        );
    }
}

#[test]
fn a_tcp_superpacket_crosses_the_cable_whole() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let Some(mut left) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let Some(mut right) = port(cable.right.enter(|| PacketSocket::open(RIGHT, None))) else {
        return;
    };
    let segment = frame::tcp(80, 5000, [1000, 2000], 0x10, &frame::pattern(20 * 1448));
    let packet = frame::ipv4("10.9.0.1", "10.9.0.2", 6, segment);
    let frame = frame::ethernet(right.socket.mac(), left.socket.mac(), &packet);

    left.send(&[frame::unit(&frame, ETHERNET, Gso::Tcp { size: 1448 })]);

    let unit = right.next_ipv4();
    assert_eq!(unit.offload.gso, Gso::Tcp { size: 1448 });
    assert_eq!(
        unit.offload.checksum,
        Checksum::Partial {
            start: 34,
            offset: 16
        }
    );
    assert!(unit.buffer.bytes() == frame, "the frame changed on its way");
}

#[test]
fn more_frames_than_one_call_takes_arrive_in_order_and_nothing_leaks() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let Some(mut left) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let Some(mut right) = port(cable.right.enter(|| PacketSocket::open(RIGHT, None))) else {
        return;
    };
    let (to, from) = (right.socket.mac(), left.socket.mac());
    let units: Vec<Unit> = (0..100u16)
        .map(|number| {
            let datagram = frame::udp(9, number, b"numbered");
            let packet = frame::ipv4("10.9.0.1", "10.9.0.2", 17, datagram);
            frame::unit(&frame::ethernet(to, from, &packet), ETHERNET, Gso::None)
        })
        .collect();

    left.send(&units);

    for number in 0..100u16 {
        let unit = right.next_ipv4();
        let port = ETHERNET + IPV4 + 2;
        assert_eq!(unit.buffer.bytes()[port..port + 2], number.to_be_bytes());
        right.pool.give(unit.buffer);
    }
    right.socket.release(&mut right.pool);
    // The kernel's own IPv6 frames may have come along.
    assert_eq!(right.pool.available() + right.waiting.len(), POOL);
    assert_eq!(right.socket.overflows().unwrap(), 0);
}

#[test]
fn the_filter_lets_through_what_is_wanted() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let Some(mut left) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let filter = FrameFilter {
        arp: true,
        prefixes: vec!["10.77.60.0/24".parse().unwrap()],
        left_to_kernel: vec!["10.77.60.1".parse().unwrap()],
        ..FrameFilter::default()
    };
    let filter = filter.build().unwrap();
    let opened = cable
        .right
        .enter(|| PacketSocket::open(RIGHT, Some(&filter)));
    let Some(mut right) = port(opened) else {
        return;
    };
    let (to, from) = (right.socket.mac(), left.socket.mac());
    let other_host = [2, 0, 0, 0, 0, 9];
    let frames = [
        (to, "10.9.0.2"),
        (to, "10.77.60.1"),
        (other_host, "10.77.60.8"),
        (to, "10.77.60.7"),
    ];
    let units = frames.map(|(to, address)| {
        let packet = frame::ipv4("10.9.0.1", address, 17, frame::udp(9, 9, b"filtered"));
        frame::unit(&frame::ethernet(to, from, &packet), ETHERNET, Gso::None)
    });

    left.send(&units);

    let first = right.next_ipv4();
    assert_eq!(
        first.buffer.bytes()[ETHERNET + 16..ETHERNET + 20],
        [10, 77, 60, 7]
    );
}

#[test]
fn a_frame_too_long_for_the_link_is_reported_and_the_next_one_sent() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let Some(mut left) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let Some(mut right) = port(cable.right.enter(|| PacketSocket::open(RIGHT, None))) else {
        return;
    };
    let (to, from) = (right.socket.mac(), left.socket.mac());
    let frame_of = |length| {
        let datagram = frame::udp(9, 9, &frame::pattern(length));
        frame::ethernet(to, from, &frame::ipv4("10.9.0.1", "10.9.0.2", 17, datagram))
    };
    let mut misfit = frame::unit(&frame_of(100), ETHERNET, Gso::None);
    misfit.offload.checksum = Checksum::Partial {
        start: 4000,
        offset: 6,
    };
    let units = [
        frame::unit(&frame_of(3000), ETHERNET, Gso::None),
        misfit,
        frame::unit(&frame_of(200), ETHERNET, Gso::None),
    ];

    let mut failures = Vec::new();
    assert_eq!(left.socket.send_batch(&units, &mut failures), 3);

    let failed: Vec<_> = failures
        .iter()
        .map(|f| (f.index, f.error.raw_os_error()))
        .collect();
    assert_eq!(failed, [(0, Some(libc::EMSGSIZE)), (1, None)]);
    assert_eq!(right.next_ipv4().buffer.len(), ETHERNET + IPV4 + 8 + 200);
}

#[test]
fn an_empty_pool_is_told_apart_from_silence() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let Some(mut port) = port(cable.left.enter(|| PacketSocket::open(LEFT, None))) else {
        return;
    };
    let mut empty = BufferPool::new(0);
    let error = port
        .socket
        .recv_batch(&mut empty, &mut Vec::new(), 8)
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory);
}

#[test]
fn a_link_that_does_not_exist_is_named() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let error = cable
        .left
        .enter(|| PacketSocket::open("nosuch0", None))
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("nosuch0"), "{error}");
    assert_eq!(error.errno(), Some(libc::ENODEV));
}

const POOL: usize = 64;

/// A socket with its pool and what it received but nobody asked for yet.
struct Port {
    socket: PacketSocket,
    pool: BufferPool,
    waiting: Vec<Result<Unit, FrameError>>,
}

impl Port {
    /// Returns the next IPv4 frame, answering ARP on the way.
    fn next_ipv4(&mut self) -> Unit {
        self.next_matching(|unit| unit.buffer.bytes()[12..14] == [0x08, 0x00])
    }

    fn next_matching(&mut self, wanted: impl Fn(&Unit) -> bool) -> Unit {
        let Self {
            socket,
            pool,
            waiting,
        } = self;
        let fd = std::os::fd::AsFd::as_fd(&*socket)
            .try_clone_to_owned()
            .unwrap();
        wait_for(&fd, "frame", || {
            socket.recv_batch(pool, waiting, 32).unwrap();
            while !waiting.is_empty() {
                let unit = waiting.remove(0).unwrap();
                if wanted(&unit) {
                    return Some(unit);
                }
                if let Some(reply) = frame::arp_reply(unit.buffer.bytes(), socket.mac()) {
                    socket.send_batch(&[reply], &mut Vec::new());
                }
                pool.give(unit.buffer);
            }
            None
        })
    }

    fn send(&mut self, units: &[Unit]) {
        let mut failures = Vec::new();
        assert_eq!(self.socket.send_batch(units, &mut failures), units.len());
        assert!(failures.is_empty(), "{failures:?}");
    }
}

fn port(opened: Result<Result<PacketSocket, NetError>, NetError>) -> Option<Port> {
    let socket = match opened.unwrap() {
        Ok(socket) => socket,
        Err(error) if error.errno() == Some(libc::EPERM) => {
            println!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    Some(Port {
        socket,
        pool: BufferPool::new(POOL),
        waiting: Vec::new(),
    })
}

fn host_socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

fn mac_of_right(cable: &Cable) -> [u8; 6] {
    let link = cable
        .right
        .enter(|| Netlink::open()?.link(RIGHT))
        .unwrap()
        .unwrap();
    link.mac.unwrap()
}
