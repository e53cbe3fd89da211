//! Counters of one thread of the packet path, a worker or the handshakes: written by it alone, read by anybody.
//!
//! Plain relaxed atomics: a store on the worker costs no more than an ordinary one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::drop_reason::DropReason;

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident = $name:literal : $text:literal,)*) => {
        /// Counters of one thread.
        #[derive(Debug)]
        pub struct Stats {
            $(#[doc = $text] pub $field: AtomicU64,)*
            drops: [AtomicU64; DropReason::COUNT],
        }

        impl Default for Stats {
            fn default() -> Self {
                Self { $($field: AtomicU64::new(0),)* drops: [const { AtomicU64::new(0) }; DropReason::COUNT] }
            }
        }

        impl Stats {
            /// Lists every counter that is no drop: name, explanation, value.
            pub fn counters(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$(($name, $text, self.$field.load(Relaxed)),)*].into_iter()
            }
        }
    };
}

counters! {
    lan_rx_units = "lan-rx-units": "Frames and superframes received from LAN ports",
    lan_rx_bytes = "lan-rx-bytes": "Bytes received from LAN ports",
    lan_tx_units = "lan-tx-units": "Frames and superframes sent to LAN ports",
    lan_tx_bytes = "lan-tx-bytes": "Bytes sent to LAN ports",
    tun_rx_units = "tun-rx-units": "Packets and superpackets received from the host",
    tun_tx_units = "tun-tx-units": "Packets and superpackets delivered to the host",
    tunnel_rx_packets = "tunnel-rx-packets": "Inner packets received from tunnels",
    tunnel_rx_bytes = "tunnel-rx-bytes": "Inner bytes received from tunnels",
    tunnel_tx_packets = "tunnel-tx-packets": "Inner packets sent into tunnels",
    tunnel_tx_bytes = "tunnel-tx-bytes": "Inner bytes sent into tunnels",
    wg_control_received = "wg-control-received": "WireGuard handshakes, cookies and keepalives received",
    trains_received = "trains-received": "Batches of outer datagrams received in one operation",
    trains_sent = "trains-sent": "Batches of outer datagrams sent in one operation",
    routing_decisions = "routing-decisions": "Routing decisions: one for a superpacket, and for packets of a flow that come shortly after each other",
    arp_requests_received = "arp-requests-received": "ARP requests seen on LAN ports",
    arp_replies_received = "arp-replies-received": "ARP replies seen on LAN ports",
    arp_replies_sent = "arp-replies-sent": "Proxy ARP replies sent",
    virtual_echoes_answered = "virtual-echoes-answered": "Pings to the virtual address answered",
    arp_requests_sent = "arp-requests-sent": "ARP requests sent to resolve neighbors",
    arp_announcements_sent = "arp-announcements-sent": "Gratuitous ARP frames sent",
    arp_announcements_skipped = "arp-announcements-skipped": "Addresses not announced because too many wait for it",
    arp_withheld = "arp-withheld": "ARP requests deliberately not answered",
    questions_unawaited = "questions-unawaited": "Questions to a LAN whose answers are not waited for: too many at once",
    hosts_untold = "hosts-untold": "Hosts heard on a LAN of which control was not told: too many at once",
    icmp_errors_sent = "icmp-errors-sent": "ICMP errors originated",
    mss_clamped = "mss-clamped": "TCP SYN segments whose MSS was lowered",
    fragments_made = "fragments-made": "IPv4 fragments made before encapsulation",
    packets_forced = "packets-forced": "Packets fragmented or cut smaller although their sender forbade it (forceFragmentIPv4)",
    segments_merged = "segments-merged": "Received tunnel packets merged into superpackets",
    superpackets_refused = "superpackets-refused": "Superpackets and unfinished checksums that the kernel refused, done in software",
    path_errors = "path-errors": "ICMP errors and refusals of the kernel about packets too long for the underlay",
    path_undelivered = "path-undelivered": "ICMP errors of the underlay about tunnel packets that were not delivered: unreachable, prohibited, TTL exceeded and others",
    path_errors_foreign = "path-errors-foreign": "Errors of either kind about packets that were not sent to a tunnel's far end; ignored",
    path_probes_sent = "path-probes-sent": "Echo requests sent to find the size of a tunnel's path",
    path_probes_answered = "path-probes-answered": "Answers to them",
    fabric_questions_sent = "fabric-questions-sent": "Questions to other routers whether an address lives with them",
    fabric_questions_received = "fabric-questions-received": "Such questions of other routers",
    notices_lost = "notices-lost": "Facts for the control plane that found their queue full",
    handshakes_completed = "handshakes-completed": "WireGuard handshakes completed",
}

impl Stats {
    /// Counts a dropped packet.
    pub fn drop(&self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// Counts packets that were dropped for one reason.
    pub fn drop_many(&self, reason: DropReason, packets: u64) {
        self.add(&self.drops[reason.index()], packets);
    }

    /// Adds to a counter; only the owning worker writes.
    pub fn add(&self, counter: &AtomicU64, count: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Returns how many packets were dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()].load(Relaxed)
    }

    /// Lists all drop counters.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.dropped(reason)))
    }
}
