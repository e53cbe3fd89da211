//! Orders of the operator: which are accepted, and what they change.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_bgp::OrderRefusal;
use sam_capture::{ClaimState, ImportRejection, NodeId};

use crate::Router;
use crate::drain::Presence;
use crate::events::Event;
use crate::input::Command;
use crate::neighbor_orders;
use crate::peers::peer_of;

/// Why an order of the operator is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CommandRefusal {
    /// The node may not own the address; the reason is that of the import rules.
    NotAdmitted(ImportRejection),
    /// The address is owned here already.
    AlreadyOwned,
    /// The address is not owned here.
    NotOwned,
    /// No action of this number waits for approval.
    NotAwaited,
    /// An orderly stop is under way.
    Stopping,
    /// The address is owned here by order or configuration, but another node's claim wins.
    NotOwner,
    /// The successor is this router itself.
    ToItself,
    /// The successor stands on our LAN: which of us acts there, the election decides.
    SameLan,
    /// The fabric has no such node.
    UnknownNode,
    /// The successor may not own the address; the reason is that of the import rules.
    SuccessorNotAdmitted(ImportRejection),
    /// The successor is not heard of, or cannot be reached.
    SuccessorAbsent,
    /// The successor is to be emptied itself.
    SuccessorDrained,
    /// The address is not on offer.
    NotOffered,
    /// This router captures in no cloud.
    NoCloud,
    /// The mode forbids changes at the provider.
    ChangesNothing,
    /// No action of this number was done lately.
    NotDone,
    /// What the action did is in use.
    ForwardingNeeded,
    /// What the action did cannot be undone.
    NotUndoable,
    /// This router has no neighbors of other ASes.
    NoForeignNeighbors,
    /// What BGP says to an order about a neighbor.
    Neighbor(OrderRefusal),
}

impl Router {
    /// Which node owns `address`, by the best path to it.
    #[must_use]
    pub fn owner_of(&self, address: Ipv4Addr) -> Option<NodeId> {
        self.owners
            .holding(address)
            .map(|holding| holding.owner.node)
    }

    /// State of this router's own claim on `address`; `None` while it claims nothing.
    #[must_use]
    pub fn claim_on(&self, address: Ipv4Addr) -> Option<ClaimState> {
        self.origination.claim_on(address).map(|claim| claim.state)
    }

    /// All prefixes of which a path is known, markers included.
    #[must_use]
    pub fn rib_prefixes(&self) -> Vec<Ipv4Net> {
        self.speaker.prefixes()
    }

    /// Tells whether a command would be accepted now; the control socket answers with this before it hands it in.
    ///
    /// # Errors
    /// Why not.
    pub fn check_command(&self, command: &Command) -> Result<(), CommandRefusal> {
        if self.stopping {
            return Err(CommandRefusal::Stopping);
        }
        match command {
            Command::Announce(address) => {
                let admitted = self
                    .speaker
                    .policy()
                    .enrollment()
                    .admit(self.config.local.node, *address);
                admitted.map_err(CommandRefusal::NotAdmitted)?;
                let owns = self.told_to_own().contains(address);
                let is_firm = !self.is_given_away(*address) && !self.is_inherited(*address);
                if owns && is_firm {
                    return Err(CommandRefusal::AlreadyOwned);
                }
                Ok(())
            }
            Command::Withdraw(address) if !self.told_to_own().contains(address) => {
                Err(CommandRefusal::NotOwned)
            }
            Command::Handover { address, to } => self.check_handover(*address, *to),
            Command::CancelHandover(address) if !self.state.handovers.contains_key(address) => {
                Err(CommandRefusal::NotOffered)
            }
            Command::Approve(id) if !self.awaits_approval(*id) => Err(CommandRefusal::NotAwaited),
            Command::Release { address, .. } => self.check_release(*address),
            Command::Undo(id) => self.check_undo(*id),
            Command::Neighbor(node, order) => {
                let verdict = self.speaker.check_order(peer_of(*node), *order);
                verdict.map_err(CommandRefusal::Neighbor)
            }
            Command::GracefulShutdown(true) if self.config.local.foreign.is_empty() => {
                Err(CommandRefusal::NoForeignNeighbors)
            }
            Command::Withdraw(_)
            | Command::Approve(_)
            | Command::Drain(_)
            | Command::GracefulShutdown(_)
            | Command::CancelHandover(_)
            | Command::Shutdown => Ok(()),
        }
    }

    fn check_handover(&self, address: Ipv4Addr, to: NodeId) -> Result<(), CommandRefusal> {
        if !self.config.fabric.nodes.contains_key(&to) {
            return Err(CommandRefusal::UnknownNode);
        }
        if to == self.config.local.node {
            return Err(CommandRefusal::ToItself);
        }
        if !self.may_offer(address) {
            return Err(CommandRefusal::NotOwned);
        }
        if self.owner_of(address) != Some(self.config.local.node) {
            return Err(CommandRefusal::NotOwner);
        }
        if self.config.shares_lan_with(to) {
            return Err(CommandRefusal::SameLan);
        }
        let enrollment = self.speaker.policy().enrollment();
        let admitted = enrollment.admit(to, address);
        admitted.map_err(CommandRefusal::SuccessorNotAdmitted)?;
        match self.presence(to) {
            Presence::Present => Ok(()),
            Presence::Drained => Err(CommandRefusal::SuccessorDrained),
            Presence::Absent => Err(CommandRefusal::SuccessorAbsent),
        }
    }

    /// Carries an order out, or tells why not.
    pub(crate) fn on_command(&mut self, command: &Command, now: Instant) {
        let verdict = self.check_command(command);
        self.forwarding_stale = true;
        match (command, verdict) {
            (Command::Announce(address), Ok(())) => {
                self.state.announce(&self.config, *address);
                self.lan_orders.on_order(*address);
            }
            (Command::Withdraw(address), Ok(())) => self.state.withdraw(&self.config, *address),
            (Command::Drain(on), Ok(())) => self.set_drained(*on, now),
            (Command::GracefulShutdown(on), Ok(())) => self.set_graceful_shutdown(*on, now),
            (Command::Neighbor(node, order), Ok(())) => self.order_neighbor(*node, *order, now),
            (Command::Handover { address, to }, Ok(())) => self.offer(*address, *to, now),
            (Command::CancelHandover(address), Ok(())) => self.take_back(*address, now),
            (
                Command::Announce(address)
                | Command::Withdraw(address)
                | Command::Handover { address, .. }
                | Command::CancelHandover(address),
                Err(refusal),
            ) => {
                let reason = refusal.name().to_owned();
                self.events.push(
                    Event::CommandRefused {
                        address: *address,
                        reason,
                    },
                    now,
                );
            }
            (Command::Approve(id), Ok(())) => self.approve_action(*id),
            (Command::Release { address, hold }, Ok(())) => self.release(*address, *hold, now),
            (Command::Undo(id), Ok(())) => self.undo(*id, now),
            (Command::Shutdown, Ok(())) => {
                self.stopping = true;
                self.events.push(Event::Stopping, now);
                // Withdrawals first, then the end of the sessions.
                self.originate(now);
                self.write_out();
                let why = self.farewell();
                self.speaker.shutdown(&why, now);
            }
            (
                Command::Shutdown
                | Command::Drain(_)
                | Command::GracefulShutdown(_)
                | Command::Neighbor(..)
                | Command::Approve(_)
                | Command::Release { .. }
                | Command::Undo(_),
                Err(_),
            ) => {}
        }
    }
}

impl CommandRefusal {
    /// Returns the short name used in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAdmitted(rejection) => rejection.name(),
            Self::AlreadyOwned => "already-owned",
            Self::NotOwned => "not-owned",
            Self::NotAwaited => "not-awaited",
            Self::Stopping => "stopping",
            Self::NotOwner => "not-owner",
            Self::ToItself => "to-itself",
            Self::SameLan => "same-lan",
            Self::UnknownNode => "unknown-node",
            Self::SuccessorNotAdmitted(rejection) => rejection.name(),
            Self::SuccessorAbsent => "successor-absent",
            Self::SuccessorDrained => "successor-drained",
            Self::NotOffered => "not-offered",
            Self::NoCloud => "no-cloud",
            Self::ChangesNothing => "changes-nothing",
            Self::NotDone => "not-done",
            Self::ForwardingNeeded => "forwarding-needed",
            Self::NotUndoable => "not-undoable",
            Self::NoForeignNeighbors => "no-foreign-neighbors",
            Self::Neighbor(refusal) => neighbor_orders::name(refusal),
        }
    }

    /// Returns what the operator can do.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NotAdmitted(ImportRejection::OutsidePool) => {
                "`samctl status` lists the pools; a new one goes into fabric.pools of every router"
            }
            Self::NotAdmitted(ImportRejection::ExcludedAddress) => {
                "take another address, or take this one out of `exclude` on every router"
            }
            Self::NotAdmitted(ImportRejection::NotPermitted) => {
                "announce it on another node, or extend this node's `may` on every router"
            }
            Self::NotAdmitted(_) => "compare the fabric part of the configuration on all routers",
            Self::AlreadyOwned => {
                "nothing is left to do; `samctl explain ADDRESS` shows who hears of it"
            }
            Self::NotAwaited => {
                "`samctl actions` lists what waits; an action ends when its reason does, and in mode auto none waits"
            }
            Self::NotOwned => "`samctl owners` shows who owns it: withdraw it there",
            Self::Stopping => "start the router again first",
            Self::NotOwner => "`samctl owners` shows who owns it: hand it over there",
            Self::ToItself => "name another node",
            Self::SameLan => "`samctl drain on` lets the other router of the LAN take over",
            Self::UnknownNode => "`samctl tunnels` lists the nodes",
            Self::SuccessorNotAdmitted(_) => {
                "name another node, or extend that node's `may` on every router"
            }
            Self::SuccessorAbsent => "`samctl test NODE` shows what is wrong on the way to it",
            Self::SuccessorDrained => "name another node, or `samctl drain off` there",
            Self::NotOffered => "`samctl handover` lists what is on offer",
            Self::NoCloud => "give it to a router whose `self.capture.type` is a cloud",
            Self::ChangesNothing => {
                "set self.capture.mode to approve or auto first, or do it at the provider"
            }
            Self::NotDone => "`samctl actions` lists what was done lately",
            Self::ForwardingNeeded => "`samctl release --all` puts the interface back as it was",
            Self::NotUndoable => "`samctl release ADDRESS` gives an address back that is held",
            Self::NoForeignNeighbors => "`samctl drain on` has the other nodes take over",
            Self::Neighbor(refusal) => neighbor_orders::remedy(refusal),
        }
    }
}

impl fmt::Display for CommandRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAdmitted(ImportRejection::OutsidePool) => "the address lies in no pool",
            Self::NotAdmitted(ImportRejection::ExcludedAddress) => {
                "the address is excluded from its pool: it never moves"
            }
            Self::NotAdmitted(ImportRejection::NotPermitted) => "this node may not own the address",
            Self::NotAdmitted(rejection) => rejection.name(),
            Self::AlreadyOwned => "this router owns the address already",
            Self::NotAwaited => "no action of this number waits for approval",
            Self::NotOwned => "this router does not own the address",
            Self::Stopping => "the router is stopping",
            Self::NotOwner => "another node owns the address, whatever this router is told",
            Self::ToItself => "the address is at this node already",
            Self::SameLan => "that node stands on the same LAN",
            Self::UnknownNode => "the fabric has no such node",
            Self::SuccessorNotAdmitted(_) => "that node may not own the address",
            Self::SuccessorAbsent => "that node is not heard of, or cannot be reached",
            Self::SuccessorDrained => "that node is drained: it takes nothing over",
            Self::NotOffered => "the address is not on offer to anybody",
            Self::NoCloud => "this router captures in no cloud",
            Self::ChangesNothing => "this router may not change anything at the provider",
            Self::NotDone => "no action of this number was done lately",
            Self::ForwardingNeeded => "captured addresses need that the interface forwards",
            Self::NotUndoable => "what this action did cannot be undone",
            Self::NoForeignNeighbors => "this router has no neighbors of other ASes to ask",
            Self::Neighbor(refusal) => neighbor_orders::sentence(*refusal),
        })
    }
}

impl std::error::Error for CommandRefusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_sentences_with_a_remedy() {
        for refusal in [
            CommandRefusal::NotAdmitted(ImportRejection::OutsidePool),
            CommandRefusal::NotAdmitted(ImportRejection::ExcludedAddress),
            CommandRefusal::NotAdmitted(ImportRejection::NotPermitted),
            CommandRefusal::AlreadyOwned,
            CommandRefusal::NotOwned,
            CommandRefusal::NotAwaited,
            CommandRefusal::Stopping,
            CommandRefusal::NotOwner,
            CommandRefusal::ToItself,
            CommandRefusal::SameLan,
            CommandRefusal::UnknownNode,
            CommandRefusal::SuccessorNotAdmitted(ImportRejection::NotPermitted),
            CommandRefusal::SuccessorAbsent,
            CommandRefusal::SuccessorDrained,
            CommandRefusal::NotOffered,
            CommandRefusal::NoCloud,
            CommandRefusal::ChangesNothing,
            CommandRefusal::NotDone,
            CommandRefusal::ForwardingNeeded,
            CommandRefusal::NotUndoable,
            CommandRefusal::NoForeignNeighbors,
            CommandRefusal::Neighbor(OrderRefusal::NoPeer),
            CommandRefusal::Neighbor(OrderRefusal::NotUp),
            CommandRefusal::Neighbor(OrderRefusal::NoRouteRefresh),
            CommandRefusal::Neighbor(OrderRefusal::OfRange),
            CommandRefusal::Neighbor(OrderRefusal::Disabled),
            CommandRefusal::Neighbor(OrderRefusal::NotDisabled),
        ] {
            let sentence = refusal.to_string();
            assert!(sentence.contains(' '), "{sentence}");
            assert_ne!(sentence, refusal.name());
            assert!(refusal.remedy().contains(' '), "{sentence}");
        }
    }
}
