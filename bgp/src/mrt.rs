//! Tables in MRT: TABLE_DUMP_V2 (RFC 6396 section 4.3), for tools that analyze routes.
//!
//! All paths of the Loc-RIB, ineligible ones included; what import refused is not in it. Peer 0 is this router, which
//! stands for its own routes. Prefixes of which a peer told paths under identifiers have records with identifiers
//! (RFC 8050 section 4.1); 0 stands for none.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use crate::config::PeerId;
use crate::rib::{LocRib, Path};
use crate::wire::{DecodeContext, Family, PathId, Prefix, abbreviated_reach};

/// What a dump says about itself.
#[derive(Debug, Clone, Copy)]
pub struct DumpHead<'a> {
    /// Name of the view.
    pub view: &'a str,
    /// Seconds since the Unix epoch.
    pub time: u32,
    /// The same moment on the clock that paths were learned by.
    pub now: Instant,
}

/// A peer of the dump.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DumpPeer {
    /// Its id; `None` for ourselves.
    pub(crate) id: Option<PeerId>,
    /// BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Address.
    pub(crate) address: Ipv4Addr,
    /// AS number.
    pub(crate) asn: u32,
}

/// MRT type.
const TABLE_DUMP_V2: u16 = 13;
/// Subtypes of it.
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV6_UNICAST: u16 = 4;
const RIB_IPV4_UNICAST_ADDPATH: u16 = 8;
const RIB_IPV6_UNICAST_ADDPATH: u16 = 10;
/// The peer has an IPv4 address and a four-octet AS number.
const PEER_TYPE: u8 = 0b10;
/// AS numbers have four octets (section 4.3.4).
const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};

/// Begins a dump: who told the routes. The first peer is ourselves; of more than 65535 the rest is left out.
pub(crate) fn begin(head: DumpHead<'_>, peers: &[DumpPeer]) -> Vec<u8> {
    let mut out = Vec::new();
    let peers = &peers[..peers.len().min(usize::from(u16::MAX))];
    record(&mut out, head.time, PEER_INDEX_TABLE, |body| {
        peer_index_table(body, head.view, peers);
    });
    out
}

/// Writes the routes of one family behind the peers, which are those of [`begin`].
pub(crate) fn table<N: Prefix>(
    out: &mut Vec<u8>,
    head: DumpHead<'_>,
    peers: &[DumpPeer],
    rib: &LocRib<N>,
) {
    let peers = &peers[..peers.len().min(usize::from(u16::MAX))];
    let indexes: BTreeMap<Option<PeerId>, u16> =
        peers.iter().map(|peer| peer.id).zip(0..).collect();
    for (prefix, sequence) in rib.prefixes().zip(0..) {
        let candidates = rib.candidates(prefix);
        let paths = candidates.iter().map(|candidate| &candidate.path);
        let entries: Vec<(u16, &Path<N::NextHop>)> = paths
            .filter_map(|path| Some((*indexes.get(&path.source.peer())?, path)))
            .collect();
        let with_ids = entries.iter().any(|(_, path)| path.path_id.is_some());
        let subtype = match (N::FAMILY, with_ids) {
            (Family::Ipv4Unicast, false) => RIB_IPV4_UNICAST,
            (Family::Ipv4Unicast, true) => RIB_IPV4_UNICAST_ADDPATH,
            (Family::Ipv6Unicast, false) => RIB_IPV6_UNICAST,
            (Family::Ipv6Unicast, true) => RIB_IPV6_UNICAST_ADDPATH,
        };
        record(out, head.time, subtype, |body| {
            u32_field(body, sequence);
            prefix_field(body, prefix);
            u16_field(body, count(entries.len()));
            for (index, path) in &entries {
                let id = with_ids.then(|| path.path_id.unwrap_or(PathId(0)));
                entry(body, *index, path, id, head);
            }
        });
    }
}

/// Section 4.3.1: who told the routes.
fn peer_index_table(body: &mut Vec<u8>, view: &str, peers: &[DumpPeer]) {
    let collector = peers
        .first()
        .map_or(Ipv4Addr::UNSPECIFIED, |own| own.router_id);
    body.extend(collector.octets());
    let view = &view.as_bytes()[..usize::from(count(view.len()))];
    u16_field(body, count(view.len()));
    body.extend(view);
    u16_field(body, count(peers.len()));
    for peer in peers {
        body.push(PEER_TYPE);
        body.extend(peer.router_id.octets());
        body.extend(peer.address.octets());
        u32_field(body, peer.asn);
    }
}

/// Section 4.3.4: one path; RFC 8050 section 4.1: with its identifier.
fn entry<A: Copy + Into<IpAddr>>(
    body: &mut Vec<u8>,
    index: u16,
    path: &Path<A>,
    id: Option<PathId>,
    head: DumpHead<'_>,
) {
    let age = head
        .now
        .saturating_duration_since(path.learned_at)
        .as_secs();
    let age = u32::try_from(age).unwrap_or(u32::MAX);
    let mut attributes = Vec::new();
    let next_hop = path.attributes.next_hop.into();
    if next_hop.is_ipv6() {
        abbreviated_reach(&mut attributes, next_hop);
    }
    attributes.extend(path.attributes.encode(CONTEXT));
    u16_field(body, index);
    u32_field(body, head.time.saturating_sub(age));
    if let Some(PathId(id)) = id {
        u32_field(body, id);
    }
    u16_field(body, count(attributes.len()));
    body.extend(attributes);
}

/// Section 2: the header, with the length of what `write` appends.
fn record(out: &mut Vec<u8>, time: u32, subtype: u16, write: impl FnOnce(&mut Vec<u8>)) {
    u32_field(out, time);
    u16_field(out, TABLE_DUMP_V2);
    u16_field(out, subtype);
    let at = out.len();
    u32_field(out, 0);
    write(out);
    let length = u32::try_from(out.len() - at - 4).expect("a record holds few short fields");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// RFC 4271 section 4.3: the length in bits, then as many octets as they need.
fn prefix_field<N: Prefix>(body: &mut Vec<u8>, prefix: N) {
    let octets = usize::from(prefix.bits().div_ceil(8));
    body.push(prefix.bits());
    body.extend(&prefix.address().as_ref()[..octets]);
}

/// What is counted here never exceeds 65535: peers are cut, few paths per peer, attributes fitted into a message.
fn count(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn u16_field(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_be_bytes());
}

fn u32_field(out: &mut Vec<u8>, value: u32) {
    out.extend(value.to_be_bytes());
}
