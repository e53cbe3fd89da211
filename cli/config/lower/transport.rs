//! How nodes reach each other: the fabric's profile, pairs with another one, and what they need of the nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use sam_capture::NodeId;
use sam_router::config::{CONTROL_TOS, Config, Dscp, Fabric, Host, Node, Transport, TunnelMtu};
use sam_router::encapsulation::{Carrier, Encapsulation, Gre, Gue, Inside, Payload};

use super::fabric::{check_seconds, port};
use super::{Names, find_node};
use crate::config::finding::Findings;
use crate::config::raw::{self, Encap, GueVariant, Keepalive, Mtu};
use crate::config::read::{At, listed};
use crate::config::source::Span;

/// Returns the UDP port of WireGuard: that of the fabric's profile, if it is WireGuard's.
pub(super) fn wireguard_port(raw: &raw::Fabric, findings: &mut Findings) -> u16 {
    let profile = raw.transport.given().map(|raw| &raw.value);
    let written = profile
        .filter(|raw| encap(raw) == Encap::Wireguard)
        .and_then(|raw| raw.port.given());
    port("port", written, WIREGUARD_PORT, findings)
}

/// Checks the fabric's profile; everything in it has a default.
pub(super) fn profile(raw: &raw::Fabric, findings: &mut Findings) -> Transport {
    match raw.transport.given() {
        Some(raw) => transport(raw, findings),
        None => Transport {
            encapsulation: Encapsulation::WireGuard,
            mtu: TunnelMtu::Auto,
            mss_clamp: true,
            force_fragment: false,
            dscp: Dscp::default(),
            keepalive: Some(DEFAULT_KEEPALIVE),
        },
    }
}

/// Checks the pairs.
pub(super) fn pairs(
    raw: &raw::Fabric,
    names: &Names<'_>,
    findings: &mut Findings,
) -> BTreeMap<(NodeId, NodeId), Transport> {
    let mut pairs = BTreeMap::new();
    let mut places: BTreeMap<(NodeId, NodeId), Span> = BTreeMap::new();
    for At { value, span } in raw.pairs.given().map_or(&[][..], |pairs| &pairs.value) {
        let nodes = pair_nodes(value, *span, names, findings);
        let help = "say how the two reach each other, for example `transport: {encap: wireguard}`";
        let written = value.transport.required("transport", *span, help, findings);
        if let Some(port) = written.and_then(|written| wireguard_port_of_pair(&written.value)) {
            findings
                .error(port, "`port` does not belong to the WireGuard of a pair")
                .help("its port is that of each node's `endpoint`");
        }
        let transport = written.map(|written| transport(written, findings));
        let (Some(nodes), Some(transport)) = (nodes, transport) else {
            continue;
        };
        if let Some(first) = places.get(&nodes) {
            findings
                .error(*span, "this pair is given twice")
                .also(*first, "first given here")
                .help("keep one of the two");
        }
        places.entry(nodes).or_insert(*span);
        pairs.insert(nodes, transport);
    }
    pairs
}

fn pair_nodes(
    pair: &raw::Pair,
    at: Span,
    names: &Names<'_>,
    findings: &mut Findings,
) -> Option<(NodeId, NodeId)> {
    let help = "name both, for example `nodes: [a, b]`";
    let list = pair.nodes.required("nodes", at, help, findings)?;
    let found: Vec<NodeId> = list
        .value
        .iter()
        .filter_map(|name| find_node(names, name, findings))
        .collect();
    match (&list.value[..], &found[..]) {
        ([_, _], [one, other]) if one != other => Some((*one.min(other), *one.max(other))),
        ([one, other], _) if one.value != other.value => None,
        _ => {
            findings
                .error(list.span, "a pair is two different nodes")
                .help(help);
            None
        }
    }
}

fn wireguard_port_of_pair(raw: &raw::Transport) -> Option<Span> {
    let port = raw.port.given()?;
    (encap(raw) == Encap::Wireguard).then_some(port.span)
}

/// Checks one transport.
fn transport(raw: &At<raw::Transport>, findings: &mut Findings) -> Transport {
    let At { value: raw, span } = raw;
    check_trust(raw, findings);
    check_options(raw, findings);
    let encapsulation = encapsulation(raw, *span, findings);
    let keepalive = encapsulation.is_encrypted().then_some(DEFAULT_KEEPALIVE);
    Transport {
        encapsulation,
        mtu: raw
            .mtu
            .given()
            .map_or(TunnelMtu::Auto, |mtu| tunnel_mtu(mtu, findings)),
        mss_clamp: raw.mss_clamp.or(true),
        force_fragment: raw.force_fragment.or(false),
        dscp: raw
            .dscp
            .given()
            .map_or_else(Dscp::default, |dscp| outer_dscp(dscp, findings)),
        keepalive: match raw.keepalive.given() {
            None => keepalive,
            Some(given) => match given.value {
                Keepalive::Off => None,
                Keepalive::Every(every) => {
                    check_seconds("keepalive", (every, given.span), 1, findings);
                    Some(every)
                }
            },
        },
    }
}

/// Reports an encapsulation without encryption whose underlay nobody said to trust.
fn check_trust(raw: &raw::Transport, findings: &mut Findings) {
    let Some(written) = raw.encap.given() else {
        return;
    };
    let is_encrypted = written.value == Encap::Wireguard || !raw.over.is_absent();
    if is_encrypted || raw.trusted_underlay.or(false) {
        return;
    }
    let name = word_of(written.value);
    let instead = match written.value {
        Encap::Gre | Encap::Gue => "over: wireguard",
        Encap::Wireguard | Encap::Fou | Encap::Ipip | Encap::Vxlan => "encap: wireguard",
    };
    findings
        .error(
            written.span,
            format!("`encap: {name}` does not encrypt and knows nobody but by address"),
        )
        .help(format!(
            "write `trustedUnderlay: true` if nobody else can read or send there, or `{instead}`"
        ));
}

/// Reports settings of other encapsulations.
fn check_options(raw: &raw::Transport, findings: &mut Findings) {
    use Encap::{Fou, Gre, Gue, Vxlan, Wireguard};
    let encap = encap(raw);
    let keepalive = raw.keepalive.given().filter(|_| raw.over.is_absent());
    let table: [(&str, Option<Span>, &[Encap]); 8] = [
        ("over", raw.over.given().map(|at| at.span), &[Gre, Gue]),
        (
            "port",
            raw.port.given().map(|at| at.span),
            &[Wireguard, Gue, Fou, Vxlan],
        ),
        ("keepalive", keepalive.map(|at| at.span), &[Wireguard]),
        ("variant", raw.variant.given().map(|at| at.span), &[Gue]),
        ("inner", raw.inner.given().map(|at| at.span), &[Gue, Fou]),
        ("key", raw.key.given().map(|at| at.span), &[Gre]),
        ("checksum", raw.checksum.given().map(|at| at.span), &[Gre]),
        ("vni", raw.vni.given().map(|at| at.span), &[Vxlan]),
    ];
    for (name, span, owners) in table {
        let Some(span) = span.filter(|_| !owners.contains(&encap)) else {
            continue;
        };
        let owners: Vec<&str> = owners.iter().map(|owner| word_of(*owner)).collect();
        findings
            .error(
                span,
                format!("`{name}` does not belong to `encap: {}`", word_of(encap)),
            )
            .help(format!("remove it; it is for {}", listed(&owners)));
    }
}

fn encapsulation(raw: &raw::Transport, at: Span, findings: &mut Findings) -> Encapsulation {
    let mut udp_port = |default| port("port", raw.port.given(), default, findings);
    let payload = raw.inner.or(Payload::Ipip);
    let is_inside = raw.over.given().is_some();
    match encap(raw) {
        Encap::Wireguard => Encapsulation::WireGuard,
        Encap::Fou => Encapsulation::Fou {
            port: udp_port(FOU_PORT),
            payload,
        },
        Encap::Gue => {
            let (port, gue) = (udp_port(GUE_PORT), gue(raw, payload, findings));
            if is_inside {
                Encapsulation::OverWireGuard(Inside::Gue { port, gue })
            } else {
                Encapsulation::Gue { port, gue }
            }
        }
        Encap::Gre => {
            let gre = Gre {
                key: raw.key.given().map(|key| key.value),
                checksum: raw.checksum.or(false),
            };
            if is_inside {
                Encapsulation::OverWireGuard(Inside::Gre(gre))
            } else {
                Encapsulation::Gre(gre)
            }
        }
        Encap::Ipip => Encapsulation::Ipip,
        Encap::Vxlan => Encapsulation::Vxlan {
            port: udp_port(VXLAN_PORT),
            vni: vni(raw, at, findings),
        },
    }
}

fn gue(raw: &raw::Transport, payload: Payload, findings: &mut Findings) -> Gue {
    match raw.variant.or(GueVariant::One) {
        GueVariant::Zero => Gue::Variant0(payload),
        GueVariant::One => {
            if let Some(inner) = raw
                .inner
                .given()
                .filter(|inner| inner.value == Payload::Gre)
            {
                findings
                    .error(inner.span, "variant 1 of GUE carries IP packets only")
                    .help("write `variant: 0`, or `inner: ipip`");
            }
            Gue::Variant1
        }
    }
}

fn vni(raw: &raw::Transport, at: Span, findings: &mut Findings) -> u32 {
    let help = "both ends use the same number of 24 bits, for example `vni: 77`";
    let Some(vni) = raw.vni.required("vni", at, help, findings) else {
        return 0;
    };
    if vni.value > VNI_MAX {
        findings
            .error(vni.span, format!("`vni` cannot be {}", vni.value))
            .help(format!("write 0 to {VNI_MAX}"));
    }
    vni.value
}

/// Checks that nodes can be told apart where nothing but their address tells.
pub(super) fn check_endpoints(raw: &raw::Fabric, fabric: &Fabric, findings: &mut Findings) {
    let nodes = raw.nodes.given().map_or(&[][..], |nodes| &nodes.value);
    let lowered = |raw: &At<raw::FabricNode>| {
        let id = raw.value.id.given()?;
        fabric.nodes.get(&NodeId(id.value))
    };
    for (index, written) in nodes.iter().enumerate() {
        let Some(node) = lowered(written) else {
            continue;
        };
        if written.value.endpoint.is_absent()
            && let Some((other, transport)) = plain_ways(fabric, node).next()
        {
            let name = transport.encapsulation.name();
            let message = format!(
                "node `{}` has no `endpoint`, and `{}` reaches it by {name}",
                node.name, other.name
            );
            findings
                .error(written.span, message)
                .help("give it an `endpoint`: without encryption a node is known by its address");
        }
        let mut earlier = nodes[..index].iter().filter_map(lowered);
        if let Some(twin) = earlier.find(|earlier| are_confused(fabric, earlier, node)) {
            let at = written
                .value
                .endpoint
                .given()
                .map_or(written.span, |endpoint| endpoint.span);
            findings
                .error(at, format!("`{}` and `{}` have one address", twin.name, node.name))
                .help("without encryption a node is known by its address: give each its own, or use WireGuard");
        }
    }
}

/// Lists who reaches a node without encryption.
fn plain_ways<'a>(
    fabric: &'a Fabric,
    node: &'a Node,
) -> impl Iterator<Item = (&'a Node, &'a Transport)> {
    let others = fabric.nodes.values().filter(|other| other.id != node.id);
    others
        .map(|other| (other, fabric.transport_between(node.id, other.id)))
        .filter(|(_, transport)| transport.encapsulation.carrier().is_some())
}

/// Tells whether some third node cannot tell packets of the two apart.
fn are_confused(fabric: &Fabric, one: &Node, other: &Node) -> bool {
    if address(one).is_none() || address(one) != address(other) {
        return false;
    }
    plain_ways(fabric, one).any(|(third, transport)| {
        let way = fabric.transport_between(other.id, third.id);
        third.id != other.id && way.encapsulation.carrier() == transport.encapsulation.carrier()
    })
}

fn address(node: &Node) -> Option<IpAddr> {
    match &node.endpoint.as_ref()?.host {
        Host::Address(address) => Some(*address),
        Host::Name(_) => None,
    }
}

/// Checks that WireGuard's port is not that of another transport too.
pub(super) fn check_listen_port(config: &Config, at: Span, findings: &mut Findings) {
    let port = config.local.listen_port;
    if config.carriers().contains(&Carrier::Udp { port }) {
        findings
            .error(
                at,
                format!("UDP port {port} is for WireGuard and for another transport"),
            )
            .help("write another `listenPort`");
    }
}

fn tunnel_mtu(mtu: &At<Mtu>, findings: &mut Findings) -> TunnelMtu {
    let Mtu::Bytes(bytes) = mtu.value else {
        return TunnelMtu::Auto;
    };
    if !(MIN_MTU..=MAX_MTU).contains(&bytes) {
        findings
            .error(mtu.span, format!("an MTU of {bytes} bytes is not possible"))
            .help(format!("write `auto` or {MIN_MTU} to {MAX_MTU}"));
    } else if bytes < COMFORTABLE_MTU {
        findings
            .warn(mtu.span, format!("an MTU of {bytes} bytes is small"))
            .help(format!(
                "below {COMFORTABLE_MTU} bytes IPv6 does not fit; prefer `auto`"
            ));
    }
    TunnelMtu::Fixed(bytes)
}

fn outer_dscp(dscp: &At<raw::Dscp>, findings: &mut Findings) -> Dscp {
    match dscp.value {
        raw::Dscp::Inherit => Dscp::Inherit,
        raw::Dscp::Value(value) if value == CONTROL_TOS >> 2 => {
            findings
                .error(dscp.span, format!("`dscp` cannot be {value} (CS6)"))
                .help("routers mark their own messages with it: write another, such as 40 (CS5)");
            Dscp::default()
        }
        raw::Dscp::Value(value) if value <= DSCP_MAX => Dscp::Fixed(value),
        raw::Dscp::Value(value) => {
            findings
                .error(dscp.span, format!("`dscp` cannot be {value}"))
                .help(format!("write `inherit` or 0 to {DSCP_MAX}"));
            Dscp::default()
        }
    }
}

fn encap(raw: &raw::Transport) -> Encap {
    raw.encap.or(Encap::Wireguard)
}

fn word_of(encap: Encap) -> &'static str {
    let mut words = <Encap as crate::config::scalar::Word>::WORDS.iter();
    words
        .find(|(_, known)| *known == encap)
        .map_or("", |(word, _)| word)
}

/// Largest code point: 6 bits (RFC 2474 section 3).
const DSCP_MAX: u8 = 63;
const WIREGUARD_PORT: u16 = 51_820;
/// As registered (IANA): gue, and the usual one of FOU, which has none.
const GUE_PORT: u16 = 6080;
const FOU_PORT: u16 = 5555;
/// RFC 7348 section 5.
const VXLAN_PORT: u16 = 4789;
const VNI_MAX: u32 = 0x00ff_ffff;
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(25);
/// The least that every IPv4 host accepts, RFC 791 section 3.1.
const MIN_MTU: u16 = 576;
const MAX_MTU: u16 = 9_000;
/// The least link MTU of IPv6, RFC 8200 section 5.
const COMFORTABLE_MTU: u16 = 1_280;
