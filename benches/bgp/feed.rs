//! What the peers of the benchmark say: OPENs and UPDATEs, encoded before the clock runs.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::wire::{Capability, DecodeContext, Message, Open, Update};
use sam_bgp::{LargeCommunity, PathAttributes};

/// AS number of everybody: all sessions are internal.
pub(crate) const ASN: u16 = 64_577;
/// Long enough that no KEEPALIVE is due within a case.
pub(crate) const HOLD_TIME_S: u16 = 240;
/// Prefixes in one UPDATE.
const PACKED: usize = 50;
/// Different sets of attributes.
const SETS: usize = 100;

const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};

/// Encodes an OPEN.
pub(crate) fn open(router_id: Ipv4Addr) -> Vec<u8> {
    let open = Open {
        asn: ASN,
        hold_time_s: HOLD_TIME_S,
        router_id,
        capabilities: vec![
            Capability::Multiprotocol { afi: 1, safi: 1 },
            Capability::RouteRefresh,
            Capability::FourOctetAs(ASN.into()),
        ],
    };
    Message::Open(open).encode(CONTEXT)
}

/// Encodes a KEEPALIVE.
pub(crate) fn keepalive() -> Vec<u8> {
    Message::Keepalive.encode(CONTEXT)
}

/// Returns the host route of a number.
pub(crate) fn host(number: usize) -> Ipv4Net {
    let address = 0x0b00_0000 + u32::try_from(number).expect("fewer hosts than addresses");
    Ipv4Net::new_assert(address.into(), 32)
}

/// Encodes announcements of the hosts with these numbers.
pub(crate) fn announcements(numbers: std::ops::Range<usize>, next_hop: Ipv4Addr) -> Vec<u8> {
    let all: Vec<usize> = numbers.collect();
    let updates = all.chunks(PACKED).enumerate();
    updates
        .flat_map(|(index, hosts)| announcement(hosts, next_hop, index % SETS))
        .collect()
}

/// Encodes one announcement with one of the sets of attributes; a number beyond them makes a new set.
pub(crate) fn announcement(hosts: &[usize], next_hop: Ipv4Addr, set: usize) -> Vec<u8> {
    let set = u32::try_from(set).expect("few sets");
    let large = |local1, local2| LargeCommunity {
        global: ASN.into(),
        local1,
        local2,
    };
    let update = Update {
        announced: hosts.iter().map(|number| host(*number).into()).collect(),
        attributes: Some(PathAttributes {
            local_pref: Some(400),
            large_communities: vec![large(1, set), large(2, 1), large(3, 1)],
            ..PathAttributes::local(next_hop)
        }),
        ..Update::default()
    };
    Message::Update(update).encode(CONTEXT)
}

/// Encodes the withdrawal of one host.
pub(crate) fn withdrawal(number: usize) -> Vec<u8> {
    let update = Update {
        withdrawn: vec![host(number).into()],
        ..Update::default()
    };
    Message::Update(update).encode(CONTEXT)
}
