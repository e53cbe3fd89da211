//! Single values on the command line.

use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use ipnet::IpNet;

use crate::bench::parameters::MAX_RATE;
use crate::config::scalar::{duration_text, parse_duration};

/// Parses the time for which an address is left alone.
pub(super) fn hold(text: &str) -> Result<Duration, String> {
    let most = sam_router::RELEASE_MAX;
    let hold = parse_duration(text).ok_or("write a duration such as 30m or 90s")?;
    if hold > most {
        return Err(format!("at most {}", duration_text(most)));
    }
    Ok(hold)
}

/// Parses a name as cloud providers have them.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.()".contains(letter);
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(good) {
        return Err(format!(
            "write 1 to {MAX_NAME} letters, digits, '-', '_', '.', '(' or ')'"
        ));
    }
    Ok(text.to_owned())
}

/// Parses such a name, or the star that stands for any.
pub(super) fn parse_name_or_any(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    parse_name(text)
}

/// Letters of a name at most; values of tags have no more.
const MAX_NAME: usize = 256;

/// Parses a prefix; a bare address is its own.
pub(super) fn parse_prefix(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let prefix: IpNet = text
        .parse()
        .map_err(|_| "write a prefix such as 10.77.60.10/32 or an address")?;
    if prefix.trunc() != prefix {
        return Err(format!(
            "bits are set beyond the length; the network is {}",
            prefix.trunc()
        ));
    }
    Ok(prefix)
}

/// Parses where a BGP speaker listens; a bare address means the port of BGP.
pub(super) fn parse_speaker(text: &str) -> Result<SocketAddrV4, String> {
    let bare = text
        .parse()
        .map(|address| SocketAddrV4::new(address, BGP_PORT));
    bare.or_else(|_| text.parse())
        .map_err(|_| "write an IPv4 address, and a port behind a colon".to_owned())
}

/// RFC 4271 section 8.2.1.
const BGP_PORT: u16 = 179;

/// Parses bits a second with a decimal suffix.
pub(super) fn parse_rate(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&text[..at], 1_000_000_000),
        Some(_) | None => (text, 1),
    };
    let rate = digits.parse::<u64>().ok();
    rate.and_then(|rate| rate.checked_mul(factor))
        .filter(|rate| *rate <= MAX_RATE)
        .ok_or_else(|| "write a rate such as 500M or 2G, at most 1000G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_decimal_suffixes_and_a_bound() {
        for (text, rate) in [
            ("0", 0),
            ("64000", 64_000),
            ("8k", 8_000),
            ("500M", 500_000_000),
            ("1000G", 1_000_000_000_000),
        ] {
            assert_eq!(parse_rate(text), Ok(rate));
        }
        for text in [
            "",
            "M",
            "1.5G",
            "-1",
            "1001G",
            "99999999999999999999",
            "5 M",
            "5é",
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_speaker_listens_at_port_179_unless_told_otherwise() {
        let at = |port| Ok(SocketAddrV4::new([10, 99, 0, 2].into(), port));
        assert_eq!(parse_speaker("10.99.0.2"), at(179));
        assert_eq!(parse_speaker("10.99.0.2:1790"), at(1790));
        assert!(parse_speaker("upstream").is_err());
    }

    #[test]
    fn an_address_is_a_prefix_of_all_its_bits() {
        assert_eq!(parse_prefix("10.0.0.1"), parse_prefix("10.0.0.1/32"));
        assert_eq!(parse_prefix("2001:db8::1"), parse_prefix("2001:db8::1/128"));
        assert!(parse_prefix("10.0.0.1/24").is_err_and(|help| help.contains("10.0.0.0/24")));
        assert!(parse_prefix("lan60").is_err());
    }
}
