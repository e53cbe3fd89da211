//! Paths that become narrow under way: transfers go on, and the operator sees what was learnt.
//!
//! ```text
//!   .10 ── lan1 ── router onprem ── wan ── a router of the underlay ── wan0 of router aws ── lan2 ── .11
//!                                          (routes with an MTU)
//! ```

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, sh, wait_until};
use sam_testkit::uninterrupted;
use serde_json::Value;

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "pmtu::wireguard_shrinks_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || shrinks("encap: wireguard", WAN, 60),
    },
    Case {
        name: "pmtu::gue_shrinks_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || shrinks("encap: gue, trustedUnderlay: true", WAN, 28),
    },
    Case {
        name: "pmtu::gre_shrinks_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || shrinks("encap: gre, trustedUnderlay: true", WAN, 24),
    },
    Case {
        name: "pmtu::the_routers_own_link_shrinks_and_widens",
        needs: &[],
        run: own_link,
    },
    Case {
        name: "pmtu::errors_about_packets_to_others_are_not_believed",
        needs: &[],
        run: lies,
    },
    Case {
        name: "pmtu::wireguard_finds_out_a_path_that_swallows_long_packets",
        needs: &[],
        run: || swallows("encap: wireguard", WAN, 60),
    },
    Case {
        name: "pmtu::gue_finds_out_a_path_that_swallows_long_packets",
        needs: &[],
        run: || swallows("encap: gue, trustedUnderlay: true", WAN, 28),
    },
    Case {
        name: "pmtu::gre_finds_out_a_path_that_swallows_long_packets",
        needs: &[],
        run: || swallows("encap: gre, trustedUnderlay: true", WAN, 24),
    },
    Case {
        name: "pmtu::wireguard_over_ipv6_shrinks_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || shrinks("encap: wireguard", WAN_IPV6, 80),
    },
    Case {
        name: "pmtu::gre_over_ipv6_shrinks_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || shrinks("encap: gre, trustedUnderlay: true", WAN_IPV6, 44),
    },
    Case {
        name: "pmtu::gue_over_ipv6_shrinks_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || shrinks("encap: gue, trustedUnderlay: true", WAN_IPV6, 48),
    },
    Case {
        name: "pmtu::wireguard_over_ipv6_finds_out_a_path_that_swallows_long_packets",
        needs: &[],
        run: || swallows("encap: wireguard", WAN_IPV6, 80),
    },
    Case {
        name: "pmtu::gre_over_ipv6_finds_out_a_path_that_swallows_long_packets",
        needs: &[],
        run: || swallows("encap: gre, trustedUnderlay: true", WAN_IPV6, 44),
    },
    Case {
        name: "pmtu::gue_over_ipv6_finds_out_a_path_that_swallows_long_packets",
        needs: &[],
        run: || swallows("encap: gue, trustedUnderlay: true", WAN_IPV6, 48),
    },
    Case {
        name: "pmtu::fou_over_ipv6_finds_out_a_path_that_swallows_long_packets",
        needs: &[],
        run: || swallows("encap: fou, trustedUnderlay: true", WAN_IPV6, 48),
    },
    Case {
        name: "pmtu::all_other_transports_shrink_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || others_shrink(&OTHERS, WAN),
    },
    Case {
        name: "pmtu::all_other_transports_over_ipv6_shrink_in_mid_transfer_without_a_stall",
        needs: &[],
        run: || others_shrink(&OTHERS_IPV6, WAN_IPV6),
    },
];

pub(crate) const HERE: Site = Site::ONPREM;
pub(crate) const THERE: Site = Site::AWS;
/// Time for a tunnel to carry packets.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Longest silence at the receiver when packets become too long, whether the underlay says so or not.
const STALL: Duration = Duration::from_secs(1);
/// What a busy machine can hold up until a transfer goes on: a probe, its answer, the snapshot, the error, what is sent then.
const HOLD_UPS: u32 = 5;
/// No read or write waits longer.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Time between two packets of a steady stream.
const BEAT: Duration = Duration::from_millis(10);
/// MTU of all links.
const WIDE: u64 = 1500;
/// Exactness of a search.
const STEP: u64 = 8;
/// Bytes written at once.
const CHUNK: usize = 64 << 10;
/// Chunks that may be under way.
const WINDOW: usize = 16;
/// Bytes that show that a transfer goes on.
const PROGRESS: u64 = 4 << 20;

/// What is between the routers.
#[derive(Clone, Copy)]
pub(crate) struct Wan {
    pub(crate) is_ipv6: bool,
    /// To what the path shrinks.
    narrow: [u64; 2],
}

pub(crate) const WAN: Wan = Wan {
    is_ipv6: false,
    narrow: [1300, 1100],
};
/// No IPv6 path is narrower than 1280 bytes (RFC 8200 section 5).
pub(crate) const WAN_IPV6: Wan = Wan {
    is_ipv6: true,
    narrow: [1400, 1280],
};

/// The transports that have no case of their own, and what they add to a packet.
const OTHERS: [(&str, u64); 9] = [
    (
        "encap: gre, key: 42, checksum: true, trustedUnderlay: true",
        32,
    ),
    ("encap: ipip, trustedUnderlay: true", 20),
    ("encap: fou, trustedUnderlay: true", 28),
    ("encap: fou, inner: gre, trustedUnderlay: true", 32),
    ("encap: gue, variant: 0, trustedUnderlay: true", 32),
    (
        "encap: gue, variant: 0, inner: gre, trustedUnderlay: true",
        36,
    ),
    ("encap: vxlan, vni: 77, trustedUnderlay: true", 50),
    ("encap: gre, over: wireguard", 84),
    ("encap: gue, over: wireguard", 88),
];
const OTHERS_IPV6: [(&str, u64); 9] = [
    (
        "encap: gre, key: 42, checksum: true, trustedUnderlay: true",
        52,
    ),
    ("encap: ipip, trustedUnderlay: true", 40),
    ("encap: fou, trustedUnderlay: true", 48),
    ("encap: fou, inner: gre, trustedUnderlay: true", 52),
    ("encap: gue, variant: 0, trustedUnderlay: true", 52),
    (
        "encap: gue, variant: 0, inner: gre, trustedUnderlay: true",
        56,
    ),
    ("encap: vxlan, vni: 77, trustedUnderlay: true", 70),
    ("encap: gre, over: wireguard", 104),
    ("encap: gue, over: wireguard", 108),
];

/// One fabric for all, because routers that run exchange their tunnels.
fn others_shrink(transports: &[(&str, u64)], wan: Wan) {
    let (mut former, _) = transports[0];
    let (fabric, between) = behind(former, wan);
    let mut failed = Vec::new();
    for &(transport, overhead) in transports {
        if transport != former {
            exchange(&fabric, former, transport);
            former = transport;
        }
        let shrink = AssertUnwindSafe(|| shrink(&fabric, &between, wan, overhead));
        if panic::catch_unwind(shrink).is_err() {
            failed.push(transport);
        }
        narrow(&between, wan, WIDE);
        // What clients learnt lasts ten minutes.
        for site in [HERE, THERE] {
            sh(fabric.topology.client(site), "ip route flush cache").success();
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Has both routers exchange the tunnel between them.
fn exchange(fabric: &Fabric, former: &str, transport: &str) {
    fabric.edit_all(&format!("{{{former}}}"), &format!("{{{transport}}}"));
    for site in [HERE, THERE] {
        fabric.router(site).samctl("reload").success();
    }
    for (from, to) in [(HERE, THERE), (THERE, HERE)] {
        wait_for_ping(fabric.topology.client(from), to.client(), PATIENCE);
    }
}

fn shrinks(transport: &str, wan: Wan, overhead: u64) {
    let (fabric, between) = behind(transport, wan);
    shrink(&fabric, &between, wan, overhead);
}

/// The path shrinks twice, while a transfer runs in each direction.
fn shrink(fabric: &Fabric, between: &Namespace, wan: Wan, overhead: u64) {
    let flows = [Flow::default(), Flow::default()];
    let beats = Flow::default();
    let ends = [(HERE, THERE), (THERE, HERE)];
    thread::scope(|scope| {
        let _stop = (Stop(&flows), Stop(std::slice::from_ref(&beats)));
        beats.beat(scope, fabric, HERE, THERE);
        for (flow, (from, to)) in flows.iter().zip(ends) {
            flow.start(scope, fabric, from, to);
        }
        go_on(&flows, PATIENCE);
        for mtu in wan.narrow {
            narrow(between, wan, mtu);
            go_on(&flows, PATIENCE);
            for (from, to) in ends {
                let expected = mtu - overhead;
                wait_until("the tunnel follows", PATIENCE, || {
                    tunnel(fabric, from, to)["mtu"] == expected
                });
            }
        }
        go_on(&flows, PATIENCE);
    });
    for (flow, (from, _)) in flows.iter().zip(ends) {
        flow.assert_no_stall(STALL, &beats, from.name());
    }

    let [_, last] = wan.narrow;
    let row = tunnel(fabric, HERE, THERE);
    assert_eq!(
        (&row["path_mtu"], &row["underlay_mtu"]),
        (&last.into(), &1500.into())
    );
    assert_eq!(row["path_mtu_by"], "error");
    let router = fabric.router(HERE);
    let (inner, learnt) = (last - overhead, 1500 - last);
    let shown = router.samctl("tunnels").success();
    let sum = format!("{inner} = 1500 - {learnt} - {overhead}");
    assert!(shown.contains(&sum), "{shown}");
    let said = format!("its path carries {last} bytes, said the underlay");
    assert!(shown.contains(&said), "{shown}");
    let explained = router
        .samctl(&format!("explain {}", THERE.client()))
        .success();
    let sum = format!("underlay 1500 - learnt {learnt} - overhead {overhead} = inner {inner}");
    assert!(explained.contains(&sum), "{explained}");
    // What fits the narrow path passes, to the byte.
    let client = fabric.topology.client(HERE);
    assert_eq!(ping(client, inner).0, 0);
    let (code, text) = ping(client, inner + 1);
    // Either the router says it, or the client's kernel that has heard it before.
    let expected = format!("mtu={inner}");
    let text = text.replace(' ', "");
    assert!(code != 0 && text.contains(&expected), "{text}");
}

/// The kernel itself refuses: nobody has to say so, and nobody has to wait when the link is wide again.
fn own_link() {
    let (fabric, _between) = behind("encap: wireguard", WAN);
    let flows = [Flow::default()];
    let beats = Flow::default();
    let router = fabric.topology.router(HERE);
    let follows = |underlay: u64| {
        wait_until("the tunnel follows the link", PATIENCE, || {
            let row = tunnel(&fabric, HERE, THERE);
            row["underlay_mtu"] == underlay && row["mtu"] == underlay - 60
        });
    };
    thread::scope(|scope| {
        let _stop = (Stop(&flows), Stop(std::slice::from_ref(&beats)));
        beats.beat(scope, &fabric, HERE, THERE);
        flows[0].start(scope, &fabric, HERE, THERE);
        go_on(&flows, PATIENCE);
        for mtu in [1300, 1500] {
            sh(router, &format!("ip link set wan0 mtu {mtu}")).success();
            go_on(&flows, PATIENCE);
            follows(mtu);
        }
    });
    flows[0].assert_no_stall(STALL, &beats, HERE.name());
}

/// Another program's packets are refused from the router's own host; its tunnels do not care.
fn lies() {
    let (fabric, between) = behind("encap: wireguard", WAN);
    let stranger = Ipv4Addr::new(198, 51, 100, 99);
    sh(
        &between,
        &format!("ip route replace {stranger}/32 dev far mtu 600"),
    )
    .success();
    let refused = format!("ping -n -c 1 -W 1 -M do -s 1000 {stranger}");
    let text = sh(fabric.topology.router(HERE), &refused).text();
    assert!(text.contains("mtu = 600"), "{text}");

    assert_eq!(ping(fabric.topology.client(HERE), 1440).0, 0);
    let row = tunnel(&fabric, HERE, THERE);
    assert_eq!(
        (&row["mtu"], row["path_mtu"].is_null()),
        (&1440.into(), true)
    );
}

/// The router between refuses in silence, while a transfer runs in each direction.
fn swallows(transport: &str, wan: Wan, overhead: u64) {
    let (fabric, between) = behind(transport, wan);
    // Everything that the router between says for itself.
    for (rule, protocol) in [("ip rule", "icmp"), ("ip -6 rule", "ipv6-icmp")] {
        let command = format!("{rule} add iif lo ipproto {protocol} blackhole");
        sh(&between, &command).success();
    }
    let flows = [Flow::default(), Flow::default()];
    let beats = Flow::default();
    let ends = [(HERE, THERE), (THERE, HERE)];
    thread::scope(|scope| {
        let _stop = (Stop(&flows), Stop(std::slice::from_ref(&beats)));
        beats.beat(scope, &fabric, HERE, THERE);
        for (flow, (from, to)) in flows.iter().zip(ends) {
            flow.start(scope, &fabric, from, to);
        }
        go_on(&flows, PATIENCE);
        for mtu in wan.narrow {
            narrow(&between, wan, mtu);
            go_on(&flows, PATIENCE);
            // What passes is searched for, to within a few bytes.
            for (from, to) in ends {
                let found = mtu - overhead - STEP..=mtu - overhead;
                wait_until("the size is found", PATIENCE, || {
                    let mtu = tunnel(&fabric, from, to)["mtu"].as_u64();
                    mtu.is_some_and(|mtu| found.contains(&mtu))
                });
                let row = tunnel(&fabric, from, to);
                assert_eq!(row["path_mtu_by"], "probe");
            }
        }
        go_on(&flows, PATIENCE);
    });
    for (flow, (from, _)) in flows.iter().zip(ends) {
        flow.assert_no_stall(STALL, &beats, from.name());
    }
}

/// A transfer, as its receiver sees it.
#[derive(Debug, Default)]
struct Flow {
    received: AtomicU64,
    /// Longest silence in milliseconds.
    longest: AtomicU64,
    stop: AtomicBool,
}

impl Flow {
    /// Starts sender and receiver.
    fn start<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
        fabric: &Fabric,
        from: Site,
        to: Site,
    ) {
        let (near, far) = (fabric.topology.client(from), fabric.topology.client(to));
        let listener = far
            .enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7000)))
            .expect("the namespace can be entered")
            .expect("the port is free");
        let sender = near
            .enter(|| TcpStream::connect_timeout(&(to.client(), 7000).into(), PATIENCE))
            .expect("the namespace can be entered")
            .expect("the far client answers");
        let (receiver, _) = listener.accept().expect("connected");
        let (room, taken) = mpsc::sync_channel(WINDOW);
        scope.spawn(move || self.send(sender, &room));
        scope.spawn(move || self.receive(receiver, &taken));
    }

    /// Sends as fast as the receiver takes it, but never so much ahead that queues say more than the path.
    fn send(&self, mut stream: TcpStream, room: &mpsc::SyncSender<()>) {
        stream.set_write_timeout(Some(GIVE_UP)).expect("valid");
        let bytes = vec![0x5a; CHUNK];
        while !self.stop.load(Relaxed) && room.send(()).is_ok() {
            stream
                .write_all(&bytes)
                .expect("the far end takes it in time");
        }
        stream.shutdown(Shutdown::Write).expect("connected");
    }

    fn receive(&self, mut stream: TcpStream, taken: &mpsc::Receiver<()>) {
        stream.set_read_timeout(Some(GIVE_UP)).expect("valid");
        let (mut bytes, mut open) = (vec![0; CHUNK], 0);
        let mut last = Instant::now();
        loop {
            let count = uninterrupted(|| stream.read(&mut bytes)).expect("bytes arrive in time");
            self.hear(&mut last);
            if count == 0 {
                return;
            }
            self.received.fetch_add(count as u64, Relaxed);
            open += count;
            while open >= CHUNK && taken.try_recv().is_ok() {
                open -= CHUNK;
            }
        }
    }

    /// Starts a stream of small packets at a steady pace, which fit any path: what silence there is, is the machine's.
    fn beat<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
        fabric: &Fabric,
        from: Site,
        to: Site,
    ) {
        let bind = |namespace: &Namespace| {
            let socket = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7001)));
            socket
                .expect("the namespace can be entered")
                .expect("a free port")
        };
        let receiver = bind(fabric.topology.client(to));
        let sender = bind(fabric.topology.client(from));
        sender.connect((to.client(), 7001)).expect("a route");
        receiver.set_read_timeout(Some(BEAT)).expect("valid");
        scope.spawn(move || {
            while !self.stop.load(Relaxed) {
                sender.send(&[7]).expect("the far client listens");
                thread::park_timeout(BEAT);
            }
        });
        scope.spawn(move || {
            let mut last = Instant::now();
            while !self.stop.load(Relaxed) {
                // A silence is told by the packet that ends it.
                if receiver.recv(&mut [0; 8]).is_ok() {
                    self.hear(&mut last);
                }
            }
        });
    }

    fn hear(&self, last: &mut Instant) {
        let silence = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.longest.fetch_max(silence, Relaxed);
        *last = Instant::now();
    }

    fn assert_no_stall(&self, most: Duration, beats: &Self, from: &str) {
        let (longest, machine) = (self.longest(), beats.longest());
        assert!(
            longest <= most + HOLD_UPS * machine,
            "silent for {longest:?} from {from}, the machine for {machine:?}"
        );
    }

    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Relaxed))
    }
}

/// Ends the flows, also when the test fails meanwhile.
struct Stop<'a>(&'a [Flow]);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        for flow in self.0 {
            flow.stop.store(true, Relaxed);
        }
    }
}

/// Waits until more has arrived by each flow.
fn go_on(flows: &[Flow], patience: Duration) {
    for flow in flows {
        let before = flow.received.load(Relaxed);
        wait_until("bytes arrive", patience, || {
            flow.received.load(Relaxed) >= before + PROGRESS
        });
    }
}

/// Starts two routers with a router of the underlay between them, which is returned.
fn behind(transport: &str, wan: Wan) -> (Fabric, Namespace) {
    behind_with(&format!("transport: {{{transport}}}"), wan)
}

/// The same with other lines of the fabric's settings.
pub(crate) fn behind_with(settings: &str, wan: Wan) -> (Fabric, Namespace) {
    let mut fabric = Fabric::new(samctl(), 2);
    let between = fabric.topology.put_behind(THERE);
    fabric.edit_all(
        &format!("{}:", THERE.underlay()),
        &format!("{}:", THERE.behind()),
    );
    if wan.is_ipv6 {
        number_ipv6(&fabric, &between);
    }
    fabric.edit_all("  bgp:", &format!("  {settings}\n  bgp:"));
    fabric.start_all();
    for (from, to) in [(HERE, THERE), (THERE, HERE)] {
        wait_for_ping(fabric.topology.client(from), to.client(), PATIENCE);
    }
    (fabric, between)
}

/// Gives the path IPv6 addresses too, and the routers these endpoints.
fn number_ipv6(fabric: &Fabric, between: &Namespace) {
    sh(between, "sysctl -qw net.ipv6.conf.all.forwarding=1").success();
    for (_, link, router) in WAY_IPV6 {
        let command = format!("ip address add {router}/64 dev {link} nodad");
        sh(between, &command).success();
    }
    for (site, (address, _, router)) in [HERE, THERE].into_iter().zip(WAY_IPV6) {
        let command = format!(
            "ip address add {address}/64 dev wan0 nodad && ip -6 route add default via {router}"
        );
        sh(fabric.topology.router(site), &command).success();
    }
    for (endpoint, (address, ..)) in [HERE.underlay(), THERE.behind()].into_iter().zip(WAY_IPV6) {
        fabric.edit_all(&format!("{endpoint}:"), &format!("[{address}]:"));
    }
}

/// Makes the path narrow in both directions.
fn narrow(between: &Namespace, wan: Wan, mtu: u64) {
    let way = [(HERE.underlay(), "near"), (THERE.behind(), "far")];
    let way = way.map(|(address, link)| (format!("{address}/32"), link));
    let way_ipv6 = WAY_IPV6.map(|(address, link, _)| (format!("{address}/128"), link));
    for (address, link) in if wan.is_ipv6 { way_ipv6 } else { way } {
        let command = format!("ip route replace {address} dev {link} mtu {mtu}");
        sh(between, &command).success();
    }
}

/// IPv6 addresses of the two routers, the link to each, and the address of the router between on it.
pub(crate) const WAY_IPV6: [(&str, &str, &str); 2] = [
    ("2001:db8:1::11", "near", "2001:db8:1::1"),
    ("2001:db8:2::12", "far", "2001:db8:2::1"),
];

/// Sends an echo request of a size that may not be fragmented.
fn ping(client: &Namespace, size: u64) -> (i32, String) {
    let size = size - 28;
    let outcome = sh(
        client,
        &format!("ping -n -c 1 -W 2 -M do -s {size} {}", THERE.client()),
    );
    (outcome.code, outcome.text())
}

pub(crate) fn tunnel(fabric: &Fabric, at: Site, to: Site) -> Value {
    let view = fabric.router(at).json("tunnels");
    let rows = view["tunnels"].as_array().cloned().unwrap_or_default();
    let mut rows = rows.into_iter();
    rows.find(|row| row["node"]["name"] == to.name())
        .unwrap_or_default()
}
