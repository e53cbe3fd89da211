//! `samctl capture rehearse`: every provider to the end, every fault to its verdict, and what cannot be rehearsed.

use samctl::exit::Exit;
use serde_json::{Value, json};

use crate::run::{Printed, Scratch, folder, run};

const PROVIDERS: [&str; 3] = ["aws", "azure", "oci"];

#[test]
fn every_step_ends_well_and_changes_what_it_says() {
    for provider in PROVIDERS {
        let (exit, rehearsal) = rehearse(provider, &[]);
        assert_eq!(exit, Exit::Ok, "{provider}: {rehearsal:#}");
        assert_eq!(rehearsal["passed"], true);
        assert_eq!(rehearsal["node"], "cloud-a");
        assert_eq!(rehearsal["invented"], json!([]));
        let steps = rehearsal["steps"].as_array().expect("steps");
        let names: Vec<&str> = steps
            .iter()
            .filter_map(|step| step["step"].as_str())
            .collect();
        let all = ["plan", "assign", "release", "leave", "seize", "restore"];
        assert_eq!(names, all);
        let [plan, assign, release, leave, seize, restore] = steps.as_slice() else {
            panic!("{names:?}");
        };
        for still in [plan, leave] {
            assert_eq!(still["changes"], json!([]), "{provider}");
            assert_eq!(still["orders"], json!([]), "{provider}");
        }
        let planned = plan["planned"].to_string();
        assert!(
            planned.contains("capture 10.77.60.7, 10.77.60.8 by assign"),
            "{planned}"
        );
        assert_eq!(moved(assign, "added"), ["10.77.60.7", "10.77.60.8"]);
        assert_eq!(moved(release, "removed"), ["10.77.60.7"]);
        assert_eq!(moved(seize, "added"), ["10.77.60.9"]);
        assert_eq!(
            moved(seize, "removed"),
            ["10.77.60.9"],
            "from the other one"
        );
        assert_eq!(moved(restore, "removed"), ["10.77.60.8", "10.77.60.9"]);
        assert_eq!(forwarding(assign), [true]);
        assert_eq!(forwarding(restore), [false]);
        let permissions = rehearsal["permissions"].as_array().expect("a list");
        assert!(permissions.len() > 2, "{permissions:?}");
        assert!(permissions.iter().all(|row| row["granted"] != false));
    }
}

#[test]
fn every_fault_that_ends_is_survived() {
    let passing = [
        "answer-lost",
        "request-lost",
        "server-error",
        "throttled",
        "partial",
        "stale-looks",
        "metadata-down",
        "small-pages",
    ];
    for provider in PROVIDERS {
        for fault in passing {
            let (exit, rehearsal) = rehearse(provider, &[fault]);
            assert_eq!(exit, Exit::Ok, "{provider}, {fault}: {rehearsal:#}");
            assert_eq!(rehearsal["faults"], json!([fault]));
        }
    }
    for fault in ["operation-fails", "operation-hangs", "no-atomic-move"] {
        let (exit, rehearsal) = rehearse("azure", &[fault, "throttled"]);
        assert_eq!(exit, Exit::Ok, "{fault}: {rehearsal:#}");
    }
    let (_, two_steps) = rehearse("azure", &["no-atomic-move"]);
    let orders = two_steps["steps"][4]["orders"].to_string();
    assert!(orders.contains("strip"), "{orders}");
}

#[test]
fn a_fault_that_does_not_end_fails_the_rehearsal_with_its_reason() {
    for (provider, fault, why) in [
        ("aws", "denied", "UnauthorizedOperation"),
        ("azure", "denied", "AuthorizationFailed"),
        ("oci", "denied", "NotAuthorizedOrNotFound"),
        ("aws", "nic-full", "no-room"),
    ] {
        let (exit, rehearsal) = rehearse(provider, &[fault]);
        assert_eq!(exit, Exit::ChecksFailed, "{provider}: {rehearsal:#}");
        assert_eq!(rehearsal["passed"], false);
        let failed = &rehearsal["steps"][1];
        let said = failed["why"].as_str().expect("a reason");
        assert!(said.contains(why), "{provider}, {fault}: {said}");
    }
}

#[test]
fn people_are_shown_the_ledger_and_the_verdict() {
    let file = Scratch::new("table", &configuration("aws", true));
    let printed = run(&["capture", "rehearse", "-c", &file.path()]);
    assert_eq!(printed.exit, Exit::Ok, "{}", printed.stderr);
    for line in [
        "seize: cloud-b is dead: takes 10.77.60.9 over",
        "  changed  eni-b by AssignPrivateIpAddresses: -10.77.60.9",
        "ec2:AssignPrivateIpAddresses",
        "good: every step ended as it should",
    ] {
        assert!(printed.stdout.contains(line), "{line}: {}", printed.stdout);
    }
}

#[test]
fn a_site_with_one_router_gets_an_invented_second_one() {
    let file = Scratch::new("alone", &configuration("oci", false));
    let printed = run(&["capture", "rehearse", "-o", "json", "-c", &file.path()]);
    assert_eq!(printed.exit, Exit::Ok, "{}", printed.stdout);
    let rehearsal: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    let invented = rehearsal["invented"].to_string();
    assert!(invented.contains("a second router"), "{invented}");
}

#[test]
fn what_cannot_be_rehearsed_is_said_with_a_remedy() {
    let cloudless = folder("configs/minimal.yaml").display().to_string();
    let aws = Scratch::new("other", &configuration("aws", true));
    let broken = Scratch::new(
        "broken",
        &configuration("azure", true).replace("/providers/", "/provider/"),
    );
    for (args, words) in [
        (vec!["-c", &cloudless], "captures in no cloud"),
        (
            vec!["-c", &aws.path(), "--fault", "no-atomic-move"],
            "no-atomic-move cannot happen at aws",
        ),
        (
            vec!["-c", &broken.path()],
            "is no id of a network interface",
        ),
        (vec!["-c", "/nowhere.yaml"], "nowhere.yaml"),
        (vec!["-c", &aws.path(), "--fault", "fire"], "fire"),
    ] {
        let Printed { exit, stderr, .. } = run(&[&["capture", "rehearse"], &args[..]].concat());
        assert_eq!(exit, Exit::Usage, "{words}: {stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

fn rehearse(provider: &str, faults: &[&str]) -> (Exit, Value) {
    let name = format!("{provider}-{}", faults.join("-"));
    let file = Scratch::new(&name, &configuration(provider, true));
    let path = file.path();
    let mut args = vec!["capture", "rehearse", "-o", "json", "-c", &path];
    args.extend(faults.iter().flat_map(|fault| ["--fault", fault]));
    let printed = run(&args);
    let rehearsal = serde_json::from_str(&printed.stdout);
    (
        printed.exit,
        rehearsal.unwrap_or_else(|_| panic!("{}", printed.stderr)),
    )
}

/// The addresses that a step added or removed, in all its changes.
fn moved<'a>(step: &'a Value, which: &str) -> Vec<&'a str> {
    let changes = step["changes"].as_array().expect("changes").iter();
    let moved = changes.flat_map(|change| change[which].as_array().expect("addresses"));
    let mut moved: Vec<&str> = moved.filter_map(Value::as_str).collect();
    moved.sort_unstable();
    moved
}

fn forwarding(step: &Value) -> Vec<bool> {
    let changes = step["changes"].as_array().expect("changes").iter();
    let turned = changes.filter_map(|change| change["forwarding"].as_bool());
    turned.collect()
}

/// A site in a cloud, with one or two routers, and one on premises.
fn configuration(provider: &str, two: bool) -> String {
    let nic = |letter: char| match provider {
        "aws" => format!("eni-{letter}"),
        "azure" => format!(
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-lab/providers/Microsoft.Network/networkInterfaces/nic-{letter}"
        ),
        _ => format!("ocid1.vnic.oc1.eu-frankfurt-1.{letter}"),
    };
    let node = |id: u8, name: &str, site: &str, key: &str, nic: Option<String>| {
        let nic = nic.map_or_else(String::new, |nic| format!(", nic: \"{nic}\""));
        format!(
            "    - {{id: {id}, name: {name}, site: {site}, role: {role}, overlay: 10.99.0.{id}, endpoint: \"203.0.113.{id}:51820\", publicKey: \"{key}\"{nic}}}\n",
            role = if site == "cloud" { provider } else { "onprem" },
        )
    };
    let mut nodes = node(
        1,
        "hq",
        "hq",
        "LyugLyy6ZBac8kRiParGvm5+m0suhMzu1cwzC030tH4=",
        None,
    );
    let key = "698A/8oIqGZRLemAaGGdOowoJnV3UP56K7nsHaFr9y0=";
    nodes += &node(2, "cloud-a", "cloud", key, Some(nic('a')));
    if two {
        let key = "m9KPeBkLSRahWSwyxp9UWfvj66VoT837wZxeO198R24=";
        nodes += &node(3, "cloud-b", "cloud", key, Some(nic('b')));
    }
    format!(
        "version: 1
fabric:
  name: lab
  asn: 64577
  pools:
    - {{name: lan60, prefix: 10.77.60.0/24}}
  bgp: {{routeReflectors: [hq]}}
  nodes:
{nodes}self:
  node: cloud-a
  privateKeyFile: a.key
  capture: {{type: {provider}, interface: ens5, mode: plan}}
"
    )
}
