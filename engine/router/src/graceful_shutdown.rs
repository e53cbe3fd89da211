//! Asking neighbors of other ASes to use other ways, before this one goes away (RFC 8326, decision 0028).
//!
//! 1. What they are told carries GRACEFUL_SHUTDOWN (section 4.2), so that they turn to other routers.
//! 2. What they tell is the last choice here, and marked in the same way.
//!
//! Both ways work on meanwhile; sessions stay up. Nodes of the fabric are not asked: whom they believe an address of
//! follows from LOCAL_PREF, so that it moves by [`crate::drain`] only, which asks the neighbors as well.

use std::time::Instant;

use crate::Router;
use crate::events::Event;
use crate::policy::FabricPolicy;

/// Why, when an operator said so.
pub(crate) const BY_ORDER: &str = "by order";

impl Router {
    /// Carries out the order to ask all neighbors of other ASes to use other ways, or no longer.
    pub(crate) fn set_graceful_shutdown(&mut self, on: bool, now: Instant) {
        if self.state.graceful_shutdown != on {
            self.state.graceful_shutdown = on;
            self.events.push(Event::GracefulShutdown { on }, now);
            self.follow_policy(now);
        }
    }

    /// Tells why all neighbors of other ASes are asked to use other ways, if they are.
    pub(crate) fn graceful_shutdown(&self) -> Option<&'static str> {
        if self.config.local.foreign.is_empty() {
            return None;
        }
        if self.state.graceful_shutdown {
            return Some(BY_ORDER);
        }
        self.state.drained.then_some("drained")
    }

    /// Makes the speaker follow what the policy depends on; sessions stay as they are.
    pub(crate) fn follow_policy(&mut self, now: Instant) {
        let policy = FabricPolicy::new(&self.config, self.state.is_leaving(&self.config));
        if policy != *self.speaker.policy() {
            self.speaker.set_policy(policy, now);
            self.pump(now);
        }
    }
}
