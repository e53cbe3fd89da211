//! Tunnels without encryption with the kernel's own: what each side sends the other understands, and neither takes what
//! has a wrong key or checksum.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use sam_testkit::netns::{Site, sh, wait_until};

use super::exchange;
use super::site::{KERNEL, KernelSite, OFFLOADS};

/// The site with a router of ours.
const OURS: Site = Site::ONPREM;
const BULK: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the checksum is in a GRE header that has one (RFC 2784 section 2.1), and in one of UDP.
const GRE_CHECKSUM: usize = 4;
const UDP_CHECKSUM: usize = 6;
/// Sums up `InCsumErrors` of IPv4 and IPv6.
const WRONG_DATAGRAMS: &str = "awk '/^Udp: [0-9]/ { n += $8 } /^Udp6InCsumErrors/ { n += $2 } END { print n }' /proc/net/snmp /proc/net/snmp6";

/// One kind of tunnel, as both sides know it.
struct Kind {
    /// In samctl's configuration.
    ours: &'static str,
    /// Arguments of `ip link add t0 type`; the kernel's own address, the far one and the TTL follow.
    theirs: &'static str,
    /// What has to be done first.
    before: &'static str,
    /// Largest inner packet.
    mtu: usize,
    /// What the tunnel must not take.
    wrong: &'static [Wrong],
}

/// Something that is not as agreed.
#[derive(Debug)]
enum Wrong {
    /// The kernel's tunnel with these arguments; samctl's reason for not taking what it sends.
    Kind(&'static str, &'static str),
    /// GRE checksums of both sides, damaged on the way.
    GreChecksum,
    /// UDP checksums of both sides, damaged on the way.
    UdpChecksum,
}

/// ```text
///   .10 ── router onprem ══ GRE, IPIP ══ kernel ── .11
/// ```
pub(super) fn raw() {
    let mut bench = Bench::boot();
    bench.run(&[
        Kind {
            ours: "encap: gre",
            theirs: "gre",
            before: ":",
            mtu: 1476,
            wrong: &[Wrong::Kind("gre key 7", "encap-wrong-key")],
        },
        // The kernel numbers what it sends, which makes it 4 bytes longer than ours.
        Kind {
            ours: "encap: gre, key: 42, mtu: 1468",
            theirs: "gre key 42 oseq",
            before: ":",
            mtu: 1468,
            wrong: &[
                Wrong::Kind("gre key 43", "encap-wrong-key"),
                Wrong::Kind("gre", "encap-wrong-key"),
            ],
        },
        Kind {
            ours: "encap: gre, checksum: true",
            theirs: "gre csum",
            before: ":",
            mtu: 1472,
            wrong: &[Wrong::GreChecksum],
        },
        Kind {
            ours: "encap: gre, key: 42, checksum: true",
            theirs: "gre key 42 csum",
            before: ":",
            mtu: 1468,
            wrong: &[Wrong::Kind("gre key 43 csum", "encap-wrong-key")],
        },
        Kind {
            ours: "encap: ipip",
            theirs: "ipip",
            before: ":",
            mtu: 1480,
            wrong: &[],
        },
    ]);
    bench.go_over_ipv6();
    bench.run(&[
        // Numbered, as above.
        Kind {
            ours: "encap: gre, mtu: 1452",
            theirs: "ip6gre oseq encaplimit none",
            before: ":",
            mtu: 1452,
            wrong: &[Wrong::Kind(
                "ip6gre key 7 encaplimit none",
                "encap-wrong-key",
            )],
        },
        Kind {
            ours: "encap: gre, key: 42, checksum: true",
            theirs: "ip6gre key 42 csum encaplimit none",
            before: ":",
            mtu: 1448,
            wrong: &[
                Wrong::Kind("ip6gre key 43 csum encaplimit none", "encap-wrong-key"),
                Wrong::GreChecksum,
            ],
        },
        Kind {
            ours: "encap: ipip",
            theirs: "ip6tnl mode ipip6 encaplimit none",
            before: ":",
            mtu: 1460,
            wrong: &[],
        },
    ]);
}

/// ```text
///   .10 ── router onprem ══ FOU, GUE, VXLAN ══ kernel ── .11
/// ```
pub(super) fn udp() {
    let mut bench = Bench::boot();
    bench.run(&UDP);
    bench.go_over_ipv6();
    bench.run(&UDP_OVER_IPV6);
}

const UDP: [Kind; 6] = [
    Kind {
        ours: "encap: fou",
        theirs: "ipip encap fou encap-sport auto encap-dport 5555",
        before: "modprobe fou && ip fou add port 5555 ipproto 4",
        mtu: 1472,
        wrong: &[Wrong::UdpChecksum],
    },
    Kind {
        // Linux marks a run of GRE that it joined on receipt as GRE only, and then takes it for no packet of a UDP
        // tunnel and drops it (seen with 6.1.0-56), so joining is off for GRE in UDP.
        ours: "encap: fou, inner: gre, port: 5556",
        theirs: "gre encap fou encap-sport auto encap-dport 5556",
        before: "ip fou add port 5556 ipproto 47 && ethtool -K eth0 gro off",
        mtu: 1468,
        wrong: &[],
    },
    Kind {
        ours: "encap: gue, variant: 0",
        theirs: "ipip encap gue encap-sport auto encap-dport 6080 encap-csum",
        before: "ip fou add port 6080 gue",
        mtu: 1468,
        wrong: &[Wrong::UdpChecksum],
    },
    Kind {
        ours: "encap: gue, variant: 0, inner: gre",
        theirs: "gre encap gue encap-sport auto encap-dport 6080",
        before: "ethtool -K eth0 gro off",
        mtu: 1464,
        wrong: &[],
    },
    // The kernel understands variant 1 and sends variant 0, which is 4 bytes longer.
    Kind {
        ours: "encap: gue, mtu: 1468",
        theirs: "ipip encap gue encap-sport auto encap-dport 6080",
        before: ":",
        mtu: 1468,
        wrong: &[],
    },
    Kind {
        ours: "encap: vxlan, vni: 77",
        theirs: "vxlan id 77 dstport 4789",
        before: ":",
        mtu: 1450,
        wrong: &[
            Wrong::Kind("vxlan id 78 dstport 4789", "encap-wrong-key"),
            Wrong::UdpChecksum,
        ],
    },
];

/// IPv6 wants a checksum of UDP (RFC 8200 section 8.1).
const UDP_OVER_IPV6: [Kind; 6] = [
    Kind {
        ours: "encap: fou, port: 5557",
        theirs: "ip6tnl mode ipip6 encaplimit none encap fou encap-sport auto encap-dport 5557 encap-udp6-csum",
        before: "modprobe fou6 && ip fou add port 5557 ipproto 4 -6",
        mtu: 1452,
        wrong: &[Wrong::UdpChecksum],
    },
    Kind {
        ours: "encap: fou, inner: gre, port: 5558",
        theirs: "ip6gre encaplimit none encap fou encap-sport auto encap-dport 5558 encap-udp6-csum",
        before: "ip fou add port 5558 ipproto 47 -6 && ethtool -K eth0 gro off",
        mtu: 1448,
        wrong: &[],
    },
    Kind {
        ours: "encap: gue, variant: 0, port: 6081",
        theirs: "ip6tnl mode ipip6 encaplimit none encap gue encap-sport auto encap-dport 6081 encap-udp6-csum",
        before: "ip fou add port 6081 gue -6",
        mtu: 1448,
        wrong: &[],
    },
    Kind {
        ours: "encap: gue, variant: 0, inner: gre, port: 6081",
        theirs: "ip6gre encaplimit none encap gue encap-sport auto encap-dport 6081 encap-udp6-csum",
        before: "ethtool -K eth0 gro off",
        mtu: 1444,
        wrong: &[],
    },
    Kind {
        ours: "encap: gue, port: 6081, mtu: 1448",
        theirs: "ip6tnl mode ipip6 encaplimit none encap gue encap-sport auto encap-dport 6081 encap-udp6-csum",
        before: ":",
        mtu: 1448,
        wrong: &[],
    },
    Kind {
        ours: "encap: vxlan, vni: 77",
        theirs: "vxlan id 77 dstport 4789",
        before: ":",
        mtu: 1430,
        wrong: &[Wrong::Kind("vxlan id 78 dstport 4789", "encap-wrong-key")],
    },
];

/// A kernel and a router of ours, and the ends of the tunnels between them.
struct Bench {
    world: KernelSite,
    ours: IpAddr,
    theirs: IpAddr,
    /// Which line of the configuration says the transport.
    line: String,
}

impl Bench {
    fn boot() -> Self {
        Self {
            world: KernelSite::boot(2),
            ours: OURS.underlay().into(),
            theirs: KERNEL.underlay().into(),
            line: "  bgp:".to_owned(),
        }
    }

    /// Gives both ends IPv6 addresses, for all tunnels from now on.
    fn go_over_ipv6(&mut self) {
        [self.ours, self.theirs] = self.world.number_ipv6(OURS).map(IpAddr::from);
    }

    /// Tries kinds of tunnels, one after the other.
    fn run(&mut self, kinds: &[Kind]) {
        for kind in kinds {
            let next = format!(
                "  transport: {{{}, trustedUnderlay: true}}\n  bgp:",
                kind.ours
            );
            self.world.fabric.edit(OURS, &self.line, &next);
            self.line = next;
            self.world.guest.order("ethtool -K eth0 gro on");
            self.world.guest.order(kind.before);
            self.make_tunnel(kind.theirs, kind.mtu);
            self.world.start(OURS);

            let world = &self.world;
            let during = |step| During { world, kind, step };
            for offload in OFFLOADS {
                let _during = during(format!("checksum offload {offload}"));
                world.leave_checksums_to_cards(offload);
                exchange::everything(world, OURS, kind.mtu, BULK);
            }
            for wrong in kind.wrong {
                let _during = during(format!("{wrong:?}"));
                self.is_refused(kind, wrong);
            }
        }
    }

    /// Makes the kernel's end of a tunnel.
    fn make_tunnel(&self, kind: &str, mtu: usize) {
        let mut command = format!(
            "ip link show t0 2> /dev/null && ip link delete t0; ip link add t0 type {kind} local {} remote {} ttl 64",
            self.theirs, self.ours
        );
        if kind.starts_with("vxlan") {
            // samctl answers no ARP in there: the addresses follow from those of the overlay.
            let mac = |site: Site| format!("02:53:0a:63:00:{:02x}", site.number());
            write!(
                command,
                " && ip link set t0 address {} && ip neighbor add {} lladdr {} dev t0",
                mac(KERNEL),
                OURS.overlay(),
                mac(OURS)
            )
            .expect("a string takes everything");
        }
        self.world.guest.order(&command);
        self.world.route_by_tunnel(mtu);
    }

    /// What is wrong is not taken, what comes to us is counted by its reason, and everything is well afterwards.
    fn is_refused(&self, kind: &Kind, wrong: &Wrong) {
        let world = &self.world;
        match wrong {
            Wrong::Kind(theirs, reason) => {
                self.make_tunnel(theirs, kind.mtu);
                silence_counted(world, reason);
                self.make_tunnel(kind.theirs, kind.mtu);
            }
            Wrong::GreChecksum => {
                self.damage(&["egress"], GRE_CHECKSUM);
                silence_counted(world, "encap-checksum");
                // Where the kernel joins packets it looks at checksums before that, too early for the damage.
                world.guest.order("ethtool -K eth0 gro off");
                self.damage(&["ingress"], GRE_CHECKSUM);
                exchange::silence(world, OURS);
            }
            // The kernels at both ends look at those, unless they are left to cards.
            Wrong::UdpChecksum => {
                let router = world.fabric.topology.router(OURS);
                world.guest.order("ethtool -K eth0 gro off");
                sh(router, "ethtool -K wan0 tx off").success();
                let before = self.wrong_datagrams();
                self.damage(&["egress", "ingress"], UDP_CHECKSUM);
                exchange::silence(world, OURS);
                wait_until("both kernels count them", PATIENCE, || {
                    let mut ends = self.wrong_datagrams().into_iter().zip(before);
                    ends.all(|(now, before)| now >= before + 2)
                });
                sh(router, "ethtool -K wan0 tx on").success();
            }
        }
        world
            .guest
            .order("tc qdisc delete dev eth0 clsact 2> /dev/null; true");
        exchange::pings(world, OURS);
    }

    /// Overwrites two bytes of all packets that enter or leave the kernel, or both, `at` bytes behind the outer IP header.
    /// It writes checksums itself from then on, because nobody looks at those that are left to a card.
    fn damage(&self, directions: &[&str], at: usize) {
        let (protocol, header) = if self.ours.is_ipv6() {
            ("ipv6", 40)
        } else {
            ("ip", 20)
        };
        let at = header + at;
        let mut command = "ethtool -K eth0 tx off; tc qdisc delete dev eth0 clsact 2> /dev/null; \
                           tc qdisc add dev eth0 clsact"
            .to_owned();
        for direction in directions {
            command += &format!(
                " && tc filter add dev eth0 {direction} protocol {protocol} matchall \
                 action pedit munge offset {at} u16 set 0x1234"
            );
        }
        self.world.guest.order(&command);
    }

    /// How many datagrams with a wrong checksum our kernel and the other one have seen.
    fn wrong_datagrams(&self) -> [u64; 2] {
        let world = &self.world;
        let router = world.fabric.topology.router(OURS);
        let counted = [
            sh(router, WRONG_DATAGRAMS).success(),
            world.guest.order(WRONG_DATAGRAMS),
        ];
        counted.map(|count| count.trim().parse().expect("a number"))
    }
}

pub(super) fn silence_counted(world: &KernelSite, reason: &str) {
    let before = world.drops(OURS, reason);
    exchange::silence(world, OURS);
    wait_until("the refusals are counted", PATIENCE, || {
        world.drops(OURS, reason) >= before + 2
    });
}

/// Says on the way of a panic which tunnel it was about, what was done with it, and what the router counted.
struct During<'a> {
    world: &'a KernelSite,
    kind: &'a Kind,
    step: String,
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let counters = self.world.fabric.router(OURS).samctl("counters").text();
            let (kind, step) = (self.kind.ours, &self.step);
            writeln!(io::stderr(), "this was `{kind}`: {step}\n{counters}").ok();
        }
    }
}
