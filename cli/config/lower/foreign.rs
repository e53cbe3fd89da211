//! BGP with routers of others: each neighbor alone, and against the fabric.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::rules::{AnyCommunity, Changes, Match, Rule, Rules, Verdict};
use sam_router::Foreign;
use sam_router::config::Fabric;
use sam_router::foreign::{ForeignNeighbor, ForeignRange, Reach, Terms};

use super::authentication::authentication;
use super::{Checked, Input, check_name, check_unique, fabric};
use crate::config::SecretSource;
use crate::config::finding::Findings;
use crate::config::raw;
use crate::config::read::{At, Field, listed, nearest};
use crate::config::source::Span;

/// Where the keys of neighbors come from, by name of the neighbor.
pub(super) type KeySources = BTreeMap<String, SecretSource>;

/// Checks everything of `self.bgp`.
pub(super) fn foreign(
    input: &Input<'_>,
    checked: &Checked<'_>,
    findings: &mut Findings,
) -> (Foreign, KeySources) {
    let mut foreign = Foreign::default();
    let mut sources = KeySources::new();
    let Some(raw) = input.local.value.bgp.given() else {
        return (foreign, sources);
    };
    let policies = policies(&raw.value, checked.fabric, findings);
    let neighbors = raw.value.neighbors.given();
    let neighbors = neighbors.map_or(&[][..], |list| list.value.as_slice());
    let names = neighbors
        .iter()
        .filter_map(|neighbor| neighbor.value.name.given().cloned());
    let nodes = checked.fabric.nodes.values();
    let describe = |name: &String| format!("name `{name}`");
    check_unique(names, describe, "give each neighbor its own name", findings);
    for at in neighbors {
        let raw = &at.value;
        let help = "give the neighbor a name, for example `name: upstream`";
        let Some(name) = raw.name.required("name", at.span, help, findings) else {
            continue;
        };
        check_name(name, findings);
        if nodes.clone().any(|node| node.name == name.value) {
            findings
                .error(
                    name.span,
                    format!("`{}` is a node of the fabric", name.value),
                )
                .help("give the neighbor another name");
        }
        let source = raw
            .authentication
            .given()
            .and_then(|at| authentication(input, at, findings));
        let (signature, source) = source.unzip();
        sources.extend(source.map(|source| (name.value.clone(), source)));
        let Some(mut terms) = terms(at, checked.fabric, &policies, findings) else {
            continue;
        };
        terms.authentication = signature;
        place(at, name, terms, checked.fabric, &mut foreign, findings);
    }
    (foreign, sources)
}

/// Puts a neighbor where it belongs: to the addresses or to the ranges.
fn place(
    at: &At<raw::Neighbor>,
    name: &At<String>,
    terms: Terms,
    fabric: &Fabric,
    foreign: &mut Foreign,
    findings: &mut Findings,
) {
    let raw = &at.value;
    let name = name.value.clone();
    let (place, span) = match (raw.address.given(), raw.range.given()) {
        (Some(address), None) => (Ipv4Net::from(address.value), address.span),
        (None, Some(range)) => (range.value, range.span),
        (Some(_), Some(range)) => {
            findings
                .error(range.span, "both `address` and `range` are given")
                .help("an `address` is one neighbor, a `range` is many");
            return;
        }
        (None, None) => {
            if raw.address.is_absent() && raw.range.is_absent() {
                findings.error(at.span, "`address` is missing").help(
                    "write the neighbor's `address`, or the `range` from which many may come",
                );
            }
            return;
        }
    };
    check_place(place, span, terms.local_address, fabric, findings);
    if let Some((other, _)) = foreign.all().find(|(other, _)| overlap(*other, place)) {
        findings
            .error(
                span,
                format!("{place} overlaps with {other} of another neighbor"),
            )
            .help("an address belongs to one neighbor or range");
        return;
    }
    if raw.address.given().is_some() {
        let limit = raw.limit.given().map(|at| at.span);
        refuse_idle("limit", limit, "without `range`", findings);
        let interface = raw.interface.given().map(|at| at.span);
        check_watch(&terms, interface.unwrap_or(at.span), foreign, findings);
        let neighbor = ForeignNeighbor {
            name,
            passive: raw.passive.or(false),
            terms,
        };
        foreign.neighbors.insert(place.addr(), neighbor);
        return;
    }
    let watched = raw.bfd.given().map(|at| at.span);
    refuse_idle(
        "bfd",
        watched,
        "with `range`: both sides of a session of BFD must know each other before",
        findings,
    );
    let passive = raw.passive.given().map(|at| at.span);
    refuse_idle(
        "passive",
        passive,
        "with `range`: nobody is called there",
        findings,
    );
    let help = "say how many neighbors may come from the range, for example `limit: 10`";
    let Some(limit) = raw.limit.required("limit", at.span, help, findings) else {
        return;
    };
    if !(1..=MAX_LIMIT).contains(&limit.value) {
        findings
            .error(limit.span, format!("`limit` cannot be {}", limit.value))
            .help(format!("use 1 to {MAX_LIMIT}"));
    }
    foreign.ranges.push(ForeignRange {
        name,
        range: place,
        limit: limit.value.into(),
        terms,
    });
}

/// Two sockets for BFD at one address and port hinder each other unless each has an interface of its own.
fn check_watch(terms: &Terms, span: Span, foreign: &Foreign, findings: &mut Findings) {
    let local = terms.local_address;
    let hinders = |other: &Terms| {
        other.bfd.is_some()
            && other.local_address == local
            && (other.reach.hops() > 1) == (terms.reach.hops() > 1)
            && other.interface.is_some() != terms.interface.is_some()
    };
    let mut neighbors = foreign.neighbors.values();
    if terms.bfd.is_some()
        && let Some(other) = neighbors.find(|other| hinders(&other.terms))
    {
        findings
            .error(
                span,
                format!(
                    "BFD at {local} is shared with `{}`, and only one of both names an `interface`",
                    other.name
                ),
            )
            .help("name the `interface` of both, or of none; or give one another `localAddress`");
    }
}

/// A neighbor is somebody else, who is not reached through the fabric. Its name in BGP is its address as a number, which
/// must not be the id of a node.
fn check_place(
    place: Ipv4Net,
    span: Span,
    local: Ipv4Addr,
    fabric: &Fabric,
    findings: &mut Findings,
) {
    let mut nodes = fabric.nodes.values();
    if let Some(node) = nodes.clone().find(|node| place.contains(&node.overlay)) {
        findings
            .error(
                span,
                format!("{place} holds the overlay address of node {}", node.name),
            )
            .help("nodes of the fabric are peers already; write an address outside of the fabric");
    }
    if place.contains(&local) {
        findings
            .error(span, format!("{place} holds `localAddress` {local}"))
            .help("a neighbor has an address of its own");
    }
    if let Some(node) = nodes.find(|node| place.contains(&Ipv4Addr::from(node.id.0))) {
        findings
            .error(
                span,
                format!(
                    "{place} as a number is the id {} of node {}",
                    node.id, node.name
                ),
            )
            .help("give the node a small id; ids and addresses of neighbors share their numbers");
    }
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn refuse_idle(key: &str, at: Option<Span>, why: &str, findings: &mut Findings) {
    if let Some(at) = at {
        findings
            .error(at, format!("`{key}` means nothing {why}"))
            .help("remove it");
    }
}

fn terms(
    at: &At<raw::Neighbor>,
    fabric: &Fabric,
    policies: &BTreeMap<&str, Rules>,
    findings: &mut Findings,
) -> Option<Terms> {
    let raw = &at.value;
    let help = "write the AS number of the neighbor";
    let asn = raw.asn.required("asn", at.span, help, findings);
    if let Some(asn) = asn {
        check_asn(asn, fabric, findings);
    }
    let help = "write this router's address towards the neighbor; it is the next hop that the neighbor is told";
    let local = raw
        .local_address
        .required("localAddress", at.span, help, findings);
    if let Some(local) = local
        && let Some(node) = fabric
            .nodes
            .values()
            .find(|node| node.overlay == local.value)
    {
        findings
            .error(
                local.span,
                format!(
                    "{} is the overlay address of node {}",
                    local.value, node.name
                ),
            )
            .help("foreign neighbors are not reached through the fabric");
    }
    if let Some(interface) = raw.interface.given() {
        super::local::check_interface("interface", interface, findings);
    }
    let (hold_time, connect_retry) = match raw.timers.given() {
        Some(timers) => fabric::explicit_timers(&timers.value, findings),
        None => fabric::SLOW_TIMERS,
    };
    let mut policy = |field: &Field<String>| {
        let name = field.given()?;
        find_policy(policies, name, findings)
    };
    let (import, export) = (policy(&raw.import), policy(&raw.export));
    let reach = reach(raw, findings);
    let bfd = raw.bfd.given();
    let bfd = bfd.and_then(|at| super::bfd::own_timing(&at.value, findings));
    Some(Terms {
        asn: asn?.value,
        local_address: local?.value,
        local_address_ipv6: raw.local_address_ipv6.given().map(|at| at.value),
        interface: raw.interface.given().map(|at| at.value.clone()),
        reach,
        authentication: None,
        bfd,
        hold_time,
        connect_retry,
        max_prefixes: max_prefixes(raw, findings),
        extended_messages: raw.extended_messages.or(true),
        import,
        export,
        graceful_shutdown: raw.graceful_shutdown.or(false),
    })
}

fn check_asn(asn: &At<u32>, fabric: &Fabric, findings: &mut Findings) {
    if matches!(asn.value, 0 | fabric::AS_TRANS | u32::MAX) {
        findings
            .error(asn.span, format!("AS number {} is reserved", asn.value))
            .help("write the AS number of the neighbor");
    } else if asn.value == fabric.asn {
        findings
            .error(asn.span, format!("AS {} is the fabric's own", asn.value))
            .help("a router of the same AS is a node: add it to `fabric.nodes`");
    }
}

fn max_prefixes(raw: &raw::Neighbor, findings: &mut Findings) -> usize {
    let Some(limit) = raw.max_prefixes.given() else {
        return fabric::DEFAULT_MAX_PREFIXES;
    };
    if limit.value == 0 {
        findings
            .error(limit.span, "`maxPrefixes` 0 would accept nothing")
            .help("leave `import` out when nothing is to be accepted");
    }
    usize::try_from(limit.value).unwrap_or(usize::MAX)
}

fn reach(raw: &raw::Neighbor, findings: &mut Findings) -> Reach {
    let mut hops = |key: &str, at: &At<u16>, least: u8| {
        let hops = u8::try_from(at.value).ok().filter(|hops| *hops >= least);
        if hops.is_none() {
            findings
                .error(at.span, format!("`{key}` cannot be {}", at.value))
                .help(format!("it is a number of hops from {least} to 255"));
        }
        hops.unwrap_or(least)
    };
    match (raw.multihop.given(), raw.ttl_security.given()) {
        (None, None) => Reach::Link,
        (Some(at), None) => Reach::Multihop(hops("multihop", at, 2)),
        (None, Some(at)) => Reach::Secured(hops("ttlSecurity", at, 1)),
        (Some(_), Some(at)) => {
            findings
                .error(at.span, "both `multihop` and `ttlSecurity` are given")
                .help("`ttlSecurity` alone says how many hops there are, and proves it");
            Reach::Link
        }
    }
}

fn find_policy(
    policies: &BTreeMap<&str, Rules>,
    name: &At<String>,
    findings: &mut Findings,
) -> Option<Rules> {
    if let Some(rules) = policies.get(name.value.as_str()) {
        return Some(rules.clone());
    }
    let known: Vec<&str> = policies.keys().copied().collect();
    let finding = findings.error(name.span, format!("no policy is named `{}`", name.value));
    match nearest(&name.value, &known) {
        Some(meant) => finding.help(format!("did you mean `{meant}`?")),
        None if known.is_empty() => finding.help("add it to `policies`"),
        None => finding.help(format!("the policies are {}", listed(&known))),
    };
    None
}

fn policies<'a>(
    raw: &'a raw::ForeignBgp,
    fabric: &Fabric,
    findings: &mut Findings,
) -> BTreeMap<&'a str, Rules> {
    let list = raw.policies.given();
    let list = list.map_or(&[][..], |list| list.value.as_slice());
    let names = list
        .iter()
        .filter_map(|policy| policy.value.name.given().cloned());
    let describe = |name: &String| format!("name `{name}`");
    check_unique(names, describe, "give each policy its own name", findings);
    let mut policies = BTreeMap::new();
    for At { value: raw, span } in list {
        let help = "give the policy a name, for example `name: from-upstream`";
        let name = raw.name.required("name", *span, help, findings);
        let help = "write at least one rule; what no rule matches is refused";
        let rules = raw.rules.required("rules", *span, help, findings);
        let rules = rules.map_or(&[][..], |rules| rules.value.as_slice());
        let rules: Vec<Rule> = rules
            .iter()
            .filter_map(|at| rule(at, fabric, findings))
            .collect();
        if let Some(name) = name {
            check_name(name, findings);
            policies.insert(name.value.as_str(), Rules(rules));
        }
    }
    policies
}

fn rule(at: &At<raw::Rule>, fabric: &Fabric, findings: &mut Findings) -> Option<Rule> {
    let raw = &at.value;
    let help = "write `then: accept` or `then: reject`";
    let then = raw.then.required("then", at.span, help, findings);
    let matches = raw.matches.given().map(|at| matches(&at.value));
    let set = raw.set.given();
    if let (Some(set), Some(Verdict::Reject)) = (set, then.map(|then| then.value)) {
        findings
            .error(set.span, "`set` means nothing with `then: reject`")
            .help("remove it");
    }
    Some(Rule {
        matches: matches.unwrap_or_default(),
        set: set
            .map(|set| changes(&set.value, fabric, findings))
            .unwrap_or_default(),
        verdict: then?.value,
    })
}

fn matches(raw: &raw::Match) -> Match {
    Match {
        prefixes: values(&raw.prefixes),
        neighbors: values(&raw.neighbors),
        communities: values(&raw.communities),
        path_length_max: raw.max_path_length.given().map(|at| at.value.into()),
        origin_asns: values(&raw.origin_as),
    }
}

fn changes(raw: &raw::Set, fabric: &Fabric, findings: &mut Findings) -> Changes {
    let add = raw.add.given().map_or(&[][..], |list| &list.value);
    for at in add {
        if let AnyCommunity::Large(large) = at.value
            && large.global == fabric.asn
        {
            findings
                .error(
                    at.span,
                    format!(
                        "large communities of AS {} are the fabric's own",
                        fabric.asn
                    ),
                )
                .help("they say who owns an address; use a community of another AS");
        }
    }
    Changes {
        local_pref: raw.local_pref.given().map(|at| at.value),
        med: raw.med.given().map(|at| at.value),
        remove: values(&raw.remove),
        add: values(&raw.add),
    }
}

fn values<T: Clone>(field: &Field<Vec<At<T>>>) -> Vec<T> {
    let list = field.given().map_or(&[][..], |list| &list.value);
    list.iter().map(|at| at.value.clone()).collect()
}

/// Neighbors from one range.
const MAX_LIMIT: u16 = 1_000;
