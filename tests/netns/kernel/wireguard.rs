//! WireGuard with the kernel: who calls, preshared keys, renewal, moving, cookies, wrong keys.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use sam_testkit::netns::{Capture, Packets, Site, sh, wait_until};
use sam_wg::PrivateKey;

use super::exchange;
use super::flood::{Pace, STRANGE, Stranger, Victim};
use super::site::{KERNEL, KernelSite, OFFLOADS, WAN_MAC};

/// The site whose router calls the kernel, and never the other way: the kernel does not know where it is.
const CALLER: Site = Site::ONPREM;
/// The site that the kernel calls: its router does not know where the kernel is.
const CALLED: Site = Site::AZURE;
const SITES: [Site; 2] = [CALLER, CALLED];
/// Underlay 1500 less 60 of WireGuard over IPv4.
const MTU: usize = 1440;
/// Emulated cryptography makes about 1 MB/s.
const BULK: usize = 1 << 20;
/// WireGuard paper, section 6.1.
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Between packets while a session grows old.
const PACE: Duration = Duration::from_millis(200);
/// A new handshake, or 15 s until silence is noticed and then one.
const RECOVERY: Duration = Duration::from_secs(60);

/// ```text
///   .10 ── router onprem ──calls──► ┌────────┐
///                                   │ kernel │ ── .11
///   .12 ── router azure ◄──calls─── └────────┘
/// ```
pub(super) fn both_roles() {
    let world = connected();
    let start = Instant::now();
    for offload in OFFLOADS {
        world.leave_checksums_to_cards(offload);
        for site in SITES {
            exchange::everything(&world, site, MTU, BULK);
        }
    }
    for site in SITES {
        assert_eq!(world.tunnel(site)["preshared_key"], true);
        assert_eq!(world.tunnel(site)["up"], true);
    }

    let before = SITES.map(|site| handshakes(&world, site));
    let end = start + REKEY_AFTER_TIME + RECOVERY;
    while std::iter::zip(SITES, before).any(|(site, count)| handshakes(&world, site) <= count) {
        assert!(Instant::now() < end, "a session is not renewed");
        for site in SITES {
            exchange::nothing_is_lost(&world, site);
        }
        std::thread::sleep(PACE);
    }
    for site in SITES {
        exchange::pings(&world, site);
        let verb = format!("bgp neighbor {}", KERNEL.name());
        let neighbor = world.fabric.router(site).json(&verb);
        assert_eq!(neighbor["established_count"], 1, "{neighbor}");
    }
}

/// As [`both_roles`], and a stranger on the WAN.
pub(super) fn troubles() {
    let mut world = connected();
    for site in SITES {
        exchange::pings(&world, site);
    }
    the_kernel_moves(&world);
    we_move(&world);
    the_kernel_pays(&mut world);
    we_pay(&mut world);
    wrong_keys(&mut world);
}

/// Its port changes, as behind a NAT that forgot.
fn the_kernel_moves(world: &KernelSite) {
    world.guest.order("wg set t0 listen-port 40404");
    for site in SITES {
        exchange::pings(world, site);
        let moved = format!("{}:40404", KERNEL.underlay());
        wait_until("samctl follows and counts it", RECOVERY, || {
            let row = world.tunnel(site);
            row["endpoint"] == moved && row["roams"].as_u64() > Some(0)
        });
    }
    world.guest.order("wg set t0 listen-port 51820");
    for site in SITES {
        exchange::pings(world, site);
    }
}

/// The address of our router changes: the kernel follows, because samctl goes on sending.
fn we_move(world: &KernelSite) {
    let router = world.fabric.topology.router(CALLER);
    let home = CALLER.underlay().to_string();
    for (from, to) in [(home.as_str(), "203.0.113.211"), ("203.0.113.211", &home)] {
        // With the first address of a subnet the kernel takes the others away too.
        let change = format!(
            "ip address add {to}/24 dev wan0; ip address delete {from}/24 dev wan0; \
             ip address replace {to}/24 dev wan0"
        );
        sh(router, &change).success();
        exchange::pings(world, CALLER);
        let seen = world.guest.order("wg show t0 endpoints");
        assert!(seen.contains(&format!("{to}:51820")), "{seen}");
    }
}

/// A router of ours is under load, and the kernel calls: it must take our cookie and send it back.
fn the_kernel_pays(world: &mut KernelSite) {
    let mac = world.wan_mac(CALLED);
    let victim = Victim {
        address: CALLED.underlay(),
        mac: &mac,
        key: world.key(CALLED).public(),
    };
    with_cookie(world, CALLED, KERNEL, |world| {
        let calls = || {
            let before = handshakes(world, CALLED);
            forget(world, CALLED);
            introduce(world, CALLED, &format!("/tmp/{}.psk", CALLED.name()));
            wait_until("the kernel gets a session", RECOVERY, || {
                handshakes(world, CALLED) > before
            });
        };
        // In disguise, because samctl is under load from one address and not from another.
        let stranger = Stranger::arrive(&world.fabric, KERNEL.underlay());
        stranger.while_flooding(&victim, &Pace::STEADY, calls);
    });
    assert!(world.drops(CALLED, "wg-under-load") > 0);
    exchange::pings(world, CALLED);
}

/// The kernel is under load, and we call: we must take its cookie and send it back.
fn we_pay(world: &mut KernelSite) {
    let victim = Victim {
        address: KERNEL.underlay(),
        mac: WAN_MAC,
        key: world.key(KERNEL).public(),
    };
    with_cookie(world, CALLER, CALLER, |world| {
        let stranger = Stranger::arrive(&world.fabric, STRANGE);
        let calls = || {
            world.fabric.stop(CALLER);
            world.fabric.start(CALLER);
            wait_until("samctl gets a session", RECOVERY, || {
                handshakes(world, CALLER) > 0
            });
        };
        stranger.while_flooding(&victim, &Pace::BURSTS, calls);
    });
    exchange::pings(world, CALLER);
}

/// Repeats what makes `caller` call, until that was refused at first and answered only with a cookie: a flood needs a
/// moment to be a load.
fn with_cookie(
    world: &mut KernelSite,
    seen_by: Site,
    caller: Site,
    mut calls: impl FnMut(&mut KernelSite),
) {
    const ROUNDS: u8 = 3;
    let own_ports = "udp src port 51820 and udp dst port 51820";
    for round in 0..ROUNDS {
        let file = format!("cookie-{}-{round}.pcap", caller.name());
        let router = world.fabric.topology.router(seen_by);
        let wan = Capture::start(router, "wan0", own_ports, &world.fabric.path(&file));
        calls(world);
        if has_paid(&wan.stop(), caller) {
            return;
        }
    }
    panic!("{} never had to show a cookie", caller.name());
}

/// There is a cookie reply to the caller, and a call of his with a cookie (mac2).
fn has_paid(packets: &Packets, caller: Site) -> bool {
    let address = caller.underlay();
    let asked = packets.count(&format!("wg.type == 3 && ip.dst == {address}"));
    let calls = packets.fields(
        &format!("wg.type == 1 && ip.src == {address}"),
        &["wg.mac2"],
    );
    let proven = |call: &Vec<String>| call[0].contains(|digit: char| digit != '0');
    asked > 0 && calls.iter().any(proven)
}

/// The kernel has another preshared key, and then another key than the fabric knows.
fn wrong_keys(world: &mut KernelSite) {
    world.guest.write("/tmp/wrong", &random_key());
    for site in SITES {
        forget(world, site);
        introduce(world, site, "/tmp/wrong");
    }
    world.fabric.stop(CALLER);
    world.fabric.start(CALLER);
    wait_until("responses are refused", RECOVERY, || {
        world.drops(CALLER, "wg-handshake-rejected") >= 2
    });
    for site in SITES {
        exchange::silence(world, site);
    }

    for site in SITES {
        forget(world, site);
        introduce(world, site, &format!("/tmp/{}.psk", site.name()));
    }
    world.guest.order("wg set t0 private-key /tmp/wrong");
    wait_until("an unknown key is refused", RECOVERY, || {
        world.drops(CALLED, "wg-unknown-peer") >= 1
    });
    for site in SITES {
        exchange::silence(world, site);
    }
}

/// Both routers of ours and the kernel with preshared keys; packets pass.
fn connected() -> KernelSite {
    let mut world = KernelSite::boot(3);
    let endpoint = format!("endpoint: \"{}:51820\", ", KERNEL.underlay());
    world.fabric.edit(CALLED, &endpoint, "");
    world
        .guest
        .write("/tmp/key", &world.key(KERNEL).to_base64());
    world
        .guest
        .order("ip link add t0 type wireguard && wg set t0 listen-port 51820 private-key /tmp/key");
    for site in SITES {
        let (name, key) = (site.name(), random_key());
        world.fabric.write_secret(&format!("{name}.psk"), &key);
        let line = format!(
            "\n  presharedKeyFiles: {{{}: {name}.psk}}\n  capture",
            KERNEL.name()
        );
        world.fabric.edit(site, "\n  capture", &line);
        let file = format!("/tmp/{name}.psk");
        world.guest.write(&file, &key);
        introduce(&world, site, &file);
    }
    world.route_by_tunnel(MTU);
    for site in SITES {
        world.start(site);
    }
    world
}

/// Makes a router of ours a peer of the kernel, with a preshared key in a file; the kernel calls one of them at once.
fn introduce(world: &KernelSite, site: Site, preshared: &str) {
    let calls = if site == CALLED {
        format!("endpoint {}:51820 persistent-keepalive 25", site.underlay())
    } else {
        String::new()
    };
    world.guest.order(&format!(
        "wg set t0 peer {} preshared-key {preshared} allowed-ips {}/32,{}/32 {calls}",
        world.key(site).public(),
        site.overlay(),
        site.client(),
    ));
}

/// The kernel loses a peer with its sessions.
fn forget(world: &KernelSite, site: Site) {
    let key = world.key(site).public();
    world.guest.order(&format!("wg set t0 peer {key} remove"));
}

fn handshakes(world: &KernelSite, at: Site) -> u64 {
    let row = world.tunnel(at);
    row["handshakes"].as_u64().unwrap_or_default()
}

fn random_key() -> String {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("/dev/urandom is readable");
    PrivateKey::generate(bytes).to_base64().to_string()
}
