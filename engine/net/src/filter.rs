//! The classic BPF program in front of a LAN port: foreign traffic is dropped before the kernel copies it.
//!
//! Accepted are ARP or IPv4 to the prefixes of interest, whole (a program's result is a length). Dropped are frames
//! of other VLANs (the kernel strips the tag before a packet socket sees it, so they would look like ours) and
//! frames to other hosts' MAC addresses (seen when something else made the interface promiscuous).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::bpf::{Assembler, DROP, End, KEEP, LOAD_HALF, LOAD_WORD, assembled};
use crate::error::NetError;

/// How many prefixes and how many addresses of each list a program can test.
pub const LIMIT: usize = 16;

/// Says which frames a LAN port wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameFilter {
    /// Whether ARP is wanted.
    pub arp: bool,
    /// IPv4 destinations that are wanted: the pools.
    pub prefixes: Vec<Ipv4Net>,
    /// Further destinations that are wanted.
    pub addresses: Vec<Ipv4Addr>,
    /// Destinations within the prefixes that the kernel handles by itself: the router's own LAN addresses, unless
    /// the kernel holds no address there.
    pub left_to_kernel: Vec<Ipv4Addr>,
    /// Whether frames to MAC addresses that are not the interface's are wanted (a VRRP address).
    pub other_macs: bool,
}

/// A checked program, ready for [`crate::PacketSocket::open`].
#[derive(Clone)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
}

impl FrameFilter {
    /// Builds the program.
    ///
    /// # Errors
    /// `InvalidInput` when a list is longer than [`LIMIT`].
    pub fn build(&self) -> Result<Filter, NetError> {
        let lists = [
            self.prefixes.len(),
            self.addresses.len(),
            self.left_to_kernel.len(),
        ];
        if lists.iter().any(|length| *length > LIMIT) {
            return Err(NetError::invalid(
                "build",
                "frame filter",
                "more than 16 entries",
            ));
        }
        let mut code = Assembler::default();
        code.load(LOAD_WORD, ancillary(libc::SKF_AD_PKTTYPE));
        // On older kernels a fanout group sees what this host sends, whatever it was told to ignore.
        code.jump_if_equal(u32::from(libc::PACKET_OUTGOING), DROPPED);
        if !self.other_macs {
            code.jump_if_equal(u32::from(libc::PACKET_OTHERHOST), DROPPED);
        }
        // A priority tag (VLAN 0) is no VLAN.
        code.load(LOAD_WORD, ancillary(libc::SKF_AD_VLAN_TAG));
        code.calculate(libc::BPF_AND, VLAN_ID);
        code.jump_unless_equal(0, DROPPED);
        code.load(LOAD_HALF, ETHERNET_PROTOCOL);
        if self.arp {
            code.jump_if_equal(PROTOCOL_ARP, ACCEPTED);
        }
        code.jump_unless_equal(PROTOCOL_IPV4, DROPPED);
        code.load(LOAD_WORD, IPV4_DESTINATION);
        for address in &self.left_to_kernel {
            code.jump_if_equal(address.to_bits(), DROPPED);
        }
        for address in &self.addresses {
            code.jump_if_equal(address.to_bits(), ACCEPTED);
        }
        code.save();
        for prefix in &self.prefixes {
            code.restore();
            code.calculate(libc::BPF_AND, prefix.netmask().to_bits());
            code.jump_if_equal(prefix.network().to_bits(), ACCEPTED);
        }
        Ok(Filter {
            // What matched nothing is dropped.
            program: code.finish([DROP, KEEP]),
        })
    }
}

impl Filter {
    /// Accepts nothing: for a socket that only sends.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            program: vec![assembled(DROP)],
        }
    }

    /// Accepts only ARP frames of others with this mark at an offset: no other frame wakes who waits for them.
    #[must_use]
    pub fn marked_arp(mark: [u8; 8], offset: u32) -> Self {
        let [first, second] = [0, 4].map(|at| {
            let word = [mark[at], mark[at + 1], mark[at + 2], mark[at + 3]];
            u32::from_be_bytes(word)
        });
        let mut code = Assembler::default();
        code.load(LOAD_WORD, ancillary(libc::SKF_AD_PKTTYPE));
        code.jump_if_equal(u32::from(libc::PACKET_OUTGOING), DROPPED);
        code.load(LOAD_WORD, ancillary(libc::SKF_AD_VLAN_TAG));
        code.calculate(libc::BPF_AND, VLAN_ID);
        code.jump_unless_equal(0, DROPPED);
        code.load(LOAD_HALF, ETHERNET_PROTOCOL);
        code.jump_unless_equal(PROTOCOL_ARP, DROPPED);
        code.load(LOAD_WORD, offset);
        code.jump_unless_equal(first, DROPPED);
        code.load(LOAD_WORD, offset + 4);
        code.jump_if_equal(second, ACCEPTED);
        Self {
            program: code.finish([DROP, KEEP]),
        }
    }

    /// Returns the instructions.
    pub(crate) fn program(&self) -> &[libc::sock_filter] {
        &self.program
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} instructions)", self.program.len())
    }
}

/// Position of a value that the kernel keeps beside the frame.
fn ancillary(field: i32) -> u32 {
    (libc::SKF_AD_OFF + field).cast_unsigned()
}

const DROPPED: End = End::First;
const ACCEPTED: End = End::Second;
const ETHERNET_PROTOCOL: u32 = 12;
const IPV4_DESTINATION: u32 = 30;
const PROTOCOL_ARP: u32 = 0x0806;
const PROTOCOL_IPV4: u32 = 0x0800;
const VLAN_ID: u32 = 0xfff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_arp_and_named_addresses_pass_and_nothing_else() {
        let filter = pool_filter();
        for (frame, passes) in [
            (ipv4("10.77.60.12"), true),
            (ipv4("10.77.60.255"), true),
            (ipv4("10.77.61.12"), false),
            (ipv4("10.77.60.1"), false),
            (ipv4("192.0.2.7"), true),
            (ipv4("192.0.2.8"), false),
            (ipv4("172.16.200.1"), true),
            (ipv4("172.32.0.1"), false),
            (frame_of(0x0806, "10.77.60.1"), true),
            (frame_of(0x86dd, "10.77.60.12"), false),
        ] {
            assert_eq!(passes_filter(&filter, &frame), passes, "{frame:?}");
        }
    }

    #[test]
    fn frames_of_a_vlan_are_dropped_but_a_priority_tag_is_no_vlan() {
        let filter = pool_filter();
        let tagged = |tag| Frame {
            vlan_tag: tag,
            ..ipv4("10.77.60.12")
        };
        assert!(!passes_filter(&filter, &tagged(7)));
        assert!(!passes_filter(&filter, &tagged(0xe007)));
        assert!(passes_filter(&filter, &tagged(0xe000)));
    }

    #[test]
    fn frames_to_other_macs_pass_only_when_asked_for() {
        let other = Frame {
            kind: libc::PACKET_OTHERHOST,
            ..ipv4("10.77.60.12")
        };
        assert!(!passes_filter(&pool_filter(), &other));
        let filter = FrameFilter {
            other_macs: true,
            ..settings()
        }
        .build()
        .unwrap();
        assert!(passes_filter(&filter, &other));
    }

    #[test]
    fn a_frame_cut_short_is_dropped() {
        let mut frame = ipv4("10.77.60.12");
        frame.bytes.truncate(33);
        assert!(!passes_filter(&pool_filter(), &frame));
    }

    #[test]
    fn full_lists_still_jump_to_the_right_end() {
        let nth = |n: u8| Ipv4Addr::new(10, n, 0, 0);
        let full = FrameFilter {
            arp: true,
            prefixes: (0..16).map(|n| Ipv4Net::new_assert(nth(n), 16)).collect(),
            addresses: (100..116).map(nth).collect(),
            left_to_kernel: (0..16).map(|n| Ipv4Addr::new(10, n, 0, 1)).collect(),
            other_macs: false,
        };
        let filter = full.build().unwrap();
        for (address, passes) in [
            ("10.0.0.2", true),
            ("10.15.9.9", true),
            ("10.15.0.1", false),
            ("10.115.0.0", true),
        ] {
            assert_eq!(passes_filter(&filter, &ipv4(address)), passes, "{address}");
        }
        let mut too_long = full;
        too_long.addresses.push(nth(200));
        assert!(too_long.build().is_err());
    }

    #[test]
    fn the_default_route_as_prefix_accepts_every_ipv4_frame() {
        let everything = FrameFilter {
            prefixes: vec![Ipv4Net::default()],
            ..FrameFilter::default()
        };
        assert!(passes_filter(
            &everything.build().unwrap(),
            &ipv4("203.0.113.9")
        ));
    }

    #[test]
    fn arp_passes_only_when_asked_for() {
        let without = FrameFilter {
            arp: false,
            ..settings()
        };
        assert!(!passes_filter(
            &without.build().unwrap(),
            &frame_of(0x0806, "10.77.60.1")
        ));
    }

    #[test]
    fn nothing_passes_a_socket_that_only_sends() {
        let filter = Filter::nothing();
        for frame in [ipv4("10.77.60.12"), frame_of(0x0806, "10.77.60.1")] {
            assert!(!passes_filter(&filter, &frame));
        }
    }

    #[test]
    fn of_arp_with_a_mark_nothing_else_passes() {
        let filter = Filter::marked_arp(*b"12345678", 42);
        let marked = |mark: &[u8; 8]| {
            let mut frame = frame_of(0x0806, "10.77.60.1");
            frame.bytes[42..50].copy_from_slice(mark);
            frame
        };
        assert!(passes_filter(&filter, &marked(b"12345678")));
        for other in [b"12345679", b"92345678"] {
            assert!(!passes_filter(&filter, &marked(other)));
        }
        let mut frame = marked(b"12345678");
        frame.vlan_tag = 7;
        assert!(!passes_filter(&filter, &frame));
        frame = marked(b"12345678");
        frame.bytes[12..14].copy_from_slice(&[8, 0]);
        assert!(!passes_filter(&filter, &frame));
        frame = marked(b"12345678");
        frame.bytes.truncate(49);
        assert!(!passes_filter(&filter, &frame));
    }

    fn settings() -> FrameFilter {
        FrameFilter {
            arp: true,
            prefixes: vec![
                "10.77.60.0/24".parse().unwrap(),
                "172.16.0.0/12".parse().unwrap(),
            ],
            addresses: vec!["192.0.2.7".parse().unwrap()],
            left_to_kernel: vec!["10.77.60.1".parse().unwrap()],
            other_macs: false,
        }
    }

    fn pool_filter() -> Filter {
        settings().build().unwrap()
    }

    #[derive(Debug, Clone)]
    struct Frame {
        bytes: Vec<u8>,
        vlan_tag: u16,
        kind: u8,
    }

    fn ipv4(destination: &str) -> Frame {
        frame_of(0x0800, destination)
    }

    fn frame_of(protocol: u16, destination: &str) -> Frame {
        let mut bytes = vec![0; 60];
        bytes[12..14].copy_from_slice(&protocol.to_be_bytes());
        bytes[30..34].copy_from_slice(&destination.parse::<Ipv4Addr>().unwrap().octets());
        Frame {
            bytes,
            vlan_tag: 0,
            kind: libc::PACKET_HOST,
        }
    }

    /// Interprets the program as the kernel does: a load beyond the frame drops it.
    fn passes_filter(filter: &Filter, frame: &Frame) -> bool {
        let (mut accumulator, mut index, mut next) = (0u32, 0u32, 0usize);
        loop {
            let step = filter.program[next];
            next += 1;
            match u32::from(step.code) {
                LOAD_WORD | LOAD_HALF => {
                    let Some(value) = load(frame, u32::from(step.code) == LOAD_HALF, step.k) else {
                        return false;
                    };
                    accumulator = value;
                }
                0x54 => accumulator &= step.k,
                0x07 => index = accumulator,
                0x87 => accumulator = index,
                0x15 => {
                    next += usize::from(if accumulator == step.k {
                        step.jt
                    } else {
                        step.jf
                    });
                }
                0x06 => {
                    assert!(step.k == 0 || step.k == u32::MAX);
                    return step.k != 0;
                }
                code => panic!("unexpected instruction {code:#x}"),
            }
        }
    }

    fn load(frame: &Frame, half: bool, at: u32) -> Option<u32> {
        if at == ancillary(libc::SKF_AD_PKTTYPE) {
            return Some(u32::from(frame.kind));
        }
        if at == ancillary(libc::SKF_AD_VLAN_TAG) {
            return Some(u32::from(frame.vlan_tag));
        }
        let rest = frame.bytes.get(at as usize..)?;
        if half {
            rest.first_chunk()
                .map(|bytes| u32::from(u16::from_be_bytes(*bytes)))
        } else {
            rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
        }
    }
}
