//! Secrets of providers' calls: none is in a log, a journal or an answer, whatever is logged and whatever fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use sam_router::config::CloudKind;
use sam_testkit::netns::cloud::{CLOUD, CloudLab, ELSEWHERE};
use sam_testkit::netns::{Capture, Fabric, wait_until};
use serde_json::{Value, json};

use crate::case::{Case, Need, samctl};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "secrets::of_aws_are_in_no_log_though_all_is_logged_and_calls_fail",
        needs: NEEDS,
        run: || hidden(CloudKind::Aws),
    },
    Case {
        name: "secrets::of_azure_are_in_no_log_though_all_is_logged_and_calls_fail",
        needs: NEEDS,
        run: || hidden(CloudKind::Azure),
    },
    Case {
        name: "secrets::of_oci_are_in_no_log_though_all_is_logged_and_calls_fail",
        needs: NEEDS,
        run: || hidden(CloudKind::Oci),
    },
];

const NEEDS: &[Need] = &[Need::Tool("curl"), Need::Tool("ip"), Need::Tool("tcpdump")];
const PATIENCE: Duration = Duration::from_secs(40);
/// What nobody would know by heart.
const LONG: usize = 16;

/// What passed the wire in clear tells what the secrets are.
fn hidden(kind: CloudKind) {
    let mut fabric = Fabric::new(samctl(), 2);
    let lab = CloudLab::start(samctl(), &fabric, kind, &[CLOUD], &json!({}));
    lab.let_capture(&fabric, CLOUD, "");
    let router = fabric.topology.router(CLOUD).clone();
    let wire = Capture::start(&router, "wan0", "tcp port 8470", &fabric.path("wan0.pcap"));
    fabric.start(ELSEWHERE);
    let refused = json!({"refuse": {"status": 503, "code": "InternalError"}});
    for effect in [json!("loseRequest"), refused, json!("loseAnswer")] {
        fail_once(&lab, &effect);
    }
    fabric.start_within(CLOUD, &["env", "SAMCTL_LOG=trace"]);
    let address = ELSEWHERE.client();
    wait_until("the address is captured", PATIENCE, || {
        lab.holder(address).is_some()
    });
    fail_once(&lab, &json!("revoke"));
    let router = fabric.router(CLOUD);
    router
        .samctl(&format!("release {address} --hold 1h"))
        .success();
    wait_until("all has failed, and is told", PATIENCE, || {
        lab.faults() == 0 && router.log().contains("denied")
    });

    let secrets = secrets(kind, wire.stop().file());
    let log = router.log();
    let views = [
        "captures", "actions", "events", "doctor", "status", "counters",
    ];
    let shown = views.map(|view| (view, router.samctl(&format!("-o json {view}")).text()));
    let files = ["aws.jsonl", "aws.state.json"];
    let kept = files.map(|name| {
        (
            name,
            fs::read_to_string(fabric.path(name)).unwrap_or_default(),
        )
    });
    let told = shown.into_iter().chain(kept).chain([("log", log)]);
    for (place, text) in told {
        assert!(!text.is_empty(), "{place} says nothing");
        let leaked = secrets.iter().find(|secret| text.contains(*secret));
        assert_eq!(leaked, None, "in {place}");
    }
}

fn fail_once(lab: &CloudLab, effect: &Value) {
    lab.disturb(&json!({ "operation": "*", "times": 1, "effect": effect }));
}

/// What stands on the wire after the words that come before a secret: one of each kind at least.
fn secrets(kind: CloudKind, capture: &Path) -> BTreeSet<String> {
    let before: &[&str] = match kind {
        CloudKind::Aws => &[
            "Signature=",
            "x-amz-security-token: ",
            "\"SecretAccessKey\":\"",
            "\"Token\":\"",
            "x-aws-ec2-metadata-token: ",
        ],
        CloudKind::Azure => &["Bearer ", "\"access_token\":\""],
        CloudKind::Oci => &[
            "signature=\"",
            "\"token\":\"",
            "keyId=\"ST$",
            "-----BEGIN RSA PRIVATE KEY-----\n",
        ],
    };
    let bytes = fs::read(capture).expect("the capture is readable");
    let text = String::from_utf8_lossy(&bytes);
    let mut secrets = BTreeSet::new();
    for words in before {
        let found = text.split(words).skip(1).filter_map(|rest| {
            let end = rest.find(|letter: char| !letter.is_ascii_graphic() || letter == '"');
            rest.get(..end?)
        });
        let found: BTreeSet<String> = { found }
            .filter(|secret| secret.len() >= LONG)
            .map(str::to_owned)
            .collect();
        assert!(!found.is_empty(), "nothing after '{words}'");
        secrets.extend(found);
    }
    secrets
}
