//! The advertisement (RFC 9568 section 5.2, RFC 3768 section 5.3): what follows the IP header.

use std::net::Ipv4Addr;
use std::time::Duration;

use thiserror::Error;

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768: whole seconds, a checksum of the message alone.
    V2 = 2,
    /// RFC 9568: centiseconds, a checksum that covers the addresses too.
    V3 = 3,
}

impl Version {
    /// The step in which intervals are told.
    #[must_use]
    pub const fn tick(self) -> Duration {
        match self {
            Self::V2 => Duration::from_secs(1),
            Self::V3 => Duration::from_millis(10),
        }
    }

    /// The longest interval that can be told.
    #[must_use]
    pub const fn longest(self) -> Duration {
        match self {
            Self::V2 => Duration::from_secs(255),
            Self::V3 => Duration::from_millis(40_950),
        }
    }

    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// An advertisement without authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Version of the protocol.
    pub version: Version,
    /// Virtual router; not zero.
    pub vrid: u8,
    /// Priority of the sender: 255 owns the addresses, 0 gives up.
    pub priority: u8,
    /// Interval of the sender's advertisements: whole ticks of the version, at least one.
    pub interval: Duration,
    /// Addresses of the virtual router; at least one.
    pub addresses: Vec<Ipv4Addr>,
}

/// Why bytes are no advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Shorter than header, addresses and authentication data.
    #[error("the length is wrong")]
    Length,
    /// Neither version 2 nor 3.
    #[error("the version is unknown")]
    Version,
    /// Not an advertisement.
    #[error("the type is not 1")]
    Type,
    /// The checksum does not fit.
    #[error("the checksum is wrong")]
    Checksum,
    /// Version 2 with authentication.
    #[error("authentication is not configured")]
    Authentication,
    /// Virtual router zero.
    #[error("the virtual router has no number")]
    Vrid,
    /// No address.
    #[error("there is no address")]
    Count,
    /// An interval of zero.
    #[error("the interval is zero")]
    Interval,
}

impl Packet {
    /// Decodes what follows the IP header of a packet between these addresses.
    ///
    /// # Errors
    /// For the first of the checks of RFC 9568 section 7.1 (RFC 3768 section 7.1) that fails and needs no configuration.
    pub fn decode(
        bytes: &[u8],
        source: Ipv4Addr,
        destination: Ipv4Addr,
    ) -> Result<Self, Malformed> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(Malformed::Length)?;
        // 1. The version is known, and the type is ADVERTISEMENT.
        let version = match header[0] >> 4 {
            2 => Version::V2,
            3 => Version::V3,
            _ => return Err(Malformed::Version),
        };
        if header[0] & 0x0f != ADVERTISEMENT {
            return Err(Malformed::Type);
        }
        // 2. The packet is complete.
        let count = usize::from(header[3]);
        let length = HEADER + 4 * count + trailer(version);
        if bytes.len() < length {
            return Err(Malformed::Length);
        }
        // 3. The checksum is right.
        if checksum(version, &bytes[..length], source, destination) != 0 {
            return Err(Malformed::Checksum);
        }
        // 4. Version 2: no authentication.
        if version == Version::V2 && header[4] != 0 {
            return Err(Malformed::Authentication);
        }
        // 5. No field has a value that it cannot have.
        if header[1] == 0 {
            return Err(Malformed::Vrid);
        }
        if count == 0 {
            return Err(Malformed::Count);
        }
        let ticks = match version {
            Version::V2 => u32::from(header[5]),
            Version::V3 => u32::from(u16::from_be_bytes([header[4] & 0x0f, header[5]])),
        };
        if ticks == 0 {
            return Err(Malformed::Interval);
        }
        let words = bytes[HEADER..HEADER + 4 * count].as_chunks::<4>().0;
        Ok(Self {
            version,
            vrid: header[1],
            priority: header[2],
            interval: version.tick() * ticks,
            addresses: words.iter().copied().map(Ipv4Addr::from).collect(),
        })
    }

    /// Encodes the packet for the way between these addresses. An interval beyond what the version can tell is cut, and
    /// so are addresses beyond 255.
    #[must_use]
    pub fn encode(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let interval = self.interval.min(self.version.longest());
        let ticks = interval.as_millis() / self.version.tick().as_millis();
        let [high, low] = u16::try_from(ticks)
            .unwrap_or(u16::MAX)
            .max(1)
            .to_be_bytes();
        let mut bytes = vec![
            self.version.number() << 4 | ADVERTISEMENT,
            self.vrid,
            self.priority,
            count,
            high,
            low,
            0,
            0,
        ];
        for address in self.addresses.iter().take(usize::from(count)) {
            bytes.extend(address.octets());
        }
        bytes.resize(bytes.len() + trailer(self.version), 0);
        let sum = checksum(self.version, &bytes, source, destination);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// Length of the authentication data behind the addresses.
const fn trailer(version: Version) -> usize {
    match version {
        Version::V2 => 8,
        Version::V3 => 0,
    }
}

/// The Internet checksum (RFC 1071) of the message, in version 3 with the pseudo header of RFC 9568 section 5.2.8; zero
/// over a message that carries the right one.
fn checksum(version: Version, bytes: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> u16 {
    let mut sum = sum(bytes);
    if version == Version::V3 {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        sum += sum_of(source) + sum_of(destination) + u32::from(crate::PROTOCOL) + length;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn sum_of(address: Ipv4Addr) -> u32 {
    sum(&address.octets())
}

/// Adds up 16-bit words; at most 1 KiB, so 32 bits are enough.
fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let words = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)));
    let odd = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    words.sum::<u32>() + odd
}

const HEADER: usize = 8;
const ADVERTISEMENT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEAR: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);
    const GROUP: Ipv4Addr = crate::GROUP;
    /// What keepalived 2.2.7 sends: version 3, virtual router 60, priority 150, 500 ms, 10.77.60.254.
    const REAL_V3: [u8; 12] = [
        0x31, 0x3c, 0x96, 0x01, 0x00, 0x32, 0xca, 0x67, 0x0a, 0x4d, 0x3c, 0xfe,
    ];
    /// The same in version 2 with 1 s.
    const REAL_V2: [u8; 20] = [
        0x21, 0x3c, 0x96, 0x01, 0x00, 0x01, 0x01, 0x76, 0x0a, 0x4d, 0x3c, 0xfe, 0, 0, 0, 0, 0, 0,
        0, 0,
    ];

    #[test]
    fn every_field_has_its_place() {
        let v3 = Packet {
            version: Version::V3,
            vrid: 60,
            priority: 150,
            interval: Duration::from_millis(500),
            addresses: vec![Ipv4Addr::new(10, 77, 60, 254)],
        };
        let v2 = Packet {
            version: Version::V2,
            interval: Duration::from_secs(1),
            ..v3.clone()
        };
        for (packet, real) in [(v3, &REAL_V3[..]), (v2, &REAL_V2[..])] {
            assert_eq!(packet.encode(NEAR, GROUP), real);
            assert_eq!(Packet::decode(real, NEAR, GROUP), Ok(packet));
        }
    }

    #[test]
    fn each_check_refuses_what_it_is_for() {
        let changed = |real: &[u8], at: usize, value: u8| {
            let mut bytes = real.to_vec();
            bytes[at] = value;
            Packet::decode(&seal(bytes), NEAR, GROUP)
        };
        assert_eq!(changed(&REAL_V3, 0, 0x41), Err(Malformed::Version));
        assert_eq!(changed(&REAL_V3, 0, 0x32), Err(Malformed::Type));
        assert_eq!(changed(&REAL_V3, 1, 0), Err(Malformed::Vrid));
        assert_eq!(changed(&REAL_V3, 3, 2), Err(Malformed::Length));
        assert_eq!(changed(&REAL_V3, 3, 0), Err(Malformed::Count));
        assert_eq!(changed(&REAL_V3, 5, 0), Err(Malformed::Interval));
        assert_eq!(changed(&REAL_V2, 4, 1), Err(Malformed::Authentication));
        assert_eq!(changed(&REAL_V2, 5, 0), Err(Malformed::Interval));
        for length in 0..REAL_V2.len() {
            let cut = Packet::decode(&REAL_V2[..length], NEAR, GROUP);
            assert_eq!(cut, Err(Malformed::Length), "{length}");
        }
    }

    #[test]
    fn the_checksum_covers_the_addresses_in_version_3_only() {
        let elsewhere = Ipv4Addr::new(10, 77, 60, 2);
        let decode = |bytes: &[u8]| Packet::decode(bytes, elsewhere, GROUP).err();
        assert_eq!(decode(&REAL_V3), Some(Malformed::Checksum));
        assert_eq!(decode(&REAL_V2), None);
        let mut damaged = REAL_V2;
        damaged[11] ^= 1;
        assert_eq!(decode(&damaged), Some(Malformed::Checksum));
    }

    #[test]
    fn what_follows_the_packet_is_ignored() {
        let padded = [&REAL_V3[..], &[0xff; 9]].concat();
        assert!(Packet::decode(&padded, NEAR, GROUP).is_ok());
    }

    #[test]
    fn the_reserved_bits_of_version_3_are_ignored() {
        let mut bytes = REAL_V3.to_vec();
        bytes[4] |= 0xf0;
        let packet = Packet::decode(&seal(bytes), NEAR, GROUP).expect("well-formed");
        assert_eq!(packet.interval, Duration::from_millis(500));
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_encoded_to_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(packet) = Packet::decode(&seal(bytes), NEAR, GROUP) {
                let again = packet.encode(NEAR, GROUP);
                prop_assert_eq!(Packet::decode(&again, NEAR, GROUP), Ok(packet));
            }
        }
    }

    /// Makes the checksum of a packet right, as far as it has one.
    fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.len() >= HEADER {
            let version = if bytes[0] >> 4 == 2 {
                Version::V2
            } else {
                Version::V3
            };
            let length = HEADER + 4 * usize::from(bytes[3]) + trailer(version);
            let length = length.min(bytes.len());
            bytes[6..8].fill(0);
            let sum = checksum(version, &bytes[..length], NEAR, GROUP);
            bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }
}
