//! Who was seen on the LAN that should not be there: others who answer for our answers, hosts that probe for an
//! address that lives elsewhere. Bounded; the oldest sighting makes room.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_dataplane::notice::Mac;

/// Sightings of one sort.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    seen: BTreeMap<(Ipv4Addr, Mac), Sighting>,
    /// Answers of those who are not sighted yet: they count once it is certain that it is somebody.
    early: BTreeMap<(Ipv4Addr, Mac), Sighting>,
}

/// One address and MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// How often.
    pub(crate) count: u64,
    /// The first time.
    pub(crate) first: Instant,
    /// The last time.
    pub(crate) last: Instant,
    /// How often we asked, and how often it answered that.
    pub(crate) asked: u64,
    pub(crate) answers: u64,
}

impl Sighting {
    fn new(now: Instant) -> Self {
        Self {
            count: 0,
            first: now,
            last: now,
            asked: 0,
            answers: 0,
        }
    }
}

/// Sightings remembered at most.
pub(crate) const LIMIT: usize = 256;
/// How long answers wait for a sighting.
const CONFIRMATION: Duration = Duration::from_secs(5);

impl Sightings {
    /// Notes a sighting.
    pub(crate) fn push(&mut self, address: Ipv4Addr, mac: Mac, now: Instant) {
        let key = (address, mac);
        if !self.seen.contains_key(&key)
            && self.seen.len() >= LIMIT
            && let Some(oldest) = self
                .seen
                .iter()
                .min_by_key(|(_, s)| s.last)
                .map(|(key, _)| *key)
        {
            self.seen.remove(&oldest);
        }
        let early = self.early.remove(&key);
        let early = early.filter(|early| now < early.last + CONFIRMATION);
        let new = early.unwrap_or_else(|| Sighting::new(now));
        let sighting = self.seen.entry(key).or_insert(new);
        sighting.count += 1;
        sighting.last = now;
    }

    /// Notes answers to our questions; what is not sighted soon was on its way to end.
    pub(crate) fn count_answers(
        &mut self,
        (address, mac): (Ipv4Addr, Mac),
        asked: u16,
        answers: u16,
        now: Instant,
    ) {
        let key = (address, mac);
        if !self.seen.contains_key(&key) {
            self.early
                .retain(|_, early| now < early.last + CONFIRMATION);
        }
        let sighting = match self.seen.get_mut(&key) {
            Some(sighting) => sighting,
            None if self.early.len() >= LIMIT && !self.early.contains_key(&key) => return,
            None => self.early.entry(key).or_insert_with(|| Sighting::new(now)),
        };
        sighting.asked += u64::from(asked);
        sighting.answers += u64::from(answers);
        sighting.last = now;
    }

    /// Forgets what was seen first or again since a time.
    pub(crate) fn forget_since(&mut self, time: Instant) {
        self.seen.retain(|_, sighting| sighting.last < time);
        self.early.clear();
    }

    /// Lists all sightings, newest first.
    #[must_use]
    pub(crate) fn newest_first(&self) -> Vec<(Ipv4Addr, Mac, Sighting)> {
        let mut all: Vec<_> = self
            .seen
            .iter()
            .map(|((address, mac), sighting)| (*address, *mac, *sighting))
            .collect();
        all.sort_by_key(|(_, _, sighting)| std::cmp::Reverse(sighting.last));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn answers_just_before_a_sighting_belong_to_it_and_others_to_nobody() {
        for (wait, counted) in [(1, (2, 3)), (5, (0, 0))] {
            let (mut sightings, start) = (Sightings::default(), Instant::now());
            let key = (Ipv4Addr::LOCALHOST, [9; 6]);
            sightings.count_answers(key, 1, 1, start);
            sightings.count_answers(key, 1, 2, start);
            assert_eq!(sightings.newest_first(), []);

            sightings.push(key.0, key.1, start + Duration::from_secs(wait));

            let (_, _, sighting) = sightings.newest_first()[0];
            assert_eq!((sighting.asked, sighting.answers), counted);
        }
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        for i in 0..1000 {
            sightings.count_answers((Ipv4Addr::from(i), [0; 6]), 1, 1, start);
        }
        assert_eq!(sightings.early.len(), LIMIT);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn the_oldest_sighting_makes_room() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let address = |i: u32| Ipv4Addr::from(0x0a4d_3c00 + i);

        for i in 0..300 {
            sightings.push(address(i), [0; 6], start + Duration::from_secs(i.into()));
        }
        sightings.push(address(299), [0; 6], start + Duration::from_secs(400));

        let known = (address(299), [0; 6]);
        sightings.count_answers(known, 2, 3, start + Duration::from_secs(500));
        sightings.count_answers((address(0), [0; 6]), 1, 1, start);

        let all = sightings.newest_first();
        assert_eq!((all[0].2.asked, all[0].2.answers), (2, 3));
        assert_eq!(all.len(), LIMIT, "who is not known is not counted");
        assert_eq!((all[0].0, all[0].2.count), (address(299), 2));
        assert_eq!(all.last().map(|row| row.0), Some(address(44)));
    }
}
