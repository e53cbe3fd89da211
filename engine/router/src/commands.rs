//! Orders of the operator: which are accepted, and what they change.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_capture::NodeId;

use crate::Router;
use crate::events::Event;
use crate::input::Command;

/// Why an order of the operator is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CommandRefusal {
    /// The node may not own the address; the reason is that of the import rules.
    NotAdmitted(sam_capture::ImportRejection),
    /// The address is owned here already.
    AlreadyOwned,
    /// The address is not owned here.
    NotOwned,
    /// An orderly stop is under way.
    Stopping,
}

impl Router {
    /// Which node owns `address`, by the best path to it.
    #[must_use]
    pub fn owner_of(&self, address: Ipv4Addr) -> Option<NodeId> {
        self.owners
            .holding(address)
            .map(|holding| holding.owner.node)
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
                if self.told_to_own().contains(address) {
                    return Err(CommandRefusal::AlreadyOwned);
                }
                Ok(())
            }
            Command::Withdraw(address) if !self.told_to_own().contains(address) => {
                Err(CommandRefusal::NotOwned)
            }
            Command::Withdraw(_) | Command::Shutdown => Ok(()),
        }
    }

    /// Carries an order out, or tells why not.
    pub(crate) fn on_command(&mut self, command: &Command, now: Instant) {
        let verdict = self.check_command(command);
        self.forwarding_stale = true;
        match (command, verdict) {
            (Command::Announce(address), Ok(())) => self.state.announce(&self.config, *address),
            (Command::Withdraw(address), Ok(())) => self.state.withdraw(&self.config, *address),
            (Command::Announce(address) | Command::Withdraw(address), Err(refusal)) => {
                let reason = refusal.to_string();
                self.events.push(
                    Event::CommandRefused {
                        address: *address,
                        reason,
                    },
                    now,
                );
            }
            (Command::Shutdown, Ok(())) => {
                self.stopping = true;
                self.events.push(Event::Stopping, now);
                // Withdrawals first, then the end of the sessions.
                self.originate(now);
                self.speaker.shutdown(now);
            }
            (Command::Shutdown, Err(_)) => {}
        }
    }
}

impl fmt::Display for CommandRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAdmitted(rejection) => rejection.fmt(f),
            Self::AlreadyOwned => f.write_str("already-owned"),
            Self::NotOwned => f.write_str("not-owned"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

impl std::error::Error for CommandRefusal {}
