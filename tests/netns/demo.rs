//! `samctl demo`: proves its claims, passes its scenarios, and leaves nothing behind when interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sam_testkit::netns::{Daemon, Folder, holds_within, is_installed, wait_until};

use crate::case::{Case, is_real_root, samctl};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "demo::every_claim_holds",
        needs: &[],
        run: claims,
    },
    Case {
        name: "demo::an_interrupted_demo_leaves_nothing",
        needs: &[],
        run: interrupted,
    },
    Case {
        name: "demo::scenarios_on_the_lan_pass",
        needs: &[],
        run: || pass(&["D1", "D2", "D3", "D4", "D8"]),
    },
    Case {
        name: "demo::scenarios_in_the_clouds_pass",
        needs: &[],
        run: || pass(&["D5", "D6", "D7", "D9", "D10"]),
    },
];

/// Step of the demo in which the most is under way.
const FLOWS: &str = "twelve directed flows";

/// Four sites as in `cli/demo/lab.rs`; the demo builds them itself.
fn claims() {
    let output = Command::new(samctl()).args(["demo", "-o", "json"]).output();
    let output = output.expect("samctl starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let assertions = report["assertions"].as_array().expect("a list").iter();
    let failed: Vec<_> = assertions.filter(|claim| claim["passed"] != true).collect();
    assert_eq!(failed, Vec::<&serde_json::Value>::new());
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert_eq!(report["passed"], true);
    assert_eq!(report["flows"]["passed"], 12);
    assert_eq!(report["flows"]["failed"], 0);
    assert_eq!(report["move"]["tcp_survived"], true);
}

/// As above, with faults.
fn pass(scenarios: &[&str]) {
    let mut command = Command::new(samctl());
    let scenario = scenarios.join(",");
    let output = command.args(["demo", "-o", "json", "--quick", "--scenario", &scenario]);
    let output = output.output().expect("samctl starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!(report["quick"], true);
    let all = report["scenarios"].as_array().expect("a list");
    for (scenario, id) in all.iter().zip(scenarios) {
        assert_eq!(scenario["id"], *id);
        assert_eq!(scenario["error"], serde_json::Value::Null, "{errors}");
        let verdicts = scenario["assertions"].as_array().expect("a list").iter();
        let failed: Vec<_> = verdicts.filter(|one| one["passed"] != true).collect();
        assert_eq!(failed, Vec::<&serde_json::Value>::new(), "{id}");
        assert_eq!(scenario["flows"]["after"]["passed"], 12, "{id}");
    }
    assert_eq!(all.len(), scenarios.len(), "{errors}");
    assert_eq!(output.status.code(), Some(0), "{errors}");
}

/// As above; SIGINT comes while everything runs, with and without `--keep`.
fn interrupted() {
    let kept = &["demo", "--keep", "--scenario", "D2", "--quick"];
    for arguments in [&["demo"][..], kept] {
        let (folder, logs) = (Folder::new("demo"), Folder::new("demo-log"));
        let scratch = folder.path();
        let mut command = Command::new(samctl());
        // A folder of its own for temporary files shows whether it is empty afterwards.
        command.args(arguments).env("TMPDIR", scratch);
        let mut demo = Daemon::start(command, &logs.path().join("demo.log"));
        let waited_for = if arguments.len() > 1 {
            "Still running"
        } else {
            FLOWS
        };
        // Ten seconds on a machine with nothing else to do.
        wait_until(waited_for, Duration::from_secs(150), || {
            assert_eq!(demo.exit_code(), None, "{}", demo.log());
            demo.log().contains(waited_for)
        });
        let running = processes_below(scratch);
        let routers = running.iter().filter(|line| line.contains(" run -c "));
        assert_eq!(routers.count(), 8, "{running:?}");
        if waited_for == FLOWS && is_installed("sshd") && is_real_root() {
            // The worst moment: an ssh is under way.
            let patience = Duration::from_secs(5);
            holds_within(patience, || {
                let running = processes_below(scratch);
                running.iter().any(|line| line.starts_with("ssh "))
            });
        }

        demo.signal("INT");
        let ended = holds_within(Duration::from_secs(5), || demo.exit_code().is_some());

        assert!(ended, "{}", demo.log());
        assert_eq!(demo.exit_code(), Some(130));
        if !holds_within(Duration::from_secs(2), || {
            processes_below(scratch).is_empty()
        }) {
            panic!("left running: {:?}", processes_below(scratch));
        }
        let left: Vec<PathBuf> = fs::read_dir(scratch)
            .expect("readable")
            .map(|entry| entry.expect("readable").path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

/// Processes whose command line names a file below a folder, and what they run.
fn processes_below(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder))
        .collect()
}
