//! AWS: each operation, each refusal, and what is known after an answer was lost.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use sam_capture::Provider;
use sam_capture::provider::{ErrorClass, NicId, Operation, Outcome};
use sam_cloud::aws::Aws;
use sam_cloud::aws::policy::{PolicyScope, actions, policy};
use sam_cloud::http::{Call, Method};
use serde_json::{Value, json};

use crate::crash;
use crate::lab::{Asking, Ended, HoldsFor, Lab, Meanwhile, address, addresses, instance};
use crate::steady;

fn scenario() -> Value {
    json!({"seed": 7, "aws": {
        "region": "eu-central-1", "account": "123456789012",
        "subnets": [{"id": "subnet-a", "network": "vpc-a", "prefix": "10.77.60.0/24"}],
        "addressLimits": {"t3.medium": 6, "t3.small": 4},
        "roles": {
            "router": {"allow": ["ec2:*"], "nicTags": {"sam-group": "lab"}},
            "reader": {"allow": ["ec2:Describe*"]},
        },
        "instances": [
            instance("i-a", "t3.medium", "eni-a", 10),
            instance("i-b", "t3.medium", "eni-b", 11),
            {"id": "i-c", "type": "t3.small", "running": false, "nics": [{
                "id": "eni-c", "subnet": "subnet-a", "mac": "02:00:00:00:0a:14", "address": "10.77.60.20",
            }]},
        ],
    }})
}

fn lab() -> Lab {
    Lab::serve(scenario())
}

/// The router on an instance of [`scenario`].
fn router(lab: &Lab, name: char) -> Aws {
    let mac = if name == 'a' {
        "02:00:00:00:0a:0a"
    } else {
        "02:00:00:00:0a:0b"
    };
    Aws::new(&lab.settings(&format!("i-{name}"), mac)).expect("a client")
}

fn site() -> crash::Site {
    crash::Site {
        scenario,
        client: |lab, name| Box::new(router(lab, name)),
        own: ("eni-a", NicId("eni-a".into())),
        other: ("eni-b", NicId("eni-b".into())),
    }
}

#[test]
fn a_router_that_dies_at_any_request_goes_on_where_it_was() {
    crash::dies_anywhere(&site());
}

#[test]
fn a_router_calls_seldom_while_nothing_happens() {
    steady::calls_seldom(&site());
}

const ASSIGN: &str = "AssignPrivateIpAddresses";

#[test]
fn we_are_who_the_metadata_service_says_and_our_nic_is_what_ec2_describes() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let identity = a.identify().expect("an identity");
    assert_eq!(identity.region, "eu-central-1");
    assert_eq!(
        (identity.nic.0.as_str(), identity.subnet.as_str()),
        ("eni-a", "subnet-a")
    );
    assert_eq!(
        (identity.instance.as_str(), identity.vpc.as_str()),
        ("i-a", "vpc-a")
    );
    let observation = a.observed();
    assert_eq!(observation.nic, NicId("eni-a".into()));
    assert_eq!(observation.subnet.to_string(), "10.77.60.0/24");
    assert_eq!(
        (observation.limit, observation.forwarding),
        (Some(6), false)
    );
    assert!(observation.entries[&address(10)].primary);
    assert_eq!(observation.entries.len(), 1);
    assert!(a.credentials_expire().is_some());
}

#[test]
fn an_interface_that_is_not_ours_is_nobody() {
    let lab = lab();
    let settings = lab.settings("i-a", "02:00:00:00:0a:0b");
    let mut stranger = Aws::new(&settings).expect("a client");
    let refused = stranger.ask(&Operation::Observe).expect_err("no such NIC");
    assert_eq!(
        (refused.class, refused.code.as_str()),
        (ErrorClass::Permanent, "NoSuchNic")
    );
}

#[test]
fn holders_are_found_with_their_state_and_free_addresses_are_not_among_them() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let own = a.holder(10).expect("ourselves");
    assert_eq!(own.nic, NicId("eni-a".into()));
    let native = a.holder(20).expect("the native owner");
    assert!(native.entry.primary);
    assert_eq!(native.nic, NicId("eni-c".into()));
    assert_eq!(a.holder(99), None);
    assert_eq!(lab.calls(MACHINES), 0, "nobody asked whether they run");
}

const MACHINES: &str = "DescribeInstances";

#[test]
fn a_machine_that_is_stopped_stays_so_while_nobody_says_otherwise() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let mut running = || {
        let all = a.ask(&Operation::Inventory);
        let Ok(Outcome::Inventory(all)) = all else {
            return all.map(|_| None);
        };
        Ok(all[&address(20)].running)
    };
    let down = json!({"operation": MACHINES, "effect": {"refuse": {"status": 503, "code": "Unavailable"}}});
    lab.disturb(&down);
    let failed = running().expect_err("nobody has said yet that it is stopped");
    assert_eq!(failed.class, ErrorClass::Unavailable);
    lab.calm();
    assert_eq!(running(), Ok(Some(false)));
    for fault in [
        down,
        json!({"operation": MACHINES, "effect": "revoke"}),
        json!({"operation": MACHINES, "effect": "loseAnswer"}),
    ] {
        lab.disturb(&fault);
        assert_eq!(running(), Ok(Some(false)), "{fault}");
        lab.calm();
    }
    lab.run("i-c", true);
    assert_eq!(running(), Ok(Some(true)));
}

#[test]
fn addresses_are_assigned_moved_and_given_back() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    let done = a.assign(&[30, 31, 32]).expect("free addresses");
    assert!(
        matches!(
            done,
            Outcome::Done {
                request_id: Some(_)
            }
        ),
        "{done:?}"
    );
    assert_eq!(lab.calls(ASSIGN), 1, "one call for all");
    assert_eq!(a.held(), addresses(&[30, 31, 32]));
    a.assign(&[30]).expect("already ours");

    b.seize(&[30, 31]).expect("moved");
    assert_eq!(a.held(), addresses(&[32]));
    assert_eq!(b.held(), addresses(&[30, 31]));

    b.unassign(&[30]).expect("given back");
    assert_eq!(b.held(), addresses(&[31]));
    let gone = b.unassign(&[30]).expect_err("not there any more");
    assert_eq!(gone.class, ErrorClass::AlreadyGone);
}

#[test]
fn what_others_hold_is_not_assigned() {
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    a.assign(&[30]).expect("free");
    let held = b.assign(&[30, 31]).expect_err("held by a");
    assert_eq!(held.class, ErrorClass::Held);
    assert!(held.request_id.is_some(), "{held:?}");
    let owned = b.assign(&[20]).expect_err("the native owner's");
    assert_eq!(owned.class, ErrorClass::LocalOwner);
    let owned = b.seize(&[20]).expect_err("never sent");
    assert_eq!(
        (owned.class, owned.code.as_str()),
        (ErrorClass::LocalOwner, "PrimaryAddress")
    );
    assert!(b.held().is_empty());
    let outside = b.ask(&Operation::Assign {
        addresses: [[10, 0, 0, 1].into()].into(),
        version: None,
    });
    assert_eq!(outside.expect_err("outside").class, ErrorClass::Permanent);
}

#[test]
fn forwarding_is_switched() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let switch = |enabled| Operation::SetForwarding {
        enabled,
        version: None,
    };
    a.ask(&switch(true)).expect("on");
    assert!(a.observed().forwarding);
    a.ask(&switch(false)).expect("off");
    assert!(!a.observed().forwarding);
}

#[test]
fn a_full_nic_takes_no_more() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.assign(&[30, 31, 32, 33, 34])
        .expect("six with the primary");
    let full = a.assign(&[35]).expect_err("a seventh");
    assert_eq!(full.class, ErrorClass::Capacity);
}

#[test]
fn nothing_is_repeated_when_it_is_too_often() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.observed();
    lab.disturb(&json!({"operation": ASSIGN, "effect": {"refuse": {"status": 503, "code": "RequestLimitExceeded"}}}));
    let throttled = a.assign(&[30]).expect_err("too often");
    assert_eq!(throttled.class, ErrorClass::Throttled(None));
    assert_eq!(lab.calls(ASSIGN), 1);
}

#[test]
fn permissions_are_found_out_without_using_them() {
    let mut readers = scenario();
    readers["aws"]["instances"][1]["role"] = json!("reader");
    let lab = Lab::serve(readers);
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    for action in [
        ASSIGN,
        "UnassignPrivateIpAddresses",
        "ModifyNetworkInterfaceAttribute",
    ] {
        let action = format!("ec2:{action}");
        assert_eq!(a.granted(&action), Some(true), "{action}");
        assert_eq!(b.granted(&action), Some(false), "{action}");
    }
    assert_eq!(b.granted("ec2:DescribeNetworkInterfaces"), Some(true));
    assert_eq!(lab.changes(), 0);
    let denied = b.assign(&[30]).expect_err("a reader");
    assert_eq!(
        (denied.class, denied.code.as_str()),
        (ErrorClass::Denied, "UnauthorizedOperation")
    );
}

#[test]
fn expired_credentials_are_renewed_once() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let expired = |times| {
        let refuse = json!({"refuse": {"status": 400, "code": "ExpiredToken"}});
        json!({"operation": ASSIGN, "times": times, "effect": refuse})
    };
    lab.disturb(&expired(1));
    a.assign(&[30]).expect("with new credentials");
    assert_eq!(lab.calls(ASSIGN), 2);
    lab.disturb(&expired(5));
    let denied = a.assign(&[31]).expect_err("these do not help either");
    assert_eq!(denied.class, ErrorClass::Denied);
    assert_eq!(lab.calls(ASSIGN), 4);
    // The renewal asks for the reason again: it may have ended meanwhile.
    lab.calm();
    lab.disturb(&expired(1));
    let operation = Operation::Assign {
        addresses: addresses(&[31]),
        version: None,
    };
    let fenced = a
        .perform(&operation, &HoldsFor(Cell::new(2)))
        .expect_err("ended");
    assert_eq!(fenced.class, ErrorClass::Fenced);
    assert_eq!(lab.calls(ASSIGN), 5);
}

#[test]
fn no_role_and_no_metadata_service_are_told_apart() {
    let mut bare = scenario();
    bare["aws"]["instances"][0]
        .as_object_mut()
        .expect("an instance")
        .remove("role");
    let lab = Lab::serve(bare);
    let mut a = router(&lab, 'a');
    let denied = a.ask(&Operation::Observe).expect_err("no role");
    assert_eq!(
        (denied.class, denied.code.as_str()),
        (ErrorClass::Denied, "NoRole")
    );

    let mut b = router(&lab, 'b');
    lab.disturb(
        &json!({"operation": "Metadata", "effect": {"refuse": {"status": 503, "code": "x"}}}),
    );
    let missing = b.ask(&Operation::Observe).expect_err("no metadata");
    assert_eq!(
        (missing.class, missing.code.as_str()),
        (ErrorClass::Unavailable, "MetadataRefused")
    );
    lab.calm();
    b.observed();
    lab.disturb(&json!({"operation": "Metadata", "effect": "hang"}));
    b.observed();
    b.assign(&[30]).expect("what is known is enough");
}

#[test]
fn a_lost_answer_leaves_it_open_and_the_next_look_tells() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    for (octet, effect, happened) in [
        (30, "loseAnswer", true),
        (31, "loseRequest", false),
        (32, "cutAnswer", true),
    ] {
        let before = a.held();
        lab.disturb(&json!({"operation": ASSIGN, "times": 1, "effect": effect}));
        let lost = a.assign(&[octet]).expect_err("no answer");
        assert_eq!(lost.class, ErrorClass::Unknown, "{effect}: {lost}");
        assert_eq!(a.held() != before, happened, "{effect}");
    }
    assert_eq!(lab.calls(ASSIGN), 2, "the other one never arrived");
    lab.disturb(
        &json!({"operation": "DescribeNetworkInterfaces", "times": 1, "effect": "cutAnswer"}),
    );
    let cut = a.ask(&Operation::Observe).expect_err("half an answer");
    assert_eq!(
        (cut.class, cut.code.as_str()),
        (ErrorClass::Unavailable, "AnswerLost")
    );
}

#[test]
fn half_a_batch_and_a_server_error_leave_it_open() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    lab.disturb(&json!({"operation": ASSIGN, "times": 1, "effect": {"partial": 1}}));
    let open = a.assign(&[30, 31]).expect_err("an internal error");
    assert_eq!(
        (open.class, open.code.as_str()),
        (ErrorClass::Unknown, "InternalError")
    );
    assert_eq!(a.held(), addresses(&[30]));
}

#[test]
fn a_provider_that_cannot_be_reached_has_done_nothing() {
    let lab = lab();
    let mut settings = lab.settings("i-a", "02:00:00:00:0a:0a");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    settings.endpoints.api = Some(format!("http://{address}"));
    let mut a = Aws::new(&settings).expect("a client");
    let unreachable = a.assign(&[30]).expect_err("nobody there");
    assert_eq!(unreachable.class, ErrorClass::Unavailable, "{unreachable}");
}

#[test]
fn an_old_view_is_shown_as_it_is_read() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.assign(&[30]).expect("free");
    lab.disturb(&json!({"operation": "Describe*", "effect": {"stale": 600}}));
    assert!(a.held().is_empty());
    a.assign(&[30]).expect("no harm in asking twice");
    lab.calm();
    assert_eq!(a.held(), addresses(&[30]));
    assert_eq!(lab.changes(), 1);
}

#[test]
fn all_pages_are_read() {
    let mut paged = scenario();
    paged["aws"]["pageSize"] = json!(1);
    let lab = Lab::serve(paged);
    let mut a = router(&lab, 'a');
    let Ok(Outcome::Inventory(inventory)) = a.ask(&Operation::Inventory) else {
        panic!("no inventory");
    };
    let found: Vec<_> = inventory.keys().copied().collect();
    assert_eq!(found, [address(10), address(11), address(20)]);
    assert_eq!(inventory[&address(20)].running, Some(false));
    assert_eq!(a.holder(11).expect("b").nic, NicId("eni-b".into()));
}

#[test]
fn what_has_no_reason_any_more_is_not_sent() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.assign(&[30]).expect("free");
    let entries = a.observed().entries;
    let holder = a.holder(30).expect("ourselves");
    let (calls, changes) = (lab.calls(ASSIGN), lab.changes());
    let changes_of = [
        Operation::Assign {
            addresses: addresses(&[31]),
            version: None,
        },
        Operation::Seize {
            addresses: [(address(30), holder)].into(),
        },
        Operation::Unassign {
            addresses: [(address(30), entries[&address(30)].clone())].into(),
            version: None,
        },
        Operation::SetForwarding {
            enabled: true,
            version: None,
        },
    ];
    for operation in changes_of {
        let fenced = a.perform(&operation, &Ended).expect_err("no reason");
        assert_eq!(fenced.class, ErrorClass::Fenced, "{}", operation.name());
    }
    assert_eq!((lab.calls(ASSIGN), lab.changes()), (calls, changes));
    for other in [
        "UnassignPrivateIpAddresses",
        "ModifyNetworkInterfaceAttribute",
    ] {
        assert_eq!(lab.calls(other), 0);
    }
    a.perform(&Operation::Observe, &Ended)
        .expect("looking needs no reason");
}

#[test]
fn a_seize_takes_from_whoever_has_it_by_then() {
    // EC2 has no condition on the former holder: the reason is asked for last, and that is all there is.
    let lab = lab();
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    b.assign(&[30]).expect("free");
    let holder = a.holder(30).expect("b");
    let operation = Operation::Seize {
        addresses: [(address(30), holder)].into(),
    };
    let gone = std::sync::Mutex::new(b);
    let meanwhile = Meanwhile::new(|| {
        gone.lock()
            .expect("a lock")
            .unassign(&[30])
            .expect("given back");
    });
    a.perform(&operation, &meanwhile).expect("free by then");
    assert_eq!(a.held(), addresses(&[30]));
}

#[test]
fn a_strip_is_not_needed_here() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    assert!(a.capabilities().moves);
    let strip = Operation::Strip {
        nic: NicId("eni-b".into()),
        addresses: addresses(&[30]),
        version: None,
    };
    assert_eq!(
        a.ask(&strip).expect_err("never").class,
        ErrorClass::Permanent
    );
}

fn ten_minutes_late() -> SystemTime {
    SystemTime::now() - Duration::from_secs(600)
}

fn half_an_hour_late() -> SystemTime {
    SystemTime::now() - Duration::from_secs(1800)
}

#[test]
fn a_clock_that_is_off_is_corrected_within_reason() {
    let lab = lab();
    let mut settings = lab.settings("i-a", "02:00:00:00:0a:0a");
    settings.clock = ten_minutes_late;
    let mut late = Aws::new(&settings).expect("a client");
    late.assign(&[30]).expect("with the right time");
    let standing = late.standing();
    let offset = standing.clock_ahead.expect("a date");
    assert!((598..=602).contains(&offset), "{offset}");
    assert!(
        standing
            .credentials
            .is_some_and(|left| left > Duration::ZERO)
    );
    settings.clock = half_an_hour_late;
    let mut hopeless = Aws::new(&settings).expect("a client");
    let denied = hopeless.assign(&[31]).expect_err("too far off");
    assert_eq!(
        (denied.class, denied.code.as_str()),
        (ErrorClass::Denied, "RequestExpired")
    );
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let lab = lab();
    let base = format!("{}/instances/i-a/latest", lab.url);
    let second = Duration::from_secs(1);
    let token = Call::new(Method::Put, format!("{base}/api/token"), second);
    let token = lab.call(&token.with("x-aws-ec2-metadata-token-ttl-seconds", "60"));
    let token = String::from_utf8(token.body).expect("a token");
    let url = format!("{base}/meta-data/iam/security-credentials/router");
    let credentials =
        lab.call(&Call::new(Method::Get, url, second).with("x-aws-ec2-metadata-token", token));
    let credentials: Value = serde_json::from_slice(&credentials.body).expect("credentials");

    let mut a = router(&lab, 'a');
    a.observed();
    let mut shown = format!("{a:?}");
    for effect in [
        json!("loseAnswer"),
        json!({"refuse": {"status": 403, "code": "UnauthorizedOperation"}}),
        json!({"refuse": {"status": 400, "code": "AuthFailure"}}),
    ] {
        lab.calm();
        lab.disturb(&json!({"operation": ASSIGN, "effect": effect}));
        let failed = a.assign(&[30]).expect_err("refused");
        shown.push_str(&format!("{failed} {failed:?} {a:?}"));
    }
    for secret in ["SecretAccessKey", "Token"] {
        let secret = credentials[secret].as_str().expect("a secret");
        assert!(secret.len() > 8 && !shown.contains(secret));
    }
    assert!(!shown.contains("Signature="), "{shown}");
}

fn says_what_runs(a: &mut Aws) -> bool {
    let all = a.ask(&Operation::Inventory);
    matches!(all, Ok(Outcome::Inventory(all)) if all[&address(20)].running.is_some())
}

/// Lets a router with a role do everything there is, and tells whether nothing was missing.
fn everything_goes(allowed: &[&str]) -> bool {
    let mut with = scenario();
    with["aws"]["roles"]["router"]["allow"] = json!(allowed);
    let lab = Lab::serve(with);
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    let forwarding = Operation::SetForwarding {
        enabled: true,
        version: None,
    };
    let Ok(Outcome::Observed(observation)) = a.ask(&Operation::Observe) else {
        return false;
    };
    observation.limit.is_some()
        && b.holder(20).is_some()
        && says_what_runs(&mut a)
        && a.assign(&[30]).is_ok()
        && b.seize(&[30]).is_ok()
        && b.unassign(&[30]).is_ok()
        && a.ask(&forwarding).is_ok()
}

#[test]
fn the_policy_is_enough_and_has_nothing_that_is_not_needed() {
    let scope = PolicyScope {
        region: "eu-central-1".into(),
        account: "123456789012".into(),
        group: "lab".into(),
    };
    let policy = policy(&scope);
    let allowed = actions(&policy);
    assert!(everything_goes(&allowed));
    for removed in &allowed {
        let rest: Vec<&str> = allowed
            .iter()
            .copied()
            .filter(|kept| kept != removed)
            .collect();
        assert!(!everything_goes(&rest), "{removed} is not needed");
    }
}
