//! The walk over the attributes of an UPDATE: RFC 7606 as a table.
//!
//! Survivable faults are collected with what they make of the routes. Errors are only those after
//! which it is unknown which routes the UPDATE is about, i.e. a broken or repeated MP_REACH_NLRI or
//! MP_UNREACH_NLRI.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::DecodeContext;
use super::attribute_kind as kind;
use super::attribute_value as value;
use super::attributes::{Aggregator, AsPathSegment, Origin, PathAttributes, RawAttribute};
use super::error::DecodeError;
use super::family::{Family, Prefix};
use super::four_octet_as::{self, AS_TRANS};
use super::nlri::{self, Nlri};
use super::notification::{code, subcode};
use super::reader::Reader;
use super::update::{AttributeFault, Disposition};

/// What the walk found.
#[derive(Debug)]
pub(super) struct AttributeDecoder {
    context: DecodeContext,
    seen: [bool; 256],
    /// Whether there is anything but MP_UNREACH_NLRI.
    describes_routes: bool,
    /// Bytes so far, with headers of four bytes; MP_REACH_NLRI counts as the NEXT_HOP that it stands
    /// for, MP_UNREACH_NLRI not at all, the path of a two-octet peer as we would send it.
    len: usize,
    origin: Option<Origin>,
    as_path: Option<Vec<AsPathSegment>>,
    /// AS4_PATH of a two-octet peer.
    as4_path: Option<Vec<AsPathSegment>>,
    /// AS4_AGGREGATOR of a two-octet peer.
    as4_aggregator: Option<Aggregator>,
    next_hop: Option<Ipv4Addr>,
    /// Everything that is not mandatory.
    optional: PathAttributes<()>,
    ipv4: Multiprotocol<Ipv4Net>,
    ipv6: Multiprotocol<Ipv6Net>,
    faults: Vec<AttributeFault>,
}

/// MP_REACH_NLRI and MP_UNREACH_NLRI of one family.
#[derive(Debug)]
pub(super) struct Multiprotocol<N: Prefix> {
    /// The next hop of what is announced; `None` without MP_REACH_NLRI.
    next_hop: Option<N::NextHop>,
    /// What is announced.
    pub(super) announced: Vec<Nlri<N>>,
    /// What is withdrawn; `None` without MP_UNREACH_NLRI.
    pub(super) withdrawn: Option<Vec<Nlri<N>>>,
}

/// Where an UPDATE announces routes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announcing {
    /// In its NLRI field, whose next hop is NEXT_HOP.
    pub(super) in_body: bool,
    /// Of IPv4 unicast, there or in MP_REACH_NLRI.
    pub(super) ipv4: bool,
    /// Of IPv6 unicast.
    pub(super) ipv6: bool,
}

/// What the attributes say of announced routes; `None` of a family that has none, and of all when they count as
/// withdrawn.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// For routes of IPv4 unicast.
    pub(super) ipv4: Option<PathAttributes>,
    /// For routes of IPv6 unicast.
    pub(super) ipv6: Option<PathAttributes<Ipv6Addr>>,
    /// What was malformed.
    pub(super) faults: Vec<AttributeFault>,
}

/// One attribute as it stands in the message.
struct Attribute<'a> {
    flags: u8,
    kind: u8,
    value: &'a [u8],
}

impl AttributeDecoder {
    /// Walks over a whole attribute field.
    ///
    /// # Errors
    /// The routes cannot be told (RFC 7606 section 3 j).
    pub(super) fn walk(field: &[u8], context: DecodeContext) -> Result<Self, DecodeError> {
        let mut decoder = Self {
            context,
            seen: [false; 256],
            describes_routes: false,
            len: 0,
            origin: None,
            as_path: None,
            as4_path: None,
            as4_aggregator: None,
            next_hop: None,
            optional: PathAttributes::local(()),
            ipv4: Multiprotocol::default(),
            ipv6: Multiprotocol::default(),
            faults: Vec::new(),
        };
        let mut reader = Reader::new(field);
        while !reader.is_empty() {
            match Attribute::read(&mut reader) {
                Ok(attribute) => decoder.attribute(&attribute)?,
                Err(Some(kind::MP_REACH_NLRI | kind::MP_UNREACH_NLRI)) => {
                    let reason = "MP_REACH_NLRI or MP_UNREACH_NLRI overruns the attributes";
                    return Err(malformed_list(reason));
                }
                Err(_) => {
                    decoder.describes_routes = true;
                    decoder.fault(
                        0,
                        Disposition::TreatAsWithdraw,
                        "attribute overruns the list",
                    );
                    break;
                }
            }
        }
        decoder
            .optional
            .unknown
            .sort_unstable_by_key(|raw| raw.kind);
        Ok(decoder)
    }

    /// Takes the routes of IPv4 unicast in MP_REACH_NLRI and MP_UNREACH_NLRI.
    pub(super) fn take_ipv4(&mut self) -> (Vec<Nlri>, Vec<Nlri>) {
        let withdrawn = self.ipv4.withdrawn.take().unwrap_or_default();
        (std::mem::take(&mut self.ipv4.announced), withdrawn)
    }

    /// Takes the routes of IPv6 unicast, announced and withdrawn; `None` when nothing is said of that family.
    pub(super) fn take_ipv6(&mut self) -> Option<(Vec<Nlri<Ipv6Net>>, Vec<Nlri<Ipv6Net>>)> {
        let Multiprotocol {
            next_hop,
            announced,
            withdrawn,
        } = &mut self.ipv6;
        if next_hop.is_none() && withdrawn.is_none() {
            return None;
        }
        let withdrawn = withdrawn.take().unwrap_or_default();
        Some((std::mem::take(announced), withdrawn))
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// As [`Self::finish_without_routes`].
    pub(super) fn finish(self, announcing: Announcing) -> Result<Finished, DecodeError> {
        if announcing.ipv4 || announcing.ipv6 {
            return Ok(self.finish_with_routes(announcing));
        }
        let faults = self.finish_without_routes()?;
        Ok(Finished {
            faults,
            ..Finished::default()
        })
    }

    /// Ends the walk of an UPDATE that announces no route: nothing but MP_UNREACH_NLRI has a meaning then.
    ///
    /// # Errors
    /// Attributes are malformed and no route is found: the routes may be hidden in what is malformed
    /// (RFC 7606 section 5.2).
    fn finish_without_routes(mut self) -> Result<Vec<AttributeFault>, DecodeError> {
        let other_family = self.seen(kind::MP_REACH_NLRI)
            && self.ipv4.next_hop.is_none()
            && self.ipv6.next_hop.is_none();
        if self.describes_routes && !other_family {
            if self.is_withdraw() {
                return Err(malformed_list("malformed attributes without routes"));
            }
            self.fault(
                0,
                Disposition::AttributeDiscard,
                "attributes without routes",
            );
        }
        Ok(self.faults)
    }

    /// Ends the walk of an UPDATE that announces routes.
    fn finish_with_routes(mut self, announcing: Announcing) -> Finished {
        let mut finished = Finished::default();
        if !self.context.four_octet_as {
            self.restore_four_octets();
        }
        if !self.is_withdraw() {
            let next_hop = self.next_hop_of_routes(announcing.in_body);
            let attributes = match (self.origin, self.as_path.take(), next_hop) {
                _ if self.len > MAX_ATTRIBUTES_LEN => Err("more than 2048 bytes of attributes"),
                (None, _, _) => Err("ORIGIN is missing"),
                (_, None, _) => Err("AS_PATH is missing"),
                (_, _, Err(reason)) if announcing.ipv4 => Err(reason),
                (Some(origin), Some(as_path), next_hop) => Ok((
                    PathAttributes {
                        origin,
                        as_path,
                        ..self.optional.clone()
                    },
                    next_hop.ok().filter(|_| announcing.ipv4),
                )),
            };
            match attributes {
                Ok((attributes, next_hop)) => {
                    let ipv6 = self.ipv6.next_hop.filter(|_| announcing.ipv6);
                    finished.ipv6 = ipv6.map(|it| attributes.clone().with_next_hop(it));
                    finished.ipv4 = next_hop.map(|it| attributes.with_next_hop(it));
                }
                Err(reason) => self.fault(0, Disposition::TreatAsWithdraw, reason),
            }
        }
        Finished {
            faults: self.faults,
            ..finished
        }
    }

    /// Puts in what the peer could not tell in two octets (RFC 6793 section 4.2.3).
    fn restore_four_octets(&mut self) {
        let (as4_path, as4_aggregator) = (self.as4_path.take(), self.as4_aggregator.take());
        let mut discard = |kind, reason| self.faults.push(AttributeFault::discarded(kind, reason));
        // 1. Who aggregated the route without knowing of AS4_AGGREGATOR left AS4_PATH behind, too.
        let outdated = match (&mut self.optional.aggregator, as4_aggregator) {
            (Some(known), Some(_)) if known.asn != u32::from(AS_TRANS) => {
                discard(kind::AS4_AGGREGATOR, "AS4_AGGREGATOR is outdated");
                true
            }
            (Some(known), Some(real)) => {
                *known = real;
                false
            }
            (None, Some(_)) => {
                discard(kind::AS4_AGGREGATOR, "AS4_AGGREGATOR without AGGREGATOR");
                false
            }
            (_, None) => false,
        };
        // 2. Who shortened the path did not know of AS4_PATH.
        if let (Some(as_path), Some(as4_path)) = (&mut self.as_path, as4_path) {
            match four_octet_as::restored(as_path, as4_path).filter(|_| !outdated) {
                Some(restored) => *as_path = restored,
                None => discard(kind::AS4_PATH, "AS4_PATH is outdated"),
            }
        }
        let as_path = self.as_path.iter();
        self.len += as_path
            .map(|path| four_octet_as::encoded_len(path, ATTRIBUTE_HEADER_LEN))
            .sum::<usize>();
    }

    /// Judges one attribute in the order of RFC 7606 section 3.
    fn attribute(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        let Attribute { flags, kind, value } = *attribute;
        let multiprotocol = matches!(kind, kind::MP_REACH_NLRI | kind::MP_UNREACH_NLRI);
        // 1. Duplicates: section 3 g.
        if std::mem::replace(&mut self.seen[usize::from(kind)], true) {
            if multiprotocol {
                return Err(malformed_list("repeated MP_REACH_NLRI or MP_UNREACH_NLRI"));
            }
            self.fault(kind, Disposition::AttributeDiscard, "repeated attribute");
            return Ok(());
        }
        self.describes_routes |= kind != kind::MP_UNREACH_NLRI;
        let is_path = matches!(kind, kind::AS_PATH | kind::AS4_PATH);
        if !multiprotocol && (self.context.four_octet_as || !is_path) {
            self.len += ATTRIBUTE_HEADER_LEN + value.len();
        }
        // 2. Attributes without a meaning in this session.
        if let Some(reason) = self.unwanted(kind) {
            self.fault(kind, Disposition::AttributeDiscard, reason);
            return Ok(());
        }
        // 3. Flags: section 3 c.
        let Some(ordered_flags) = kind::flags(kind) else {
            self.unknown(attribute);
            return Ok(());
        };
        if flags & (kind::OPTIONAL | kind::TRANSITIVE) != ordered_flags {
            self.fault(kind, Disposition::TreatAsWithdraw, "wrong attribute flags");
            if !multiprotocol {
                return Ok(());
            }
        }
        // 4. The value: section 7.
        match kind {
            kind::MP_REACH_NLRI => self.reach(attribute),
            kind::MP_UNREACH_NLRI => self.unreach(attribute),
            _ => {
                if let Err((disposition, reason)) = self.value(kind, value) {
                    self.fault(kind, disposition, reason);
                }
                Ok(())
            }
        }
    }

    fn value(&mut self, kind: u8, value: &[u8]) -> Result<(), (Disposition, &'static str)> {
        if kind == kind::AS4_PATH {
            self.as4_path = Some(value::as4_path(value)?);
            return Ok(());
        }
        let read = self.plain_value(kind, value);
        read.map_err(|reason| (disposition(kind), reason))
    }

    /// Reads a value all of whose faults have the same consequence.
    fn plain_value(&mut self, kind: u8, value: &[u8]) -> Result<(), &'static str> {
        let four_octet_as = self.context.four_octet_as;
        let optional = &mut self.optional;
        match kind {
            kind::ORIGIN => self.origin = Some(value::origin(value)?),
            kind::AS_PATH => self.as_path = Some(value::as_path(value, four_octet_as)?),
            kind::NEXT_HOP => self.next_hop = Some(value::address(value)?),
            kind::MULTI_EXIT_DISC => optional.med = Some(value::number(value)?),
            kind::LOCAL_PREF => optional.local_pref = Some(value::number(value)?),
            kind::ATOMIC_AGGREGATE => optional.atomic_aggregate = value::atomic_aggregate(value)?,
            kind::AGGREGATOR => {
                optional.aggregator = Some(value::aggregator(value, four_octet_as)?);
            }
            kind::COMMUNITIES => optional.communities = value::communities(value)?,
            kind::ORIGINATOR_ID => optional.originator_id = Some(value::address(value)?),
            kind::CLUSTER_LIST => optional.cluster_list = value::cluster_list(value)?,
            kind::EXTENDED_COMMUNITIES => {
                optional.extended_communities = value::extended_communities(value)?;
            }
            kind::AS4_AGGREGATOR => self.as4_aggregator = Some(value::as4_aggregator(value)?),
            kind::LARGE_COMMUNITIES => {
                optional.large_communities = value::large_communities(value)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Names the reason when an attribute is to be discarded unread.
    const fn unwanted(&self, kind: u8) -> Option<&'static str> {
        match kind {
            // RFC 6793 section 6.
            kind::AS4_PATH | kind::AS4_AGGREGATOR if self.context.four_octet_as => {
                Some("two-octet attribute from a four-octet peer")
            }
            // RFC 7606 sections 7.5, 7.9 and 7.10.
            kind::LOCAL_PREF | kind::ORIGINATOR_ID | kind::CLUSTER_LIST if !self.context.ibgp => {
                Some("internal attribute from an external peer")
            }
            _ => None,
        }
    }

    /// Handles a type that we do not know (RFC 4271 section 5, RFC 7606 section 3 d).
    fn unknown(&mut self, attribute: &Attribute<'_>) {
        let Attribute { flags, kind, value } = *attribute;
        if flags & kind::OPTIONAL == 0 {
            self.fault(
                kind,
                Disposition::TreatAsWithdraw,
                "unknown well-known attribute",
            );
        } else if flags & kind::TRANSITIVE != 0 {
            let flags = kind::OPTIONAL | kind::TRANSITIVE | kind::PARTIAL;
            self.optional.unknown.push(RawAttribute {
                flags,
                kind,
                value: value.to_vec(),
            });
        }
    }

    /// Decodes MP_REACH_NLRI (RFC 4760 section 3).
    fn reach(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        let mut reader = Reader::new(attribute.value);
        let Some(family) = family(&mut reader) else {
            return Err(attribute.error("MP_REACH_NLRI is cut short"));
        };
        let length = match self.negotiated(family) {
            Some(Family::Ipv4Unicast) => self.ipv4.reach(attribute, reader, self.context),
            Some(Family::Ipv6Unicast) => self.ipv6.reach(attribute, reader, self.context),
            None => {
                self.fault(attribute.kind, Disposition::AttributeDiscard, OTHER_FAMILY);
                return Ok(());
            }
        };
        self.len += ATTRIBUTE_HEADER_LEN + length?;
        Ok(())
    }

    /// Decodes MP_UNREACH_NLRI (RFC 4760 section 4).
    fn unreach(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        let mut reader = Reader::new(attribute.value);
        let Some(family) = family(&mut reader) else {
            return Err(attribute.error("MP_UNREACH_NLRI is cut short"));
        };
        match self.negotiated(family) {
            Some(Family::Ipv4Unicast) => self.ipv4.unreach(attribute, reader, self.context),
            Some(Family::Ipv6Unicast) => self.ipv6.unreach(attribute, reader, self.context),
            None => {
                self.fault(attribute.kind, Disposition::AttributeDiscard, OTHER_FAMILY);
                Ok(())
            }
        }
    }

    /// Returns the family with these numbers if it was negotiated; IPv4 unicast always is.
    fn negotiated(&self, (afi, safi): (u16, u8)) -> Option<Family> {
        Family::from_wire(afi, safi).filter(|family| match family {
            Family::Ipv4Unicast => true,
            Family::Ipv6Unicast => self.context.ipv6.is_some(),
        })
    }

    /// Returns the one next hop of all routes. Routes in both places with different next hops cannot
    /// share the attributes; nobody sends that.
    fn next_hop_of_routes(&self, in_body: bool) -> Result<Ipv4Addr, &'static str> {
        let reach = self.ipv4.next_hop;
        match (self.next_hop, reach) {
            (Some(body), Some(reach)) if in_body && body != reach => Err("two next hops"),
            (Some(body), _) if in_body => Ok(body),
            (None, _) if in_body => Err("NEXT_HOP is missing"),
            (_, Some(reach)) => Ok(reach),
            (_, None) => Err("NEXT_HOP is missing"),
        }
    }

    fn is_withdraw(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| fault.disposition == Disposition::TreatAsWithdraw)
    }

    fn seen(&self, kind: u8) -> bool {
        self.seen[usize::from(kind)]
    }

    fn fault(&mut self, kind: u8, disposition: Disposition, reason: &'static str) {
        self.faults.push(AttributeFault {
            kind,
            disposition,
            reason,
        });
    }
}

impl<N: Prefix> Default for Multiprotocol<N> {
    fn default() -> Self {
        Self {
            next_hop: None,
            announced: Vec::new(),
            withdrawn: None,
        }
    }
}

impl<N: Prefix> Multiprotocol<N> {
    /// Reads MP_REACH_NLRI behind its family; returns the bytes of the next hop. One of another length than the family
    /// has leaves it open where the prefixes start (RFC 7606 section 7.11).
    fn reach(
        &mut self,
        attribute: &Attribute<'_>,
        mut reader: Reader<'_>,
        context: DecodeContext,
    ) -> Result<usize, DecodeError> {
        let octets = reader.u8().and_then(|len| reader.take(len.into()));
        let next_hop = octets.and_then(N::next_hop);
        let (Some(octets), Some(next_hop), Some(_reserved)) = (octets, next_hop, reader.u8())
        else {
            return Err(attribute.error("bad length of next hop in MP_REACH_NLRI"));
        };
        self.announced = nlri::decode(reader.remainder(), context.add_path_of(N::FAMILY))
            .ok_or_else(|| attribute.error("invalid prefix in MP_REACH_NLRI"))?;
        self.next_hop = Some(next_hop);
        Ok(octets.len())
    }

    /// Reads MP_UNREACH_NLRI behind its family.
    fn unreach(
        &mut self,
        attribute: &Attribute<'_>,
        reader: Reader<'_>,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let withdrawn = nlri::decode(reader.remainder(), context.add_path_of(N::FAMILY))
            .ok_or_else(|| attribute.error("invalid prefix in MP_UNREACH_NLRI"))?;
        self.withdrawn = Some(withdrawn);
        Ok(())
    }
}

impl<'a> Attribute<'a> {
    /// Reads the next attribute; an overrun yields its type, if that much is there.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Option<u8>> {
        let (flags, kind) = (reader.u8(), reader.u8());
        let len = match flags {
            Some(flags) if flags & kind::EXTENDED_LENGTH != 0 => reader.u16().map(usize::from),
            _ => reader.u8().map(usize::from),
        };
        let value = len.and_then(|len| reader.take(len));
        match (flags, kind, value) {
            (Some(flags), Some(kind), Some(value)) => Ok(Self { flags, kind, value }),
            _ => Err(kind),
        }
    }

    /// Makes the error that carries this attribute (RFC 4271 section 6.3).
    fn error(&self, reason: &'static str) -> DecodeError {
        let len = u16::try_from(self.value.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        let used = if self.flags & kind::EXTENDED_LENGTH == 0 {
            &len[1..]
        } else {
            &len[..]
        };
        let data = [&[self.flags, self.kind], used, self.value].concat();
        DecodeError::new(code::UPDATE, subcode::OPTIONAL_ATTRIBUTE, reason).with_data(&data)
    }
}

fn family(reader: &mut Reader<'_>) -> Option<(u16, u8)> {
    Some((reader.u16()?, reader.u8()?))
}

/// Says what a malformed value of a known type other than AS4_PATH makes of the routes (RFC 7606 section 7, RFC 6793
/// section 6).
const fn disposition(kind: u8) -> Disposition {
    match kind {
        kind::ATOMIC_AGGREGATE | kind::AGGREGATOR | kind::AS4_AGGREGATOR => {
            Disposition::AttributeDiscard
        }
        _ => Disposition::TreatAsWithdraw,
    }
}

fn malformed_list(reason: &'static str) -> DecodeError {
    DecodeError::new(code::UPDATE, subcode::MALFORMED_ATTRIBUTE_LIST, reason)
}

const OTHER_FAMILY: &str = "address family was not negotiated";
/// Most bytes of attributes that a route may carry; the RFCs set no limit.
const MAX_ATTRIBUTES_LEN: usize = 2048;
/// Flags, type and the longer form of the length.
const ATTRIBUTE_HEADER_LEN: usize = 4;
