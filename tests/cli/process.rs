//! The real binary: streams, exit codes, the environment.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::run::{binary, finished, folder};

#[test]
fn a_wrong_command_line_is_exit_2() {
    for arguments in [
        &["fly"][..],
        &[],
        &["explain", "lan60"],
        &["bgp", "why", "10.0.0.1/8"],
        &["-o", "xml", "status"],
    ] {
        let (code, stdout, stderr) = output(&mut binary(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!stderr.is_empty());
    }
    let (code, _, stderr) = output(&mut binary(&["fly", "-o", "json"]));
    let error: serde_json::Value = serde_json::from_str(&stderr).expect("errors are JSON too");
    assert_eq!(code, 2);
    assert!(
        error["error"]
            .as_str()
            .is_some_and(|text| text.contains("fly")),
        "{stderr}"
    );
}

#[test]
fn no_router_is_exit_3_with_a_hint() {
    let (code, stdout, stderr) = output(&mut binary(&["--socket", "/nonexistent/s", "status"]));
    assert_eq!((code, stdout.as_str()), (3, ""));
    assert!(
        stderr.contains("there is no socket /nonexistent/s"),
        "{stderr}"
    );
    assert!(stderr.contains("is `samctl run` running?"), "{stderr}");
    let by_environment = &mut binary(&["status", "-o", "json"]);
    let (code, _, stderr) = output(by_environment.env("SAMCTL_SOCKET", "/nonexistent/e"));
    assert_eq!(code, 3);
    assert!(
        stderr.starts_with('{') && stderr.contains("/nonexistent/e"),
        "{stderr}"
    );
}

#[test]
fn keys_go_through_standard_input_and_output() {
    let (code, private, stderr) = output(&mut binary(&["key", "gen"]));
    assert_eq!((code, private.len(), stderr.as_str()), (0, 45, ""));
    let (_, other, _) = output(&mut binary(&["key", "gen"]));
    assert_ne!(private, other, "keys are random");
    let (code, public, _) = fed(&["key", "pub"], &private);
    assert_eq!((code, public.len()), (0, 45));
    assert_ne!(public, private);
    let (_, again, _) = fed(&["key", "pub"], private.trim_end());
    assert_eq!(again, public, "the line end does not matter");
}

#[test]
fn a_public_key_is_that_of_rfc_7748() {
    // Section 6.1, Alice.
    let private = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    let public = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n";
    assert_eq!(fed(&["key", "pub"], private).1, public);
}

#[test]
fn a_text_that_is_no_key_is_refused_without_repeating_it() {
    let (code, stdout, stderr) = fed(&["key", "pub"], "almost-a-secret");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(
        stderr.contains("no private key") && !stderr.contains("almost-a-secret"),
        "{stderr}"
    );
}

#[test]
fn completion_scripts_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = output(&mut binary(&["completion", shell]));
        assert_eq!(code, 0);
        assert!(
            script.contains("neighbors") && script.contains("withdraw"),
            "{shell}"
        );
    }
}

#[test]
fn every_verb_explains_itself() {
    const VERBS: &[&[&str]] = &[
        &[],
        &["run"],
        &["check"],
        &["reload"],
        &["status"],
        &["owners"],
        &["routes"],
        &["bgp"],
        &["bgp", "neighbors"],
        &["bgp", "neighbor"],
        &["bgp", "rib"],
        &["bgp", "monitor"],
        &["bgp", "mrt"],
        &["bgp", "mrt", "dump"],
        &["bgp", "mrt", "read"],
        &["bgp", "mrt", "inject"],
        &["bgp", "decode"],
        &["bgp", "why"],
        &["tunnels"],
        &["arp"],
        &["explain"],
        &["doctor"],
        &["test"],
        &["counters"],
        &["events"],
        &["key"],
        &["lab"],
        &["lab", "fakecloud"],
        &["key", "gen"],
        &["key", "pub"],
        &["announce"],
        &["withdraw"],
        &["pcap"],
        &["version"],
        &["completion"],
        &["demo"],
    ];
    for verb in VERBS {
        let (code, help, stderr) = output(&mut binary(&[verb, &["--help"][..]].concat()));
        assert_eq!((code, stderr.as_str()), (0, ""), "{verb:?}");
        assert!(
            help.contains("Usage: samctl") && help.contains("--socket"),
            "{verb:?}: {help}"
        );
    }
}

#[test]
fn text_is_plain_where_no_terminal_is() {
    let broken = folder("tests/cli/config/asn-zero.yaml");
    let (code, _, stderr) = output(&mut binary(&[
        "check",
        "--no-secrets",
        &broken.display().to_string(),
    ]));
    assert_eq!(code, 2);
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
    assert!(stderr.contains("  asn: 0"), "an excerpt is shown: {stderr}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let program = env!("CARGO_BIN_EXE_samctl");
    let command = format!("'{program}' completion bash | true; echo ${{PIPESTATUS[0]}}");
    let (_, codes, stderr) = output(Command::new("bash").args(["-c", &command]));
    assert_eq!((codes.as_str(), stderr.as_str()), ("0\n", ""));
}

fn output(command: &mut Command) -> (i32, String, String) {
    finished(command.output().expect("starts"))
}

fn fed(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = binary(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("samctl starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("accepted");
    let output: Output = child.wait_with_output().expect("samctl ends");
    finished(output)
}
