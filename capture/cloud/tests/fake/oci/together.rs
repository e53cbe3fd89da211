//! Several calls at the same time, each for an address of its own.

use super::*;

#[test]
fn a_fence_that_ends_in_the_middle_stops_the_rest() {
    let lab = lab();
    let mut b = router_b(&lab);
    // Once for all, then for each of those that are about to be sent.
    let twice = HoldsFor(Cell::new(3));
    let failed = b
        .perform(&assignment(&[20, 21, 22]), &twice)
        .expect_err("fenced");
    assert!(failed.message.starts_with("2 of 3"), "{failed:?}");
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::Unknown, "Fenced")
    );
    assert_eq!(lab.calls("CreatePrivateIp"), 2);
    let sent = octets(&lab, "vnic-b").split_off(1);
    assert_eq!(sent.len(), 2);
    let own = b.observed();
    let entry = &own.entries[&address(sent[0])];
    let forward = Operation::SetForwarding {
        enabled: true,
        version: own.version.clone(),
    };
    let seize = seizure(&mut b, 10);
    for operation in [assignment(&[23]), release(sent[0], entry), forward, seize] {
        let failed = b.perform(&operation, &Ended).expect_err("fenced");
        assert_eq!(failed.class, ErrorClass::Fenced, "{operation:?}");
    }
    for change in ["DeletePrivateIp", "UpdateVnic", "UpdatePrivateIp"] {
        assert_eq!(lab.calls(change), 0, "{change}");
    }
}

#[test]
fn eight_addresses_take_as_long_as_one() {
    let mut slow = scenario();
    slow["oci"]["addressLimits"]["lab"] = json!(16);
    slow["oci"]["latency"] = json!({"readMs": 1000, "writeMs": 1000});
    let lab = Lab::serve(slow);
    let (mut a, mut b) = (router_a(&lab), router_b(&lab));
    // Tokens and the subnet are asked for once.
    assert_eq!((a.holder(99), b.holder(99)), (None, None));
    let eight: Vec<u8> = (20..28).collect();
    let taking = |act: &mut dyn FnMut()| {
        let start = Instant::now();
        act();
        start.elapsed()
    };

    let assigned = taking(&mut || assert!(is_done(&a.ask(&assignment(&eight)))));
    let mut holders = BTreeMap::new();
    let found = taking(&mut || holders = b.holders(&eight));
    let seize = Operation::Seize { addresses: holders };
    let seized = taking(&mut || assert!(is_done(&b.ask(&seize))));

    assert_eq!(octets(&lab, "vnic-b")[1..], eight[..]);
    for (what, taken) in [("assign", assigned), ("find", found), ("seize", seized)] {
        assert!(taken < Duration::from_secs(3), "{what}: {taken:?}");
    }
}

#[test]
fn of_answers_that_are_lost_in_a_batch_nobody_knows() {
    let lab = lab();
    let mut b = router_b(&lab);
    disturb(&lab, "CreatePrivateIp", &json!("loseAnswer"));
    let failed = refused(&mut b, &assignment(&[20, 21]));
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::Unknown, "AnswerLost")
    );
    assert_eq!(lab.calls("CreatePrivateIp"), 2, "nothing is repeated");
    assert_eq!(octets(&lab, "vnic-b"), [5, 20, 21]);
}
