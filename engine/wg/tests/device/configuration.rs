//! What a new configuration changes, and what it leaves alone.

use crate::world::{A, B, PEER, World, preshared, secs};
use sam_wg::{Event, OpenError, PeerIndex};

const UP: Event = Event::SessionUp {
    peer: PEER,
    first: true,
};
const DOWN: Event = Event::SessionDown { peer: PEER };

#[test]
fn the_same_configuration_again_changes_nothing() {
    let mut world = World::established(1);
    let config = world.config(A);
    let used = world.session_in_use(A);
    world.configure(A, &[config]);
    assert_eq!(world.session_in_use(A), used);
    assert_eq!(world.nodes[A].events, []);
    assert_eq!(world.trace.len(), 0);
}

#[test]
fn endpoint_keepalive_and_roaming_apply_in_place() {
    let mut world = World::established(1);
    let used = world.session_in_use(A);
    let mut config = world.config(A);
    config.endpoint = Some("198.51.100.9:7".parse().unwrap());
    config.persistent_keepalive = Some(secs(5));
    config.roaming = false;
    world.configure(A, &[config.clone()]);
    assert_eq!(world.session_in_use(A), used);
    assert_eq!(world.nodes[A].path.endpoint(PEER), config.endpoint);
    world.run(secs(5));
    assert_eq!(world.keepalives_ms(A), [6000]);
    // A configuration without endpoint keeps the current one.
    let expected = config.endpoint.take();
    world.configure(A, &[config]);
    assert_eq!(world.nodes[A].path.endpoint(PEER), expected);
}

#[test]
fn a_changed_preshared_key_drops_the_session_and_replayed_initiations_stay_refused() {
    let mut world = World::connected(1);
    let _no_session = world.send(A, 0);
    let initiation = world.flights[0].clone();
    world.run(secs(1));
    let mut config = world.config(B);
    config.preshared_key = preshared(1);
    world.configure(B, &[config]);
    assert!(!world.nodes[B].path.has_session(PEER));
    assert_eq!(world.nodes[B].events, [UP, DOWN]);
    assert_eq!(
        world.deliver(B, initiation.source, &initiation.bytes),
        Err(OpenError::HandshakeRejected)
    );
}

#[test]
fn a_changed_key_or_a_removed_peer_is_forgotten() {
    let mut world = World::established(1);
    let mut config = world.config(B);
    config.public_key = sam_wg::PublicKey([9; 32]);
    world.configure(B, &[config]);
    assert!(!world.nodes[B].path.has_session(PEER));
    assert_eq!(world.nodes[B].status().handshakes, 0);
    world.configure(B, &[]);
    assert_eq!(world.nodes[B].device.status(), []);
    assert_eq!(world.nodes[B].path.endpoint(PEER), None);
    world.send(A, 0).unwrap();
    world.run(secs(1));
    assert_eq!(world.nodes[B].errors, [OpenError::UnknownIndex]);
}

#[test]
fn of_duplicates_in_a_configuration_the_first_counts() {
    let mut world = World::established(1);
    let first = world.config(A);
    let mut same_index = first.clone();
    same_index.public_key = sam_wg::PublicKey([9; 32]);
    let mut same_key = first.clone();
    same_key.index = PeerIndex(4);
    world.configure(A, &[first, same_index, same_key]);
    assert!(world.nodes[A].path.has_session(PEER));
    assert_eq!(world.nodes[A].device.status().len(), 1);
}
