//! A prefix with its paths, as the Loc-RIB keeps it: small, because there may be millions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cause::Cause;
use super::sources::SourceId;
use crate::feed::Stamp;
use crate::wire::{PathAttributes, PathId, Prefix};

/// Why a path may not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ineligible {
    /// Its next hop is not reachable.
    NextHopUnreachable,
    /// It is stale and its next hop does not answer.
    StaleNextHopSilent,
    /// It is stale and a living session tells another: the address may have moved meanwhile.
    StaleSuperseded,
}

/// The name of [`Ineligible::StaleSuperseded`].
pub const STALE_SUPERSEDED: &str = "stale-superseded";

impl Ineligible {
    /// Returns its name, as shown to operators.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NextHopUnreachable => "next-hop-unreachable",
            Self::StaleNextHopSilent => "stale-next-hop-silent",
            Self::StaleSuperseded => STALE_SUPERSEDED,
        }
    }
}

/// A path as it is kept; the public form is [`super::Path`].
#[derive(Debug, Clone)]
pub(super) struct Entry<A> {
    /// Its attributes after import.
    pub(super) attributes: Arc<PathAttributes<A>>,
    /// When it was learned.
    pub(super) learned: Moment,
    /// Where it came from.
    pub(super) source: SourceId,
    /// Which of its source's paths to the prefix it is; see `identified`.
    id: u32,
    /// Names it towards peers that are told several paths; copies of it have the same.
    pub(super) local_id: PathId,
    /// Whether its source tells paths apart.
    identified: bool,
    /// Kept from a session that ended.
    pub(super) stale: bool,
    /// Whether its next hop came back only lately.
    pub(super) unsteady: bool,
    /// Why it may not be chosen, as of the last decision.
    pub(super) ineligible: Option<Ineligible>,
}

impl<A> Entry<A> {
    /// Makes an eligible path.
    pub(super) fn new(
        attributes: Arc<PathAttributes<A>>,
        learned: Moment,
        (source, path_id): (SourceId, Option<PathId>),
        local_id: PathId,
        stale: bool,
    ) -> Self {
        Self {
            attributes,
            learned,
            source,
            id: path_id.map_or(0, |PathId(id)| id),
            local_id,
            identified: path_id.is_some(),
            stale,
            unsteady: false,
            ineligible: None,
        }
    }

    /// Returns which of its source's paths to the prefix it is.
    pub(super) fn path_id(&self) -> Option<PathId> {
        self.identified.then_some(PathId(self.id))
    }
}

/// A point in time: nanoseconds since the table was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(u64);

impl Moment {
    /// Notes `at`; what lies before `epoch` counts as `epoch`.
    pub(super) fn of(at: Instant, epoch: Instant) -> Self {
        let since = at.saturating_duration_since(epoch).as_nanos();
        Self(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// Returns it on the clock again.
    pub(super) fn instant(self, epoch: Instant) -> Instant {
        epoch + Duration::from_nanos(self.0)
    }
}

/// The paths to one prefix, best first as of the last decision, ineligible ones last.
#[derive(Debug)]
pub(super) enum Paths<A> {
    /// The usual case, without an allocation.
    One(Entry<A>),
    /// None or several.
    Many(Vec<Entry<A>>),
}

impl<A> Default for Paths<A> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<A> Paths<A> {
    /// Returns all paths.
    pub(super) fn as_slice(&self) -> &[Entry<A>] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }

    /// Returns all paths, to be changed but not moved.
    pub(super) fn as_mut_slice(&mut self) -> &mut [Entry<A>] {
        match self {
            Self::One(path) => std::slice::from_mut(path),
            Self::Many(paths) => paths,
        }
    }

    /// Adds a path behind the others.
    pub(super) fn push(&mut self, added: Entry<A>) {
        *self = match std::mem::take(self) {
            Self::Many(paths) if paths.is_empty() => Self::One(added),
            Self::One(first) => Self::Many(vec![first, added]),
            Self::Many(mut paths) => {
                paths.push(added);
                Self::Many(paths)
            }
        };
    }

    /// Takes out the path at this place.
    pub(super) fn remove(&mut self, position: usize) -> Entry<A> {
        let mut paths = self.take();
        let removed = paths.remove(position);
        self.put(paths);
        removed
    }

    /// Takes out all paths.
    pub(super) fn take(&mut self) -> Vec<Entry<A>> {
        match std::mem::take(self) {
            Self::One(path) => vec![path],
            Self::Many(paths) => paths,
        }
    }

    /// Puts paths in place of all that are there.
    pub(super) fn put(&mut self, mut paths: Vec<Entry<A>>) {
        *self = match (paths.len(), paths.pop()) {
            (1, Some(only)) => Self::One(only),
            (_, Some(last)) => {
                paths.push(last);
                Self::Many(paths)
            }
            (_, None) => Self::default(),
        };
    }
}

/// A prefix with its paths.
#[derive(Debug)]
pub(super) struct Destination<N: Prefix> {
    /// The prefix.
    pub(super) prefix: N,
    /// Whether something changed since the last decision.
    pub(super) dirty: bool,
    /// What changed it last.
    pub(super) cause: Cause,
    /// How many neighbors were told a path to it: it is kept until they heard that it is gone.
    pub(super) told: u32,
    /// Its place in the change feed.
    pub(super) stamp: Option<Stamp>,
    /// Its paths.
    pub(super) paths: Paths<N::NextHop>,
}

impl<N: Prefix> Destination<N> {
    /// Makes a destination without paths.
    pub(super) fn new(prefix: N) -> Self {
        Self {
            prefix,
            dirty: false,
            cause: Cause::default(),
            told: 0,
            stamp: None,
            paths: Paths::default(),
        }
    }

    /// Returns the best path as of the last decision.
    pub(super) fn best(&self) -> Option<&Entry<N::NextHop>> {
        let first = self.paths.as_slice().first();
        first.filter(|path| path.ineligible.is_none())
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_unused(&self) -> bool {
        self.paths.as_slice().is_empty() && self.told == 0 && !self.dirty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::Ipv4Net;
    use std::net::Ipv4Addr;

    /// One path must cost no allocation, and a destination with one path less than a cache line.
    #[test]
    fn a_destination_is_small() {
        type PathsIpv4 = Paths<Ipv4Addr>;
        assert!(size_of::<PathsIpv4>() <= 32, "{}", size_of::<PathsIpv4>());
        assert!(size_of::<Destination<Ipv4Net>>() <= 64);
    }
}
