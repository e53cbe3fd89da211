//! A site's part in the election on its LAN: what a thread does in production.
//!
//! Packets are handed in before the timers, each change of the role is told once, and a master that stops leaves first
//! and goes on to carry packets until another one is heard.

use std::time::{Duration, Instant};

use sam_router::{VrrpPlan, VrrpReport};
use sam_vrrp::{Arrival, Instance, State, Transmit};

/// Time for another router to take over before an orderly stop goes on without.
const HANDOVER: Duration = Duration::from_secs(1);

/// The election, once there is a plan.
#[derive(Debug, Default)]
pub(crate) struct Election {
    plan: Option<VrrpPlan>,
    instance: Option<Instance>,
    /// What the router was told last.
    told: Option<(u64, State, u64)>,
    /// Until when a master that stops waits for the next one.
    leaves: Option<Instant>,
}

impl Election {
    /// Changes the election in place if it is the same one, else leaves it and begins anew.
    pub(crate) fn follow(&mut self, plan: Option<VrrpPlan>, now: Instant) {
        let generation = |plan: &Option<VrrpPlan>| plan.as_ref().map(|plan| plan.generation);
        let same = generation(&self.plan) == generation(&plan);
        match (&mut self.instance, &plan) {
            (Some(instance), Some(plan)) if same => {
                instance.set_settings(plan.settings.clone(), now);
                instance.set_fence(plan.fenced);
                instance.set_penalty(plan.penalty, now);
            }
            (_, Some(plan)) => {
                let mut instance = Instance::new(plan.settings.clone(), plan.source, now);
                instance.set_fence(plan.fenced);
                instance.set_penalty(plan.penalty, now);
                instance.handle_startup(now);
                self.instance = Some(instance);
            }
            (_, None) => self.instance = None,
        }
        self.plan = plan;
    }

    /// Takes in an advertisement. What is refused is counted by the instance.
    pub(crate) fn handle_packet(&mut self, arrival: Arrival, payload: &[u8], now: Instant) {
        if let Some(instance) = &mut self.instance {
            instance.handle_packet(arrival, payload, now).ok();
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(instance) = &mut self.instance {
            instance.handle_timeout(now);
        }
    }

    /// Returns when [`Self::handle_timeout`] or [`Self::has_left`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let instance = self.instance.as_ref().and_then(Instance::poll_timeout);
        instance.into_iter().chain(self.leaves).min()
    }

    /// Takes the next advertisement to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.instance.as_mut()?.poll_transmit()
    }

    /// Takes what the router does not know yet.
    pub(crate) fn poll_report(&mut self) -> Option<VrrpReport> {
        let generation = self.plan.as_ref()?.generation;
        let status = self.instance.as_ref()?.status();
        // A master that leaves carries packets until control lets go.
        if status.state == State::Initialize {
            return None;
        }
        let news = Some((generation, status.state, status.conflicts));
        if std::mem::replace(&mut self.told, news) == news {
            return None;
        }
        Some(VrrpReport {
            generation,
            status: Some(status),
        })
    }

    /// Gives the role of the master up.
    pub(crate) fn resign(&mut self, now: Instant) {
        self.leaves = Some(now);
        if let Some(instance) = self
            .instance
            .as_mut()
            .filter(|instance| is_master(instance))
        {
            instance.handle_shutdown(now);
            self.leaves = Some(now + HANDOVER);
        }
    }

    /// Tells whether a router that stops need not wait any longer.
    pub(crate) fn has_left(&self, now: Instant) -> bool {
        let successor = || {
            let instance = self.instance.as_ref();
            instance.is_none_or(|instance| instance.status().heard.is_some())
        };
        self.leaves.is_some_and(|until| until <= now || successor())
    }

    /// Tells whether this router may act on the LAN: it was elected, or waits for the next one to be.
    pub(crate) fn is_witness(&self) -> bool {
        self.leaves.is_some() || self.instance.as_ref().is_some_and(is_master)
    }

    /// Tells whether the router stops.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaves.is_some()
    }

    /// Tells whether there is an election to take part in.
    pub(crate) fn is_held(&self) -> bool {
        self.plan.is_some()
    }
}

fn is_master(instance: &Instance) -> bool {
    instance.status().state == State::Master
}
