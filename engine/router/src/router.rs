//! The control core as one value; wiring only, every decision lives in the part that it belongs to.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_capture::NodeId;

use crate::config::Config;
use crate::facts::Facts;
use crate::input::{Command, Input};
use crate::journal::RuntimeState;
use crate::output::Output;
use crate::view;

/// What a router starts from.
#[derive(Debug)]
pub struct Start {
    /// Validated configuration.
    pub config: Config,
    /// Restored state; the default when there is none.
    pub state: RuntimeState,
    /// Random number, different at each start: feeds the jitter of timers and the epoch of the marker.
    pub seed: u64,
}

/// Says which deadline is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerName {
    /// One of BGP.
    Bgp(sam_bgp::TimerName),
    /// Look for addresses with several claimants.
    ClaimScan,
}

/// Why an order of the operator is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum CommandRefusal {
    /// No pool admits the address.
    #[error("outside-pool")]
    OutsidePool,
    /// The node's `may` does not include the address.
    #[error("not-permitted")]
    NotPermitted,
    /// The address is not owned here.
    #[error("not-owned")]
    NotOwned,
    /// The address is owned here already.
    #[error("already-owned")]
    AlreadyOwned,
    /// An orderly stop is under way.
    #[error("stopping")]
    Stopping,
}

/// The control core.
#[derive(Debug)]
pub struct Router {}

impl Router {
    /// Makes a router and applies its first configuration; outputs wait.
    #[must_use]
    pub fn new(_start: Start, _now: Instant) -> Self {
        todo!()
    }

    /// Handles one thing that happened.
    pub fn handle_input(&mut self, _input: Input<'_>, _now: Instant) {
        todo!()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimerName)> {
        todo!()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        todo!()
    }

    /// Tells whether a command would be accepted now; the control socket answers with this before it hands it in.
    ///
    /// # Errors
    /// Why not.
    pub fn check_command(&self, _command: &Command) -> Result<(), CommandRefusal> {
        todo!()
    }

    /// `samctl status`
    #[must_use]
    pub fn status(&self, _facts: &Facts, _now: Instant) -> view::StatusView {
        todo!()
    }

    /// `samctl owners`
    #[must_use]
    pub fn owners(&self, _now: Instant) -> view::OwnersView {
        todo!()
    }

    /// `samctl routes`
    #[must_use]
    pub fn routes(&self) -> view::RoutesView {
        todo!()
    }

    /// `samctl bgp neighbors`
    #[must_use]
    pub fn bgp_neighbors(&self, _now: Instant) -> view::BgpNeighborsView {
        todo!()
    }

    /// `samctl bgp neighbor NODE`; `None` when the node is no BGP peer.
    #[must_use]
    pub fn bgp_neighbor(&self, _node: NodeId, _now: Instant) -> Option<view::BgpNeighborView> {
        todo!()
    }

    /// `samctl bgp rib`
    #[must_use]
    pub fn bgp_rib(&self, _now: Instant) -> view::BgpRibView {
        todo!()
    }

    /// `samctl bgp why PREFIX`
    #[must_use]
    pub fn bgp_why(&self, _prefix: Ipv4Net, _now: Instant) -> view::BgpWhyView {
        todo!()
    }

    /// `samctl tunnels`
    #[must_use]
    pub fn tunnels(&self, _facts: &Facts, _now: Instant) -> view::TunnelsView {
        todo!()
    }

    /// `samctl arp`
    #[must_use]
    pub fn arp(&self, _facts: &Facts, _now: Instant) -> view::ArpView {
        todo!()
    }

    /// `samctl counters`
    #[must_use]
    pub fn counters(&self, _facts: &Facts) -> view::CountersView {
        todo!()
    }

    /// `samctl doctor [AREA]`
    #[must_use]
    pub fn doctor(&self, _facts: &Facts, _now: Instant) -> view::DoctorView {
        todo!()
    }

    /// `samctl explain ADDRESS`
    #[must_use]
    pub fn explain(&self, _address: Ipv4Addr, _facts: &Facts, _now: Instant) -> view::ExplainView {
        todo!()
    }
}
