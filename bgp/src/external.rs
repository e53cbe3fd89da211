//! Routes across the border of the AS as pure functions: which are refused from a peer of another AS, and with which
//! attributes one is told a route (RFC 4271 sections 5.1, 6.3 and 9.1.2).
//!
//! What else may pass is a matter of policy; without one nothing does (RFC 8212).

use crate::config::ExternalPeer;
use crate::policy::Rejection;
use crate::wire::{AsPathSegment, Community, PathAttributes, Prefix};

/// The AS_PATH does not begin with the AS of the peer.
pub(crate) const FIRST_AS: Rejection = Rejection("first-as");
/// The route passed the AS already to which it comes, or would go.
pub(crate) const AS_LOOP: Rejection = Rejection("as-loop");
/// The route may not leave the AS (RFC 1997).
pub(crate) const NO_EXPORT: Rejection = Rejection("no-export");
/// There is no address of ours that could be its next hop.
pub(crate) const NO_NEXT_HOP: Rejection = Rejection("no-next-hop");
/// The next hop is our own address.
pub(crate) const OWN_NEXT_HOP: Rejection = Rejection("own-next-hop");

/// Refuses a route of an external peer that cannot be right.
///
/// 1. The first AS is the peer's own (RFC 4271 section 6.3).
/// 2. Ours is not in the path (section 9.1.2).
/// 3. The next hop is not us (section 5.1.3).
///
/// # Errors
/// Which of the three it is.
pub(crate) fn check<N: Prefix>(
    attributes: &PathAttributes<N::NextHop>,
    peer: ExternalPeer,
) -> Result<(), Rejection> {
    let mut path = attributes.as_path.iter().flat_map(|segment| &segment.0);
    if path.next() != Some(&peer.asn) {
        return Err(FIRST_AS);
    }
    if passes(attributes, peer.local_asn) {
        return Err(AS_LOOP);
    }
    if Some(attributes.next_hop) == N::own_next_hop(&peer) {
        return Err(OWN_NEXT_HOP);
    }
    Ok(())
}

/// Returns the attributes with which a route is told to an external peer.
///
/// 1. A route that may not leave the AS stays (RFC 1997), and one that passed the peer's AS would be refused there.
/// 2. Our AS is prepended (RFC 4271 section 5.1.2), we are the next hop (section 5.1.3).
/// 3. LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST are of our AS. So is any MED: a learned one goes no further than the AS
///    that it was told to (section 5.1.4), and the one with which we originate ranks claims among ourselves. Told by the
///    originator alone, it would make every other border router the better way in. Policy may set one afterwards.
///
/// # Errors
/// Why it is not told.
pub(crate) fn export<N: Prefix>(
    attributes: &PathAttributes<N::NextHop>,
    peer: ExternalPeer,
) -> Result<PathAttributes<N::NextHop>, Rejection> {
    let confined = [
        Community::NO_EXPORT,
        Community::NO_ADVERTISE,
        Community::NO_EXPORT_SUBCONFED,
    ];
    let stays = attributes
        .communities
        .iter()
        .any(|value| confined.contains(&Community(*value)));
    if stays {
        return Err(NO_EXPORT);
    }
    if passes(attributes, peer.asn) {
        return Err(AS_LOOP);
    }
    Ok(PathAttributes {
        as_path: prepended(&attributes.as_path, peer.local_asn),
        next_hop: N::own_next_hop(&peer).ok_or(NO_NEXT_HOP)?,
        med: None,
        local_pref: None,
        originator_id: None,
        cluster_list: Vec::new(),
        ..attributes.clone()
    })
}

fn passes<A>(attributes: &PathAttributes<A>, asn: u32) -> bool {
    let mut segments = attributes.as_path.iter();
    segments.any(|segment| segment.0.contains(&asn))
}

/// Puts an AS in front: into the first segment, or into a new one when that is full.
fn prepended(path: &[AsPathSegment], asn: u32) -> Vec<AsPathSegment> {
    let mut path = path.to_vec();
    match path.first_mut() {
        Some(first) if first.0.len() < SEGMENT_MAX => first.0.insert(0, asn),
        Some(_) | None => path.insert(0, AsPathSegment(vec![asn])),
    }
    path
}

/// AS numbers that fit into a segment.
const SEGMENT_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipnet::Ipv4Net;

    use super::*;
    use crate::testing::{attributes, router};

    #[test]
    fn impossible_routes_are_refused_by_name() {
        let table = [
            (path(&[65001, 65002]), Ok(())),
            (path(&[]), Err(FIRST_AS)),
            (path(&[65002, 65001]), Err(FIRST_AS)),
            (path(&[65001, 64512]), Err(AS_LOOP)),
            (
                PathAttributes {
                    next_hop: PEER.next_hop,
                    ..path(&[65001])
                },
                Err(OWN_NEXT_HOP),
            ),
        ];
        for (attributes, verdict) in table {
            assert_eq!(
                check::<Ipv4Net>(&attributes, PEER),
                verdict,
                "{attributes:?}"
            );
        }
    }

    #[test]
    fn what_is_of_our_as_stays_inside() {
        let inside = PathAttributes {
            med: Some(7),
            originator_id: Some(router(3)),
            cluster_list: vec![router(4)],
            communities: vec![1],
            ..attributes(2, 300)
        };

        let told = export::<Ipv4Net>(&inside, PEER).unwrap();

        let expected = PathAttributes {
            as_path: vec![AsPathSegment(vec![64512])],
            communities: vec![1],
            ..PathAttributes::local(PEER.next_hop)
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn confined_routes_and_those_of_the_peers_as_are_not_told() {
        for value in [0xffff_ff01, 0xffff_ff02, 0xffff_ff03] {
            let confined = PathAttributes {
                communities: vec![value],
                ..path(&[])
            };
            assert_eq!(
                export::<Ipv4Net>(&confined, PEER),
                Err(NO_EXPORT),
                "{value:x}"
            );
        }
        let passed = path(&[65002, 65001]);
        assert_eq!(export::<Ipv4Net>(&passed, PEER), Err(AS_LOOP));
    }

    #[test]
    fn a_full_segment_gets_a_new_one_in_front() {
        let long = path(&[7; 255]);

        let told = export::<Ipv4Net>(&long, PEER).unwrap();

        assert_eq!(told.as_path[0].0, [64512]);
        assert_eq!(told.as_path[1].0.len(), 255);
        assert_eq!(
            export::<Ipv4Net>(&told, PEER).unwrap().as_path[0].0,
            [64512, 64512]
        );
    }

    const PEER: ExternalPeer = ExternalPeer {
        asn: 65001,
        local_asn: 64512,
        next_hop: Ipv4Addr::new(203, 0, 113, 2),
        next_hop_ipv6: None,
    };

    fn path(numbers: &[u32]) -> PathAttributes {
        let segments = (!numbers.is_empty()).then(|| AsPathSegment(numbers.to_vec()));
        PathAttributes {
            as_path: segments.into_iter().collect(),
            ..PathAttributes::local(router(9))
        }
    }
}
