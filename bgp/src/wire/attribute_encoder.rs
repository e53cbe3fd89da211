//! Path attributes to bytes: one canonical form.
//!
//! Attributes leave in ascending type order (RFC 4271 section 5), with a
//! two-octet length only when needed, sets sorted and without duplicates. Towards external peers
//! LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST are left out (RFC 4271 section 5.1.5, RFC 4456).

use std::borrow::Cow;
use std::net::IpAddr;

use super::DecodeContext;
use super::attribute_kind as kind;
use super::attributes::{AsPathSegment, Origin, PathAttributes, RawAttribute};
use super::family::Prefix;
use super::four_octet_as::{self, AS_TRANS};

impl<A: Copy + Into<IpAddr>> PathAttributes<A> {
    /// Encodes the attributes as they stand in an UPDATE, without the length of the whole. A next hop of IPv6 is not
    /// among them: it belongs to [`reach`].
    pub(crate) fn encode(&self, context: DecodeContext) -> Vec<u8> {
        let mut writer = AttributeWriter::new(&self.unknown);
        writer.known(kind::ORIGIN, |out| out.push(origin_code(self.origin)));
        writer.known(kind::AS_PATH, |out| {
            as_path(out, &self.as_path, context.four_octet_as)
        });
        if let IpAddr::V4(next_hop) = self.next_hop.into() {
            writer.known(kind::NEXT_HOP, |out| out.extend(next_hop.octets()));
        }
        if let Some(med) = self.med {
            writer.known(kind::MULTI_EXIT_DISC, |out| out.extend(med.to_be_bytes()));
        }
        if let Some(preference) = self.local_pref.filter(|_| context.ibgp) {
            writer.known(kind::LOCAL_PREF, |out| out.extend(preference.to_be_bytes()));
        }
        if self.atomic_aggregate {
            writer.known(kind::ATOMIC_AGGREGATE, |_| {});
        }
        if let Some(aggregator) = self.aggregator {
            writer.known(kind::AGGREGATOR, |out| {
                asn(out, aggregator.asn, context.four_octet_as);
                out.extend(aggregator.router.octets());
            });
        }
        let communities = sorted(&self.communities);
        writer.list(
            kind::COMMUNITIES,
            communities.iter().map(|value| value.to_be_bytes()),
        );
        if context.ibgp {
            if let Some(originator) = self.originator_id {
                writer.known(kind::ORIGINATOR_ID, |out| out.extend(originator.octets()));
            }
            writer.list(
                kind::CLUSTER_LIST,
                self.cluster_list.iter().map(|id| id.octets()),
            );
        }
        let extended = sorted(&self.extended_communities);
        writer.list(kind::EXTENDED_COMMUNITIES, extended.iter().copied());
        if !context.four_octet_as {
            self.encode_four_octet_shadows(&mut writer);
        }
        let large = sorted(&self.large_communities);
        writer.list(
            kind::LARGE_COMMUNITIES,
            large
                .iter()
                .flat_map(|c| [c.global, c.local1, c.local2])
                .map(u32::to_be_bytes),
        );
        writer.finish()
    }

    /// Tells a two-octet peer's successors the AS numbers that it cannot see (RFC 6793 section 4.2.2).
    fn encode_four_octet_shadows(&self, writer: &mut AttributeWriter<'_>) {
        if four_octet_as::is_needed(&self.as_path) {
            writer.known(kind::AS4_PATH, |out| as_path(out, &self.as_path, true));
        }
        if let Some(aggregator) = self.aggregator.filter(|it| u16::try_from(it.asn).is_err()) {
            writer.known(kind::AS4_AGGREGATOR, |out| {
                out.extend(aggregator.asn.to_be_bytes());
                out.extend(aggregator.router.octets());
            });
        }
    }
}

/// Appends MP_REACH_NLRI with prefixes as they stand on the wire (RFC 4760 section 3).
pub(super) fn reach<N: Prefix>(block: &mut Vec<u8>, next_hop: N::NextHop, prefixes: &[u8]) {
    attribute(block, kind::OPTIONAL, kind::MP_REACH_NLRI, |out| {
        let (afi, safi) = N::FAMILY.on_wire();
        out.extend(afi.to_be_bytes());
        out.push(safi);
        address(out, next_hop.into());
        let reserved = 0;
        out.push(reserved);
        out.extend(prefixes);
    });
}

/// Appends MP_UNREACH_NLRI (RFC 4760 section 4).
pub(super) fn unreach<N: Prefix>(block: &mut Vec<u8>, prefixes: &[u8]) {
    attribute(block, kind::OPTIONAL, kind::MP_UNREACH_NLRI, |out| {
        let (afi, safi) = N::FAMILY.on_wire();
        out.extend(afi.to_be_bytes());
        out.push(safi);
        out.extend(prefixes);
    });
}

/// Appends MP_REACH_NLRI as it stands in a table dump: nothing but the next hop (RFC 6396 section 4.3.4).
pub(crate) fn abbreviated_reach(block: &mut Vec<u8>, next_hop: IpAddr) {
    attribute(block, kind::OPTIONAL, kind::MP_REACH_NLRI, |out| {
        address(out, next_hop);
    });
}

/// Appends a next hop behind its length.
fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(16);
            out.extend(address.octets());
        }
    }
}

/// Bytes of MP_REACH_NLRI beside next hop and prefixes: header, family, length of the next hop, a reserved one.
pub(super) const REACH_LEN: usize = 4 + 3 + 1 + 1;
/// Bytes of MP_UNREACH_NLRI beside prefixes: header, family.
pub(super) const UNREACH_LEN: usize = 4 + 3;

/// Writes attributes in the order of their types, the unknown ones in between.
struct AttributeWriter<'a> {
    block: Vec<u8>,
    /// Unknown attributes not written yet, the next one last.
    unknown: Vec<&'a RawAttribute>,
}

impl<'a> AttributeWriter<'a> {
    fn new(unknown: &'a [RawAttribute]) -> Self {
        let mut unknown: Vec<_> = unknown.iter().collect();
        unknown.sort_by_key(|raw| std::cmp::Reverse(raw.kind));
        Self {
            block: Vec::new(),
            unknown,
        }
    }

    /// Writes an attribute of a known type.
    fn known(&mut self, kind: u8, value: impl FnOnce(&mut Vec<u8>)) {
        while let Some(raw) = self.unknown.pop_if(|raw| raw.kind < kind) {
            attribute(&mut self.block, raw.flags, raw.kind, |out| {
                out.extend(&raw.value);
            });
        }
        attribute(&mut self.block, kind::flags(kind).unwrap_or(0), kind, value);
    }

    /// Writes an attribute whose value is a list; an empty list is no attribute.
    fn list<const N: usize>(&mut self, kind: u8, items: impl Iterator<Item = [u8; N]>) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.known(kind, |out| out.extend(items.flatten()));
        }
    }

    fn finish(mut self) -> Vec<u8> {
        while let Some(raw) = self.unknown.pop() {
            attribute(&mut self.block, raw.flags, raw.kind, |out| {
                out.extend(&raw.value);
            });
        }
        self.block
    }
}

/// Appends one attribute.
fn attribute(block: &mut Vec<u8>, flags: u8, kind: u8, value: impl FnOnce(&mut Vec<u8>)) {
    let start = block.len();
    block.extend([flags & !kind::EXTENDED_LENGTH, kind, 0]);
    value(block);
    let len = block.len() - start - 3;
    if let Ok(len) = u8::try_from(len) {
        block[start + 2] = len;
    } else {
        // A value beyond 65535 bytes makes a block that no message can carry; `Update` sees that.
        let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        block[start] |= kind::EXTENDED_LENGTH;
        block.splice(start + 2..start + 3, len);
    }
}

fn as_path(out: &mut Vec<u8>, segments: &[AsPathSegment], four_octet: bool) {
    for part in segments
        .iter()
        .flat_map(|segment| segment.0.chunks(usize::from(u8::MAX)))
    {
        out.push(AS_SEQUENCE);
        out.push(u8::try_from(part.len()).expect("chunks have at most 255 AS numbers"));
        part.iter().for_each(|number| asn(out, *number, four_octet));
    }
}

fn asn(out: &mut Vec<u8>, asn: u32, four_octet: bool) {
    match u16::try_from(asn) {
        _ if four_octet => out.extend(asn.to_be_bytes()),
        Ok(asn) => out.extend(asn.to_be_bytes()),
        Err(_) => out.extend(AS_TRANS.to_be_bytes()),
    }
}

const fn origin_code(origin: Origin) -> u8 {
    match origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    }
}

/// Sorts a set and removes duplicates, unless that was done already.
fn sorted<T: Ord + Clone>(set: &[T]) -> Cow<'_, [T]> {
    if set.is_sorted_by(|left, right| left < right) {
        return Cow::Borrowed(set);
    }
    let mut set = set.to_vec();
    set.sort();
    set.dedup();
    Cow::Owned(set)
}

/// AS_PATH segment type of an ordered list.
const AS_SEQUENCE: u8 = 2;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::{Aggregator, LargeCommunity};

    #[test]
    fn attributes_leave_in_ascending_order_with_unknown_ones_in_between() {
        let attributes = PathAttributes {
            med: Some(1),
            local_pref: Some(2),
            communities: vec![3, 1, 3],
            originator_id: Some(Ipv4Addr::LOCALHOST),
            cluster_list: vec![Ipv4Addr::new(2, 2, 2, 2), Ipv4Addr::new(1, 1, 1, 1)],
            extended_communities: vec![[1; 8], [0; 8]],
            large_communities: vec![LargeCommunity {
                global: 1,
                local1: 2,
                local2: 3,
            }],
            unknown: vec![raw(99, 300), raw(11, 1), raw(20, 0)],
            ..path(Vec::new())
        };

        let block = attributes.encode(INTERNAL);

        let kinds: Vec<u8> = walk(&block).iter().map(|(_, kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 2, 3, 4, 5, 8, 9, 10, 11, 16, 20, 32, 99]);
        assert_eq!(value_of(&block, 8), [0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(value_of(&block, 10), [2, 2, 2, 2, 1, 1, 1, 1]);
        assert_eq!(value_of(&block, 16), [[0; 8], [1; 8]].concat());
    }

    #[test]
    fn a_two_octet_length_is_used_only_when_needed() {
        for len in [0, 255, 256] {
            let attributes = PathAttributes {
                unknown: vec![raw(99, len)],
                ..path(Vec::new())
            };

            let block = attributes.encode(INTERNAL);

            let (flags, _, value) = walk(&block).pop().unwrap();
            assert_eq!(
                (flags, value.len()),
                (if len > 255 { 0xf0 } else { 0xe0 }, len)
            );
        }
    }

    #[test]
    fn external_peers_see_no_internal_attributes() {
        let attributes = PathAttributes {
            local_pref: Some(2),
            originator_id: Some(Ipv4Addr::LOCALHOST),
            cluster_list: vec![Ipv4Addr::LOCALHOST],
            ..path(Vec::new())
        };

        let block = attributes.encode(DecodeContext {
            ibgp: false,
            ..INTERNAL
        });

        let kinds: Vec<u8> = walk(&block).iter().map(|(_, kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 2, 3]);
    }

    #[test]
    fn a_two_octet_peer_gets_as_trans_and_the_truth_beside_it() {
        let aggregator = Aggregator {
            asn: 70000,
            router: Ipv4Addr::LOCALHOST,
        };
        let attributes = PathAttributes {
            aggregator: Some(aggregator),
            ..path(vec![AsPathSegment(vec![65001, 70000])])
        };

        let block = attributes.encode(DecodeContext {
            four_octet_as: false,
            ..INTERNAL
        });

        assert_eq!(value_of(&block, 2), [2, 2, 0xfd, 0xe9, 0x5b, 0xa0]);
        assert_eq!(value_of(&block, 7), [0x5b, 0xa0, 127, 0, 0, 1]);
        assert_eq!(
            value_of(&block, 17),
            [2, 2, 0, 0, 0xfd, 0xe9, 0, 1, 0x11, 0x70]
        );
        assert_eq!(value_of(&block, 18), [0, 1, 0x11, 0x70, 127, 0, 0, 1]);
    }

    #[test]
    fn a_segment_beyond_255_numbers_is_split() {
        let attributes = path(vec![AsPathSegment(vec![7; 256]), AsPathSegment(Vec::new())]);

        let block = attributes.encode(INTERNAL);

        let value = value_of(&block, 2);
        assert_eq!(value.len(), 2 + 255 * 4 + 2 + 4);
        assert_eq!(value[2 + 255 * 4..], [2, 1, 0, 0, 0, 7]);
    }

    const INTERNAL: DecodeContext = DecodeContext {
        four_octet_as: true,
        ibgp: true,
        add_path: false,
        extended: false,
        ipv6: None,
    };

    fn path(as_path: Vec<AsPathSegment>) -> PathAttributes {
        PathAttributes {
            as_path,
            ..PathAttributes::local(Ipv4Addr::new(192, 0, 2, 1))
        }
    }

    fn raw(kind: u8, len: usize) -> RawAttribute {
        RawAttribute {
            flags: 0xe0,
            kind,
            value: vec![0; len],
        }
    }

    fn value_of(block: &[u8], wanted: u8) -> Vec<u8> {
        walk(block)
            .into_iter()
            .find(|(_, kind, _)| *kind == wanted)
            .unwrap()
            .2
    }

    fn walk(mut block: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
        let mut attributes = Vec::new();
        while let [flags, kind, rest @ ..] = block {
            let (len, rest) = if flags & 0x10 == 0 {
                (usize::from(rest[0]), &rest[1..])
            } else {
                (
                    usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                    &rest[2..],
                )
            };
            attributes.push((*flags, *kind, rest[..len].to_vec()));
            block = &rest[len..];
        }
        attributes
    }
}
