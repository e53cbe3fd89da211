//! The schema of BGP with routers of others: `self.bgp`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use sam_bgp::rules::{AnyCommunity, PrefixRange, Verdict};
use sam_bgp::wire::{Community, LargeCommunity};
use sam_router::foreign::AoAlgorithm;

use super::{Bfd, Timers};
use crate::config::finding::Findings;
use crate::config::node::{Node, Value};
use crate::config::read::{At, Field, Fields, Read, mapping};
use crate::config::scalar::{Word, read_word};

mapping! {
    /// BGP outside of the fabric.
    ForeignBgp {
        /// Which routes pass.
        "policies" => policies: Vec<At<Policy>>,
        /// With whom.
        "neighbors" => neighbors: Vec<At<Neighbor>>,
    }
}

mapping! {
    /// Ordered rules.
    Policy {
        /// Name.
        "name" => name: String,
        /// The first that matches decides.
        "rules" => rules: Vec<At<Rule>>,
    }
}

mapping! {
    /// One rule.
    Rule {
        /// Which routes; all when absent.
        "match" => matches: Match,
        /// What is changed.
        "set" => set: Set,
        /// Whether they pass.
        "then" => then: Verdict,
    }
}

mapping! {
    /// Conditions, all of which must hold.
    Match {
        /// Any of these.
        "prefixes" => prefixes: Vec<At<PrefixRange>>,
        /// From or to any of these.
        "neighbors" => neighbors: Vec<At<Ipv4Net>>,
        /// All of these.
        "communities" => communities: Vec<At<AnyCommunity>>,
        /// At most so many AS numbers.
        "maxPathLength" => max_path_length: u16,
        /// Any of these at the end of the path.
        "originAs" => origin_as: Vec<At<u32>>,
    }
}

mapping! {
    /// Changes of attributes.
    Set {
        /// LOCAL_PREF.
        "localPref" => local_pref: u32,
        /// MULTI_EXIT_DISC.
        "med" => med: u32,
        /// Communities to be added.
        "addCommunities" => add: Vec<At<AnyCommunity>>,
        /// Communities to be taken away.
        "removeCommunities" => remove: Vec<At<AnyCommunity>>,
    }
}

mapping! {
    /// A neighbor, or a range of addresses from which neighbors may come.
    Neighbor {
        /// Name.
        "name" => name: String,
        /// Its address.
        "address" => address: Ipv4Addr,
        /// Addresses of many.
        "range" => range: Ipv4Net,
        /// How many of them.
        "limit" => limit: u16,
        /// Its AS number.
        "asn" => asn: u32,
        /// Our address towards it.
        "localAddress" => local_address: Ipv4Addr,
        /// The next hop for routes of IPv6.
        "localAddressIpv6" => local_address_ipv6: Ipv6Addr,
        /// The only interface to hear it through.
        "interface" => interface: String,
        /// Leave it to it to connect.
        "passive" => passive: bool,
        /// Hops that it is away at most.
        "multihop" => multihop: u16,
        /// The same, proved by the TTL.
        "ttlSecurity" => ttl_security: u16,
        /// How segments are signed.
        "authentication" => authentication: Authentication,
        /// How BFD watches the way to it.
        "bfd" => bfd: Bfd,
        /// A profile or explicit timers.
        "timers" => timers: Timers,
        /// Prefixes accepted.
        "maxPrefixes" => max_prefixes: u32,
        /// Offer messages of up to 65535 bytes.
        "extendedMessages" => extended_messages: bool,
        /// Policy for what it tells.
        "import" => import: String,
        /// Policy for what it is told.
        "export" => export: String,
        /// Ask it to prefer other ways.
        "gracefulShutdown" => graceful_shutdown: bool,
    }
}

mapping! {
    /// How segments are signed.
    Authentication {
        /// Kind.
        "type" => kind: AuthenticationKind,
        /// File with the key.
        "keyFile" => key_file: PathBuf,
        /// Environment variable with the key.
        "keyEnv" => key_env: String,
        /// KeyID in what is sent.
        "sendId" => send_id: u16,
        /// KeyID in what is received.
        "receiveId" => receive_id: u16,
        /// Message authentication code.
        "algorithm" => algorithm: AoAlgorithm,
    }
}

/// Kinds of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthenticationKind {
    /// RFC 2385.
    Md5,
    /// RFC 5925.
    TcpAo,
}

impl Word for AuthenticationKind {
    const WORDS: &'static [(&'static str, Self)] = &[("md5", Self::Md5), ("tcp-ao", Self::TcpAo)];
}

impl Word for AoAlgorithm {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("hmac-sha-1", Self::HmacSha1),
        ("aes-128-cmac", Self::Aes128Cmac),
        ("hmac-sha-256", Self::HmacSha256),
    ];
}

impl Word for Verdict {
    const WORDS: &'static [(&'static str, Self)] =
        &[("accept", Self::Accept), ("reject", Self::Reject)];
}

macro_rules! read_words {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
                read_word(node, key, findings)
            }
        }
    )*};
}
read_words!(AuthenticationKind, AoAlgorithm, Verdict);

impl Read for PrefixRange {
    /// `PREFIX [ge LENGTH] [le LENGTH]`: without bounds the prefix itself, with one the other is the prefix's length or that
    /// of an address.
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        let text = String::read(node, key, findings)?;
        let range = prefix_range(&text);
        if range.is_none() {
            findings
                .error(
                    node.span,
                    format!("`{key}` must be prefixes with bounds, not `{text}`"),
                )
                .help("for example `10.0.0.0/8 ge 16 le 24`; bounds are lengths from the prefix's own to 32, or 128 in IPv6");
        }
        range
    }
}

fn prefix_range(text: &str) -> Option<PrefixRange> {
    let mut words = text.split_ascii_whitespace();
    let prefix: IpNet = words.next()?.parse().ok()?;
    let (mut least, mut most) = (None, None);
    while let Some(word) = words.next() {
        let bound = match word {
            "ge" => &mut least,
            "le" => &mut most,
            _ => return None,
        };
        let length: u8 = words.next()?.parse().ok()?;
        if bound.replace(length).is_some() {
            return None;
        }
    }
    let own = prefix.prefix_len();
    let open_end = if least.is_some() {
        prefix.max_prefix_len()
    } else {
        own
    };
    let range = PrefixRange {
        prefix,
        least: least.unwrap_or(own),
        most: most.unwrap_or(open_end),
    };
    let sound = prefix == prefix.trunc() && (own..=range.most).contains(&range.least);
    (sound && range.most <= prefix.max_prefix_len()).then_some(range)
}

/// Writes a range so that it is read back as the same.
pub(crate) fn prefix_range_text(range: &PrefixRange) -> String {
    let PrefixRange {
        prefix,
        least,
        most,
    } = range;
    format!("{prefix} ge {least} le {most}")
}

impl Read for AnyCommunity {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        if let Value::Text(text) = &node.value {
            if let Ok(large) = text.parse::<LargeCommunity>() {
                return Some(Self::Large(large));
            }
            if let Ok(standard) = text.parse::<Community>() {
                return Some(Self::Standard(standard));
            }
        }
        let found = node.value.describe();
        findings
            .error(
                node.span,
                format!("`{key}` must be communities, not {found}"),
            )
            .help("for example `\"65001:100\"`, `\"65001:1:2\"` or `graceful-shutdown`, quoted");
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_lengths_between_the_prefix_and_a_host() {
        let table = [
            ("10.0.0.0/8", Some((8, 8))),
            ("10.0.0.0/8 le 24", Some((8, 24))),
            ("10.0.0.0/8 ge 16", Some((16, 32))),
            ("10.0.0.0/8 ge 16 le 24", Some((16, 24))),
            ("10.0.0.0/8 le 24 ge 16", Some((16, 24))),
            ("0.0.0.0/0 le 32", Some((0, 32))),
            ("10.0.0.0/8 ge 7", None),
            ("10.0.0.0/8 le 33", None),
            ("10.0.0.0/8 ge 24 le 16", None),
            ("10.0.0.0/8 ge 16 ge 17", None),
            ("10.0.0.0/8 to 16", None),
            ("10.0.0.0/8 ge", None),
            ("10.0.0.1/8", None),
            ("ten", None),
            ("2001:db8::/32 ge 48", Some((48, 128))),
            ("::/0 le 64", Some((0, 64))),
            ("2001:db8::/32 le 129", None),
            ("2001:db8::1/32", None),
        ];
        for (text, bounds) in table {
            let range = prefix_range(text);
            assert_eq!(range.map(|it| (it.least, it.most)), bounds, "{text}");
            if let Some(range) = range {
                assert_eq!(prefix_range(&prefix_range_text(&range)), Some(range));
            }
        }
    }
}
