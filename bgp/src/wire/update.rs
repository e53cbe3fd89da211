//! UPDATE (RFC 4271 section 4.3) with the error handling of RFC 7606.
//!
//! Only IPv4 unicast: routes of other families are dropped with a fault, because no other family is
//! ever negotiated. A fault never hides which routes it concerns; where that cannot be told, decoding
//! fails and the session must be reset.

use std::collections::BTreeSet;

use super::DecodeContext;
use super::attribute_decoder::AttributeDecoder;
use super::attributes::PathAttributes;
use super::error::DecodeError;
use super::header::{self, HEADER_LEN, MessageType};
use super::nlri::{self, Nlri};
use super::notification::{code, subcode};
use super::reader::Reader;

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

/// An UPDATE of IPv4 unicast. Its routes have path ids exactly where the context says so. MP_REACH_NLRI and MP_UNREACH_NLRI for IPv4 unicast are folded in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Withdrawn prefixes; after a fault with `TreatAsWithdraw` also the announced ones.
    pub withdrawn: Vec<Nlri>,
    /// Announced prefixes; empty after a fault with `TreatAsWithdraw`.
    pub announced: Vec<Nlri>,
    /// Attributes of the announced prefixes; `Some` whenever `announced` is not empty.
    pub attributes: Option<PathAttributes>,
    /// What was malformed but survivable.
    pub faults: Vec<AttributeFault>,
}

impl Update {
    /// Tells whether this is End-of-RIB for IPv4 unicast (RFC 4724 section 2). An UPDATE of which
    /// nothing is left after a fault is none.
    #[must_use]
    pub fn is_end_of_rib(&self) -> bool {
        self.withdrawn.is_empty()
            && self.announced.is_empty()
            && self.attributes.is_none()
            && self.faults.is_empty()
    }

    /// Encodes as many messages as needed, none longer than the context allows: withdrawals first,
    /// then the announced prefixes with their attributes repeated in each message.
    ///
    /// Prefixes whose attributes leave no room for a prefix cannot be announced; they are withdrawn,
    /// so that the peer does not keep what it heard before.
    #[must_use]
    pub fn encode_split(&self, context: DecodeContext) -> Vec<Vec<u8>> {
        if self.is_end_of_rib() {
            return vec![encode_fields(&[], &[], &[])];
        }
        let attributes = self.encode_attributes(context);
        let whole = max_fields_len(context);
        let room = whole.saturating_sub(attributes.len());
        let fits = self.attributes.is_some() && room >= nlri::max_len(context.add_path);
        let (announced, unannounceable): (&[_], &[_]) = if fits {
            (&self.announced, &[])
        } else {
            (&[], &self.announced)
        };

        let withdrawn = [&self.withdrawn, unannounceable].concat();
        let withdrawals = nlri::encode_split(&withdrawn, context.add_path, whole).into_iter();
        let announcements = nlri::encode_split(announced, context.add_path, room).into_iter();
        withdrawals
            .map(|field| encode_fields(&field, &[], &[]))
            .chain(announcements.map(|field| encode_fields(&[], &attributes, &field)))
            .collect()
    }

    /// Encodes one message, or several in a row when one does not suffice.
    pub(super) fn encode(&self, context: DecodeContext) -> Vec<u8> {
        let withdrawn = nlri::encode(&self.withdrawn, context.add_path);
        let announced = nlri::encode(&self.announced, context.add_path);
        let attributes = if announced.is_empty() {
            Vec::new()
        } else {
            self.encode_attributes(context)
        };
        if withdrawn.len() + attributes.len() + announced.len() > max_fields_len(context) {
            return self.encode_split(context).concat();
        }
        encode_fields(&withdrawn, &attributes, &announced)
    }

    pub(super) fn decode(body: &[u8], context: DecodeContext) -> Result<Self, DecodeError> {
        // 1. Locate the three fields (RFC 4271 section 6.3, RFC 7606 section 3 b).
        let Some((withdrawn, attributes, announced)) = fields(body) else {
            let subcode = subcode::MALFORMED_ATTRIBUTE_LIST;
            return Err(DecodeError::new(
                code::UPDATE,
                subcode,
                "field lengths exceed the message",
            ));
        };
        // 2. Without the prefixes there is nothing to treat as withdrawn (section 5.3).
        let mut withdrawn =
            nlri::decode(withdrawn, context.add_path).ok_or_else(invalid_network)?;
        let mut announced =
            nlri::decode(announced, context.add_path).ok_or_else(invalid_network)?;
        // 3. Attributes, and the prefixes among them.
        let mut walk = AttributeDecoder::walk(attributes, context)?;
        let in_body = !announced.is_empty();
        announced.append(&mut walk.take_reach());
        withdrawn.append(&mut walk.take_unreach());
        // 4. What the faults make of the routes.
        if announced.is_empty() {
            let faults = walk.finish_without_routes()?;
            return Ok(Self {
                withdrawn,
                faults,
                ..Self::default()
            });
        }
        let (attributes, faults) = walk.finish(in_body);
        if attributes.is_none() {
            withdrawn.append(&mut announced);
        }
        // 5. A route in both fields is announced (RFC 4271 section 4.3).
        if !withdrawn.is_empty() && !announced.is_empty() {
            let replaced: BTreeSet<_> = announced.iter().collect();
            withdrawn.retain(|route| !replaced.contains(route));
        }
        Ok(Self {
            withdrawn,
            announced,
            attributes,
            faults,
        })
    }

    fn encode_attributes(&self, context: DecodeContext) -> Vec<u8> {
        self.attributes
            .as_ref()
            .map(|attributes| attributes.encode(context))
            .unwrap_or_default()
    }
}

/// Splits a body into withdrawn routes, path attributes and NLRI.
fn fields(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut reader = Reader::new(body);
    let withdrawn_len = reader.u16()?;
    let withdrawn = reader.take(usize::from(withdrawn_len))?;
    let attributes_len = reader.u16()?;
    let attributes = reader.take(usize::from(attributes_len))?;
    Some((withdrawn, attributes, reader.remainder()))
}

/// Joins three fields, together no longer than [`max_fields_len`], to a message.
fn encode_fields(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    header::encode_message(MessageType::Update, |body| {
        for field in [withdrawn, attributes] {
            let len = u16::try_from(field.len()).expect("fields keep to max_fields_len");
            body.extend(len.to_be_bytes());
            body.extend(field);
        }
        body.extend(announced);
    })
}

fn invalid_network() -> DecodeError {
    DecodeError::new(code::UPDATE, subcode::INVALID_NETWORK, "invalid prefix")
}

/// What the header and the two lengths leave of a message, in bytes.
const fn max_fields_len(context: DecodeContext) -> usize {
    header::max_len(context.extended) - HEADER_LEN - 4
}
