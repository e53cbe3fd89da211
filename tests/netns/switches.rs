//! Each offload has an effect that the wire shows, and its switch ends it, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sam_dataplane::{Buffer, BufferPool, Gso};
use sam_net::{Namespace, PacketSocket, Train};
use sam_testkit::netns::{Fabric, Site, holds_within};
use sam_testkit::uninterrupted;

use crate::bulk;
use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "switches::all_on_show_each_effect",
        needs: &[],
        run: || check("tunTcp: true", &[], &[]),
    },
    Case {
        name: "switches::of_tcp_at_the_tun_device",
        needs: &[],
        run: || check("tunTcp: false", &[TunTcp, HostTcp, TunUdp], &[]),
    },
    Case {
        name: "switches::of_udp_at_the_tun_device",
        needs: &[],
        run: || check("tunUdp: false", &[TunUdp], &[]),
    },
    Case {
        name: "switches::of_tcp_on_the_lan",
        needs: &[],
        run: || check("lanTcp: false", &[LanTcp], &[]),
    },
    Case {
        name: "switches::of_udp_on_the_lan",
        needs: &[],
        run: || check("lanUdp: false", &[LanUdp], &[]),
    },
    Case {
        name: "switches::of_trains_that_leave",
        needs: &[],
        // What does not leave together is not received together.
        run: || check("udpSegment: false", &[UdpSegment], &[UdpGro]),
    },
    Case {
        name: "switches::of_trains_that_arrive",
        needs: &[],
        run: || check("udpGro: false", &[UdpGro], &[]),
    },
];

const START: Duration = Duration::from_secs(10);
const BULK: usize = 1 << 20;
const DATAGRAM: u16 = 1200;
/// Rounds of traffic in which nothing may be seen of what is off.
const ROUNDS: usize = 2;

/// Effects of offloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// TCP superpackets are written to the TUN device.
    TunTcp,
    /// TCP superpackets are read from it.
    HostTcp,
    /// UDP superpackets are written to the TUN device.
    TunUdp,
    /// TCP superpackets leave on the LAN.
    LanTcp,
    /// UDP superpackets leave on the LAN.
    LanUdp,
    /// Outer datagrams leave as superpackets.
    UdpSegment,
    /// More than one outer datagram is received at once.
    UdpGro,
}

use Effect::{HostTcp, LanTcp, LanUdp, TunTcp, TunUdp, UdpGro, UdpSegment};

const ALL: [Effect; 7] = [TunTcp, HostTcp, TunUdp, LanTcp, LanUdp, UdpSegment, UdpGro];

/// ```text
///  .10 ── router onprem ══ wan ══╤══ router aws ──╤── .11
///             └ its host         └ watched: wan0, └ watched: eth0
///                                  and sam0 to its host
/// ```
/// All effects show, but for those that the setting ends; some perhaps.
fn check(setting: &str, ended: &[Effect], perhaps: &[Effect]) {
    let mut fabric = Fabric::new(samctl(), 2);
    let line = format!("  offloads: {{{setting}}}\n  control:");
    fabric.edit_all("  control:", &line);
    fabric.start_all();
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AWS.client(),
        START,
    );
    let mut eyes = Eyes::open(&fabric);
    let mut seen = Vec::new();
    let mut round = || {
        for effect in eyes.round(&fabric) {
            if !seen.contains(&effect) {
                seen.push(effect);
            }
        }
        assert!(
            !ended.iter().any(|effect| seen.contains(effect)),
            "{setting}: {seen:?}"
        );
        let mut expected = ALL.iter().filter(|effect| !ended.contains(effect));
        expected.all(|effect| seen.contains(effect) || perhaps.contains(effect))
    };
    for _ in 0..ROUNDS {
        round();
    }
    // A batch that holds a single packet shows nothing; on a busy machine there may be many.
    assert!(holds_within(START, &mut round), "{setting}: only {seen:?}");
}

/// Where superpackets can be seen.
struct Eyes {
    lan: PacketSocket,
    wan: PacketSocket,
    tun: PacketSocket,
    pool: BufferPool,
}

impl Eyes {
    fn open(fabric: &Fabric) -> Self {
        let open = |namespace: &Namespace, link: &str| {
            let socket = namespace.enter(|| PacketSocket::open(link, None));
            socket.expect("a namespace").expect("a packet socket")
        };
        let (client, router) = (
            fabric.topology.client(Site::AWS),
            fabric.topology.router(Site::AWS),
        );
        Self {
            lan: open(client, "eth0"),
            wan: open(router, "wan0"),
            tun: open(router, "sam0"),
            pool: BufferPool::new(128),
        }
    }

    /// Sends TCP and trains of UDP from client to client and from host to host, and returns which effects showed.
    fn round(&mut self, fabric: &Fabric) -> Vec<Effect> {
        let topology = &fabric.topology;
        let (near, far) = (Site::ONPREM, Site::AWS);
        let clients = (topology.client(near), topology.client(far), far.client());
        let hosts = (topology.router(near), topology.router(far), far.overlay());
        let sender = || counters(fabric, near);
        let receiver = || counters(fabric, far);
        let mut effects = Vec::new();

        let before = receiver();
        train(clients.0, clients.1, clients.2);
        bulk::tcp(clients.0, clients.1, clients.2, 1, BULK);
        let after = receiver();
        // Acknowledgments and keepalives are single packets, so more than all of them is needed.
        let received = after.packets - before.packets;
        if received > 2 * (after.trains - before.trains) {
            effects.push(UdpGro);
        }

        train(hosts.0, hosts.1, hosts.2);
        let before = sender();
        bulk::tcp(hosts.0, hosts.1, hosts.2, 1, BULK);
        let units = sender().host_units - before.host_units;
        if units < BULK as u64 / 1500 / 2 {
            effects.push(HostTcp);
        }

        for (socket, tcp, udp) in [
            (&mut self.lan, Some(LanTcp), LanUdp),
            (&mut self.wan, None, UdpSegment),
            (&mut self.tun, Some(TunTcp), TunUdp),
        ] {
            for gso in superpackets(socket, &mut self.pool) {
                effects.extend(match gso {
                    Gso::None => None,
                    Gso::Tcp { .. } => tcp,
                    Gso::Udp { .. } => Some(udp),
                });
            }
        }
        effects
    }
}

/// What arrived since the last look.
fn superpackets(socket: &mut PacketSocket, pool: &mut BufferPool) -> Vec<Gso> {
    let (mut seen, mut frames) = (Vec::new(), Vec::new());
    while socket
        .recv_batch(pool, &mut frames, 32)
        .is_ok_and(|count| count > 0)
    {
        for unit in frames.drain(..).flatten() {
            seen.push(unit.offload.gso);
            pool.give(unit.buffer);
        }
    }
    seen
}

/// Sends datagrams of one length as one superpacket, and waits for all of them.
fn train(from: &Namespace, to: &Namespace, address: Ipv4Addr) {
    const COUNT: usize = 20;
    let receiver = to.enter(|| std::net::UdpSocket::bind((address, 0)));
    let receiver = receiver.expect("a namespace").expect("a free port");
    receiver.set_read_timeout(Some(START)).expect("valid");
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let sender = from.enter(|| sam_net::UdpSocket::bind(any));
    let mut sender = sender.expect("a namespace").expect("a port");
    let mut buffer = Buffer::new();
    assert!(buffer.append(&[7; COUNT * DATAGRAM as usize]));
    let mut trains = [Train {
        to: receiver.local_addr().expect("bound"),
        segment: DATAGRAM,
        tos: 0,
        buffer,
    }];
    let mut failures = Vec::new();
    assert_eq!(sender.send_trains(&mut trains, &mut failures), 1);
    assert!(failures.is_empty(), "{failures:?}");
    let mut datagram = [0; 2 * DATAGRAM as usize];
    for _ in 0..COUNT {
        let length = uninterrupted(|| receiver.recv(&mut datagram)).expect("a datagram");
        assert_eq!(length, usize::from(DATAGRAM));
    }
}

/// Counters of a router.
struct Counters {
    packets: u64,
    trains: u64,
    host_units: u64,
}

fn counters(fabric: &Fabric, at: Site) -> Counters {
    let view = fabric.router(at).json("counters");
    let counter = |name: &str| {
        let mut rows = view["counters"].as_array().expect("a list").iter();
        let row = rows.find(|row| row["name"] == name).expect("a counter");
        row["value"].as_u64().expect("a number")
    };
    Counters {
        packets: counter("tunnel-rx-packets"),
        trains: counter("trains-received"),
        host_units: counter("tun-rx-units"),
    }
}
