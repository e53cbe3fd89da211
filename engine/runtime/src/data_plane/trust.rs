//! Whether a kind of port is given superpackets: after a few refusals by the kernel it is not for a while.
//!
//! A single refusal may be that of one packet, and what refuses may be another device or route later.

use std::time::{Duration, Instant};

use sam_dataplane::{Gso, MergePolicy};

/// This many refusals within [`WINDOW`] are enough.
const REFUSALS: u8 = 3;
const WINDOW: Duration = Duration::from_secs(10);
/// After this time the kernel is asked again.
pub(super) const RETRY: Duration = Duration::from_secs(600);

/// What the kernel is trusted with at one kind of port.
#[derive(Debug)]
pub(super) struct Trust {
    /// What may be tried at all.
    limit: MergePolicy,
    tcp: Trial,
    udp: Trial,
}

/// Refusals of one kind. Times are those of the looks, so that nothing on the packet path asks for the time.
#[derive(Debug, Default)]
struct Trial {
    refusals: u8,
    since: Option<Instant>,
}

impl Trust {
    /// Trusts with all of `limit`.
    pub(super) fn new(limit: MergePolicy) -> Self {
        Self {
            limit,
            tcp: Trial::default(),
            udp: Trial::default(),
        }
    }

    /// Returns which superpackets may be made now.
    pub(super) fn policy(&self) -> MergePolicy {
        MergePolicy {
            tcp: self.limit.tcp && self.tcp.stands(),
            udp: self.limit.udp && self.udp.stands(),
        }
    }

    /// Notes a refusal; returns whether it was the one too many.
    pub(super) fn refuse(&mut self, gso: Gso) -> bool {
        match gso {
            Gso::None => false,
            Gso::Tcp { .. } => self.tcp.refuse(),
            Gso::Udp { .. } => self.udp.refuse(),
        }
    }

    /// Forgets what is long ago; returns whether something may be tried again.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        // Both, whatever the first says.
        self.tcp.look(now) | self.udp.look(now)
    }
}

impl Trial {
    fn stands(&self) -> bool {
        self.refusals < REFUSALS
    }

    fn refuse(&mut self) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals == REFUSALS {
            self.since = None;
        }
        self.refusals == REFUSALS
    }

    fn look(&mut self, now: Instant) -> bool {
        if self.refusals == 0 {
            return false;
        }
        let stands = self.stands();
        let kept = if stands { WINDOW } else { RETRY };
        let since = *self.since.get_or_insert(now);
        let over = now.saturating_duration_since(since) >= kept;
        if over {
            *self = Self::default();
        }
        over && !stands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Gso = Gso::Tcp { size: 100 };

    #[test]
    fn three_refusals_within_ten_seconds_end_a_kind_for_ten_minutes() {
        let mut trust = Trust::new(MergePolicy::default());
        let start = start();

        assert!(!trust.refuse(TCP) && !trust.refuse(TCP));
        assert!(!trust.look(start) && trust.policy().tcp);
        assert!(trust.refuse(TCP) && !trust.refuse(TCP));

        assert!(!trust.policy().tcp && trust.policy().udp);
        assert!(!trust.look(start + WINDOW));
        assert!(!trust.look(start + WINDOW + RETRY - Duration::from_secs(1)));
        assert!(!trust.policy().tcp);
        assert!(trust.look(start + WINDOW + RETRY));
        assert!(trust.policy().tcp);
    }

    #[test]
    fn refusals_that_are_far_apart_and_of_plain_packets_do_not_count() {
        let mut trust = Trust::new(MergePolicy::default());
        let start = start();
        for minute in 0..10 {
            let now = start + Duration::from_secs(60 * minute);
            assert!(!trust.refuse(TCP) && !trust.refuse(TCP) && !trust.refuse(Gso::None));
            assert!(!trust.look(now) && !trust.look(now + WINDOW));
        }
        assert!(trust.policy().tcp);
    }

    #[test]
    fn what_is_not_wanted_stays_off() {
        let mut trust = Trust::new(MergePolicy {
            tcp: true,
            udp: false,
        });
        assert!(!trust.policy().udp);
        trust.look(start() + RETRY);
        assert!(!trust.policy().udp);
    }

    fn start() -> Instant {
        Instant::now()
    }
}
