//! A peer that restarts just after a handshake: no tie between two that initiate at once, although it looks like one.

use sam_wg::SealError;

use crate::world::{A, B, World, millis, packets};

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
