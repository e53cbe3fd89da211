//! Rules about crates: who may use whom (R2), and that pure crates are under one lint configuration (R1).

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::source::root;

/// Which of our crates each crate may use; arrows point down only. Engine/ARCHITECTURE.md shows the same.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "samctl",
        &[
            "sam-runtime",
            "sam-net",
            "sam-router",
            "sam-capture",
            // Policies for operators: one verb.
            "sam-cloud",
            // A cloud to rehearse with: one verb.
            "sam-fakecloud",
            // The packet sockets of the demo's witnesses want buffers.
            "sam-dataplane",
            "sam-wg",
            "sam-bfd",
            "sam-bgp",
            "sam-vrrp",
        ],
    ),
    (
        "sam-runtime",
        &[
            "sam-net",
            "sam-router",
            "sam-capture",
            "sam-cloud",
            "sam-dataplane",
            "sam-wg",
            "sam-bfd",
            "sam-bgp",
            "sam-vrrp",
        ],
    ),
    ("sam-cloud", &["sam-capture"]),
    ("sam-net", &["sam-dataplane"]),
    (
        "sam-router",
        &[
            "sam-capture",
            "sam-dataplane",
            "sam-bfd",
            "sam-bgp",
            "sam-vrrp",
            "sam-wg",
        ],
    ),
    ("sam-capture", &["sam-bgp"]),
    ("sam-fakecloud", &[]),
    ("sam-dataplane", &["sam-wg"]),
    ("sam-bfd", &[]),
    ("sam-bgp", &[]),
    ("sam-vrrp", &[]),
    ("sam-wg", &[]),
];

/// Crates for tests only: nothing that ships may use them.
const FOR_TESTS: &[&str] = &["sam-testkit"];

/// Crates that may not read clocks, sockets, files or the environment.
const PURE: &[&str] = &[
    "bfd",
    "bgp",
    "capture/core",
    "capture/fakecloud",
    "engine/dataplane",
    "engine/router",
    "engine/wg",
    "vrrp",
];

#[test]
fn crate_arrows_point_down_only() {
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|(package, _)| !FOR_TESTS.contains(&package.as_str()))
        .flat_map(|(package, dependencies)| forbidden(package, dependencies))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn an_arrow_that_points_up_is_refused() {
    let uses = |package, dependency: &str| forbidden(package, &[dependency.to_owned()]);
    assert_eq!(uses("sam-net", "sam-dataplane"), Vec::<String>::new());
    assert_eq!(uses("sam-bgp", "sam-capture").len(), 1);
    assert_eq!(uses("samctl", "sam-testkit").len(), 1);
    assert_eq!(uses("sam-new", "sam-bgp").len(), 1);
}

#[test]
fn the_table_of_crates_is_complete_and_the_architecture_names_each() {
    let architecture =
        fs::read_to_string(root().join("engine/ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let found: BTreeSet<String> = packages().into_iter().map(|(name, _)| name).collect();
    let known = ARROWS.iter().map(|(name, _)| *name);
    let known: BTreeSet<String> = known
        .chain(FOR_TESTS.iter().copied())
        .map(str::to_owned)
        .collect();
    assert_eq!(found, known);
    for (name, _) in ARROWS {
        assert!(architecture.contains(name), "{name}");
    }
}

#[test]
fn pure_crates_share_one_clippy_configuration() {
    let texts: BTreeSet<String> = PURE
        .iter()
        .map(|folder| fs::read_to_string(root().join(folder).join("clippy.toml")).expect(folder))
        .collect();
    assert_eq!(texts.len(), 1, "clippy.toml of the pure crates differ");
    let text = texts.first().expect("one");
    for banned in ["Instant::now", "thread::sleep", "UdpSocket", "env::var"] {
        assert!(text.contains(banned), "{banned} must be banned");
    }
}

#[test]
fn every_crate_is_under_the_lints_of_the_workspace() {
    for manifest in manifests() {
        let text = fs::read_to_string(&manifest).expect("manifest");
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{manifest} has no [lints] workspace = true"
        );
    }
}

/// `cargo test` runs a bench of criterion once; else one that no longer works is found when somebody measures.
#[test]
fn cargo_test_runs_each_bench_of_criterion() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let measures = |package: &&serde_json::Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        dependencies.iter().any(|it| it["name"] == "criterion")
    };
    let targets = packages.filter(measures).flat_map(|package| {
        let targets = package["targets"].as_array().expect("targets");
        targets.iter().filter(|target| target["kind"][0] == "bench")
    });
    let (run, missed): (Vec<_>, Vec<_>) = targets.partition(|target| target["test"] == true);
    assert!(!run.is_empty(), "there are benches of criterion");
    let missed: Vec<_> = missed.iter().map(|target| &target["src_path"]).collect();
    assert!(missed.is_empty(), "`test = true` is missing: {missed:?}");
}

/// What is wrong with the dependencies of one of our crates.
fn forbidden(package: &str, dependencies: &[String]) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
        return vec![format!("{package} is not in the table of crates")];
    };
    dependencies
        .iter()
        .filter(|dependency| !allowed.contains(&dependency.as_str()))
        .map(|dependency| format!("{package} must not depend on {dependency}"))
        .collect()
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn manifests() -> Vec<String> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| package["manifest_path"].as_str().expect("path").to_owned())
        .collect()
}

/// Our crates, and which of our crates each ships with.
fn packages() -> Vec<(String, Vec<String>)> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let ours = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| name.starts_with("sam-"))
                .map(str::to_owned);
            let name = package["name"].as_str().expect("name");
            (name.to_owned(), ours.collect())
        })
        .collect()
}
