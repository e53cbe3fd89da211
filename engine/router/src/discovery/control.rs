//! Discovery as part of the router: what it is told, and what its findings become.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::{ClaimSource, ClaimState};
use sam_dataplane::LanQuestion;
use sam_dataplane::notice::{Heard, Mac};

use super::{News, Refusal};
use crate::Router;
use crate::events::Event;
use crate::fib_sync::LAN_PORT;
use crate::output::Output;
use crate::view::mac_text;

/// Addresses that a sweep looks at to find one to ask for.
const SWEEP_LOOK: u32 = 1024;

impl Router {
    /// Takes in that a host of the LAN was heard; tells whether anything follows beside questions to the LAN.
    pub(crate) fn on_host_seen(
        &mut self,
        address: Ipv4Addr,
        mac: Mac,
        heard: Heard,
        now: Instant,
    ) -> bool {
        let refusal = self.admit_home(address, mac, now).err();
        match refusal {
            None => self.discovery.on_frame(address, mac, heard, now),
            Some(refusal) => self.discovery.on_refused(address, mac, refusal, now),
        }
        let is_host = refusal.is_none_or(Refusal::is_about_host);
        let is_found = is_host && self.contests.on_heard(address, now);
        is_found || self.discovery.has_news()
    }

    /// What this router owns, and how it knows: by order, because it hears the host, or because its cloud lists it.
    pub(crate) fn owned_sources(&self) -> BTreeMap<Ipv4Addr, ClaimSource> {
        let observed = self.discovery.homes().keys();
        let observed = observed.map(|address| (*address, ClaimSource::Observed));
        let told = self.told_to_own().into_iter();
        let told = told.map(|address| (address, ClaimSource::Configured));
        let enrollment = self.speaker.policy().enrollment();
        let may = |address: &&Ipv4Addr| enrollment.admit(self.config.local.node, **address).is_ok();
        let listed = self.claimed_machines().filter(may);
        let listed = listed.map(|address| (*address, ClaimSource::Provider));
        // An order outranks what is heard or listed.
        observed.chain(listed).chain(told).collect()
    }

    /// Addresses that live on this LAN, whoever owns them: told so, or heard here. Not those that are only asked for.
    pub(crate) fn lives_here(&self) -> BTreeSet<Ipv4Addr> {
        let holds = |address: &Ipv4Addr| {
            let claim = self.origination.claim_on(*address);
            claim.is_some_and(|claim| claim.state != ClaimState::Seizing)
        };
        let homes = self.discovery.homes().keys();
        let homes = homes.chain(self.cloud_homes.known().keys());
        let homes = homes.copied().filter(holds);
        let told = self.told_to_own().into_iter();
        let told = told.filter(|address| !self.is_given_away(*address));
        told.chain(homes).collect()
    }

    /// Does what discovery has to do by now.
    pub(crate) fn time_discovery(&mut self, now: Instant) {
        let mut discovery = std::mem::take(&mut self.discovery);
        discovery.handle_timeout(now, |last| self.next_to_sweep(last));
        self.discovery = discovery;
    }

    /// Lets discovery follow gate and configuration, before anything is originated.
    pub(crate) fn follow_discovery(&mut self, now: Instant) {
        let settings = self.config.local.capture.discovery();
        if settings.is_none() && self.discovery.is_active().is_none() {
            return;
        }
        self.discovery.configure(settings.cloned(), now);
        if self.discovery.is_active() == Some(false) {
            self.follow_sibling(now);
        }
        self.discovery.set_gate(self.gate().open, now);
        let told = self.told_to_own();
        let (config, enrollment) = (&self.config, self.speaker.policy().enrollment());
        self.discovery.retain(|address| {
            !told.contains(&address) && enrollment.admit(config.local.node, address).is_ok()
        });
    }

    /// Tells discovery what became of its findings, if anything is claimed anew, and whom other nodes claim.
    pub(crate) fn tell_discovery(&mut self, changed: bool, challenged: &[Ipv4Addr], now: Instant) {
        // A claim that loses wins without a change of its own when the others end.
        let homes = self.discovery.homes().iter();
        let homes = homes.filter(|(_, home)| changed || home.refused_since.is_some());
        let homes: Vec<Ipv4Addr> = homes.map(|(address, _)| *address).collect();
        for address in homes {
            let claim = self.origination.claim_on(address);
            // Who asks has not lost while its claim is the best: who stands by for the address may be dead, and gives no answer.
            let is_best = self.owners.holding(address);
            let is_best = is_best.is_some_and(|holding| holding.owner.local);
            let loses = |state| match state {
                ClaimState::Seizing => !is_best,
                ClaimState::Standby => true,
                ClaimState::Active | ClaimState::Draining | ClaimState::Handover => false,
            };
            // Who is on the other side of a LAN that is cut in two is not refused.
            let is_absent = self.contests.is_absent(address);
            let wins = is_absent || !claim.is_some_and(|claim| loses(claim.state));
            self.discovery.on_claim(address, wins, now);
        }
        for address in challenged {
            self.discovery.challenge(*address, now);
        }
    }

    /// Forgets that an address was refused, when its owner changes among others: that one can be asked (again).
    pub(crate) fn review_refusal(&mut self, event: &Event) {
        let own = Some(self.config.local.node);
        if let Event::OwnerChanged {
            address, from, to, ..
        } = event
            && *from != own
            && *to != own
        {
            self.discovery.accept_again(*address);
        }
    }

    /// Sends the questions, and tells operators what was found.
    pub(crate) fn ask_lan(&mut self, now: Instant) {
        while let Some(question) = self.discovery.poll_question() {
            self.outputs.push_back(Output::AskLan(LanQuestion {
                port: LAN_PORT,
                address: question.address,
                to: question.to,
            }));
        }
        while let Some(news) = self.discovery.poll_news() {
            self.forwarding_stale = true;
            self.events.push(event_of(news), now);
        }
    }

    /// The address to ask for after `last`: one that nobody owns and that may live here.
    fn next_to_sweep(&self, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let enrollment = self.speaker.policy().enrollment();
        let pools = self.config.fabric.pools.iter();
        let ranges = pools.map(|pool| {
            let (first, end) = (pool.prefix.network(), pool.prefix.broadcast());
            u32::from(first)..=u32::from(end)
        });
        let from = last.map_or(0, |last| u32::from(last).saturating_add(1));
        let mut ranges: Vec<_> = ranges.collect();
        ranges.sort_by_key(|range| *range.start());
        let addresses = ranges
            .into_iter()
            .flat_map(|range| from.max(*range.start())..=*range.end());
        let lan_address = self.host.lan.as_ref().and_then(|lan| lan.address);
        let is_open = |address: Ipv4Addr| {
            self.owners.holding(address).is_none()
                && enrollment.admit(self.config.local.node, address).is_ok()
                && lan_address.is_none_or(|net| net.addr() != address)
        };
        let mut looked_at = addresses.map(Ipv4Addr::from).zip(1..);
        // After a long row of others the walk goes on from there next time: asking for one of them does no harm.
        looked_at
            .find(|(address, count)| is_open(*address) || *count == SWEEP_LOOK)
            .map(|(address, _)| address)
    }
}

fn event_of(news: News) -> Event {
    match news {
        News::Learned(address, mac) => Event::HomeLearned {
            address,
            mac: mac_text(mac),
        },
        News::Lost(address, mac, reason) => Event::HomeExpired {
            address,
            mac: mac_text(mac),
            reason: reason.into(),
        },
        News::OtherMac {
            address,
            from,
            to,
            kept,
        } => Event::MacChanged {
            address,
            from: mac_text(from),
            to: mac_text(to),
            kept,
        },
        News::Refused(address, mac, refusal) => Event::DiscoveryRefused {
            address,
            mac: mac_text(mac),
            reason: refusal.name().into(),
        },
    }
}
