//! Values of single attributes, from bytes to meaning.
//!
//! Each function judges one value by RFC 7606 section 7 and says in a few words what is malformed;
//! what follows from that is decided by `attribute_decoder`, but for AS4_PATH, of which it depends on the fault.

use std::net::Ipv4Addr;

use super::attributes::{Aggregator, AsPathSegment, Origin};
use super::community::LargeCommunity;
use super::reader::Reader;
use super::update::Disposition;

/// A value, or what is wrong with it.
pub(super) type Value<T> = Result<T, &'static str>;

/// Decodes ORIGIN (RFC 7606 section 7.1).
pub(super) const fn origin(value: &[u8]) -> Value<Origin> {
    match value {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [_] => Err("undefined ORIGIN"),
        _ => Err("length is not 1"),
    }
}

/// Decodes AS_PATH (RFC 7606 section 7.2); AS 0 (RFC 7607), AS_SET (RFC 9774) and confederation
/// segments (RFC 5065 section 5) are refused.
pub(super) fn as_path(value: &[u8], four_octet: bool) -> Value<Vec<AsPathSegment>> {
    let mut reader = Reader::new(value);
    let mut path = Vec::new();
    while let Some(segment_type) = reader.u8() {
        match segment_type {
            2 => {}
            1 | 4 => return Err("AS_SET in AS_PATH"),
            3 => return Err("confederation segment in AS_PATH"),
            _ => return Err("unknown segment type in AS_PATH"),
        }
        path.push(AsPathSegment(numbers(&mut reader, four_octet)?));
    }
    Ok(path)
}

/// Decodes AS4_PATH (RFC 6793 section 6). AS 0 (RFC 7607) and AS_SET are refused, and the latter takes the routes along
/// (RFC 9774 section 3); confederation segments should not be there, and are left out.
pub(super) fn as4_path(value: &[u8]) -> Result<Vec<AsPathSegment>, (Disposition, &'static str)> {
    const MALFORMED: (Disposition, &str) = (Disposition::AttributeDiscard, "malformed AS4_PATH");
    let mut reader = Reader::new(value);
    let mut path = Vec::new();
    while let Some(segment_type) = reader.u8() {
        let numbers = numbers(&mut reader, true).map_err(|_| MALFORMED)?;
        match segment_type {
            2 => path.push(AsPathSegment(numbers)),
            3 => {}
            1 | 4 => return Err((Disposition::TreatAsWithdraw, "AS_SET in AS4_PATH")),
            _ => return Err(MALFORMED),
        }
    }
    if value.is_empty() {
        return Err(MALFORMED);
    }
    Ok(path)
}

/// Reads the AS numbers of a segment, behind its type.
fn numbers(reader: &mut Reader<'_>, four_octet: bool) -> Value<Vec<u32>> {
    let count = reader.u8().ok_or("AS_PATH is cut short")?;
    if count == 0 {
        return Err("empty segment in AS_PATH");
    }
    let numbers: Option<Vec<u32>> = (0..count).map(|_| asn(reader, four_octet)).collect();
    let numbers = numbers.ok_or("AS_PATH is cut short")?;
    if numbers.contains(&0) {
        return Err("AS 0 in AS_PATH");
    }
    Ok(numbers)
}

/// Decodes an address of NEXT_HOP or ORIGINATOR_ID (RFC 7606 sections 7.3 and 7.9).
pub(super) fn address(value: &[u8]) -> Value<Ipv4Addr> {
    number(value).map(Ipv4Addr::from)
}

/// Decodes MULTI_EXIT_DISC or LOCAL_PREF (RFC 7606 sections 7.4 and 7.5).
pub(super) fn number(value: &[u8]) -> Value<u32> {
    value
        .try_into()
        .map(u32::from_be_bytes)
        .map_err(|_| "length is not 4")
}

/// Decodes ATOMIC_AGGREGATE (RFC 7606 section 7.6).
pub(super) const fn atomic_aggregate(value: &[u8]) -> Value<bool> {
    if value.is_empty() {
        Ok(true)
    } else {
        Err("length is not 0")
    }
}

/// Decodes AGGREGATOR (RFC 7606 section 7.7, RFC 7607).
pub(super) fn aggregator(value: &[u8], four_octet: bool) -> Value<Aggregator> {
    let mut reader = Reader::new(value);
    let (Some(asn), Some(router), true) = (
        asn(&mut reader, four_octet),
        reader.ipv4(),
        reader.is_empty(),
    ) else {
        return Err("bad length of AGGREGATOR");
    };
    if asn == 0 {
        Err("AS 0 in AGGREGATOR")
    } else {
        Ok(Aggregator { asn, router })
    }
}

/// Decodes AS4_AGGREGATOR (RFC 6793 section 6, RFC 7607).
pub(super) fn as4_aggregator(value: &[u8]) -> Value<Aggregator> {
    aggregator(value, true).map_err(|_| "malformed AS4_AGGREGATOR")
}

/// Decodes COMMUNITIES (RFC 7606 section 7.8).
pub(super) fn communities(value: &[u8]) -> Value<Vec<u32>> {
    set(value, |community| u32::from_be_bytes(*community))
}

/// Decodes EXTENDED COMMUNITIES (RFC 7606 section 7.14).
pub(super) fn extended_communities(value: &[u8]) -> Value<Vec<[u8; 8]>> {
    set(value, |community: &[u8; 8]| *community)
}

/// Decodes LARGE COMMUNITIES (RFC 8092 section 6).
pub(super) fn large_communities(value: &[u8]) -> Value<Vec<LargeCommunity>> {
    let community = |bytes: &[u8; 12]| {
        let [global, local1, local2] =
            [0, 4, 8].map(|at| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte])));
        LargeCommunity {
            global,
            local1,
            local2,
        }
    };
    set(value, community)
}

/// Decodes CLUSTER_LIST (RFC 7606 section 7.10).
pub(super) fn cluster_list(value: &[u8]) -> Value<Vec<Ipv4Addr>> {
    let ids = items(value)?;
    if ids.len() > MAX_CLUSTER_IDS {
        return Err("more than 32 cluster ids");
    }
    Ok(ids
        .iter()
        .copied()
        .map(<Ipv4Addr as From<[u8; 4]>>::from)
        .collect())
}

fn asn(reader: &mut Reader<'_>, four_octet: bool) -> Option<u32> {
    if four_octet {
        reader.u32()
    } else {
        reader.u16().map(u32::from)
    }
}

/// Decodes a set of communities, sorted and without duplicates.
fn set<T: Ord, const N: usize>(value: &[u8], item: impl Fn(&[u8; N]) -> T) -> Value<Vec<T>> {
    let items = items(value)?;
    if items.len() > MAX_COMMUNITIES {
        return Err("more than 64 communities");
    }
    let mut set: Vec<T> = items.iter().map(item).collect();
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

/// Cuts a value into items of `N` bytes, of which there must be at least one.
fn items<const N: usize>(value: &[u8]) -> Value<&[[u8; N]]> {
    match value.as_chunks() {
        ([], []) => Err("empty list"),
        (items, []) => Ok(items),
        _ => Err("length is no multiple of the item size"),
    }
}

/// Most communities of one kind that a route may carry.
pub(super) const MAX_COMMUNITIES: usize = 64;
/// Most cluster ids that a route may carry: reflectors on its way.
pub(super) const MAX_CLUSTER_IDS: usize = 32;
