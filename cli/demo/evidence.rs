//! Claims about the demo and what was seen of each; names are those of the acceptance catalogue.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use sam_net::{Namespace, Netlink};

use super::flows;
use super::lab::Lab;
use super::report::Report;
use super::running::Running;
use super::server::{PORT, Session};
use super::sites::{GUEST, Router, Site};
use super::witness::Witness;

/// A destination outside the subnet: its route is the client's default route.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const TCP: u8 = 6;
const UDP: u8 = 17;
const WIREGUARD: u16 = 51820;

/// Packet sockets at all clients and at all WAN ports.
#[derive(Debug)]
pub(super) struct Witnesses {
    clients: Vec<Witness>,
    wans: Vec<Witness>,
}

impl Witnesses {
    /// Begins to watch.
    ///
    /// # Errors
    /// When an interface cannot be opened.
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let clients = lab.clients().iter();
        let clients = clients.map(|client| Witness::start(client, "eth0"));
        let wans = Router::all().map(|router| Witness::start(lab.router(router), "wan0"));
        Ok(Self {
            clients: clients.collect::<Result<_>>()?,
            wans: wans.collect::<Result<_>>()?,
        })
    }
}

/// Returns every client's default gateway.
///
/// # Errors
/// When a client cannot be asked.
pub(super) fn default_gateways(lab: &Lab) -> Result<Vec<Option<IpAddr>>> {
    lab.clients()
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
    running: &Running,
    witnesses: &Witnesses,
    gateways_before: &[Option<IpAddr>],
    report: &mut Report,
) {
    let passed = report.flows.passed;
    report.claim(
        "directed_ping_ssh_matrix",
        passed == flows::ALL && report.flows.failed == 0,
        format!("{passed} of {} directed flows", flows::ALL),
    );
    sources(witnesses, report);
    gateways(&running.lab, gateways_before, report);
    captures(running, report);
    wan(witnesses, report);
    hosts(&running.lab, report);
    doctors(running, report);
}

/// Source addresses as packets carried them at the far client, seen by a packet socket there.
fn sources(witnesses: &Witnesses, report: &mut Report) {
    let mut preserved = 0;
    let mut foreign = Vec::new();
    for (to, witness) in Site::ALL.iter().zip(&witnesses.clients) {
        let seen = witness.seen();
        let arrived = |from: Ipv4Addr| seen.contains_key(&(from, to.client(), TCP, PORT));
        preserved += Site::ALL
            .iter()
            .filter(|from| *from != to && arrived(from.client()))
            .count();
        foreign.extend(
            seen.keys()
                .filter(|(from, destination, protocol, port)| {
                    (*protocol, *port) == (TCP, PORT)
                        && (*destination != to.client()
                            || !Site::ALL.iter().any(|site| site.client() == *from))
                })
                .map(|(from, _, _, _)| *from),
        );
    }
    report.claim(
        "source_ip_preserved",
        preserved == flows::ALL,
        format!(
            "{preserved} of {} flows captured at the far client with the real source",
            flows::ALL
        ),
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
    let (same, text) = same_gateways(lab, before);
    report.claim("default_gateway_unchanged", same, text);
}

/// Tells whether the clients' default gateways are what they were, and in words.
pub(super) fn same_gateways(lab: &Lab, before: &[Option<IpAddr>]) -> (bool, String) {
    let after = default_gateways(lab);
    let same = after.is_ok_and(|after| after == before);
    if !same {
        return (false, "a client's default gateway differs".to_owned());
    }
    let mut gateways: Vec<String> = before.iter().flatten().map(IpAddr::to_string).collect();
    gateways.sort_unstable();
    gateways.dedup();
    let text = format!("{} at the clients, before and after", gateways.join(", "));
    (true, text)
}

/// What leads packets to the routers: one answers on the LAN, and at each provider one holds the addresses.
fn captures(running: &Running, report: &mut Report) {
    let master = running.routers.master();
    let active = Site::CLOUDS.map(|site| running.cloud.holder(site, Site::Onprem.client()));
    let held: usize = Router::all()
        .map(|router| running.cloud.captured(router).len())
        .sum();
    let complete = running.captured() && master.is_some() && active.iter().all(Option::is_some);
    let names = master.iter().chain(active.iter().flatten());
    let names: Vec<String> = names.map(|router| router.name()).collect();
    report.claim(
        "capture_realized",
        complete,
        format!(
            "active: {}; {held} addresses of other sites on their interfaces in clouds",
            names.join(", ")
        ),
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
    let machines = Router::all().map(|router| lab.router(router));
    let seen: Vec<Kernel> = machines.clone().filter_map(kernel).collect();
    let machines = machines.count();
    let asked = seen.len() == machines;
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
            machines
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

fn kernel(router: &Namespace) -> Option<Kernel> {
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

fn doctors(running: &Running, report: &mut Report) {
    let views = Router::all().filter_map(|router| running.routers.view(router, "/v1/doctor"));
    let healthy = views.filter(|view| view["overall"] != "fail").count();
    let all = Router::all().count();
    report.claim(
        "doctor_clean",
        healthy == all,
        format!("{healthy} of {all} routers find no failure"),
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
    let from_elsewhere = Session::open(lab.client(Site::Oci), GUEST);
    report.claim(
        "moved_address_reached_by_third_site",
        from_elsewhere.is_ok_and(|session| session.seen == Site::Oci.client().to_string()),
        "oci connects to the moved address".to_owned(),
    );
}
