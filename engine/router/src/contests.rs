//! Addresses that two routers of one LAN claim at once: each asks on its side of the LAN whether their hosts are there.
//!
//! Of two routers the master alone claims. Where both do, for longer than a change of roles takes, they do not hear each
//! other: the LAN is cut in two, or a cable leads elsewhere. BGP would then choose one of them for everybody, whether it
//! hears the hosts or not. So each asks for the hosts. Who is not answered claims as standby, and the other claim wins; where
//! neither is answered, or both are, it stays with the decision process.
//!
//! A claim comes forward again in the moment in which its host is heard, or the other router claims no more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_dataplane::LanQuestion;

use crate::Router;
use crate::discovery::Pace;
use crate::events::Event;
use crate::fib_sync::LAN_PORT;
use crate::origination::Rival;
use crate::output::Output;

/// How long two routers of a LAN may claim one address: a change of roles takes less.
const GRACE: Duration = Duration::from_millis(500);
/// Questions in vain before a host counts as absent, and the time between two.
const TRIES: u8 = 3;
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How long an answer counts, and its absence.
const RECHECK: Duration = Duration::from_secs(2);
/// Questions per second: with those of discovery no more broadcasts than a LAN bears.
const QUESTIONS: u32 = 40;

/// One address that both claim.
#[derive(Debug, Clone, Copy)]
struct Contest {
    /// Questions since the last answer.
    tries: u8,
    /// When to ask, or to conclude.
    due: Instant,
    /// Its host does not answer here.
    absent: bool,
    /// Since when both claim it.
    since: Instant,
}

/// All addresses that both claim.
#[derive(Debug)]
pub(crate) struct Contests {
    contests: BTreeMap<Ipv4Addr, Contest>,
    /// Whether any of the hosts was heard since the first contest began.
    heard: bool,
    pace: Pace,
    /// When a question may be asked again, after there were too many.
    paced_until: Option<Instant>,
    questions: VecDeque<Ipv4Addr>,
}

impl Default for Contests {
    fn default() -> Self {
        Self {
            contests: BTreeMap::new(),
            heard: false,
            pace: Pace::new(QUESTIONS),
            paced_until: None,
            questions: VecDeque::new(),
        }
    }
}

impl Contests {
    /// Follows which addresses are claimed by both.
    pub(crate) fn follow(&mut self, claimed: &BTreeSet<Ipv4Addr>, now: Instant) {
        self.contests.retain(|address, _| claimed.contains(address));
        if self.contests.is_empty() {
            (self.heard, self.paced_until) = (false, None);
        }
        for address in claimed {
            self.contests.entry(*address).or_insert(Contest {
                tries: 0,
                due: now + GRACE,
                absent: false,
                since: now,
            });
        }
    }

    /// Takes in that a host of this side was heard; tells whether it was taken for absent.
    pub(crate) fn on_heard(&mut self, address: Ipv4Addr, now: Instant) -> bool {
        let Some(contest) = self.contests.get_mut(&address) else {
            return false;
        };
        self.heard = true;
        (contest.tries, contest.due) = (0, now + RECHECK);
        std::mem::take(&mut contest.absent)
    }

    /// Asks, and concludes, what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.paced_until = None;
        let due = self.contests.iter();
        let due = due.filter(|(_, contest)| contest.due <= now);
        // What was begun is finished first: the first verdict may be about all of them.
        let mut due: Vec<_> = due
            .map(|(address, contest)| (Reverse(contest.tries), contest.due, *address))
            .collect();
        due.sort_unstable();
        for (Reverse(tries), _, address) in due {
            if tries >= TRIES {
                self.conclude(address, now);
            } else if self.pace.spend(now) {
                self.set(address, tries + 1, now + ASK_AGAIN);
                self.questions.push_back(address);
            } else {
                self.paced_until = Some(now + self.pace.tick());
            }
        }
    }

    /// Nobody answered: the host is not on this side. Where no host at all was heard nobody is.
    fn conclude(&mut self, address: Ipv4Addr, now: Instant) {
        self.set(address, 0, now + RECHECK);
        for (of, contest) in &mut self.contests {
            let is_asked_about = now >= contest.since + GRACE;
            contest.absent |= *of == address || (!self.heard && is_asked_about);
        }
    }

    fn set(&mut self, address: Ipv4Addr, tries: u8, due: Instant) {
        if let Some(contest) = self.contests.get_mut(&address) {
            (contest.tries, contest.due) = (tries, due);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.contests.values().map(|contest| contest.due).min()?;
        Some(self.paced_until.map_or(due, |until| due.max(until)))
    }

    /// Takes the next address to ask for.
    pub(crate) fn poll_question(&mut self) -> Option<Ipv4Addr> {
        self.questions.pop_front()
    }

    /// Tells whether the host of an address does not answer here.
    pub(crate) fn is_absent(&self, address: Ipv4Addr) -> bool {
        let contest = self.contests.get(&address);
        contest.is_some_and(|contest| contest.absent)
    }

    /// Addresses whose hosts do not answer here.
    pub(crate) fn absent(&self) -> impl Iterator<Item = Ipv4Addr> {
        let absent = self.contests.iter().filter(|(_, contest)| contest.absent);
        absent.map(|(address, _)| *address)
    }
}

impl Router {
    /// Does what is due about addresses that another router of the LAN claims too.
    pub(crate) fn time_contests(&mut self, now: Instant) {
        let was_whole = self.contests.absent().next().is_none();
        self.contests.handle_timeout(now);
        while let Some(address) = self.contests.poll_question() {
            self.outputs.push_back(Output::AskLan(LanQuestion {
                port: LAN_PORT,
                address,
                to: None,
            }));
        }
        let absent = self.contests.absent().count();
        if was_whole && absent > 0 {
            self.events.push(Event::LanDivided { absent }, now);
        }
    }

    /// Follows what another router of the LAN claims beside this one, while this one acts there.
    pub(crate) fn follow_contests(&mut self, rivals: &BTreeMap<Ipv4Addr, Rival>, now: Instant) {
        let acts = self.gate().open;
        let claimed = rivals.iter().filter(|(_, rival)| acts && rival.beside);
        let claimed = claimed.map(|(address, _)| *address).collect();
        self.contests.follow(&claimed, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::address;

    #[test]
    fn a_change_of_roles_asks_nobody() {
        let (mut contests, now) = begun(3);
        contests.handle_timeout(now + GRACE / 2);
        contests.follow(&BTreeSet::new(), now + GRACE / 2);
        assert_eq!(contests.poll_timeout(), None);
        assert_eq!(contests.poll_question(), None);
    }

    #[test]
    fn who_answers_is_here_and_who_does_not_is_absent_until_heard() {
        let (mut contests, now) = begun(3);
        let end = run(&mut contests, now, Duration::from_secs(2), |last| last == 0);
        assert_eq!(absent(&contests), [1, 2]);

        assert!(contests.on_heard(address(1), end));
        assert!(!contests.on_heard(address(1), end));
        assert_eq!(absent(&contests), [2]);
        run(&mut contests, end, Duration::from_secs(60), |last| last < 2);
        assert_eq!(absent(&contests), [2]);
    }

    #[test]
    fn a_segment_without_hosts_is_known_after_three_questions_however_many_there_are() {
        let (mut contests, now) = begun(250);
        let limit = GRACE + ASK_AGAIN * (u32::from(TRIES) + 2);
        run(&mut contests, now, limit, |_| false);
        assert_eq!(absent(&contests).len(), 250);
    }

    #[test]
    fn questions_are_paced() {
        let (mut contests, now) = begun(250);
        let (mut asked, seconds) = (0, 10);
        for millis in 0..seconds * 1_000 {
            let now = now + Duration::from_millis(millis);
            contests.handle_timeout(now);
            while let Some(address) = contests.poll_question() {
                asked += 1;
                contests.on_heard(address, now);
            }
        }
        let most = u64::from(QUESTIONS) * (seconds + 1);
        assert!((most / 2..=most).contains(&asked), "{asked}");
        assert!(absent(&contests).is_empty());
    }

    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn begun(count: u8) -> (Contests, Instant) {
        let (mut contests, now) = (Contests::default(), Instant::now());
        contests.follow(&(0..count).map(address).collect(), now);
        (contests, now)
    }

    /// Lets time pass; hosts that are `here` answer at once.
    fn run(
        contests: &mut Contests,
        start: Instant,
        time: Duration,
        here: impl Fn(u8) -> bool,
    ) -> Instant {
        let end = start + time;
        let mut now = start;
        while now < end {
            now += Duration::from_millis(1);
            contests.handle_timeout(now);
            while let Some(address) = contests.poll_question() {
                if here(address.octets()[3]) {
                    contests.on_heard(address, now);
                }
            }
        }
        end
    }

    fn absent(contests: &Contests) -> Vec<u8> {
        contests
            .absent()
            .map(|address| address.octets()[3])
            .collect()
    }
}
