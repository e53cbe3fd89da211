//! Changing: each operation, each refusal, and what of a document is left alone.

use std::time::Duration;

use sam_capture::Provider;
use sam_capture::provider::{ErrorClass, NicId, Operation, Outcome};
use sam_cloud::azure::HIDDEN;
use serde_json::{Value, json};

use super::*;
use crate::crash;
use crate::lab::{Asking, Lab, address, addresses};
use crate::steady::{self, Router};

fn site(moves: bool) -> crash::Site {
    crash::Site {
        scenario: if moves { scenario } else { two_steps },
        client: |lab, name| Box::new(router(lab, name)),
        own: ("nic-a", nic("nic-a")),
        other: ("nic-b", nic("nic-b")),
    }
}

#[test]
fn a_router_that_dies_at_any_request_goes_on_where_it_was() {
    for moves in [true, false] {
        crash::dies_anywhere(&site(moves));
    }
}

#[test]
fn a_router_calls_seldom_while_nothing_happens() {
    steady::calls_seldom(&site(false));
}

#[test]
fn a_hundred_addresses_of_a_router_that_is_gone_take_two_changes_or_one() {
    for moves in [false, true] {
        let site = site(moves);
        let lab = Lab::serve((site.scenario)());
        let many: Vec<u8> = (100..200).collect();
        router(&lab, 'b').assign(&many).expect("free");
        let mut a = Router::start(&site, &lab, crash::settings(&site));
        // As long as the other one is there, the interface is prepared.
        a.want(steady::kept(&many), false);
        a.run(Duration::from_secs(60));
        let (changes, calls) = (lab.changes(), lab.all_calls());

        a.want(crash::capture(&many), true);
        a.run(Duration::from_secs(20));

        assert_eq!(lab.addresses("nic-a").len(), 101, "with its own");
        let ledger = lab.ledger();
        let requests = ledger[changes..].iter();
        let requests: BTreeSet<String> = requests
            .map(|record| record["request"].to_string())
            .collect();
        assert_eq!(requests.len(), if moves { 1 } else { 2 });
        let calls = lab.all_calls() - calls;
        assert!(calls < 25, "{calls} calls");
    }
}

/// A subscription that does not move addresses in one change.
fn two_steps() -> Value {
    let mut scenario = scenario();
    scenario["azure"]["atomicMove"] = json!(false);
    scenario
}

#[test]
fn a_batch_is_one_document_and_the_rest_of_it_stays() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let before = document(&lab, "nic-a");
    a.assign(&[30, 31]).expect("free addresses");
    assert_eq!(lab.calls(PUT), 1);
    assert_eq!(a.held(), addresses(&[30, 31]));
    let entry = a.observed().entries[&address(30)].clone();
    assert_eq!(entry.ours, Some(true));
    assert!(
        entry
            .id
            .expect("an id")
            .ends_with("/ipConfigurations/samctl-10-77-60-30")
    );
    assert_eq!(rest(document(&lab, "nic-a")), rest(before.clone()));
    a.assign(&[30]).expect("already ours");
    assert_eq!(lab.calls(PUT), 1, "nothing to send");
    a.unassign(&[30, 31]).expect("given back");
    assert_eq!(rest(document(&lab, "nic-a")), rest(before.clone()));
    let list =
        |document: &Value| document["properties"]["ipConfigurations"][0]["properties"].clone();
    assert_eq!(list(&document(&lab, "nic-a")), list(&before));
    assert_eq!(failed(a.unassign(&[30])).0, ErrorClass::AlreadyGone);
}

#[test]
fn what_others_hold_is_not_assigned_and_its_holder_is_found() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    a.assign(&[30]).expect("free");
    let held = failed(b.assign(&[31, 30]));
    assert_eq!(
        held,
        (ErrorClass::Held, "PrivateIPAddressIsAllocated".into())
    );
    assert!(b.held().is_empty());
    let holder = b.holder(30).expect("a");
    assert_eq!((holder.nic, holder.entry.ours), (nic("nic-a"), Some(true)));
    assert_eq!(holder.nic_version, a.observed().version);
    assert_eq!(failed(b.assign(&[20])).0, ErrorClass::LocalOwner);
    assert_eq!(failed(b.assign(&[1])).0, ErrorClass::Permanent, "reserved");
}

#[test]
fn an_address_is_stripped_from_one_and_put_on_the_other() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    a.assign(&[30, 31, 32]).expect("free");
    let before = document(&lab, "nic-a");
    let holder = b.holder(30).expect("a");
    let strip = Operation::Strip {
        nic: holder.nic,
        addresses: addresses(&[30, 31]),
        version: holder.nic_version,
    };
    b.ask(&strip).expect("stripped");
    assert_eq!(lab.addresses("nic-a"), ["10.77.60.10", "10.77.60.32"]);
    assert_eq!(rest(document(&lab, "nic-a")), rest(before));
    b.assign(&[30, 31]).expect("put on");
    assert_eq!(b.held(), addresses(&[30, 31]));
    assert_eq!(
        failed(b.ask(&strip)).0,
        ErrorClass::PreconditionLost,
        "decided on an old view"
    );
}

#[test]
fn an_address_moves_in_one_change_where_the_preflight_found_that() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    a.assign(&[30, 31]).expect("free");
    assert_eq!(
        failed(b.seize(&[30])),
        (ErrorClass::Permanent, "NoMoves".into())
    );
    assert_eq!(b.granted(MOVING), Some(true));
    assert!(b.capabilities().moves);
    let (puts, changes) = (lab.calls(PUT), lab.changes());
    b.seize(&[30, 31]).expect("moved");
    assert_eq!(b.held(), addresses(&[30, 31]));
    assert_eq!(
        (lab.calls(PUT), lab.changes()),
        (puts, changes + 2),
        "both NICs at once"
    );
    assert!(a.held().is_empty());
}

#[test]
fn a_move_that_came_too_late_moves_nothing() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    a.assign(&[30, 31]).expect("free");
    b.granted(MOVING);
    let held = [30, 31].map(|octet| (address(octet), b.holder(octet).expect("a")));
    a.unassign(&[31]).expect("given back");
    let late = failed(b.ask(&Operation::Seize {
        addresses: held.into(),
    }));
    assert_eq!(late.0, ErrorClass::PreconditionLost);
    assert_eq!(a.held(), addresses(&[30]));
}

#[test]
fn without_the_feature_nothing_moves_in_one_change() {
    let mut without = scenario();
    without["azure"]["atomicMove"] = json!(false);
    let lab = Lab::serve(without);
    let mut a = router(&lab, 'a');
    assert_eq!(a.granted(MOVING), None, "no lack of permission");
    assert!(!a.capabilities().moves);
}

#[test]
fn a_preflight_that_could_not_tell_in_passing_has_failed_and_forgets_nothing() {
    let refuse = |status: u16, code: &str| json!({"refuse": {"status": status, "code": code}});
    for effect in [
        refuse(503, "ServiceUnavailable"),
        refuse(429, "TooManyRequests"),
        refuse(409, "AnotherOperationInProgress"),
        refuse(401, "ExpiredAuthenticationToken"),
        refuse(403, "NobodyKnows"),
        refuse(400, "NobodyKnows"),
        json!("loseAnswer"),
    ] {
        let lab = lab();
        let mut a = router(&lab, 'a');
        let disturb = || lab.disturb(&json!({"operation": MOVE, "effect": effect}));
        disturb();
        assert_fails_in_part(&mut a);
        assert!(!a.capabilities().moves, "{effect}");
        lab.calm();
        assert_eq!(a.granted(MOVING), Some(true), "{effect}");
        disturb();
        assert_fails_in_part(&mut a);
        assert!(a.capabilities().moves, "{effect}: it is known");
    }
}

/// What is permitted otherwise is told all the same.
fn assert_fails_in_part(azure: &mut Azure) {
    let outcome = azure.ask(&Operation::Preflight);
    let Ok(Outcome::PermissionsInPart { found, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    let granted = |action: &str| {
        let mut found = found.iter().filter(|known| known.action == action);
        found.next().expect("an answer about it").granted
    };
    assert_eq!(granted(MOVING), None);
    assert_eq!(
        granted("Microsoft.Network/networkInterfaces/write"),
        Some(true)
    );
}

#[test]
fn a_preflight_that_is_told_that_there_are_no_moves_believes_it() {
    for (status, code, granted) in [
        (403, "AuthorizationFailed", Some(false)),
        (404, "InvalidResourceType", None),
    ] {
        let lab = lab();
        let mut a = router(&lab, 'a');
        assert_eq!(a.granted(MOVING), Some(true));
        let effect = json!({"refuse": {"status": status, "code": code}});
        lab.disturb(&json!({"operation": MOVE, "effect": effect}));
        assert_eq!(a.granted(MOVING), granted, "{code}");
        assert!(!a.capabilities().moves, "{code}");
    }
}

#[test]
fn moves_that_are_refused_are_not_tried_again_and_everything_is_decided_anew() {
    let refuse = |status: u16, code: &str| json!({"refuse": {"status": status, "code": code}});
    let (lost, open) = (ErrorClass::PreconditionLost, ErrorClass::Unknown);
    for (effect, class, code) in [
        (
            refuse(400, "SubscriptionNotRegisteredForFeature"),
            &lost,
            "SubscriptionNotRegisteredForFeature",
        ),
        (refuse(400, "NobodyKnows"), &lost, "NobodyKnows"),
        (
            refuse(403, "AuthorizationFailed"),
            &lost,
            "AuthorizationFailed",
        ),
        (json!("failOperation"), &open, "InternalServerError"),
    ] {
        let lab = lab();
        let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
        a.assign(&[30]).expect("free");
        b.granted(MOVING);
        lab.disturb(&json!({"operation": MOVE, "effect": effect}));
        assert_eq!(failed(b.seize(&[30])), (class.clone(), code.into()));
        assert!(!b.capabilities().moves, "{code}");
        assert_eq!(a.held(), addresses(&[30]));
    }
}

#[test]
fn a_move_that_fails_for_another_reason_is_tried_again() {
    let late = json!({"refuse": {"status": 429, "code": "TooManyRequests", "retryAfter": 1}});
    let busy = json!({"refuse": {"status": 409, "code": "AnotherOperationInProgress"}});
    for effect in [late, busy, json!("loseAnswer"), json!("loseRequest")] {
        let lab = lab();
        let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
        a.assign(&[30]).expect("free");
        b.granted(MOVING);
        lab.disturb(&json!({"operation": MOVE, "effect": effect}));
        b.seize(&[30]).expect_err("disturbed");
        assert!(b.capabilities().moves, "{effect}");
    }
}

#[test]
fn what_was_configured_by_hand_stays() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    configure(&lab, "nic-a", 40);
    assert_eq!(a.observed().entries[&address(40)].ours, Some(false));
    assert_eq!(
        failed(a.unassign(&[40])),
        (ErrorClass::Permanent, "NotOurs".into())
    );
    b.granted(MOVING);
    assert_eq!(
        failed(b.seize(&[40])),
        (ErrorClass::Permanent, "NotOurs".into())
    );
    let strip = |octet| Operation::Strip {
        nic: nic("nic-a"),
        addresses: addresses(&[octet]),
        version: None,
    };
    assert_eq!(failed(b.ask(&strip(40))).1, "NotOurs");
    assert_eq!(failed(b.ask(&strip(10))).0, ErrorClass::LocalOwner);
    assert_eq!(lab.addresses("nic-a"), ["10.77.60.10", "10.77.60.40"]);
}

#[test]
fn only_network_interfaces_of_our_subnet_are_changed() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    for other in [
        "https://example.com/x",
        "/subscriptions/s/x/../y",
        "nic-b",
        HIDDEN,
    ] {
        let strip = Operation::Strip {
            nic: NicId(other.into()),
            addresses: addresses(&[30]),
            version: None,
        };
        assert_eq!(
            failed(a.ask(&strip)),
            (ErrorClass::Permanent, "NoResourceId".into()),
            "{other}"
        );
    }
}

#[test]
fn forwarding_is_switched_and_nothing_else() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let switch = |enabled| Operation::SetForwarding {
        enabled,
        version: None,
    };
    let mut before = document(&lab, "nic-a");
    a.ask(&switch(true)).expect("on");
    assert!(a.observed().forwarding);
    before["properties"]["enableIPForwarding"] = json!(true);
    assert_eq!(rest(document(&lab, "nic-a")), rest(before));
    a.ask(&switch(true)).expect("it is on");
    assert_eq!(lab.calls(PUT), 1);
    a.ask(&switch(false)).expect("off");
    assert!(!a.observed().forwarding);
}

#[test]
fn a_full_nic_takes_no_more() {
    let mut small = scenario();
    small["azure"]["addressLimits"] = json!({"Standard_B2s": 3});
    let lab = Lab::serve(small);
    let mut a = router(&lab, 'a');
    a.assign(&[30, 31]).expect("three with the primary");
    assert_eq!(failed(a.assign(&[32])).0, ErrorClass::Capacity);
}

#[test]
fn nothing_is_repeated_when_it_is_too_often() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let refuse = json!({"refuse": {"status": 429, "code": "TooManyRequests", "retryAfter": 7}});
    lab.disturb(&json!({"operation": PUT, "effect": refuse}));
    let throttled = failed(a.assign(&[30])).0;
    assert_eq!(
        throttled,
        ErrorClass::Throttled(Some(Duration::from_secs(7)))
    );
    assert_eq!(lab.calls(PUT), 1);
}
