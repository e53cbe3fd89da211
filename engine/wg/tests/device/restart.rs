//! A peer that restarts just after a handshake: no tie between two that initiate at once, although it looks like one.

use sam_wg::{Device, OpenError, SealError};

use crate::world::{A, B, PEER, WALL, World, millis, packets, secs, seed_of};

#[test]
fn a_peer_that_restarts_right_after_a_handshake_is_followed_at_once() {
    // Whichever side wins when both initiate at once.
    for initiator in [A, B] {
        let mut world = World::connected(1);
        assert_eq!(world.send(initiator, 0), Err(SealError::NoSession));
        world.run(millis(100));
        world.chat(&[A, B], 1, millis(100));
        let restarted = 1 - initiator;

        world.restart(restarted, 2);

        assert_eq!(world.send(restarted, 0), Err(SealError::NoSession));
        world.run(millis(100));
        world
            .nodes
            .iter_mut()
            .for_each(|node| node.received.clear());
        world.chat(&[A, B], 3, millis(100));
        assert_eq!(world.nodes[A].received, packets(3));
        assert_eq!(world.nodes[B].received, packets(3));
    }
}

#[test]
fn a_peer_that_restarts_before_it_said_anything_is_followed_within_three_seconds() {
    for initiator in [A, B] {
        let mut world = World::connected(1);
        assert_eq!(world.send(initiator, 0), Err(SealError::NoSession));
        world.run(millis(100));
        let restarted = 1 - initiator;

        world.restart(restarted, 2);

        assert_eq!(world.send(restarted, 0), Err(SealError::NoSession));
        world.run(millis(100));
        world.chat(&[A, B], 30, millis(100));
        world
            .nodes
            .iter_mut()
            .for_each(|node| node.received.clear());
        world.chat(&[A, B], 3, millis(100));
        assert_eq!(world.nodes[A].received, packets(3));
        assert_eq!(world.nodes[B].received, packets(3));
    }
}

#[test]
fn after_a_restart_with_an_older_wall_clock_the_other_side_has_to_begin() {
    let mut world = World::established(1);
    let (config, now) = (world.config(A), world.now);
    let device = Device::new(&world.nodes[A].private, seed_of(2), WALL - secs(3600), now);
    world.nodes[A].path = device.data_path();
    world.nodes[A].device = device;
    world.configure(A, &[config]);

    assert_eq!(world.send(A, 0), Err(SealError::NoSession));
    world.run(secs(1));
    assert_eq!(world.nodes[B].errors, [OpenError::HandshakeRejected]);
    assert!(!world.nodes[A].path.has_session(PEER));
    world.chat(&[B], 17, secs(1));
    assert!(world.nodes[A].path.has_session(PEER));
}
