//! UPDATE (RFC 4271 section 4.3) with the error handling of RFC 7606.
//!
//! Routes of IPv4 unicast and, where it was negotiated, of IPv6 unicast; those of other families are
//! dropped with a fault. A fault never hides which routes it concerns; where that cannot be told, decoding
//! fails and the session must be reset.

use std::collections::BTreeSet;

use ipnet::{Ipv4Net, Ipv6Net};

use super::attribute_decoder::{Announcing, AttributeDecoder, Finished};
use super::attribute_encoder::{REACH_LEN, UNREACH_LEN, reach, unreach};
use super::attributes::PathAttributes;
use super::error::DecodeError;
use super::family::{Family, Prefix};
use super::header::{self, HEADER_LEN, MessageType};
use super::nlri::{self, Nlri};
use super::notification::{code, subcode};
use super::reader::Reader;
use super::{DecodeContext, Message};

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

impl AttributeFault {
    /// An attribute that is dropped while the routes stand.
    pub(super) const fn discarded(kind: u8, reason: &'static str) -> Self {
        Self {
            kind,
            disposition: Disposition::AttributeDiscard,
            reason,
        }
    }
}

/// What an UPDATE says of the routes of one family. They have path ids exactly where the context says so. For IPv4 unicast,
/// the fields of the message and MP_REACH_NLRI and MP_UNREACH_NLRI together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update<N: Prefix = Ipv4Net> {
    /// Withdrawn prefixes; after a fault with `TreatAsWithdraw` also the announced ones.
    pub withdrawn: Vec<Nlri<N>>,
    /// Announced prefixes; empty after a fault with `TreatAsWithdraw`.
    pub announced: Vec<Nlri<N>>,
    /// Attributes of the announced prefixes; `Some` whenever `announced` is not empty.
    pub attributes: Option<PathAttributes<N::NextHop>>,
    /// What was malformed but survivable.
    pub faults: Vec<AttributeFault>,
}

/// An UPDATE that speaks of IPv6 unicast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6Update {
    /// What it says of IPv6 unicast, and all faults.
    pub ipv6: Update<Ipv6Net>,
    /// Routes of IPv4 unicast beside them: nobody should send both in one message, but it is allowed (RFC 7606 section
    /// 5.1).
    pub ipv4: Option<Update>,
}

impl<N: Prefix> Default for Update<N> {
    fn default() -> Self {
        Self {
            withdrawn: Vec::new(),
            announced: Vec::new(),
            attributes: None,
            faults: Vec::new(),
        }
    }
}

impl Ipv6Update {
    /// Encodes one message, or several in a row when one does not suffice.
    pub(super) fn encode(&self, context: DecodeContext) -> Vec<u8> {
        let (ipv4, ipv6) = (self.ipv4.as_ref(), &self.ipv6);
        let field = |routes: &[Nlri]| nlri::encode(routes, context.add_path);
        let withdrawn = ipv4.map_or_else(Vec::new, |ipv4| field(&ipv4.withdrawn));
        let announced = ipv4.map_or_else(Vec::new, |ipv4| field(&ipv4.announced));
        let attributes = self.encode_attributes(context);
        if withdrawn.len() + attributes.len() + announced.len() > max_fields_len(context) {
            let ipv4 = ipv4.map_or_else(Vec::new, |ipv4| ipv4.encode(context));
            return [ipv4, ipv6.encode_split(context).concat()].concat();
        }
        encode_fields(&withdrawn, &attributes, &announced)
    }

    /// Encodes all attributes, those with routes of IPv6 unicast among them.
    fn encode_attributes(&self, context: DecodeContext) -> Vec<u8> {
        let ipv6 = &self.ipv6;
        let field = |routes| nlri::encode(routes, context.add_path_of(Family::Ipv6Unicast));
        let described = ipv6.attributes.as_ref();
        let described = described.filter(|_| !ipv6.announced.is_empty());
        let mut all = Vec::new();
        if let Some(attributes) = described {
            reach::<Ipv6Net>(&mut all, attributes.next_hop, &field(&ipv6.announced));
        }
        if described.is_none() || !ipv6.withdrawn.is_empty() {
            unreach::<Ipv6Net>(&mut all, &field(&ipv6.withdrawn));
        }
        let ipv4 = self.ipv4.as_ref().filter(|it| !it.announced.is_empty());
        all.extend(match ipv4.and_then(|ipv4| ipv4.attributes.as_ref()) {
            Some(attributes) => attributes.encode(context),
            None => described.map_or_else(Vec::new, |attributes| attributes.encode(context)),
        });
        all
    }
}

impl Update {
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
}

impl<N: Prefix> Update<N> {
    /// Tells whether this is End-of-RIB for its family (RFC 4724 section 2). An UPDATE of which
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
            return vec![withdrawal::<N>(&[])];
        }
        let add_path = context.add_path_of(N::FAMILY);
        let attributes = self.encode_attributes(context);
        let (reach_len, unreach_len) = match N::FAMILY {
            Family::Ipv4Unicast => (0, 0),
            Family::Ipv6Unicast => (REACH_LEN + N::OCTETS, UNREACH_LEN),
        };
        let whole = max_fields_len(context) - unreach_len;
        let room = max_fields_len(context).saturating_sub(attributes.len() + reach_len);
        let next_hop = self
            .attributes
            .as_ref()
            .map(|attributes| attributes.next_hop);
        let next_hop = next_hop.filter(|_| room >= nlri::max_len::<N>(add_path));
        let (announced, unannounceable): (&[_], &[_]) = if next_hop.is_some() {
            (&self.announced, &[])
        } else {
            (&[], &self.announced)
        };

        let withdrawn = [&self.withdrawn, unannounceable].concat();
        let withdrawals = nlri::encode_split(&withdrawn, add_path, whole).into_iter();
        let withdrawals = withdrawals.map(|field| withdrawal::<N>(&field));
        let announcements = next_hop.into_iter().flat_map(|next_hop| {
            let fields = nlri::encode_split(announced, add_path, room).into_iter();
            fields.map({
                let attributes = &attributes;
                move |field| announcement::<N>(next_hop, attributes, &field)
            })
        });
        withdrawals.chain(announcements).collect()
    }

    /// Puts together what was found of a family: without attributes what is announced counts as withdrawn, and a route in
    /// both fields is announced (RFC 4271 section 4.3).
    fn settled(
        mut announced: Vec<Nlri<N>>,
        mut withdrawn: Vec<Nlri<N>>,
        attributes: Option<PathAttributes<N::NextHop>>,
    ) -> Self {
        if attributes.is_none() {
            withdrawn.append(&mut announced);
        }
        if !withdrawn.is_empty() && !announced.is_empty() {
            let replaced: BTreeSet<_> = announced.iter().collect();
            withdrawn.retain(|route| !replaced.contains(route));
        }
        Self {
            withdrawn,
            announced,
            attributes,
            faults: Vec::new(),
        }
    }

    fn encode_attributes(&self, context: DecodeContext) -> Vec<u8> {
        self.attributes
            .as_ref()
            .map(|attributes| attributes.encode(context))
            .unwrap_or_default()
    }
}

/// Decodes the body of an UPDATE.
///
/// # Errors
/// It is unknown which routes it is about.
pub(super) fn decode(body: &[u8], context: DecodeContext) -> Result<Message, DecodeError> {
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
    let mut withdrawn = nlri::decode(withdrawn, context.add_path).ok_or_else(invalid_network)?;
    let mut announced = nlri::decode(announced, context.add_path).ok_or_else(invalid_network)?;
    // 3. Attributes, and the prefixes among them.
    let mut walk = AttributeDecoder::walk(attributes, context)?;
    let in_body = !announced.is_empty();
    let (mut reach, mut unreach) = walk.take_ipv4();
    announced.append(&mut reach);
    withdrawn.append(&mut unreach);
    let ipv6 = walk.take_ipv6();
    // 4. What the faults make of the routes.
    let announcing = Announcing {
        in_body,
        ipv4: !announced.is_empty(),
        ipv6: ipv6.as_ref().is_some_and(|(new, _)| !new.is_empty()),
    };
    let Finished {
        ipv4: attributes,
        ipv6: attributes_ipv6,
        faults,
    } = walk.finish(announcing)?;
    let ipv4 = Update::settled(announced, withdrawn, attributes);
    let Some((announced, withdrawn)) = ipv6 else {
        return Ok(Message::Update(Update { faults, ..ipv4 }));
    };
    let ipv6 = Update::settled(announced, withdrawn, attributes_ipv6);
    Ok(Message::Ipv6Update(Box::new(Ipv6Update {
        ipv6: Update { faults, ..ipv6 },
        ipv4: Some(ipv4).filter(|ipv4| !ipv4.is_end_of_rib()),
    })))
}

/// Makes a message that withdraws the prefixes of a field; none is End-of-RIB (RFC 4724 section 2).
fn withdrawal<N: Prefix>(field: &[u8]) -> Vec<u8> {
    match N::FAMILY {
        Family::Ipv4Unicast => encode_fields(field, &[], &[]),
        Family::Ipv6Unicast => {
            let mut attributes = Vec::new();
            unreach::<N>(&mut attributes, field);
            encode_fields(&[], &attributes, &[])
        }
    }
}

/// Makes a message that announces the prefixes of a field. MP_REACH_NLRI comes first (RFC 7606 section 5.1).
fn announcement<N: Prefix>(next_hop: N::NextHop, attributes: &[u8], field: &[u8]) -> Vec<u8> {
    match N::FAMILY {
        Family::Ipv4Unicast => encode_fields(&[], attributes, field),
        Family::Ipv6Unicast => {
            let mut all = Vec::new();
            reach::<N>(&mut all, next_hop, field);
            all.extend(attributes);
            encode_fields(&[], &all, &[])
        }
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
