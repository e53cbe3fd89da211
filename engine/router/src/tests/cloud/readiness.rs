//! A router that cannot carry anything yet draws nothing in, and the one that is drained goes on until it can.

use std::time::Duration;

use super::*;

/// Lives in the cloud.
const MACHINE: u8 = 20;

#[test]
fn who_is_drained_goes_on_until_the_interface_of_the_other_one_carries() {
    let mut site = one_and_a_half();
    site.net.command(2, Command::Drain(true));
    assert_eq!(
        claims(&site),
        (Some(ClaimState::Active), Some(ClaimState::Standby))
    );

    // Whatever it takes.
    for _ in 0..240 {
        site.net.run_for(Duration::from_millis(250));
        serve(&mut site, 2);
        assert_eq!(site.net.tunneled_to(1, address(MACHINE)), Some(2));
    }
    let drain = site.net.stations[&2].router.drain();
    assert!(!drain.empty && drain.left[0].has_successor, "{drain:?}");
    site.run(10);

    assert_eq!(site.net.tunneled_to(1, address(MACHINE)), Some(3));
    assert_eq!(claims(&site), (None, Some(ClaimState::Active)));
    assert_eq!(site.holder(ADDRESS), Some(3));
    assert!(site.net.stations[&2].router.drain().empty);
}

#[test]
fn who_is_drained_before_the_other_one_is_heard_goes_on_until_that_one_carries() {
    let mut site = one(FULL_MESH);
    site.net.part(2, 3);
    site.start(3);
    site.net.command(3, Command::Announce(address(MACHINE)));
    site.net.command(2, Command::Drain(true));

    // Router 1 hears the other one long before.
    for second in 0..240 {
        if second == 200 {
            assert_eq!(claims(&site).1, Some(ClaimState::Active), "{second}");
            site.net.reunite(2, 3);
        }
        for _ in 0..200 {
            site.net.run_for(Duration::from_millis(5));
            serve(&mut site, 2);
            assert_eq!(site.net.tunneled_to(1, address(MACHINE)), Some(2));
        }
    }
    let sequence = site.net.stations[&3].state.sequences[&address(MACHINE)];
    assert!(sequence < 5, "they take turns");
    site.run(10);

    assert_eq!(site.net.tunneled_to(1, address(MACHINE)), Some(3));
    assert_eq!(claims(&site), (None, Some(ClaimState::Active)));
}

#[test]
fn who_is_not_ready_is_better_than_nobody() {
    let mut site = one_and_a_half();
    site.net.kill(2);
    site.net.run_for(Duration::from_secs(120));

    assert_eq!(site.net.tunneled_to(1, address(MACHINE)), Some(3));
    assert_eq!(claim(&site, 3), Some(ClaimState::Active));
}

#[test]
fn who_is_new_claims_nothing_in_full_before_it_knows_all_routes() {
    let mut site = Site::empty(CaptureMode::Auto, |_, _| {});
    site.start(3);
    site.net.command(3, Command::Announce(address(MACHINE)));
    site.run(10);
    assert_eq!(claim(&site, 3), Some(ClaimState::Standby));

    site.start(1);
    site.run(10);

    assert_eq!(claim(&site, 3), Some(ClaimState::Active));
}

#[test]
fn an_interface_that_was_switched_off_leaves_the_machines_to_the_other_router() {
    let mut site = one_and_a_half();
    site.run(20);
    assert_eq!(
        claims(&site),
        (Some(ClaimState::Active), Some(ClaimState::Active))
    );
    site.net.command(
        2,
        Command::Release {
            address: None,
            hold: Duration::from_secs(600),
        },
    );
    site.run(10);
    assert!(!site.forwarding[&2]);

    assert_eq!(
        claims(&site),
        (Some(ClaimState::Standby), Some(ClaimState::Active))
    );
    assert_eq!(site.net.tunneled_to(1, address(MACHINE)), Some(3));
    let explained = site.net.stations[&2].router.explain(
        address(MACHINE),
        &crate::Facts::default(),
        site.net.now,
    );
    let text = format!("{explained:?}");
    assert!(text.contains("cannot carry its packets yet"), "{text}");
}

#[test]
fn nothing_is_taken_from_who_is_drained_before_the_way_to_its_owner_is_known() {
    for (is_drained, taken_from) in [(true, 2), (false, 3)] {
        let mut site = one_and_a_half();
        site.run(20);
        // Nobody has answered yet on that way.
        site.net.bfd(3, &bfd::Session::new(1));
        match is_drained {
            true => site.net.command(2, Command::Drain(true)),
            false => site.net.kill(2),
        }
        site.run(10);
        assert_eq!(
            site.holder(ADDRESS),
            Some(taken_from),
            "drained {is_drained}"
        );
        if !is_drained {
            continue;
        }
        let row = &site.captures(3)[0];
        assert!(row.why.contains("not known yet"), "{}", row.why);

        bfd::Session::up(&mut site.net, 3, 1);
        site.run(5);

        assert_eq!(site.holder(ADDRESS), Some(3));
    }
}

#[test]
fn a_way_on_which_nobody_ever_answers_is_waited_for_and_no_longer() {
    let mut site = one_and_a_half();
    site.run(20);
    site.net.bfd(3, &bfd::Session::new(1));
    site.net.command(2, Command::Drain(true));
    site.run(30);
    assert_eq!(site.holder(ADDRESS), Some(3));
}

/// Router 2 captures; router 3 has begun a moment ago, and its provider has not answered it.
fn one_and_a_half() -> Site {
    let mut site = one(&[1]);
    site.start(3);
    site.net.command(3, Command::Announce(address(MACHINE)));
    assert_eq!(
        claims(&site),
        (Some(ClaimState::Active), Some(ClaimState::Standby))
    );
    site
}

/// Router 2 captures, and nobody has heard of router 3.
fn one(reflectors: &'static [u32]) -> Site {
    let mut site = Site::empty(CaptureMode::Auto, |_, _| {});
    site.reflectors = reflectors;
    site.start(1);
    site.start(2);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.net.command(2, Command::Announce(address(MACHINE)));
    // In a mesh it waits for what the one that is not there would tell.
    site.run(130);
    assert_eq!(site.holder(ADDRESS), Some(2));
    site
}

/// Answers one router.
fn serve(site: &mut Site, id: u32) {
    while let Some(order) = site.pending(id) {
        site.answer(id, &order);
    }
}

fn claims(site: &Site) -> (Option<ClaimState>, Option<ClaimState>) {
    (claim(site, 2), claim(site, 3))
}

fn claim(site: &Site, id: u32) -> Option<ClaimState> {
    site.net.stations[&id].router.claim_on(address(MACHINE))
}
