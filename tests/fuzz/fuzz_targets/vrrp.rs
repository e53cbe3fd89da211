//! Packets and time for one virtual router: nothing panics, what is decoded is encoded to the same, and what is sent is
//! well-formed and little.
#![no_main]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use sam_vrrp::{Arrival, GROUP, Instance, Packet, Settings, Version};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 2);

fuzz_target!(|input: &[u8]| {
    let Some((version, steps)) = input.split_first() else {
        return;
    };
    let version = if version & 1 == 0 { Version::V3 } else { Version::V2 };
    let mut now = Instant::now();
    let settings = Settings {
        version,
        vrid: 60,
        priority: 100,
        address: Ipv4Addr::new(10, 77, 60, 254),
        interval: Duration::from_secs(1),
        preempt: false,
        peers: [].into(),
        routers: [].into(),
    };
    let mut instance = Instance::new(settings, OWN, now);
    instance.handle_startup(now);
    // Each step: how long to wait, whether the checksum is made right, whether it comes as a copy, and a packet.
    for step in steps.chunks(22) {
        let [wait, seal, packet @ ..] = step else {
            return;
        };
        now += Duration::from_millis(u64::from(*wait) * 16);
        let mut packet = packet.to_vec();
        if seal & 1 == 1 {
            make_right(&mut packet);
        }
        if let Ok(decoded) = Packet::decode(&packet, PEER, GROUP) {
            let again = decoded.encode(PEER, GROUP);
            assert_eq!(Packet::decode(&again, PEER, GROUP), Ok(decoded));
        }
        let arrival = Arrival {
            source: PEER,
            destination: GROUP,
            ttl: 255,
        };
        if seal & 2 == 2 {
            instance.handle_copy(PEER, &packet, now).ok();
        } else {
            instance.handle_packet(arrival, &packet, now).ok();
        }
        // What is only shown is bounded too.
        assert!(instance.status().strangers.len() <= 1);
        instance.handle_timeout(now);
        let mut sent = 0;
        while let Some(transmit) = instance.poll_transmit() {
            sent += 1;
            assert!(Packet::decode(&transmit.payload, OWN, transmit.destination).is_ok());
        }
        assert!(sent <= 3, "one because of the packet, one because of the time, one because it slept");
    }
});

/// Makes the checksum right: random bytes hardly ever have it.
fn make_right(packet: &mut [u8]) {
    if packet.len() < 8 {
        return;
    }
    let is_v3 = packet[0] >> 4 == 3;
    let trailer = if is_v3 { 0 } else { 8 };
    let length = (8 + 4 * usize::from(packet[3]) + trailer).min(packet.len());
    packet[6..8].fill(0);
    let words = packet[..length].chunks(2);
    let words = words.map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = words.sum::<u32>();
    if is_v3 {
        sum += pseudo_header(length);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !(sum as u16);
    packet[6..8].copy_from_slice(&sum.to_be_bytes());
}

fn pseudo_header(length: usize) -> u32 {
    let halves = |address: Ipv4Addr| {
        let [a, b, c, d] = address.octets().map(u32::from);
        (a << 8 | b) + (c << 8 | d)
    };
    halves(PEER) + halves(GROUP) + 112 + u32::try_from(length).unwrap_or(0)
}
