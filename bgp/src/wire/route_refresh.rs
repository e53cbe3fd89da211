//! ROUTE-REFRESH (RFC 2918, RFC 7313).
//!
//! A subtype other than 0, 1 and 2 is decoded and kept: RFC 7313 section 5 orders the session to
//! ignore such a message, not the decoder. ORF entries (RFC 5291) are refused, never negotiated.

use super::error::DecodeError;
use super::family::Family;
use super::header::{self, MessageType};
use super::notification::{code, subcode};
use super::reader::Reader;

/// A ROUTE-REFRESH message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Address family.
    pub afi: u16,
    /// [`Self::REQUEST`], [`Self::BEGIN`], [`Self::END`], or one that nobody has defined.
    pub subtype: u8,
    /// Subsequent address family.
    pub safi: u8,
}

impl RouteRefresh {
    /// Everything is asked for again (RFC 2918).
    pub const REQUEST: u8 = 0;
    /// Everything is told again from here on (BoRR, RFC 7313).
    pub const BEGIN: u8 = 1;
    /// Everything has been told again (EoRR).
    pub const END: u8 = 2;

    /// Makes the message of this subtype for a family.
    #[must_use]
    pub fn of(family: Family, subtype: u8) -> Self {
        let (afi, safi) = family.on_wire();
        Self { afi, subtype, safi }
    }

    /// Decodes the body of `message`, which the NOTIFICATION must carry (RFC 7313 section 5).
    pub(super) fn decode(body: &[u8], message: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        match (reader.u16(), reader.u8(), reader.u8(), reader.is_empty()) {
            (Some(afi), Some(subtype), Some(safi), true) => Ok(Self { afi, subtype, safi }),
            _ => {
                let subcode = subcode::INVALID_REFRESH_LENGTH;
                let reason = "bad length of ROUTE-REFRESH";
                Err(DecodeError::new(code::ROUTE_REFRESH, subcode, reason).with_data(message))
            }
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        header::encode_message(MessageType::RouteRefresh, |body| {
            body.extend(self.afi.to_be_bytes());
            body.extend([self.subtype, self.safi]);
        })
    }
}
