//! How single values are written: numbers, durations, addresses, prefixes, words.
//!
//! Every message says what is expected in the operator's words; the names of types never show.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::finding::{Finding, Findings};
use super::node::{Node, Value};
use super::read::{Read, listed, nearest};

/// Reads a scalar with `parse`; on failure reports that `key` must be `expected`.
fn scalar<T>(
    (node, key): (&Node, &str),
    expected: &str,
    findings: &mut Findings,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ()> {
    let parsed = match &node.value {
        Value::Text(text) => parse(text),
        Value::Empty | Value::List(_) | Value::Map(_) => None,
    };
    parsed.ok_or_else(|| {
        let found = node.value.describe();
        let finding = findings.error(
            node.span,
            format!("`{key}` must be {expected}, not {found}"),
        );
        explain(finding, &node.value, expected);
    })
}

/// Adds the hint that fits a common slip.
fn explain(finding: &mut Finding, value: &Value, expected: &str) {
    let Value::Text(text) = value else { return };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (expected, text.to_lowercase().as_str()) {
        (DURATION, _) if is_number => finding.help(format!("add the unit, for example `{text}s`")),
        (BOOL, "yes" | "on" | "1") => finding.help("write `true`"),
        (BOOL, "no" | "off" | "0") => finding.help("write `false`"),
        _ => finding,
    };
}

macro_rules! read_number {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
                let expected = format!("a whole number from 1 to {}", <$type>::MAX);
                scalar((node, key), &expected, findings, |text| text.parse().ok()).ok()
            }
        }
    )*};
}
read_number!(u16, u32);

impl Read for bool {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        scalar((node, key), BOOL, findings, |text| text.parse().ok()).ok()
    }
}

impl Read for String {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        let one_line =
            |text: &str| (!text.is_empty() && !text.contains('\n')).then(|| text.to_owned());
        scalar((node, key), "a text", findings, one_line).ok()
    }
}

impl Read for PathBuf {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        String::read(node, key, findings).map(Self::from)
    }
}

impl Read for Ipv4Addr {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        scalar(
            (node, key),
            "an IPv4 address such as 10.99.0.1",
            findings,
            |text| text.parse().ok(),
        )
        .ok()
    }
}

impl Read for Ipv6Addr {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        scalar(
            (node, key),
            "an IPv6 address such as 2001:db8::1",
            findings,
            |text| text.parse().ok(),
        )
        .ok()
    }
}

impl Read for Ipv4Net {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        network(node, key, "an IPv4 prefix such as 10.77.60.0/24", findings)
    }
}

impl Read for Ipv6Net {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        network(node, key, "an IPv6 prefix such as 2001:db8::/32", findings)
    }
}

/// Reads a prefix without bits beyond its length.
fn network<N: FromStr + Copy + Into<IpNet>>(
    node: &Node,
    key: &str,
    expected: &str,
    findings: &mut Findings,
) -> Option<N> {
    let prefix: N = scalar((node, key), expected, findings, |text| text.parse().ok()).ok()?;
    let written: IpNet = prefix.into();
    if written.addr() != written.network() {
        findings
            .error(
                node.span,
                format!("`{key}` {written} has bits set beyond its length"),
            )
            .help(format!("the network is {}", written.trunc()));
        return None;
    }
    Some(prefix)
}

impl Read for Duration {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        scalar((node, key), DURATION, findings, parse_duration).ok()
    }
}

/// A value that is one of a few words.
pub(crate) trait Word: Copy + 'static {
    /// All words and what they stand for.
    const WORDS: &'static [(&'static str, Self)];
    /// Words of the design that this version does not have.
    const LATER: &'static [&'static str] = &[];
}

/// Reads a [`Word`]; an unknown one is answered with the list and the nearest.
pub(crate) fn read_word<T: Word>(node: &Node, key: &str, findings: &mut Findings) -> Option<T> {
    let known: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    let list = match known.len() {
        1 => listed(&known),
        _ => format!("one of {}", listed(&known)),
    };
    let Value::Text(text) = &node.value else {
        let found = node.value.describe();
        findings.error(node.span, format!("`{key}` must be {list}, not {found}"));
        return None;
    };
    if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| word == text) {
        return Some(*value);
    }
    if T::LATER.contains(&text.as_str()) {
        findings
            .error(
                node.span,
                format!("`{key}: {text}` is not available in this version"),
            )
            .help(format!("use {list}"));
        return None;
    }
    let found = node.value.describe();
    let finding = findings.error(node.span, format!("`{key}` must be {list}, not {found}"));
    if let Some(meant) = nearest(text, &known) {
        finding.help(format!("did you mean `{meant}`?"));
    }
    None
}

/// Parses `300ms`, `9s`, `2m` or `1h`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// Writes a duration so that [`parse_duration`] reads the same.
pub(crate) fn duration_text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        whole if whole.is_multiple_of(1_000) => format!("{}s", whole / 1_000),
        _ => format!("{milliseconds}ms"),
    }
}

const BOOL: &str = "`true` or `false`";
const DURATION: &str = "a duration such as 300ms, 9s or 2m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        let cases = [
            ("300ms", Some(300)),
            ("9s", Some(9_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("9", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("9 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(
                parse_duration(text),
                milliseconds.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn a_duration_is_read_back_from_its_text() {
        for milliseconds in [1, 300, 1_000, 1_500, 9_000, 3_600_000] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
        }
    }
}
