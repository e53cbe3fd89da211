//! Configuration files: every broken one names its mistakes, every shipped one is good.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use samctl::config::{Secrets, check_text, load, render};
use samctl::exit::Exit;

use crate::run::{binary, difference, files, finished, folder, run, scratch};

#[test]
fn every_broken_file_names_its_mistakes_with_place_and_remedy() {
    let corpus = corpus("broken-files");
    let mut failures = Vec::new();
    let broken = files(&corpus, &["yaml", "toml"]);
    assert!(broken.len() >= 100, "only {} broken files", broken.len());
    for file in broken {
        let name = name(&file);
        let command = &mut binary(&["check", &name]);
        let output = command.current_dir(&corpus).output().expect("samctl runs");
        let (code, stdout, stderr) = finished(output);
        if (code, stdout.as_str()) != (2, "") {
            failures.push(format!(
                "{name}: exit {code}, stdout {stdout}, stderr {stderr}"
            ));
            continue;
        }
        let expected = folder("tests/cli/config")
            .join(&name)
            .with_extension("expected");
        failures.extend(difference(&expected, &messages(&stderr)));
        failures.extend(unspeakable(&stderr).map(|word| format!("{name} says `{word}`: {stderr}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The fuzz target `config` of tests/fuzz searches further; these are the same few thousand in every run.
#[test]
fn no_damage_to_a_good_file_makes_the_reader_fall_over() {
    let mut random = 1_u64;
    let mut next = move |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(random >> 33).expect("31 bits") % below
    };
    let pieces = [
        "", " ", "\n", ":", "[", "}", "\"", "&a ", "*a", "0", "-1", "1e999", "\u{fffd}", "- ",
    ];
    let (mut good, mut bad) = (0, 0);
    for file in files(&folder("configs"), &["yaml"]) {
        let text = fs::read_to_string(&file)
            .expect("text")
            .replace("include", "other");
        for _ in 0..300 {
            let mut damaged = text.clone();
            for _ in 0..=next(3) {
                let places: Vec<usize> = damaged.char_indices().map(|(at, _)| at).collect();
                let start = next(places.len());
                let end = (start + next(20)).min(places.len() - 1);
                damaged.replace_range(places[start]..places[end], pieces[next(pieces.len())]);
            }
            match check_text(Path::new("damaged.yaml"), &damaged, Secrets::Skip) {
                Ok(_) => good += 1,
                Err(report) => {
                    assert!(!report.diagnostics().is_empty(), "{damaged}");
                    bad += 1;
                }
            }
        }
    }
    assert!(good > 20 && bad > 500, "{good} good, {bad} bad");
}

#[test]
fn programs_get_the_same_findings_as_people() {
    let corpus = corpus("findings-as-json");
    let file = corpus.join("all-at-once.yaml").display().to_string();
    let text = run(&["check", &file]);
    let json = run(&["check", &file, "-o", "json"]);
    assert_eq!((json.exit, json.stderr.as_str()), (Exit::Usage, ""));
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json.stdout).expect("JSON");
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| {
            let word = |key: &str| finding[key].to_string().trim_matches('"').to_owned();
            let (file, line, column) = (word("file"), word("line"), word("column"));
            let message = finding["message"].as_str().expect("a message");
            format!("{}: {file}:{line}:{column}: {message}", word("severity"))
        })
        .collect();
    let errors: String = messages(&text.stderr)
        .lines()
        .filter(|line| !line.starts_with("help"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(lines.join("\n") + "\n", errors);
    assert!(findings.len() >= 4, "{}", json.stdout);
}

#[test]
fn warnings_are_printed_and_the_file_is_good() {
    let corpus = corpus("warnings");
    let good = fs::read_to_string(folder("configs/minimal.yaml")).expect("readable");
    let file = corpus.join("warned.yaml");
    let text = good
        .replace("10.99.0.2", "100.64.0.2")
        .replace("  nodes:", "  transport: {mtu: 1000}\n  nodes:");
    fs::write(&file, text).expect("writable");
    let printed = run(&["check", "--no-secrets", &file.display().to_string()]);
    assert_eq!(printed.exit, Exit::Ok, "{}", printed.stderr);
    let warnings = messages(&printed.stderr);
    assert!(warnings.contains("warning: ") && warnings.contains("an MTU of 1000 bytes is small"));
    assert!(
        warnings.contains("100.64.0.2 is in the carriers' range"),
        "{warnings}"
    );
    assert!(printed.stdout.contains("warned.yaml: good"));
}

#[test]
fn every_shipped_file_is_good() {
    for name in SHIPPED {
        let file = folder("configs").join(name).display().to_string();
        let printed = run(&["check", "--no-secrets", &file]);
        assert_eq!(
            (printed.exit, printed.stderr.as_str()),
            (Exit::Ok, ""),
            "{name}"
        );
        assert!(printed.stdout.contains(": good ("), "{}", printed.stdout);
    }
    let all = files(&folder("configs"), &["yaml", "toml"]);
    assert_eq!(
        all.len(),
        SHIPPED.len() + 1,
        "a file in configs/ is not tested (fabric.yaml is)"
    );
}

#[test]
fn the_effective_configuration_is_read_back_as_the_same() {
    let scratch = scratch("effective");
    for name in SHIPPED {
        let loaded = load(&folder("configs").join(name), Secrets::Skip).expect(name);
        let file = scratch.join(name).with_extension("yaml");
        fs::write(&file, render(&loaded)).expect("writable");
        let again = load(&file, Secrets::Skip).expect("the effective configuration is good");
        assert_eq!(again.config, loaded.config, "{name}");
        assert_eq!(again.key_files, loaded.key_files, "{name}");
        assert_eq!(render(&again), render(&loaded), "{name}");
    }
}

#[test]
fn what_is_inside_of_wireguard_is_written_back_as_it_was_read() {
    let scratch = scratch("inside");
    let trusted = fs::read_to_string(folder("configs/trusted.yaml")).expect("readable");
    let file = scratch.join("trusted.yaml");
    for transport in [
        "{encap: gre, over: wireguard}",
        "{encap: gre, over: wireguard, key: 7, checksum: true, keepalive: off}",
        "{encap: gue, over: wireguard, port: 6090}",
        "{encap: gue, over: wireguard, variant: 0, inner: gre, keepalive: 10s}",
    ] {
        let text = trusted.replace("{encap: gue, trustedUnderlay: true}", transport);
        fs::write(&file, text).expect("writable");
        let loaded = load(&file, Secrets::Skip).expect("it needs no trusted underlay");
        let encapsulation = loaded.config.fabric.transport.encapsulation;
        assert!(encapsulation.is_encrypted() && encapsulation.name().ends_with(" over wireguard"));

        fs::write(&file, render(&loaded)).expect("writable");

        let again = load(&file, Secrets::Skip).expect("the effective configuration is good");
        assert_eq!(again.config, loaded.config, "{transport}");
    }
}

#[test]
fn an_election_is_written_back_as_it_was_read() {
    let scratch = scratch("election");
    let minimal = fs::read_to_string(folder("configs/minimal.yaml")).expect("readable");
    let file = scratch.join("minimal.yaml");
    for more in [
        "",
        ", peers: [10.77.60.2, 10.77.60.3]",
        ", routers: [10.77.60.2]",
        ", version: 2, interval: 2s, preempt: true, priority: 255",
        ", track: {bgp: 1, tunnels: 2, engine: 3}",
    ] {
        let gate = format!("{{vrrp: {{vrid: 60, address: 10.77.60.254{more}}}}}");
        let text = minimal.replace("single-router", &gate);
        fs::write(&file, text).expect("writable");
        let loaded = load(&file, Secrets::Skip).expect("good");

        fs::write(&file, render(&loaded)).expect("writable");

        let again = load(&file, Secrets::Skip).expect("the effective configuration is good");
        assert_eq!(again.config, loaded.config, "{more}");
        let vrrp = again.config.vrrp().expect("an election");
        let named = vrrp.settings.routers.len();
        assert_eq!(named, usize::from(more.contains("routers")), "{more}");
    }
}

#[test]
fn an_election_about_which_nothing_else_is_said_is_as_the_readme_says() {
    let scratch = scratch("election-defaults");
    let minimal = fs::read_to_string(folder("configs/minimal.yaml")).expect("readable");
    let file = scratch.join("minimal.yaml");
    for (more, number, milliseconds) in [("", 3, 300), (", version: 2", 2, 1_000)] {
        let gate = format!("{{vrrp: {{vrid: 60, address: 10.77.60.254{more}}}}}");
        fs::write(&file, minimal.replace("single-router", &gate)).expect("writable");
        let loaded = load(&file, Secrets::Skip).expect("good");

        let vrrp = loaded.config.vrrp().expect("an election");
        let settings = &vrrp.settings;
        assert_eq!(
            (settings.version.number(), settings.priority),
            (number, 100)
        );
        assert_eq!(settings.interval.as_millis(), milliseconds);
        assert!(!settings.preempt && settings.peers.is_empty() && settings.routers.is_empty());
        let track = [vrrp.track.bgp, vrrp.track.tunnels, vrrp.track.engine];
        assert_eq!(track, [0, 254, 254]);
    }
}

#[test]
fn orders_survive_a_restart_unless_the_file_says_none() {
    let scratch = scratch("state-file");
    let minimal = fs::read_to_string(folder("configs/minimal.yaml")).expect("readable");
    let cases = [
        ("", Some("/var/lib/samctl/minimal-onprem.json".into())),
        ("  stateFile: none\n", None),
        ("  stateFile: ./none\n", Some(scratch.join("none"))),
        ("  stateFile: /x/y.json\n", Some(PathBuf::from("/x/y.json"))),
    ];
    for (line, expected) in cases {
        let file = scratch.join("minimal.yaml");
        fs::write(&file, format!("{minimal}{line}")).expect("writable");

        let loaded = load(&file, Secrets::Skip).expect("good");

        assert_eq!(loaded.config.local.state_file, expected, "{line}");
    }
}

#[test]
fn yaml_and_toml_mean_the_same() {
    let corpus = corpus("two-notations");
    let yaml = load(&corpus.join("good/everything.yaml"), Secrets::Read).expect("YAML");
    let toml = load(&corpus.join("good/everything.toml"), Secrets::Read).expect("TOML");
    assert_eq!(yaml.config, toml.config);
    assert_eq!(yaml.config.local.preshared_keys.len(), 1);
    assert_eq!(yaml.config.local.private_key.to_base64().as_str(), KEY_A);
}

#[test]
fn a_check_without_secrets_opens_no_key_file() {
    let corpus = corpus("no-secrets");
    let file = corpus
        .join("private-key-missing.yaml")
        .display()
        .to_string();
    assert_eq!(run(&["check", &file]).exit, Exit::Usage);
    assert_eq!(run(&["check", "--no-secrets", &file]).exit, Exit::Ok);
}

#[test]
fn a_file_that_breaks_off_anywhere_is_refused_or_good_and_never_a_crash() {
    let scratch = scratch("broken-off");
    for (name, whole) in [
        ("cut.yaml", include_str!("config/good/everything.yaml")),
        ("cut.toml", include_str!("config/good/everything.toml")),
    ] {
        let file = scratch.join(name);
        let mut refused = 0;
        for end in 0..whole.len() {
            fs::write(&file, &whole[..end]).expect("writable");
            if let Err(report) = load(&file, Secrets::Skip) {
                assert!(!report.render(true).is_empty(), "{name} until {end}");
                refused += 1;
            }
        }
        assert!(refused > whole.len() / 2, "{name}: {refused} refused");
    }
}

/// Copies the corpus into a folder with key files, whose permissions a checkout does not keep.
fn corpus(name: &str) -> PathBuf {
    let corpus = scratch(name);
    let source = folder("tests/cli/config");
    for (from, to) in [
        (source.clone(), corpus.clone()),
        (source.join("good"), corpus.join("good")),
    ] {
        fs::create_dir_all(&to).expect("creatable");
        for file in files(&from, &["yaml", "toml"]) {
            fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copyable");
        }
        for (name, text, mode) in KEY_FILES {
            fs::write(to.join(name), text).expect("writable");
            let permissions = fs::Permissions::from_mode(*mode);
            fs::set_permissions(to.join(name), permissions).expect("own file");
        }
    }
    corpus
}

/// Leaves findings and remedies, drops excerpts.
fn messages(stderr: &str) -> String {
    stderr
        .lines()
        .map(str::trim_start)
        .filter(|line| {
            ["error: ", "warning: ", "help: "]
                .iter()
                .any(|mark| line.starts_with(mark))
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Finds a word that operators should never have to read.
fn unspeakable(text: &str) -> Option<&'static str> {
    const WORDS: &[&str] = &[
        "::`",
        "std::",
        "Option<",
        "Vec<",
        "invalid type",
        "invalid value",
        "unit variant",
        "struct ",
        "enum ",
        "u16",
        "u32",
        "i64",
        "usize",
        "Ipv4",
        "Some(",
        "None",
        "serde",
        "panicked",
        "newtype",
        "visitor",
    ];
    WORDS.iter().copied().find(|word| text.contains(word))
}

fn name(path: &Path) -> String {
    path.file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

/// Files of `configs/` that a router can be started with; `fabric.yaml` is included by them.
const SHIPPED: &[&str] = &[
    "minimal.yaml",
    "neighbors.yaml",
    "trusted.yaml",
    "onprem.yaml",
    "aws.yaml",
    "azure.yaml",
    "oci.yaml",
];
/// Keys of nodes a and b of the corpus; they guard nothing.
const KEY_A: &str = "gCCFoC7Q7TpdhjP22JO5ZAXQKuiNiyLSCvIbxJnVF0I=";
const KEY_FILES: &[(&str, &str, u32)] = &[
    (
        "a.key",
        "gCCFoC7Q7TpdhjP22JO5ZAXQKuiNiyLSCvIbxJnVF0I=\n",
        0o600,
    ),
    (
        "b.key",
        "wKmgL4HvnrlrTEm83BrZcaKuW2k6vQjpT/NppfwBlUI=\n",
        0o600,
    ),
    (
        "other.key",
        "kC2HLxjLClWjFONRyvTtyzl6bp/gGtBgkdI+aXH2jHw=\n",
        0o600,
    ),
    (
        "open.key",
        "gCCFoC7Q7TpdhjP22JO5ZAXQKuiNiyLSCvIbxJnVF0I=\n",
        0o644,
    ),
    ("garbage.key", "this is not a key\n", 0o600),
    (
        "zero.key",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        0o400,
    ),
];
