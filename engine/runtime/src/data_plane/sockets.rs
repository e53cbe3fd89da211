//! The sockets of the underlay: which a configuration wants, and what changes when another one wants others. All that are new
//! are opened before anything is closed; those that stay are left alone, so their tunnels lose nothing.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use sam_dataplane::Carrier;
use sam_net::{UdpGroup, UdpSocket};
use sam_router::Config;
use tokio::sync::oneshot;
use tracing::debug;

use super::carriers::{self, CarrierSockets};
use crate::StartError;

/// Which sockets there are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedSockets {
    /// UDP port of WireGuard.
    port: u16,
    /// Of tunnels without encryption.
    carriers: BTreeSet<Carrier>,
}

/// Sockets that nobody serves yet.
#[derive(Debug)]
pub(super) struct OpenedSockets {
    /// By which handshakes are sent, one per address family; `None`: they stay.
    pub(super) senders: Option<Vec<UdpSocket>>,
    /// For each worker.
    pub(super) workers: Vec<SocketChange>,
}

/// What changes in the sockets of one worker.
#[derive(Debug, Default)]
pub(super) struct SocketChange {
    /// Of WireGuard, in place of all former ones; `None`: they stay.
    pub(super) wireguard: Option<WireGuardSockets>,
    /// Serve these tunnels without encryption; close the sockets of all others.
    pub(super) carriers: BTreeSet<Carrier>,
    /// Their sockets that were not there before.
    pub(super) opened: CarrierSockets,
    /// Dropped when it is done.
    done: Vec<oneshot::Sender<()>>,
}

/// A worker's sockets of the WireGuard port, at most one per address family.
#[derive(Debug, Default)]
pub(super) struct WireGuardSockets {
    /// To send and receive.
    pub(super) members: Vec<UdpSocket>,
    /// That control messages come by; one worker has them.
    pub(super) controls: Vec<UdpSocket>,
}

impl WantedSockets {
    /// Takes them out of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            port: config.local.listen_port,
            carriers: config.carriers(),
        }
    }

    /// Opens for `count` workers what is wanted beyond what is `present`.
    ///
    /// # Errors
    /// When one of them cannot be opened; none is open then.
    pub(super) fn open(
        &self,
        present: Option<&Self>,
        count: usize,
    ) -> Result<OpenedSockets, StartError> {
        let change = || SocketChange {
            carriers: self.carriers.clone(),
            ..SocketChange::default()
        };
        let mut workers: Vec<SocketChange> = (0..count).map(|_| change()).collect();
        // Before the carriers, whose senders take any port that is free, this one too.
        let same = present.is_some_and(|present| present.port == self.port);
        let senders = if same {
            None
        } else {
            Some(open_wireguard(self.port, &mut workers)?)
        };
        let none = BTreeSet::new();
        let carriers = present.map_or(&none, |present| &present.carriers);
        let opened = carriers::open(&self.carriers, carriers, count)
            .context("cannot open a socket of fabric.transport")?;
        for (worker, opened) in workers.iter_mut().zip(opened) {
            worker.opened = opened;
        }
        Ok(OpenedSockets { senders, workers })
    }
}

impl SocketChange {
    /// Returns what ends once the change is done.
    pub(super) fn acknowledged(&mut self) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.done.push(done);
        answer
    }

    /// Adds what changes after this.
    pub(super) fn then(&mut self, later: Self) {
        if later.wireguard.is_some() {
            self.wireguard = later.wireguard;
        }
        self.carriers = later.carriers;
        self.opened.extend(later.opened);
        self.done.extend(later.done);
    }
}

/// Opens the sockets of the WireGuard port: IPv4 always, IPv6 where the host has it. Returns those that handshakes are
/// sent by.
fn open_wireguard(port: u16, workers: &mut [SocketChange]) -> Result<Vec<UdpSocket>, StartError> {
    let v4 = UdpGroup::bind(
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        workers.len(),
    )
    .context("another program uses the WireGuard port, or another router runs here")?;
    let mut families = vec![v4];
    match UdpGroup::bind(
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        workers.len(),
    ) {
        Ok(v6) => families.push(v6),
        Err(error) if error.lacks_address_family() => debug!(%error, "no IPv6 underlay"),
        Err(error) => {
            return Err(error).context("another program uses the WireGuard port over IPv6");
        }
    }
    let mut senders = Vec::new();
    for UdpGroup { members, control } in families {
        senders.push(control.try_clone().context("cannot share a UDP socket")?);
        for (worker, member) in workers.iter_mut().zip(members) {
            let sockets = worker.wireguard.get_or_insert_default();
            sockets.members.push(member);
        }
        if let Some(first) = workers.first_mut() {
            let sockets = first.wireguard.get_or_insert_default();
            sockets.controls.push(control);
        }
    }
    Ok(senders)
}
