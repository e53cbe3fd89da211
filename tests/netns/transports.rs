//! Tunnels without encryption between two real routers: reach, sizes, bulk, and who is not heard.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use sam_testkit::netns::{Capture, Fabric, GATEWAY, Site, sh, wait_until};
use serde_json::Value;

use crate::case::{Case, Need, samctl, wait_for_ping};

const NEEDS: &[Need] = &[Need::Tool("tcpdump"), Need::Tool("tshark")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "transports::gue_variant_1",
        needs: NEEDS,
        run: || carries("encap: gue", 1472, "udp.dstport == 6080"),
    },
    Case {
        name: "transports::gue_variant_0",
        needs: NEEDS,
        run: || carries("encap: gue, variant: 0", 1468, "udp.dstport == 6080"),
    },
    Case {
        name: "transports::gue_variant_0_with_gre",
        needs: NEEDS,
        run: || {
            let transport = "encap: gue, variant: 0, inner: gre, port: 6090";
            carries(transport, 1464, "udp.dstport == 6090");
        },
    },
    Case {
        name: "transports::fou",
        needs: NEEDS,
        run: || carries("encap: fou", 1472, "udp.dstport == 5555"),
    },
    Case {
        name: "transports::fou_with_gre",
        needs: NEEDS,
        run: || carries("encap: fou, inner: gre", 1468, "udp.dstport == 5555"),
    },
    Case {
        name: "transports::vxlan",
        needs: NEEDS,
        run: || {
            let seen = "vxlan.vni == 77 && eth.src == 02:53:0a:63:00:01 && ip.src == 10.77.60.10";
            carries("encap: vxlan, vni: 77", 1450, seen);
        },
    },
    Case {
        name: "transports::gre",
        needs: NEEDS,
        run: || {
            carries(
                "encap: gre",
                1476,
                "gre && !gre.key && ip.src == 10.77.60.10",
            )
        },
    },
    Case {
        name: "transports::gre_with_key_and_checksum",
        needs: NEEDS,
        run: || {
            let seen =
                "gre.key == 0x2a && gre.checksum.status == \"Good\" && ip.src == 10.77.60.10";
            carries("encap: gre, key: 42, checksum: true", 1468, seen);
        },
    },
    Case {
        name: "transports::ipip",
        needs: NEEDS,
        run: || {
            carries(
                "encap: ipip",
                1480,
                "ip.proto == 4 && ip.src == 10.77.60.10",
            )
        },
    },
    Case {
        name: "transports::gre_inside_of_wireguard",
        needs: NEEDS,
        run: || {
            nested("encap: gre, over: wireguard", 1416);
            nested("encap: gre, over: wireguard, key: 42, checksum: true", 1408);
        },
    },
    Case {
        name: "transports::gue_inside_of_wireguard",
        needs: NEEDS,
        run: || {
            nested("encap: gue, over: wireguard", 1412);
            nested("encap: gue, over: wireguard, variant: 0", 1408);
        },
    },
    Case {
        name: "transports::a_pair_differs_from_its_fabric",
        needs: &[],
        run: pair,
    },
    Case {
        name: "transports::a_tunnel_routed_into_itself_is_refused",
        needs: &[],
        run: || {
            for transport in ["encap: wireguard", "encap: gue, trustedUnderlay: true"] {
                routed_into_itself(transport);
            }
        },
    },
    Case {
        name: "transports::a_secondary_address_is_the_endpoint",
        needs: &[],
        run: secondary_address,
    },
    Case {
        name: "transports::over_ipv6",
        needs: &[],
        run: ipv6,
    },
];

/// Time for a tunnel to carry packets again.
const PATIENCE: Duration = Duration::from_secs(10);
/// IPv4 and ICMP headers of an echo request.
const HEADERS: usize = 28;
/// Why a stranger's packet is dropped.
const STRANGER: &str = "encap-unknown-source";
/// Bytes of a bulk transfer.
const BULK: usize = 24 << 20;

/// ```text
/// .10 ── lan1 (1500) ── router onprem ══ transport, wan (1500) ══ router aws ── lan2 (1500) ── .11
/// ```
/// `mtu` is that of the tunnel; `seen` is what another parser must find in the packets between the routers.
fn carries(transport: &str, mtu: usize, seen: &str) {
    let fabric = running(2, &format!("{transport}, trustedUnderlay: true"));
    let (here, there) = (Site::ONPREM, Site::AWS);
    let wan = wan(&fabric);
    passes(&fabric, mtu);
    assert!(
        !wan.stop().fields(seen, &["ip.src"]).is_empty(),
        "nothing like `{seen}` on the wire"
    );
    let encap = transport["encap: ".len()..].split(',').next();
    let encap = encap.unwrap_or_default();
    is_shown(&fabric, encap, mtu);
    let explained = fabric
        .router(here)
        .samctl(&format!("explain {}", there.client()));
    let expected = format!("{} to {}", encap.to_uppercase(), there.underlay());
    assert!(explained.text().contains(&expected), "{}", explained.text());

    strangers_are_not_heard(&fabric);
}

/// As [`carries`], inside of WireGuard: nothing of it shows on the wire.
fn nested(transport: &str, mtu: usize) {
    let fabric = running(2, transport);
    let (here, there) = (Site::ONPREM, Site::AWS);
    let wan = wan(&fabric);
    passes(&fabric, mtu);
    let packets = wan.stop();
    assert!(packets.count("udp.port == 51820 && wg.type == 4") > 100);
    let fields = ["ip.src", "ip.dst", "_ws.col.Info"];
    let others = packets.fields("ip && not igmp && not udp.port == 51820", &fields);
    assert!(others.is_empty(), "{others:?}");

    let encap = &transport["encap: ".len()..][..3];
    is_shown(&fabric, &format!("{encap} over wireguard"), mtu);
    let explained = fabric
        .router(here)
        .samctl(&format!("explain {}", there.client()));
    let expected = format!(
        "{} over WireGuard to {}",
        encap.to_uppercase(),
        there.underlay()
    );
    assert!(explained.text().contains(&expected), "{}", explained.text());
    for site in [here, there] {
        assert_eq!(
            fabric.router(site).dropped("encap-missing"),
            0,
            "{}",
            site.name()
        );
    }
}

fn wan(fabric: &Fabric) -> Capture {
    let router = fabric.topology.router(Site::AWS);
    Capture::start(router, "wan0", "not arp", &fabric.path("wan.pcap"))
}

/// Sizes around the tunnel's MTU and bulk transfers, both ways.
fn passes(fabric: &Fabric, mtu: usize) {
    let (here, there) = (Site::ONPREM, Site::AWS);
    let client = fabric.topology.client(here);
    for (from, to) in [(here, there), (there, here)] {
        wait_for_ping(fabric.topology.client(from), to.client(), PATIENCE);
    }

    let ping = |size: usize| {
        let size = size - HEADERS;
        sh(
            client,
            &format!("ping -n -c 1 -W 2 -M do -s {size} {}", there.client()),
        )
    };
    ping(mtu).success();
    let refused = ping(mtu + 1);
    let expected = format!("From {GATEWAY} icmp_seq=1 Frag needed and DF set (mtu = {mtu})");
    assert!(refused.text().contains(&expected), "{}", refused.text());
    let long = format!("ping -n -c 1 -W 2 -M dont -s 3000 {}", there.client());
    sh(client, &long).success();

    for (from, to) in [(here, there), (there, here)] {
        assert!(bulk(fabric, from, to) == BULK, "not all bytes arrived");
    }
}

/// Views and doctor know the tunnel, after [`passes`].
fn is_shown(fabric: &Fabric, encap: &str, mtu: usize) {
    let (here, there) = (Site::ONPREM, Site::AWS);
    let row = tunnel(fabric, here, there);
    assert_eq!(
        (row["encap"].as_str(), row["up"].as_bool()),
        (Some(encap), Some(true))
    );
    assert_eq!(row["mtu"], mtu);
    let far = tunnel(fabric, there, here);
    for (row, end) in [(&row, here), (&far, there)] {
        is_counted(row, end);
    }
    let doctor = fabric.router(here).json("doctor");
    let checks = doctor["checks"].as_array().cloned().unwrap_or_default();
    let tunnel_checks = checks.iter().filter(|check| check["area"] == "tunnel");
    for check in tunnel_checks {
        assert_eq!(check["status"], "pass", "{check}");
    }
}

/// The row of a tunnel after bulk transfers both ways: at least the payload is counted, in packets that fit.
fn is_counted(row: &Value, end: Site) {
    let number = |key: &str| row[key].as_u64().unwrap_or_default();
    for way in ["rx", "tx"] {
        let (packets, bytes) = (
            number(&format!("{way}_packets")),
            number(&format!("{way}_bytes")),
        );
        let (least, most) = (BULK as u64, packets * number("mtu"));
        assert!(
            (least..=most).contains(&bytes),
            "{} {way}: {row}",
            end.name()
        );
    }
    let heard = row["last_received_s"].as_f64();
    assert!(heard.is_some_and(|age| age < 10.0), "{}: {row}", end.name());
}

/// A router whose packets come from another address is not heard, and heard again when it has its own back.
fn strangers_are_not_heard(fabric: &Fabric) {
    let (here, there) = (Site::ONPREM, Site::AWS);
    let (router, client) = (fabric.topology.router(here), fabric.topology.client(here));
    let before = fabric.router(there).dropped(STRANGER);
    // Without the address of its endpoint it sends with what it has.
    let readdress = |from: &str, to: &str| {
        let command =
            format!("ip address delete {from}/24 dev wan0 && ip address add {to}/24 dev wan0");
        sh(router, &command).success();
    };
    let (own, other) = (here.underlay().to_string(), "203.0.113.99");
    readdress(&own, other);

    let ping = format!("ping -n -c 2 -i 0.2 -W 1 {}", there.client());
    assert_ne!(sh(client, &ping).code, 0, "a stranger was heard");
    wait_until("the refusals are counted", PATIENCE, || {
        fabric.router(there).dropped(STRANGER) >= before + 2
    });

    readdress(other, &own);
    wait_for_ping(client, there.client(), PATIENCE);
}

/// The far router knows ours by its endpoint, which is not the address that the kernel would choose.
fn secondary_address() {
    for transport in ["encap: gue", "encap: gre", "encap: ipip"] {
        let mut fabric = Fabric::new(samctl(), 2);
        configure(&fabric, &format!("{transport}, trustedUnderlay: true"));
        let (here, there) = (Site::ONPREM, Site::AWS);
        let add = "ip address add 203.0.113.99/24 dev wan0";
        sh(fabric.topology.router(here), add).success();
        let endpoint = format!("{}:51820", here.underlay());
        fabric.edit_all(&endpoint, "203.0.113.99:51820");
        fabric.start_all();

        wait_for_ping(fabric.topology.client(here), there.client(), PATIENCE);
        assert!(bulk(&fabric, here, there) == BULK, "not all bytes arrived");
        assert_eq!(fabric.router(there).dropped(STRANGER), 0, "{transport}");
    }
}

/// ```text
///   onprem ══ wireguard ══ aws        onprem ══ gue ══ azure        aws ══ wireguard ══ azure
/// ```
fn pair() {
    let mut fabric = Fabric::new(samctl(), 3);
    let pairs = "  pairs:\n    - {nodes: [azure, onprem], transport: {encap: gue, trustedUnderlay: true}}\n  bgp:";
    fabric.edit_all("  bgp:", pairs);
    fabric.start_all();
    for (from, to, encap) in [
        (Site::ONPREM, Site::AWS, "wireguard"),
        (Site::ONPREM, Site::AZURE, "gue"),
        (Site::AZURE, Site::ONPREM, "gue"),
        (Site::AZURE, Site::AWS, "wireguard"),
    ] {
        wait_for_ping(fabric.topology.client(from), to.client(), PATIENCE);
        let row = tunnel(&fabric, from, to);
        assert_eq!(row["encap"], encap, "{} to {}", from.name(), to.name());
        assert_eq!(row["up"], true, "{} to {}", from.name(), to.name());
        assert_eq!(row["last_handshake_s"].is_null(), encap == "gue");
    }
}

/// The host's route to the far end leads into the TUN device for a while: the tunnel is refused, and comes back.
fn routed_into_itself(transport: &str) {
    let fabric = running(2, transport);
    let (here, there) = (Site::ONPREM, Site::AWS);
    let (client, namespace) = (fabric.topology.client(here), fabric.topology.router(here));
    wait_for_ping(client, there.client(), PATIENCE);
    let router = fabric.router(here);
    let mtu = tunnel(&fabric, here, there)["mtu"].clone();
    let route = |verb: &str| {
        let command = format!("ip route {verb} {}/32 dev sam0", there.underlay());
        sh(namespace, &command).success();
    };

    route("add");
    wait_until("the tunnel is refused", PATIENCE, || {
        tunnel(&fabric, here, there)["fault"] == "routed-into-itself"
    });

    let row = tunnel(&fabric, here, there);
    assert_eq!((&row["up"], &row["mtu"]), (&false.into(), &mtu));
    let shown = router.samctl("tunnels").success();
    assert!(shown.contains("refused (routed-into-itself)"), "{shown}");
    let explained = router.samctl(&format!("explain {}", there.client()));
    let expected = format!("lives at {}, but the tunnel there is refused", there.name());
    assert!(explained.text().contains(&expected), "{}", explained.text());
    let doctor = router.samctl("doctor tunnel");
    assert_eq!(doctor.code, 5, "{}", doctor.text());
    let remedy = format!(
        "`ip route get {}` must not say `dev sam0`",
        there.underlay()
    );
    assert!(doctor.text().contains(&remedy), "{}", doctor.text());
    let pinged = sh(client, &format!("ping -n -c 1 -W 2 {}", there.client()));
    // An ICMP error, or nothing once BFD found the node silent and the address is withheld.
    assert!(
        pinged.text().contains("100% packet loss"),
        "{}",
        pinged.text()
    );

    route("delete");
    wait_for_ping(client, there.client(), 2 * PATIENCE);
    let row = tunnel(&fabric, here, there);
    assert_eq!((&row["up"], &row["fault"]), (&true.into(), &Value::Null));
    let events = router.json("events");
    let told: Vec<&Value> = events
        .as_array()
        .into_iter()
        .flatten()
        .filter(|event| event["event"] == "tunnel-fault")
        .map(|event| &event["reason"])
        .collect();
    assert_eq!(
        told,
        [&"routed-into-itself".into(), &Value::Null],
        "{events}"
    );
}

/// The overhead is 20 bytes more than over IPv4.
fn ipv6() {
    for (transport, mtu) in [
        ("encap: gue", 1452),
        ("encap: gre, key: 7", 1452),
        ("encap: ipip", 1460),
        ("encap: vxlan, vni: 77", 1430),
    ] {
        let mut fabric = Fabric::new(samctl(), 2);
        configure(&fabric, &format!("{transport}, trustedUnderlay: true"));
        for site in [Site::ONPREM, Site::AWS] {
            let address = format!("2001:db8::{}", site.number());
            let command = format!("ip address add {address}/64 dev wan0 nodad");
            sh(fabric.topology.router(site), &command).success();
            let endpoint = format!("{}:51820", site.underlay());
            fabric.edit_all(&endpoint, &format!("[{address}]:51820"));
        }
        fabric.start_all();
        let (here, there) = (Site::ONPREM, Site::AWS);
        let client = fabric.topology.client(here);
        wait_for_ping(client, there.client(), PATIENCE);
        let ping = |size: usize| {
            let size = size - HEADERS;
            sh(
                client,
                &format!("ping -n -c 1 -W 2 -M do -s {size} {}", there.client()),
            )
        };
        ping(mtu).success();
        assert!(
            ping(mtu + 1).text().contains(&format!("(mtu = {mtu})")),
            "{transport}"
        );
        assert!(bulk(&fabric, here, there) == BULK, "not all bytes arrived");
    }
}

/// Starts routers that use a transport.
fn running(sites: u8, transport: &str) -> Fabric {
    let mut fabric = Fabric::new(samctl(), sites);
    configure(&fabric, transport);
    fabric.start_all();
    fabric
}

fn configure(fabric: &Fabric, transport: &str) {
    let line = format!("  transport: {{{transport}}}\n  bgp:");
    fabric.edit_all("  bgp:", &line);
}

/// Sends bytes from one client to another and compares them there; returns how many were right.
fn bulk(fabric: &Fabric, from: Site, to: Site) -> usize {
    let (near, far) = (fabric.topology.client(from), fabric.topology.client(to));
    let listener = far
        .enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7000)))
        .expect("the namespace can be entered")
        .expect("the port is free");
    let target = to.client();
    let mut sender = near
        .enter(|| TcpStream::connect_timeout(&(target, 7000).into(), PATIENCE))
        .expect("the namespace can be entered")
        .expect("the far client answers");
    let (mut receiver, source) = listener.accept().expect("connected");
    assert_eq!(source.ip(), from.client(), "the source is kept");
    receiver.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let sending = std::thread::spawn(move || {
        sender.write_all(&pattern())?;
        sender.shutdown(Shutdown::Write)
    });
    let mut received = Vec::with_capacity(BULK);
    receiver.read_to_end(&mut received).expect("no stall");
    sending.join().expect("no panic").expect("all was sent");
    let expected = pattern();
    received
        .iter()
        .zip(&expected)
        .take_while(|(one, other)| one == other)
        .count()
}

/// Bytes that do not repeat within any packet.
fn pattern() -> Vec<u8> {
    let mut state = 1_u32;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(step).take(BULK).collect()
}

fn tunnel(fabric: &Fabric, at: Site, to: Site) -> Value {
    let view = fabric.router(at).json("tunnels");
    let rows = view["tunnels"].as_array().cloned().unwrap_or_default();
    let mut rows = rows.into_iter();
    rows.find(|row| row["node"]["name"] == to.name())
        .unwrap_or_default()
}
