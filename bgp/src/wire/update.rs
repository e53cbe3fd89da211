//! UPDATE (RFC 4271 section 4.3) with the error handling of RFC 7606.

use ipnet::Ipv4Net;

use super::attributes::PathAttributes;

/// What RFC 7606 section 2 orders for a malformed attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disposition {
    /// The attribute is dropped, the routes stand.
    AttributeDiscard,
    /// All routes of the UPDATE count as withdrawn.
    TreatAsWithdraw,
}

/// One malformed attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFault {
    /// Attribute type code; 0 when the attribute list itself is broken or a mandatory one is missing.
    pub kind: u8,
    /// What was done.
    pub disposition: Disposition,
    /// What was wrong, in a few words.
    pub reason: &'static str,
}

/// An UPDATE of IPv4 unicast. MP_REACH_NLRI and MP_UNREACH_NLRI for IPv4 unicast are folded in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Withdrawn prefixes; after a fault with `TreatAsWithdraw` also the announced ones.
    pub withdrawn: Vec<Ipv4Net>,
    /// Announced prefixes; empty after a fault with `TreatAsWithdraw`.
    pub announced: Vec<Ipv4Net>,
    /// Attributes of the announced prefixes; `Some` whenever `announced` is not empty.
    pub attributes: Option<PathAttributes>,
    /// What was malformed but survivable.
    pub faults: Vec<AttributeFault>,
}

impl Update {
    /// Tells whether this is End-of-RIB for IPv4 unicast (RFC 4724 section 2).
    #[must_use]
    pub fn is_end_of_rib(&self) -> bool {
        self.withdrawn.is_empty() && self.announced.is_empty() && self.attributes.is_none()
    }

    /// Encodes as many messages as needed, none longer than [`super::MAX_MESSAGE_LEN`].
    #[must_use]
    pub fn encode_split(&self, _context: super::DecodeContext) -> Vec<Vec<u8>> {
        todo!()
    }
}
