//! How often is looked, and when nobody needs to.

use super::*;
use crate::provider::Version;

#[test]
fn what_was_taken_off_another_nic_is_put_on_ours_without_a_further_look_for_it() {
    assert_eq!(looks_after_a_strip(None), ["observe"]);
    // Where our NIC has versions, the change itself tells whether it is as it was.
    assert_eq!(looks_after_a_strip(Some("7")), [""; 0]);
}

fn looks_after_a_strip(version: Option<&str>) -> Vec<&'static str> {
    let mut case = Case::new(Mode::Auto);
    case.observation.version = version.map(|version| Version(version.into()));
    let capabilities = Capabilities {
        moves: false,
        batch: 250,
        marks: true,
    };
    case.executor.set_capabilities(capabilities, case.now);
    let many: Vec<u8> = (100..200).collect();
    case.sibling("nic-b", 2);
    case.gone.insert(NodeId(2));
    for last in &many {
        case.elsewhere(*last, "nic-b");
    }
    case.want(&many);
    let strip = case.change().expect("an order");
    assert!(matches!(strip.operation, Operation::Strip { .. }));
    assert_eq!(addresses_of(&strip.operation).len(), 100);
    case.now += Duration::from_secs(8);
    case.elsewhere.clear();
    case.answer(&strip, done());

    let mut looks = Vec::new();
    let assign = loop {
        let order = case.executor.poll(case.now).expect("no pause");
        if order.ticket.is_some() {
            break order;
        }
        looks.push(order.operation.name());
        case.look(&order);
    };

    assert!(matches!(assign.operation, Operation::Assign { .. }));
    assert_eq!(addresses_of(&assign.operation).len(), 100);
    looks
}

#[test]
fn who_had_an_address_a_moment_before_its_router_was_gone_is_not_looked_for_again() {
    for (later, looks) in [(1000, &[][..]), (2500, &["find-holders"])] {
        let mut case = Case::new(Mode::Auto);
        case.sibling("nic-b", 2);
        case.elsewhere(10, "nic-b");
        case.want(&[10]);
        case.run(Duration::from_millis(1));
        assert_eq!(case.state(10), State::Waiting, "it is there");

        case.now += Duration::from_millis(later);
        case.gone.insert(NodeId(2));
        case.want(&[10]);

        let mut made = Vec::new();
        let seize = loop {
            match case.executor.poll(case.now) {
                Some(order) if order.ticket.is_some() => break order,
                Some(order) => {
                    made.push(order.operation.name());
                    case.look(&order);
                }
                None => panic!("no pause"),
            }
        };
        assert_eq!(made, looks, "{later} ms later");
        assert!(matches!(seize.operation, Operation::Seize { .. }));
    }
}

#[test]
fn a_change_that_lands_late_is_looked_for_until_then() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    case.set(&[], |_| unreachable!());
    case.answer(&order, failed(ErrorClass::Unknown));
    let lands = case.now + Duration::from_secs(50);
    let mut longest = Duration::ZERO;
    while !case.executor.held().contains(&address(10)) {
        let Some(order) = case.executor.poll(case.now) else {
            let due = case.executor.poll_timeout(case.now).expect("a look");
            longest = longest.max(due - case.now);
            case.now = due;
            continue;
        };
        assert_eq!(order.ticket, None, "nothing is changed meanwhile");
        if case.now < lands && order.operation == Operation::Observe {
            case.answer(&order, failed(ErrorClass::Busy));
            continue;
        }
        if case.now >= lands {
            case.hold(10);
        }
        case.look(&order);
    }
    assert!(longest <= Duration::from_secs(3), "{longest:?}");
    assert!(case.now - lands < Duration::from_secs(4));
}

#[test]
fn what_others_do_to_our_nic_is_seen_when_they_come_or_go() {
    let mut case = Case::new(Mode::Auto);
    case.hold(10);
    case.want(&[10]);
    case.run(Duration::from_secs(600));
    for change in [
        |case: &mut Case| case.gone = BTreeSet::from([NodeId(2)]),
        |case: &mut Case| case.gone.clear(),
        |case: &mut Case| case.sequence += 1,
    ] {
        change(&mut case);
        case.want(&[10]);
        let due = case.executor.poll_timeout(case.now).expect("a look");
        assert!(due <= case.now + Duration::from_secs(1));
        case.run(Duration::from_secs(600));
    }
}

#[test]
fn looks_that_show_nothing_new_become_rare_and_a_list_that_differs_has_one_taken() {
    let mut case = Case::new(Mode::Auto);
    let mut settings = case.executor.settings.clone();
    settings.poll = Rhythm::LOOKS;
    case.executor.set_settings(settings.clone(), case.now);
    let looks = |case: &mut Case, time| {
        let before = case.executor.counters["observe"];
        case.run(Duration::from_secs(time));
        case.executor.counters["observe"] - before
    };
    case.run(Duration::from_secs(600));
    assert!((8..=13).contains(&looks(&mut case, 3600)));
    case.observation.forwarding = false;
    // Within the longest wait one finds out, and three more follow in as much again; two would be the rule.
    assert!(looks(&mut case, 900) >= 4, "something is new");

    settings.poll = Rhythm::LOOKS_BESIDE_LISTS;
    settings.inventory = Some(Rhythm::lists(Duration::from_secs(20), true));
    case.executor.set_settings(settings, case.now);
    case.listed = true;
    case.run(Duration::from_secs(1800));
    assert!((1..=3).contains(&looks(&mut case, 3600)));
    case.hold(10);
    assert!(
        looks(&mut case, 660) >= 1,
        "lists are up to ten minutes apart"
    );
}

#[test]
fn who_waits_for_a_list_gets_one_but_not_without_end() {
    let mut case = Case::new(Mode::Auto);
    let mut settings = case.executor.settings.clone();
    settings.inventory = Some(Rhythm::lists(Duration::from_secs(20), true));
    case.executor.set_settings(settings, case.now);
    case.listed = true;
    case.run(Duration::from_secs(3600));
    let lists = |case: &Case| case.executor.counters["inventory"];
    let known = lists(&case);
    while lists(&case) == known {
        case.run(Duration::from_secs(1));
    }
    case.run(Duration::from_secs(130));
    assert_eq!(lists(&case), known + 1, "they are rare by now");

    case.executor.hurry_list(case.now);
    case.run(Duration::from_secs(1));
    assert_eq!(lists(&case), known + 2, "at once");

    for _ in 0..360 {
        case.executor.hurry_list(case.now);
        case.run(Duration::from_secs(10));
    }
    let hurried = lists(&case) - known;
    assert!((25..=35).contains(&hurried), "{hurried} lists");
}

#[test]
fn a_preflight_that_fails_is_made_again_soon_then_less_often_and_holds_nothing_up() {
    let mut case = Case::new(Mode::Auto);
    let two_steps = Capabilities {
        moves: false,
        batch: 250,
        marks: true,
    };
    case.executor.set_capabilities(two_steps, case.now);
    let mut looks = Vec::new();
    while looks.len() < 12 {
        match case.executor.poll(case.now) {
            Some(order) if order.operation == Operation::Preflight => {
                looks.push(case.now);
                case.answer(&order, failed(ErrorClass::Unavailable));
            }
            Some(order) => case.look(&order),
            None => case.now = case.executor.poll_timeout(case.now).expect("a look"),
        }
    }
    let pauses: Vec<_> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] <= Duration::from_secs(20), "{pauses:?}");
    let most = pauses.iter().max().expect("several");
    let hour = Duration::from_secs(3600);
    assert!(*most >= hour / 2 && *most <= hour * 6 / 5, "{pauses:?}");
    assert_eq!(case.executor.moves(), None, "nobody could tell");
    assert!(case.executor.status().failing.contains_key("preflight"));

    // It is due, and so is something else.
    case.now += hour * 2;
    case.want(&[10]);
    let change = case.change().expect("what can be done is done first");
    case.hold(10);
    case.answer(&change, done());
    let preflights = case.executor.counters["preflight"];
    case.run(Duration::from_secs(1));

    assert_eq!(case.executor.counters["preflight"], preflights + 1);
    assert_eq!(case.executor.moves(), Some(false), "it was told");
    case.run(hour * 3);
    assert_eq!(case.executor.counters["preflight"], preflights + 1);
}

#[test]
fn a_preflight_that_comes_too_often_waits_and_nothing_else_does() {
    let mut case = Case::new(Mode::Auto);
    let minute = Duration::from_secs(60);
    let preflight = next_preflight(&mut case);
    case.want(&[10]);
    case.answer(&preflight, failed(ErrorClass::Throttled(Some(minute))));
    let throttled = case.now;

    let change = case.change().expect("a change is due");

    assert!(case.now < throttled + Duration::from_secs(1));
    case.hold(10);
    case.answer(&change, done());
    drop(next_preflight(&mut case));
    assert!(case.now >= throttled + minute);
}

#[test]
fn what_a_preflight_found_before_it_failed_is_shown() {
    let mut case = Case::new(Mode::Auto);
    let preflight = next_preflight(&mut case);
    let found = vec![Permission {
        action: "write".into(),
        granted: Some(false),
        detail: String::new(),
    }];
    let failed = failed(ErrorClass::Unavailable).expect_err("it is one");
    let found_in_part = Outcome::PermissionsInPart {
        found: found.clone(),
        failed,
    };

    case.answer(&preflight, Ok(found_in_part));

    let status = case.executor.status();
    assert_eq!(status.permissions, found);
    assert_eq!(status.failing["preflight"].times, 1);
    let began = case.now;
    drop(next_preflight(&mut case));
    assert!(case.now - began <= Duration::from_secs(20), "soon again");
}

fn next_preflight(case: &mut Case) -> Order {
    loop {
        match case.executor.poll(case.now) {
            Some(order) if order.operation == Operation::Preflight => return order,
            Some(order) => case.look(&order),
            None => case.now = case.executor.poll_timeout(case.now).expect("a look"),
        }
    }
}
