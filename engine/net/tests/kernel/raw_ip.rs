//! Raw IP sockets on the two ends of the cable, and sockets that only send.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use sam_dataplane::{Buffer, BufferPool};
use sam_net::{Datagrams, Train, UdpGroup, UdpSocket};

use crate::cable::{Cable, wait_for};
use crate::frame;

const GRE: u8 = 47;
const LEFT: &str = "10.9.0.1";
const RIGHT: &str = "10.9.0.2";

#[test]
fn packets_of_a_train_arrive_one_by_one_with_sender_and_tos_and_without_ip_header() {
    let Some((_cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    let payload = frame::pattern(3 * 1400 + 9);
    let mut trains = [train(1400, 2, &payload)];

    assert_eq!(sender.send_trains(&mut trains, &mut Vec::new()), 1);

    let received = receive(&mut receiver, payload.len());
    let lengths: Vec<usize> = received.iter().map(|part| part.buffer.len()).collect();
    assert_eq!(lengths, [1400, 1400, 1400, 9]);
    for part in &received {
        assert_eq!((part.segment, part.tos), (part.buffer.len(), 2));
        assert_eq!(part.from, to(LEFT));
    }
    let joined: Vec<u8> = received
        .iter()
        .flat_map(|part| part.buffer.bytes().to_vec())
        .collect();
    assert!(joined == payload, "the bytes changed on their way");
}

#[test]
fn a_packet_that_does_not_fit_the_link_is_refused_and_the_next_is_sent() {
    let Some((_cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    let long = frame::pattern(1481);
    let mut trains = [train(1481, 0, &long), train(1480, 0, &long[..1480])];
    let mut failures = Vec::new();

    assert_eq!(sender.send_trains(&mut trains, &mut failures), 2);

    let failure = failures.pop().unwrap();
    assert_eq!((failure.index, failure.packets), (0, 1));
    assert_eq!(failure.error.raw_os_error(), Some(libc::EMSGSIZE));
    assert_eq!(receive(&mut receiver, 1480).len(), 1);
}

#[test]
fn a_deaf_socket_hears_nothing_and_sends() {
    let Some((cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    let mut deaf = cable
        .right
        .enter(|| UdpSocket::open_raw(GRE, false))
        .unwrap()
        .unwrap();
    deaf.deafen().unwrap();
    let mut lane = cable
        .right
        .enter(|| UdpSocket::bind_sender(false))
        .unwrap()
        .unwrap();
    let stranger = cable
        .left
        .enter(|| std::net::UdpSocket::bind((LEFT, 0)))
        .unwrap()
        .unwrap();

    let port = lane.local_addr().port();
    assert_ne!(port, 0);
    stranger.send_to(b"unheard", (RIGHT, port)).unwrap();
    assert_eq!(
        sender.send_trains(&mut [train(5, 0, b"heard")], &mut Vec::new()),
        1
    );
    receive(&mut receiver, 5);

    // What the open socket got, the deaf ones would have got by now.
    let mut pool = BufferPool::new(16);
    for socket in [&mut deaf, &mut lane] {
        let mut received = Vec::new();
        assert_eq!(socket.recv_batch(&mut pool, &mut received, 1).unwrap(), 0);
    }
    let mut back = [Train {
        to: stranger.local_addr().unwrap(),
        ..train(4, 0, b"lane")
    }];
    assert_eq!(lane.send_trains(&mut back, &mut Vec::new()), 1);
    let mut bytes = [0; 8];
    let (length, from) = stranger.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..length], from.port()), (&b"lane"[..], port));
}

#[test]
fn raw_packets_travel_over_ipv6_too() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let open = || {
        std::fs::read("/proc/net/if_inet6").ok()?;
        UdpSocket::open_raw(4, true).ok()
    };
    let Some(mut socket) = cable.left.enter(open).unwrap() else {
        println!("skipped: no IPv6");
        return;
    };
    cable
        .left
        .enter(|| crate::cable::set_up("lo", None))
        .unwrap();
    let loopback: SocketAddr = "[::1]:0".parse().unwrap();
    let mut trains = [Train {
        to: loopback,
        ..train(3, 1, b"onetwo")
    }];

    assert_eq!(socket.send_trains(&mut trains, &mut Vec::new()), 1);

    let received = receive(&mut socket, 6);
    assert_eq!(received.len(), 2);
    assert_eq!((received[0].from, received[0].tos), (loopback, 1));
    assert_eq!(received[1].buffer.bytes(), b"two");
}

#[test]
fn control_messages_without_udp_have_a_socket_of_their_own_too() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    cable
        .left
        .enter(|| crate::cable::set_up("lo", None))
        .unwrap();
    for (ipv6, loopback) in [(false, "127.0.0.1:0"), (true, "[::1]:0")] {
        let open = || {
            if ipv6 && std::fs::metadata("/proc/net/if_inet6").is_err() {
                return None;
            }
            let sender = UdpSocket::open_raw(GRE, ipv6).unwrap();
            sender.deafen().unwrap();
            Some((sender, UdpGroup::open_raw(GRE, ipv6).unwrap()))
        };
        let Some((mut sender, mut group)) = cable.left.enter(open).unwrap() else {
            println!("skipped: no IPv6");
            continue;
        };
        for (tos, text) in [(0xc2, b"bgp"), (0x03, b"abc"), (0xc0, b"key")] {
            let mut trains = [Train {
                to: loopback.parse().unwrap(),
                ..train(3, tos, text)
            }];
            assert_eq!(sender.send_trains(&mut trains, &mut Vec::new()), 1);
        }

        let control = receive(&mut group.control, 6);
        let others = receive(&mut group.members[0], 3);
        let texts = |parts: &[Datagrams]| {
            parts
                .iter()
                .map(|part| part.buffer.bytes().to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&control), [b"bgp", b"key"]);
        assert_eq!(texts(&others), [b"abc"]);
    }
}

fn pair() -> Option<(Cable, UdpSocket, UdpSocket)> {
    let cable = Cable::lay(Some("10.9.0.1/24"), Some("10.9.0.2/24"))?;
    let open = || UdpSocket::open_raw(GRE, false).unwrap();
    let (sender, receiver) = (
        cable.left.enter(open).unwrap(),
        cable.right.enter(open).unwrap(),
    );
    Some((cable, sender, receiver))
}

fn to(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 0)
}

fn train(segment: u16, tos: u8, payload: &[u8]) -> Train {
    let mut buffer = Buffer::new();
    assert!(buffer.append(payload));
    Train {
        to: to(RIGHT),
        segment,
        tos,
        buffer,
    }
}

/// Receives until `bytes` have arrived.
fn receive(socket: &mut UdpSocket, bytes: usize) -> Vec<Datagrams> {
    let mut pool = BufferPool::new(64);
    let mut received = Vec::new();
    let fd = socket.as_fd().try_clone_to_owned().unwrap();
    wait_for(&fd, "packet", || {
        socket.recv_batch(&mut pool, &mut received, 64).unwrap();
        let arrived: usize = received.iter().map(|part| part.buffer.len()).sum();
        assert!(arrived <= bytes, "{arrived} of {bytes}");
        (arrived == bytes).then_some(())
    });
    received
}
