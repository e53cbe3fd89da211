//! Hosts of the LAN as the control plane learns of them: who is heard, and who is asked for.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use super::Forwarder;
use crate::drop_reason::DropReason;
use crate::fib::NextHop;
use crate::ids::PortId;
use crate::ingress::Ingress;
use crate::neighbor::NeighborKey;
use crate::notice::{Mac, Notice};
use crate::observer::Observation;
use crate::outlet::Io;
use crate::snapshot::LanPort;

/// A question to a LAN: who has an address?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanQuestion {
    /// The LAN port.
    pub port: PortId,
    /// The address.
    pub address: Ipv4Addr,
    /// Whom to ask; everybody without.
    pub to: Option<Mac>,
}

impl Forwarder {
    /// Asks a LAN who has an address, if this router may act on it; the answers become notices.
    pub fn ask_lan(&mut self, question: &LanQuestion, io: &mut Io<'_>, now: Instant) {
        let LanQuestion { port, address, to } = *question;
        let open = self.snapshot.lan(port).is_some_and(|lan| lan.gate_open);
        if open {
            self.observer.ask(port, address, now);
            self.ask(NeighborKey { port, address }, to, io, now);
        }
    }

    /// Tells the control plane that a host was heard, unless it knows.
    pub(super) fn host_seen(&mut self, lan: &LanPort, address: Ipv4Addr, mac: Mac, now: Instant) {
        let is_host = lan.discovers
            && lan.gate_open
            && mac != lan.mac
            && lan.address != Some(address)
            && lan.pools.iter().any(|pool| pool.contains(&address));
        if !is_host {
            return;
        }
        let port = lan.id;
        let resident = self.snapshot.fib.lookup(address) == Some(NextHop::Lan(port));
        match self.observer.observe(port, (address, mac), resident, now) {
            Observation::News => self.notify(Notice::HostSeen { port, address, mac }),
            Observation::Known => {}
            Observation::Lost => self.stats.add(&self.stats.hosts_untold, 1),
        }
    }

    /// Looks at the source of a packet that was refused for it: a host that is not known yet, or that has moved here.
    pub(super) fn strange_source(
        &mut self,
        ingress: Ingress,
        reason: DropReason,
        source: Ipv4Addr,
        now: Instant,
    ) {
        let (Ingress::Lan(port), DropReason::SourceNotAllowed) = (ingress, reason) else {
            return;
        };
        let lives = self.snapshot.fib.lookup(source);
        if !matches!(lives, Some(NextHop::Withhold | NextHop::Tunnel(_))) {
            return;
        }
        let snapshot = Arc::clone(&self.snapshot);
        if let Some(lan) = snapshot.lan(port) {
            self.host_seen(lan, source, self.sender, now);
        }
    }
}
