//! Routers that are not who they say, or own what they may not: refused, and `samctl doctor` says so.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::netns::{Fabric, Site, holds_within, sh, wait_until};

use crate::case::{Case, samctl};
use crate::doctor::check;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "identity::a_node_that_speaks_in_anothers_name_is_refused",
        needs: &[],
        run: foreign_name,
    },
    Case {
        name: "identity::an_address_that_a_node_may_not_own_is_refused",
        needs: &[],
        run: not_permitted,
    },
    Case {
        name: "identity::two_routers_with_one_key_are_noticed",
        needs: &[],
        run: two_with_one_key,
    },
];

/// Time for a session to come up and routes to arrive.
const NEWS: Duration = Duration::from_secs(15);

/// ```text
/// .10 ── lan1 ── router onprem ══╦══ router aws ── lan2 ── .11     ◄ its file swaps the ids of aws and azure
///                                ╚══ (azure is off)
/// ```
fn foreign_name() {
    let mut fabric = Fabric::new(samctl(), 3);
    fabric.edit(Site::AWS, "id: 2, name: aws", "id: 9, name: aws");
    fabric.edit(Site::AWS, "id: 3, name: azure", "id: 2, name: azure");
    fabric.edit(Site::AWS, "id: 9, name: aws", "id: 3, name: aws");
    fabric.start(Site::ONPREM);
    fabric.start(Site::AWS);
    let router = fabric.router(Site::ONPREM);

    let refused = || check(router, "identity/foreign-claims")["status"] == "fail";

    assert!(
        holds_within(NEWS, refused),
        "{}",
        router.samctl("doctor").text()
    );
    assert_eq!(router.owner(Site::AWS.client()), None);
    let row = check(router, "identity/foreign-claims").to_string();
    assert!(row.contains(&Site::AWS.client().to_string()), "{row}");
    let log = router.log();
    assert!(log.contains("route-rejected"), "{log}");
    assert_eq!(
        router.owner(Site::ONPREM.client()).as_deref(),
        Some("onprem")
    );
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11, .50
///                ▲ its file: aws may own .11 only
/// ```
fn not_permitted() {
    let mut fabric = Fabric::new(samctl(), 2);
    let address = Ipv4Addr::new(10, 77, 60, 50);
    fabric.edit(
        Site::ONPREM,
        "role: aws,",
        "role: aws, may: [10.77.60.11/32],",
    );
    fabric.edit(
        Site::AWS,
        "owned: [10.77.60.11]",
        "owned: [10.77.60.11, 10.77.60.50]",
    );
    fabric.start_all();
    let router = fabric.router(Site::ONPREM);

    let refused = || {
        check(router, "bgp/rejected-routes")["status"] == "warn"
            || check(router, "identity/foreign-claims")["status"] == "fail"
    };

    assert!(
        holds_within(NEWS, refused),
        "{}",
        router.samctl("doctor").text()
    );
    assert_eq!(
        router.owner(address),
        None,
        "what it may not own is refused"
    );
    assert_eq!(
        router.owner(Site::AWS.client()).as_deref(),
        Some("aws"),
        "the rest is not"
    );
    let client = fabric.topology.client(Site::ONPREM);
    assert_ne!(sh(client, &format!("ping -n -c 1 -W 1 {address}")).code, 0);
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══╦══ router aws, 203.0.113.12 ── lan2 ── .11
///                                       ╚══ router aws again, 203.0.113.112 ─┘
/// ```
fn two_with_one_key() {
    let fabric = Fabric::running(samctl(), 2);
    let (lan, wan) = (
        Ipv4Addr::new(10, 77, 60, 2),
        Ipv4Addr::new(203, 0, 113, 112),
    );
    let second = fabric.topology.add_router(Site::AWS, 'b', lan, wan);
    let text = std::fs::read_to_string(fabric.config(Site::AWS)).expect("readable");
    let text = text
        .replace("aws.sock", "twin.sock")
        .replace("aws.state.json", "twin.state.json");
    std::fs::write(fabric.path("twin.yaml"), text).expect("writable");

    let mut twin = fabric.spawn_in(&second, "twin");
    twin.wait_until_running();

    let router = fabric.router(Site::ONPREM);
    let row = "identity/one-router-per-node";
    let patience = Duration::from_secs(45);
    let found = || check(router, row)["status"] == "fail";
    let took = wait_until("doctor sees two routers", patience, found);
    let text = check(router, row).to_string();
    assert!(text.contains("aws"), "after {took:?}: {text}");
    assert!(
        router.log().contains("identity-conflict"),
        "{}",
        router.log()
    );
}
