//! Datagrams and time for the sessions of one router: nothing panics, and what is sent is well-formed.
#![no_main]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use sam_bfd::{Packet, Sessions, Timing};

const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

fuzz_target!(|input: &[u8]| {
    let mut now = Instant::now();
    let timing = Timing {
        interval: Duration::from_millis(300),
        multiplier: 3,
    };
    let mut sessions = Sessions::new(1);
    sessions.set_peers(&[(PEER, timing)].into(), now);
    // Each step: how long to wait, whether our discriminator is filled in, and a datagram.
    for step in input.chunks(26) {
        let [wait, bound, datagram @ ..] = step else {
            return;
        };
        now += Duration::from_millis(u64::from(*wait) * 8);
        let mut datagram = datagram.to_vec();
        if bound & 1 == 1
            && let Some(room) = datagram.get_mut(8..12)
        {
            let ours = sessions.status()[0].local_discriminator;
            room.copy_from_slice(&ours.to_be_bytes());
        }
        sessions.handle_datagram(PEER, 255, &datagram, now).ok();
        sessions.handle_timeout(now);
        let mut sent = 0;
        while let Some((_, packet)) = sessions.poll_transmit(now) {
            sent += 1;
            assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
            assert!(!(packet.poll && packet.is_final));
        }
        assert!(sent <= 2, "a final and a periodic packet at most");
        while sessions.poll_event().is_some() {}
    }
});
