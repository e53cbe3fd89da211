//! What routers of a site tell each other and their operators of how far they can act.

use std::time::Duration;

use super::*;

#[test]
fn a_router_whose_looks_fail_leaves_the_site_to_the_other_one_and_says_why() {
    let mut site = Site::new(CaptureMode::Auto);
    site.blind.insert(2);
    // Looks are rare by then.
    site.run(600);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    assert_eq!(site.holder(ADDRESS), Some(3), "the other one captures");
    assert_eq!(site.member(3, 2), "blind");
    assert_eq!(site.member(2, 2), "blind");
    let facts = crate::Facts::default();
    let doctor = |site: &Site, name: &str| {
        let doctor = site.net.stations[&3].router.doctor(&facts, site.net.now);
        let mut rows = doctor.checks.into_iter().filter(|check| check.name == name);
        rows.next().expect("a check")
    };
    let takers = doctor(&site, "takers");
    assert_eq!(takers.detail.as_deref(), Some("n2 is blind"));

    site.blind.clear();
    site.run(60);

    assert_eq!(site.member(3, 2), "captures");
    assert_eq!(doctor(&site, "takers").detail, None);
}

#[test]
fn whether_addresses_move_with_a_gap_is_not_said_before_it_is_known() {
    let mut site = Site::new(CaptureMode::Auto);
    let two_changes = || {
        Input::Cloud(CloudInput::Capabilities(Capabilities {
            moves: false,
            batch: 250,
            marks: true,
        }))
    };
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    let gap = |site: &Site| site.net.stations[&2].router.drain().moves_with_gap;
    assert_eq!(gap(&site), Some(false), "it moves at once");
    assert_eq!(
        site.net.stations[&3].router.drain().moves_with_gap,
        None,
        "it has captured nothing"
    );
    site.net.input(2, two_changes());
    assert_eq!(gap(&site), Some(true));

    // Another start: nobody has looked.
    site.net.kill(2);
    site.start(2);
    site.net.input(2, two_changes());
    let observe = site.next_order(2);
    assert_eq!(observe.operation, Operation::Observe);
    site.answer(2, &observe);
    assert_eq!(gap(&site), None);
    assert_eq!(site.view(2).moves, None);
    let preflight = site.next_order(2);
    assert_eq!(preflight.operation, Operation::Preflight);
    site.answer(2, &preflight);

    assert_eq!(gap(&site), Some(true));
}

#[test]
fn what_answers_told_of_clocks_and_credentials_is_shown_with_its_age() {
    let mut site = Site::new(CaptureMode::Auto);
    assert_eq!(site.view(2).standing, None);
    // It comes a while before it is told.
    let answered = Some(site.net.now);
    site.run(10);
    let standing = sam_capture::provider::Standing {
        answered,
        clock_ahead: Some(-7),
        credentials: Some(Duration::from_secs(90)),
        ..sam_capture::provider::Standing::default()
    };
    site.net
        .input(2, Input::Cloud(CloudInput::Standing(standing)));

    site.run(30);

    let shown = site.view(2).standing.expect("it was told");
    assert_eq!(shown.clock_ahead_s, Some(-7));
    assert!((40.0..=41.0).contains(&shown.told_s), "{}", shown.told_s);
    let left = shown.credentials_left_s().expect("it was told");
    assert!((49.0..=50.0).contains(&left), "{left}");
}
