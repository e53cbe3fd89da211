//! What a peer tells again (RFC 7313): routes that it knew of before and does not name between BoRR and EoRR are gone there,
//! though it never withdrew them.
//!
//! Until then they are as good as all others: a refresh changes no decision.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::cause::Cause;
use super::neighbor::Neighbor;
use super::tables::Tables;
use crate::config::PeerId;
use crate::policy::Policy;
use crate::wire::{Nlri, Prefix};

/// How long the end of a refresh is waited for; routes that were not told again by then count as gone.
const LIMIT: Duration = Duration::from_secs(360);
/// How long it is remembered beyond its end what a peer told, so that the next one needs no look at the whole table.
const MEMORY: Duration = Duration::from_secs(60);

/// A refresh under way, or one that has just ended. However often a peer begins and ends, that costs no more than it was to
/// hear what it told since, and one look at the whole table a minute.
#[derive(Debug)]
pub(super) struct Refresh<N: Prefix> {
    /// What was known when it began, and was not told again yet; empty when it has ended.
    missing: BTreeSet<Nlri<N>>,
    /// What was told since it began, and is kept.
    told: BTreeSet<Nlri<N>>,
    /// Whether it has not ended.
    under_way: bool,
    /// When it ends by itself, or is forgotten.
    until: Instant,
}

impl<N: Prefix> Refresh<N> {
    /// Notes that a route was withdrawn.
    pub(super) fn note_withdrawn(&mut self, route: &Nlri<N>) {
        self.missing.remove(route);
        self.told.remove(route);
    }

    /// Notes that a route was told, and whether it is kept.
    fn note_told(&mut self, route: Nlri<N>, kept: bool) {
        self.missing.remove(&route);
        if kept {
            self.told.insert(route);
        }
    }

    /// Begins anew.
    fn begin_again(&mut self, now: Instant) {
        self.missing.append(&mut self.told);
        self.under_way = true;
        self.until = now + LIMIT;
    }

    /// Ends, and returns what was not told again.
    fn end(&mut self, now: Instant) -> BTreeSet<Nlri<N>> {
        if std::mem::take(&mut self.under_way) {
            self.until = now + MEMORY;
        }
        std::mem::take(&mut self.missing)
    }
}

impl<N: Prefix> Neighbor<N> {
    /// Returns when the refresh is taken for complete, or forgotten.
    pub(super) fn refresh_deadline(&self) -> Option<Instant> {
        self.refresh.as_ref().map(|refresh| refresh.until)
    }
}

impl<P: Policy<N>, N: Prefix> Tables<P, N> {
    /// Notes that a peer begins to tell everything again: all its routes are in question, also where a beginning had no end
    /// (section 4). Nothing begins before the initial routes are complete.
    pub(crate) fn begin_refresh(&mut self, peer: PeerId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        if let Some(refresh) = &mut neighbor.refresh {
            refresh.begin_again(now);
            return;
        }
        let initial = neighbor.promises_end_of_rib && !neighbor.end_of_rib;
        if !initial {
            let accepted = self.loc_rib.paths_of(peer);
            let accepted = accepted.map(|(prefix, path)| Nlri {
                prefix,
                path_id: path.path_id,
            });
            let refused = neighbor.adj_rib_in.refused().map(|(route, _)| route);
            neighbor.refresh = Some(Refresh {
                missing: accepted.chain(refused).collect(),
                told: BTreeSet::new(),
                under_way: true,
                until: now + LIMIT,
            });
        }
    }

    /// Notes that a peer told a route, for its refresh.
    pub(super) fn note_told(&mut self, peer: PeerId, route: Nlri<N>) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        let kept = neighbor.keeps(&self.loc_rib, route);
        if let Some(refresh) = &mut neighbor.refresh {
            refresh.note_told(route, kept);
        }
    }

    /// Notes that a peer has told everything again: what is missing is gone.
    pub(crate) fn end_refresh(&mut self, peer: PeerId, now: Instant) {
        self.remove_missing(peer, "refreshed", now);
    }

    /// Ends refreshes that take too long, and forgets those that have ended.
    pub(super) fn expire_refreshes(&mut self, now: Instant) {
        let is_due =
            |neighbor: &Neighbor<N>| neighbor.refresh_deadline().is_some_and(|at| at <= now);
        let due = self.neighbors.iter();
        let due: Vec<PeerId> = due
            .filter(|(_, neighbor)| is_due(neighbor))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            self.remove_missing(peer, "refresh time is over", now);
            if let Some(neighbor) = self.neighbors.get_mut(&peer) {
                neighbor.refresh = None;
            }
        }
    }

    fn remove_missing(&mut self, peer: PeerId, reason: &'static str, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        let Some(refresh) = &mut neighbor.refresh else {
            return;
        };
        let missing = refresh.end(now);
        if missing.is_empty() {
            return;
        }
        self.loc_rib.because(Cause::Refreshed);
        let accepted = neighbor.adj_rib_in.accepted();
        self.pool.note_released(missing.len());
        for route in missing {
            neighbor.withdraw(&mut self.loc_rib, route);
        }
        let removed = accepted - neighbor.adj_rib_in.accepted();
        self.tell_removed(peer, removed, reason);
        self.promote(peer);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::Arc;

    use ipnet::Ipv4Net;

    use super::*;
    use crate::policy::Rejection;
    use crate::reflector::Reflector;
    use crate::rib::NeighborIdentity;
    use crate::testing::{attributes, prefix, router, start};
    use crate::wire::{PathAttributes, Update};

    /// The list of what a peer has is kept for a minute, and is right: the next refresh begins with it.
    #[test]
    fn beginnings_and_ends_within_a_minute_look_at_the_table_once() {
        let mut tables = tables();
        let now = start();
        tell(&mut tables, 1);
        tell(&mut tables, 2);
        tables.begin_refresh(PEER, now);
        tell(&mut tables, 2);
        tables.end_refresh(PEER, now);
        assert_eq!(known(&tables), [prefix(2)], "1 was not told again");
        tell(&mut tables, 3);

        tables.begin_refresh(PEER, now);

        let refresh = tables.neighbors[&PEER].refresh.as_ref().unwrap();
        let listed: Vec<Ipv4Net> = refresh.missing.iter().map(|route| route.prefix).collect();
        assert_eq!(listed, [prefix(2), prefix(3)], "what is there");
        tell(&mut tables, 3);
        tables.end_refresh(PEER, now);
        assert_eq!(known(&tables), [prefix(3)]);

        // Who ends without having begun removes nothing.
        tables.end_refresh(PEER, now);
        assert_eq!(known(&tables), [prefix(3)]);
        assert_eq!(tables.stale_deadline(), Some(now + MEMORY));
        tables.expire_stale(now + MEMORY);
        assert!(tables.neighbors[&PEER].refresh.is_none());
        assert_eq!(known(&tables), [prefix(3)]);
    }

    /// What is not on the list is not in question: it was not made anew.
    #[test]
    fn a_beginning_after_an_end_does_not_look_at_the_table() {
        let mut tables = tables();
        let now = start();
        tables.begin_refresh(PEER, now);
        tables.end_refresh(PEER, now);
        let mut path = crate::testing::learned(1, attributes(1, 100));
        path.source = tables.neighbors[&PEER].identity.source();
        tables.loc_rib.set(prefix(9), path);

        tables.begin_refresh(PEER, now);

        let refresh = tables.neighbors[&PEER].refresh.as_ref().unwrap();
        assert!(refresh.under_way && refresh.missing.is_empty());
    }

    const PEER: PeerId = PeerId(1);

    fn tables() -> Tables<Open> {
        let reflector = Reflector {
            router_id: router(200),
            cluster_id: router(200),
        };
        let mut tables = Tables::new(reflector, Arc::new(Open), 1, start());
        tables.trust_next_hops();
        let identity = NeighborIdentity {
            peer: PEER,
            router_id: router(1),
            address: router(1),
            role: crate::config::PeerRole::NonClient,
            max_prefixes: 10,
            reflector: false,
            all_paths: false,
        };
        tables.peer_up(identity, None, start());
        tables
    }

    fn tell(tables: &mut Tables<Open>, host: u8) {
        let update = Update {
            announced: vec![prefix(host).into()],
            attributes: Some(attributes(1, 100)),
            ..Update::default()
        };
        tables.receive(PEER, update, start());
    }

    fn known(tables: &Tables<Open>) -> Vec<Ipv4Net> {
        let accepted = tables.accepted(PEER).into_iter();
        accepted.map(|(prefix, _)| prefix).collect()
    }

    /// Takes and tells everything.
    #[derive(Debug)]
    struct Open;

    impl Policy for Open {
        fn import(
            &self,
            _: PeerId,
            _: Ipv4Net,
            _: &mut Cow<'_, PathAttributes>,
        ) -> Result<(), Rejection> {
            Ok(())
        }

        fn export(
            &self,
            _: PeerId,
            _: Ipv4Net,
            _: &mut Cow<'_, PathAttributes>,
        ) -> Result<(), Rejection> {
            Ok(())
        }
    }
}
