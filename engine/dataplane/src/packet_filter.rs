//! Which packets somebody wants to see: terms joined by `and`, all of which must hold.
//!
//! ```text
//! filter = "" | term *("and" term)
//! term   = ("src" | "dst" | "host") ADDRESS[/LENGTH] | "proto" (icmp | tcp | udp | 0-255) | "port" 1-65535
//! ```
//! `host` and `port` mean either end. A fragment without ports matches no `port`. Reads headers as they are, sound or
//! not: a packet that is dropped because it is broken can be found, too.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;

use crate::packet::ipv4::{FLAGS, FRAGMENT_OFFSET, ICMP, IPV4_HEADER, TCP, UDP, word};

/// A filter for IPv4 packets; the default one lets all pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PacketFilter {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    Source(Ipv4Net),
    Destination(Ipv4Net),
    Host(Ipv4Net),
    Protocol(u8),
    Port(u16),
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterRefusal {
    /// A word that begins no term.
    UnknownWord(String),
    /// The text ends where a value must stand.
    ValueMissing {
        /// The word that wants it.
        after: &'static str,
        /// What to give.
        wanted: &'static str,
    },
    /// A word that is no such value.
    NoSuchValue {
        /// The word.
        word: String,
        /// The word before.
        after: &'static str,
        /// What to give.
        wanted: &'static str,
    },
    /// Two terms without `and` between.
    AndMissing(String),
    /// More terms than anybody needs.
    TooManyTerms,
}

/// Most terms of a filter.
pub const TERMS_MAX: usize = 8;

impl FilterRefusal {
    /// Says what to write instead.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::UnknownWord(_) => {
                "a term is src, dst or host with an address, proto with a protocol, or port with a number".into()
            }
            Self::ValueMissing { after, wanted } | Self::NoSuchValue { after, wanted, .. } => {
                format!("write `{after}` and {wanted}")
            }
            Self::AndMissing(word) => format!("write `and {word}`"),
            Self::TooManyTerms => format!("at most {TERMS_MAX} terms, all of which must hold"),
        }
    }
}

impl fmt::Display for FilterRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWord(word) => write!(out, "'{word}' begins no term of a filter"),
            Self::ValueMissing { after, .. } => write!(out, "the filter ends after '{after}'"),
            Self::NoSuchValue { word, after, .. } => {
                write!(out, "'{word}' after '{after}' is not what belongs there")
            }
            Self::AndMissing(word) => write!(out, "'{word}' follows a term without 'and'"),
            Self::TooManyTerms => out.write_str("the filter has too many terms"),
        }
    }
}

impl PacketFilter {
    /// Tells whether a packet, from its IPv4 header on, meets all terms. What is no IPv4 packet meets none, not even
    /// the empty filter.
    #[must_use]
    pub fn matches(&self, packet: &[u8]) -> bool {
        let Some(header) = packet.first_chunk::<IPV4_HEADER>() else {
            return false;
        };
        header[0] >> 4 == 4 && self.terms.iter().all(|term| term.holds(header, packet))
    }
}

impl Term {
    fn holds(self, header: &[u8; IPV4_HEADER], packet: &[u8]) -> bool {
        let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
        let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        match self {
            Self::Source(net) => net.contains(&source),
            Self::Destination(net) => net.contains(&destination),
            Self::Host(net) => net.contains(&source) || net.contains(&destination),
            Self::Protocol(protocol) => header[9] == protocol,
            Self::Port(port) => ports(header, packet).is_some_and(|ports| ports.contains(&port)),
        }
    }

    fn parse(name: &str, value: Option<&str>) -> Result<Self, FilterRefusal> {
        match name {
            "src" => value_of("src", ADDRESS, value, prefix).map(Self::Source),
            "dst" => value_of("dst", ADDRESS, value, prefix).map(Self::Destination),
            "host" => value_of("host", ADDRESS, value, prefix).map(Self::Host),
            "proto" => value_of("proto", PROTOCOL, value, protocol).map(Self::Protocol),
            "port" => value_of("port", PORT, value, port).map(Self::Port),
            _ => Err(FilterRefusal::UnknownWord(name.into())),
        }
    }
}

impl FromStr for PacketFilter {
    type Err = FilterRefusal;

    fn from_str(text: &str) -> Result<Self, FilterRefusal> {
        let mut terms = Vec::new();
        let mut words = text.split_whitespace();
        let mut next = words.next();
        while let Some(name) = next {
            if terms.len() == TERMS_MAX {
                return Err(FilterRefusal::TooManyTerms);
            }
            terms.push(Term::parse(name, words.next())?);
            next = match words.next() {
                Some("and") => Some(words.next().ok_or(FilterRefusal::ValueMissing {
                    after: "and",
                    wanted: "a further term",
                })?),
                Some(word) => return Err(FilterRefusal::AndMissing(word.into())),
                None => None,
            };
        }
        Ok(Self { terms })
    }
}

/// Source and destination port, where the packet has them.
fn ports(header: &[u8; IPV4_HEADER], packet: &[u8]) -> Option<[u16; 2]> {
    let has_ports = matches!(header[9], TCP | UDP);
    if !has_ports || word(header, FLAGS) & FRAGMENT_OFFSET != 0 {
        return None;
    }
    let start = usize::from(header[0] & 0x0f) * 4;
    let l4: &[u8; 4] = packet.get(start..)?.first_chunk()?;
    Some([word(l4, 0), word(l4, 2)])
}

fn value_of<T>(
    after: &'static str,
    wanted: &'static str,
    value: Option<&str>,
    parse: fn(&str) -> Option<T>,
) -> Result<T, FilterRefusal> {
    let word = value.ok_or(FilterRefusal::ValueMissing { after, wanted })?;
    parse(word).ok_or_else(|| FilterRefusal::NoSuchValue {
        word: word.into(),
        after,
        wanted,
    })
}

fn prefix(word: &str) -> Option<Ipv4Net> {
    let address = word.parse::<Ipv4Addr>().ok().map(Ipv4Net::from);
    address.or_else(|| word.parse().ok())
}

fn protocol(word: &str) -> Option<u8> {
    match word {
        "icmp" => Some(ICMP),
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        number => number.parse().ok(),
    }
}

fn port(word: &str) -> Option<u16> {
    word.parse().ok().filter(|port| *port != 0)
}

const ADDRESS: &str = "an IPv4 address or prefix, such as 10.77.60.10";
const PROTOCOL: &str = "icmp, tcp, udp or a number up to 255";
const PORT: &str = "a number from 1 to 65535";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Tcp, Udp};

    fn filter(text: &str) -> PacketFilter {
        text.parse()
            .unwrap_or_else(|refusal| panic!("{text}: {refusal}"))
    }

    #[test]
    fn every_term_must_hold() {
        // 10.1.0.2 port 40000 to 10.2.0.3 port 5001.
        let packet = Udp::default().build();
        for (text, expected) in [
            ("", true),
            ("src 10.1.0.2", true),
            ("src 10.2.0.3", false),
            ("dst 10.2.0.3", true),
            ("dst 10.2.0.0/16", true),
            ("dst 10.1.0.2", false),
            ("host 10.1.0.2", true),
            ("host 10.2.0.3", true),
            ("host 10.3.0.3", false),
            ("proto udp", true),
            ("proto 17", true),
            ("proto tcp", false),
            ("port 40000", true),
            ("port 5001", true),
            ("port 5002", false),
            ("host 10.1.0.2 and proto udp and port 5001", true),
            ("host 10.1.0.2 and proto udp and port 5002", false),
            ("  host   10.1.0.2  ", true),
        ] {
            assert_eq!(filter(text).matches(&packet), expected, "{text}");
        }
        assert!(filter("proto tcp and port 5001").matches(&Tcp::default().build()));
    }

    #[test]
    fn ports_are_those_of_packets_that_have_them() {
        let mut packet = Udp::default().build();
        let filter = filter("port 5001");
        packet[7] = 1;
        assert!(!filter.matches(&packet), "a later fragment");
        packet[7] = 0;
        packet[9] = 47;
        assert!(!filter.matches(&packet), "another protocol");
        packet[9] = UDP;
        assert!(!filter.matches(&packet[..23]), "half a header");
        packet[0] = 0x4f;
        assert!(!filter.matches(&packet), "a header longer than the packet");
    }

    #[test]
    fn what_is_no_ipv4_packet_matches_nothing() {
        let all = PacketFilter::default();
        assert!(!all.matches(&[]));
        assert!(!all.matches(&[0x45; 19]));
        assert!(!all.matches(&[0x60; 40]));
    }

    #[test]
    fn a_refusal_names_the_word_and_the_remedy() {
        for (text, error, remedy) in [
            ("from 10.0.0.1", "'from'", "src, dst or host"),
            ("src", "ends after 'src'", "`src` and an IPv4 address"),
            ("src lan60", "'lan60' after 'src'", "10.77.60.10"),
            ("proto sctp", "'sctp'", "icmp, tcp, udp"),
            ("proto 256", "'256'", "up to 255"),
            ("port 0", "'0'", "1 to 65535"),
            ("port ssh", "'ssh'", "1 to 65535"),
            ("port 22 or port 23", "'or' follows", "`and or`"),
            ("port 22 and", "ends after 'and'", "a further term"),
            ("port 22 proto tcp", "'proto' follows", "`and proto`"),
        ] {
            let refusal = text.parse::<PacketFilter>().unwrap_err();
            assert!(refusal.to_string().contains(error), "{text}: {refusal}");
            assert!(
                refusal.remedy().contains(remedy),
                "{text}: {}",
                refusal.remedy()
            );
        }
        let long = ["port 1"; TERMS_MAX + 1].join(" and ");
        assert_eq!(
            long.parse::<PacketFilter>(),
            Err(FilterRefusal::TooManyTerms)
        );
        assert!(
            ["port 1"; TERMS_MAX]
                .join(" and ")
                .parse::<PacketFilter>()
                .is_ok()
        );
    }
}
