//! Endpoints: `host:port`, `[v6]:port` or a name, with the port of the fabric when none is written.

use std::net::{IpAddr, Ipv6Addr};

use sam_router::config::{Endpoint, Host};

use crate::config::finding::Findings;
use crate::config::read::At;

/// Parses an endpoint; reports what is wrong with it.
pub(super) fn endpoint(
    written: &At<String>,
    default_port: u16,
    findings: &mut Findings,
) -> Option<Endpoint> {
    match parse(&written.value, default_port) {
        Ok(endpoint) => Some(endpoint),
        Err(help) => {
            findings
                .error(
                    written.span,
                    format!("`{}` is not an endpoint", written.value),
                )
                .help(help);
            None
        }
    }
}

/// Parses an endpoint or says what to write instead.
fn parse(text: &str, default_port: u16) -> Result<Endpoint, String> {
    if text.contains("://") {
        return Err("an endpoint has no scheme; write `host:port`".into());
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!(
            "put brackets around an IPv6 address: `[{text}]:{default_port}`"
        ));
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("the closing `]` is missing")?;
        let address = address
            .parse::<Ipv6Addr>()
            .map_err(|_| format!("`{address}` is not an IPv6 address"))?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port),
            None if rest.is_empty() => None,
            None => return Err("after the `]` comes `:port`".into()),
        };
        (Host::Address(IpAddr::V6(address)), port)
    } else {
        let (host, port) = text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port)));
        (parse_host(host)?, port)
    };
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("`{port}` is not a port; ports are 1 to 65535"))?,
    };
    match &host {
        Host::Address(address) if address.is_unspecified() || address.is_multicast() => {
            Err(format!("nobody can be reached at {address}"))
        }
        Host::Address(_) | Host::Name(_) => Ok(Endpoint { host, port }),
    }
}

/// A literal address or a host name of RFC 1123 section 2.1.
fn parse_host(host: &str) -> Result<Host, String> {
    if let Ok(address) = host.parse() {
        return Ok(Host::Address(address));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let looks_numeric = name
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if name.len() > 253 || looks_numeric || !name.split('.').all(is_label) {
        return Err(
            "write `203.0.113.11:51820`, `[2001:db8::1]:51820` or `name.example:51820`".into(),
        );
    }
    Ok(Host::Name(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_or_names_with_an_optional_port() {
        let cases = [
            ("203.0.113.11:51820", "203.0.113.11", 51820),
            ("203.0.113.11", "203.0.113.11", 1),
            ("[2001:db8::1]:7", "2001:db8::1", 7),
            ("[2001:db8::1]", "2001:db8::1", 1),
            ("a.example:7", "a.example", 7),
            ("hub", "hub", 1),
            ("r2_lab.example.:7", "r2_lab.example.", 7),
        ];
        for (text, host, port) in cases {
            let host = host
                .parse()
                .map_or_else(|_| Host::Name(host.into()), Host::Address);
            assert_eq!(parse(text, 1), Ok(Endpoint { host, port }), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let cases = [
            "",
            ":7",
            "2001:db8::1",
            "2001:db8::1:51820",
            "[2001:db8::1",
            "[::1]7",
            "[::1]:",
            "1.2.3",
            "1.2.3.4.5:7",
            "300.1.1.1:7",
            "a b:7",
            "a:0",
            "a:65536",
            "a:x",
            "-a:7",
            "a..b:7",
            "0.0.0.0:7",
            "224.0.0.1:7",
            "[ff02::1]:7",
            "http://a:7",
        ];
        for text in cases {
            assert!(parse(text, 1).is_err(), "{text}");
        }
    }
}
