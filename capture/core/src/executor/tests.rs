//! What the executor orders, and how it reacts to each class of failure, one case at a time; all together are tried in
//! `tests/reconciler`.

use super::*;
use crate::desired::{Absence, KeepReason};
use crate::fence::PathSignature;
use crate::node::NodeId;
use crate::pool::Pool;
use crate::provider::{Entry, ErrorClass, Holder, NicId, Outcome, Permission, ProviderError};

mod approval;
mod case;
mod load;
mod rhythm;

use self::case::*;

#[test]
fn a_free_address_is_looked_for_and_assigned_then_looked_at_again() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);

    let order = case.change().expect("an order");

    let Operation::Assign { addresses, .. } = &order.operation else {
        panic!("{order:?}")
    };
    assert_eq!(*addresses, [address(10)].into());
    let ticket = order.ticket.clone().expect("a ticket");
    assert_eq!(case.executor.authority.check(&ticket, case.now), Ok(()));
    assert_eq!(case.state(10), State::Changing);
    case.answer(&order, done());
    case.hold(10);
    let due = case.executor.poll_timeout(case.now).expect("a look");
    assert!(due <= case.now + Duration::from_secs(1), "confirmed soon");
    case.run(Duration::from_secs(2));
    assert_eq!(case.state(10), State::Held);
    assert!(case.told.contains(&News::Captured(address(10))));
}

#[test]
fn the_journal_knows_of_a_change_before_it_is_sent() {
    let mut case = Case::new(Mode::Auto);
    case.observation.forwarding = false;
    case.want(&[10]);

    let forwarding = case.change().expect("an order");
    let before = case.records();
    case.observation.forwarding = true;
    case.answer(&forwarding, done());
    let assign = case.change().expect("an order");
    let after = case.records();

    assert_eq!(before.first(), Some(&Record::Forwarding { before: false }));
    let addresses = BTreeSet::from([address(10)]);
    assert!(after.contains(&Record::Mark { addresses }), "{after:?}");
    let intent =
        |record: &Record| matches!(record, Record::Intent { order, .. } if *order == assign.id);
    assert!(after.iter().any(intent), "{after:?}");
}

#[test]
fn what_comes_while_a_change_is_under_way_is_done_in_one_go() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let first = case.change().expect("an order");
    for wanted in [&[10, 11][..], &[10, 11, 12]] {
        case.want(wanted);
    }

    case.answer(&first, done());
    case.hold(10);
    let second = case.change().expect("another order");

    let both = [address(11), address(12)].into();
    assert_eq!(addresses_of(&second.operation), both);
}

#[test]
fn addresses_that_take_too_long_to_look_for_are_looked_for_in_parts() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10, 11, 12, 13]);

    let change = (0..100).find_map(|_| {
        let Some(order) = case.executor.poll(case.now) else {
            case.now = case.executor.poll_timeout(case.now).expect("more to do");
            return None;
        };
        if order.ticket.is_some() {
            return Some(order);
        }
        let is_slow = matches!(&order.operation, Operation::FindHolders(all) if all.len() > 2);
        case.now += Duration::from_secs(if is_slow { 11 } else { 1 });
        case.look(&order);
        None
    });

    let change = change.expect("a change in the end");
    assert_eq!(addresses_of(&change.operation).len(), 2);
}

#[test]
fn a_refused_batch_is_cut_until_the_bad_address_is_found() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10, 11, 12, 13, 14]);
    let mut sent = Vec::new();
    while let Some(order) = case.change_within(Duration::from_secs(300)) {
        let addresses = addresses_of(&order.operation);
        assert!(!sent.contains(&addresses), "{addresses:?} was sent twice");
        let bad = addresses.contains(&address(13));
        if !bad {
            addresses.iter().for_each(|at| case.hold(at.octets()[3]));
        }
        sent.push(addresses);
        case.answer(
            &order,
            if bad {
                failed(ErrorClass::LocalOwner)
            } else {
                done()
            },
        );
        if sent.len() > 20 {
            break;
        }
    }

    assert_eq!(case.state(13), State::Waiting);
    for last in [10, 11, 12, 14] {
        assert_eq!(case.state(last), State::Held, "{last}");
    }
}

#[test]
fn an_unknown_outcome_is_looked_at_before_anything_is_repeated() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    // It happened, though nobody said so.
    case.hold(10);

    case.answer(&order, failed(ErrorClass::Unknown));

    assert_eq!(case.change(), None);
    assert_eq!(case.state(10), State::Held);
}

#[test]
fn what_a_sibling_took_a_moment_after_us_is_not_held_and_can_be_taken_again() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    case.answer(&order, done());
    case.run(Duration::from_secs(1));
    assert!(case.executor.may_hold(), "no look has shown it yet");
    case.hold(10);
    case.run(Duration::from_secs(3));

    // A sibling takes it at once, sooner than a look may be behind.
    case.keep(&[10]);
    case.observation.entries.remove(&address(10));
    case.executor.observe_at = case.now;
    case.run(Duration::ZERO);

    assert!(!case.executor.may_hold());
    case.want(&[10]);
    let again = case.change_within(Duration::from_secs(1));
    assert!(again.is_some(), "what the sibling leaves is free");
}

#[test]
fn what_did_not_come_is_not_ours_if_it_comes_later() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    let refused = failed(ErrorClass::Unavailable);
    case.answer(&order, refused);

    assert_eq!(case.executor.prior.marks, [].into());

    let order = case.change().expect("another try");
    case.answer(&order, failed(ErrorClass::Unknown));
    assert_eq!(case.executor.prior.marks, [address(10)].into());
}

#[test]
fn a_refusal_that_nobody_knows_is_counted_and_its_words_are_kept() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    let refused = failed(ErrorClass::Permanent).map_err(|error| ProviderError {
        unclassified: true,
        ..error
    });
    case.answer(&order, refused);
    let status = case.executor.status();
    assert_eq!(
        (
            status.counters["unclassified"],
            status.counters["permanent"]
        ),
        (1, 1)
    );
    let words = "permanent: as ordered".to_owned();
    assert_eq!(status.unclassified, Some((case.now, words)));
}

#[test]
fn no_room_stops_captures_for_two_minutes() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    case.answer(&order, failed(ErrorClass::Capacity));
    let start = case.now;

    let order = case.change().expect("another try");

    assert!(case.now >= start + Duration::from_secs(120));
    assert!(matches!(order.operation, Operation::Assign { .. }));
}

#[test]
fn missing_permission_makes_slow() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    for pause in [30, 60, 120, 240, 300, 300] {
        let order = case.change().expect("an order");
        let start = case.now;
        case.answer(&order, failed(ErrorClass::Denied));
        let due = case
            .executor
            .works
            .values()
            .next()
            .expect("it stays")
            .not_before;
        assert_eq!(due, Some(start + Duration::from_secs(pause)));
    }
}

#[test]
fn an_address_that_is_taken_again_and_again_is_left_alone() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    case.hold(10);
    case.run(Duration::from_secs(1));
    let mut lost = 0;
    while lost < 3 {
        case.observation.entries.remove(&address(10));
        case.executor.observe_at = case.now;
        case.executor.pending.clear();
        lost += 1;
        let Some(order) = case.change_within(Duration::from_secs(5)) else {
            break;
        };
        case.answer(&order, done());
        case.hold(10);
        case.run(Duration::from_secs(1));
    }

    assert_eq!(lost, 3);
    assert_eq!(case.state(10), State::Waiting);
    let hold = Some(Duration::from_secs(30));
    assert!(case.told.contains(&News::Lost(address(10), hold)));
}

#[test]
fn nothing_is_released_while_the_journal_cannot_be_written() {
    let mut case = Case::new(Mode::Auto);
    case.hold(10);
    case.unwanted(&[10]);
    case.executor.set_journal_failed(true);
    assert_eq!(case.change_within(Duration::from_secs(200)), None);

    case.executor.set_journal_failed(false);

    let order = case.change().expect("an order");
    assert!(matches!(order.operation, Operation::Unassign { .. }));
}

#[test]
fn where_only_the_journal_marks_nothing_is_captured_while_it_fails() {
    for marks in [false, true] {
        let mut case = Case::new(Mode::Auto);
        case.executor.capabilities.marks = marks;
        case.want(&[10]);
        case.executor.set_journal_failed(true);
        let order = case.change_within(Duration::from_secs(200));
        assert_eq!(order.is_some(), marks);
    }
}

#[test]
fn a_journal_that_failed_is_tried_again_though_nothing_is_sent() {
    let mut case = Case::new(Mode::Auto);
    case.hold(10);
    case.unwanted(&[10]);
    case.executor.set_journal_failed(true);
    assert_eq!(case.change_within(Duration::from_secs(60)), None);
    let records = case.records();
    assert!((5..=8).contains(&records.len()), "{records:?}");

    case.executor.set_journal_failed(false);

    let before = case.executor.prior.clone();
    records
        .iter()
        .for_each(|record| case.executor.prior.apply(record));
    assert_eq!(case.executor.prior, before, "they say nothing new");
    case.change().expect("an order");
}

#[test]
fn what_a_machine_here_has_is_not_tried_again_until_the_machine_is_gone() {
    let mut case = Case::new(Mode::Auto);
    case.sibling("nic-b", 2);
    case.gone = [NodeId(2)].into();
    case.elsewhere(10, "nic-b");
    case.want(&[10]);
    let order = case.change().expect("an order");
    case.answer(&order, failed(ErrorClass::LocalOwner));

    assert_eq!(case.change_within(Duration::from_secs(24 * 3600)), None);
    assert_eq!(case.state(10), State::Waiting);

    case.elsewhere.clear();
    let order = case.change().expect("another try");
    assert_eq!(order.operation.name(), "assign");
}

#[test]
fn what_is_refused_for_an_unknown_reason_is_tried_less_and_less_often() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let mut last = None;
    for minutes in [0, 10, 20, 40, 80, 160, 320, 360, 360] {
        let order = case
            .change_within(Duration::from_secs(30_000))
            .expect("a try");
        let pause = last.map_or(Duration::ZERO, |last| case.now - last);
        let expected = Duration::from_secs(minutes * 60);
        // It is noticed by the next look.
        let late = Duration::from_secs(if minutes > 0 { 80 } else { 0 });
        assert!(
            expected <= pause && pause <= expected + late,
            "{pause:?} {minutes}"
        );
        last = Some(case.now);
        case.answer(&order, failed(ErrorClass::Permanent));
    }

    case.sequence += 1;
    case.want(&[10]);
    let soon = case.change_within(Duration::from_secs(5));
    assert!(soon.is_some(), "another route is another matter");
}

#[test]
fn who_cannot_or_may_not_change_anything_says_so() {
    for mode in Mode::ALL {
        let mut case = Case::new(mode);
        assert!(!case.executor.is_able(case.now), "nothing was seen yet");
        case.run(Duration::from_secs(5));
        assert_eq!(case.executor.is_able(case.now), mode >= Mode::Approve);
    }
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    case.answer(&order, failed(ErrorClass::Denied));
    assert!(!case.executor.is_able(case.now));
    let order = case.change().expect("another try");
    case.answer(&order, done());
    assert!(case.executor.is_able(case.now));

    // Looks that fail for a moment say nothing.
    let start = case.now;
    case.observation.entries.remove(&address(5));
    case.executor.observe_at = case.now;
    case.run(Duration::from_secs(20));
    assert!(case.executor.is_able(case.now));
    case.run(Duration::from_secs(40));
    assert!(!case.executor.is_able(case.now), "{:?}", case.now - start);
}

#[test]
fn the_subnet_is_listed_regularly_and_a_list_that_is_refused_holds_nothing_up() {
    let mut case = Case::new(Mode::Auto);
    let mut settings = case.executor.settings.clone();
    settings.inventory = Some(Rhythm::steady(Duration::from_secs(20)));
    case.executor.set_settings(settings, case.now);
    let start = case.now;
    let mut lists = 0;
    let mut seconds = 0;
    while seconds < 120 {
        let Some(order) = case.executor.poll(case.now) else {
            case.now = case.executor.poll_timeout(case.now).expect("a list is due");
            seconds = (case.now - start).as_secs();
            continue;
        };
        if order.ticket.is_some() {
            assert!(lists > 3);
            return;
        }
        if order.operation != Operation::Inventory {
            case.look(&order);
            continue;
        }
        lists += 1;
        if lists <= 3 {
            case.look(&order);
        } else {
            case.answer(&order, failed(ErrorClass::Denied));
            case.want(&[10]);
        }
    }
    panic!("nothing is captured after {lists} lists");
}

#[test]
fn what_is_given_back_by_order_needs_no_approval_and_forwarding_follows() {
    for mode in [Mode::Approve, Mode::Auto] {
        let mut case = Case::new(mode);
        case.executor.prior.forwarding = Some(false);
        case.hold(10);
        case.restores = true;
        case.set(&[10], |_| Want::Absent(Absence::Ordered));
        let order = case.change().expect("an order");
        assert_eq!(order.operation.name(), "unassign");
        case.observation.entries.remove(&address(10));
        case.answer(&order, done());

        let order = case.change().expect("an order");

        let stops = |operation: &Operation| {
            matches!(operation, Operation::SetForwarding { enabled: false, .. })
        };
        assert!(stops(&order.operation), "{order:?}");
        case.observation.forwarding = false;
        case.answer(&order, done());
        assert_eq!(case.change_within(Duration::from_secs(200)), None);
        assert_eq!(case.executor.prior.forwarding, None);
        assert!(case.records().contains(&Record::Restored));
    }
}

#[test]
fn what_is_ordered_does_not_wait_for_what_needs_approval() {
    let mut case = Case::new(Mode::Approve);
    case.hold(10);
    case.hold(11);
    case.set(&[10, 11], |at| {
        Want::Absent(if at == address(11) {
            Absence::Ordered
        } else {
            Absence::OwnedHere
        })
    });

    let order = case.change().expect("an order");

    assert_eq!(addresses_of(&order.operation), [address(11)].into());
    case.observation.entries.remove(&address(11));
    case.answer(&order, done());
    case.run(Duration::from_secs(60));
    assert_eq!(case.state(10), State::AwaitsApproval);
}

#[test]
fn a_look_that_fails_is_shown_with_its_class_until_it_succeeds() {
    let mut case = Case::new(Mode::Auto);
    let first = case.look_in_vain(3);
    let failing = case.executor.status().failing;
    let look = &failing["find-holders"];
    assert_eq!((look.class, look.since), ("permanent", first));
    assert!(look.detail.contains("as ordered"), "{}", look.detail);

    case.change()
        .expect("the look succeeds, and the change follows");

    assert!(case.executor.status().failing.is_empty());
}

#[test]
fn a_look_that_fails_is_shown_no_more_when_nothing_waits_for_it() {
    let mut case = Case::new(Mode::Auto);
    case.look_in_vain(1);

    case.keep(&[10]);
    case.run(Duration::from_secs(1));

    assert!(case.executor.status().failing.is_empty());
}

#[test]
fn a_look_without_the_primary_address_is_not_believed() {
    let mut case = Case::new(Mode::Auto);
    case.hold(10);
    case.unwanted(&[10]);
    case.observation.entries.remove(&address(5));

    assert_eq!(case.change_within(Duration::from_secs(100)), None);

    assert!(case.executor.status().invalid.is_some());
}

#[test]
fn another_nic_than_the_configured_one_is_not_touched() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    case.observation.nic = NicId("nic-other".into());

    assert_eq!(case.change_within(Duration::from_secs(100)), None);
}

#[test]
fn complaints_about_the_rate_are_heeded() {
    let mut case = Case::new(Mode::Auto);
    case.want(&[10]);
    let order = case.change().expect("an order");
    let start = case.now;
    let after = Some(Duration::from_secs(7));
    case.answer(&order, failed(ErrorClass::Throttled(after)));

    case.change().expect("another try");

    assert!(case.now >= start + Duration::from_secs(7));
    assert_eq!(case.executor.pace.halvings(), 1);
}
