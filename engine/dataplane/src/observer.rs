//! Which hosts of a LAN the control plane is told about.
//!
//! A host that lives here is told once in a while, a stranger every second, one that was asked for each time that it
//! answers. A LAN may be full of forged hosts, so all of it is bounded: table, questions that wait for answers, and notices per second.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::ids::PortId;
use crate::notice::Mac;

/// Shortest time between two notices about a host that lives here and that nobody asked for.
pub const REFRESH: Duration = Duration::from_secs(30);
/// The same for a host that does not live here, as far as known.
pub const STRANGER_REFRESH: Duration = Duration::from_secs(1);
/// Most hosts that are remembered.
pub const HOST_LIMIT: usize = 4096;
/// Most notices per second about hosts that nobody asked for.
pub const NOTICES_PER_SECOND: u16 = 200;
/// How long an answer to a question is waited for.
pub const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Most questions whose answers are waited for.
pub const QUESTION_LIMIT: usize = 256;
/// Most notices about one address that was asked for.
pub const ANSWER_LIMIT: u8 = 4;

/// Shortest time between two notices that somebody wants an address.
pub const WANT_INTERVAL: Duration = Duration::from_secs(3);
/// Most addresses that are told to be wanted within that time.
pub const WANT_LIMIT: usize = 64;

/// What to do about a frame of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Tell the control plane.
    News,
    /// It was told not long ago.
    Known,
    /// It should be told, but there is too much to tell.
    Lost,
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub struct Observer {
    told: BTreeMap<(PortId, Ipv4Addr, Mac), Instant>,
    asked: BTreeMap<(PortId, Ipv4Addr), Asked>,
    wanted: BTreeMap<Ipv4Addr, Instant>,
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
    /// Notes a question.
    pub fn ask(&mut self, port: PortId, address: Ipv4Addr, now: Instant) {
        if self.asked.len() >= QUESTION_LIMIT {
            self.asked.retain(|_, asked| now < asked.until);
        }
        if self.asked.len() < QUESTION_LIMIT {
            let (until, left) = (now + ANSWER_TIME, ANSWER_LIMIT);
            self.asked.insert((port, address), Asked { until, left });
        }
    }

    /// Tells whether answers of an address are waited for.
    #[must_use]
    pub fn awaits(&self, port: PortId, address: Ipv4Addr, now: Instant) -> bool {
        let asked = self.asked.get(&(port, address));
        asked.is_some_and(|asked| now < asked.until)
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

    /// Notes a frame of a host; `resident`: the address lives on this LAN.
    pub fn observe(
        &mut self,
        port: PortId,
        (address, mac): (Ipv4Addr, Mac),
        resident: bool,
        now: Instant,
    ) -> Observation {
        let refresh = if resident { REFRESH } else { STRANGER_REFRESH };
        let asked = self.asked.get_mut(&(port, address));
        if let Some(asked) = asked.filter(|asked| now < asked.until && asked.left > 0) {
            asked.left -= 1;
            self.remember((port, address, mac), now);
            return Observation::News;
        }
        let told = self.told.get(&(port, address, mac));
        if told.is_some_and(|told| now < *told + refresh) {
            return Observation::Known;
        }
        if self.spend(now) && self.remember((port, address, mac), now) {
            Observation::News
        } else {
            Observation::Lost
        }
    }

    /// Remembers that a host was told; tells whether there was room.
    fn remember(&mut self, host: (PortId, Ipv4Addr, Mac), now: Instant) -> bool {
        if self.told.len() >= HOST_LIMIT && !self.told.contains_key(&host) {
            self.told.retain(|_, told| now < *told + REFRESH);
        }
        let fits = self.told.len() < HOST_LIMIT || self.told.contains_key(&host);
        if fits {
            self.told.insert(host, now);
        }
        fits
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

    #[test]
    fn a_host_is_told_at_once_and_then_once_in_a_while() {
        let (mut observer, now) = (Observer::default(), start());
        let seen = [0, 1, 29, 30, 31].map(|second| {
            observer.observe(
                PORT,
                (ADDRESS, HOST),
                true,
                now + Duration::from_secs(second),
            )
        });
        use Observation::{Known, News};
        assert_eq!(seen, [News, Known, Known, News, Known]);
        let now = now + Duration::from_secs(33);
        let stranger = |observer: &mut Observer, millis| {
            observer.observe(
                PORT,
                (ADDRESS, HOST),
                false,
                now + Duration::from_millis(millis),
            )
        };
        let seen = [0, 999, 1000].map(|millis| stranger(&mut observer, millis));
        assert_eq!(seen, [News, Known, News]);
    }

    #[test]
    fn every_answer_to_a_question_is_told_up_to_a_limit() {
        let (mut observer, now) = (Observer::default(), start());
        observer.observe(PORT, (ADDRESS, HOST), true, now);
        observer.ask(PORT, ADDRESS, now);
        let seen = (0..6).map(|_| observer.observe(PORT, (ADDRESS, HOST), true, now));
        let told = seen.filter(|seen| *seen == Observation::News).count();
        assert_eq!(told, usize::from(ANSWER_LIMIT));
        observer.ask(PORT, ADDRESS, now);
        let late = now + ANSWER_TIME;
        assert_eq!(
            observer.observe(PORT, (ADDRESS, HOST), true, late),
            Observation::Known
        );
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
    fn a_storm_of_forged_hosts_is_bounded_and_hides_no_answer() {
        let (mut observer, now) = (Observer::default(), start());
        let mac = |index: u32| {
            let [_, a, b, c] = index.to_be_bytes();
            [2, 0, 0, a, b, c]
        };
        let storm = |observer: &mut Observer, from: u32, at| {
            let seen = (from..from + 5000).map(|index| {
                observer.observe(PORT, (Ipv4Addr::from(index), mac(index)), false, at)
            });
            seen.filter(|seen| *seen == Observation::News).count()
        };
        assert_eq!(
            storm(&mut observer, 0, now),
            usize::from(NOTICES_PER_SECOND)
        );
        for second in 1..60 {
            storm(
                &mut observer,
                second * 5000,
                now + Duration::from_secs(second.into()),
            );
        }
        assert!(observer.told.len() <= HOST_LIMIT);

        let now = now + Duration::from_secs(59);
        observer.ask(PORT, ADDRESS, now);
        assert_eq!(
            observer.observe(PORT, (ADDRESS, HOST), true, now),
            Observation::News
        );
        (0..1000).for_each(|index| observer.ask(PORT, Ipv4Addr::from(index), now));
        assert_eq!(observer.asked.len(), QUESTION_LIMIT);
    }
}
