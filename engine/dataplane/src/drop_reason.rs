//! Every reason to drop a packet: one table makes the enum, the counter index, the name and the explanation.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal : $text:literal,)*) => {
        /// Why a packet was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $variant,)* }

        impl DropReason {
            /// All reasons, in counter order.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];
            /// Number of reasons.
            pub const COUNT: usize = Self::ALL.len();

            /// Returns the short name used in counters, events and `samctl explain`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns one sentence for people.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the position in [`Self::ALL`].
            #[must_use]
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    PortUnknown = "port-unknown": "The port is not part of the forwarding state",
    FrameTooShort = "frame-too-short": "The Ethernet frame ends before its header does",
    EtherTypeUnknown = "ether-type-unknown": "The frame carries neither IPv4 nor ARP",
    FrameNotForUs = "frame-not-for-us": "The destination MAC address is not this router's",
    FrameLooped = "frame-looped": "The source MAC address is this router's own: a loop in the LAN",
    ArpMalformed = "arp-malformed": "The ARP packet is not well-formed Ethernet/IPv4 ARP",
    IpMalformed = "ip-malformed": "The IPv4 header is broken: version, length or options do not fit",
    IpChecksum = "ip-checksum": "The IPv4 header checksum is wrong",
    NotIpv4 = "not-ipv4": "Not an IPv4 packet; only IPv4 is forwarded",
    L4Malformed = "l4-malformed": "The TCP, UDP or ICMP header does not fit into the packet",
    OffloadMalformed = "offload-malformed": "Segmentation or checksum metadata does not fit the packet",
    Multicast = "multicast": "Destination is multicast, broadcast or unspecified; such packets are never forwarded",
    SourceInvalid = "source-invalid": "Source is multicast, broadcast, loopback or unspecified",
    SourceNotAllowed = "source-not-allowed": "The RIB says that this source address lives elsewhere (anti-spoof)",
    TtlExceeded = "ttl-exceeded": "The TTL reached zero in this router",
    EcnCeNotEct = "ecn-ce-not-ect": "The underlay marked congestion on a packet whose sender does not know ECN",
    NoRoute = "no-route": "No route to the destination",
    Blackhole = "blackhole": "The route says: drop in silence",
    PoolWithheld = "pool-withheld": "The address is inside the pool, but no site owns it",
    ForwardedByKernel = "forwarded-by-kernel": "The host's kernel forwarded a LAN packet into the TUN (ip_forward is on)",
    SameInterface = "same-interface": "The packet would leave through the tunnel by which it came",
    TooBig = "too-big": "Larger than the path MTU with DF set; the sender got ICMP fragmentation needed",
    FragmentFailed = "fragment-failed": "The packet cannot be fragmented (options or size)",
    NeighborQueueFull = "neighbor-queue-full": "Too many packets wait for this neighbor's MAC address",
    NeighborFailed = "neighbor-failed": "The neighbor does not answer ARP",
    NeighborTableFull = "neighbor-table-full": "The neighbor table is full",
    TunnelNoSession = "tunnel-no-session": "No WireGuard session yet and the staging queue is full",
    TunnelNoEndpoint = "tunnel-no-endpoint": "The peer's endpoint is not known",
    TunnelDown = "tunnel-down": "The tunnel is not configured",
    WgUnknownType = "wg-unknown-type": "The UDP datagram is no WireGuard message",
    WgUnknownPeer = "wg-unknown-peer": "The WireGuard handshake comes from a key that no node has",
    WgBadMac = "wg-bad-mac": "The WireGuard handshake has a wrong mac1 or mac2",
    WgHandshakeRejected = "wg-handshake-rejected": "The WireGuard handshake is invalid: wrong keys, preshared key or timestamp",
    WgUnknownIndex = "wg-unknown-index": "The WireGuard message names a session that does not exist",
    WgDecryptFailed = "wg-decrypt-failed": "The WireGuard message does not decrypt",
    WgReplay = "wg-replay": "The WireGuard message was received before",
    WgUnderLoad = "wg-under-load": "Handshake rate limit reached; a cookie reply was sent",
    WgQueueFull = "wg-queue-full": "Too many WireGuard handshake messages wait for the thread that answers them",
    WgNotIp = "wg-not-ip": "The decrypted payload is no IP packet",
    EncapUnknownSource = "encap-unknown-source": "A tunnel packet without encryption comes from an address that is no node's endpoint",
    EncapFromInside = "encap-from-inside": "A tunnel packet without encryption came in by the LAN or the TUN, where the way to its source does not lead",
    EncapMalformed = "encap-malformed": "The header of the tunnel packet is broken or says what is not understood",
    EncapWrongKey = "encap-wrong-key": "The tunnel packet has another GRE key or VXLAN network than configured",
    EncapChecksum = "encap-checksum": "The GRE checksum of the tunnel packet is wrong, or that of UDP inside of WireGuard",
    EncapMissing = "encap-missing": "The packet came by WireGuard without the GRE or GUE that has to be around it",
    BufferPoolEmpty = "buffer-pool-empty": "All packet buffers are in use",
    TxQueueFull = "tx-queue-full": "The send queue is full",
    SendFailed = "send-failed": "The kernel refused to send the packet",
    SendBusy = "send-busy": "The kernel's send buffer is full",
    ReceiveTruncated = "receive-truncated": "The kernel truncated a received packet",
    ReceiveOverflow = "receive-overflow": "The kernel's receive buffer was full: packets came faster than they were read",
    IcmpRateLimited = "icmp-rate-limited": "An ICMP error was due but its rate limit was reached",
    DuplicateDelivery = "duplicate-delivery": "Datagram for another address on this host, seen by the packet socket too",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_index_matches() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert_eq!(
                DropReason::ALL
                    .iter()
                    .filter(|r| r.name() == reason.name())
                    .count(),
                1
            );
        }
    }
}
