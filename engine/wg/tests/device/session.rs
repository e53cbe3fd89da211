//! The life of sessions between two devices: handshake, data, rekey, expiry, both sides at once.

use std::time::Duration;

use crate::world::{A, B, PEER, World, millis, packet, packets, preshared, secs};
use sam_wg::{Event, OpenError, Opened, PeerIndex, SealError};

const UP: Event = Event::SessionUp {
    peer: PEER,
    first: true,
};
const RENEWED: Event = Event::SessionUp {
    peer: PEER,
    first: false,
};
const DOWN: Event = Event::SessionDown { peer: PEER };

// ---- handshake

#[test]
fn the_first_packet_starts_a_handshake_after_which_data_flows_both_ways() {
    let mut world = World::connected(1);
    assert_eq!(world.send(A, 0), Err(SealError::NoSession));
    assert!(!world.nodes[A].path.has_session(PEER));
    world.run(secs(1));
    assert_eq!(world.nodes[A].events, [UP]);
    assert_eq!(world.nodes[B].events, [UP]);
    world.chat(&[A, B], 3, millis(5));
    world.run(secs(1));
    assert_eq!(world.nodes[A].received, packets(3));
    assert_eq!(world.nodes[B].received, packets(3));
    assert_eq!(world.sent_ms(A, 1), [0]);
    let status = world.nodes[B].status();
    assert!(status.session);
    assert_eq!((status.handshakes, status.attempts), (1, 0));
    assert_eq!((status.rx_bytes, status.tx_bytes), (72, 72));
}

#[test]
fn refusals_of_seal_have_their_reasons() {
    let mut world = World::new(1);
    let mut config = world.config(A);
    config.endpoint = None;
    world.configure(A, &[config]);
    let path = &mut world.nodes[A].path;
    let mut out = [0; 148];
    assert_eq!(
        path.seal(PEER, &[], &mut [0; 31], world.now),
        Err(SealError::OutputTooSmall)
    );
    assert_eq!(
        path.seal(PEER, &[0; 117], &mut out, world.now),
        Err(SealError::OutputTooSmall)
    );
    assert_eq!(
        path.seal(PEER, &[0; 116], &mut out, world.now),
        Err(SealError::NoEndpoint)
    );
    assert_eq!(
        path.seal(PeerIndex(9), &[], &mut out, world.now),
        Err(SealError::NoPeer)
    );
    path.pad_up_to(117);
    assert_eq!(
        path.seal(PEER, &[0; 116], &mut out, world.now),
        Err(SealError::OutputTooSmall)
    );
}

#[test]
fn equal_preshared_keys_work() {
    let mut world = World::new(1);
    world.configure_both(|config| config.preshared_key = preshared(7));
    let _no_session = world.send(A, 0);
    world.run(secs(1));
    world.chat(&[A, B], 1, secs(1));
    assert_eq!(world.nodes[A].received, packets(1));
    assert_eq!(world.nodes[B].received, packets(1));
}

#[test]
fn different_preshared_keys_give_no_session() {
    let mut world = World::connected(1);
    let mut config = world.config(A);
    config.preshared_key = preshared(7);
    world.configure(A, &[config]);
    assert_eq!(world.send(A, 0), Err(SealError::NoSession));
    world.run(secs(20));
    assert!(!world.nodes[A].path.has_session(PEER));
    assert!(!world.nodes[B].path.has_session(PEER));
    assert_eq!(world.nodes[A].errors, [OpenError::HandshakeRejected; 4]);
}

#[test]
fn a_lost_initiation_is_repeated_after_five_seconds_and_jitter() {
    let mut repeated = Vec::new();
    for seed in 0..20 {
        let mut world = World::connected(seed);
        let mut lost = false;
        world.filter = Box::new(move |_| std::mem::replace(&mut lost, true));
        let _no_session = world.send(A, 0);
        world.run(secs(8));
        assert!(world.nodes[A].path.has_session(PEER));
        let [0, second] = world.sent_ms(A, 1)[..] else {
            panic!("{:?}", world.sent_ms(A, 1))
        };
        assert!((5000..=5333).contains(&second), "{second}");
        repeated.push(second);
    }
    repeated.dedup();
    assert!(repeated.len() > 10, "jitter differs by seed: {repeated:?}");
}

#[test]
fn the_responder_does_not_seal_before_the_first_packet() {
    let mut world = World::connected(1);
    // b answers, but does not hear that a has the answer.
    world.filter = Box::new(|flight| flight.kind() != 4);
    let _no_session = world.send(A, 0);
    world.run(secs(1));
    assert!(world.nodes[A].path.has_session(PEER));
    assert!(!world.nodes[B].path.has_session(PEER));
    assert_eq!(world.send(B, 0), Err(SealError::NoSession));
    assert_eq!(
        world.sent_ms(B, 1).len(),
        0,
        "does not cross the handshake under way"
    );
    // The first packet confirms.
    world.filter = Box::new(|_| true);
    world.send(A, 0).unwrap();
    world.run(millis(20));
    assert_eq!(world.nodes[B].events, [UP]);
    world.send(B, 0).unwrap();
}

#[test]
fn an_answer_that_was_never_confirmed_ends_in_a_handshake_of_our_own() {
    let mut world = World::connected(1);
    world.filter = Box::new(|flight| flight.kind() == 1);
    let _no_session = world.send(A, 0);
    world.run(millis(100));
    world.nodes[A].device.set_peers(&[], world.now); // a is gone
    let _no_session = world.send(B, 0);
    world.run(secs(6));
    assert_eq!(world.sent_ms(B, 1), [5010]);
}

#[test]
fn without_an_answer_attempts_end_after_ninety_seconds() {
    let mut world = World::connected(1);
    world.filter = Box::new(|_| false);
    let _no_session = world.send(A, 0);
    world.run(secs(600));
    assert_eq!(world.nodes[A].events, [DOWN]);
    let sent = world.sent_ms(A, 1);
    assert!((17..=18).contains(&sent.len()), "{sent:?}");
    assert_eq!(world.nodes[A].status().attempts as usize, sent.len());
    // The next packet starts over.
    assert_eq!(world.send(A, 0), Err(SealError::NoSession));
    assert_eq!(world.sent_ms(A, 1).last(), Some(&600_000));
}

#[test]
fn packets_that_wait_keep_the_attempts_going_and_the_failure_is_reported_once() {
    let mut world = World::connected(1);
    world.filter = Box::new(|_| false);
    for _ in 0..300 {
        assert_eq!(world.send(A, 0), Err(SealError::NoSession));
        world.run(secs(1));
    }
    assert_eq!(world.nodes[A].events, [DOWN]);
    let sent = world.sent_ms(A, 1);
    assert!(
        sent.windows(2)
            .all(|pair| (5000..=5400).contains(&(pair[1] - pair[0]))),
        "{sent:?}"
    );
    assert!(*sent.last().unwrap() > 290_000);
}

// ---- keepalive

#[test]
fn with_keepalive_the_tunnel_comes_up_without_traffic() {
    let mut world = World::new(1);
    let (mut a, b) = (world.config(A), world.config(B));
    a.persistent_keepalive = Some(secs(25));
    world.configure(B, &[b]);
    world.configure(A, &[a]);
    world.run(millis(100));
    assert_eq!(world.nodes[B].events, [UP]);
}

#[test]
fn with_keepalive_and_late_endpoint_the_tunnel_comes_up_at_once() {
    let mut world = World::connected(1);
    let (mut a, endpoint) = (world.config(A), world.nodes[B].address);
    (a.persistent_keepalive, a.endpoint) = (Some(secs(25)), None);
    world.configure(A, &[]);
    world.configure(A, &[a]);
    assert_eq!(world.nodes[A].device.poll_timeout(), None);
    world.set_endpoint(A, endpoint);
    world.run(millis(100));
    assert!(world.nodes[A].path.has_session(PEER));
}

#[test]
fn keepalives_keep_one_session_alive_for_hours_with_one_initiator() {
    let mut world = World::new(1);
    world.configure_both(|config| config.persistent_keepalive = Some(secs(25)));
    world.run(secs(4 * 3600));
    for node in &world.nodes {
        assert!(!node.events.contains(&DOWN), "{:?}", node.events);
        assert_eq!(node.errors, []);
    }
    let (a, b) = (world.sent_ms(A, 1), world.sent_ms(B, 1));
    // Both initiate at the start; from then on only the winner of that tie.
    assert!(a.len() == 1 || b.len() == 1, "{a:?} {b:?}");
    // Rekey at the first keepalive after 120 s, that is every 125 s.
    let rekeys = a.len().max(b.len());
    assert!((113..=117).contains(&rekeys), "{rekeys}");
}

#[test]
fn after_ten_minutes_of_outage_the_tunnel_heals_without_traffic() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        world.configure_both(|config| config.persistent_keepalive = Some(secs(25)));
        world.run(secs(10));
        world.filter = Box::new(|_| false);
        world.run(secs(600));
        for node in &world.nodes {
            assert_eq!(
                node.events.iter().filter(|event| **event == DOWN).count(),
                1
            );
            assert!(!node.path.has_session(PEER));
        }
        world.filter = Box::new(|_| true);
        world.run(secs(6));
        for node in &world.nodes {
            assert!(node.path.has_session(PEER), "seed {seed}");
        }
        world.run(secs(600));
        for node in &world.nodes {
            assert_eq!(
                node.events.iter().filter(|event| **event == DOWN).count(),
                1
            );
        }
    }
}

#[test]
fn keepalive_on_the_side_of_the_responder_alone_heals_too() {
    let mut world = World::established(1);
    let mut b = world.config(B);
    b.persistent_keepalive = Some(secs(25));
    world.configure(B, &[b]);
    world.filter = Box::new(|_| false);
    world.run(secs(600));
    world.filter = Box::new(|_| true);
    world.run(secs(6));
    assert!(world.nodes[A].path.has_session(PEER));
    let first = world.sent_ms(B, 1)[0];
    assert!(
        (195_000..=195_100).contains(&first),
        "expiry and grace of the responder: {first}"
    );
}

#[test]
fn received_data_is_answered_within_ten_seconds() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    world.run(secs(60));
    assert_eq!(world.keepalives_ms(B), [11_010]);
    assert_eq!(
        world.keepalives_ms(A),
        [0; 0],
        "a keepalive is not answered"
    );
    assert_eq!(world.sent_ms(A, 1), [0; 0], "the answer ends the silence");
}

#[test]
fn a_device_with_keepalive_stays_silent_while_it_sends_data() {
    let mut world = World::established(1);
    let mut a = world.config(A);
    a.persistent_keepalive = Some(secs(25));
    world.configure(A, &[a]);
    world.chat(&[A], 5, secs(20));
    assert_eq!(world.keepalives_ms(A), [0; 0]);
    world.run(secs(6));
    assert_eq!(world.keepalives_ms(A), [106_000]);
}

// ---- rekey

#[test]
fn rekeying_loses_no_packet() {
    let mut world = World::established(1);
    world.delay = millis(250);
    world.chat(&[A, B], 4000, millis(100));
    world.run(secs(1));
    assert_eq!(world.nodes[A].received, packets(4000));
    assert_eq!(world.nodes[B].received, packets(4000));
    assert_eq!(world.nodes[A].errors, []);
    assert_eq!(world.nodes[B].errors, []);
    assert_eq!(world.nodes[A].events, [RENEWED; 3]);
    assert_eq!(world.nodes[B].events, [RENEWED; 3]);
    let initiations = world.sent_ms(A, 1);
    assert_eq!(initiations.len(), 3);
    assert!(
        (120_000..120_200).contains(&initiations[0]),
        "{initiations:?}"
    );
    assert_eq!(world.sent_ms(B, 1), [0; 0], "the responder does not rekey");
}

#[test]
fn rekeying_loses_no_packet_on_a_reordering_link() {
    let mut world = World::established(1);
    let mut count = 0_u32;
    world.filter = Box::new(move |flight| {
        count += 1;
        flight.arrives += Duration::from_millis(u64::from(count * 7919 % 400));
        true
    });
    world.chat(&[A, B], 8000, millis(50));
    world.run(secs(2));
    for node in &mut world.nodes {
        node.received.sort();
        assert_eq!(node.received, packets(8000));
        assert_eq!(node.errors, []);
    }
    // Both sides use the newest session, not one that a late packet has brought back.
    assert_eq!(world.nodes[A].status().handshakes, 4);
}

#[test]
fn an_hour_with_one_packet_in_a_hundred_out_of_order_loses_nothing() {
    let mut world = World::established(1);
    let mut count = 0_u32;
    world.filter = Box::new(move |flight| {
        count += 1;
        if count.is_multiple_of(100) {
            flight.arrives += millis(500);
        }
        true
    });
    world.chat(&[A, B], 18_000, millis(200));
    world.run(secs(1));
    for node in &mut world.nodes {
        node.received.sort();
        assert_eq!(node.received, packets(18_000));
        assert_eq!(node.errors, []);
        assert!((29..=31).contains(&node.status().handshakes));
    }
}

#[test]
fn an_initiator_that_only_receives_rekeys_after_165_seconds() {
    let mut world = World::established(1);
    // Keepalives of a count as sent: keep them out by letting b send nothing that wants an answer until then.
    world.run(secs(165));
    world.send(B, 0).unwrap();
    world.run(secs(1));
    assert_eq!(world.sent_ms(A, 1).len(), 1);
    assert!(
        (166_000..166_100).contains(&world.sent_ms(A, 1)[0]),
        "{:?}",
        world.sent_ms(A, 1)
    );
    assert_eq!(world.nodes[A].events, [RENEWED]);
}

#[test]
fn a_rekey_that_is_not_answered_leaves_the_session_in_use() {
    let mut world = World::established(1);
    world.filter = Box::new(|flight| flight.kind() == 4);
    world.chat(&[A, B], 175, secs(1));
    world.run(secs(1));
    assert_eq!(world.nodes[B].received, packets(175));
    assert_eq!(world.nodes[A].events, []);
}

// ---- silence and expiry

#[test]
fn fifteen_seconds_of_silence_after_data_start_a_handshake() {
    let mut world = World::established(1);
    world.filter = Box::new(|_| false);
    world.chat(&[A], 20, secs(1));
    let initiations = world.sent_ms(A, 1);
    assert_eq!(initiations.len(), 1, "{initiations:?}");
    assert!(
        (16_000..=16_333).contains(&initiations[0]),
        "from the first packet: {initiations:?}"
    );
}

#[test]
fn a_peer_that_lost_its_sessions_is_found_again_by_traffic() {
    let mut world = World::established(1);
    let config = world.config(B);
    world.configure(B, &[]);
    world.configure(B, &[config]);
    world.chat(&[A], 17, secs(1));
    world.run(secs(1));
    assert!(world.nodes[B].path.has_session(PEER));
    assert!(world.nodes[B].errors.contains(&OpenError::UnknownIndex));
    world.chat(&[A], 1, secs(1));
    assert_eq!(world.nodes[B].received.last(), Some(&packet(0)));
}

#[test]
fn an_idle_session_is_refused_after_180_seconds_and_the_next_packet_starts_a_handshake() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let late = world.flights.pop().unwrap();
    world.filter = Box::new(|_| false);
    world.run(secs(180));
    assert_eq!(world.nodes[A].events, [DOWN]);
    assert_eq!(world.nodes[B].events, [DOWN]);
    assert_eq!(
        world.deliver(B, late.source, &late.bytes),
        Err(OpenError::UnknownIndex)
    );
    let before = world.sent_ms(A, 1).len();
    world.filter = Box::new(|_| true);
    world.run(secs(600));
    world.nodes[A].events.clear();
    assert_eq!(world.send(A, 0), Err(SealError::NoSession));
    assert_eq!(world.sent_ms(A, 1).len(), before + 1);
    world.run(millis(50));
    assert_eq!(world.nodes[A].events, [UP]);
    world.send(A, 0).unwrap();
}

#[test]
fn a_late_driver_does_not_seal_with_an_expired_session() {
    let mut world = World::established(1);
    let mut out = [0; 148];
    let late = world.now + secs(181);
    assert_eq!(
        world.nodes[A].path.seal(PEER, &packet(0), &mut out, late),
        Err(SealError::NoSession)
    );
    world.now = late;
    world.drain(A);
    assert_eq!(world.nodes[A].events, [DOWN]);
}

// ---- both sides at once

#[test]
fn when_both_initiate_at_once_they_agree_on_one_session() {
    for seed in 0..200 {
        let mut world = World::connected(seed);
        assert_eq!(world.send(A, 0), Err(SealError::NoSession));
        // From exactly at once to a bit less than a round trip apart.
        world.run(millis(seed % 20));
        assert_eq!(world.send(B, 0), Err(SealError::NoSession));
        world.run(secs(1));
        world.chat(&[A, B], 3, millis(25));
        world.run(secs(1));
        agree(&mut world, seed);
        assert_eq!(world.nodes[A].received, packets(3), "seed {seed}");
        assert_eq!(world.nodes[B].received, packets(3), "seed {seed}");
        // Only one of them renews the session.
        world.trace.clear();
        world.chat(&[A, B], 130, secs(1));
        assert_eq!(
            world.sent_ms(A, 1).len() + world.sent_ms(B, 1).len(),
            1,
            "seed {seed}"
        );
    }
}

#[test]
fn when_both_initiate_at_once_over_a_bad_link_they_agree_in_the_end() {
    for seed in 0..300_u64 {
        let mut world = World::connected(seed);
        let mut random = seed;
        world.filter = Box::new(move |flight| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695);
            flight.arrives += Duration::from_millis((random >> 33) % 40);
            (random >> 40) % 10 >= 4
        });
        let _no_session = (world.send(A, 0), world.send(B, 0));
        world.run(secs(80));
        world.filter = Box::new(|_| true);
        world.run(secs(6));
        for number in 0..3 {
            world.send(A, number).unwrap();
            world.send(B, number).unwrap();
            world.run(millis(25));
        }
        agree(&mut world, seed);
    }
}

// ---- other

#[test]
fn an_idle_device_has_no_deadline() {
    let mut world = World::connected(1);
    assert_eq!(world.nodes[A].device.poll_timeout(), None);
    world.nodes[A].device.handle_timeout(world.now + secs(1000));
    world.run(secs(1));
    assert_eq!(world.trace.len(), 0);
}

#[test]
fn opened_says_who_sent_the_packet() {
    let mut world = World::established(1);
    world.send(A, 5).unwrap();
    let flight = world.flights.remove(0);
    let opened = world.deliver(B, flight.source, &flight.bytes);
    assert_eq!(
        opened,
        Ok(Opened::Packet {
            peer: PEER,
            len: 24
        })
    );
}

/// Asserts that both nodes use the same session: the two indices in use belong to one handshake response.
fn agree(world: &mut World, seed: u64) {
    let (a, b) = (world.session_in_use(A), world.session_in_use(B));
    let same = world
        .trace
        .iter()
        .filter(|(_, flight)| flight.kind() == 2)
        .any(|(_, response)| {
            let (sender, receiver) = (&response.bytes[4..8], &response.bytes[8..12]);
            (sender, receiver) == (&a[..], &b[..]) || (sender, receiver) == (&b[..], &a[..])
        });
    assert!(same, "seed {seed}: different sessions in use");
}
