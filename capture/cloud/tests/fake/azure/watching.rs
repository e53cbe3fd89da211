//! Between decision, request and effect: reasons that end, edits that interfere, operations that go on.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sam_capture::Provider;
use sam_capture::provider::{ErrorClass, Fence, Operation, Version};
use serde_json::json;

use super::*;
use crate::lab::{Asking, Ended, HoldsFor, Meanwhile, address, addresses};

#[test]
fn a_lost_answer_leaves_it_open_and_the_next_look_tells() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    for (effect, octet, happened) in [("loseAnswer", 30, true), ("loseRequest", 31, false)] {
        lab.disturb(&json!({"operation": PUT, "times": 1, "effect": effect}));
        assert_eq!(
            failed(a.assign(&[octet])).0,
            ErrorClass::Unknown,
            "{effect}"
        );
        assert_eq!(a.held().contains(&address(octet)), happened, "{effect}");
    }
}

#[test]
fn a_hand_edit_between_read_and_write_survives() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let assign = Operation::Assign {
        addresses: addresses(&[30]),
        version: None,
    };
    let meanwhile = Meanwhile::new(|| tag(&lab, "nic-a"));
    let lost = failed(a.perform(&assign, &meanwhile));
    assert_eq!(
        lost,
        (ErrorClass::PreconditionLost, "PreconditionFailed".into())
    );
    assert_eq!(document(&lab, "nic-a")["tags"]["by"], "hand");
    assert_eq!(lab.addresses("nic-a"), ["10.77.60.10"]);
}

#[test]
fn a_change_decided_on_another_version_is_not_made() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let version = a.observed().version;
    tag(&lab, "nic-a");
    let assign = Operation::Assign {
        addresses: addresses(&[30]),
        version,
    };
    // What was seen is in hand, and its etag goes with it; the second time it is read anew.
    for code in ["PreconditionFailed", "EtagChanged"] {
        let lost = (ErrorClass::PreconditionLost, code.to_owned());
        assert_eq!(failed(a.ask(&assign)), lost);
    }
    assert_eq!(lab.addresses("nic-a"), ["10.77.60.10"]);
    assert_eq!(document(&lab, "nic-a")["tags"]["by"], "hand");
    let puts = lab.calls(PUT);
    let switch = Operation::SetForwarding {
        enabled: true,
        version: Some(Version("old".into())),
    };
    assert_eq!(failed(a.ask(&switch)).1, "EtagChanged");
    assert_eq!(lab.calls(PUT), puts);
}

#[test]
fn what_has_no_reason_any_more_is_not_sent() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    a.assign(&[30]).expect("free");
    b.granted(MOVING);
    let (puts, moves, changes) = (lab.calls(PUT), lab.calls(MOVE), lab.changes());
    let holder = b.holder(30).expect("a");
    let entry = a.observed().entries[&address(30)].clone();
    let strip = Operation::Strip {
        nic: nic("nic-a"),
        addresses: addresses(&[30]),
        version: None,
    };
    let seize = Operation::Seize {
        addresses: [(address(30), holder)].into(),
    };
    let assign = Operation::Assign {
        addresses: addresses(&[31]),
        version: None,
    };
    let unassign = Operation::Unassign {
        addresses: [(address(30), entry)].into(),
        version: None,
    };
    let switch = Operation::SetForwarding {
        enabled: true,
        version: None,
    };
    for operation in [strip, seize, assign.clone(), switch] {
        let fenced = failed(b.perform(&operation, &Ended));
        assert_eq!(fenced.0, ErrorClass::Fenced, "{}", operation.name());
    }
    assert_eq!(failed(a.perform(&unassign, &Ended)).0, ErrorClass::Fenced);
    assert_eq!(
        (lab.calls(PUT), lab.calls(MOVE), lab.changes()),
        (puts, moves, changes)
    );

    // The reason ends while the interface is read.
    let before = lab.calls(GET);
    let reason = HoldsFor(Cell::new(0));
    assert_eq!(failed(b.perform(&assign, &reason)).0, ErrorClass::Fenced);
    assert_eq!((lab.calls(GET), lab.calls(PUT)), (before + 1, puts));
}

#[test]
fn an_operation_is_watched_to_its_end() {
    let lab = slow_lab(1500);
    let mut a = router(&lab, 'a');
    let start = Instant::now();
    a.assign(&[30]).expect("in the end");
    assert!(start.elapsed() >= Duration::from_millis(1500));
    assert!(
        (1..=7).contains(&lab.calls("GetOperation")),
        "four times a second"
    );
    assert_eq!(a.held(), addresses(&[30]));
}

#[test]
fn an_operation_that_may_not_be_asked_for_shows_in_the_interface() {
    let lab = slow_lab(1500);
    let mut a = router(&lab, 'a');
    lab.disturb(&json!({"operation": "GetOperation", "effect": "revoke"}));
    a.assign(&[30]).expect("in the end");
    assert_eq!(a.held(), addresses(&[30]));
}

/// Lets something happen when the reason is asked for the third time: while an operation is watched.
struct Watched<F: Fn()>(Cell<u32>, F);

impl<F: Fn()> Fence for Watched<F> {
    fn is_current(&self) -> bool {
        self.0.set(self.0.get() + 1);
        if self.0.get() == 3 {
            (self.1)();
        }
        true
    }
}

#[test]
fn an_operation_that_another_one_overtook_is_no_success() {
    let lab = slow_lab(2500);
    let mut a = router(&lab, 'a');
    let assign = Operation::Assign {
        addresses: addresses(&[30]),
        version: None,
    };
    let overtaken = failed(a.perform(&assign, &Watched(Cell::new(0), || tag(&lab, "nic-a"))));
    let code = "CanceledAndSupersededDueToAnotherOperation".to_owned();
    assert_eq!(overtaken, (ErrorClass::PreconditionLost, code));
    assert_eq!(lab.addresses("nic-a"), ["10.77.60.10"]);
}

#[test]
fn while_an_operation_is_under_way_no_other_is_started() {
    let lab = slow_lab(3000);
    let mut a = router(&lab, 'a');
    a.observed();
    tag(&lab, "nic-a");
    let puts = lab.calls(PUT);
    assert_eq!(failed(a.ask(&Operation::Observe)).0, ErrorClass::Busy);
    assert_eq!(failed(a.assign(&[30])).0, ErrorClass::Busy);
    assert_eq!(lab.calls(PUT), puts);
}

#[test]
fn what_was_sent_and_is_watched_no_longer_is_open() {
    let lab = lab();
    let mut a = router_within(&lab, 'a', Duration::from_millis(1500));
    lab.disturb(&json!({"operation": PUT, "effect": "hangOperation"}));
    let late = failed(a.assign(&[30]));
    assert_eq!(late, (ErrorClass::Unknown, "OperationDeadline".into()));

    let lab = slow_lab(5000);
    let mut a = router(&lab, 'a');
    let assign = Operation::Assign {
        addresses: addresses(&[30]),
        version: None,
    };
    let ended = failed(a.perform(&assign, &HoldsFor(Cell::new(2))));
    assert_eq!(ended, (ErrorClass::Unknown, "FencedWhileWaiting".into()));
}

#[test]
fn an_operation_that_fails_for_no_known_reason_leaves_it_open() {
    let lab = slow_lab(500);
    let mut a = router(&lab, 'a');
    lab.disturb(&json!({"operation": PUT, "effect": "failOperation"}));
    assert_eq!(
        failed(a.assign(&[30])),
        (ErrorClass::Unknown, "InternalServerError".into())
    );
    assert!(a.held().is_empty());
}

#[test]
fn success_is_what_the_interface_shows() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.observed();
    let stale =
        |times| json!({"operation": GET, "skip": 1, "times": times, "effect": {"stale": 600}});
    lab.disturb(&stale(1));
    a.assign(&[30]).expect("one old read is waited out");
    lab.disturb(&stale(9));
    assert_eq!(
        failed(a.assign(&[31])),
        (ErrorClass::Unknown, "NotShown".into())
    );
    lab.calm();
    assert_eq!(a.held(), addresses(&[30, 31]));
}
