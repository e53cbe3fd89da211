//! An address that lives on our LAN by observation, and the questions that decide whether it still does.
//!
//! A question goes to the MAC of the host, a few times. What follows from silence depends on why it was asked.

use std::time::{Duration, Instant};

use sam_dataplane::notice::{Heard, Mac};

/// Questions before silence is an answer.
pub(crate) const TRIES: u8 = 3;
/// Time between two questions to a host whose place somebody else claims. All of them are over before two claims on one
/// address are an alarm ([`crate::claims::SCAN_DELAY`]).
pub(crate) const URGENT: Duration = Duration::from_millis(200);
/// After a dispute between two MACs was decided, how long the next one is not looked into.
pub(crate) const QUIET: Duration = Duration::from_secs(30);
/// The same after the claim of another node. The host may move there a moment later, and be given up there because nobody
/// gives way here ([`super::PATIENCE`]).
pub(crate) const RESPITE: Duration = Duration::from_secs(2);

/// A host of the LAN.
#[derive(Debug)]
pub(crate) struct Home {
    /// Its MAC.
    pub(crate) mac: Mac,
    /// When it was learned.
    pub(crate) since: Instant,
    /// Its last frame.
    pub(crate) seen: Instant,
    check: Option<Check>,
    /// Before that, another MAC does not have the host asked again.
    quiet_until: Option<Instant>,
    /// Before that, another node's claim does not. A dispute between two MACs says nothing about it: hosts move after one.
    respite_until: Option<Instant>,
    /// Since when our claim does not win.
    pub(crate) refused_since: Option<Instant>,
    /// While this router stands by: since when nobody on this LAN claims the address; `None`: another router does.
    pub(super) unclaimed_since: Option<Instant>,
}

/// A question that is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Check {
    why: Why,
    /// When the first question was due.
    began: Instant,
    /// When to ask again, or to conclude.
    next: Instant,
    interval: Duration,
    tries: u8,
}

/// Why a host is asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Nothing was heard of it for long.
    Silence,
    /// Another MAC has used the address; whether it has answered.
    OtherMac(Mac, bool),
    /// Another node claims the address.
    OtherNode,
}

/// What has to be done about a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ask the host.
    Ask,
    /// The host is gone: silent for the whole time.
    Expired,
    /// The host is gone: it lives at another node.
    Moved,
    /// The address has changed its MAC.
    Changed(Mac),
    /// Nothing: whoever used the address said no more.
    Nothing,
}

impl Home {
    pub(crate) fn new(mac: Mac, now: Instant) -> Self {
        Self {
            mac,
            since: now,
            seen: now,
            check: None,
            quiet_until: None,
            respite_until: None,
            refused_since: None,
            unclaimed_since: None,
        }
    }

    /// Takes in a frame of the host; returns the other MAC, if that is how a dispute ends.
    pub(crate) fn on_frame(&mut self, now: Instant) -> Option<Mac> {
        self.seen = now;
        match self.check.take()?.why {
            Why::Silence => None,
            Why::OtherNode => {
                self.respite_until = Some(now + RESPITE);
                None
            }
            Why::OtherMac(mac, _) => {
                self.quiet_until = Some(now + QUIET);
                Some(mac)
            }
        }
    }

    /// Takes in a frame of another MAC that uses the address; tells whether the other one should be asked too.
    pub(crate) fn on_other_mac(&mut self, mac: Mac, heard: Heard, now: Instant) -> bool {
        let answers = heard == Heard::Answered;
        match &mut self.check {
            Some(Check {
                why: Why::OtherMac(other, answered),
                ..
            }) => {
                *answered |= answers && *other == mac;
                false
            }
            Some(Check {
                why: Why::OtherNode,
                ..
            }) => false,
            Some(Check {
                why: Why::Silence, ..
            })
            | None => {
                let begins = !self.is_quiet(now);
                if begins {
                    self.begin(Why::OtherMac(mac, answers), URGENT, now);
                }
                begins
            }
        }
    }

    /// Takes in that another node claims the address.
    pub(crate) fn on_other_node(&mut self, now: Instant) {
        let asked = self
            .check
            .is_some_and(|check| !matches!(check.why, Why::Silence));
        let rests = self.respite_until.is_some_and(|until| now < until);
        if !asked && !rests {
            self.begin(Why::OtherNode, URGENT, now);
        }
    }

    /// Asks the host soon whether it is still there, unless it is being asked.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.check.is_some() {
            return;
        }
        self.begin(Why::Silence, Duration::from_secs(1), now);
    }

    /// When something is due.
    pub(crate) fn due(&self, expiry: Duration) -> Instant {
        self.check
            .map_or(self.seen + expiry * 4 / 5, |check| check.next)
    }

    /// Does what is due; `heard` is when another host of the LAN was heard last. Where nobody is heard at all, the
    /// silence says nothing about one of them.
    pub(crate) fn turn(&mut self, expiry: Duration, heard: Option<Instant>, now: Instant) -> Turn {
        let Some(check) = &mut self.check else {
            self.begin(Why::Silence, expiry / 5 / u32::from(TRIES), now);
            return self.turn(expiry, heard, now);
        };
        check.next = now + check.interval;
        if check.tries < TRIES {
            check.tries += 1;
            return Turn::Ask;
        }
        let check = *check;
        match check.why {
            Why::Silence if heard.is_some_and(|heard| heard >= check.began) => Turn::Expired,
            Why::Silence => {
                // Asked on and on; the time in which somebody else must have been heard does not begin anew.
                let interval = expiry / 5 / u32::from(TRIES);
                self.check = Some(Check {
                    tries: 1,
                    interval,
                    next: now + interval,
                    ..check
                });
                Turn::Ask
            }
            Why::OtherNode => Turn::Moved,
            Why::OtherMac(mac, answered) => {
                self.check = None;
                self.quiet_until = Some(now + QUIET);
                if !answered {
                    return Turn::Nothing;
                }
                (self.mac, self.seen) = (mac, now);
                Turn::Changed(mac)
            }
        }
    }

    /// A question was due, but not sent.
    pub(crate) fn put_off(&mut self, by: Duration, now: Instant) {
        if let Some(check) = &mut self.check {
            check.tries = check.tries.saturating_sub(1);
            check.next = now + by;
        }
    }

    /// Ends what this router asks and claims: it acts on the LAN no more.
    pub(crate) fn stand_by(&mut self, now: Instant) {
        (self.check, self.refused_since) = (None, None);
        self.unclaimed_since = Some(now);
    }

    /// The state as in views.
    pub(crate) fn state(&self) -> &'static str {
        match self.check.map(|check| check.why) {
            _ if self.refused_since.is_some() => "refused",
            None => "present",
            Some(Why::Silence) => "silent",
            Some(Why::OtherMac(..)) => "disputed",
            Some(Why::OtherNode) => "challenged",
        }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        let until = self.quiet_until.max(self.respite_until);
        until.is_some_and(|until| now < until)
    }

    fn begin(&mut self, why: Why, interval: Duration, now: Instant) {
        self.check = Some(Check {
            why,
            began: now,
            next: now,
            interval,
            tries: 0,
        });
    }
}
