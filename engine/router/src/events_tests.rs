//! What passes through the queue of events, and what is held back.

use super::*;

#[test]
#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn a_repeated_event_passes_once_per_interval_and_a_state_change_always() {
    let (mut events, now) = (Events::default(), Instant::now());
    let foreign = Event::ForeignAnswer {
        address: [10, 77, 60, 10].into(),
        mac: "x".into(),
    };
    let gate = Event::Gate {
        open: true,
        reason: "r".into(),
    };

    for seconds in [0, 1, 59, 60] {
        events.push(foreign.clone(), now + Duration::from_secs(seconds));
        events.push(gate.clone(), now + Duration::from_secs(seconds));
    }

    let passed: Vec<Event> = std::iter::from_fn(|| events.pop()).collect();
    assert_eq!(passed.iter().filter(|event| **event == foreign).count(), 2);
    assert_eq!(passed.iter().filter(|event| **event == gate).count(), 4);
    assert_eq!(events.suppressed(), 2);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn a_session_that_goes_down_again_is_told_again() {
    let (mut events, now) = (Events::default(), Instant::now());
    for _ in 0..3 {
        let node = NodeId(2);
        let reason = "hold timer expired".to_owned();
        events.push(Event::SessionDown { node, reason }, now);
        events.push(Event::SessionUp { node }, now);
    }

    assert_eq!(std::iter::from_fn(|| events.pop()).count(), 6);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn events_beyond_the_memory_are_held_back_until_there_is_room() {
    let (mut events, now) = (Events::default(), Instant::now());
    let push_all = |events: &mut Events, at: Instant| {
        for index in 0_u32..2_000 {
            let mac = index.to_string();
            let address = Ipv4Addr::from(index);
            events.push(Event::ForeignAnswer { address, mac }, at);
        }
        std::iter::from_fn(|| events.pop()).count()
    };

    assert_eq!(push_all(&mut events, now), REMEMBERED_LIMIT);
    assert_eq!(push_all(&mut events, now), 0);
    assert_eq!(
        push_all(&mut events, now + REPEAT_INTERVAL),
        REMEMBERED_LIMIT
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn a_full_queue_counts_what_it_loses() {
    let mut events = Events::default();

    for _ in 0..QUEUE_LIMIT + 3 {
        events.push(Event::Stopping, Instant::now());
    }

    assert_eq!(events.lost(), 3);
}

#[test]
fn a_lost_race_of_connections_is_no_warning_and_a_refused_stranger_is() {
    let refused = |reason: &str| Event::ConnectionRefused {
        from: [10, 99, 0, 2].into(),
        reason: reason.into(),
        count: 1,
    };

    assert!(!refused("collision").is_warning());
    assert!(refused("no such peer").is_warning());
}
