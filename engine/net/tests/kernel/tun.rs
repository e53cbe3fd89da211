//! TUN device against the kernel of its namespace.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use sam_dataplane::{Buffer, Checksum, Gso, Offload};
use sam_net::tun::TunOffloads;
use sam_net::{Namespace, Tun};

use crate::cable::{namespace, set_up, wait_for};
use crate::frame::{self, IPV4};

#[test]
fn a_packet_written_reaches_a_socket_and_the_answer_is_read() {
    let Some((namespace, mut tun)) = open() else {
        return;
    };
    let host = namespace.enter(|| host_socket("10.8.0.1:7000")).unwrap();
    let packet = frame::ipv4(
        "10.8.0.2",
        "10.8.0.1",
        17,
        frame::udp(5000, 7000, b"over the tun"),
    );

    tun.send(&frame::unit(&packet, 0, Gso::None)).unwrap();

    let mut datagram = [0; 100];
    let (length, from) = host.recv_from(&mut datagram).unwrap();
    assert_eq!(&datagram[..length], b"over the tun");
    assert_eq!(from, "10.8.0.2:5000".parse().unwrap());

    host.send_to(b"and back", from).unwrap();
    let (answer, offload) = next_ipv4(&mut tun);
    assert_eq!(offload.gso, Gso::None);
    assert_eq!(&answer.bytes()[IPV4 + 8..], b"and back");
    assert_eq!(answer.bytes()[16..20], [10, 8, 0, 2]);
}

#[test]
fn a_udp_superpacket_written_is_delivered_as_its_datagrams() {
    let Some((namespace, tun)) = open() else {
        return;
    };
    if tun.offloads() != TunOffloads::TcpUdp {
        println!("skipped: this kernel has no UDP segmentation on TUN devices");
        return;
    }
    let host = namespace.enter(|| host_socket("10.8.0.1:7001")).unwrap();
    let payload = frame::pattern(9 * 1000 + 10);
    let packet = frame::ipv4("10.8.0.2", "10.8.0.1", 17, frame::udp(5000, 7001, &payload));

    tun.send(&frame::unit(&packet, 0, Gso::Udp { size: 1000 }))
        .unwrap();

    let mut datagram = [0; 2000];
    for expected in payload.chunks(1000) {
        let length = host.recv(&mut datagram).unwrap();
        assert!(
            datagram[..length] == *expected,
            "a datagram of {length} bytes differs"
        );
    }
}

#[test]
fn a_burst_of_local_tcp_is_read_as_one_superpacket() {
    let Some((namespace, mut tun)) = open() else {
        return;
    };
    // The far end is this test: it answers the handshake by hand and never acknowledges data.
    let client = thread::spawn(move || {
        namespace.enter(|| {
            let mut stream = TcpStream::connect("10.8.0.2:80").unwrap();
            stream.write_all(&frame::pattern(20_000)).unwrap();
        })
    });
    let syn = next_matching(&mut tun, |packet| packet[IPV4 + 13] == 0x02).0;
    let port = u16::from_be_bytes(syn.bytes()[IPV4..IPV4 + 2].try_into().unwrap());
    let sequence = u32::from_be_bytes(syn.bytes()[IPV4 + 4..IPV4 + 8].try_into().unwrap());
    let answer = frame::tcp(80, port, [1, sequence.wrapping_add(1)], 0x12, &[]);
    let answer = frame::ipv4("10.8.0.2", "10.8.0.1", 6, answer);
    tun.send(&frame::unit(&answer, 0, Gso::None)).unwrap();

    let (burst, offload) = next_matching(&mut tun, |packet| packet.len() > 600);
    client.join().unwrap().unwrap();

    // No MSS option in the answer: the default of RFC 9293 holds.
    assert_eq!(offload.gso, Gso::Tcp { size: 536 });
    assert_eq!(
        offload.checksum,
        Checksum::Partial {
            start: 20,
            offset: 16
        }
    );
    assert!(burst.bytes()[IPV4 + 20..] == frame::pattern(20_000)[..burst.len() - IPV4 - 20]);
}

#[test]
fn metadata_that_does_not_fit_is_refused_and_not_written() {
    let Some((_namespace, tun)) = open() else {
        return;
    };
    let packet = frame::ipv4("10.8.0.2", "10.8.0.1", 17, frame::udp(1, 2, b"x"));
    let mut unit = frame::plain(&packet);
    unit.offload.gso = Gso::Udp { size: 1000 };
    let error = tun.send(&unit).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn a_second_owner_is_told_what_to_do() {
    let Some((namespace, tun)) = open() else {
        return;
    };
    let error = namespace
        .enter(|| Tun::open(tun.name()))
        .unwrap()
        .expect_err("attached twice");
    assert_eq!(error.errno(), Some(libc::EBUSY), "{error}");
    assert!(error.remedy.is_some());
}

#[test]
fn a_device_that_is_down_says_so() {
    let Some((namespace, mut tun)) = open() else {
        return;
    };
    let index = tun.index();
    namespace
        .enter(|| sam_net::Netlink::open()?.set_down(index))
        .unwrap()
        .unwrap();
    let packet = frame::ipv4("10.8.0.2", "10.8.0.1", 17, frame::udp(1, 2, b"x"));
    let error = tun.send(&frame::unit(&packet, 0, Gso::None)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    drain(&mut tun);
    assert_eq!(tun.recv(&mut Buffer::new()).unwrap(), None);
}

#[test]
fn the_mtu_is_that_of_the_link() {
    let Some((namespace, tun)) = open() else {
        return;
    };
    let mtu = namespace.enter(|| {
        sam_net::Netlink::open()?.set_mtu(tun.index(), 1380)?;
        tun.mtu()
    });
    assert_eq!(mtu.unwrap().unwrap(), 1380);
}

/// Makes a namespace with a device 10.8.0.1/24.
fn open() -> Option<(Namespace, Tun)> {
    let namespace = namespace()?;
    let tun = match namespace.enter(|| Tun::open("tun-test")).unwrap() {
        Ok(tun) => tun,
        Err(error) => {
            let missing = [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ENODEV];
            assert!(
                error
                    .errno()
                    .is_some_and(|number| missing.contains(&number)),
                "{error}"
            );
            println!("skipped: {error}");
            return None;
        }
    };
    namespace
        .enter(|| set_up("tun-test", Some("10.8.0.1/24")))
        .unwrap();
    Some((namespace, tun))
}

fn next_ipv4(tun: &mut Tun) -> (Buffer, Offload) {
    next_matching(tun, |_| true)
}

fn next_matching(tun: &mut Tun, wanted: impl Fn(&[u8]) -> bool) -> (Buffer, Offload) {
    let fd = tun.as_fd().try_clone_to_owned().unwrap();
    wait_for(&fd, "packet", || {
        let mut buffer = Buffer::new();
        let offload = tun.recv(&mut buffer).unwrap()?;
        let packet = buffer.bytes();
        (packet[0] >> 4 == 4 && wanted(packet)).then_some((buffer, offload))
    })
}

fn drain(tun: &mut Tun) {
    while tun.recv(&mut Buffer::new()).unwrap().is_some() {}
}

fn host_socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}
