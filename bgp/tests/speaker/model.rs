//! A naive BGP speaker: remembers what it was told, and computes everything anew whenever it is asked.
//!
//! Written from the RFCs, without a line of the code under test, and without its speed: the decision eliminates
//! candidates rule by rule (RFC 4271 section 9.1.2.2), reflection asks every question again (RFC 4456 sections 6, 8).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::speaker::PeerRole;
use sam_bgp::{PathAttributes, Policy};

use crate::vocabulary::{Rules, peer, router};

/// The prefixes of a table with their attributes.
pub(crate) type Routes = BTreeMap<Ipv4Net, PathAttributes>;

/// Router 1, as far as its routes are concerned.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Role of each configured peer.
    pub(crate) roles: BTreeMap<u8, PeerRole>,
    /// What each peer announced: with a session, or as far as it is remembered (RFC 4724).
    pub(crate) heard: BTreeMap<u8, Routes>,
    /// What of it was not told again since its session ended.
    pub(crate) stale: BTreeSet<(u8, Ipv4Net)>,
    /// Peers whose session is up and whose End-of-RIB came.
    pub(crate) complete: BTreeSet<u8>,
    /// What is originated here.
    pub(crate) own: Routes,
    /// The policy.
    pub(crate) rules: Rules,
    /// Next hops that can be reached.
    pub(crate) reachable: BTreeSet<Ipv4Addr>,
}

/// A path of a prefix: who it is from (`None`: ourselves) and its attributes after import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) from: Option<u8>,
    pub(crate) attributes: PathAttributes,
    pub(crate) stale: bool,
}

impl Model {
    /// All prefixes that have a path, eligible or not.
    pub(crate) fn prefixes(&self) -> Vec<Ipv4Net> {
        let heard = self.heard.values().flat_map(BTreeMap::keys);
        let known: BTreeSet<Ipv4Net> = heard.chain(self.own.keys()).copied().collect();
        let with_path = |prefix: &Ipv4Net| !self.candidates(*prefix).is_empty();
        known.into_iter().filter(with_path).collect()
    }

    /// A session with a peer ended: its routes are remembered as stale, but those that were stale already go (RFC 4724
    /// section 4.2).
    pub(crate) fn remember(&mut self, peer: u8) {
        self.complete.remove(&peer);
        self.forget_stale(|from, _| from == peer);
        let routes = self.heard.get(&peer).into_iter().flatten();
        self.stale.extend(routes.map(|(prefix, _)| (peer, *prefix)));
        self.let_nodes_speak();
    }

    /// The End-of-RIB of a peer came: what it did not tell again is gone.
    pub(crate) fn end_of_rib(&mut self, peer: u8) {
        if self.complete.insert(peer) {
            self.forget_stale(|from, _| from == peer);
            self.let_nodes_speak();
        }
    }

    /// Nobody remembers what a node that is heard itself would tell.
    fn let_nodes_speak(&mut self) {
        let heard = self.complete.iter().map(|peer| (router(*peer), *peer));
        let heard: BTreeMap<Ipv4Addr, u8> = heard.collect();
        self.forget_stale(|from, next_hop| heard.get(&next_hop).is_some_and(|node| *node != from));
    }

    fn forget_stale(&mut self, goes: impl Fn(u8, Ipv4Addr) -> bool) {
        let heard = &mut self.heard;
        self.stale.retain(|(from, prefix)| {
            let routes = heard.get_mut(from).expect("a table for each stale route");
            let gone = goes(*from, routes[prefix].next_hop);
            if gone {
                routes.remove(prefix);
            }
            !gone
        });
    }

    /// The best path of a prefix.
    pub(crate) fn best(&self, prefix: Ipv4Net) -> Option<Candidate> {
        let mut left = self.candidates(prefix);
        left.retain(|it| it.from.is_none() || self.reachable.contains(&it.attributes.next_hop));
        // What a living session tells overrules all that is only remembered.
        if left.iter().any(|it| it.from.is_some() && !it.stale) {
            left.retain(|it| !it.stale);
        }
        keep_least(&mut left, |it| {
            u32::MAX - it.attributes.local_pref.unwrap_or(100)
        });
        keep_least(&mut left, |it| it.from.is_some());
        keep_least(&mut left, |it| {
            it.attributes
                .as_path
                .iter()
                .map(|segment| segment.0.len())
                .sum::<usize>()
        });
        keep_least(&mut left, |it| it.attributes.origin);
        let rivals = left.clone();
        left.retain(|it| {
            let neighboring = |it: &Candidate| it.attributes.as_path.first()?.0.first().copied();
            let med = |it: &Candidate| it.attributes.med.unwrap_or(0);
            let mut rivals = rivals.iter();
            !rivals.any(|rival| neighboring(rival) == neighboring(it) && med(rival) < med(it))
        });
        keep_least(&mut left, |it| {
            it.attributes.originator_id.or_else(|| it.from.map(router))
        });
        keep_least(&mut left, |it| it.attributes.cluster_list.len());
        keep_least(&mut left, |it| it.from.map(router));
        assert!(left.len() < 2, "no two peers have one address");
        left.pop()
    }

    /// All that a peer with a session should know from us.
    pub(crate) fn told(&self, to: u8) -> Routes {
        let prefixes = self.prefixes().into_iter();
        prefixes
            .filter_map(|prefix| Some((prefix, self.export(prefix, to)?)))
            .collect()
    }

    fn candidates(&self, prefix: Ipv4Net) -> Vec<Candidate> {
        let heard = self.heard.iter().filter_map(|(from, routes)| {
            let attributes = self.import(*from, prefix, routes.get(&prefix)?.clone())?;
            Some(Candidate {
                from: Some(*from),
                attributes,
                stale: self.stale.contains(&(*from, prefix)),
            })
        });
        let own = self.own.get(&prefix).map(|attributes| Candidate {
            from: None,
            attributes: attributes.clone(),
            stale: false,
        });
        heard.chain(own).collect()
    }

    fn import(
        &self,
        from: u8,
        prefix: Ipv4Net,
        attributes: PathAttributes,
    ) -> Option<PathAttributes> {
        let nowhere = matches!(attributes.next_hop.octets()[0], 0 | 127 | 224..);
        let looped = attributes.originator_id == Some(router(1))
            || attributes.cluster_list.contains(&router(1));
        let mut attributes = Cow::Owned(attributes);
        let accepted = !nowhere
            && !looped
            && self
                .rules
                .import(peer(from), prefix, &mut attributes)
                .is_ok();
        accepted.then(|| attributes.into_owned())
    }

    fn export(&self, prefix: Ipv4Net, to: u8) -> Option<PathAttributes> {
        let Candidate {
            from,
            mut attributes,
            ..
        } = self.best(prefix)?;
        if let Some(from) = from {
            let client = |peer| self.roles[&peer] == PeerRole::Client;
            let originator = attributes.originator_id.unwrap_or_else(|| router(from));
            if !client(from) && !client(to) || to == from || originator == router(to) {
                return None;
            }
            attributes.originator_id = Some(originator);
            attributes.cluster_list.insert(0, router(1));
        }
        attributes.local_pref = attributes.local_pref.or(Some(100));
        let mut attributes = Cow::Owned(attributes);
        self.rules.export(peer(to), prefix, &mut attributes).ok()?;
        Some(attributes.into_owned())
    }
}

fn keep_least<K: Ord>(candidates: &mut Vec<Candidate>, key: impl Fn(&Candidate) -> K) {
    if let Some(least) = candidates.iter().map(&key).min() {
        candidates.retain(|candidate| key(candidate) == least);
    }
}
