//! The nodes: each alone, and all together where something must be unique.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sam_capture::provider::NicId;
use sam_capture::{NodeId, Pool};
use sam_router::config::{Endpoint, Host, Node};
use sam_wg::PublicKey;

use super::{check_name, check_unique, endpoint};
use crate::config::finding::Findings;
use crate::config::key_file::ZERO_KEY;
use crate::config::raw::{self, FabricNode};
use crate::config::read::{At, Field};
use crate::config::source::Span;

/// Longest name of a network interface; Azure's are paths.
const NIC_BYTES_MAX: usize = 512;

/// What nodes are checked against.
pub(super) struct Scope<'a> {
    /// All pools.
    pub(super) pools: &'a [Pool],
    /// Whether these are all pools of the file.
    pub(super) pools_sound: bool,
    /// Port of an endpoint that names none.
    pub(super) port: u16,
}

/// Checks all nodes.
pub(super) fn nodes(
    raw: &raw::Fabric,
    at: Span,
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> BTreeMap<NodeId, Node> {
    let help = "list every router of the fabric; see configs/fabric.yaml";
    let Some(list) = raw.nodes.required("nodes", at, help, findings) else {
        return BTreeMap::new();
    };
    if list.value.is_empty() {
        findings.error(list.span, "there is no node").help(help);
    }
    check_all_unique(&list.value, scope, findings);
    list.value
        .iter()
        .filter_map(|raw| node(raw, scope, findings))
        .map(|node| (node.id, node))
        .collect()
}

fn node(raw: &At<FabricNode>, scope: &Scope<'_>, findings: &mut Findings) -> Option<Node> {
    let At { value: raw, span } = raw;
    let help = "every node has a number of its own, from 1";
    let id = raw.id.required("id", *span, help, findings);
    if let Some(id) = id.filter(|id| id.value == 0) {
        findings
            .error(id.span, "a node cannot have the id 0")
            .help(help);
    }
    let name = required_name("name", &raw.name, *span, findings);
    let site = required_name("site", &raw.site, *span, findings);
    let help = "say where it runs: onprem, aws, azure, oci or gcp";
    let role = raw.role.required("role", *span, help, findings);
    let help = "an address outside all pools, for example `overlay: 10.99.0.1`";
    let overlay = raw.overlay.required("overlay", *span, help, findings);
    if let Some(overlay) = overlay {
        check_overlay(overlay, scope, findings);
    }
    let endpoint = raw.endpoint.given().and_then(|written| {
        let endpoint = endpoint::endpoint(written, scope.port, findings)?;
        check_endpoint(&endpoint, written.span, scope, findings);
        Some(endpoint)
    });
    let help = "it is printed by `samctl key pub < FILE` on that router";
    let public_key = raw.public_key.required("publicKey", *span, help, findings);
    let public_key = public_key.and_then(|written| check_public_key(written, findings));
    let may = raw.may.given().map_or(&[][..], |may| &may.value);
    if let Some(at) = raw.may.given().filter(|at| at.value.is_empty()) {
        findings
            .error(at.span, "`may` is empty")
            .help("list what the node may own, or remove `may` to permit all of the pools");
    }
    for prefix in may.iter().filter(|_| scope.pools_sound) {
        if !scope
            .pools
            .iter()
            .any(|pool| pool.prefix.contains(&prefix.value))
        {
            findings
                .error(
                    prefix.span,
                    format!("{} is not inside a pool", prefix.value),
                )
                .help("`may` takes prefixes of the pools");
        }
    }
    let nic = nic(raw, findings);
    Some(Node {
        id: NodeId(id?.value),
        name: name?,
        site: site?,
        role: role?.value,
        overlay: overlay?.value,
        endpoint,
        public_key: public_key?,
        may: may.iter().map(|prefix| prefix.value).collect(),
        nic: nic?,
    })
}

/// Reads the provider's name of the node's network interface: only compared, and handed back.
fn nic(raw: &FabricNode, findings: &mut Findings) -> Option<Option<NicId>> {
    let Some(written) = raw.nic.given() else {
        return Some(None);
    };
    let text = &written.value;
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > NIC_BYTES_MAX || text.contains(odd) {
        findings
            .error(
                written.span,
                "`nic` cannot be the name of a network interface",
            )
            .help(
                "write the provider's id as it shows it, for example `nic: eni-0123456789abcdef0`",
            );
        return None;
    }
    Some(Some(NicId(text.clone())))
}

fn required_name(
    key: &str,
    field: &Field<String>,
    owner: Span,
    findings: &mut Findings,
) -> Option<String> {
    let name = field.required(key, owner, &format!("every node has a `{key}`"), findings)?;
    check_name(name, findings);
    Some(name.value.clone())
}

fn check_overlay(overlay: &At<Ipv4Addr>, scope: &Scope<'_>, findings: &mut Findings) {
    let address = overlay.value;
    let help = "choose an address that nothing else uses, for example 10.99.0.1";
    if address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_link_local()
        || address.octets()[0] >= 240
    {
        findings
            .error(
                overlay.span,
                format!("{address} cannot be an overlay address"),
            )
            .help(help);
    } else if let Some(pool) = scope
        .pools
        .iter()
        .find(|pool| pool.prefix.contains(&address))
    {
        let message = format!("overlay address {address} is inside pool {}", pool.name);
        findings.error(overlay.span, message).help(help);
    } else if address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64 {
        findings
            .warn(
                overlay.span,
                format!("{address} is in the carriers' range 100.64.0.0/10"),
            )
            .help("providers and other overlays use it too; prefer a private range");
    }
}

fn check_endpoint(endpoint: &Endpoint, at: Span, scope: &Scope<'_>, findings: &mut Findings) {
    let Host::Address(IpAddr::V4(address)) = endpoint.host else {
        return;
    };
    if let Some(pool) = scope.pools.iter().find(|pool| pool.admits(address)) {
        findings
            .error(
                at,
                format!(
                    "endpoint {address} is a mobile address of pool {}",
                    pool.name
                ),
            )
            .help("the way to it would lead through the tunnel; use another address or exclude it");
    }
}

fn check_public_key(written: &At<String>, findings: &mut Findings) -> Option<PublicKey> {
    let help = "it is printed by `samctl key pub < FILE` on that router";
    if written.value == ZERO_KEY {
        findings
            .error(written.span, "`publicKey` is all zeros")
            .help(help);
    }
    written
        .value
        .parse()
        .map_err(|error| {
            findings
                .error(written.span, format!("`publicKey` is no key: {error}"))
                .help(help);
        })
        .ok()
}

fn check_all_unique(nodes: &[At<FabricNode>], scope: &Scope<'_>, findings: &mut Findings) {
    let ids = nodes
        .iter()
        .filter_map(|node| node.value.id.given().cloned());
    check_unique(
        ids,
        |id| format!("node id {id}"),
        "every node has its own number",
        findings,
    );
    let names = nodes
        .iter()
        .filter_map(|node| node.value.name.given().cloned());
    let describe = |name: &String| format!("the name `{name}`");
    check_unique(names, describe, "every node has its own name", findings);
    let overlays = nodes
        .iter()
        .filter_map(|node| node.value.overlay.given().cloned());
    let describe = |overlay: &Ipv4Addr| format!("overlay address {overlay}");
    check_unique(
        overlays,
        describe,
        "every node has its own overlay address",
        findings,
    );
    let nics = nodes
        .iter()
        .filter_map(|node| node.value.nic.given().cloned());
    let describe = |nic: &String| format!("the network interface `{nic}`");
    check_unique(nics, describe, "every node has its own", findings);
    let keys = nodes
        .iter()
        .filter_map(|node| node.value.public_key.given().cloned());
    let help = "two routers must not share a key; make one on each with `samctl key gen`";
    check_unique(keys, |_| "this public key".into(), help, findings);
    let endpoints = nodes.iter().filter_map(|node| {
        let written = node.value.endpoint.given()?;
        let mut ignored = Findings::default();
        let value = endpoint::endpoint(written, scope.port, &mut ignored)?;
        Some(At {
            value,
            span: written.span,
        })
    });
    let endpoints: Vec<At<Endpoint>> = endpoints.collect();
    check_not_overlay(nodes, &endpoints, findings);
    let describe = |_: &Endpoint| "this endpoint".into();
    check_unique(
        endpoints,
        describe,
        "two routers cannot be reached at one address",
        findings,
    );
}

/// A tunnel to an overlay address would carry itself.
fn check_not_overlay(
    nodes: &[At<FabricNode>],
    endpoints: &[At<Endpoint>],
    findings: &mut Findings,
) {
    for endpoint in endpoints {
        let inside = nodes.iter().find(|node| {
            let overlay = node.value.overlay.given().map(|overlay| overlay.value);
            overlay.is_some_and(|overlay| endpoint.value.host == Host::Address(overlay.into()))
        });
        if let Some(node) = inside {
            let name = node.value.name.given().map_or("a node", |name| &name.value);
            findings
                .error(
                    endpoint.span,
                    format!("this endpoint is the overlay address of `{name}`"),
                )
                .help("the way to it would lead through the tunnel; write the underlay address");
        }
    }
}
