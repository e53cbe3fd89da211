//! `samctl test` between live routers: everything passes, and each fault fails its own check.

use std::time::Duration;

use sam_testkit::netns::{Fabric, Site, wait_until};
use serde_json::Value;

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "path_test::a_healthy_fabric_passes_every_check",
        needs: &[],
        run: healthy,
    },
    Case {
        name: "path_test::a_path_narrower_than_computed_is_measured_to_the_byte",
        needs: &[],
        run: narrow,
    },
    Case {
        name: "path_test::a_dead_router_fails_its_checks_and_nobody_elses",
        needs: &[],
        run: dead,
    },
];

/// Time for a fabric to settle.
const PATIENCE: Duration = Duration::from_secs(10);
const CHECKS: [&str; 6] = ["tunnel", "session", "echo", "mtu", "tcp", "source"];

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ router aws ── lan2 ── .11
///                                            ╚══ router azure ── lan3 ── .12
/// ```
fn healthy() {
    let mut fabric = Fabric::new(samctl(), 3);
    let pair = "  pairs:\n    - {nodes: [azure, onprem], transport: {encap: gue, trustedUnderlay: true}}\n  bgp:";
    fabric.edit_all("  bgp:", pair);
    fabric.start_all();
    for from in fabric.topology.sites() {
        let (code, view) = test(&fabric, from, "");
        assert_eq!(
            (code, view["overall"].as_str()),
            (0, Some("pass")),
            "{view}"
        );
        for to in fabric.topology.sites().into_iter().filter(|to| *to != from) {
            let is_reflected = from != Site::ONPREM && to != Site::ONPREM;
            let is_plain = [from, to].contains(&Site::AZURE) && !is_reflected;
            for name in CHECKS {
                let skipped = name == "session" && is_reflected;
                let expected = if skipped { "skip" } else { "pass" };
                let check = check(&view, to, name);
                assert_eq!(check["status"], expected, "{check}");
            }
            let mtu = if is_plain { "1472" } else { "1440" };
            assert_eq!(check(&view, to, "mtu")["value"], mtu, "{view}");
            let own = from.overlay().to_string();
            assert_eq!(check(&view, to, "source")["value"], own.as_str(), "{view}");
        }
    }
    let matrix = fabric.router(Site::AZURE).samctl("-o json test --all");
    let matrix: Value = serde_json::from_str(&matrix.success()).expect("JSON");
    assert_eq!(matrix["overall"], "pass", "{matrix}");
    for (site, row) in fabric.topology.sites().iter().zip(rows(&matrix)) {
        assert_eq!(row["node"]["name"], site.name(), "{row}");
        assert_eq!(
            row["test"]["peers"].as_array().map(Vec::len),
            Some(2),
            "{row}"
        );
    }
    let router = fabric.router(Site::AWS);
    let table = router.samctl("test 10.99.0.1").success();
    for word in ["onprem", "established", "1440", "128 KiB", "10.99.0.2"] {
        assert!(table.contains(word), "no {word} in\n{table}");
    }
    assert!(!table.contains("azure"), "{table}");
    for (node, words) in [
        ("nobody", "onprem, aws, azure"),
        ("aws", "this router itself"),
    ] {
        let refused = router.samctl(&format!("test {node}"));
        assert_eq!(refused.code, 1, "{}", refused.text());
        assert!(refused.stderr.contains(words), "{}", refused.text());
    }
}

/// The file promises 20 bytes more than the underlay carries: the test finds that out, and the router learns from it.
///
/// ```text
/// .10 ── lan1 ── router onprem ══ 1460 as configured, wan (1500) ══ router aws ── lan2 ── .11
/// ```
fn narrow() {
    let mut fabric = Fabric::new(samctl(), 2);
    let transport = "  transport: {encap: wireguard, mtu: 1460}\n  bgp:";
    fabric.edit_all("  bgp:", transport);
    fabric.start_all();

    let (code, view) = test(&fabric, Site::ONPREM, "aws");

    assert_eq!((code, &view["overall"]), (0, &"pass".into()), "{view}");
    assert_eq!(check(&view, Site::AWS, "mtu")["value"], "1440", "{view}");
    let tunnels = fabric.router(Site::ONPREM).json("tunnels");
    assert_eq!(tunnels["tunnels"][0]["mtu"], 1440, "{tunnels}");
}

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ router aws ── lan2 ── .11      ◄ kill -9
///                                            ╚══ router azure ── lan3 ── .12
/// ```
fn dead() {
    let mut fabric = Fabric::running(samctl(), 3);
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AZURE.client(),
        PATIENCE,
    );
    fabric.take(Site::AWS).daemon().kill();
    wait_until("the session is down", PATIENCE * 2, || {
        let neighbor = fabric.router(Site::ONPREM).json("bgp neighbor aws");
        neighbor["state"] != "established"
    });

    let (code, view) = test(&fabric, Site::ONPREM, "");

    assert_eq!(
        (code, view["overall"].as_str()),
        (5, Some("fail")),
        "{view}"
    );
    for (name, status) in [
        ("session", "fail"),
        ("echo", "fail"),
        ("mtu", "skip"),
        ("tcp", "skip"),
    ] {
        assert_eq!(
            check(&view, Site::AWS, name)["status"],
            status,
            "{name}: {view}"
        );
    }
    for name in CHECKS {
        assert_eq!(
            check(&view, Site::AZURE, name)["status"],
            "pass",
            "{name}: {view}"
        );
    }

    // Everybody else says the same of it.
    let outcome = fabric.router(Site::ONPREM).samctl("-o json test --all");
    let matrix: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(outcome.code, 5, "{matrix}");
    let rows = rows(&matrix);
    assert!(
        rows[1]["test"].is_null() && rows[1]["error"].is_string(),
        "{matrix}"
    );
    for row in [&rows[0], &rows[2]] {
        let statuses =
            ["echo", "tcp"].map(|name| check(&row["test"], Site::AWS, name)["status"].clone());
        assert_eq!(statuses, ["fail", "skip"], "{row}");
    }
    let table = fabric.router(Site::ONPREM).samctl("test --all").stdout;
    for words in ["FROM / TO", "azure to aws echo", "aws: it cannot be asked"] {
        assert!(table.contains(words), "no {words} in\n{table}");
    }
}

/// Rows of `samctl test --all`.
fn rows(matrix: &Value) -> Vec<Value> {
    matrix["sites"].as_array().cloned().unwrap_or_default()
}

/// Exit code and document of `samctl test`, run as the operator of a router would.
fn test(fabric: &Fabric, from: Site, node: &str) -> (i32, Value) {
    let outcome = fabric.router(from).samctl(&format!("-o json test {node}"));
    let view = serde_json::from_str(&outcome.stdout);
    (
        outcome.code,
        view.unwrap_or_else(|_| panic!("{}", outcome.text())),
    )
}

fn check(view: &Value, to: Site, name: &str) -> Value {
    let peers = view["peers"].as_array().into_iter().flatten();
    let mut checks = peers
        .filter(|peer| peer["node"]["name"] == to.name())
        .flat_map(|peer| peer["checks"].as_array().into_iter().flatten());
    let found = checks.find(|check| check["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} of {} in {view}", to.name()))
        .clone()
}
