//! What control tells a worker, and what it asks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use sam_dataplane::{
    FabricQuestion, LanQuestion, NeighborView, PathProbe, PortId, Snapshot, TunnelId, TunnelTraffic,
};
use sam_net::PacketSocket;
use sam_router::Offloads;
use tokio::sync::oneshot;

use super::listener::Listener;
use super::sockets::SocketChange;

/// What the worker has not read yet.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Forward by this from now on.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// Be silent on the LANs whatever the snapshot says, or no more.
    pub(super) muted: Option<bool>,
    /// Serve these LAN ports, in place of former sockets.
    pub(super) lans: BTreeMap<PortId, LanSockets>,
    /// Change the sockets of the underlay.
    pub(super) sockets: Option<SocketChange>,
    /// Send these probes, one per tunnel and size, the long ones first: whether a long one is lost is told by a shorter
    /// one that left after it.
    pub(super) probes: BTreeMap<(TunnelId, Reverse<u16>), PathProbe>,
    /// Ask a LAN these, one per address; control paces them.
    pub(super) questions: BTreeMap<Ipv4Addr, LanQuestion>,
    /// Ask other routers these.
    pub(super) fabric_questions: BTreeMap<(TunnelId, Ipv4Addr), FabricQuestion>,
    /// Copy packets to the listener until it is gone.
    pub(super) tap: Option<Listener>,
    /// Say how things are; whoever asked before has given up.
    pub(super) report: Option<oneshot::Sender<WorkerReport>>,
    /// End the thread.
    pub(super) stop: bool,
}

impl Letters {
    /// Has a probe sent.
    pub(super) fn add_probe(&mut self, probe: PathProbe) {
        let place = (probe.tunnel, Reverse(probe.size));
        self.probes.insert(place, probe);
    }

    /// Has sockets changed, after what was to be changed before.
    pub(super) fn change_sockets(&mut self, change: SocketChange) {
        match &mut self.sockets {
            Some(former) => former.then(change),
            None => self.sockets = Some(change),
        }
    }
}

/// How things are in the worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerReport {
    /// Offloads in force.
    pub offloads: Offloads,
    /// Whether it receives from the LAN ports.
    pub receives_lan: bool,
    /// Whether it receives from the router's own host.
    pub receives_host: bool,
    /// Neighbors.
    pub neighbors: Vec<NeighborView>,
    /// What went through each tunnel, by number.
    pub tunnels: Vec<TunnelTraffic>,
    /// Free packet buffers.
    pub buffers_free: usize,
    /// Generation of the snapshot in force.
    pub generation: u64,
    /// Notices that found their queue full.
    pub notices_lost: u64,
}

/// The sockets of one worker on one LAN port.
#[derive(Debug)]
pub(crate) struct LanSockets {
    /// Its share of the IPv4 frames, by flow; everything is sent here.
    pub(crate) ipv4: PacketSocket,
    /// Whether it has one: without PACKET_FANOUT one worker has all.
    pub(crate) receives: bool,
    /// Every ARP frame. On a socket of its own no flood of IPv4 can displace it.
    pub(crate) arp: PacketSocket,
}

/// The mailbox of one worker.
pub(super) type Mailbox = crate::mailbox::Mailbox<Letters>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unread_snapshot_is_replaced_by_the_newest() {
        let mailbox = Mailbox::new().expect("descriptor");
        for generation in 1..=10_000 {
            let snapshot = Arc::new(Snapshot {
                generation,
                ..Snapshot::default()
            });
            mailbox.post(|letters| letters.snapshot = Some(snapshot));
        }

        let letters = mailbox.take();

        let generation = letters.snapshot.map(|snapshot| snapshot.generation);
        assert_eq!(generation, Some(10_000));
        assert!(mailbox.take().snapshot.is_none());
    }

    #[test]
    fn the_long_probes_of_a_tunnel_leave_first() {
        let mut letters = Letters::default();
        for size in [1300, 1440, 1280] {
            letters.add_probe(PathProbe {
                tunnel: TunnelId(0),
                to: Ipv4Addr::LOCALHOST,
                size,
                id: 1,
            });
        }
        let sizes: Vec<u16> = letters.probes.values().map(|probe| probe.size).collect();
        assert_eq!(sizes, [1440, 1300, 1280]);
    }
}
