//! OPEN (RFC 4271 section 4.2, RFC 5492, RFC 9072; errors of RFC 4271 section 6.2).
//!
//! Checks here need no configuration: version, AS 0 (RFC 7607), identifier 0, hold time 1 and 2, and
//! the shape of the optional parameters. Whether the peer is the expected one is the session's matter.

use std::net::Ipv4Addr;

use super::capability::{AddPathDirection, Capability};
use super::error::DecodeError;
use super::family::Family;
use super::header::{self, HEADER_LEN, MAX_MESSAGE_LEN, MessageType};
use super::notification::{code, subcode};
use super::reader::Reader;

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// AS number of the two-octet field; AS_TRANS (23456) when the real one needs four octets.
    pub asn: u16,
    /// Proposed hold time in seconds.
    pub hold_time_s: u16,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// Capabilities, in the order received.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Returns the AS number: that of the four-octet capability if present, else the field.
    #[must_use]
    pub fn real_asn(&self) -> u32 {
        let four_octet = self
            .capabilities
            .iter()
            .find_map(|capability| match capability {
                Capability::FourOctetAs(asn) => Some(*asn),
                Capability::Multiprotocol { .. }
                | Capability::RouteRefresh
                | Capability::ExtendedMessage
                | Capability::GracefulRestart(_)
                | Capability::AddPath(_)
                | Capability::EnhancedRouteRefresh
                | Capability::Fqdn { .. }
                | Capability::Unknown { .. } => None,
            });
        four_octet.unwrap_or_else(|| u32::from(self.asn))
    }

    /// Returns what the speaker can do with several paths to a prefix of a family (RFC 7911 section 4); of several
    /// statements the last counts.
    #[must_use]
    pub fn add_path(&self, family: Family) -> Option<AddPathDirection> {
        let families = self.capabilities.iter().filter_map(|capability| {
            if let Capability::AddPath(families) = capability {
                Some(families)
            } else {
                None
            }
        });
        families
            .flatten()
            .rfind(|offer| (offer.afi, offer.safi) == family.on_wire())
            .map(|offer| offer.direction)
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        if reader.u8() != Some(VERSION) {
            let largest = u16::from(VERSION).to_be_bytes();
            return Err(error(subcode::UNSUPPORTED_VERSION, "version is not 4").with_data(&largest));
        }
        let (Some(asn), Some(hold_time_s), Some(router_id), Some(parameters_len)) =
            (reader.u16(), reader.u16(), reader.ipv4(), reader.u8())
        else {
            return Err(error(subcode::UNSPECIFIC, "OPEN is cut short"));
        };
        let capabilities = decode_parameters(parameters_len, reader)?;
        let open = Self {
            asn,
            hold_time_s,
            router_id,
            capabilities,
        };
        open.check()?;
        Ok(open)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let capabilities = self.encode_capabilities();
        header::encode_message(MessageType::Open, |body| {
            body.push(VERSION);
            body.extend(self.asn.to_be_bytes());
            body.extend(self.hold_time_s.to_be_bytes());
            body.extend(self.router_id.octets());
            match u8::try_from(capabilities.len()) {
                Ok(0) => body.push(0),
                Ok(len @ ..=MAX_CLASSIC_LEN) => body.extend([len + 2, CAPABILITIES, len]),
                _ => body.extend(extended_header(capabilities.len())),
            }
            body.extend(&capabilities);
        })
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.asn == 0 || self.real_asn() == 0 {
            return Err(error(subcode::BAD_PEER_AS, "AS number is 0"));
        }
        if self.router_id.is_unspecified() {
            return Err(error(subcode::BAD_BGP_IDENTIFIER, "BGP identifier is 0"));
        }
        if matches!(self.hold_time_s, 1 | 2) {
            return Err(error(
                subcode::UNACCEPTABLE_HOLD_TIME,
                "hold time is below 3 s",
            ));
        }
        Ok(())
    }

    /// Encodes the capabilities as the value of one parameter; those that do not fit the message are
    /// left out.
    fn encode_capabilities(&self) -> Vec<u8> {
        let mut value = Vec::new();
        for capability in &self.capabilities {
            let fitting = value.len();
            capability.encode(&mut value);
            if value.len() > MAX_CAPABILITIES_LEN {
                value.truncate(fitting);
            }
        }
        value
    }
}

/// Decodes the optional parameters, of which only capabilities are known.
fn decode_parameters(len: u8, mut reader: Reader<'_>) -> Result<Vec<Capability>, DecodeError> {
    let malformed = || error(subcode::UNSPECIFIC, "malformed optional parameters");
    // RFC 9072 section 2: the extended form is recognized by its first type octet alone, and the
    // one-octet length is then ignored.
    let extended = len != 0 && reader.clone().u8() == Some(EXTENDED_LENGTH);
    let declared = if extended {
        let _extended_type = reader.u8();
        reader.u16().map(usize::from)
    } else {
        Some(usize::from(len))
    };
    let field = declared
        .and_then(|len| reader.take(len))
        .ok_or_else(malformed)?;
    if !reader.is_empty() {
        return Err(malformed());
    }
    let mut parameters = Reader::new(field);
    let mut capabilities = Vec::new();
    while !parameters.is_empty() {
        let kind = parameters.u8();
        let len = if extended {
            parameters.u16().map(usize::from)
        } else {
            parameters.u8().map(usize::from)
        };
        let value = len
            .and_then(|len| parameters.take(len))
            .ok_or_else(malformed)?;
        if kind != Some(CAPABILITIES) {
            return Err(error(
                subcode::UNSUPPORTED_PARAMETER,
                "unsupported optional parameter",
            ));
        }
        capabilities.extend(Capability::decode_all(value).ok_or_else(malformed)?);
    }
    Ok(capabilities)
}

/// Makes what precedes the capabilities in the extended form (RFC 9072 section 2).
fn extended_header(capabilities_len: usize) -> [u8; 7] {
    let value = u16::try_from(capabilities_len).expect("bounded by MAX_CAPABILITIES_LEN");
    let [parameters_high, parameters_low] = (value + 3).to_be_bytes();
    let [value_high, value_low] = value.to_be_bytes();
    let non_extended_len = 255;
    [
        non_extended_len,
        EXTENDED_LENGTH,
        parameters_high,
        parameters_low,
        CAPABILITIES,
        value_high,
        value_low,
    ]
}

fn error(subcode: u8, reason: &'static str) -> DecodeError {
    DecodeError::new(code::OPEN, subcode, reason)
}

const VERSION: u8 = 4;
/// Parameter type of capabilities (RFC 5492).
const CAPABILITIES: u8 = 2;
/// Parameter type that announces the extended form (RFC 9072).
const EXTENDED_LENGTH: u8 = 255;
/// Longest capabilities value with one-octet lengths.
const MAX_CLASSIC_LEN: u8 = 253;
/// Longest capabilities value in the extended form: nine bytes precede the seven of its header.
const MAX_CAPABILITIES_LEN: usize = MAX_MESSAGE_LEN - HEADER_LEN - 9 - 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_survives_encoding() {
        let capabilities = [
            Capability::RouteRefresh,
            Capability::FourOctetAs(4_200_000_000),
        ];

        for count in [0, 1, 2] {
            let open = open_with(capabilities[..count].to_vec());
            assert_eq!(decode(&open.encode()), Ok(open));
        }
    }

    #[test]
    fn capabilities_beyond_255_bytes_take_the_extended_form() {
        for total in [253, 254, 255, 256, 600, MAX_CAPABILITIES_LEN] {
            let open = open_with(filler(total));

            let message = open.encode();

            assert_eq!(message[29] == EXTENDED_LENGTH, total > 253, "{total}");
            assert_eq!(decode(&message), Ok(open), "{total}");
        }
    }

    #[test]
    fn capabilities_that_do_not_fit_are_left_out() {
        let mut capabilities = filler(MAX_CAPABILITIES_LEN - 1);
        capabilities.push(Capability::RouteRefresh);

        let message = open_with(capabilities).encode();

        assert!(message.len() <= MAX_MESSAGE_LEN);
        assert_eq!(
            decode(&message),
            Ok(open_with(filler(MAX_CAPABILITIES_LEN - 1)))
        );
    }

    #[test]
    fn one_parameter_per_capability_is_accepted() {
        let body = [
            4, 0xfd, 0xe9, 0, 9, 192, 0, 2, 1, 12, 2, 2, 2, 0, 2, 6, 65, 4, 0, 0, 0xfd, 0xe9,
        ];

        let open = Open::decode(&body).unwrap();

        let expected = [Capability::RouteRefresh, Capability::FourOctetAs(65001)];
        assert_eq!(open.capabilities, expected);
        assert_eq!(open.real_asn(), 65001);
    }

    #[test]
    fn a_short_list_in_the_extended_form_is_accepted() {
        for ignored_len in [255, 1] {
            let body = [
                4,
                0xfd,
                0xe9,
                0,
                9,
                192,
                0,
                2,
                1,
                ignored_len,
                255,
                0,
                5,
                2,
                0,
                2,
                2,
                0,
            ];
            assert_eq!(
                Open::decode(&body).unwrap().capabilities,
                [Capability::RouteRefresh],
                "{ignored_len}"
            );
        }
    }

    fn decode(message: &[u8]) -> Result<Open, DecodeError> {
        Open::decode(&message[HEADER_LEN..])
    }

    fn open_with(capabilities: Vec<Capability>) -> Open {
        let router_id = Ipv4Addr::new(192, 0, 2, 1);
        Open {
            asn: 23456,
            hold_time_s: 9,
            router_id,
            capabilities,
        }
    }

    /// Makes capabilities that take `total` bytes.
    fn filler(mut total: usize) -> Vec<Capability> {
        let mut capabilities = Vec::new();
        while total > 0 {
            let len = match total {
                258.. => 200,
                other => other - 2,
            };
            capabilities.push(Capability::Unknown {
                code: 128,
                value: vec![0; len.min(255)],
            });
            total -= len.min(255) + 2;
        }
        capabilities
    }
}
