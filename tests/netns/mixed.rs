//! Single packets and superpackets of one flow, mixed: in order and whole.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use sam_dataplane::Buffer;
use sam_net::Train;
use sam_testkit::netns::{Fabric, Site};
use sam_testkit::uninterrupted;

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[Case {
    name: "mixed::small_packets_and_superpackets_of_a_flow_arrive_in_order",
    needs: &[],
    run: order,
}];

const START: Duration = Duration::from_secs(10);
/// Bytes of each datagram of a superpacket.
const SEGMENT: usize = 1200;

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn order() {
    let fabric = Fabric::running(samctl(), 2);
    let (near, far) = (
        fabric.topology.client(Site::ONPREM),
        fabric.topology.client(Site::AWS),
    );
    wait_for_ping(near, Site::AWS.client(), START);
    let receiver = far
        .enter(|| UdpSocket::bind((Site::AWS.client(), 0)).expect("a free port"))
        .expect("the client's namespace");
    receiver.set_read_timeout(Some(START)).expect("valid");
    let to = receiver.local_addr().expect("bound");
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let sender = near.enter(|| sam_net::UdpSocket::bind(any));
    let mut sender = sender.expect("the client's namespace").expect("a port");

    let mut sent = 0;
    for _ in 0..40 {
        let first = sent;
        // One alone, then a train of fifty, then two alone.
        for count in [1, 50, 1, 1] {
            let mut failures = Vec::new();
            let mut trains = [train(to, sent..sent + count)];
            assert_eq!(sender.send_trains(&mut trains, &mut failures), 1);
            assert!(failures.is_empty(), "{failures:?}");
            sent += count;
        }
        let mut buffer = [0; 2 * SEGMENT];
        for number in first..sent {
            let length = uninterrupted(|| receiver.recv(&mut buffer)).expect("a datagram");
            assert!(
                buffer[..length] == datagram(number),
                "not datagram {number}"
            );
        }
    }
}

/// Datagrams of one length that leave as one superpacket.
fn train(to: SocketAddr, numbers: std::ops::Range<u32>) -> Train {
    let mut buffer = Buffer::new();
    for number in numbers {
        assert!(buffer.append(&datagram(number)));
    }
    let segment = u16::try_from(SEGMENT.min(buffer.len())).expect("short");
    Train {
        to,
        segment,
        tos: 0,
        buffer,
    }
}

/// A datagram that says which it is; of a train all are equally long, alone they are short.
fn datagram(number: u32) -> Vec<u8> {
    let length = if (1..51).contains(&(number % 53)) {
        SEGMENT
    } else {
        8
    };
    let pattern = number.to_be_bytes().into_iter().cycle();
    pattern.take(length).collect()
}
