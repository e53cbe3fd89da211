//! Notices when two routers run as one node (a copied configuration): what should be one thing alternates.
//!
//! - The marker's epoch is random per start. A restart brings a new one; only two living routers bring back an old one.
//! - The outer address of a node moves now and then; between two living routers it moves with every packet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sam_capture::NodeId;

use crate::events::Event;

/// How often an epoch must come back.
pub(crate) const EPOCH_RETURNS: u32 = 3;
/// How often the outer address must move within [`ROAM_WINDOW`].
pub(crate) const ROAMS: u32 = 6;
/// Window for [`ROAMS`].
pub(crate) const ROAM_WINDOW: Duration = Duration::from_secs(60);
/// A conflict is over when nothing alternated for so long.
pub(crate) const CONFLICT_MEMORY: Duration = Duration::from_secs(600);

/// Evidence by node.
#[derive(Debug, Default)]
pub(crate) struct IdentityWatch {
    epochs: BTreeMap<NodeId, Epochs>,
    roams: BTreeMap<NodeId, Roams>,
}

/// What alternates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Evidence {
    /// The epoch of the marker.
    MarkerEpoch,
    /// The outer address.
    Endpoint,
}

/// A conflict that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The node.
    pub(crate) node: NodeId,
    /// What alternates.
    pub(crate) evidence: Evidence,
    /// How often it alternated.
    pub(crate) count: u32,
    /// The last time.
    pub(crate) last: Instant,
}

#[derive(Debug)]
struct Epochs {
    current: u32,
    former: Option<u32>,
    returns: u32,
    last: Instant,
}

#[derive(Debug)]
struct Roams {
    since: Instant,
    count: u32,
    conflict: Option<(u32, Instant)>,
}

impl Evidence {
    /// Returns the name as in events and views.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MarkerEpoch => "marker-epoch",
            Self::Endpoint => "endpoint",
        }
    }
}

impl IdentityWatch {
    /// Takes in the epoch of a node's marker.
    pub(crate) fn on_epoch(&mut self, node: NodeId, epoch: u32, now: Instant) -> Option<Event> {
        let seen = self.epochs.entry(node).or_insert(Epochs {
            current: epoch,
            former: None,
            returns: 0,
            last: now,
        });
        if seen.current == epoch {
            return None;
        }
        if now.saturating_duration_since(seen.last) > CONFLICT_MEMORY {
            seen.returns = 0;
        }
        let returned = seen.former == Some(epoch);
        seen.former = Some(seen.current);
        seen.current = epoch;
        if !returned {
            return None;
        }
        seen.returns += 1;
        seen.last = now;
        (seen.returns == EPOCH_RETURNS).then(|| event(node, Evidence::MarkerEpoch, seen.returns))
    }

    /// Takes in that a node's outer address moved.
    pub(crate) fn on_roam(&mut self, node: NodeId, now: Instant) -> Option<Event> {
        let seen = self.roams.entry(node).or_insert(Roams {
            since: now,
            count: 0,
            conflict: None,
        });
        if now.saturating_duration_since(seen.since) > ROAM_WINDOW {
            (seen.since, seen.count) = (now, 0);
        }
        seen.count += 1;
        if seen.count < ROAMS {
            return None;
        }
        let news = !seen.conflict.is_some_and(|(_, last)| is_recent(last, now));
        let former = if news {
            seen.count - 1
        } else {
            seen.conflict.map_or(0, |(count, _)| count)
        };
        seen.conflict = Some((former + 1, now));
        news.then(|| event(node, Evidence::Endpoint, seen.count))
    }

    /// Forgets nodes that are gone.
    pub(crate) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        self.epochs.retain(|node, _| keep(*node));
        self.roams.retain(|node, _| keep(*node));
    }

    /// Lists the conflicts that are under way.
    #[must_use]
    pub(crate) fn conflicts(&self, now: Instant) -> Vec<Conflict> {
        let epochs = self
            .epochs
            .iter()
            .filter(|(_, seen)| seen.returns >= EPOCH_RETURNS);
        let epochs = epochs.map(|(node, seen)| Conflict {
            node: *node,
            evidence: Evidence::MarkerEpoch,
            count: seen.returns,
            last: seen.last,
        });
        let roams = self.roams.iter().filter_map(|(node, seen)| {
            let (count, last) = seen.conflict?;
            Some(Conflict {
                node: *node,
                evidence: Evidence::Endpoint,
                count,
                last,
            })
        });
        epochs
            .chain(roams)
            .filter(|conflict| is_recent(conflict.last, now))
            .collect()
    }
}

fn is_recent(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) <= CONFLICT_MEMORY
}

fn event(node: NodeId, evidence: Evidence, count: u32) -> Event {
    Event::IdentityConflict {
        node,
        evidence: evidence.name().into(),
        count,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(3);

    #[test]
    fn restarts_are_no_conflict() {
        let (mut watch, now) = (IdentityWatch::default(), Instant::now());

        let events = (0..20)
            .filter_map(|epoch| watch.on_epoch(NODE, epoch, now))
            .count();

        assert_eq!(events, 0);
        assert_eq!(watch.conflicts(now), []);
    }

    #[test]
    fn an_epoch_that_comes_back_three_times_is_a_conflict_told_once() {
        let (mut watch, now) = (IdentityWatch::default(), Instant::now());

        let told: Vec<bool> = (0..9)
            .map(|i| watch.on_epoch(NODE, i % 2, now).is_some())
            .collect();

        assert_eq!(
            told,
            [false, false, false, false, true, false, false, false, false]
        );
        assert_eq!(watch.conflicts(now).len(), 1);
    }

    #[test]
    fn a_conflict_is_forgotten_after_a_while() {
        let (mut watch, now) = (IdentityWatch::default(), Instant::now());
        for epoch in 0..9 {
            watch.on_epoch(NODE, epoch % 2, now);
        }

        assert_eq!(
            watch.conflicts(now + CONFLICT_MEMORY + Duration::from_secs(1)),
            []
        );
    }

    #[test]
    fn an_address_that_moves_often_within_a_minute_is_a_conflict_told_once() {
        let (mut watch, now) = (IdentityWatch::default(), Instant::now());

        let told = (0..30).filter_map(|_| watch.on_roam(NODE, now)).count();

        assert_eq!(told, 1);
        let conflicts = watch.conflicts(now);
        assert_eq!(conflicts.len(), 1);
        assert_eq!(
            (conflicts[0].evidence, conflicts[0].count),
            (Evidence::Endpoint, 30)
        );
    }

    #[test]
    fn an_address_that_moves_now_and_then_is_no_conflict() {
        let (mut watch, start) = (IdentityWatch::default(), Instant::now());

        let told = (0_u64..60)
            .filter_map(|i| watch.on_roam(NODE, start + Duration::from_secs(15 * i)))
            .count();

        assert_eq!(told, 0);
    }
}
