//! From the start until this router has heard the routes: it takes a LAN over from nobody who works there.
//!
//! A router that begins knows nothing, and would answer for nobody in place of one that answers for all. So it waits until those
//! who tell routes have told them all (RFC 4724 section 2: End-of-RIB): everybody, or those who are there when somebody has been
//! for [`FLOOR`], which is how long the ways to the others may take. Without a reflector in between that means whoever a tunnel
//! or BFD shows to be there, for BGP calls late after a long time of silence. At most it waits for [`BOUND`] from when somebody
//! can tell routes: who reaches nobody is isolated, however long that lasts, and whoever was reached for a moment has told
//! nothing. Who would take the role by its priority alone waits for [`FLOOR`] from its start besides; a master that gives way
//! need not wait for that. A router that is alone acts at once, and one that takes over from a dead one does: nobody would be
//! worse. A fence that is gone stays gone.
//!
//! It may know less than others in another way as well: addresses of its LAN may have been given away while it was not there.
//! So it is uninformed until everybody has told routes who can, or those who are there have and [`BOUND`] is over, or does not end
//! them within that from when somebody can; what it claims by order before, it claims as standby (`crate::lan_orders`), which is
//! enough where nobody else claims it.

use std::time::{Duration, Instant};

use sam_bgp::session::SessionState;
use sam_capture::NodeId;

use crate::Router;
use crate::peers::{is_node, node_of};

/// At least as long: tunnels come up, hosts of other sites are heard again.
pub(crate) const FLOOR: Duration = Duration::from_secs(10);
/// At most as long.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// The fence of one run.
#[derive(Debug)]
pub(crate) struct StartupFence {
    born: Instant,
    up: bool,
    /// Whether [`FLOOR`] is not over.
    early: bool,
    /// Whether [`BOUND`] is over since the start.
    late: bool,
    /// Since when there is always a session with somebody.
    reached_since: Option<Instant>,
    /// Whether that has been so for [`FLOOR`].
    settled: bool,
    /// Whether somebody's routes are missing that may say what was given away.
    uninformed: bool,
}

/// Who has told all routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whether there is a session with anybody.
    pub(crate) reached: bool,
    /// All those who are there.
    pub(crate) present: bool,
    /// Everybody from whom routes may come.
    pub(crate) all: bool,
}

impl StartupFence {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            born: now,
            up: true,
            early: true,
            late: false,
            reached_since: None,
            settled: false,
            uninformed: true,
        }
    }

    /// Follows the time, and who has told all routes.
    pub(crate) fn follow(&mut self, told: Told, now: Instant) {
        self.early &= now < self.born + FLOOR;
        self.late |= now >= self.born + BOUND;
        let since = self.reached_since.unwrap_or(now);
        self.reached_since = told.reached.then_some(since);
        self.settled = told.reached && now >= since + FLOOR;
        let told_here = told.present && self.settled;
        let is_over = told.reached && now >= since + BOUND;
        self.up &= !(told.all || told_here || is_over);
        self.uninformed &= !(told.all || ((told_here || is_over) && self.late));
    }

    /// Whether this router takes over from nobody who lives.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Whether this router has just begun: what it has not heard of yet may still come.
    pub(crate) fn is_early(&self) -> bool {
        self.early
    }

    /// Whether this router cannot know yet what was given away while it was not there.
    pub(crate) fn is_uninformed(&self) -> bool {
        self.uninformed
    }

    /// Whether there is nothing left to follow.
    fn is_over(&self) -> bool {
        !(self.early || self.up || self.uninformed)
    }

    /// When time changes something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.early {
            return Some(self.born + FLOOR);
        }
        let wait = if self.settled { BOUND } else { FLOOR };
        let since = self.reached_since.filter(|_| self.up || self.uninformed);
        let routes = since.map(|since| since + wait);
        let orders = (self.uninformed && !self.late).then(|| self.born + BOUND);
        routes.into_iter().chain(orders).min()
    }
}

impl Router {
    /// Lets the fence follow what is known.
    pub(crate) fn follow_fence(&mut self, now: Instant) {
        if !self.fence.is_over() {
            let (isolated, present) = self.route_sources(|node| self.is_heard(node));
            let told = Told {
                reached: !isolated,
                present,
                all: self.has_heard_all(),
            };
            self.fence.follow(told, now);
        }
    }

    /// Whether something shows that a node is there, which has a session or may get one at any time.
    fn is_heard(&self, node: NodeId) -> bool {
        let is_up = self.tunnel_up(node) || self.path_watch.is_up(node);
        is_up && !self.path_watch.has_failed(node)
    }

    /// Whether everybody has told all routes from whom they may come: one reflector, and to a reflector or in a mesh all nodes.
    fn has_heard_all(&self) -> bool {
        let reflectors = &self.config.fabric.bgp.route_reflectors;
        let reflects = reflectors.contains(&self.config.local.node);
        let peers = self.speaker.peers();
        let mut nodes = peers
            .iter()
            .filter(|peer| is_node(&self.config, peer.id))
            .map(|peer| {
                let told = peer.state == SessionState::Established && peer.ipv4.end_of_rib;
                (node_of(peer.id), told)
            });
        if reflects || reflectors.is_empty() {
            nodes.all(|(_, told)| told)
        } else {
            nodes.any(|(node, told)| told && reflectors.contains(&node))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Told = Told {
        reached: false,
        present: false,
        all: false,
    };
    const SLOW: Told = Told {
        reached: true,
        ..NOBODY
    };
    const SOME: Told = Told {
        present: true,
        ..SLOW
    };
    const ALL: Told = Told { all: true, ..SOME };
    const INSTANT: Duration = Duration::from_nanos(1);

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn routes_lift_it_and_time_does_where_they_do_not_end_but_not_where_nobody_is_reached() {
        let start = Instant::now();
        let mut fence = StartupFence::new(start);
        let mut at = |second, told| {
            fence.follow(told, start + Duration::from_secs(second));
            let due = fence.poll_timeout().map(|due| (due - start).as_secs());
            (fence.is_up(), fence.is_early(), due)
        };
        assert_eq!(at(1, NOBODY), (true, true, Some(10)));
        assert_eq!(at(9, ALL), (false, true, Some(10)));
        assert_eq!(at(10, NOBODY), (false, false, None), "for good");

        for reached in [FLOOR, 2 * BOUND] {
            let mut fence = StartupFence::new(start);
            fence.follow(SLOW, start + FLOOR - INSTANT);
            fence.follow(NOBODY, start + FLOOR);
            fence.follow(NOBODY, start + reached);
            assert!(fence.is_up(), "it is isolated");

            fence.follow(SLOW, start + reached);
            let due = start + reached + BOUND;
            assert!(fence.is_up(), "nobody has told routes yet");
            fence.follow(SLOW, due - INSTANT);
            assert!(fence.is_up());
            assert_eq!(fence.poll_timeout(), Some(due));
            fence.follow(SLOW, due);
            assert!(!fence.is_up());
            assert_eq!(fence.poll_timeout(), None);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn those_who_are_there_speak_for_all_when_somebody_has_been_reached_for_ten_seconds() {
        let start = Instant::now();
        for reached in [Duration::ZERO, FLOOR, 2 * BOUND] {
            let mut fence = StartupFence::new(start);
            let due = start + reached + FLOOR;
            fence.follow(SOME, due - FLOOR);
            assert!(fence.is_up(), "others may come");
            fence.follow(SOME, due - INSTANT);
            assert!(fence.is_up());
            assert_eq!(fence.poll_timeout(), Some(due));
            fence.follow(SLOW, due);
            assert!(fence.is_up(), "another one came, and has told nothing yet");
            fence.follow(SOME, due + INSTANT);
            assert!(!fence.is_up());
        }

        let mut fence = StartupFence::new(start);
        fence.follow(SOME, start);
        fence.follow(NOBODY, start + FLOOR - INSTANT);
        fence.follow(SOME, start + FLOOR);
        assert!(fence.is_up(), "not without a break");
        fence.follow(SOME, start + 2 * FLOOR);
        assert!(!fence.is_up());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn what_was_given_away_is_not_known_until_all_have_spoken_or_some_and_none_comes_any_more() {
        let start = Instant::now();
        for (told, until) in [
            ([ALL, NOBODY, NOBODY, NOBODY], Some(1)),
            ([SOME, ALL, NOBODY, NOBODY], Some(100)),
            ([SOME, SOME, SOME, SOME], Some(120)),
            ([NOBODY, SOME, SOME, SOME], Some(120)),
            ([NOBODY, NOBODY, SOME, SOME], Some(130)),
            ([SLOW, SLOW, SLOW, SLOW], Some(130)),
            ([SOME, SLOW, SLOW, SLOW], Some(130)),
            ([NOBODY, SLOW, SLOW, SLOW], None),
            ([NOBODY, NOBODY, NOBODY, NOBODY], None),
        ] {
            let mut fence = StartupFence::new(start);
            let mut times = [1, 100, 120, 130].into_iter().zip(told);
            let informed = times.find(|(second, told)| {
                fence.follow(*told, start + Duration::from_secs(*second));
                !fence.is_uninformed()
            });
            assert_eq!(informed.map(|(second, _)| second), until, "{told:?}");
            if until.is_none() {
                let bound = told[3].reached.then(|| start + Duration::from_secs(220));
                assert_eq!(
                    fence.poll_timeout(),
                    bound,
                    "it waits for routes, and no time else"
                );
                assert!(!fence.is_over());
            }
        }
    }
}
