//! BGP with routers of others as YAML; the part of [`super::render`] that writes `self.bgp`.
//!
//! Policies are written with each use of them: named by the neighbor and the direction, whatever they were called.

use std::fmt::{self, Write};

use sam_bgp::rules::{AnyCommunity, Changes, Match, Rules, Verdict};
use sam_router::Foreign;
use sam_router::foreign::{AoAlgorithm, Authentication, Reach, Terms};

use super::raw::prefix_range_text;
use super::render::{list, mapping, path, quoted};
use super::scalar::{Word, duration_text};
use super::{KeyFiles, SecretSource};

/// Writes `bgp`, unless there is nobody.
pub(super) fn write(out: &mut String, foreign: &Foreign, key_files: &KeyFiles) -> fmt::Result {
    let one_by_one = foreign.neighbors.iter().map(|(address, neighbor)| {
        let place = vec![
            ("address", address.to_string()),
            ("passive", neighbor.passive.to_string()),
        ];
        (&neighbor.name, place, &neighbor.terms)
    });
    let many = foreign.ranges.iter().map(|range| {
        let place = vec![
            ("range", range.range.to_string()),
            ("limit", range.limit.to_string()),
        ];
        (&range.name, place, &range.terms)
    });
    let all: Vec<_> = one_by_one.chain(many).collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "  bgp:")?;
    let has_policy = |terms: &Terms| terms.import.is_some() || terms.export.is_some();
    if all.iter().any(|(_, _, terms)| has_policy(terms)) {
        writeln!(out, "    policies:")?;
    }
    for (name, _, terms) in &all {
        for (direction, rules) in [("import", &terms.import), ("export", &terms.export)] {
            if let Some(rules) = rules {
                write_policy(out, &format!("{direction}-{name}"), rules)?;
            }
        }
    }
    writeln!(out, "    neighbors:")?;
    for (name, place, terms) in all {
        writeln!(out, "      - name: {}", quoted(name))?;
        let keys = place.into_iter().chain(terms_keys(name, terms, key_files));
        for (key, value) in keys {
            writeln!(out, "        {key}: {value}")?;
        }
    }
    Ok(())
}

fn terms_keys(name: &str, terms: &Terms, key_files: &KeyFiles) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        ("asn", terms.asn.to_string()),
        ("localAddress", terms.local_address.to_string()),
    ];
    let ipv6 = terms.local_address_ipv6;
    keys.extend(ipv6.map(|address| ("localAddressIpv6", quoted(&address.to_string()))));
    let interface = terms.interface.as_deref();
    keys.extend(interface.map(|interface| ("interface", quoted(interface))));
    match terms.reach {
        Reach::Link => {}
        Reach::Multihop(hops) => keys.push(("multihop", hops.to_string())),
        Reach::Secured(hops) => keys.push(("ttlSecurity", hops.to_string())),
    }
    let source = key_files.neighbor_keys.get(name);
    let both = terms.authentication.as_ref().zip(source);
    keys.extend(both.map(|(how, source)| ("authentication", authentication(how, source))));
    let bfd = terms.bfd.map(|bfd| {
        mapping(&[
            ("interval", duration_text(bfd.interval)),
            ("multiplier", bfd.multiplier.to_string()),
        ])
    });
    keys.extend(bfd.map(|bfd| ("bfd", bfd)));
    let (hold, retry) = (
        duration_text(terms.hold_time),
        duration_text(terms.connect_retry),
    );
    keys.extend([
        ("timers", format!("{{hold: {hold}, connectRetry: {retry}}}")),
        ("maxPrefixes", terms.max_prefixes.to_string()),
        ("extendedMessages", terms.extended_messages.to_string()),
    ]);
    for (direction, rules) in [("import", &terms.import), ("export", &terms.export)] {
        let named = rules.as_ref().map(|_| format!("{direction}-{name}"));
        keys.extend(named.map(|named| (direction, quoted(&named))));
    }
    keys.push(("gracefulShutdown", terms.graceful_shutdown.to_string()));
    keys
}

fn authentication(how: &Authentication, source: &SecretSource) -> String {
    let key = match source {
        SecretSource::File(file) => ("keyFile", path(file)),
        SecretSource::Environment(name) => ("keyEnv", quoted(name)),
    };
    match how {
        Authentication::Md5(_) => mapping(&[("type", "md5".into()), key]),
        Authentication::TcpAo {
            key: _,
            send_id,
            receive_id,
            algorithm,
        } => mapping(&[
            ("type", "tcp-ao".into()),
            key,
            ("sendId", send_id.to_string()),
            ("receiveId", receive_id.to_string()),
            ("algorithm", word(*algorithm).into()),
        ]),
    }
}

fn word(algorithm: AoAlgorithm) -> &'static str {
    let mut words = AoAlgorithm::WORDS.iter();
    let found = words.find(|(_, value)| *value == algorithm);
    found.map_or("", |(word, _)| word)
}

fn write_policy(out: &mut String, name: &str, rules: &Rules) -> fmt::Result {
    writeln!(out, "      - name: {}", quoted(name))?;
    if rules.0.is_empty() {
        return writeln!(out, "        rules: []");
    }
    writeln!(out, "        rules:")?;
    for rule in &rules.0 {
        let mut keys = Vec::new();
        let (matches, set) = (match_keys(&rule.matches), set_keys(&rule.set));
        if !matches.is_empty() {
            keys.push(("match", mapping(&matches)));
        }
        if !set.is_empty() {
            keys.push(("set", mapping(&set)));
        }
        let then = match rule.verdict {
            Verdict::Accept => "accept",
            Verdict::Reject => "reject",
        };
        keys.push(("then", then.into()));
        writeln!(out, "          - {}", mapping(&keys))?;
    }
    Ok(())
}

fn match_keys(matches: &Match) -> Vec<(&'static str, String)> {
    let prefixes = matches.prefixes.iter();
    let prefixes = list(prefixes.map(|range| quoted(&prefix_range_text(range))));
    let mut keys = vec![
        ("prefixes", prefixes),
        ("neighbors", list(&matches.neighbors)),
        ("communities", communities(&matches.communities)),
        ("originAs", list(&matches.origin_asns)),
    ];
    keys.retain(|(_, value)| value != "[]");
    let most = matches.path_length_max;
    keys.extend(most.map(|most| ("maxPathLength", most.to_string())));
    keys
}

fn set_keys(set: &Changes) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        ("removeCommunities", communities(&set.remove)),
        ("addCommunities", communities(&set.add)),
    ];
    keys.retain(|(_, value)| value != "[]");
    keys.extend(set.local_pref.map(|value| ("localPref", value.to_string())));
    keys.extend(set.med.map(|value| ("med", value.to_string())));
    keys
}

fn communities(values: &[AnyCommunity]) -> String {
    list(values.iter().map(|value| match value {
        AnyCommunity::Standard(community) => quoted(&community.to_string()),
        AnyCommunity::Large(community) => quoted(&community.to_string()),
    }))
}
