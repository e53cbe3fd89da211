//! Faults on order: which calls, how often, and what goes wrong with them.

use std::net::Ipv4Addr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::Provider;
use crate::http::Request;
use crate::policy::matches;

/// An order to let calls go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Only calls to this provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Only operations that match; `*` stands for any text.
    #[serde(default = "any")]
    pub operation: String,
    /// Only calls that mention this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Only calls of this instance or user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Only so many of a hundred such calls, by chance that follows from the scenario's seed; without, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// This many such calls go well first.
    #[serde(default)]
    pub skip: u32,
    /// Then so many do not; without, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What goes wrong.
    pub effect: Effect,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// It takes longer, before its effect and after it.
    #[serde(rename_all = "camelCase")]
    Delay {
        /// Milliseconds until the effect.
        #[serde(default)]
        before_ms: u32,
        /// Milliseconds from the effect to the answer.
        #[serde(default)]
        after_ms: u32,
    },
    /// It is refused, without effect.
    #[serde(rename_all = "camelCase")]
    Refuse {
        /// Status code.
        status: u16,
        /// The provider's word.
        code: String,
        /// Seconds for Retry-After.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// The connection closes, without effect.
    LoseRequest,
    /// The connection closes, after the effect.
    LoseAnswer,
    /// The connection closes in the middle of the answer's body, after the effect.
    CutAnswer,
    /// Nothing happens and nothing is answered.
    Hang,
    /// Of several addresses only the first so many change, then the call fails with a server error.
    Partial(u32),
    /// The caller lacks the permission.
    Revoke,
    /// What is read is so many seconds old.
    Stale(u32),
    /// The operation is accepted, and ends as failed without effect.
    FailOperation,
    /// The operation is accepted and never ends.
    HangOperation,
}

fn any() -> String {
    "*".into()
}

/// A call, as far as a fault cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) provider: Provider,
    pub(crate) operation: &'a str,
    pub(crate) principal: &'a str,
    pub(crate) request: &'a Request,
}

/// The orders that stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    next: u32,
    list: Vec<(u32, Fault)>,
    /// State of what decides by chance.
    chance: u64,
}

/// Orders at the same time.
const MAX_FAULTS: usize = 1000;

impl Faults {
    /// Without any order; chance follows from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: seed,
            ..Self::default()
        }
    }

    /// Takes an order, and returns its number; `None` when there are too many.
    pub(crate) fn add(&mut self, fault: Fault) -> Option<u32> {
        if self.list.len() >= MAX_FAULTS {
            return None;
        }
        self.next += 1;
        self.list.push((self.next, fault));
        Some(self.next)
    }

    /// Ends an order, and tells whether it stood.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        let before = self.list.len();
        self.list.retain(|(known, _)| *known != number);
        self.list.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Fault)> {
        self.list.iter().map(|(number, fault)| (*number, fault))
    }

    /// Says what goes wrong with a call, and counts it.
    pub(crate) fn strike(&mut self, target: &Target<'_>) -> Troubles {
        let mut troubles = Troubles::default();
        for (_, fault) in &mut self.list {
            if !fault.concerns(target) {
                continue;
            }
            let drawn = fault
                .percent
                .map(|percent| (percent, draw(&mut self.chance)));
            let is_hit = drawn.is_none_or(|(percent, drawn)| drawn < u64::from(percent));
            if is_hit && fault.due() {
                troubles.add(&fault.effect);
            }
        }
        self.list.retain(|(_, fault)| fault.times != Some(0));
        troubles
    }
}

impl Fault {
    fn concerns(&self, target: &Target<'_>) -> bool {
        let wanted = self.principal.as_deref();
        self.provider.is_none_or(|known| known == target.provider)
            && matches(&self.operation, target.operation)
            && wanted.is_none_or(|known| known == target.principal)
            && self
                .address
                .is_none_or(|known| target.request.mentions(known))
    }

    /// Counts a call that it concerns, and tells whether that one is struck.
    fn due(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(times) => {
                *times -= 1;
                true
            }
        }
    }
}

/// Draws a number below 100 (SplitMix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % 100
}

/// All that goes wrong with one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Troubles {
    pub(crate) before: TimeDelta,
    pub(crate) after: TimeDelta,
    pub(crate) refusal: Option<Refused>,
    pub(crate) lose_request: bool,
    pub(crate) lose_answer: bool,
    pub(crate) cut_answer: bool,
    pub(crate) hang: bool,
    pub(crate) partial: Option<usize>,
    pub(crate) revoked: bool,
    pub(crate) stale: TimeDelta,
    pub(crate) operation: Option<OperationTrouble>,
}

/// A refusal on order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) retry_after: Option<u32>,
}

/// How an accepted operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperationTrouble {
    Fails,
    NeverEnds,
}

impl Troubles {
    fn add(&mut self, effect: &Effect) {
        match effect {
            Effect::Delay {
                before_ms,
                after_ms,
            } => {
                self.before += TimeDelta::milliseconds(i64::from(*before_ms));
                self.after += TimeDelta::milliseconds(i64::from(*after_ms));
            }
            Effect::Refuse {
                status,
                code,
                retry_after,
            } => {
                self.refusal = Some(Refused {
                    status: *status,
                    code: code.clone(),
                    retry_after: *retry_after,
                });
            }
            Effect::LoseRequest => self.lose_request = true,
            Effect::LoseAnswer => self.lose_answer = true,
            Effect::CutAnswer => self.cut_answer = true,
            Effect::Hang => self.hang = true,
            Effect::Partial(count) => self.partial = Some(*count as usize),
            Effect::Revoke => self.revoked = true,
            Effect::Stale(seconds) => {
                self.stale = self.stale.max(TimeDelta::seconds(i64::from(*seconds)));
            }
            Effect::FailOperation => self.operation = Some(OperationTrouble::Fails),
            Effect::HangOperation => self.operation = Some(OperationTrouble::NeverEnds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_calls_that_it_was_ordered_for() {
        let mut faults = Faults::default();
        let fault: Fault = serde_json::from_value(serde_json::json!({
            "provider": "aws", "operation": "Assign*", "address": "10.0.0.9", "skip": 1,
            "times": 1, "effect": {"refuse": {"status": 503, "code": "Unavailable"}},
        }))
        .expect("a fault");
        faults.add(fault).expect("room");
        let request = Request {
            body: b"PrivateIpAddress.1=10.0.0.9".to_vec(),
            ..Request::default()
        };
        let call = |provider, operation, principal| Target {
            provider,
            operation,
            principal,
            request: &request,
        };
        let assign = call(Provider::Aws, "AssignPrivateIpAddresses", "i-1");

        let other = call(Provider::Azure, "AssignPrivateIpAddresses", "i-1");
        assert_eq!(faults.strike(&other), Troubles::default());
        let other = call(Provider::Aws, "DescribeInstances", "i-1");
        assert_eq!(faults.strike(&other), Troubles::default());
        assert_eq!(faults.strike(&assign), Troubles::default(), "skipped");
        assert!(faults.strike(&assign).refusal.is_some());
        assert_eq!(faults.strike(&assign), Troubles::default(), "used up");
        assert_eq!(faults.iter().count(), 0);
    }

    #[test]
    fn chance_strikes_about_as_often_as_ordered_and_the_same_calls_for_the_same_seed() {
        let struck = |seed| {
            let mut faults = Faults::new(seed);
            let fault = serde_json::json!({"percent": 20, "times": 1000, "effect": "loseAnswer"});
            let fault = serde_json::from_value(fault).expect("a fault");
            faults.add(fault).expect("room");
            let request = Request::default();
            let target = Target {
                provider: Provider::Oci,
                operation: "ListPrivateIps",
                principal: "i-1",
                request: &request,
            };
            let calls = 0..1000;
            calls
                .map(|_| faults.strike(&target).lose_answer)
                .collect::<Vec<_>>()
        };

        let first = struck(1);

        let many = first.iter().filter(|struck| **struck).count();
        assert!((150..250).contains(&many), "{many}");
        assert_eq!(first, struck(1));
        assert_ne!(first, struck(2));
    }
}
