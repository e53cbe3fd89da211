//! Our own restart and peers of whom something else than BGP says that they are not there.

use std::collections::BTreeSet;

use sam_bgp::speaker::Event;

use crate::bench::Outcome;
use crate::graceful_restart::{OpenBits, finish, offering, restarted_reflector};
use crate::vocabulary::peer;

#[test]
fn who_is_known_to_be_absent_is_not_waited_for_unless_its_session_is_up() {
    let (mut bench, _) = restarted_reflector();
    let (first, _) = bench.establish_with(offering(2, OpenBits::default()));
    let absent = BTreeSet::from([peer(2), peer(3)]);
    bench.speaker.await_no_more(&absent, bench.now);
    let awaited = bench.speaker.restarting().map(|restart| restart.awaited);
    assert_eq!(awaited, Some(vec![peer(2)]), "it is heard");

    let outcome = finish(&mut bench, first);

    let missing = vec![peer(3)];
    assert!(outcome.events.contains(&Event::RestartOver { missing }));
    assert!(outcome.updates(first)[0].is_end_of_rib());
}

#[test]
fn who_was_taken_for_absent_and_comes_all_the_same_is_heard() {
    let (mut bench, _) = restarted_reflector();
    let (first, _) = bench.establish_with(offering(2, OpenBits::default()));
    bench
        .speaker
        .await_no_more(&BTreeSet::from([peer(3)]), bench.now);
    let (late, _) = bench.establish_with(offering(3, OpenBits::default()));

    let is_over = |outcome: &Outcome| {
        let mut events = outcome.events.iter();
        events.any(|event| matches!(event, Event::RestartOver { .. }))
    };
    assert!(
        !is_over(&finish(&mut bench, first)),
        "the other has not told"
    );
    let outcome = finish(&mut bench, late);
    let missing = Vec::new();
    assert!(outcome.events.contains(&Event::RestartOver { missing }));
}
