//! What a router has captured, on its marker: one large community `asn:19:address` for each address.
//!
//! Nobody else can know in time: a provider is asked seldom, and by each router for itself. No more than
//! [`HELD_MAX`] are told, so that a marker fits into a message of 4096 bytes; no provider has more on one NIC.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sam_bgp::LargeCommunity;

use crate::route_tags::function;

/// Most addresses that are told, and believed.
pub const HELD_MAX: usize = 255;

/// Writes what is held, sorted; the lowest addresses if there are too many.
#[must_use]
pub fn held_communities(asn: u32, held: &BTreeSet<Ipv4Addr>) -> Vec<LargeCommunity> {
    let community = |address: &Ipv4Addr| LargeCommunity {
        global: asn,
        local1: function::HELD,
        local2: u32::from(*address),
    };
    held.iter().take(HELD_MAX).map(community).collect()
}

/// Reads what is held.
#[must_use]
pub fn held_of(asn: u32, communities: &[LargeCommunity]) -> BTreeSet<Ipv4Addr> {
    let held = communities
        .iter()
        .filter(|community| community.global == asn && community.local1 == function::HELD);
    let addresses = held.map(|community| Ipv4Addr::from(community.local2));
    addresses.take(HELD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let held: BTreeSet<Ipv4Addr> = [[10, 77, 60, 11].into(), [10, 77, 60, 10].into()].into();

        let communities = held_communities(64_512, &held);

        let text: Vec<String> = communities.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["64512:19:172833802", "64512:19:172833803"]);
        assert_eq!(held_of(64_512, &communities), held);
        assert_eq!(held_of(64_513, &communities), [].into());
    }

    #[test]
    fn no_more_is_told_or_believed_than_fits_into_a_message() {
        let address = |number: u32| Ipv4Addr::from(0x0a00_0000 + number);
        let held: BTreeSet<Ipv4Addr> = (0..1000).map(address).collect();

        let communities = held_communities(64_512, &held);

        assert_eq!(communities.len(), HELD_MAX);
        let all: Vec<LargeCommunity> = [0_u32, 255, 510, 765]
            .into_iter()
            .flat_map(|from| {
                let some = held.iter().skip(from as usize).take(HELD_MAX);
                held_communities(64_512, &some.copied().collect())
            })
            .collect();
        assert_eq!(held_of(64_512, &all).len(), HELD_MAX);
    }
}
