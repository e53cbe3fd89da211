//! One worker and four give the same answers to the same packets: what arrives, what is told, what is dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use sam_dataplane::BufferPool;
use sam_dataplane::packet::arp::ArpPacket;
use sam_net::{Namespace, PacketSocket};
use sam_testkit::netns::{Fabric, GATEWAY, Site, send_arp, send_ipv4, wait_until};
use sam_testkit::packet::{ARP, Ipv4, addresses, ether_type, ipv4_of};

use crate::case::{Case, samctl, wait_for_ping};
use crate::tunnel_fragments::mac;

pub(crate) const CASES: &[Case] = &[Case {
    name: "answers::of_one_and_of_four_workers_are_the_same",
    needs: &[],
    run: || {
        let (one, four) = (Answers::of(1), Answers::of(4));
        assert_eq!(four.differences(&one), Vec::<String>::new());
    },
}];

const PATIENCE: Duration = Duration::from_secs(10);
/// With two ICMP errors each, fewer than are sent at once.
const FLOWS: u16 = 8;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// What became of the packets, by flow and in order, and by how much counters grew.
struct Answers {
    /// At the client that sent them.
    near: BTreeMap<String, Vec<Vec<u8>>>,
    /// At the other client.
    far: BTreeMap<String, Vec<Vec<u8>>>,
    counters: BTreeMap<String, u64>,
}

impl Answers {
    /// ```text
    /// .10 ── eth0 ── router onprem, so many workers ══ wan ══ router aws ── eth0 ── .11
    ///  └ hand-made packets, and what comes back                          what arrives ┘
    /// ```
    fn of(workers: u8) -> Self {
        let mut fabric = Fabric::new(samctl(), 2);
        let line = format!("  workers: {workers}\n  control:");
        fabric.edit_all("  control:", &line);
        fabric.start_all();
        let (near, far) = (
            fabric.topology.client(Site::ONPREM),
            fabric.topology.client(Site::AWS),
        );
        wait_for_ping(near, Site::AWS.client(), PATIENCE);
        let router = mac(fabric.topology.router(Site::ONPREM), "lan0");
        let mut eyes = [Eye::open(near), Eye::open(far)];
        let before = counters(&fabric);

        let packets: Vec<Vec<u8>> = (0..FLOWS).flat_map(packets).collect();
        send_ipv4(near, "eth0", router, packets.iter().map(Vec::as_slice));
        let client = (mac(near, "eth0"), Site::ONPREM.client());
        let question = ArpPacket::request(client.0, client.1, Site::AWS.client());
        send_arp(near, [question].into_iter());

        let flows = usize::from(FLOWS);
        let [at_near, at_far] = &mut eyes;
        wait_until("all errors and the answer have come", PATIENCE, || {
            at_near.look(|packet| packet[9] == ICMP && addresses(packet).0 == GATEWAY);
            at_near.count() == 2 * flows + 1
        });
        // One whole, two fragments made by the sender, two by the router.
        wait_until("all that may pass has arrived", PATIENCE, || {
            let from = Site::ONPREM.client();
            at_far.look(|packet| packet[9] == UDP && addresses(packet).0 == from);
            at_far.count() == 5 * flows
        });
        wait_until("all is counted", PATIENCE, || {
            let grown = growth(&before, &counters(&fabric));
            let is_whole = |reason: &str| grown.get(reason) == Some(&u64::from(FLOWS));
            is_whole("pool-withheld") && is_whole("source-not-allowed")
        });
        let [near, far] = eyes.map(|eye| eye.seen);
        Self {
            near,
            far,
            counters: growth(&before, &counters(&fabric)),
        }
    }

    /// Names what is not the same.
    fn differences(&self, other: &Self) -> Vec<String> {
        let mut names = Vec::new();
        for (mine, others) in [(&self.near, &other.near), (&self.far, &other.far)] {
            let labels = mine.keys().chain(others.keys());
            names.extend(
                labels
                    .filter(|label| mine.get(*label) != others.get(*label))
                    .cloned(),
            );
        }
        let counters = self.counters.keys().chain(other.counters.keys());
        let differs = |name: &&String| self.counters.get(*name) != other.counters.get(*name);
        names.extend(counters.filter(differs).cloned());
        names
    }
}

/// What a client sends of one flow: something that passes, whole and in fragments, and all that is refused.
fn packets(flow: u16) -> Vec<Vec<u8>> {
    let (here, there) = (Site::ONPREM.client(), Site::AWS.client());
    let withheld = "10.77.60.99".parse().expect("an address");
    let udp = |length: usize| {
        let words = [9000 + flow, 9, u16::try_from(8 + length).expect("short"), 0];
        let header = words.iter().flat_map(|word| word.to_be_bytes());
        header
            .chain(std::iter::repeat_n(7, length))
            .collect::<Vec<u8>>()
    };
    let header = |fragment, ttl| Ipv4 {
        id: 100 + flow,
        fragment,
        ttl,
        protocol: UDP,
        ..Ipv4::default()
    };
    vec![
        header(DONT_FRAGMENT, 64).packet(here, there, &udp(100)),
        header(MORE_FRAGMENTS, 64).packet(here, there, &udp(192)),
        header(25, 64).packet(here, there, &[8; 40]),
        Ipv4 {
            id: 200 + flow,
            ..header(0, 64)
        }
        .packet(here, there, &udp(1460)),
        header(DONT_FRAGMENT, 64).packet(here, there, &udp(1460)),
        header(DONT_FRAGMENT, 1).packet(here, there, &udp(10)),
        header(DONT_FRAGMENT, 64).packet(here, withheld, &udp(10)),
        header(DONT_FRAGMENT, 64).packet(there, here, &udp(10)),
    ]
}

/// Looks at what a client receives.
struct Eye {
    socket: PacketSocket,
    pool: BufferPool,
    seen: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Eye {
    fn open(client: &Namespace) -> Self {
        let socket = client.enter(|| PacketSocket::open("eth0", None));
        Self {
            socket: socket.expect("a namespace").expect("a packet socket"),
            pool: BufferPool::new(64),
            seen: BTreeMap::new(),
        }
    }

    /// Keeps the IPv4 packets that are wanted, and one of equal ARP answers: the kernel asks too.
    fn look(&mut self, wanted: impl Fn(&[u8]) -> bool) {
        let mut frames = Vec::new();
        self.socket
            .recv_batch(&mut self.pool, &mut frames, 64)
            .expect("readable");
        for unit in frames.into_iter().flatten() {
            let frame = unit.buffer.bytes();
            let is_answer = ether_type(frame) == ARP && frame[20..22] == [0, 2];
            if is_answer && frame[28..32] == Site::AWS.client().octets() {
                let is_router = frame[22..28] == frame[6..12];
                self.seen
                    .insert("ARP".to_owned(), vec![vec![is_router.into()]]);
            } else if let Some(packet) = ipv4_of(frame).filter(|packet| wanted(packet)) {
                self.seen
                    .entry(label(packet))
                    .or_default()
                    .push(packet.to_vec());
            }
            self.pool.give(unit.buffer);
        }
    }

    fn count(&self) -> usize {
        self.seen.values().map(Vec::len).sum()
    }
}

/// What keeps its order: a flow, the fragments of a datagram, errors about a flow.
fn label(packet: &[u8]) -> String {
    let is_fragment = packet[6] & 0x3f != 0 || packet[7] != 0;
    match packet[9] {
        ICMP => format!("about {:?}", &packet[40..52]),
        _ if is_fragment => format!("fragments of {:?}", &packet[4..6]),
        _ => format!("flow {:?}", &packet[20..24]),
    }
}

/// Drops, and counters of what the router makes itself.
fn counters(fabric: &Fabric) -> BTreeMap<String, u64> {
    let view = fabric.router(Site::ONPREM).json("counters");
    let read = |list: &str, name: &str, value: &str| {
        let rows = view[list].as_array().expect("a list").iter();
        let rows = rows.map(|row| (row[name].as_str(), row[value].as_u64()));
        rows.filter_map(|(name, value)| Some((name?.to_owned(), value?)))
            .collect::<Vec<_>>()
    };
    let drops = read("drops", "reason", "total");
    // The client's kernel speaks IPv6 on its own.
    let drops = drops.into_iter().filter(|(reason, _)| reason != "not-ipv4");
    let made = read("counters", "name", "value").into_iter();
    let made = made.filter(|(name, _)| ["icmp-errors-sent", "fragments-made"].contains(&&**name));
    drops.chain(made).collect()
}

fn growth(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after
        .iter()
        .map(|(name, value)| (name.clone(), value - before[name]));
    grown.filter(|(_, value)| *value > 0).collect()
}
