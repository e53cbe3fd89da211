//! A cloud that is not there: its fabric between routers and a machine, with the rest of the world behind tunnels.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_router::config::CloudKind;
use sam_testkit::netns::cloud::{CLOUD, CloudLab, ELSEWHERE, STANDBY};
use sam_testkit::netns::{Fabric, Pings, Site, sh, wait_until};
use serde_json::{Value, json};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "cloud::the_fabric_delivers_what_the_router_holds_and_nothing_else",
        needs: NEEDS,
        run: delivers,
    },
    Case {
        name: "cloud::aws_routers_capture_by_themselves_and_take_over_from_each_other",
        needs: NEEDS,
        run: || captures(CloudKind::Aws),
    },
    Case {
        name: "cloud::azure_routers_capture_by_themselves_and_take_over_from_each_other",
        needs: NEEDS,
        run: || captures(CloudKind::Azure),
    },
    Case {
        name: "cloud::oci_routers_capture_by_themselves_and_take_over_from_each_other",
        needs: NEEDS,
        run: || captures(CloudKind::Oci),
    },
    Case {
        name: "cloud::of_two_that_start_at_once_at_a_slow_aws_one_captures",
        needs: NEEDS,
        run: || start_at_once(CloudKind::Aws),
    },
    Case {
        name: "cloud::of_two_that_start_at_once_at_a_slow_azure_one_captures",
        needs: NEEDS,
        run: || start_at_once(CloudKind::Azure),
    },
    Case {
        name: "cloud::of_two_that_start_at_once_at_a_slow_oci_one_captures",
        needs: NEEDS,
        run: || start_at_once(CloudKind::Oci),
    },
    Case {
        name: "cloud::an_address_that_azure_moves_in_one_change_costs_five_pings_at_most",
        needs: NEEDS,
        run: moves,
    },
    Case {
        name: "cloud::two_active_routers_share_and_one_goes_on_as_far_as_it_has_room",
        needs: NEEDS,
        run: shares,
    },
    Case {
        name: "cloud::a_drain_to_an_aws_router_that_has_just_started_costs_five_pings_at_most",
        needs: NEEDS,
        run: || drains_early(CloudKind::Aws),
    },
    Case {
        name: "cloud::a_drain_to_an_azure_router_that_has_just_started_costs_five_pings_at_most",
        needs: NEEDS,
        run: || drains_early(CloudKind::Azure),
    },
    Case {
        name: "cloud::a_drain_to_an_oci_router_that_has_just_started_costs_five_pings_at_most",
        needs: NEEDS,
        run: || drains_early(CloudKind::Oci),
    },
    Case {
        name: "cloud::azure_that_refuses_to_move_is_drained_in_two_changes_and_says_why",
        needs: NEEDS,
        run: refuses_to_move,
    },
    Case {
        name: "cloud::a_machine_that_aws_lists_is_reached_until_it_is_stopped",
        needs: NEEDS,
        run: || lists(CloudKind::Aws),
    },
    Case {
        name: "cloud::a_machine_that_azure_lists_is_reached_until_it_is_stopped",
        needs: NEEDS,
        run: || lists(CloudKind::Azure),
    },
];

const NEEDS: &[Need] = &[Need::Tool("curl"), Need::Tool("ip")];
const PATIENCE: Duration = Duration::from_secs(20);

fn delivers() {
    let mut fabric = Fabric::new(samctl(), 2);
    let cloud = CloudLab::start(samctl(), &fabric, CloudKind::Aws, &[CLOUD], &json!({}));
    fabric.start_all();
    let (machine, host) = (
        fabric.topology.client(CLOUD),
        fabric.topology.client(ELSEWHERE),
    );
    let ping = |to: Ipv4Addr| sh(machine, &format!("ping -n -c 1 -W 1 {to}")).code == 0;
    wait_until("the routers agree", PATIENCE, || {
        fabric.owner(ELSEWHERE, CLOUD.client()).as_deref() == Some("aws")
    });

    // Nobody holds the address of the other site, so nobody is told where it is.
    assert!(!ping(ELSEWHERE.client()));
    assert!(cloud.dropped("nobody") > 0);

    let routed = json!({ "add": [ELSEWHERE.client()], "sourceDestCheck": false });
    cloud.by_hand("nic-aws", &routed);
    wait_for_ping(machine, ELSEWHERE.client(), PATIENCE);
    wait_for_ping(host, CLOUD.client(), PATIENCE);

    // A router whose check is on speaks for what it holds, and for nothing else.
    cloud.by_hand("nic-aws", &json!({ "sourceDestCheck": true }));
    assert!(ping(ELSEWHERE.client()));
    cloud.by_hand("nic-aws", &json!({ "remove": [ELSEWHERE.client()] }));
    let before = cloud.dropped("source-check");
    sh(host, &format!("ping -n -c 1 -W 1 {}", CLOUD.client()));
    assert!(cloud.dropped("source-check") > before);
    assert!(!ping(ELSEWHERE.client()));
}

/// Two routers in the subnet; nobody touches the cloud but they.
fn captures(cloud: CloudKind) {
    let (mut fabric, cloud) = CloudLab::pair(samctl(), cloud, &json!({}));
    cloud.bring_up(&mut fabric);
    wait_for_ping(fabric.topology.client(CLOUD), ELSEWHERE.client(), PATIENCE);
    let captures = fabric.router(CLOUD).json("captures");
    assert_eq!(captures["mode"], "auto", "{captures}");
    let doctor = fabric.router(CLOUD).samctl("doctor capture");
    assert_eq!(doctor.code, 0, "{}", doctor.text());

    // An agent of the cloud configures it on the host.
    let router = fabric.topology.router(CLOUD);
    let address = ELSEWHERE.client();
    sh(router, &format!("ip address add {address}/32 dev lan0")).success();
    let doctor = fabric.router(CLOUD).samctl("doctor capture");
    assert_eq!(doctor.code, 5, "{}", doctor.text());
    assert!(doctor.text().contains("doctor --fix"), "{}", doctor.text());
    let fixed = fabric.router(CLOUD).samctl("doctor capture --fix");
    assert_eq!(fixed.code, 0, "{}", fixed.text());
    let left = sh(router, "ip -4 address show dev lan0").success();
    assert!(!left.contains(&format!("{address}/32")), "{left}");
    wait_for_ping(fabric.topology.client(CLOUD), address, PATIENCE);

    // By order it is given back, and comes again when the order ends.
    let drained = fabric.router(CLOUD);
    drained
        .samctl(&format!("release {address} --hold 1h"))
        .success();
    let is_free = || cloud.holder(address).is_none();
    wait_until("the address is given back", PATIENCE, is_free);
    drained
        .samctl(&format!("release {address} --hold 0s"))
        .success();
    let is_held = || cloud.holder(address).as_deref() == Some("nic-aws");
    wait_until("the address is captured again", PATIENCE, is_held);

    drained.samctl("drain on --wait").success();
    assert_eq!(
        cloud.holder(ELSEWHERE.client()).as_deref(),
        Some("nic-azure")
    );
    wait_for_ping(fabric.topology.client(CLOUD), ELSEWHERE.client(), PATIENCE);
    drained.samctl("drain off").success();

    let killed = Instant::now();
    fabric.take(STANDBY).daemon().kill();
    let machine = fabric.topology.client(CLOUD);
    let is_moved = || cloud.holder(ELSEWHERE.client()).as_deref() == Some("nic-aws");
    wait_until(
        "the first router holds the address again",
        PATIENCE,
        is_moved,
    );
    wait_for_ping(machine, ELSEWHERE.client(), PATIENCE);
    let gone = killed.elapsed();
    assert!(gone < Duration::from_secs(12), "{gone:?}");

    // Nothing stays behind when it is to be removed.
    fabric.router(CLOUD).samctl("release --all").success();
    wait_until("the interface is as it was", PATIENCE, || {
        cloud.holder(address).is_none() && cloud.checks_sources("nic-aws")
    });
}

/// Where calls take their time, chance decides which of two is able first. One captures, and the other one says that it
/// leaves that to it.
fn start_at_once(cloud: CloudKind) {
    let settings = json!({"latency": {"readMs": 100, "writeMs": 1000, "operationMs": 1000}});
    let (mut fabric, cloud) = CloudLab::pair(samctl(), cloud, &settings);
    for site in [ELSEWHERE, CLOUD, STANDBY] {
        fabric.start(site);
    }
    let address = ELSEWHERE.client();

    wait_for_ping(fabric.topology.client(CLOUD), address, PATIENCE * 2);

    let holder = cloud.holder(address).expect("somebody has it");
    let (active, standby) = match holder.as_str() {
        "nic-aws" => (CLOUD, STANDBY),
        _ => (STANDBY, CLOUD),
    };
    let want = |site| cloud.want(&fabric, site, address);
    wait_until("the two agree", PATIENCE, || {
        want(active).as_deref() == Some("capture") && want(standby).as_deref() == Some("keep")
    });
    assert_eq!(cloud.holder(address), Some(holder));
}

/// Seven addresses, and room for five at each router.
fn shares() {
    let more = ", placement: active-active, maxCaptures: 5";
    let (mut fabric, cloud) = CloudLab::pair_with(samctl(), CloudKind::Aws, &json!({}), more);
    for site in [ELSEWHERE, CLOUD, STANDBY] {
        fabric.start(site);
    }
    for site in [CLOUD, STANDBY] {
        wait_until("both routers capture", PATIENCE, || {
            members(&fabric, site, "state") == [json!("captures"), json!("captures")]
        });
    }
    let mut all = vec![ELSEWHERE.client()];
    all.extend((20..26).map(|last| Ipv4Addr::new(10, 77, 60, last)));
    for address in &all[1..] {
        let announce = format!("announce {address}");
        fabric.router(ELSEWHERE).samctl(&announce).success();
    }
    let held = |nic: &str| {
        let held = all
            .iter()
            .filter(|at| cloud.holder(**at).as_deref() == Some(nic));
        held.copied().collect::<Vec<_>>()
    };
    wait_until("everything is captured", PATIENCE, || {
        held("nic-aws").len() + held("nic-azure").len() == all.len()
    });
    let (first, second) = (held("nic-aws"), held("nic-azure"));
    assert!(
        first.len() >= 2 && second.len() >= 2,
        "{first:?} {second:?}"
    );
    wait_until("each knows what the other one has", PATIENCE, || {
        let counts = [json!(first.len()), json!(second.len())];
        members(&fabric, CLOUD, "held") == counts && members(&fabric, STANDBY, "held") == counts
    });
    let host = ELSEWHERE.client();
    wait_for_ping(fabric.topology.client(CLOUD), host, PATIENCE);

    fabric.take(CLOUD).daemon().kill();

    wait_until("the other one is full", PATIENCE, || {
        held("nic-azure").len() == 5
    });
    wait_for_ping(fabric.topology.client(CLOUD), host, PATIENCE);
    let left = held("nic-aws");
    assert_eq!(left.len(), 2);
    assert!(
        second.iter().all(|at| held("nic-azure").contains(at)),
        "nothing moves"
    );
    let view = fabric.router(STANDBY).json("captures");
    let rows = view["captures"].as_array().expect("rows");
    let without = rows.iter().filter(|row| row["state"] == "no-room");
    let without: Vec<_> = without.map(|row| row["address"].clone()).collect();
    assert_eq!(json!(without), json!(left), "{view}");
    let doctor = fabric.router(STANDBY).samctl("doctor capture").text();
    let named = left.iter().all(|at| doctor.contains(&at.to_string()));
    assert!(named && doctor.contains("`maxCaptures`"), "{doctor}");
}

/// What a router knows of those of its site, the first one first.
fn members(fabric: &Fabric, site: Site, what: &str) -> Vec<Value> {
    let view = fabric.router(site).json("captures");
    let members = view["group"]["members"].as_array().into_iter().flatten();
    members.map(|member| member[what].clone()).collect()
}

/// What a planned move may cost: pings, one each 10 ms.
const MOVE_MAX: usize = 5;

/// The order comes while the other router knows nothing yet, and its interface carries nothing.
fn drains_early(cloud: CloudKind) {
    let settings = json!({
        "atomicMove": true, "latency": {"readMs": 100, "writeMs": 1000, "operationMs": 1000},
    });
    let (mut fabric, lab) = CloudLab::pair(samctl(), cloud, &settings);
    lab.bring_up_active(&mut fabric);
    let machine = fabric.topology.client(CLOUD).clone();
    let host = fabric.topology.client(ELSEWHERE).clone();
    wait_for_ping(&machine, ELSEWHERE.client(), PATIENCE);
    let outward = Pings::start(&machine, ELSEWHERE.client());
    let inward = Pings::start(&host, CLOUD.client());

    fabric.start(STANDBY);
    let drain = "drain on --wait --timeout 60";
    fabric.router(CLOUD).samctl(drain).success();

    let (outward, inward) = (outward.stop(), inward.stop());
    assert_eq!(lab.holder(ELSEWHERE.client()).as_deref(), Some("nic-azure"));
    for loss in [outward, inward] {
        let few = loss.lost <= MOVE_MAX;
        assert!(loss.sent > 100 && few, "{outward:?} {inward:?}");
    }
}

/// The subscription says that it moves addresses in one change, and refuses to.
fn refuses_to_move() {
    let settings =
        json!({"atomicMove": true, "latency": {"readMs": 50, "writeMs": 100, "operationMs": 500}});
    let (mut fabric, lab) = CloudLab::pair(samctl(), CloudKind::Azure, &settings);
    lab.bring_up(&mut fabric);
    let code = "MoveIpConfigurationNotAllowed";
    lab.disturb(&json!({
        "operation": "MoveIpConfigurations", "effect": {"refuse": {"status": 400, "code": code}},
    }));

    let drain = "drain on --wait --timeout 60";
    fabric.router(CLOUD).samctl(drain).success();

    // It is empty once the address is off its interface.
    wait_until("the other router has the address", PATIENCE, || {
        lab.holder(ELSEWHERE.client()).as_deref() == Some("nic-azure")
    });
    let events = fabric.router(STANDBY).samctl("events").success();
    assert!(events.contains(code), "{events}");
}

fn moves() {
    let settings =
        json!({"atomicMove": true, "latency": {"readMs": 50, "writeMs": 100, "operationMs": 2000}});
    let (mut fabric, cloud) = CloudLab::pair(samctl(), CloudKind::Azure, &settings);
    cloud.bring_up(&mut fabric);
    let address = ELSEWHERE.client();
    let machine = fabric.topology.client(CLOUD);
    wait_for_ping(machine, address, PATIENCE);

    let pings = Pings::start(machine, address);
    let drain = "drain on --wait --timeout 60";
    fabric.router(CLOUD).samctl(drain).success();
    let loss = pings.stop();

    assert_eq!(cloud.holder(address).as_deref(), Some("nic-azure"));
    assert!(loss.sent > 100 && loss.lost <= MOVE_MAX, "{loss:?}");
}

/// Nobody is told to own the machine's address.
fn lists(cloud: CloudKind) {
    let mut fabric = Fabric::new(samctl(), 2);
    fabric.edit(CLOUD, "owned: [10.77.60.11]", "owned: []");
    let cloud = CloudLab::start(samctl(), &fabric, cloud, &[CLOUD], &json!({}));
    let discovery = ", discovery: {type: provider, interval: 5s, expiry: 10s}";
    cloud.let_capture(&fabric, CLOUD, discovery);
    fabric.start_all();
    let (machine, host) = (
        fabric.topology.client(CLOUD),
        fabric.topology.client(ELSEWHERE),
    );

    wait_for_ping(host, CLOUD.client(), PATIENCE);
    wait_for_ping(machine, ELSEWHERE.client(), PATIENCE);
    let owners = fabric.router(ELSEWHERE).json("owners");
    let text = owners.to_string();
    assert!(text.contains("\"provider\""), "{text}");
    // What the router has captured meanwhile is no machine's.
    assert_eq!(cloud.holder(ELSEWHERE.client()).as_deref(), Some("nic-aws"));
    let found = fabric.router(CLOUD).json("discovery");
    let machines = found["machines"].as_array().expect("machines");
    assert_eq!(machines.len(), 1, "{found}");
    let nic = machines[0]["nic"].as_str().expect("a name");
    assert!(nic.ends_with("nic-machine"), "{found}");

    // Lists become rarer while they show nothing new.
    cloud.tell("instances/i-machine/stop", &json!({}));
    wait_until("nobody owns the address", PATIENCE * 4, || {
        fabric.owner(ELSEWHERE, CLOUD.client()).is_none()
    });
    cloud.tell("instances/i-machine/start", &json!({}));
    wait_for_ping(host, CLOUD.client(), PATIENCE * 4);
}
