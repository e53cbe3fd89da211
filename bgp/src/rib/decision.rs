//! The decision process: puts paths in order, and says which step decided between two (RFC 4271 section 9.1.2.2).
//!
//! MEDs are compared within one neighboring AS (step 6), which is our own for what the fabric's nodes say. The metric to the
//! next hop (8) is left out, because it differs from router to router and every router must elect the same owner. For the
//! same reason age never decides.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::net::Ipv4Addr;

use super::path::{Path, PathSource};
use crate::config::PeerId;
use crate::wire::PathId;

/// The step of the decision process that separated two paths (bgp.md section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecisionStep {
    /// There was no other path.
    OnlyPath,
    /// 1 Next hop reachable, no loop.
    Eligible,
    /// 1 Next hop steady: it did not come back only lately.
    Steady,
    /// 2 Highest LOCAL_PREF.
    LocalPref,
    /// 3 Locally originated over learned.
    LocalOrigin,
    /// 4 Shortest AS_PATH.
    AsPathLength,
    /// 5 Lowest ORIGIN.
    Origin,
    /// 6 Lowest MED, among routes from the same neighboring AS.
    Med,
    /// 7 From a peer of another AS over one of ours.
    External,
    /// 9 Lowest ORIGINATOR_ID, else router id.
    RouterId,
    /// 10 Shortest CLUSTER_LIST.
    ClusterListLength,
    /// 11 Lowest peer address.
    PeerAddress,
    /// 12 Lowest path identifier.
    PathId,
    /// The paths are the same.
    Identical,
}

/// A path that may or may not be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<A = Ipv4Addr> {
    /// The path.
    pub(crate) path: Path<A>,
    /// Why it may not be chosen.
    pub(crate) ineligible: Option<&'static str>,
    /// Names the path towards peers that are told several; of the living paths to the prefix only copies of it have the
    /// same: those with its originator and next hop, of which peers are told the best.
    pub(crate) local_id: PathId,
    /// Whether its next hop came back only lately.
    pub(crate) unsteady: bool,
}

/// One step: less is better.
type Step<A> = fn(&Candidate<A>, &Candidate<A>) -> Ordering;

/// The steps, for next hops of any family.
struct Steps<A>(PhantomData<A>);

impl<A> Steps<A> {
    /// In order. Loops (part of 1) never get here: import refuses them.
    const ORDER: [(DecisionStep, Step<A>); 12] = [
        (DecisionStep::Eligible, |a, b| {
            a.ineligible.is_some().cmp(&b.ineligible.is_some())
        }),
        (DecisionStep::Steady, |a, b| a.unsteady.cmp(&b.unsteady)),
        (DecisionStep::LocalPref, |a, b| {
            b.path
                .attributes
                .preference()
                .cmp(&a.path.attributes.preference())
        }),
        (DecisionStep::LocalOrigin, |a, b| {
            is_learned(a).cmp(&is_learned(b))
        }),
        (DecisionStep::AsPathLength, |a, b| {
            as_path_length(a).cmp(&as_path_length(b))
        }),
        (DecisionStep::Origin, |a, b| {
            a.path.attributes.origin.cmp(&b.path.attributes.origin)
        }),
        (DecisionStep::Med, |a, b| {
            match neighboring_as(a) == neighboring_as(b) {
                true => med(a).cmp(&med(b)),
                false => Ordering::Equal,
            }
        }),
        (DecisionStep::External, |a, b| {
            is_internal(a).cmp(&is_internal(b))
        }),
        (DecisionStep::RouterId, |a, b| {
            router_id(a).cmp(&router_id(b))
        }),
        (DecisionStep::ClusterListLength, |a, b| {
            a.path
                .attributes
                .cluster_list
                .len()
                .cmp(&b.path.attributes.cluster_list.len())
        }),
        (DecisionStep::PeerAddress, |a, b| {
            peer_address(a).cmp(&peer_address(b))
        }),
        (DecisionStep::PathId, |a, b| {
            a.path.path_id.cmp(&b.path.path_id)
        }),
    ];
}

/// Puts the paths of a prefix in order: the best one first, behind each the one that is best without those before it.
///
/// MEDs are compared within one neighboring AS only, so that pairs alone make no order: of three paths each may beat the next.
/// 1. The paths from each neighboring AS are put in order; among them all steps count.
/// 2. The first ones of all are compared, where MED does not count, and the best of them is next.
pub(crate) fn rank<A, T>(mut paths: Vec<T>, candidate: impl Fn(&T) -> &Candidate<A>) -> Vec<T> {
    let neighboring = |path: &T| neighboring_as(candidate(path));
    let order = |a: &T, b: &T| compare(candidate(a), candidate(b)).0;
    let first = paths.first().map(neighboring);
    if paths.iter().all(|path| Some(neighboring(path)) == first) {
        paths.sort_by(order);
        return paths;
    }
    let mut groups: BTreeMap<Option<u32>, Vec<T>> = BTreeMap::new();
    for path in paths {
        groups.entry(neighboring(&path)).or_default().push(path);
    }
    let mut groups: Vec<VecDeque<T>> = groups
        .into_values()
        .map(|mut group| {
            group.sort_by(order);
            group.into()
        })
        .collect();
    let mut ranked = Vec::new();
    while let Some(next) = groups
        .iter_mut()
        .filter(|group| !group.is_empty())
        .min_by(|a, b| order(&a[0], &b[0]))
    {
        ranked.extend(next.pop_front());
    }
    ranked
}

/// Compares two paths of one prefix: `Less` means that `a` is better; says which step told them apart.
pub(crate) fn compare<A>(a: &Candidate<A>, b: &Candidate<A>) -> (Ordering, DecisionStep) {
    for (step, order) in Steps::<A>::ORDER {
        let order = order(a, b);
        if order.is_ne() {
            return (order, step);
        }
    }
    (Ordering::Equal, DecisionStep::Identical)
}

fn is_learned<A>(candidate: &Candidate<A>) -> bool {
    candidate.path.source != PathSource::Local
}

fn as_path_length<A>(candidate: &Candidate<A>) -> usize {
    candidate
        .path
        .attributes
        .as_path
        .iter()
        .map(|segment| segment.0.len())
        .sum()
}

fn neighboring_as<A>(candidate: &Candidate<A>) -> Option<u32> {
    candidate.path.attributes.neighboring_as()
}

fn is_internal<A>(candidate: &Candidate<A>) -> bool {
    !candidate.path.source.is_external()
}

/// An absent MED counts as the best one (RFC 4271 section 9.1.2.2 c).
fn med<A>(candidate: &Candidate<A>) -> u32 {
    candidate.path.attributes.med.unwrap_or(0)
}

fn router_id<A>(candidate: &Candidate<A>) -> Ipv4Addr {
    let sender = match candidate.path.source {
        PathSource::Local => Ipv4Addr::UNSPECIFIED,
        PathSource::Peer { router_id, .. } => router_id,
    };
    candidate.path.attributes.originator_id.unwrap_or(sender)
}

/// The id tells peers apart that were given the same address.
fn peer_address<A>(candidate: &Candidate<A>) -> Option<(Ipv4Addr, PeerId)> {
    match candidate.path.source {
        PathSource::Local => None,
        PathSource::Peer { address, peer, .. } => Some((address, peer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, learned, router, start};
    use crate::wire::{AsPathSegment, Origin, PathAttributes};
    use std::sync::Arc;

    #[test]
    fn each_step_decides_when_all_earlier_ones_are_equal() {
        let longer = |a: &mut PathAttributes| a.as_path = vec![AsPathSegment(vec![1])];
        let incomplete = |a: &mut PathAttributes| a.origin = Origin::Incomplete;
        let costly = |a: &mut PathAttributes| a.med = Some(1);
        let of_one = |a: &mut PathAttributes| a.originator_id = Some(router(1));
        let of_two = |a: &mut PathAttributes| a.originator_id = Some(router(2));
        let reflected = |a: &mut PathAttributes| a.cluster_list = vec![router(9)];
        let table = [
            (
                DecisionStep::LocalPref,
                from(9, attributes(1, 200)),
                plain(2),
            ),
            (
                DecisionStep::LocalOrigin,
                local(attributes(1, 100)),
                plain(2),
            ),
            (DecisionStep::AsPathLength, plain(9), with(2, longer)),
            (DecisionStep::Origin, plain(9), with(2, incomplete)),
            (DecisionStep::Med, plain(9), with(2, costly)),
            (DecisionStep::External, external(plain(9)), plain(2)),
            (DecisionStep::RouterId, plain(2), plain(3)),
            (DecisionStep::RouterId, with(9, of_one), plain(2)),
            (
                DecisionStep::ClusterListLength,
                with(9, of_two),
                with(2, reflected),
            ),
            (DecisionStep::PeerAddress, plain(2), with(9, of_two)),
            (DecisionStep::PathId, identified(1), identified(2)),
        ];
        for (step, better, worse) in table {
            assert_eq!(compare(&better, &worse), (Ordering::Less, step));
            assert_eq!(compare(&worse, &better), (Ordering::Greater, step));
        }
    }

    #[test]
    fn an_ineligible_path_loses_against_any_eligible_one() {
        let unreachable = Candidate {
            ineligible: Some("next-hop"),
            ..from(2, attributes(1, 900))
        };
        let poor = from(9, attributes(1, 0));
        assert_eq!(
            compare(&poor, &unreachable),
            (Ordering::Less, DecisionStep::Eligible)
        );
    }

    #[test]
    fn a_path_that_came_back_lately_loses_against_any_steady_one_but_not_against_an_ineligible_one()
    {
        let unsteady = Candidate {
            unsteady: true,
            ..from(2, attributes(1, 900))
        };
        let poor = from(9, attributes(1, 0));
        assert_eq!(
            compare(&poor, &unsteady),
            (Ordering::Less, DecisionStep::Steady)
        );
        let unreachable = Candidate {
            ineligible: Some("next-hop"),
            ..poor
        };
        assert_eq!(
            compare(&unsteady, &unreachable),
            (Ordering::Less, DecisionStep::Eligible)
        );
    }

    #[test]
    fn an_absent_local_pref_counts_as_one_hundred_and_an_absent_med_as_zero() {
        let bare = PathAttributes {
            local_pref: None,
            med: None,
            ..attributes(1, 0)
        };
        let full = PathAttributes {
            med: Some(0),
            ..attributes(1, 100)
        };
        assert_eq!(
            compare(&from(2, bare), &from(2, full)).1,
            DecisionStep::Identical
        );
    }

    #[test]
    fn age_never_decides() {
        let young = from(2, attributes(1, 100));
        let mut old = young.clone();
        old.path.learned_at = start() + std::time::Duration::from_secs(9);
        assert_eq!(
            compare(&young, &old),
            (Ordering::Equal, DecisionStep::Identical)
        );
    }

    /// RFC 4271 section 9.1.2.2 c.
    #[test]
    fn meds_of_different_neighboring_ases_are_not_compared() {
        let of = |host, asn, med| {
            with(host, |a| {
                a.as_path = vec![AsPathSegment(vec![asn])];
                a.med = Some(med);
            })
        };
        let (dear, cheap) = (of(2, 65001, 9), of(3, 65002, 1));
        assert_eq!(
            compare(&dear, &cheap),
            (Ordering::Less, DecisionStep::RouterId)
        );
        // The third is better than the first by MED, worse than the second by identifier, and the second than the first.
        let cheaper = of(4, 65001, 1);
        let ranked = rank(vec![dear, cheap, cheaper], |it| it);
        let hosts: Vec<_> = ranked.iter().map(router_id).collect();
        assert_eq!(hosts, [router(3), router(4), router(2)]);
    }

    /// Over all triples of a small domain of paths from two neighboring ASes, internal and external: the order does not depend
    /// on the order before, the first one is what the elimination of the RFC leaves, and so on behind it.
    #[test]
    fn ranking_is_one_order_and_the_elimination_of_the_standard() {
        let mut domain = Vec::new();
        for bits in 0..1u8 << 4 {
            let on = |bit: u8| bits >> bit & 1 == 1;
            let mut candidate = with(bits, |a| {
                a.as_path = vec![AsPathSegment(vec![if on(0) { 65001 } else { 65002 }])];
                a.med = Some(u32::from(on(1)));
                // Identifiers that do not follow the fields before.
                a.originator_id = Some(router(bits.wrapping_mul(11) % 16));
            });
            if on(2) {
                candidate = external(candidate);
            }
            candidate.ineligible = (bits == 5).then_some("next-hop");
            candidate.unsteady = on(3) && on(2);
            domain.push(candidate);
        }
        let key = |candidate: &Candidate| candidate.path.key();
        for a in 0..domain.len() {
            for b in (0..domain.len()).filter(|b| *b != a) {
                for c in (0..domain.len()).filter(|c| ![a, b].contains(c)) {
                    let mut left = [a, b, c].map(|at| domain[at].clone()).to_vec();
                    for next in rank(left.clone(), |it| it) {
                        assert_eq!(key(&eliminated(left.clone())), key(&next), "{left:?}");
                        left.retain(|other| key(other) != key(&next));
                    }
                }
            }
        }
    }

    /// The best path by elimination, step by step (RFC 4271 section 9.1.2.2).
    fn eliminated(mut left: Vec<Candidate>) -> Candidate {
        fn keep<K: Ord>(left: &mut Vec<Candidate>, key: impl Fn(&Candidate) -> K) {
            let least = left.iter().map(&key).min();
            left.retain(|it| Some(key(it)) == least);
        }
        keep(&mut left, |it| it.ineligible.is_some());
        keep(&mut left, |it| it.unsteady);
        let rivals = left.clone();
        left.retain(|it| {
            let mut same = rivals
                .iter()
                .filter(|rival| neighboring_as(rival) == neighboring_as(it));
            same.all(|rival| med(rival) >= med(it))
        });
        keep(&mut left, is_internal);
        keep(&mut left, router_id);
        keep(&mut left, peer_address);
        left.remove(0)
    }

    /// Among routes from one neighboring AS. Totality is by construction; antisymmetry and transitivity over all pairs and
    /// triples of a small domain in which every field takes at least two values.
    #[test]
    fn comparison_is_a_total_order() {
        let domain = domain();
        let order: Vec<Vec<Ordering>> = domain
            .iter()
            .map(|a| domain.iter().map(|b| compare(a, b).0).collect())
            .collect();
        let size = domain.len();
        for a in 0..size {
            for b in 0..size {
                assert_eq!(order[a][b], order[b][a].reverse());
                assert_eq!(
                    order[a][b].is_eq(),
                    relevant(&domain[a]) == relevant(&domain[b])
                );
            }
        }
        for a in 0..size {
            for b in 0..size {
                if order[a][b].is_gt() {
                    continue;
                }
                let transitive = order[a]
                    .iter()
                    .zip(&order[b])
                    .all(|(ac, bc)| bc.is_gt() || ac.is_le());
                assert!(transitive, "{:?} {:?}", domain[a], domain[b]);
            }
        }
    }

    fn domain() -> Vec<Candidate> {
        let mut domain = Vec::new();
        for bits in 0..1u32 << 9 {
            let on = |bit: u32| bits >> bit & 1 == 1;
            let attributes = PathAttributes {
                local_pref: on(0).then_some(200),
                as_path: if on(1) {
                    vec![AsPathSegment(vec![1])]
                } else {
                    Vec::new()
                },
                origin: if on(2) { Origin::Egp } else { Origin::Igp },
                med: on(3).then_some(5),
                originator_id: on(4).then(|| router(2)),
                cluster_list: if on(5) { vec![router(9)] } else { Vec::new() },
                ..attributes(1, 100)
            };
            let mut candidate = match (on(6), on(7)) {
                (false, false) => local(attributes),
                (false, true) => from(2, attributes),
                (true, false) => from(3, attributes),
                (true, true) => from(3, attributes),
            };
            candidate.ineligible = on(8).then_some("next-hop");
            candidate.path.path_id = (on(6) && on(7)).then_some(PathId(7));
            candidate.unsteady = on(3) != on(6);
            domain.push(candidate);
        }
        domain
    }

    /// All that may distinguish two paths in the decision.
    fn relevant(candidate: &Candidate) -> String {
        let attributes = &candidate.path.attributes;
        format!(
            "{:?} {} {:?} {:?} {:?} {:?} {} {:?} {:?} {:?}",
            candidate.ineligible,
            candidate.unsteady,
            attributes.local_pref,
            attributes.as_path,
            attributes.origin,
            attributes.med,
            router_id(candidate),
            attributes.cluster_list,
            candidate.path.source,
            candidate.path.path_id,
        )
    }

    fn external(mut candidate: Candidate) -> Candidate {
        if let PathSource::Peer { external, .. } = &mut candidate.path.source {
            *external = true;
        }
        candidate
    }

    fn identified(id: u32) -> Candidate {
        let mut candidate = plain(2);
        candidate.path.path_id = Some(PathId(id));
        candidate
    }

    fn plain(host: u8) -> Candidate {
        from(host, attributes(1, 100))
    }

    fn with(host: u8, change: impl FnOnce(&mut PathAttributes)) -> Candidate {
        let mut changed = attributes(1, 100);
        change(&mut changed);
        from(host, changed)
    }

    fn from(host: u8, attributes: PathAttributes) -> Candidate {
        Candidate {
            path: learned(host, attributes),
            ineligible: None,
            local_id: PathId(1),
            unsteady: false,
        }
    }

    fn local(attributes: PathAttributes) -> Candidate {
        let path = Path {
            source: PathSource::Local,
            path_id: None,
            attributes: Arc::new(attributes),
            learned_at: start(),
            stale: false,
        };
        Candidate {
            path,
            ineligible: None,
            local_id: PathId(1),
            unsteady: false,
        }
    }
}
