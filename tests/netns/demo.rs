//! `samctl demo`: proves its claims, and leaves nothing behind when interrupted.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sam_testkit::netns::{Daemon, folder, holds_within, wait_until};

use crate::case::{Case, samctl};

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
];

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

/// As above; SIGINT comes while everything runs, with and without `--keep`.
fn interrupted() {
    for arguments in [&["demo"][..], &["demo", "--keep"]] {
        let scratch = folder("demo");
        let mut command = Command::new(samctl());
        // A folder of its own for temporary files shows whether it is empty afterwards.
        command.args(arguments).env("TMPDIR", &scratch);
        let log = scratch.with_extension("log");
        let mut demo = Daemon::start(command, &log);
        let waited_for = if arguments.len() > 1 {
            "Still running"
        } else {
            "agreed on all owners"
        };
        wait_until(waited_for, Duration::from_secs(60), || {
            assert_eq!(demo.exit_code(), None, "{}", demo.log());
            demo.log().contains(waited_for)
        });
        let routers = routers_below(&scratch);
        assert_eq!(routers.len(), 4, "{}", demo.log());

        demo.signal("INT");
        let ended = holds_within(Duration::from_secs(5), || demo.exit_code().is_some());

        assert!(ended, "{}", demo.log());
        assert_eq!(demo.exit_code(), Some(130));
        let gone = || routers_below(&scratch).is_empty();
        wait_until("the routers are gone", Duration::from_secs(2), gone);
        let left: Vec<PathBuf> = std::fs::read_dir(&scratch)
            .expect("readable")
            .map(|entry| entry.expect("readable").path())
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new());
        std::fs::remove_dir_all(&scratch).ok();
        std::fs::remove_file(&log).ok();
    }
}

/// Processes whose command line names a file below a folder and that have not ended.
fn routers_below(folder: &std::path::Path) -> Vec<u32> {
    let folder = folder.display().to_string();
    let entries = std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes
        .filter(|process| {
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(" run -c ") && line.contains(&folder)
        })
        .collect()
}
