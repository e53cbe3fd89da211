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

use super::carriers::{self, CarrierSockets, have_udp};
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
    /// Tunnels without encryption whose sockets stay; all others are closed.
    pub(super) kept: BTreeSet<Carrier>,
    /// Whether the lanes stay, by which those over UDP send.
    pub(super) keeps_lanes: bool,
    /// Sockets that are new, to be served once the others are closed.
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
        let none = BTreeSet::new();
        let carriers = present.map_or(&none, |present| &present.carriers);
        let mut workers: Vec<SocketChange> =
            (0..count).map(|_| self.keeping_of(carriers)).collect();
        // Before the carriers, whose senders take any port that is free, this one too.
        let same = present.is_some_and(|present| present.port == self.port);
        let senders = if same {
            None
        } else {
            Some(open_wireguard(self.port, &mut workers)?)
        };
        let opened = carriers::open(&self.carriers, carriers, count)
            .context("cannot open a socket of fabric.transport")?;
        for (worker, opened) in workers.iter_mut().zip(opened) {
            worker.opened = opened;
        }
        Ok(OpenedSockets { senders, workers })
    }

    /// What stays of the sockets that are `present`; nothing is opened.
    fn keeping_of(&self, present: &BTreeSet<Carrier>) -> SocketChange {
        SocketChange {
            kept: present & &self.carriers,
            keeps_lanes: have_udp(present) && have_udp(&self.carriers),
            ..SocketChange::default()
        }
    }
}

impl SocketChange {
    /// Returns what ends once the change is done.
    pub(super) fn acknowledged(&mut self) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.done.push(done);
        answer
    }

    /// Adds what changes after this, which nobody has carried out yet: what was opened for it and does not stay is closed at
    /// once, and what was to be closed is closed, though it is opened again.
    pub(super) fn then(&mut self, later: Self) {
        if later.wireguard.is_some() {
            self.wireguard = later.wireguard;
        }
        self.opened.retain(&later.kept, later.keeps_lanes);
        self.opened.extend(later.opened);
        self.kept.retain(|carrier| later.kept.contains(carrier));
        self.keeps_lanes &= later.keeps_lanes;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const FIRST: Carrier = Carrier::Udp { port: 6080 };
    const SECOND: Carrier = Carrier::Udp { port: 6081 };
    const RAW: Carrier = Carrier::Ip { protocol: 47 };

    #[test]
    fn changes_that_wait_are_as_good_as_one_after_the_other() {
        // What the worker serves, and two changes.
        let cases: [[&[Carrier]; 3]; 7] = [
            [&[], &[FIRST], &[]],
            [&[], &[FIRST], &[SECOND]],
            [&[FIRST], &[SECOND], &[SECOND, RAW]],
            [&[FIRST], &[FIRST, SECOND], &[FIRST]],
            [&[FIRST], &[RAW], &[FIRST]],
            [&[RAW], &[], &[RAW]],
            [&[RAW, FIRST], &[FIRST], &[RAW]],
        ];
        for case in cases {
            let [present, former, later] = case.map(|carriers| carriers.iter().copied().collect());
            let mut served = Served::default();
            served.carry_out(change(&BTreeSet::new(), &present));
            let mut one_by_one = served.clone();
            one_by_one.carry_out(change(&present, &former));
            one_by_one.carry_out(change(&former, &later));

            let mut both = change(&present, &former);
            both.then(change(&former, &later));
            served.carry_out(both);

            assert_eq!(served, one_by_one, "{case:?}");
            let receivers: BTreeSet<Carrier> = served.receivers.keys().copied().collect();
            assert_eq!(receivers, later, "{case:?}");
            let twice = served.receivers.values().chain(served.senders.values());
            assert!(twice.clone().all(|count| *count == 1), "{served:?}");
        }
    }

    /// Makes a change as [`WantedSockets::open`] does, with other sockets, for those want no permission.
    fn change(present: &BTreeSet<Carrier>, wanted: &BTreeSet<Carrier>) -> SocketChange {
        let settings = WantedSockets {
            port: 51_820,
            carriers: wanted.clone(),
        };
        let mut change = settings.keeping_of(present);
        let socket = || {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            UdpSocket::bind(address).expect("loopback has ports")
        };
        for carrier in wanted.difference(present) {
            change.opened.receivers.push((*carrier, socket()));
            if let Carrier::Ip { protocol } = carrier {
                change.opened.raw[0].push((*protocol, socket()));
            }
        }
        if have_udp(wanted) && !have_udp(present) {
            change.opened.lanes[0].push(socket());
        }
        change
    }

    /// How many sockets of each kind a worker serves.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    struct Served {
        receivers: BTreeMap<Carrier, usize>,
        senders: BTreeMap<u8, usize>,
        lanes: usize,
    }

    impl Served {
        /// As the worker does: first closes, then opens.
        fn carry_out(&mut self, change: SocketChange) {
            let kept = change.kept;
            self.receivers.retain(|carrier, _| kept.contains(carrier));
            self.senders
                .retain(|&protocol, _| kept.contains(&Carrier::Ip { protocol }));
            self.lanes *= usize::from(change.keeps_lanes);
            for (carrier, _) in change.opened.receivers {
                *self.receivers.entry(carrier).or_default() += 1;
            }
            for (protocol, _) in change.opened.raw.into_iter().flatten() {
                *self.senders.entry(protocol).or_default() += 1;
            }
            self.lanes += change.opened.lanes.into_iter().flatten().count();
        }
    }
}
