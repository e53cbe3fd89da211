//! All claims on an address, the losing ones too: who would win against us, and which addresses have several owners.
//!
//! The speaker reports best paths only, so losing claims are looked for: on our own addresses after each BGP message,
//! on all others [`SCAN_DELAY`] after something changed. Everybody who is told all paths (RFC 7911) sees them. Without
//! that it is the loser who raises the alarm: once its own path is not the best, nobody else hears of its claim
//! (RFC 4271 section 9.2).
//!
//! A claim counts while BGP knows it, even where its next hop cannot be reached from here: others may well reach it, and
//! who takes an address over because of a cut of its own would take it from them. Not so a claim that is only remembered
//! (RFC 4724) and cannot be chosen: nobody upholds it any more.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bgp::speaker::PathView;
use sam_bgp::wire::Origin;
use sam_bgp::{Cursor, DecisionStep, News, PathSource, STALE_SUPERSEDED, Speaker};
use sam_capture::{ClaimSource, ClaimState, NodeId, Owner};

use crate::config::Config;
use crate::events::Event;
use crate::origination::Rival;
use crate::owner_table::OwnerTable;
use crate::policy::FabricPolicy;

/// How long after a change all addresses are looked at; a move that overlaps for less is no duplicate.
pub(crate) const SCAN_DELAY: Duration = Duration::from_secs(1);

/// Addresses with several claimants.
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    due: Option<Instant>,
    /// Change of the RIB at the last look.
    looked_at: u64,
    /// Where the RIB was read up to; `None` has everything looked at.
    cursor: Option<Cursor>,
    found: BTreeMap<Ipv4Addr, Vec<NodeId>>,
}

impl Duplicates {
    /// Follows the RIB, which is at `generation`: whatever changed a path, a message or the lapse of time.
    pub(crate) fn follow(&mut self, generation: u64, now: Instant) {
        if generation != self.looked_at {
            self.due.get_or_insert(now + SCAN_DELAY);
        }
    }

    /// Has all addresses looked at, for what a claim is has changed.
    pub(crate) fn on_config(&mut self, now: Instant) {
        self.cursor = None;
        self.due.get_or_insert(now + SCAN_DELAY);
    }

    /// Returns when [`Self::scan`] is due.
    #[must_use]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks at all addresses that changed, and has `owners` know their claims; returns what is news.
    pub(crate) fn scan(
        &mut self,
        speaker: &Speaker<FabricPolicy>,
        owners: &mut OwnerTable,
        config: &Config,
    ) -> Vec<Event> {
        self.due = None;
        let feed = speaker.rib_feed();
        self.looked_at = feed.generation();
        let former = self.found.clone();
        let mut cursor = self.cursor.take().unwrap_or_else(|| {
            self.found.clear();
            feed.subscribe()
        });
        while let Some(news) = feed.next(&mut cursor) {
            match news {
                News::Resync => {
                    self.found.clear();
                    owners.forget_claims();
                }
                News::Complete { .. } => {}
                // A pool begins with an address, and is none.
                News::Changed { key, .. } if key.prefix_len() != key.max_prefix_len() => {}
                News::Changed { key, .. } => {
                    let paths = speaker.paths(key);
                    let nodes = claimants(&paths, key, config);
                    owners.on_claims(key.addr(), active_claims(&paths, key, config));
                    self.found.remove(&key.addr());
                    if nodes.len() > 1 {
                        self.found.insert(key.addr(), nodes);
                    }
                }
            }
        }
        self.cursor = Some(cursor);
        self.news(&former)
    }

    /// Returns what is news to who knows `former`.
    fn news(&self, former: &BTreeMap<Ipv4Addr, Vec<NodeId>>) -> Vec<Event> {
        let new = self
            .found
            .iter()
            .filter(|(address, nodes)| former.get(address) != Some(nodes));
        let new = new.map(|(&address, nodes)| Event::DuplicateOwner {
            address,
            nodes: nodes.clone(),
        });
        let ended = former
            .keys()
            .filter(|address| !self.found.contains_key(address));
        let ended = ended.map(|&address| Event::DuplicateOwnerEnded { address });
        new.chain(ended).collect()
    }

    /// Tells whether an address has several claimants.
    #[must_use]
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        self.found.contains_key(&address)
    }
}

/// Returns what other nodes claim of `owned`; addresses without other claims are absent. `ready` are the routers of our site
/// in a cloud that say so of themselves.
#[must_use]
pub(crate) fn rivals(
    speaker: &Speaker<FabricPolicy>,
    config: &Config,
    owned: &BTreeMap<Ipv4Addr, ClaimSource>,
    ready: &BTreeSet<NodeId>,
) -> BTreeMap<Ipv4Addr, Rival> {
    let rival = |address: Ipv4Addr, source: ClaimSource| {
        let prefix = Ipv4Net::from(address);
        let others = speaker.paths(prefix);
        let others = others.iter().filter(|view| {
            view.path.source != PathSource::Local
                && Owner::from_path(config.fabric.asn, prefix, &view.path).is_some()
        });
        others.fold(None, |rival: Option<Rival>, view| {
            let owner = Owner::from_path(config.fabric.asn, prefix, &view.path)?;
            let rival = rival.unwrap_or_default();
            // On one LAN the election has decided already; in one cloud both say the same.
            let shares_lan = config.shares_lan_with(owner.node);
            let shares_cloud = config.share_cloud(config.local.node, owner.node);
            let is_sibling = shares_lan || shares_cloud;
            let counts = !is_sibling && is_upheld(view);
            let own_overlay = config.own_node().overlay;
            let wins = counts && wins_by(view, source, own_overlay).is_some();
            let stands = counts && !view.path.stale && owner.state != ClaimState::Draining;
            let waits = owner.state == ClaimState::Seizing && !precedes(view, source, own_overlay);
            let stale = view.path.stale;
            let insists = matches!(
                owner.state,
                ClaimState::Active | ClaimState::Handover | ClaimState::Standby
            );
            let holds = matches!(owner.state, ClaimState::Active | ClaimState::Handover);
            let is_reliable = !stale && view.ineligible.is_none();
            let by_order = owner.source == ClaimSource::Configured;
            let ordered = holds && counts && is_reliable && by_order;
            let ordered_beside = shares_lan && is_reliable && by_order;
            let held_beside = ordered_beside && holds;
            let draining = owner.state == ClaimState::Draining;
            let is_ready = !shares_cloud || ready.contains(&owner.node);
            let is_for_us = owner
                .successor
                .is_some_and(|to| to == config.local.node || config.shares_lan_with(to));
            Some(Rival {
                wins: rival.wins || (wins && !stale),
                remembered: rival.remembered || (wins && stale),
                stands: rival.stands || stands,
                precedes: rival.precedes || (stands && !waits),
                holds: rival.holds || (holds && is_reliable),
                carries: rival.carries || (holds && is_reliable && is_ready),
                ordered: rival.ordered || ordered,
                offers: rival.offers || (is_for_us && !stale),
                beside: rival.beside || (shares_lan && insists && !stale),
                ready_beside: rival.ready_beside || (ready.contains(&owner.node) && is_reliable),
                held_beside: rival.held_beside || held_beside,
                ordered_beside: rival.ordered_beside || (ordered_beside && (holds || draining)),
                sequence: rival.sequence.max(owner.sequence),
            })
        })
    };
    owned
        .iter()
        .filter_map(|(&address, &source)| Some((address, rival(address, source)?)))
        .collect()
}

/// A step of the decision process, and what it says of a path.
type Step = (DecisionStep, Ordering);

/// A claim that wins against an active one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Winner {
    /// Who makes it.
    pub(crate) node: NodeId,
    /// By which step of the decision process.
    pub(crate) step: DecisionStep,
    /// It is only remembered: the session that told it has ended.
    pub(crate) stale: bool,
}

/// Returns the best of the claims of other nodes that win against an active one of ours from `source`.
pub(crate) fn winner(
    speaker: &Speaker<FabricPolicy>,
    config: &Config,
    address: Ipv4Addr,
    source: ClaimSource,
) -> Option<Winner> {
    let prefix = Ipv4Net::from(address);
    let paths = speaker.paths(prefix);
    let mut others = paths
        .iter()
        .filter(|view| view.path.source != PathSource::Local);
    others.find_map(|view| {
        let owner = Owner::from_path(config.fabric.asn, prefix, &view.path)?;
        let is_sibling =
            config.shares_lan_with(owner.node) || config.share_cloud(config.local.node, owner.node);
        let step = wins_by(view, source, config.own_node().overlay)?;
        (!is_sibling && is_upheld(view)).then_some(Winner {
            node: owner.node,
            step,
            stale: view.path.stale,
        })
    })
}

/// Compares a path with an active claim of ours from `source`; less is better. These are the steps of the decision process that
/// do not depend on where one stands: LOCAL_PREF, ORIGIN, MED, router id (import admits no AS_PATH).
fn steps(view: &PathView, source: ClaimSource, own_overlay: Ipv4Addr) -> [Step; 4] {
    let attributes = &view.path.attributes;
    let ours = ClaimState::Active.local_pref();
    let med = attributes.med.unwrap_or(0);
    [
        (DecisionStep::LocalPref, ours.cmp(&attributes.preference())),
        (DecisionStep::Origin, attributes.origin.cmp(&Origin::Igp)),
        (DecisionStep::Med, med.cmp(&source.med())),
        (
            DecisionStep::RouterId,
            attributes.next_hop.cmp(&own_overlay),
        ),
    ]
}

/// Tells by which step a third node would prefer this path over an active claim of ours from `source`, if it would.
fn wins_by(view: &PathView, source: ClaimSource, own_overlay: Ipv4Addr) -> Option<DecisionStep> {
    decided_by(&steps(view, source, own_overlay))
}

/// Tells whether it would between claims of equal LOCAL_PREF.
fn precedes(view: &PathView, source: ClaimSource, own_overlay: Ipv4Addr) -> bool {
    let [_, rest @ ..] = steps(view, source, own_overlay);
    decided_by(&rest).is_some()
}

/// Returns the first step that makes a difference, if it is for the path.
fn decided_by(steps: &[Step]) -> Option<DecisionStep> {
    let (step, order) = steps.iter().find(|(_, order)| order.is_ne())?;
    order.is_lt().then_some(*step)
}

/// Tells whether somebody stands behind a claim: it is told in a living session, or remembered and its node answers.
/// That another claim is told in a living session says nothing about it.
fn is_upheld(view: &PathView) -> bool {
    !view.path.stale || matches!(view.ineligible, None | Some(STALE_SUPERSEDED))
}

/// Returns who claims a prefix actively, each node once with its highest sequence: what is told by several ways, or remembered
/// of who is gone, must not make nodes that know the same differ.
pub(crate) fn active_claims(
    paths: &[PathView],
    prefix: Ipv4Net,
    config: &Config,
) -> BTreeSet<(NodeId, u32)> {
    let claims = paths
        .iter()
        .filter(|view| is_upheld(view))
        .filter_map(|view| Owner::from_path(config.fabric.asn, prefix, &view.path));
    let mut active = BTreeMap::new();
    for claim in claims.filter(|claim| claim.state == ClaimState::Active) {
        let highest = active.entry(claim.node).or_insert(claim.sequence);
        *highest = claim.sequence.max(*highest);
    }
    active.into_iter().collect()
}

/// Returns who claims a prefix, best first, each node once, and of the routers of a site in a cloud the first one: what
/// lives there all of them claim. Claims that are being given up do not count.
fn claimants(paths: &[PathView], prefix: Ipv4Net, config: &Config) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = Vec::new();
    for view in paths {
        if let Some(owner) = Owner::from_path(config.fabric.asn, prefix, &view.path)
            && is_upheld(view)
            && owner.state != ClaimState::Draining
            && !nodes
                .iter()
                .any(|known| *known == owner.node || config.share_cloud(*known, owner.node))
        {
            nodes.push(owner.node);
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sam_bgp::{BestPathChange, PathAttributes, PathId, PeerId};
    use sam_capture::provider::NicId;
    use sam_capture::{Claim, RouteKind, RouteTags};

    use super::*;
    use crate::fixture::{config, overlay};

    #[test]
    fn the_winner_is_the_same_wherever_one_stands() {
        type Change = fn(&mut PathAttributes);
        let cases: &[(u32, Change, Option<DecisionStep>)] = &[
            (1, |_| {}, Some(DecisionStep::RouterId)),
            (3, |_| {}, None),
            (
                3,
                |a| a.local_pref = Some(500),
                Some(DecisionStep::LocalPref),
            ),
            (1, |a| a.local_pref = Some(300), None),
            (1, |a| a.local_pref = None, None),
            (1, |a| a.med = Some(10), None),
            (3, |a| a.med = Some(0), None),
            (1, |a| a.origin = Origin::Incomplete, None),
        ];
        for (index, (node, change, step)) in cases.iter().enumerate() {
            let mut attributes = attributes(*node);
            change(&mut attributes);
            let view = view(*node, attributes);

            assert_eq!(
                wins_by(&view, ClaimSource::Configured, overlay(2)),
                *step,
                "case {index}"
            );
        }
    }

    #[test]
    fn who_asks_first_depends_on_everything_but_local_pref() {
        let asks = |node, med| {
            let mut attributes = attributes(node);
            tag(&mut attributes, node, ClaimState::Seizing);
            attributes.med = Some(med);
            precedes(&view(node, attributes), ClaimSource::Observed, overlay(2))
        };
        let med = ClaimSource::Observed.med();
        assert!(asks(1, med) && !asks(3, med) && !asks(2, med));
        assert!(asks(3, med - 1) && !asks(1, med + 1));
    }

    #[test]
    fn better_knowledge_wins_whoever_has_it() {
        let said = |node, med| {
            let mut attributes = attributes(node);
            attributes.med = Some(med);
            view(node, attributes)
        };
        let (med, id) = (Some(DecisionStep::Med), Some(DecisionStep::RouterId));
        for (node, theirs, ours, step) in [
            (3, ClaimSource::Configured, ClaimSource::Observed, med),
            (3, ClaimSource::Provider, ClaimSource::Observed, med),
            (1, ClaimSource::Observed, ClaimSource::Provider, None),
            (1, ClaimSource::Provider, ClaimSource::Configured, None),
            (1, ClaimSource::Observed, ClaimSource::Observed, id),
        ] {
            let view = said(node, theirs.med());
            assert_eq!(
                wins_by(&view, ours, overlay(2)),
                step,
                "{theirs:?} {ours:?}"
            );
        }
    }

    #[test]
    fn each_claimant_counts_once_and_one_that_gives_up_does_not() {
        let mut draining = attributes(4);
        tag(&mut draining, 4, ClaimState::Draining);
        let paths = [
            view(1, attributes(1)),
            view(1, attributes(1)),
            view(3, attributes(3)),
            view(4, draining),
        ];

        let prefix = "10.77.60.10/32".parse().unwrap();
        let config = config(2, 4, &[]);
        assert_eq!(claimants(&paths, prefix, &config), [NodeId(1), NodeId(3)]);
    }

    /// It is part of what is signed, so those who watch owners are told.
    #[test]
    fn who_else_claims_an_address_is_news_of_it_though_its_owner_stays() {
        let config = config(2, 4, &[]);
        let prefix: Ipv4Net = "10.77.60.10/32".parse().unwrap();
        let both = [1, 3].map(|node| view(node, attributes(node)));
        let mut standby = attributes(3);
        tag(&mut standby, 3, ClaimState::Standby);
        let one = [view(1, attributes(1)), view(3, standby)];
        let mut owners = OwnerTable::default();
        let best = BestPathChange {
            prefix,
            old: None,
            new: Some(both[0].path.clone()),
            step: DecisionStep::OnlyPath,
        };
        let event = owners.on_best_path(config.fabric.asn, &best, both[0].path.learned_at);
        assert!(event.is_some(), "it has an owner");
        let mut told = |paths: &[PathView]| {
            let before = owners.feed().generation();
            owners.on_claims(prefix.addr(), active_claims(paths, prefix, &config));
            owners.feed().generation() - before
        };

        assert_eq!([told(&one), told(&both), told(&both)], [0, 1, 0]);
        assert_eq!([told(&one), told(&one)], [1, 0]);
        told(&both);
        let before = owners.feed().generation();
        owners.forget_claims();
        assert_eq!(owners.feed().generation() - before, 1, "what was missed");
    }

    #[test]
    fn an_active_claim_counts_once_as_it_is_now_and_only_if_somebody_stands_behind_it() {
        let config = config(2, 4, &[]);
        let prefix = "10.77.60.10/32".parse().unwrap();
        let claimed = |node, sequence, change: fn(&mut PathView)| {
            let mut attributes = attributes(node);
            tag_with(&mut attributes, node, ClaimState::Active, sequence);
            let mut view = view(node, attributes);
            change(&mut view);
            view
        };
        let gone = |view: &mut PathView| {
            view.path.stale = true;
            view.ineligible = Some("next hop unreachable");
        };
        let paths = [
            claimed(1, 2, |_| {}),
            claimed(1, 5, |_| {}),
            claimed(1, 9, gone),
            claimed(3, 4, gone),
            claimed(4, 1, |view| view.path.stale = true),
        ];

        let active = active_claims(&paths, prefix, &config);

        assert_eq!(active, [(NodeId(1), 5), (NodeId(4), 1)].into());
    }

    #[test]
    fn the_routers_of_a_site_in_a_cloud_make_one_claim() {
        let mut config = config(1, 5, &[]);
        let prefix = "10.77.60.10/32".parse().unwrap();
        let paths = [3, 4, 5].map(|node| view(node, attributes(node)));
        let claimed = |config: &Config| claimants(&paths, prefix, config);
        for node in [3, 4] {
            let node = config.fabric.nodes.get_mut(&NodeId(node)).unwrap();
            node.site = "cloud".into();
        }
        assert_eq!(claimed(&config).len(), 3, "no cloud of which we know");

        for node in config.fabric.nodes.values_mut() {
            node.nic = Some(NicId(format!("nic-{}", node.name)));
        }
        assert_eq!(claimed(&config), [NodeId(3), NodeId(5)]);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a path needs some time of learning"
    )]
    fn view(node: u32, attributes: PathAttributes) -> PathView {
        PathView {
            path: sam_bgp::Path {
                source: PathSource::Peer {
                    peer: PeerId(node),
                    router_id: overlay(node),
                    address: overlay(node),
                    external: false,
                },
                path_id: None,
                attributes: Arc::new(attributes),
                learned_at: Instant::now(),
                stale: false,
            },
            best: false,
            ineligible: None,
            unsteady: false,
            step: DecisionStep::OnlyPath,
            rival: 1,
            local_id: PathId(1),
        }
    }

    fn attributes(node: u32) -> PathAttributes {
        let mut attributes = PathAttributes::local(overlay(node));
        tag(&mut attributes, node, ClaimState::Active);
        attributes
    }

    fn tag(attributes: &mut PathAttributes, node: u32, state: ClaimState) {
        tag_with(attributes, node, state, 1);
    }

    fn tag_with(attributes: &mut PathAttributes, node: u32, state: ClaimState, sequence: u32) {
        let kind = RouteKind::Owner(Claim {
            state,
            sequence,
            pool: 1,
            source: ClaimSource::Configured,
        });
        RouteTags::new(NodeId(node), kind).apply(64_577, attributes);
    }
}
