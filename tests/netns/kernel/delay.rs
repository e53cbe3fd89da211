//! A long way between two routers of ours: a TCP flow stays fast and in order.
//!
//! The foreign kernel is the wire; its netem makes the delay that this machine's kernel may not have.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sam_net::Namespace;
use sam_testkit::guest::Guest;
use sam_testkit::netns::{Fabric, Site, Wire, sh};

use crate::case::{guest_image, samctl, wait_for_ping};

const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds at the rate that window and delay allow.
const BYTES: usize = 64 << 20;
/// Both ways together.
const DELAY_MS: f64 = 20.0;
/// Most that is on the way: less than the queues of the emulator's network cards hold, more than the delay needs.
const WINDOW: u32 = 512 << 10;
/// How much slower a flow may be through two routers of ours than through two kernels: a debug build and its cryptography
/// share two cores with the emulator.
const SLOWER: f64 = 5.0;
/// One segment in ten thousand: what the receiver puts right before the sender hears of it costs a flow nothing. That
/// a router keeps the order of each flow to the packet is for the cases of `order` and `mixed` to tell, without an emulator
/// between.
const EARLY_AT_MOST: u64 = 4;

/// ```text
///   .10 ── router onprem ── wan ── kernel: 10 ms each way ── far wan ── router aws ── .11
/// ```
pub(super) fn delay() {
    let mut fabric = Fabric::new(samctl(), 2);
    let topology = &fabric.topology;
    topology.move_far(Site::AWS);
    topology.add_tap(Wire::Wan, "guest-near");
    topology.add_tap(Wire::FarWan, "guest-far");
    let image = guest_image().expect("the need was looked at");
    let guest = Guest::boot(&image, topology.wires(), &["guest-near", "guest-far"]);
    guest.order(
        "ip link add bridge type bridge && ip link set bridge up
         for card in eth0 eth1; do
             ip link set $card master bridge up && tc qdisc add dev $card root netem delay 10ms limit 10000 || exit 1
         done",
    );
    let (near, far) = (Site::ONPREM, Site::AWS);
    wait_for_ping(topology.router(near), far.underlay(), PATIENCE);
    let (client, far_client) = (topology.client(near), topology.client(far));
    let limit = format!("echo 4096 131072 {WINDOW} > /proc/sys/net/ipv4/tcp_rmem");
    sh(far_client, &limit).success();

    for (site, other) in [(near, far), (far, near)] {
        let way = format!("{}/32 via {}", other.client(), other.underlay());
        sh(topology.router(site), &format!("ip route add {way}")).success();
        sh(topology.router(site), &forwarding(1)).success();
    }
    let plain = transfer(client, far_client, far.client());
    for (site, other) in [(near, far), (far, near)] {
        sh(topology.router(site), &forwarding(0)).success();
        let way = format!("ip route delete {}/32", other.client());
        sh(topology.router(site), &way).success();
    }

    fabric.start_all();
    let (client, far_client) = (fabric.topology.client(near), fabric.topology.client(far));
    wait_for_ping(client, far.client(), PATIENCE);
    assert!(round_trip(client, far.client()) >= DELAY_MS);
    let ours = transfer(client, far_client, far.client());

    assert!(
        ours.overtaken <= plain.overtaken,
        "segments overtook each other: {ours:?}, {plain:?} by kernel forwarding"
    );
    assert!(
        ours.early <= plain.early + EARLY_AT_MOST || ours.sent_again > 0,
        "segments came early and none was lost: {ours:?}, {plain:?} by kernel forwarding"
    );
    assert!(
        ours.time.as_secs_f64() < plain.time.as_secs_f64() * SLOWER,
        "{ours:?} for {BYTES} bytes, {plain:?} by kernel forwarding"
    );
}

/// Lets the kernel of a router forward between its LAN and the WAN, or not.
fn forwarding(state: u8) -> String {
    format!(
        "cd /proc/sys/net/ipv4 && echo {state} > ip_forward && echo {state} > conf/lan0/proxy_arp \
         && echo 0 > neigh/lan0/proxy_delay"
    )
}

/// What became of a transfer.
#[derive(Debug)]
struct Transfer {
    /// Until the receiver had all.
    time: Duration,
    /// Segments of which the sender learned that they came after later ones.
    overtaken: u64,
    /// Segments that came before one that was missing.
    early: u64,
    /// Segments that the sender took for lost.
    sent_again: u64,
}

/// Sends bytes over one connection.
fn transfer(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Transfer {
    let counts = || {
        [
            count(from, &OVERTAKEN),
            count(to, &EARLY),
            count(from, &SENT_AGAIN),
        ]
    };
    let before = counts();
    let time = carry(from, to, address);
    let after = counts();
    let [overtaken, early, sent_again] = std::array::from_fn(|at| after[at] - before[at]);
    Transfer {
        time,
        overtaken,
        early,
        sent_again,
    }
}

/// Sends bytes over one connection and returns how long they took until the receiver had all.
fn carry(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Duration {
    let listener = to.enter(|| TcpListener::bind((address, 0)).expect("a free port"));
    let listener = listener.expect("the receiver's namespace");
    let target = listener.local_addr().expect("bound");
    let connect = || TcpStream::connect_timeout(&target, PATIENCE).expect("connected");
    let mut sender = from.enter(connect).expect("the sender's namespace");
    let (mut receiver, _) = listener.accept().expect("connected");
    receiver.set_read_timeout(Some(PATIENCE)).expect("valid");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(&vec![7; BYTES]).expect("sent");
            sender.shutdown(Shutdown::Write).expect("sent");
        });
        let mut received = Vec::with_capacity(BYTES);
        receiver.read_to_end(&mut received).expect("no stall");
        assert_eq!(received.len(), BYTES);
    });
    begin.elapsed()
}

/// The shortest of some pings, in milliseconds.
fn round_trip(client: &Namespace, to: Ipv4Addr) -> f64 {
    let text = sh(client, &format!("ping -n -q -c 5 -i 0.2 -W 5 {to}")).success();
    let shortest = text.split("mdev = ").nth(1).and_then(|figures| {
        let (shortest, _) = figures.split_once('/')?;
        shortest.parse().ok()
    });
    shortest.unwrap_or_else(|| panic!("no figures in {text}"))
}

/// What the sender's kernel counts when it learns that segments overtook each other.
const OVERTAKEN: [&str; 3] = ["TCPSACKReorder", "TCPRenoReorder", "TCPTSReorder"];
/// What the receiver's kernel counts for each segment that comes before one that is missing.
const EARLY: [&str; 1] = ["TCPOFOQueue"];
const SENT_AGAIN: [&str; 1] = ["RetransSegs"];

/// Sum of counters of a namespace: /proc/net/netstat has lines of names, each followed by one of values.
fn count(namespace: &Namespace, names: &[&str]) -> u64 {
    let text = sh(namespace, "cat /proc/net/netstat /proc/net/snmp").success();
    let lines: Vec<&str> = text.lines().collect();
    let values = lines.chunks(2).flat_map(|pair| {
        let row = |at: usize| pair.get(at).copied().unwrap_or_default();
        std::iter::zip(row(0).split(' '), row(1).split(' '))
    });
    let found: Vec<u64> = values
        .filter(|(name, _)| names.contains(name))
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    assert_eq!(found.len(), names.len(), "{names:?} in\n{text}");
    found.iter().sum()
}
