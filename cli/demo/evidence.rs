//! Claims about the demo and what was seen of each; names are those of the acceptance catalogue.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use sam_net::Netlink;

use super::Witnesses;
use super::lab::{Lab, SITES};
use super::report::Report;
use super::routers::Routers;
use super::server::PORT;

/// A destination outside the subnet: its route is the client's default route.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const TCP: u8 = 6;
const UDP: u8 = 17;
const WIREGUARD: u16 = 51820;

/// Returns every client's default gateway.
///
/// # Errors
/// When a client cannot be asked.
pub(super) fn default_gateways(lab: &Lab) -> Result<Vec<Option<IpAddr>>> {
    lab.clients
        .iter()
        .map(|client| {
            client.enter(|| -> Result<Option<IpAddr>> {
                let answer = Netlink::open()?.route_to(IpAddr::V4(ELSEWHERE));
                Ok(answer.context("the client has no default route")?.gateway)
            })?
        })
        .collect()
}

/// Fills in every claim but those about the move.
pub(super) fn collect(
    lab: &Lab,
    routers: &Routers,
    witnesses: &Witnesses,
    gateways_before: &[Option<IpAddr>],
    report: &mut Report,
) {
    let (passed, total) = (report.flows.passed, report.flows.list.len());
    report.claim(
        "directed_ping_ssh_matrix",
        passed == total && total == 12,
        format!("{passed} of {total} directed flows"),
    );
    sources(witnesses, report);
    gateways(lab, gateways_before, report);
    wan(witnesses, report);
    hosts(lab, report);
    sessions(routers, report);
}

/// Source addresses as packets carried them at the far client, seen by a packet socket there.
fn sources(witnesses: &Witnesses, report: &mut Report) {
    let mut preserved = 0;
    let mut foreign = Vec::new();
    for (to, witness) in SITES.iter().zip(&witnesses.clients) {
        let seen = witness.seen();
        let arrived = |from: Ipv4Addr| seen.contains_key(&(from, to.client(), TCP, PORT));
        preserved += SITES
            .iter()
            .filter(|from| *from != to && arrived(from.client()))
            .count();
        foreign.extend(
            seen.keys()
                .filter(|(from, destination, protocol, port)| {
                    (*protocol, *port) == (TCP, PORT)
                        && (*destination != to.client()
                            || !SITES.iter().any(|site| site.client() == *from))
                })
                .map(|(from, _, _, _)| *from),
        );
    }
    report.claim(
        "source_ip_preserved",
        preserved == 12,
        format!("{preserved} of 12 flows captured at the far client with the real source"),
    );
    report.claim(
        "no_nat",
        foreign.is_empty(),
        if foreign.is_empty() {
            "no captured packet carried another address".to_owned()
        } else {
            format!("foreign addresses captured: {foreign:?}")
        },
    );
}

fn gateways(lab: &Lab, before: &[Option<IpAddr>], report: &mut Report) {
    let after = default_gateways(lab);
    let same = after.as_ref().is_ok_and(|after| after == before);
    report.claim(
        "default_gateway_unchanged",
        same,
        match before.first() {
            Some(Some(gateway)) if same => format!("{gateway} at all clients, before and after"),
            _ => "a client's default gateway differs".to_owned(),
        },
    );
}

/// What crossed the WAN: WireGuard between routers, and nothing of the shared subnet in clear.
fn wan(witnesses: &Witnesses, report: &mut Report) {
    let (mut outer, mut clear) = (0_u64, 0_u64);
    for witness in &witnesses.wans {
        for ((from, to, protocol, port), count) in witness.seen() {
            let inner = |address: Ipv4Addr| address.octets()[..3] == [10, 77, 60];
            if (protocol, port) == (UDP, WIREGUARD) {
                outer += count;
            } else if inner(from) || inner(to) {
                clear += count;
            }
        }
    }
    let inner: u64 = witnesses
        .clients
        .iter()
        .flat_map(|witness| witness.seen())
        .filter(|((_, _, protocol, _), _)| *protocol == TCP)
        .map(|(_, count)| count)
        .sum();
    report.claim(
        "inner_and_outer_seen",
        outer > 0 && inner > 0,
        format!("{outer} WireGuard datagrams on the WAN, {inner} TCP packets at the clients"),
    );
    report.claim(
        "nothing_in_clear_on_wan",
        clear == 0,
        format!("{clear} packets of 10.77.60.0/24 outside the tunnels"),
    );
}

/// What the routers' kernels do: nothing.
fn hosts(lab: &Lab, report: &mut Report) {
    let seen: Vec<Kernel> = lab.routers.iter().filter_map(kernel).collect();
    let asked = seen.len() == lab.routers.len();
    let forwarding = seen.iter().filter(|kernel| kernel.ip_forward != 0).count();
    let mut kinds: Vec<&str> = seen
        .iter()
        .flat_map(|kernel| kernel.links.iter().map(String::as_str))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    report.claim(
        "ip_forward_disabled",
        asked && forwarding == 0,
        format!(
            "net.ipv4.ip_forward is 0 in {} of {} routers",
            seen.len() - forwarding,
            lab.routers.len()
        ),
    );
    // The TUN device must be among them: an empty list would prove nothing.
    report.claim(
        "no_kernel_tunnel",
        asked && kinds == ["tun", "veth"],
        format!("kinds of links in the routers: {}", kinds.join(", ")),
    );
}

/// What a router's kernel does and has.
struct Kernel {
    ip_forward: i64,
    links: Vec<String>,
}

fn kernel(router: &sam_net::Namespace) -> Option<Kernel> {
    let seen = router.enter(|| {
        let ip_forward = sam_net::sysctl::read("ipv4/ip_forward").ok()?;
        let links = Netlink::open().and_then(|mut netlink| netlink.links());
        let links = links.ok()?.into_iter().filter_map(|link| link.kind);
        Some(Kernel {
            ip_forward,
            links: links.collect(),
        })
    });
    seen.ok().flatten()
}

fn sessions(routers: &Routers, report: &mut Report) {
    let healthy = SITES
        .iter()
        .filter_map(|site| super::ask::get(&routers.socket(*site), "/v1/doctor").ok())
        .filter(|view| view["overall"] != "fail")
        .count();
    report.claim(
        "doctor_clean",
        healthy == 4,
        format!("{healthy} of 4 routers find no failure"),
    );
}

/// Fills in the claims about the move.
pub(super) fn judge_move(lab: &Lab, report: &mut Report) {
    let moved = report.r#move.clone();
    report.claim(
        "address_move_followed",
        moved.lost_ms < 1000.0,
        format!("{:.0} ms without an answer", moved.lost_ms),
    );
    report.claim(
        "tcp_survives_move",
        moved.tcp_survived,
        "a connection opened before the move went on after it".to_owned(),
    );
    let from_elsewhere = super::Session::open(&lab.clients[2], SITES[3].client());
    report.claim(
        "moved_address_reached_by_third_site",
        from_elsewhere.is_ok_and(|session| session.seen == SITES[2].client().to_string()),
        "azure connects to the moved address".to_owned(),
    );
}
