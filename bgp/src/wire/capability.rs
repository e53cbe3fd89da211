//! Capabilities of an OPEN (RFC 5492).
//!
//! Unknown capabilities are kept and shown, never refused. A capability that we know and whose length
//! is wrong makes the OPEN malformed (RFC 4271 section 6.2), except the host name, which is only shown.
//! An ADD-PATH capability with a direction that does not exist is kept as unknown (RFC 7911 section 4).

use super::graceful_restart::GracefulRestart;
use super::reader::Reader;

/// One capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// Code 1 (RFC 4760).
    Multiprotocol {
        /// Address family.
        afi: u16,
        /// Subsequent address family.
        safi: u8,
    },
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 6 (RFC 8654).
    ExtendedMessage,
    /// Code 64 (RFC 4724).
    GracefulRestart(GracefulRestart),
    /// Code 65 (RFC 6793).
    FourOctetAs(u32),
    /// Code 69 (RFC 7911).
    AddPath(Vec<AddPathFamily>),
    /// Code 70 (RFC 7313).
    EnhancedRouteRefresh,
    /// Code 73 (draft-walton-bgp-hostname-capability).
    Fqdn {
        /// Host name.
        host: String,
        /// Domain name.
        domain: String,
    },
    /// Any other, kept and shown.
    Unknown {
        /// Capability code.
        code: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

/// What a speaker can do with several paths to a prefix of one family (RFC 7911 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddPathFamily {
    /// Address family.
    pub afi: u16,
    /// Subsequent address family.
    pub safi: u8,
    /// What it can do.
    pub direction: AddPathDirection,
}

/// Ways in which a speaker can handle several paths to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddPathDirection {
    /// 1: can receive them.
    Receive,
    /// 2: can send them.
    Send,
    /// 3: can do both.
    Both,
}

impl AddPathDirection {
    /// Tells whether several paths can be received.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::Receive | Self::Both)
    }

    /// Tells whether several paths can be sent.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::Send | Self::Both)
    }
}

impl Capability {
    /// Decodes the value of one capabilities parameter; `None` when it is malformed.
    pub(super) fn decode_all(parameter: &[u8]) -> Option<Vec<Self>> {
        let mut reader = Reader::new(parameter);
        let mut capabilities = Vec::new();
        while !reader.is_empty() {
            let code = reader.u8()?;
            let len = reader.u8()?;
            capabilities.push(Self::decode(code, reader.take(usize::from(len))?)?);
        }
        Some(capabilities)
    }

    /// Appends code, length and value. A value longer than 255 bytes cannot be expressed and is left
    /// out.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (code, value) = self.code_and_value();
        if let Ok(len) = u8::try_from(value.len()) {
            out.extend([code, len]);
            out.extend(value);
        }
    }

    fn decode(code: u8, value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let capability = match code {
            MULTIPROTOCOL => {
                let afi = reader.u16()?;
                let _reserved = reader.u8()?;
                Self::Multiprotocol {
                    afi,
                    safi: reader.u8()?,
                }
            }
            ROUTE_REFRESH => Self::RouteRefresh,
            EXTENDED_MESSAGE => Self::ExtendedMessage,
            GRACEFUL_RESTART => return GracefulRestart::decode(value).map(Self::GracefulRestart),
            FOUR_OCTET_AS => Self::FourOctetAs(reader.u32()?),
            ADD_PATH => return add_path(value),
            ENHANCED_ROUTE_REFRESH => Self::EnhancedRouteRefresh,
            FQDN => return Some(fqdn(value).unwrap_or_else(|| unknown(code, value))),
            _ => return Some(unknown(code, value)),
        };
        reader.is_empty().then_some(capability)
    }

    fn code_and_value(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Multiprotocol { afi, safi } => {
                let [high, low] = afi.to_be_bytes();
                (MULTIPROTOCOL, vec![high, low, 0, *safi])
            }
            Self::RouteRefresh => (ROUTE_REFRESH, Vec::new()),
            Self::ExtendedMessage => (EXTENDED_MESSAGE, Vec::new()),
            Self::GracefulRestart(value) => (GRACEFUL_RESTART, value.encode()),
            Self::FourOctetAs(asn) => (FOUR_OCTET_AS, asn.to_be_bytes().to_vec()),
            Self::AddPath(families) => (ADD_PATH, families.iter().flat_map(family_bytes).collect()),
            Self::EnhancedRouteRefresh => (ENHANCED_ROUTE_REFRESH, Vec::new()),
            Self::Fqdn { host, domain } => {
                let mut value = Vec::new();
                for name in [host, domain] {
                    // A name too long for its length octet makes the value too long as well.
                    value.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                    value.extend(name.bytes());
                }
                (FQDN, value)
            }
            Self::Unknown { code, value } => (*code, value.clone()),
        }
    }
}

fn add_path(value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let mut families = Vec::new();
    while !reader.is_empty() {
        let (afi, safi) = (reader.u16()?, reader.u8()?);
        let direction = match reader.u8()? {
            1 => AddPathDirection::Receive,
            2 => AddPathDirection::Send,
            3 => AddPathDirection::Both,
            // The whole counts as not understood, but only if its length is right.
            _ if value.len().is_multiple_of(ADD_PATH_FAMILY_LEN) => {
                return Some(unknown(ADD_PATH, value));
            }
            _ => return None,
        };
        families.push(AddPathFamily {
            afi,
            safi,
            direction,
        });
    }
    Some(Capability::AddPath(families))
}

fn family_bytes(family: &AddPathFamily) -> [u8; ADD_PATH_FAMILY_LEN] {
    let [high, low] = family.afi.to_be_bytes();
    let direction = match family.direction {
        AddPathDirection::Receive => 1,
        AddPathDirection::Send => 2,
        AddPathDirection::Both => 3,
    };
    [high, low, family.safi, direction]
}

fn fqdn(value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let mut name = || {
        let len = reader.u8()?;
        String::from_utf8(reader.take(usize::from(len))?.to_vec()).ok()
    };
    let (host, domain) = (name()?, name()?);
    reader
        .is_empty()
        .then_some(Capability::Fqdn { host, domain })
}

fn unknown(code: u8, value: &[u8]) -> Capability {
    Capability::Unknown {
        code,
        value: value.to_vec(),
    }
}

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_MESSAGE: u8 = 6;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;
const ADD_PATH: u8 = 69;
const ENHANCED_ROUTE_REFRESH: u8 = 70;
const FQDN: u8 = 73;
/// Bytes of one family in an ADD-PATH capability.
const ADD_PATH_FAMILY_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_survive_encoding() {
        let capabilities = vec![
            Capability::Multiprotocol { afi: 1, safi: 1 },
            Capability::RouteRefresh,
            Capability::FourOctetAs(4_200_000_000),
            Capability::AddPath(vec![
                family(1, AddPathDirection::Both),
                family(2, AddPathDirection::Receive),
                family(25, AddPathDirection::Send),
            ]),
            Capability::AddPath(Vec::new()),
            Capability::EnhancedRouteRefresh,
            Capability::Fqdn {
                host: "onprem-a".into(),
                domain: String::new(),
            },
            Capability::Unknown {
                code: 71,
                value: vec![0, 1, 1, 0x80, 0, 0, 60],
            },
        ];

        let mut bytes = Vec::new();
        capabilities
            .iter()
            .for_each(|capability| capability.encode(&mut bytes));

        assert_eq!(Capability::decode_all(&bytes), Some(capabilities));
    }

    #[test]
    fn a_known_capability_of_wrong_length_is_malformed() {
        for bytes in [
            &[1, 3, 0, 1, 0][..],
            &[2, 1, 0],
            &[65, 5, 0, 0, 0, 1, 0],
            &[69, 3, 0, 1, 1],
            &[69, 5, 0, 1, 1, 3, 0],
            &[69, 5, 0, 1, 1, 9, 0],
            &[70, 1, 0],
            &[65, 4],
            &[64, 3, 0, 0, 0],
        ] {
            assert_eq!(Capability::decode_all(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_direction_that_does_not_exist_makes_add_path_unknown_as_a_whole() {
        for direction in [0, 4, 255] {
            let value = [0, 1, 1, 3, 0, 2, 1, direction];

            let bytes = [&[69, 8][..], &value].concat();

            assert_eq!(
                Capability::decode_all(&bytes),
                Some(vec![unknown(69, &value)])
            );
        }
    }

    #[test]
    fn an_unreadable_host_name_is_kept_as_bytes() {
        let value = vec![2, 0xff, 0xfe, 0];

        let bytes = [&[73, 4][..], &value].concat();

        assert_eq!(
            Capability::decode_all(&bytes),
            Some(vec![unknown(73, &value)])
        );
    }

    #[test]
    fn a_value_too_long_for_its_length_octet_is_left_out() {
        let mut bytes = Vec::new();

        unknown(200, &[0; 256]).encode(&mut bytes);
        Capability::Fqdn {
            host: "h".repeat(300),
            domain: String::new(),
        }
        .encode(&mut bytes);

        assert_eq!(bytes, []);
    }

    fn family(afi: u16, direction: AddPathDirection) -> AddPathFamily {
        AddPathFamily {
            afi,
            safi: 1,
            direction,
        }
    }
}
