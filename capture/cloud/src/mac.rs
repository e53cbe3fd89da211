//! Hardware addresses: Linux, the metadata services and Resource Manager each write them in their own way.

use std::fmt;
use std::str::FromStr;

/// A hardware address of an Ethernet interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// A text that is no hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no hardware address")]
pub struct ParseMacError(String);

impl FromStr for MacAddress {
    type Err = ParseMacError;

    /// Reads `02:00:00:00:0a:0a`, `00-0D-3A-00-00-0A` and `000D3A00000A`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseMacError(text.chars().take(32).collect());
        let separated = text.len() == 17;
        let mut digits = text.bytes();
        let mut octets = [0; 6];
        for (index, octet) in octets.iter_mut().enumerate() {
            if separated && index > 0 && !matches!(digits.next(), Some(b':' | b'-')) {
                return Err(wrong());
            }
            let high = digits.next().and_then(hex_digit).ok_or_else(wrong)?;
            let low = digits.next().and_then(hex_digit).ok_or_else(wrong)?;
            *octet = high << 4 | low;
        }
        match digits.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(wrong()),
        }
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

impl fmt::Display for MacAddress {
    /// Writes it as Linux does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_the_same_address() {
        let linux: MacAddress = "00:0d:3a:00:00:0a".parse().expect("Linux");
        for text in ["00-0D-3A-00-00-0A", "000D3A00000A", "000d3a00000a"] {
            assert_eq!(text.parse(), Ok(linux), "{text}");
        }
        assert_eq!(linux.to_string(), "00:0d:3a:00:00:0a");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "00:0d:3a:00:00",
            "00:0d:3a:00:00:0g",
            "000d3a00000a0",
            "00:0d:3a:00:00:0a:",
            "+00d3a00000a",
            "00.0d.3a.00.00.0a",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }
}
