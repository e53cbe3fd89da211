//! Which hosts of a LAN the control plane is told about.
//!
//! A host that lives here is told once in a while, a stranger every second, one that was asked for each time that it
//! answers. A LAN may be full of forged hosts, so all of it is bounded: tables, questions that wait for answers, and notices per
//! second. Those who send packets are counted apart from those who are only overheard, so that neither hides the other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::ids::PortId;
use crate::notice::{Heard, Mac};

/// Shortest time between two notices about a host that lives here and that nobody asked for.
pub const REFRESH: Duration = Duration::from_secs(30);
/// The same for a host that does not live here, as far as known.
pub const STRANGER_REFRESH: Duration = Duration::from_secs(1);
/// Most hosts that are remembered, of those heard in one way.
pub const HOST_LIMIT: usize = 4096;
/// Most notices per second about hosts that nobody asked for, heard in one way.
pub const NOTICES_PER_SECOND: u16 = 100;
/// How long an answer to a question is waited for.
pub const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Most questions whose answers are waited for.
pub const QUESTION_LIMIT: usize = 512;
/// Most notices about one address that was asked for.
pub const ANSWER_LIMIT: u8 = 4;

/// Shortest time between two notices that somebody wants an address.
pub const WANT_INTERVAL: Duration = Duration::from_secs(3);
/// Most addresses that are told to be wanted within that time.
pub const WANT_LIMIT: usize = 64;

/// What to do about a frame of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Tell the control plane that it was heard so.
    News(Heard),
    /// It was told not long ago.
    Known,
    /// It should be told, but there is too much to tell.
    Lost,
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub struct Observer {
    overheard: Told,
    addressed: Told,
    /// By whom was asked; everybody without.
    asked: BTreeMap<(PortId, Ipv4Addr, Option<Mac>), Asked>,
    wanted: BTreeMap<Ipv4Addr, Instant>,
}

/// What was told of hosts that were heard in one way.
#[derive(Debug, Default)]
struct Told {
    /// When they were told, and for how long that was to last.
    hosts: BTreeMap<(PortId, Ipv4Addr, Mac), (Instant, Duration)>,
    /// Start of the second that is counted, and the notices in it.
    second: Option<Instant>,
    notices: u16,
}

/// A question whose answers are told.
#[derive(Debug, Clone, Copy)]
struct Asked {
    until: Instant,
    left: u8,
}

impl Observer {
    /// Notes a question, to a MAC alone or to everybody; tells whether its answers can be waited for.
    pub fn ask(&mut self, port: PortId, address: Ipv4Addr, to: Option<Mac>, now: Instant) -> bool {
        if self.asked.len() >= QUESTION_LIMIT {
            self.asked.retain(|_, asked| now < asked.until);
        }
        let key = (port, address, to);
        let fits = self.asked.len() < QUESTION_LIMIT || self.asked.contains_key(&key);
        if fits {
            let (until, left) = (now + ANSWER_TIME, ANSWER_LIMIT);
            self.asked.insert(key, Asked { until, left });
        }
        fits
    }

    /// Tells whether answers of an address are waited for.
    #[must_use]
    pub fn awaits(&self, port: PortId, address: Ipv4Addr, now: Instant) -> bool {
        let whoever = (port, address, None)..=(port, address, Some([u8::MAX; 6]));
        let mut asked = self.asked.range(whoever);
        asked.any(|(_, asked)| now < asked.until)
    }

    /// Notes that somebody wants an address; tells whether the control plane should know.
    pub fn want(&mut self, address: Ipv4Addr, now: Instant) -> bool {
        let is_recent = |told: &Instant| now < *told + WANT_INTERVAL;
        if self.wanted.get(&address).is_some_and(is_recent) {
            return false;
        }
        if self.wanted.len() >= WANT_LIMIT {
            self.wanted.retain(|_, told| is_recent(told));
        }
        let fits = self.wanted.len() < WANT_LIMIT;
        if fits {
            self.wanted.insert(address, now);
        }
        fits
    }

    /// Notes a frame of a host; `resident`: the address lives on this LAN. An answer is one if it was asked for.
    pub fn observe(
        &mut self,
        port: PortId,
        (address, mac): (Ipv4Addr, Mac),
        heard: Heard,
        resident: bool,
        now: Instant,
    ) -> Observation {
        let refresh = if resident { REFRESH } else { STRANGER_REFRESH };
        let host = (port, address, mac);
        if heard == Heard::Answered
            && let Some(heard) = self.answer(host, now)
        {
            return Observation::News(heard);
        }
        let (told, heard) = match heard {
            Heard::Addressed => (&mut self.addressed, heard),
            Heard::Overheard | Heard::Answered => (&mut self.overheard, Heard::Overheard),
        };
        if told.is_known(&host, refresh, now) {
            Observation::Known
        } else if told.has_room(now) && told.spend(now) {
            told.hosts.insert(host, (now, refresh));
            Observation::News(heard)
        } else {
            Observation::Lost
        }
    }

    /// Takes an answer from those that are waited for.
    fn answer(
        &mut self,
        (port, address, mac): (PortId, Ipv4Addr, Mac),
        now: Instant,
    ) -> Option<Heard> {
        let ways = [(Some(mac), Heard::Answered), (None, Heard::Addressed)];
        ways.into_iter().find_map(|(to, heard)| {
            let asked = self.asked.get_mut(&(port, address, to))?;
            let counts = now < asked.until && asked.left > 0;
            asked.left = asked.left.saturating_sub(1);
            counts.then_some(heard)
        })
    }
}

impl Told {
    /// Tells whether a host was told not long ago; it may have lived here then, and have moved twice since.
    fn is_known(&self, host: &(PortId, Ipv4Addr, Mac), refresh: Duration, now: Instant) -> bool {
        let told = self.hosts.get(host);
        told.is_some_and(|(told, _)| now < *told + refresh)
    }

    /// Tells whether one more can be remembered.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.hosts.len() >= HOST_LIMIT {
            self.hosts
                .retain(|_, (told, refresh)| now < *told + *refresh);
        }
        self.hosts.len() < HOST_LIMIT
    }

    fn spend(&mut self, now: Instant) -> bool {
        let second = Duration::from_secs(1);
        if self.second.is_none_or(|start| now >= start + second) {
            (self.second, self.notices) = (Some(now), 0);
        }
        let granted = self.notices < NOTICES_PER_SECOND;
        self.notices += u16::from(granted);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::start;

    const PORT: PortId = PortId(1);
    const HOST: Mac = [2, 0, 0, 0, 0, 9];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 9);
    use Heard::{Addressed, Answered, Overheard};
    use Observation::{Known, Lost, News};

    #[test]
    fn a_host_is_told_at_once_and_then_once_in_a_while() {
        let (mut observer, now) = (Observer::default(), start());
        let mut observe = |resident, millis| {
            let at = now + Duration::from_millis(millis);
            observer.observe(PORT, (ADDRESS, HOST), Overheard, resident, at)
        };
        let seen = [0, 1, 29, 30, 31].map(|second| observe(true, second * 1000));
        assert_eq!(
            seen,
            [News(Overheard), Known, Known, News(Overheard), Known]
        );
        // It left meanwhile, and is back.
        let seen = [0, 999, 1000].map(|millis| observe(false, 32_000 + millis));
        assert_eq!(seen, [News(Overheard), Known, News(Overheard)]);
    }

    #[test]
    fn every_answer_to_a_question_is_told_up_to_a_limit() {
        let (mut observer, now) = (Observer::default(), start());
        let answer = |observer: &mut Observer, mac, at| {
            observer.observe(PORT, (ADDRESS, mac), Answered, true, at)
        };
        assert_eq!(
            answer(&mut observer, HOST, now),
            News(Overheard),
            "nobody asked"
        );
        for (to, heard) in [(None, Addressed), (Some(HOST), Answered)] {
            observer.ask(PORT, ADDRESS, to, now);
            let seen = (0..6).map(|_| answer(&mut observer, HOST, now));
            let told = seen.filter(|seen| *seen == News(heard)).count();
            assert_eq!(told, usize::from(ANSWER_LIMIT));
        }
        observer.ask(PORT, ADDRESS, Some(HOST), now);
        let other = answer(&mut observer, [2, 0, 0, 0, 0, 8], now);
        assert_eq!(other, News(Overheard), "it was not asked");
        assert_eq!(answer(&mut observer, HOST, now + ANSWER_TIME), Known);
    }

    #[test]
    fn a_wanted_address_is_told_once_in_a_while_and_a_scan_is_bounded() {
        let (mut observer, now) = (Observer::default(), start());
        let told =
            [0, 1, 3].map(|second| observer.want(ADDRESS, now + Duration::from_secs(second)));
        assert_eq!(told, [true, false, true]);
        let now = now + Duration::from_secs(60);
        let scan = (0..5000).filter(|index| observer.want(Ipv4Addr::from(*index), now));
        assert_eq!(scan.count(), WANT_LIMIT);
        assert!(observer.want(ADDRESS, now + WANT_INTERVAL));
    }

    #[test]
    fn a_storm_of_forged_hosts_is_bounded_and_hides_neither_answers_nor_who_sends_packets() {
        let (mut observer, mut now) = (Observer::default(), start());
        let mac = |index: u32| {
            let [_, a, b, c] = index.to_be_bytes();
            [2, 0, 0, a, b, c]
        };
        for second in 0..60 {
            let storm = (second * 5000..).take(5000).map(|index| {
                let host = (Ipv4Addr::from(index), mac(index));
                observer.observe(PORT, host, Overheard, false, now)
            });
            let told = storm.filter(|seen| *seen == News(Overheard)).count();
            assert_eq!(told, usize::from(NOTICES_PER_SECOND), "second {second}");
            now += Duration::from_secs(1);
        }
        assert!(observer.overheard.hosts.len() <= HOST_LIMIT);

        let now = now - Duration::from_millis(500);
        let host = (ADDRESS, HOST);
        assert_eq!(observer.observe(PORT, host, Overheard, false, now), Lost);
        assert_eq!(
            observer.observe(PORT, host, Addressed, false, now),
            News(Addressed)
        );
        observer.ask(PORT, ADDRESS, Some(HOST), now);
        assert_eq!(
            observer.observe(PORT, host, Answered, true, now),
            News(Answered)
        );
        let asked = (0..1000).filter(|index| observer.ask(PORT, Ipv4Addr::from(*index), None, now));
        assert!(asked.count() < 1000, "who asks is told");
        assert_eq!(observer.asked.len(), QUESTION_LIMIT);
    }
}
