//! The demo as an ordinary user, where /dev/net/tun lets users in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sam_testkit::netns::Folder;

use crate::case::{Case, Need, samctl};

pub(crate) const CASES: &[Case] = &[Case {
    name: "unprivileged::an_ordinary_user_can_run_the_demo",
    needs: &[Need::Tool("setpriv"), Need::Users],
    run: ordinary_user,
}];

const TUN: &str = "/dev/net/tun";
/// The user without rights.
const NOBODY: &str = "65534";

/// Opens the device for everybody, as distributions do, until dropped.
struct OpenTun(fs::Permissions);

impl OpenTun {
    fn new() -> Self {
        let before = fs::metadata(TUN).expect("the device exists").permissions();
        fs::set_permissions(TUN, fs::Permissions::from_mode(0o666)).expect("root may");
        Self(before)
    }
}

impl Drop for OpenTun {
    fn drop(&mut self) {
        fs::set_permissions(TUN, self.0.clone()).ok();
    }
}

/// Four sites as in `cli/demo/lab.rs`, in a user namespace.
fn ordinary_user() {
    let _tun = OpenTun::new();
    let folder = Folder::new("user");
    let scratch = folder.path();
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o777)).expect("own folder");
    // The build may lie where others cannot read.
    let program = scratch.join("samctl");
    // By another process: a child that somebody forks meanwhile would keep it open for writing, and nobody could run it.
    let copied = Command::new("cp").arg(samctl()).arg(&program).status();
    assert!(copied.expect("cp starts").success());
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            NOBODY,
            "--regid",
            NOBODY,
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ])
        .arg(&program)
        .args(["demo", "-o", "json"])
        .env("TMPDIR", scratch)
        .current_dir(Path::new("/"))
        .output()
        .expect("setpriv starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    fs::remove_file(&program).ok();
    let left = fs::read_dir(scratch).expect("readable").count();
    assert_eq!(output.status.code(), Some(0), "{errors}\n{report}");
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(report["flows"]["passed"], 12);
    assert_eq!(left, 0, "files are left");
}
