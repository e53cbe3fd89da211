//! GRE and GUE of the kernel over its WireGuard device, and ours inside of WireGuard; WireGuard over IPv6, both calling.

use std::net::{Ipv4Addr, Ipv6Addr};

use sam_testkit::netns::Site;

use super::exchange;
use super::site::{KERNEL, KernelSite, OFFLOADS};
use super::transports::silence_counted;

/// The site with a router of ours.
const OURS: Site = Site::ONPREM;
/// Underlay 1500 less 60 of WireGuard over IPv4, and less 80 over IPv6.
const WIREGUARD_MTU: usize = 1440;
const WIREGUARD_MTU_IPV6: usize = 1420;
/// Emulated cryptography makes about 1 MB/s.
const BULK: usize = 1 << 20;
const BULK_IPV6: usize = 1 << 18;

/// In samctl's configuration; arguments of `ip link add g0 type`; largest inner packet.
type Kind = (&'static str, &'static str, usize);

const KINDS: &[Kind] = &[
    ("encap: gre, over: wireguard", "gre", 1416),
    (
        "encap: gre, over: wireguard, key: 42, checksum: true",
        "gre key 42 csum",
        1408,
    ),
    (
        "encap: gue, over: wireguard, variant: 0",
        "ipip encap gue encap-sport auto encap-dport 6080",
        1408,
    ),
    // The kernel understands variant 1 and sends variant 0, which is 4 bytes longer.
    (
        "encap: gue, over: wireguard, mtu: 1408",
        "ipip encap gue encap-sport auto encap-dport 6080 encap-csum",
        1408,
    ),
];
const KINDS_IPV6: &[Kind] = &[
    (
        "encap: gre, over: wireguard, key: 42, checksum: true",
        "gre key 42 csum",
        1388,
    ),
    (
        "encap: gue, over: wireguard, variant: 0",
        "ipip encap gue encap-sport auto encap-dport 6080",
        1388,
    ),
];

/// ```text
///   .10 ── router onprem ══ GRE, GUE in WireGuard ══ g0 over t0, kernel ── .11
/// ```
/// The kernel's WireGuard device lets overlay addresses pass only: it would drop what is not framed.
pub(super) fn everything() {
    let mut world = KernelSite::boot(2);
    let key = world.key(KERNEL).to_base64();
    world.guest.write("/tmp/key", &key);
    world.guest.order(
        "ip link add t0 type wireguard && wg set t0 listen-port 51820 private-key /tmp/key
         modprobe fou && ip fou add port 6080 gue",
    );
    admit(&world, &[OURS.overlay()]);
    world.route_by_tunnel(WIREGUARD_MTU);
    let mut line = "  bgp:".to_owned();
    for kind in KINDS {
        passes(&mut world, &mut line, kind, BULK);
    }
    let theirs = move_to_ipv6(&mut world);
    for kind in KINDS_IPV6 {
        passes(&mut world, &mut line, kind, BULK_IPV6);
        assert_is_over_ipv6(&world);
    }

    // Without the device in between, although the kernel's WireGuard lets the client's address pass.
    admit(&world, &[OURS.overlay(), OURS.client()]);
    let (client, overlay) = (OURS.client(), OURS.overlay());
    world.guest.order(&format!(
        "ip route replace {client}/32 via {overlay} dev t0 onlink"
    ));
    silence_counted(&world, "encap-missing");
    choose(&mut world, &mut line, "encap: wireguard");
    exchange_twice(&world, WIREGUARD_MTU_IPV6, BULK_IPV6);
    assert_is_over_ipv6(&world);
    the_kernel_calls(&mut world, theirs);
}

/// Moves the WireGuard tunnel to IPv6, by the word of both ends. A kernel that still knew our IPv4 endpoint could be the
/// first to speak, and our router would follow it there. No router of ours runs meanwhile, for the same reason. Returns
/// the kernel's address.
fn move_to_ipv6(world: &mut KernelSite) -> Ipv6Addr {
    world.fabric.stop(OURS);
    let [ours, theirs] = world.number_ipv6(OURS);
    let key = world.key(OURS).public();
    world.guest.order(&format!(
        "ip link set t0 mtu {WIREGUARD_MTU_IPV6} && wg set t0 peer {key} endpoint [{ours}]:51820"
    ));
    theirs
}

/// Starts our router without the kernel's endpoint: it cannot begin, and answers by IPv6 who does.
fn the_kernel_calls(world: &mut KernelSite, theirs: Ipv6Addr) {
    let endpoint = format!("endpoint: \"[{theirs}]:51820\", ");
    world.fabric.edit(OURS, &endpoint, "");
    world.start(OURS);
    exchange::pings(world, OURS);
    assert_is_over_ipv6(world);
}

/// Asserts that our router and the kernel both send to an IPv6 endpoint.
fn assert_is_over_ipv6(world: &KernelSite) {
    let tunnel = world.tunnel(OURS);
    let endpoint = tunnel["endpoint"].as_str().unwrap_or_default();
    assert!(endpoint.starts_with("[2001:db8:"), "{tunnel}");
    let theirs = world.guest.order("wg show t0 endpoints");
    assert!(theirs.contains("[2001:db8:"), "{theirs}");
}

/// Tries one kind of tunnel.
fn passes(world: &mut KernelSite, line: &mut String, &(ours, theirs, mtu): &Kind, bytes: usize) {
    make_tunnel(world, theirs, mtu);
    choose(world, line, ours);
    exchange_twice(world, mtu, bytes);
    assert_eq!(world.drops(OURS, "encap-missing"), 0, "{ours}");
    assert_eq!(world.tunnel(OURS)["mtu"], mtu, "{ours}");
}

/// Starts our router with another transport; `line` is what its configuration says.
fn choose(world: &mut KernelSite, line: &mut String, ours: &str) {
    let next = format!("  transport: {{{ours}}}\n  bgp:");
    world.fabric.edit(OURS, line, &next);
    *line = next;
    world.start(OURS);
}

/// Exchanges everything, with both settings of checksum offload.
fn exchange_twice(world: &KernelSite, mtu: usize, bytes: usize) {
    for offload in OFFLOADS {
        world.leave_checksums_to_cards(offload);
        exchange::everything(world, OURS, mtu, bytes);
    }
}

/// Says which addresses pass the kernel's WireGuard device.
fn admit(world: &KernelSite, addresses: &[Ipv4Addr]) {
    let key = world.key(OURS).public();
    let allowed: Vec<String> = addresses.iter().map(|one| format!("{one}/32")).collect();
    let allowed = allowed.join(",");
    world
        .guest
        .order(&format!("wg set t0 peer {key} allowed-ips {allowed}"));
}

/// Makes the kernel's device over its WireGuard device, and sends what is for our client there.
fn make_tunnel(world: &KernelSite, kind: &str, mtu: usize) {
    let (own, far, client) = (KERNEL.overlay(), OURS.overlay(), OURS.client());
    world.guest.order(&format!(
        "ip link show g0 2> /dev/null && ip link delete g0
         ip link add g0 type {kind} local {own} remote {far} ttl 64 && ip link set g0 mtu {mtu} up &&
         ip route replace {client}/32 dev g0"
    ));
}
