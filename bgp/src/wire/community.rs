//! Communities (RFC 1997) and large communities (RFC 8092) as text.
//!
//! Large communities are written canonically, three decimal numbers without leading zeros, and no
//! other form is accepted (RFC 8092 section 5).

use std::fmt;
use std::str::FromStr;

/// A standard community as it is shown: a well-known name, or AS number and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// The path goes away soon (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
    /// Not beyond the AS, or its confederation (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xffff_ff01);
    /// To nobody (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xffff_ff02);
    /// Not beyond the AS (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Self = Self(0xffff_ff03);
}

/// A large community: global administrator, function, value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// AS number of who defines the meaning.
    pub global: u32,
    /// First local part.
    pub local1: u32,
    /// Second local part.
    pub local2: u32,
}

/// A text that is no community.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct ParseCommunityError(&'static str);

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WELL_KNOWN.iter().find(|(value, _)| *value == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff),
        }
    }
}

impl FromStr for Community {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((value, _)) = WELL_KNOWN.iter().find(|(_, name)| *name == text) {
            return Ok(Self(*value));
        }
        let [asn, value] =
            numbers::<u16, 2>(text).ok_or(ParseCommunityError("ASN:VALUE or a well-known name"))?;
        Ok(Self(u32::from(asn) << 16 | u32::from(value)))
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [global, local1, local2] = numbers::<u32, 3>(text).ok_or(ParseCommunityError(
            "GLOBAL:LOCAL1:LOCAL2, decimal, no leading zeros",
        ))?;
        Ok(Self {
            global,
            local1,
            local2,
        })
    }
}

/// Parses exactly `N` decimal numbers separated by colons, without signs and leading zeros.
fn numbers<T: FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
    let canonical = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let parts: Option<Vec<T>> = text
        .split(':')
        .map(|part| part.parse().ok().filter(|_| canonical(part)))
        .collect();
    parts?.try_into().ok()
}

/// The well-known communities that a fabric meets (IANA registry).
const WELL_KNOWN: [(u32, &str); 8] = [
    (0xffff_0000, "graceful-shutdown"),
    (0xffff_0006, "llgr-stale"),
    (0xffff_0007, "no-llgr"),
    (0xffff_029a, "blackhole"),
    (0xffff_ff01, "no-export"),
    (0xffff_ff02, "no-advertise"),
    (0xffff_ff03, "no-export-subconfed"),
    (0xffff_ff04, "no-peer"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_survive_being_shown() {
        for (value, text) in [
            (0xfde9_0002, "65001:2"),
            (0, "0:0"),
            (0xffff_ff01, "no-export"),
            (0xffff_ffff, "65535:65535"),
        ] {
            assert_eq!(Community(value).to_string(), text);
            assert_eq!(text.parse(), Ok(Community(value)));
        }
    }

    #[test]
    fn large_communities_survive_being_shown() {
        let community = LargeCommunity {
            global: 64512,
            local1: 0,
            local2: u32::MAX,
        };

        assert_eq!(community.to_string(), "64512:0:4294967295");
        assert_eq!("64512:0:4294967295".parse(), Ok(community));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1",
            "1:2",
            "1:2:3:4",
            "1::3",
            "+1:2:3",
            "01:2:3",
            "1:2:4294967296",
            "1:2:x",
        ] {
            assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
        }
        for text in ["", "1", "1:65536", "1:2:3", "NO-EXPORT", "-1:2"] {
            assert!(text.parse::<Community>().is_err(), "{text}");
        }
    }
}
