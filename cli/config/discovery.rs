//! How addresses of the LAN are learned, as it is written.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::finding::Findings;
use super::node::{Node, Value};
use super::read::{At, Field, Fields, Read, mapping, span_of};
use super::scalar::{Word, read_word};

mapping! {
    /// Learning which addresses live on the LAN.
    Discovery {
        /// Kind.
        "type" => kind: DiscoveryKind,
        /// How long a host counts as there after its last frame.
        "expiry" => expiry: Duration,
        /// Time between two lists of a provider.
        "interval" => interval: Duration,
        /// Addresses asked for per second.
        "sweep" => sweep: Sweep,
        /// Addresses that one MAC may have.
        "addressesPerMac" => per_mac: u16,
        /// Addresses that only one MAC may have.
        "bindings" => bindings: Bindings,
    }
}

/// Kinds of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiscoveryKind {
    /// By ARP.
    Arp,
    /// By what the provider of the cloud lists.
    Provider,
}

impl Word for DiscoveryKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("arp", Self::Arp), ("provider", Self::Provider)];
}

impl Read for DiscoveryKind {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        read_word(node, key, findings)
    }
}

/// Addresses per second, or `off`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep(pub(crate) u16);

impl Read for Sweep {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        if let Value::Text(text) = &node.value {
            let number = text.parse().ok().filter(|number| *number > 0);
            if let Some(number) = number.or_else(|| (text == "off").then_some(0)) {
                return Some(Self(number));
            }
        }
        let found = node.value.describe();
        findings
            .error(
                node.span,
                format!("`{key}` must be `off` or a number of addresses per second, not {found}"),
            )
            .help(format!("for example `{key}: 10`"));
        None
    }
}

/// MACs by address, with the places of both.
#[derive(Debug, Clone)]
pub(crate) struct Bindings(pub(crate) Vec<(At<Ipv4Addr>, At<[u8; 6]>)>);

impl Read for Bindings {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let found = node.value.describe();
            findings
                .error(node.span, format!("`{key}` must be a mapping, not {found}"))
                .help(format!(
                    "write `{key}: {{10.77.60.5: \"02:00:00:00:00:05\"}}`"
                ));
            return None;
        };
        let mut bindings = Vec::new();
        for entry in entries {
            let Ok(value) = entry.key.parse() else {
                findings
                    .error(
                        entry.key_span,
                        format!("`{}` is no IPv4 address", entry.key),
                    )
                    .help("a MAC is bound to an address, such as 10.77.60.5");
                continue;
            };
            let span = entry.key_span;
            if let Some(mac) = mac(&entry.node, &entry.key, findings) {
                let span_of_mac = span_of(&entry.node);
                let mac = At {
                    value: mac,
                    span: span_of_mac,
                };
                bindings.push((At { value, span }, mac));
            }
        }
        Some(Self(bindings))
    }
}

/// Reads the MAC of one host.
fn mac(node: &Node, key: &str, findings: &mut Findings) -> Option<[u8; 6]> {
    let parsed = match &node.value {
        Value::Text(text) => parse_mac(text),
        Value::Empty | Value::List(_) | Value::Map(_) => None,
    };
    // The lowest bit of the first byte says that it is a group's (IEEE 802).
    let parsed = parsed.filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6]);
    if parsed.is_none() {
        let found = node.value.describe();
        findings
            .error(
                node.span,
                format!("`{key}` must be bound to the MAC of a host, not {found}"),
            )
            .help("write it as \"02:00:00:00:00:05\", in quotes");
    }
    parsed
}

/// Parses six bytes in hexadecimal, two digits each, with colons between.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut pieces = text.split(':');
    for byte in &mut mac {
        let piece = pieces.next()?;
        let is_hex = piece.len() == 2 && piece.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = is_hex.then(|| u8::from_str_radix(piece, 16).ok())??;
    }
    pieces.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_six_bytes_with_colons() {
        assert_eq!(parse_mac("02:00:00:aB:00:05"), Some([2, 0, 0, 0xab, 0, 5]));
        for text in [
            "02:00:00:00:00",
            "02:00:00:00:00:05:06",
            "2:0:0:0:0:5",
            "02-00-00-00-00-05",
            "02:00:00:00:00:+5",
            "",
        ] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }
}
