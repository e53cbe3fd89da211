//! Which addresses live on our LAN, by what is heard there (mobility.md sections 1.1 and 5.A).
//!
//! A host that is heard is asked, at its MAC alone, and has a home here when it answers: one round trip after its first
//! frame. Whether its address may have one says `admission`; what becomes of it in BGP says `crate::origination`.
//!
//! Hosts lie, and LANs fall silent. So everything is bounded and paced; another MAC for a known address gets it only
//! after the known one was asked and stayed silent; and a host is forgotten only while others are heard, or when
//! another node claims its address: silence of everybody says something about the LAN, not about its hosts.

mod admission;
mod control;
mod fabric;
mod home;
mod inheritance;
mod newcomers;
mod pace;
mod settings;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_bgp::Cursor;
use sam_dataplane::notice::{Heard, Mac};

pub(crate) use admission::Refusal;
use fabric::Asking;
use home::{Home, Turn};
use newcomers::Newcomers;
pub(crate) use pace::Pace;
pub use settings::ArpDiscovery;
use sweep::Sweep;

use crate::sightings::Sightings;

/// Most homes.
pub(crate) const HOMES: usize = 4096;
/// Most MACs remembered as those of routers, and most addresses that are not looked at for a while.
const REMEMBERED: usize = 256;
/// Questions per second about homes and to everybody, and homes that begin per second.
const QUESTIONS: u32 = 50;
const LEARNED: u32 = 32;
/// A host that is heard no more for this long is asked when our claim wins after it lost.
const STALE: Duration = Duration::from_secs(1);
/// How long a claim of ours may lose before the home is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an address is not looked at that was given up so, and how long a router's MAC is remembered.
const DECLINED: Duration = Duration::from_secs(60);
const ROUTER_MEMORY: Duration = Duration::from_secs(600);

/// Why a host is given up that lives nowhere else, as far as known.
const SILENT: &str = "silent";

/// A question to the LAN: who has this address?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) address: Ipv4Addr,
    /// Whom to ask; everybody without.
    pub(crate) to: Option<Mac>,
}

/// Something that operators should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// A host lives here now.
    Learned(Ipv4Addr, Mac),
    /// A host lives here no more, for this reason.
    Lost(Ipv4Addr, Mac, &'static str),
    /// Another MAC uses the address of a host; `kept`: the host still answers, so there are two.
    OtherMac {
        address: Ipv4Addr,
        from: Mac,
        to: Mac,
        kept: bool,
    },
    /// A host was heard, but may not live here.
    Refused(Ipv4Addr, Mac, Refusal),
}

/// What is known of the hosts of the LAN.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    settings: Option<ArpDiscovery>,
    active: Option<Active>,
    homes: BTreeMap<Ipv4Addr, Home>,
    /// Where the owners were read up to while this router stands by.
    cursor: Option<Cursor>,
    /// Other MACs that used the address of a host that still answers.
    disputes: Sightings,
    /// MACs that have taken the address of a host that answered no more.
    changes: Sightings,
    news: VecDeque<News>,
    questions: VecDeque<Question>,
    counters: BTreeMap<&'static str, u64>,
    asking: Asking,
}

/// What counts only while this router acts on the LAN.
#[derive(Debug)]
struct Active {
    /// Hosts without a home that say something by ARP, and those that do more: many of the former do not hide the latter.
    overheard: Newcomers,
    addressed: Newcomers,
    /// MACs that speak for addresses of routers.
    routers: BTreeMap<Mac, Instant>,
    /// Addresses whose claims lost.
    declined: BTreeMap<Ipv4Addr, Instant>,
    /// Addresses to ask for, before the sweep goes on.
    wanted: BTreeSet<Ipv4Addr>,
    sweep: Sweep,
    /// The last frame of any host.
    heard: Option<Instant>,
    questions: Pace,
    learned: Pace,
    /// Not later than anything is due.
    wake: Option<Instant>,
}

impl Discovery {
    /// Follows the configuration; homes outlive a change.
    pub(crate) fn configure(&mut self, settings: Option<ArpDiscovery>, now: Instant) {
        if self.settings == settings {
            return;
        }
        if settings.is_none() {
            self.homes.clear();
            (self.active, self.cursor) = (None, None);
        }
        self.settings = settings;
        let settings = self.settings.as_ref();
        let bindings = settings.map(|settings| &settings.bindings);
        self.homes.retain(|address, home| {
            let bound = bindings.and_then(|bindings| bindings.get(address));
            bound.is_none_or(|mac| *mac == home.mac)
        });
        if let (Some(active), Some(settings)) = (&mut self.active, &self.settings) {
            active.sweep = Sweep::new(settings.sweep, settings.expiry, now);
            active.wake = Some(now);
        }
    }

    /// Follows whether this router acts on the LAN. Homes are kept as long as they would be kept in silence; later
    /// they are asked for anew.
    pub(crate) fn set_gate(&mut self, open: bool, now: Instant) {
        let Some(settings) = &self.settings else {
            return;
        };
        if open == self.active.is_some() {
            return;
        }
        if !open {
            self.active = None;
            self.homes.values_mut().for_each(|home| home.stand_by(now));
            return;
        }
        let mut active = Active::new(settings, now);
        self.homes.retain(|address, home| {
            let unclaimed = home.unclaimed_since.take();
            let kept = unclaimed.is_none_or(|since| now <= since + settings.expiry);
            if !kept {
                active.wanted.insert(*address);
            }
            kept
        });
        self.homes.values_mut().for_each(|home| home.doubt(now));
        (self.active, self.cursor) = (Some(active), None);
    }

    /// Takes in a frame of a host whose address may live here.
    pub(crate) fn on_frame(&mut self, address: Ipv4Addr, mac: Mac, heard: Heard, now: Instant) {
        let (Some(settings), Some(active)) = (&self.settings, &mut self.active) else {
            return;
        };
        *self.counters.entry("frames").or_default() += 1;
        active.heard = Some(now);
        let Some(home) = self.homes.get_mut(&address) else {
            return self.on_new_host(address, mac, heard, now);
        };
        if home.mac == mac {
            if let Some(to) = home.on_frame(now) {
                let (from, kept) = (mac, true);
                self.disputes.push(address, to, now);
                self.news.push_back(News::OtherMac {
                    address,
                    from,
                    to,
                    kept,
                });
            }
        } else if home.on_other_mac(mac, heard, now) {
            // Whoever speaks for the address has to answer at his MAC.
            let to = Some(mac);
            self.questions.push_back(Question { address, to });
        }
        active.wake = earlier(active.wake, home.due(settings.expiry));
    }

    /// Takes in a frame that says nothing about homes.
    pub(crate) fn on_refused(
        &mut self,
        address: Ipv4Addr,
        mac: Mac,
        refusal: Refusal,
        now: Instant,
    ) {
        let Some(active) = &mut self.active else {
            return;
        };
        // Whoever it is, the LAN carries his frames; only a router says nothing about hosts.
        if refusal != Refusal::RouterMac {
            active.heard = Some(now);
        }
        if refusal == Refusal::Excluded && fits(active.routers.len(), &mac, &active.routers) {
            active.routers.insert(mac, now);
        }
        *self.counters.entry(refusal.name()).or_default() += 1;
        if refusal.is_news() {
            self.news.push_back(News::Refused(address, mac, refusal));
        }
    }

    /// Tells whether a MAC spoke for the address of a router lately.
    pub(crate) fn is_router(&self, mac: Mac, now: Instant) -> bool {
        let spoke = self
            .active
            .as_ref()
            .and_then(|active| active.routers.get(&mac));
        spoke.is_some_and(|spoke| now < *spoke + ROUTER_MEMORY)
    }

    /// Takes in that another node claims the address of a home.
    pub(crate) fn challenge(&mut self, address: Ipv4Addr, now: Instant) {
        let (Some(settings), Some(active)) = (&self.settings, &mut self.active) else {
            return;
        };
        if let Some(home) = self.homes.get_mut(&address) {
            home.on_other_node(now);
            active.wake = earlier(active.wake, home.due(settings.expiry));
        }
    }

    /// Takes in that whoever refused an address owns it no more, or again: the next frame of its host counts.
    pub(super) fn accept_again(&mut self, address: Ipv4Addr) {
        if let Some(active) = &mut self.active {
            active.declined.remove(&address);
        }
    }

    /// Gives up a home that another node has by order, and does not look at the address for a while.
    pub(crate) fn hand_over(&mut self, address: Ipv4Addr, now: Instant) {
        let Some(home) = self.homes.remove(&address) else {
            return;
        };
        if let Some(active) = &mut self.active {
            active.decline(address, now);
        }
        *self.counters.entry("lost").or_default() += 1;
        self.news
            .push_back(News::Lost(address, home.mac, "handed-over"));
    }

    /// Takes in whether our claim on the address of a home wins.
    pub(crate) fn on_claim(&mut self, address: Ipv4Addr, wins: bool, now: Instant) {
        if let (Some(home), Some(active)) = (self.homes.get_mut(&address), &mut self.active) {
            if wins {
                // Whoever waited for the address may have left meanwhile.
                if home.refused_since.take().is_some() && now >= home.seen + STALE {
                    home.doubt(now);
                    active.wake = earlier(active.wake, now);
                }
            } else if home.refused_since.is_none() {
                home.refused_since = Some(now);
                active.wake = earlier(active.wake, now + PATIENCE);
            }
        }
    }

    /// Asks the LAN for an address soon.
    pub(crate) fn want(&mut self, address: Ipv4Addr, now: Instant) -> bool {
        let known = self.homes.contains_key(&address);
        let Some(active) = &mut self.active else {
            return false;
        };
        let wanted = !known && active.wanted.len() < HOMES;
        if wanted && active.wanted.insert(address) {
            active.wake = earlier(active.wake, now);
        }
        wanted
    }

    /// Forgets the homes that `keep` refuses: they live here by configuration now, or may not.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Ipv4Addr) -> bool) {
        self.homes.retain(|address, _| keep(*address));
    }

    /// Does what is due; `next` gives the addresses that the sweep asks for, after the last one.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        next: impl Fn(Option<Ipv4Addr>) -> Option<Ipv4Addr>,
    ) {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        self.turn_homes(now);
        if let Some(active) = &mut self.active {
            active.turn_newcomers(&mut self.questions, now);
            active.sweep(&mut self.questions, now, next);
            active.declined.retain(|_, since| now < *since + DECLINED);
            active
                .routers
                .retain(|_, spoke| now < *spoke + ROUTER_MEMORY);
        }
        self.plan(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.active.as_ref()?.wake
    }

    /// Takes the next question to send.
    pub(crate) fn poll_question(&mut self) -> Option<Question> {
        let question = self.questions.pop_front()?;
        *self.counters.entry("questions").or_default() += 1;
        Some(question)
    }

    /// Tells whether there are news.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Takes the next news.
    pub(crate) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// All homes.
    pub(crate) fn homes(&self) -> &BTreeMap<Ipv4Addr, Home> {
        &self.homes
    }

    /// Whether discovery is on, and whether it acts.
    pub(crate) fn is_active(&self) -> Option<bool> {
        self.settings.as_ref().map(|_| self.active.is_some())
    }

    /// When any host was heard last.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.active.as_ref()?.heard
    }

    /// Other MACs that used the address of a host that still answers.
    pub(crate) fn disputes(&self) -> &Sightings {
        &self.disputes
    }

    /// MACs that have taken the address of a host that answered no more.
    pub(crate) fn changes(&self) -> &Sightings {
        &self.changes
    }

    /// What was counted, by name.
    pub(crate) fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    /// A host without a home was heard: for the first time, or again.
    fn on_new_host(&mut self, address: Ipv4Addr, mac: Mac, heard: Heard, now: Instant) {
        let (Some(settings), Some(active)) = (&self.settings, &mut self.active) else {
            return;
        };
        let recent = |since: &Instant, time| now < *since + time;
        if active
            .declined
            .get(&address)
            .is_some_and(|since| recent(since, DECLINED))
        {
            return self.on_refused(address, mac, Refusal::OwnedElsewhere, now);
        }
        let asked = [&mut active.addressed, &mut active.overheard];
        let asked = asked.map(|newcomers| heard == Heard::Answered && newcomers.take(address, mac));
        if asked.contains(&true) {
            if self.homes.len() >= HOMES || !active.learned.spend(now) {
                return self.on_refused(address, mac, Refusal::TooMany, now);
            }
            let home = Home::new(mac, now);
            active.wake = earlier(active.wake, home.due(settings.expiry));
            self.homes.insert(address, home);
            *self.counters.entry("learned").or_default() += 1;
            return self.news.push_back(News::Learned(address, mac));
        }
        let homes = self.homes.values().filter(|home| home.mac == mac).count();
        let known = [&active.addressed, &active.overheard];
        let is_known = known.iter().any(|hosts| hosts.contains(address, mac));
        let waiting: usize = known.iter().map(|hosts| hosts.of(mac)).sum();
        if !is_known && homes + waiting >= settings.per_mac {
            return self.on_refused(address, mac, Refusal::TooManyOfMac, now);
        }
        if !active.admit(address, mac, heard, now) {
            return self.on_refused(address, mac, Refusal::TooMany, now);
        }
        active.turn_newcomers(&mut self.questions, now);
        self.plan(now);
    }

    /// Asks hosts that are to be asked, and gives up those that are gone.
    fn turn_homes(&mut self, now: Instant) {
        let (Some(settings), Some(active)) = (&self.settings, &mut self.active) else {
            return;
        };
        let mut lost = Vec::new();
        for (&address, home) in &mut self.homes {
            if home
                .refused_since
                .is_some_and(|since| now >= since + PATIENCE)
            {
                active.decline(address, now);
                lost.push((address, Refusal::OwnedElsewhere.name()));
                continue;
            }
            if home.due(settings.expiry) > now {
                continue;
            }
            let from = home.mac;
            match home.turn(settings.expiry, active.heard, now) {
                Turn::Ask if active.questions.spend(now) => {
                    let to = Some(home.mac);
                    self.questions.push_back(Question { address, to });
                }
                Turn::Ask => home.put_off(active.questions.tick(), now),
                Turn::Expired => lost.push((address, SILENT)),
                Turn::Moved => lost.push((address, "moved")),
                Turn::Changed(to) => {
                    self.changes.push(address, to, now);
                    let kept = false;
                    self.news.push_back(News::OtherMac {
                        address,
                        from,
                        to,
                        kept,
                    });
                }
                Turn::Nothing => {}
            }
        }
        for (address, reason) in lost {
            // Who heard it a moment ago, the packet path too, has to learn that it is not there.
            if reason != SILENT {
                active.wanted.insert(address);
            }
            if let Some(home) = self.homes.remove(&address) {
                *self.counters.entry("lost").or_default() += 1;
                self.news.push_back(News::Lost(address, home.mac, reason));
            }
        }
    }

    /// Finds out when to do something next.
    fn plan(&mut self, now: Instant) {
        let (Some(settings), Some(active)) = (&self.settings, &mut self.active) else {
            return;
        };
        let homes = self.homes.values().map(|home| {
            let due = home.due(settings.expiry);
            let given_up = home.refused_since.map(|since| since + PATIENCE);
            given_up.map_or(due, |given_up| due.min(given_up))
        });
        let newcomers = [&active.addressed, &active.overheard];
        let newcomers = newcomers.into_iter().filter_map(Newcomers::due);
        let sweep = active.sweep.due(!active.wanted.is_empty());
        let due = homes.chain(newcomers).chain(sweep).min();
        active.wake = due.map(|due| due.max(now));
    }
}

impl Active {
    fn new(settings: &ArpDiscovery, now: Instant) -> Self {
        Self {
            overheard: Newcomers::new(),
            addressed: Newcomers::new(),
            routers: BTreeMap::new(),
            declined: BTreeMap::new(),
            wanted: BTreeSet::new(),
            sweep: Sweep::new(settings.sweep, settings.expiry, now),
            heard: None,
            questions: Pace::new(QUESTIONS),
            learned: Pace::new(LEARNED),
            wake: Some(now),
        }
    }

    /// Does not look at an address for a while.
    fn decline(&mut self, address: Ipv4Addr, now: Instant) {
        if fits(self.declined.len(), &address, &self.declined) {
            self.declined.insert(address, now);
        }
    }

    /// Asks hosts that have no home yet.
    fn turn_newcomers(&mut self, questions: &mut VecDeque<Question>, now: Instant) {
        self.addressed.turn(questions, now);
        self.overheard.turn(questions, now);
    }

    /// Has a host without a home asked; tells whether there was room.
    fn admit(&mut self, address: Ipv4Addr, mac: Mac, heard: Heard, now: Instant) -> bool {
        if heard == Heard::Overheard {
            return self.addressed.contains(address, mac)
                || self.overheard.admit(address, mac, now);
        }
        self.overheard.take(address, mac);
        self.addressed.admit(address, mac, now)
    }

    /// Asks for the addresses that are wanted, then for the next one of the sweep.
    fn sweep(
        &mut self,
        questions: &mut VecDeque<Question>,
        now: Instant,
        next: impl Fn(Option<Ipv4Addr>) -> Option<Ipv4Addr>,
    ) {
        let mut ask = |address| questions.push_back(Question { address, to: None });
        while let Some(&address) = self.wanted.first() {
            if !self.questions.spend(now) {
                return self.sweep.wait(self.questions.tick(), now);
            }
            self.wanted.pop_first();
            ask(address);
        }
        if let Some(address) = self.sweep.next(now, next)
            && self.questions.spend(now)
        {
            ask(address);
        }
    }
}

/// What a counter counts.
pub(crate) fn counter_text(name: &str) -> &'static str {
    match name {
        "frames" => "Frames of hosts that may live here",
        "questions" => "ARP requests sent to find hosts and to see whether they are still there",
        "learned" => "Hosts learned",
        "lost" => "Hosts that are gone",
        "asked-nodes" => "Addresses that other nodes were asked for",
        "asked-by-nodes" => "Addresses that other nodes asked for",
        "asked-too-often" => "Addresses not asked for, because too many were",
        name => Refusal::ALL
            .iter()
            .find(|refusal| refusal.name() == name)
            .map_or("", |refusal| refusal.text()),
    }
}

/// Tells whether a map of this length has room for a key.
fn fits<K: Ord, V>(len: usize, key: &K, map: &BTreeMap<K, V>) -> bool {
    len < REMEMBERED || map.contains_key(key)
}

fn earlier(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}
