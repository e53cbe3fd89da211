//! Flows stay in order, however many workers carry them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site};
use sam_testkit::uninterrupted;

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "order::of_many_flows_with_two_workers",
        needs: &[],
        run: || keeps(2, "encap: wireguard"),
    },
    Case {
        name: "order::of_many_flows_with_four_workers",
        needs: &[],
        run: || keeps(4, "encap: wireguard"),
    },
    Case {
        name: "order::of_many_flows_with_four_workers_and_lanes",
        needs: &[],
        run: || keeps(4, "encap: gue, trustedUnderlay: true"),
    },
];

/// With four workers none stays without one of these but by a chance of 3 in 10^5; and no multiple of the workers, so that
/// workers in turn would share each flow.
const FLOWS: usize = 41;
/// Datagrams of each flow that are under way at once, and how often.
const BURST: u32 = 3;
const ROUNDS: u32 = 60;
const START: Duration = Duration::from_secs(10);
/// Bytes of a datagram that takes one packet, of one that takes three.
const SMALL: usize = 64;
const LARGE: usize = 3000;

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
/// A flow sends whole datagrams or fragmented ones: the kernel hands fragments to workers by their addresses alone, so one
/// that sends both has two ways (decision 0036).
fn keeps(workers: u8, transport: &str) {
    let mut fabric = Fabric::new(samctl(), 2);
    let line = format!("  transport: {{{transport}}}\n  bgp:");
    fabric.edit_all("  bgp:", &line);
    let line = format!("  workers: {workers}\n  control:");
    fabric.edit_all("  control:", &line);
    fabric.start_all();
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AWS.client(),
        START,
    );
    for (from, to) in [(Site::ONPREM, Site::AWS), (Site::AWS, Site::ONPREM)] {
        let (near, far) = (fabric.topology.client(from), fabric.topology.client(to));
        for size in [SMALL, LARGE] {
            exchange(near, far, to.client(), size);
        }
    }
    let view = fabric.router(Site::ONPREM).json("counters");
    let received = view["workers"].as_array().expect("a list").iter();
    let received: Vec<_> = received
        .map(|worker| worker["lan_rx_units"].as_u64())
        .collect();
    assert_eq!(received.len(), usize::from(workers));
    assert!(
        received.iter().all(|units| *units > Some(0)),
        "{received:?}"
    );
}

/// Lets all flows send in turn; each datagram arrives, behind the one before it in its flow.
fn exchange(near: &Namespace, far: &Namespace, address: Ipv4Addr, size: usize) {
    let bind = |namespace: &Namespace, address: Ipv4Addr| {
        let socket = namespace.enter(|| UdpSocket::bind((address, 0)).expect("a free port"));
        socket.expect("the client's namespace")
    };
    let receiver = bind(far, address);
    receiver.set_read_timeout(Some(START)).expect("valid");
    let to = receiver.local_addr().expect("bound");
    // The receiver holds what is under way: 208 KiB by default, of which a small datagram takes about 1 KiB.
    let flows = if size > SMALL { FLOWS / 8 } else { FLOWS };
    let senders: Vec<UdpSocket> = (0..flows)
        .map(|_| bind(near, Ipv4Addr::UNSPECIFIED))
        .collect();
    let mut latest: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    let mut datagram = vec![0; size];
    for round in 0..ROUNDS {
        for number in (1..=BURST).map(|place| round * BURST + place) {
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            for sender in &senders {
                sender.send_to(&datagram, to).expect("sent");
            }
        }
        for _ in 0..flows * BURST as usize {
            let (length, from) =
                uninterrupted(|| receiver.recv_from(&mut datagram)).expect("a datagram");
            let number = u32::from_be_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]);
            let latest = latest.entry(from).or_default();
            assert_eq!((length, number), (size, *latest + 1), "of {from}");
            *latest = number;
        }
    }
}
