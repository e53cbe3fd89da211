//! From what is written to what is meant: [`raw`](super::raw) to [`Config`], all checks, all errors.
//!
//! Every check reports and carries on with a harmless stand-in, so that one run names every mistake; the caller
//! throws the result away when anything was reported. Split by noun: fabric, bfd, transport, nodes, endpoint, local, vrrp, foreign.

mod authentication;
mod bfd;
mod capture;
mod discovery;
mod endpoint;
mod fabric;
mod foreign;
mod local;
mod nodes;
mod transport;
mod vrrp;

use std::collections::BTreeMap;
use std::path::Path;

use sam_capture::NodeId;
use sam_router::config::{Config, Fabric};

use super::finding::Findings;
use super::read::{At, Field};
use super::source::Span;
use super::{KeyFiles, Secrets, raw};

/// Everything that one configuration is made of.
pub(super) struct Input<'a> {
    /// The fabric part.
    pub(super) fabric: &'a raw::Fabric,
    /// Where the fabric part begins.
    pub(super) fabric_at: Span,
    /// The own part.
    pub(super) local: &'a At<raw::Local>,
    /// The file with the own part; its paths are relative to it.
    pub(super) path: &'a Path,
    /// Whether key files are opened.
    pub(super) secrets: Secrets,
}

/// Checks everything; `None` when what is left is not even a configuration.
pub(super) fn lower(input: &Input<'_>, findings: &mut Findings) -> Option<(Config, KeyFiles)> {
    let raw = input.fabric;
    let at = input.fabric_at;
    let before = findings.errors();
    let pools = fabric::pools(raw, at, findings);
    let pools_sound = findings.errors() == before && all(&raw.pools, pools.len());
    let wireguard_port = transport::wireguard_port(raw, findings);
    let profile = transport::profile(raw, findings);
    let scope = nodes::Scope {
        pools: &pools,
        pools_sound,
        port: wireguard_port,
    };
    let before = findings.errors();
    let nodes = nodes::nodes(raw, at, &scope, findings);
    let sound = Sound {
        pools: pools_sound,
        nodes: findings.errors() == before && all(&raw.nodes, nodes.len()),
    };
    let names = names(raw);
    let fabric = Fabric {
        name: fabric::fabric_name(raw, at, findings),
        asn: fabric::asn(raw, at, findings),
        bgp: fabric::bgp(raw, &names, findings),
        bfd: bfd::bfd(raw, findings),
        pools,
        wireguard_port,
        transport: profile,
        pairs: transport::pairs(raw, &names, findings),
        nodes,
    };
    if sound.nodes {
        transport::check_endpoints(raw, &fabric, findings);
    }
    let (local, key_files) = local::local(
        input,
        &Checked {
            fabric: &fabric,
            names: &names,
            sound,
        },
        findings,
    )?;
    let config = Config { fabric, local };
    let at = input.local.value.listen_port.given();
    transport::check_listen_port(&config, at.map_or(input.local.span, |at| at.span), findings);
    Some((config, key_files))
}

/// Tells whether a list was read whole.
fn all<T>(written: &Field<Vec<At<T>>>, lowered: usize) -> bool {
    written
        .given()
        .is_some_and(|list| list.value.len() == lowered)
}

/// The fabric as far as it is known when the own part is checked.
struct Checked<'a> {
    fabric: &'a Fabric,
    names: &'a Names<'a>,
    sound: Sound,
}

/// Which parts have no error, so that errors which only follow from others are not reported.
#[derive(Debug, Clone, Copy)]
struct Sound {
    pools: bool,
    nodes: bool,
}

/// Names of nodes as written, right or wrong otherwise, so that a bad node does not make its name unknown.
type Names<'a> = BTreeMap<&'a str, Option<NodeId>>;

fn names(raw: &raw::Fabric) -> Names<'_> {
    let nodes = raw.nodes.given().map_or(&[][..], |nodes| &nodes.value);
    nodes
        .iter()
        .filter_map(|node| {
            let name = node.value.name.given()?;
            Some((
                name.value.as_str(),
                node.value.id.given().map(|id| NodeId(id.value)),
            ))
        })
        .collect()
}

/// Finds a node by name; reports an unknown one with the names there are.
fn find_node(names: &Names<'_>, wanted: &At<String>, findings: &mut Findings) -> Option<NodeId> {
    if let Some(id) = names.get(wanted.value.as_str()) {
        return *id;
    }
    let known: Vec<&str> = names.keys().copied().collect();
    let finding = findings.error(wanted.span, format!("no node is named `{}`", wanted.value));
    match super::read::nearest(&wanted.value, &known) {
        Some(meant) => finding.help(format!("did you mean `{meant}`?")),
        None if known.is_empty() => finding.help("add it to `nodes`"),
        None => finding.help(format!("the nodes are {}", super::read::listed(&known))),
    };
    None
}

/// Checks a name: it appears in paths of the control API, in tables and in logs.
fn check_name(name: &At<String>, findings: &mut Findings) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.value.len() > MAX_NAME_BYTES || !name.value.chars().all(allowed) {
        findings
            .error(name.span, format!("`{}` cannot be a name", name.value))
            .help(format!(
                "use at most {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`"
            ));
    }
}

/// Reports each value that was used before.
fn check_unique<T: Ord>(
    values: impl IntoIterator<Item = At<T>>,
    describe: impl Fn(&T) -> String,
    help: &str,
    findings: &mut Findings,
) {
    let mut seen: BTreeMap<T, Span> = BTreeMap::new();
    for At { value, span } in values {
        if let Some(first) = seen.get(&value) {
            findings
                .error(span, format!("{} is used twice", describe(&value)))
                .also(*first, "first used here")
                .help(help);
        } else {
            seen.insert(value, span);
        }
    }
}

/// As long as a label of a host name.
const MAX_NAME_BYTES: usize = 63;
