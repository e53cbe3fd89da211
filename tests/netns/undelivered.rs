//! A router of the underlay that says it cannot deliver: who is told, for how long, and that nothing is given up for it.
//!
//! ```text
//!   .10 ── lan1 ── router onprem ── wan ── a router of the underlay ── wan0 of router aws ── lan2 ── .11
//!                                          (answers instead of forwarding)
//! ```

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, GATEWAY, sh, wait_until};
use serde_json::Value;

use crate::case::{Case, wait_for_ping};
use crate::pmtu::{HERE, PATIENCE, THERE, WAN, WAN_IPV6, WAY_IPV6, Wan, behind_with, tunnel};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "undelivered::senders_into_gre_are_told_of_an_unreachable_router",
        needs: &[],
        run: || told("encap: gre, trustedUnderlay: true", WAN, UNREACHABLE),
    },
    Case {
        name: "undelivered::senders_into_gue_are_told_of_a_firewall",
        needs: &[],
        run: || told("encap: gue, trustedUnderlay: true", WAN, PROHIBITED),
    },
    Case {
        name: "undelivered::senders_into_ipip_over_ipv6_are_told_of_a_firewall",
        needs: &[],
        run: || told("encap: ipip, trustedUnderlay: true", WAN_IPV6, PROHIBITED),
    },
    Case {
        name: "undelivered::senders_into_fou_are_told_of_a_router_that_died_until_it_is_back",
        needs: &[],
        run: died,
    },
    Case {
        name: "undelivered::what_is_said_about_wireguard_is_shown_and_told_to_no_sender",
        needs: &[],
        run: encrypted,
    },
];

/// What the router between does instead of forwarding, and how that is called.
#[derive(Clone, Copy)]
struct Answer {
    route: &'static str,
    reason: &'static str,
}

const UNREACHABLE: Answer = Answer {
    route: "unreachable",
    reason: "host-unreachable",
};
const PROHIBITED: Answer = Answer {
    route: "prohibit",
    reason: "prohibited",
};
/// BFD would hear sooner than people that nothing arrives, and take the routes away.
const WITHOUT_BFD: &str = "\n  bfd: {profile: none}";

/// Hosts hear of it, people too; what is sent goes out all the same, so that it is over when it is over.
fn told(transport: &str, wan: Wan, answer: Answer) {
    let fabric = &running(transport, wan, answer.route);
    fabric.block();
    let by = if wan.is_ipv6 {
        WAY_IPV6[0].2
    } else {
        "203.0.113.1"
    };
    senders_hear(&fabric.fabric, answer.reason, by);

    fabric.open();
    is_over(&fabric.fabric);
}

/// The far host's kernel says that nobody listens on the port. BGP still waits for the router meanwhile.
fn died() {
    let lines = format!("transport: {{encap: fou, trustedUnderlay: true}}{WITHOUT_BFD}");
    let (mut fabric, _between) = behind_with(&lines, WAN);
    fabric.take(THERE).daemon().kill();
    senders_hear(&fabric, "port-unreachable", &THERE.behind().to_string());

    fabric.start(THERE);
    is_over(&fabric);
}

/// WireGuard has its own timers; whoever says such things outside of it is not authenticated.
fn encrypted() {
    let fabric = running("encap: wireguard", WAN, UNREACHABLE.route);
    fabric.block();
    let client = fabric.fabric.topology.client(HERE);
    let mut heard = String::new();
    wait_until("the underlay is heard", PATIENCE, || {
        heard += &ping(client);
        let row = tunnel(&fabric.fabric, HERE, THERE);
        row["undelivered"]["count"].as_u64() >= Some(3)
    });
    let row = tunnel(&fabric.fabric, HERE, THERE);
    is_shown(&fabric.fabric, &row, UNREACHABLE.reason, "203.0.113.1");
    assert_eq!(row["undelivered"]["senders_told"], false, "{row}");
    assert!(!heard.contains("From"), "{heard}");

    fabric.open();
    wait_for_ping(client, THERE.client(), PATIENCE);
}

/// A running fabric, and what is between its routers.
struct Between {
    fabric: Fabric,
    namespace: Namespace,
    /// The route to the far router that answers.
    route: String,
}

impl Between {
    fn block(&self) {
        self.route("add");
    }

    fn open(&self) {
        self.route("delete");
    }

    fn route(&self, verb: &str) {
        let (family, route) = self.route.split_once(' ').expect("two words and more");
        sh(
            &self.namespace,
            &format!("ip {family} route {verb} {route}"),
        )
        .success();
    }
}

fn running(transport: &str, wan: Wan, kind: &str) -> Between {
    let lines = format!("transport: {{{transport}}}{WITHOUT_BFD}");
    let (fabric, namespace) = behind_with(&lines, wan);
    // One limit for what a route refuses is enough; with both Linux soon falls silent.
    sh(&namespace, "sysctl -qw net.ipv4.icmp_ratelimit=0").success();
    let route = if wan.is_ipv6 {
        format!("-6 {kind} {}/128", WAY_IPV6[1].0)
    } else {
        format!("-4 {kind} {}/32", THERE.behind())
    };
    Between {
        fabric,
        namespace,
        route,
    }
}

/// Waits until a client is told by its router that nothing arrives, and people as well.
fn senders_hear(fabric: &Fabric, reason: &str, by: &str) {
    let client = fabric.topology.client(HERE);
    wait_until("the sender is told", PATIENCE, || {
        let text = ping(client);
        text.contains(&format!("From {GATEWAY}")) && text.contains("Destination Host Unreachable")
    });
    let row = tunnel(fabric, HERE, THERE);
    is_shown(fabric, &row, reason, by);
    assert_eq!(row["undelivered"]["senders_told"], true, "{row}");
}

/// Packets arrive again, and nobody hears of what was before.
fn is_over(fabric: &Fabric) {
    wait_for_ping(fabric.topology.client(HERE), THERE.client(), PATIENCE);
    wait_until("senders are told no more", PATIENCE, || {
        let row = tunnel(fabric, HERE, THERE);
        row["undelivered"]["senders_told"] != true
    });
    wait_until("people are told no more", PATIENCE, || {
        let shown = fabric.router(HERE).samctl("tunnels").success();
        !shown.contains("are not delivered")
    });
}

fn ping(client: &Namespace) -> String {
    let command = format!("ping -n -c 3 -i 0.2 -W 1 {}", THERE.client());
    sh(client, &command).text()
}

/// Operators see it, as a warning; the tunnel is up.
fn is_shown(fabric: &Fabric, row: &Value, reason: &str, by: &str) {
    assert_eq!(
        (&row["up"], &row["fault"]),
        (&true.into(), &Value::Null),
        "{row}"
    );
    let said = &row["undelivered"];
    assert_eq!(
        (&said["reason"], &said["by"]),
        (&reason.into(), &by.into()),
        "{row}"
    );
    let router = fabric.router(HERE);
    let text = format!(
        "{by} says that packets to {} are not delivered: {reason}",
        THERE.name()
    );
    for verb in ["tunnels", "doctor tunnel"] {
        let shown = router.samctl(verb).text();
        assert!(shown.contains(&text), "{verb}: {shown}");
    }
    let counters = router.json("counters");
    let rows = counters["counters"].as_array().into_iter().flatten();
    let counted = rows
        .filter(|row| row["name"] == "path-undelivered")
        .any(|row| row["value"].as_u64() > Some(0));
    assert!(counted, "{counters}");
    let events = router.json("events");
    let mut events = events.as_array().into_iter().flatten();
    // The first reason is told: while the far router was not there yet, its kernel may have had another one.
    assert!(
        events.any(|event| event["event"] == "undelivered"),
        "no event"
    );
}
