//! Underlay sockets on the two ends of the cable.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use sam_dataplane::{Buffer, BufferPool};
use sam_net::{Datagrams, Namespace, Netlink, Train, UdpSocket};

use crate::cable::{Cable, LEFT, namespace, wait_for};
use crate::frame;

#[test]
fn a_train_arrives_as_trains_with_its_size_sender_and_tos() {
    let Some((_cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    let payload = frame::pattern(40 * 1400);
    let mut trains = [train(receiver.local_addr(), 1400, 2, &payload)];

    assert_eq!(sender.send_trains(&mut trains, &mut Vec::new()), 1);

    let received = receive(&mut receiver, payload.len());
    assert!(received.len() < 40, "nothing was coalesced");
    assert!(
        joined(&received) == payload,
        "the bytes changed on their way"
    );
    for part in &received {
        assert_eq!(
            (part.segment, part.tos, part.from),
            (1400, 2, sender.local_addr())
        );
    }
}

#[test]
fn a_train_beyond_the_limits_of_one_call_arrives_complete() {
    let Some((_cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    let payload = frame::pattern(64_999);
    let to = receiver.local_addr();
    let mut trains = [
        train(to, 500, 0, &payload),
        train(to, 800, 0, b"alone"),
        train(to, 9, 0, b""),
    ];

    assert_eq!(sender.send_trains(&mut trains, &mut Vec::new()), 3);

    let received = receive(&mut receiver, payload.len() + 5);
    assert!(joined(&received) == [&payload[..], b"alone"].concat());
    let single = received.last().unwrap();
    assert_eq!((single.segment, single.buffer.len()), (5, 5));
}

#[test]
fn without_segmentation_every_datagram_leaves_alone() {
    let Some((_cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    sender.forbid_segmentation();
    assert!(!sender.segments());
    let payload = frame::pattern(70 * 900 + 7);
    let mut trains = [train(receiver.local_addr(), 900, 1, &payload)];

    assert_eq!(sender.send_trains(&mut trains, &mut Vec::new()), 1);

    let received = receive(&mut receiver, payload.len());
    assert!(joined(&received) == payload);
}

#[test]
fn datagrams_too_long_for_the_path_are_reported_and_others_still_sent() {
    let Some((cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    let narrow = || {
        let mut netlink = Netlink::open()?;
        let index = netlink.link(LEFT)?.index;
        netlink.set_mtu(index, 1300)
    };
    cable.left.enter(narrow).unwrap().unwrap();
    let (long, fits) = (frame::pattern(3 * 1400 + 50), frame::pattern(5 * 1200));
    let to = receiver.local_addr();
    for _ in 0..4 {
        let mut trains = [train(to, 1400, 0, &long), train(to, 1200, 0, &fits)];
        let mut failures = Vec::new();

        assert_eq!(sender.send_trains(&mut trains, &mut failures), 2);

        let failed: Vec<_> = failures
            .iter()
            .map(|f| (f.index, f.packets, f.error.raw_os_error()))
            .collect();
        assert_eq!(failed, [(0, 1, Some(libc::EMSGSIZE)); 3]);
        let received = receive(&mut receiver, 50 + fits.len());
        assert!(joined(&received) == [&long[3 * 1400..], &fits].concat());
    }
    assert!(
        sender.segments(),
        "a narrow path is no reason to give trains up"
    );
}

#[test]
fn ipv6_trains_carry_their_traffic_class() {
    let Some(namespace) = namespace() else { return };
    let Some((mut sender, mut receiver)) = ipv6_pair(&namespace) else {
        return;
    };
    let payload = frame::pattern(30 * 1200);
    let mut trains = [train(receiver.local_addr(), 1200, 1, &payload)];

    assert_eq!(sender.send_trains(&mut trains, &mut Vec::new()), 1);

    let received = receive(&mut receiver, payload.len());
    assert!(joined(&received) == payload);
    assert!(
        received
            .iter()
            .all(|part| part.tos == 1 && part.from == sender.local_addr())
    );
}

#[test]
fn the_largest_trains_of_either_family_are_accepted() {
    let Some(namespace) = namespace() else { return };
    let bind = |address: &str| UdpSocket::bind(address.parse().unwrap());
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (mut sender, mut receiver) = match namespace
            .enter(|| Ok((bind(address)?, bind(address)?)))
            .unwrap()
        {
            Ok(pair) => pair,
            Err(error @ sam_net::NetError { .. }) => {
                println!("skipped: {error}");
                continue;
            }
        };
        let payload = frame::pattern(65_535);
        let mut failures = Vec::new();
        let mut trains = [train(receiver.local_addr(), 1440, 0, &payload)];
        assert_eq!(sender.send_trains(&mut trains, &mut failures), 1);
        assert!(failures.is_empty(), "{failures:?}");
        assert!(joined(&receive(&mut receiver, payload.len())) == payload);
        assert!(sender.segments());
    }
}

#[test]
fn received_buffers_go_back_to_the_pool() {
    let Some((_cable, mut sender, mut receiver)) = pair() else {
        return;
    };
    let mut pool = BufferPool::new(20);
    let mut out = Vec::new();
    let mut trains = [train(receiver.local_addr(), 10, 0, b"ten bytes.")];
    assert_eq!(sender.send_trains(&mut trains, &mut Vec::new()), 1);
    let fd = receiver.as_fd().try_clone_to_owned().unwrap();
    wait_for(&fd, "datagram", || {
        receiver.recv_batch(&mut pool, &mut out, 16).unwrap();
        (!out.is_empty()).then_some(())
    });
    let kept = 20 - out.len() - pool.available();
    assert!((1..=8).contains(&kept), "{kept} of 15 that stayed empty");
    receiver.release(&mut pool);
    pool.give(out.remove(0).buffer);
    assert_eq!(pool.available(), 20);
    assert_eq!((receiver.truncated(), receiver.overflows()), (0, 0));
}

#[test]
fn an_address_in_use_is_named() {
    let Some((cable, sender, _receiver)) = pair() else {
        return;
    };
    let taken = sender.local_addr();
    let error = cable
        .left
        .enter(|| UdpSocket::bind(taken))
        .unwrap()
        .unwrap_err();
    assert_eq!(error.errno(), Some(libc::EADDRINUSE));
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
}

fn pair() -> Option<(Cable, UdpSocket, UdpSocket)> {
    let cable = Cable::lay(Some("10.9.0.1/24"), Some("10.9.0.2/24"))?;
    let bind = |address: &str| UdpSocket::bind(address.parse().unwrap()).unwrap();
    let sender = cable.left.enter(|| bind("10.9.0.1:6080")).unwrap();
    let receiver = cable.right.enter(|| bind("10.9.0.2:6080")).unwrap();
    Some((cable, sender, receiver))
}

fn ipv6_pair(namespace: &Namespace) -> Option<(UdpSocket, UdpSocket)> {
    let bind = || {
        let address = "[::1]:0".parse().unwrap();
        Ok::<_, sam_net::NetError>((UdpSocket::bind(address)?, UdpSocket::bind(address)?))
    };
    namespace
        .enter(bind)
        .unwrap()
        .map_err(|error| println!("skipped: {error}"))
        .ok()
}

fn train(to: SocketAddr, segment: u16, tos: u8, payload: &[u8]) -> Train {
    let mut buffer = Buffer::new();
    assert!(buffer.append(payload));
    Train {
        to,
        segment,
        tos,
        buffer,
    }
}

/// Receives until `bytes` have arrived.
fn receive(socket: &mut UdpSocket, bytes: usize) -> Vec<Datagrams> {
    let mut pool = BufferPool::new(128);
    let mut received = Vec::new();
    let fd = socket.as_fd().try_clone_to_owned().unwrap();
    wait_for(&fd, "train", || {
        socket.recv_batch(&mut pool, &mut received, 128).unwrap();
        let arrived: usize = received.iter().map(|part| part.buffer.len()).sum();
        assert!(arrived <= bytes, "{arrived} of {bytes}");
        (arrived == bytes).then_some(())
    });
    received
}

fn joined(parts: &[Datagrams]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| part.buffer.bytes())
        .copied()
        .collect()
}
