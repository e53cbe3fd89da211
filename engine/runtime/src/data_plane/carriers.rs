//! The sockets of tunnels without encryption, opened for all workers at once.
//!
//! ```text
//!   UDP carrier:  each worker one member of the port's group, to receive, the first also its control socket;
//!                 lanes, to send from several ports
//!   IP carrier:   the first worker two sockets to receive, because the kernel gives each raw socket a copy;
//!                 each worker a deaf one to send
//! ```

use std::collections::BTreeSet;

use sam_dataplane::encap::{Carrier, LANES};
use sam_net::{NetError, UdpGroup, UdpSocket};
use tracing::debug;

/// The sockets of one worker.
#[derive(Debug, Default)]
pub(super) struct CarrierSockets {
    /// To receive.
    pub(super) receivers: Vec<(Carrier, UdpSocket)>,
    /// To send from, per address family (IPv4, IPv6); all lanes share what there is.
    pub(super) lanes: [Vec<UdpSocket>; 2],
    /// To send raw packets of a protocol.
    pub(super) raw: [Vec<(u8, UdpSocket)>; 2],
}

impl CarrierSockets {
    /// Closes the sockets of all carriers but these, and the lanes if they are not wanted.
    pub(super) fn retain(&mut self, kept: &BTreeSet<Carrier>, keeps_lanes: bool) {
        self.receivers.retain(|(carrier, _)| kept.contains(carrier));
        for raw in &mut self.raw {
            raw.retain(|&(protocol, _)| kept.contains(&Carrier::Ip { protocol }));
        }
        if !keeps_lanes {
            self.lanes = Default::default();
        }
    }

    /// Adds sockets that were opened later.
    pub(super) fn extend(&mut self, other: Self) {
        self.receivers.extend(other.receivers);
        for (all, more) in self.lanes.iter_mut().zip(other.lanes) {
            all.extend(more);
        }
        for (all, more) in self.raw.iter_mut().zip(other.raw) {
            all.extend(more);
        }
    }
}

/// Opens the sockets of `count` workers that are wanted and not there yet: IPv4 always, IPv6 where the host has it.
///
/// # Errors
/// When another program has the port, or without CAP_NET_RAW for raw sockets. Nothing is open then that was not before.
pub(super) fn open(
    wanted: &BTreeSet<Carrier>,
    present: &BTreeSet<Carrier>,
    count: usize,
) -> Result<Vec<CarrierSockets>, NetError> {
    let mut workers: Vec<CarrierSockets> = (0..count).map(|_| CarrierSockets::default()).collect();
    for &carrier in wanted.difference(present) {
        for ipv6 in [false, true] {
            optional(ipv6, open_carrier(carrier, ipv6, &mut workers))?;
        }
    }
    if have_udp(wanted) && !have_udp(present) {
        for ipv6 in [false, true] {
            optional(ipv6, open_lanes(ipv6, &mut workers))?;
        }
    }
    Ok(workers)
}

/// Tells whether any carrier needs lanes.
pub(super) fn have_udp(carriers: &BTreeSet<Carrier>) -> bool {
    let mut carriers = carriers.iter();
    carriers.any(|carrier| matches!(carrier, Carrier::Udp { .. }))
}

fn open_carrier(
    carrier: Carrier,
    ipv6: bool,
    workers: &mut [CarrierSockets],
) -> Result<(), NetError> {
    match carrier {
        Carrier::Udp { port } => {
            let UdpGroup { members, control } =
                UdpGroup::bind(UdpSocket::any(ipv6, port), workers.len())?;
            for (worker, socket) in workers.iter_mut().zip(members) {
                worker.receivers.push((carrier, socket));
            }
            if let Some(first) = workers.first_mut() {
                first.receivers.push((carrier, control));
            }
        }
        Carrier::Ip { protocol } => {
            if let Some(first) = workers.first_mut() {
                let UdpGroup { members, control } = UdpGroup::open_raw(protocol, ipv6)?;
                let sockets = members.into_iter().chain([control]);
                let receivers = sockets.map(|socket| (carrier, socket));
                first.receivers.extend(receivers);
            }
            for worker in workers {
                let sender = UdpSocket::open_raw(protocol, ipv6)?;
                sender.deafen()?;
                worker.raw[usize::from(ipv6)].push((protocol, sender));
            }
        }
    }
    Ok(())
}

fn open_lanes(ipv6: bool, workers: &mut [CarrierSockets]) -> Result<(), NetError> {
    // All workers together have about as many ports as there are lanes, for descriptors are scarce.
    let each = (usize::from(LANES) / workers.len().max(1)).max(1);
    for worker in workers {
        for _ in 0..each {
            worker.lanes[usize::from(ipv6)].push(UdpSocket::bind_sender(ipv6)?);
        }
    }
    Ok(())
}

/// Forgives a host without IPv6.
fn optional(ipv6: bool, opened: Result<(), NetError>) -> Result<(), NetError> {
    match opened {
        Err(error) if ipv6 && error.lacks_address_family() => {
            debug!(%error, "no IPv6 underlay");
            Ok(())
        }
        opened => opened,
    }
}
