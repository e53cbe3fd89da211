//! Frames that a provider's network delivers, answers or drops.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::Scenario;
use crate::cloud::{Cause, Edits};
use crate::nic::Holding;

const ROUTER: &str = "eni-0a";
const HOST: &str = "eni-0b";
const CAPTURED: [u8; 4] = [10, 77, 60, 10];
const ROUTER_ADDRESS: [u8; 4] = [10, 77, 60, 4];
const HOST_ADDRESS: [u8; 4] = [10, 77, 60, 5];
const ELSEWHERE: [u8; 4] = [10, 77, 60, 99];

#[test]
fn the_holder_gets_what_is_sent_to_it_whatever_the_mac() {
    let mut world = world("aws", &json!({}));

    for broadcast_or_not in [[2, 0, 0, 0, 0, 4], [6, 6, 6, 6, 6, 6]] {
        let frame = packet(HOST, broadcast_or_not, HOST_ADDRESS, CAPTURED);
        let expected = Verdict::Deliver {
            to: port(ROUTER),
            ethernet: [2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 5],
        };
        assert_eq!(world.carry(&port(HOST), &frame, start()), expected);
    }
}

#[test]
fn what_nobody_holds_goes_nowhere_and_groups_are_not_served() {
    let mut world = world("aws", &json!({}));
    let unicast = [2, 0, 0, 0, 0, 4];
    for (mac, to, reason) in [
        (unicast, ELSEWHERE, Reason::Nobody),
        (unicast, [8, 8, 8, 8], Reason::Nobody),
        (unicast, [224, 0, 0, 18], Reason::NotForUs),
        (unicast, [255; 4], Reason::NotForUs),
        ([0xff; 6], CAPTURED, Reason::NotForUs),
    ] {
        let frame = packet(HOST, mac, HOST_ADDRESS, to);
        let verdict = world.carry(&port(HOST), &frame, start());
        assert_eq!(verdict, Verdict::Drop(reason), "{to:?}");
    }
    let dropped = &world.clouds[&Provider::Aws].traffic.dropped;
    assert_eq!(
        (dropped[&Reason::Nobody], dropped[&Reason::NotForUs]),
        (2, 3)
    );
}

#[test]
fn nobody_sends_in_another_ones_name_but_a_router_without_check() {
    let mut world = world("aws", &json!({}));
    let mac = [2, 0, 0, 0, 0, 5];

    let frame = packet(HOST, mac, ELSEWHERE, CAPTURED);
    let verdict = world.carry(&port(HOST), &frame, start());
    assert_eq!(verdict, Verdict::Drop(Reason::SourceCheck));

    let frame = packet(ROUTER, mac, ELSEWHERE, HOST_ADDRESS);
    let verdict = world.carry(&port(ROUTER), &frame, start());
    assert!(matches!(verdict, Verdict::Deliver { .. }), "{verdict:?}");

    let mut forged = packet(HOST, mac, HOST_ADDRESS, CAPTURED);
    forged[11] ^= 1;
    let verdict = world.carry(&port(HOST), &forged, start());
    assert_eq!(verdict, Verdict::Drop(Reason::ForgedMac));
}

#[test]
fn arp_is_answered_for_holders_and_the_gateway_only() {
    let cases = [
        ("aws", CAPTURED, Some([2, 0, 0, 0, 0, 4])),
        ("aws", [10, 77, 60, 1], Some(FABRIC_MAC)),
        ("aws", ELSEWHERE, None),
        ("azure", CAPTURED, Some(FABRIC_MAC)),
        ("azure", ELSEWHERE, None),
    ];
    for (provider, target, mac) in cases {
        let mut world = world(provider, &json!({}));
        let port = world
            .wires()
            .map(|(port, _)| port)
            .find(|port| port.nic == HOST);
        let port = port.expect("the host has a wire");

        let verdict = world.carry(&port, &question(HOST_ADDRESS, target), start());

        let answered = match verdict {
            Verdict::Answer(frame) => {
                assert_eq!(frame[0..6], [2, 0, 0, 0, 0, 5]);
                assert_eq!(
                    (&frame[28..32], &frame[38..42]),
                    (&target[..], &HOST_ADDRESS[..])
                );
                Some(frame[22..28].to_vec())
            }
            Verdict::Drop(Reason::Nobody) => None,
            verdict @ (Verdict::Deliver { .. } | Verdict::Drop(_)) => panic!("{verdict:?}"),
        };
        assert_eq!(
            answered,
            mac.map(|mac| mac.to_vec()),
            "{provider} {target:?}"
        );
    }
}

#[test]
fn probes_and_announcements_are_not_answered() {
    let mut world = world("aws", &json!({}));
    let mut reply = question(HOST_ADDRESS, CAPTURED);
    reply[21] = 2;
    for frame in [
        question([0; 4], CAPTURED),
        question(CAPTURED, CAPTURED),
        reply,
    ] {
        let verdict = world.carry(&port(HOST), &frame, start());
        assert_eq!(verdict, Verdict::Drop(Reason::NotForUs));
    }
}

#[test]
fn the_former_holder_gets_frames_until_the_fabric_knows() {
    let mut world = world("aws", &json!({"fabricMs": 2000}));
    let moved = start() + TimeDelta::seconds(10);
    let cloud = world.clouds.get_mut(&Provider::Aws).expect("a cloud");
    let mut edits: Edits = cloud.draft([ROUTER, HOST]);
    edits.get_mut(ROUTER).expect("a NIC").addresses.truncate(1);
    let host = edits.get_mut(HOST).expect("a NIC");
    host.addresses.push(Holding::secondary(CAPTURED.into(), ""));
    let cause = Cause {
        principal: String::new(),
        operation: String::new(),
        request: String::new(),
        now: moved,
    };
    cloud.commit(&cause, edits).expect("possible");
    let frame = packet(ROUTER, [2, 0, 0, 0, 0, 5], ROUTER_ADDRESS, CAPTURED);
    let mut at = |milliseconds| {
        let now = moved + TimeDelta::milliseconds(milliseconds);
        match world.carry(&port(ROUTER), &frame, now) {
            Verdict::Deliver { to, .. } => to.nic,
            verdict @ (Verdict::Answer(_) | Verdict::Drop(_)) => panic!("{verdict:?}"),
        }
    };

    assert_eq!((at(1999).as_str(), at(2000).as_str()), (ROUTER, HOST));
}

#[test]
fn stopped_machines_and_missing_wires_get_nothing() {
    let mut world = world("aws", &json!({}));
    let frame = packet(HOST, [2, 0, 0, 0, 0, 4], HOST_ADDRESS, CAPTURED);
    let back = packet(ROUTER, [2, 0, 0, 0, 0, 5], ROUTER_ADDRESS, HOST_ADDRESS);
    let cloud = world.clouds.get_mut(&Provider::Aws).expect("a cloud");
    cloud
        .instances
        .get_mut("i-0a")
        .expect("an instance")
        .running = false;
    let verdict = world.carry(&port(HOST), &frame, start());
    assert_eq!(verdict, Verdict::Drop(Reason::HolderStopped));
    let verdict = world.carry(&port(ROUTER), &back, start());
    assert_eq!(verdict, Verdict::Drop(Reason::SenderStopped));

    let cloud = world.clouds.get_mut(&Provider::Aws).expect("a cloud");
    cloud
        .instances
        .get_mut("i-0a")
        .expect("an instance")
        .running = true;
    cloud.nics.get_mut(ROUTER).expect("a NIC").wire = None;
    let verdict = world.carry(&port(HOST), &frame, start());
    assert_eq!(verdict, Verdict::Drop(Reason::NoWire));
}

#[test]
fn a_frame_that_is_cut_anywhere_is_dropped() {
    let mut world = world("aws", &json!({}));
    let frames = [
        packet(HOST, [2, 0, 0, 0, 0, 4], HOST_ADDRESS, CAPTURED),
        question(HOST_ADDRESS, CAPTURED),
    ];
    for (frame, whole) in frames.iter().zip([34, 42]) {
        for length in 0..whole {
            let verdict = world.carry(&port(HOST), &frame[..length], start());
            assert!(matches!(verdict, Verdict::Drop(_)), "{length}: {verdict:?}");
        }
    }
}

/// A router without check that captured an address, and a host.
fn world(provider: &str, lag: &Value) -> World {
    let nic = |id: &str, last: u8, more: &Value| {
        let mut nic = json!({
            "id": id, "subnet": "subnet-0a", "mac": format!("02:00:00:00:00:{last:02x}"),
            "address": format!("10.77.60.{last}"), "wire": format!("wire{last}"),
        });
        for (name, value) in more.as_object().expect("an object") {
            nic[name] = value.clone();
        }
        nic
    };
    let captures = json!({"secondary": [Ipv4Addr::from(CAPTURED)], "sourceDestCheck": false});
    let scenario: Scenario = serde_json::from_value(json!({provider: {
        "region": "eu-central-1", "account": "123456789012", "lag": lag,
        "subnets": [{"id": "subnet-0a", "network": "vpc-0a", "prefix": "10.77.60.0/24"}],
        "instances": [
            {"id": "i-0a", "nics": [nic(ROUTER, 4, &captures)]},
            {"id": "i-0b", "nics": [nic(HOST, 5, &json!({}))]},
        ],
    }}))
    .expect("a scenario");
    World::new(&scenario, [1; 32], start()).expect("a world")
}

fn port(nic: &str) -> Port {
    Port {
        provider: Provider::Aws,
        nic: nic.to_owned(),
    }
}

/// An IPv4 packet without payload, as far as the fabric looks.
fn packet(from: &str, mac: Mac, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let last = if from == ROUTER { 4 } else { 5 };
    let mut frame = [&mac[..], &[2, 0, 0, 0, 0, last], &[8, 0, 0x45]].concat();
    frame.resize(26, 0);
    [frame, source.to_vec(), destination.to_vec()].concat()
}

fn question(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mac = [2, 0, 0, 0, 0, 5];
    let front = [&[0xff; 6][..], &mac, &[8, 6], &ARP_REQUEST, &mac].concat();
    [&front[..], &sender, &[0; 6], &target].concat()
}

fn start() -> Time {
    Time::UNIX_EPOCH + TimeDelta::days(20_000)
}
