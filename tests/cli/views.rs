//! Verbs that show and steer a router: text from views, orders, refusals.

use std::fs;

use samctl::exit::Exit;
use serde_json::Value;

use crate::run::{difference, folder, run, scratch};
use crate::server::Server;

#[test]
fn every_view_is_shown_as_text() {
    let server = Server::start("text");
    let mut failures = Vec::new();
    for (arguments, name) in VERBS {
        let printed = run(&[&["--socket", server.socket()], *arguments].concat());
        assert_eq!(
            (printed.exit, printed.stderr.as_str()),
            (expected_exit(name), ""),
            "{name}"
        );
        let expected = folder("tests/cli/views").join(format!("{name}.txt"));
        failures.extend(difference(&expected, &printed.stdout));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_view_is_shown_as_the_router_sent_it() {
    let server = Server::start("json");
    for (arguments, name) in VERBS {
        let sent = fs::read_to_string(folder("tests/cli/views").join(format!("{name}.json")));
        let Ok(sent) = sent else { continue };
        let sent: Value = serde_json::from_str(&sent).expect(name);
        for format in ["json", "yaml"] {
            let printed = run(&[&["--socket", server.socket(), "-o", format], *arguments].concat());
            assert_eq!(printed.exit, expected_exit(name), "{}", printed.stderr);
            let shown: Value = match format {
                "json" => serde_json::from_str(&printed.stdout).expect(name),
                _ => serde_saphyr::from_str(&printed.stdout).expect(name),
            };
            assert_eq!(shown, sent, "{name} as {format}");
        }
    }
}

#[test]
fn verbs_ask_for_the_documented_paths() {
    let server = Server::start("paths");
    for (arguments, _) in VERBS {
        run(&[&["--socket", server.socket()], *arguments].concat());
    }
    let paths = [
        "GET /v1/status",
        "GET /v1/owners",
        "GET /v1/routes",
        "GET /v1/bgp/neighbors",
        "GET /v1/bgp/neighbors/aws",
        "GET /v1/bgp/neighbors/aws/received",
        "GET /v1/bgp/neighbors/aws/accepted",
        "GET /v1/bgp/neighbors/aws/rejected",
        "GET /v1/bgp/neighbors/aws/advertised",
        "GET /v1/bgp/neighbors/aws/withheld",
        "GET /v1/bgp/rib",
        "GET /v1/bgp/policy",
        "GET /v1/bgp/policy/test?prefix=198.51.100.0/24&neighbor=upstream",
        "GET /v1/bgp/why?prefix=10.77.60.20/32",
        "GET /v1/bgp/why?prefix=10.77.60.21/32",
        "GET /v1/bfd",
        "GET /v1/vrrp",
        "GET /v1/drain",
        "GET /v1/handover",
        "GET /v1/captures",
        "GET /v1/actions",
        "GET /v1/actions/7",
        "GET /v1/tunnels",
        "GET /v1/arp",
        "GET /v1/discovery",
        "GET /v1/explain/10.77.60.20",
        "GET /v1/trace?from=10.77.60.10&to=10.77.60.20&protocol=tcp&port=443&size=1500&df=true",
        "GET /v1/doctor",
        r#"POST /v1/test {"node":"aws"}"#,
        "POST /v1/test/all {}",
        "GET /v1/counters",
        "GET /v1/events?follow=false",
    ];
    assert_eq!(server.asked(), paths);
}

#[test]
fn orders_are_given_and_confirmed() {
    let server = Server::start("orders");
    let orders = [
        (&["announce", "10.77.60.9"][..], "10.77.60.9 is announced\n"),
        (&["withdraw", "10.77.60.9"], "10.77.60.9 is withdrawn\n"),
        (&["reload"], "the configuration is reloaded\n"),
        (
            &["drain", "on"],
            "this router is being emptied: `samctl drain` shows what is left\n",
        ),
        (
            &["drain", "off"],
            "this router acts again; it takes nothing back that others have\n",
        ),
        (
            &["undrain"],
            "this router acts again; it takes nothing back that others have\n",
        ),
        (
            &["bgp", "graceful-shutdown", "on"],
            "neighbors of other ASes are asked to use other ways; what still comes is carried on\n",
        ),
        (
            &["bgp", "graceful-shutdown", "off"],
            "neighbors of other ASes are asked no longer to use other ways\n",
        ),
        (
            &["handover", "10.77.60.9", "--to", "aws"],
            "10.77.60.9 is offered to aws: `samctl handover` shows whether it is still\n",
        ),
        (
            &["handover", "10.77.60.9", "--cancel"],
            "10.77.60.9 stays here\n",
        ),
        (
            &["handover", "10.77.60.9", "--to", "aws", "--wait"],
            "10.77.60.9 is offered to aws\n",
        ),
    ];
    assert_confirmed(&server, &orders);
    let given = [
        r#"POST /v1/announce {"address":"10.77.60.9"}"#,
        r#"POST /v1/withdraw {"address":"10.77.60.9"}"#,
        "POST /v1/reload {}",
        r#"POST /v1/drain {"on":true}"#,
        r#"POST /v1/drain {"on":false}"#,
        r#"POST /v1/drain {"on":false}"#,
        r#"POST /v1/bgp/graceful-shutdown {"on":true}"#,
        r#"POST /v1/bgp/graceful-shutdown {"on":false}"#,
        r#"POST /v1/handover {"address":"10.77.60.9","to":"aws"}"#,
        r#"POST /v1/handover/cancel {"address":"10.77.60.9"}"#,
        r#"POST /v1/handover {"address":"10.77.60.9","to":"aws"}"#,
        "GET /v1/handover",
    ];
    assert_eq!(server.asked(), given);
    let printed = run(&[
        "--socket",
        server.socket(),
        "-o",
        "json",
        "announce",
        "10.77.60.9",
    ]);
    let answer: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    assert_eq!(answer["address"], "10.77.60.9");
}

#[test]
fn orders_about_a_neighbor_are_given_and_confirmed() {
    let server = Server::start("neighbor-orders");
    let orders = [
        (
            &["bgp", "neighbor", "aws", "refresh"][..],
            "aws is asked for its routes, and told ours again\n",
        ),
        (
            &["bgp", "neighbor", "aws", "refresh", "in"],
            "aws is asked for its routes\n",
        ),
        (
            &["bgp", "neighbor", "aws", "refresh", "out"],
            "aws is told our routes again\n",
        ),
        (
            &["bgp", "neighbor", "aws", "reset", "--hard"],
            "the session with aws is reset; it comes up again by itself\n",
        ),
        (
            &["bgp", "neighbor", "aws", "disable"],
            "the session with aws is disabled until it is enabled, or this router restarts\n",
        ),
        (
            &["bgp", "neighbor", "aws", "enable"],
            "the session with aws is allowed again\n",
        ),
    ];
    assert_confirmed(&server, &orders);
    let given = [
        "POST /v1/bgp/neighbors/aws/refresh {}",
        r#"POST /v1/bgp/neighbors/aws/refresh {"direction":"in"}"#,
        r#"POST /v1/bgp/neighbors/aws/refresh {"direction":"out"}"#,
        r#"POST /v1/bgp/neighbors/aws/reset {"hard":true}"#,
        "POST /v1/bgp/neighbors/aws/disable {}",
        "POST /v1/bgp/neighbors/aws/enable {}",
    ];
    assert_eq!(server.asked(), given);
}

#[test]
fn what_does_not_happen_in_time_has_an_exit_code_of_its_own() {
    let server = Server::start("waiting");
    let cases = [
        (
            &["drain", "on", "--wait", "--timeout", "0"][..],
            "still has something to do",
        ),
        (
            &[
                "handover",
                "10.77.60.20",
                "--to",
                "aws",
                "--wait",
                "--timeout",
                "0",
            ],
            "aws did not take 10.77.60.20 over",
        ),
    ];
    for (arguments, words) in cases {
        let printed = run(&[&["--socket", server.socket()], arguments].concat());
        assert_eq!(printed.exit, Exit::TimedOut, "{arguments:?}");
        assert!(printed.stderr.contains(words), "{}", printed.stderr);
    }
    for arguments in [
        &["handover", "--to", "aws"][..],
        &["handover", "10.77.60.20"],
    ] {
        let printed = run(&[&["--socket", server.socket()], arguments].concat());
        assert_eq!(printed.exit, Exit::Usage, "{arguments:?}");
    }
}

#[test]
fn refusals_have_the_routers_words_and_an_exit_code_of_their_own() {
    let server = Server::start("refusals");
    let cases = [
        (
            &["announce", "10.1.1.1"][..],
            Exit::Failed,
            "10.1.1.1 is outside of all pools",
        ),
        (
            &["bgp", "neighbor", "nobody"],
            Exit::Failed,
            "no neighbor is named nobody",
        ),
        (&["doctor", "secret"], Exit::NotPermitted, "this needs root"),
        (
            &["doctor", "cellar"],
            Exit::Usage,
            "there is no area cellar",
        ),
        (&["doctor", "nonsense"], Exit::Failed, "cannot be read"),
    ];
    for (arguments, exit, words) in cases {
        let text = run(&[&["--socket", server.socket()], arguments].concat());
        assert_eq!(
            (text.exit, text.stdout.as_str()),
            (exit, ""),
            "{arguments:?}"
        );
        assert!(
            text.stderr.starts_with("error: ") && text.stderr.contains(words),
            "{}",
            text.stderr
        );
        assert!(text.stderr.contains("\n  help: "), "{}", text.stderr);
        let json = run(&[&["--socket", server.socket(), "-o", "json"], arguments].concat());
        let error: Value = serde_json::from_str(&json.stderr).expect("errors are JSON too");
        assert!(error["error"].as_str().expect("a text").contains(words));
        assert!(error["remedy"].is_string());
        assert_eq!(json.exit, exit);
    }
}

#[test]
fn a_capture_is_written_byte_for_byte() {
    let server = Server::start("pcap");
    let file = scratch("pcap-file").join("out.pcapng");
    let path = file.to_str().expect("UTF-8");
    let printed = run(&["--socket", server.socket(), "pcap", "-w", path]);
    assert_eq!((printed.exit, printed.stdout.as_str()), (Exit::Ok, ""));
    assert_eq!(fs::read(&file).expect("written"), b"\x0a\x0d\x0d\x0apcapng");
    let printed = run(&["--socket", server.socket(), "pcap"]);
    assert_eq!(printed.stdout.as_bytes(), b"\x0a\x0d\x0d\x0apcapng");
}

#[test]
fn events_are_passed_on_line_by_line() {
    let server = Server::start("events");
    let printed = run(&["--socket", server.socket(), "-o", "json", "events", "-f"]);
    let sent = fs::read_to_string(folder("tests/cli/views/events.jsonl")).expect("readable");
    assert_eq!((printed.exit, printed.stdout), (Exit::Ok, sent));
    assert_eq!(server.asked(), ["GET /v1/events?follow=true"]);
}

#[test]
fn changes_are_shown_one_by_one() {
    let server = Server::start("monitor");
    let follow =
        |rest: &[&str]| run(&[&["--socket", server.socket(), "bgp", "monitor"], rest].concat());
    let file = |name: &str| folder("tests/cli/views").join(name);

    let text = follow(&[]);
    assert_eq!((text.exit, text.stderr.as_str()), (Exit::Ok, ""));
    assert_eq!(difference(&file("bgp-monitor.txt"), &text.stdout), None);
    let json = follow(&["owners", "-o", "json"]);
    let sent = fs::read_to_string(file("bgp-monitor.jsonl")).expect("readable");
    assert_eq!(json.stdout, sent);
    assert_eq!(
        server.asked(),
        [
            "GET /v1/bgp/monitor?topic=rib",
            "GET /v1/bgp/monitor?topic=owners"
        ]
    );
}

#[test]
fn packets_that_come_are_shown_one_by_one_and_the_end_by_the_exit_code() {
    let server = Server::start("live");
    let socket = ["--socket", server.socket()];
    let live = |rest: &[&str]| run(&[&socket, &["trace", "--live"], rest].concat());
    let file = |name: &str| folder("tests/cli/views").join(name);

    let text = live(&["host", "10.77.60.20", "and", "proto", "icmp", "-c", "2"]);
    assert_eq!((text.exit, text.stderr.as_str()), (Exit::Ok, MISSED));
    assert_eq!(difference(&file("trace-live.txt"), &text.stdout), None);

    let json = live(&["host 10.77.60.20", "-c2", "--timeout", "9", "-o", "json"]);
    let sent = fs::read_to_string(file("trace-live.jsonl")).expect("readable");
    let packets: Vec<&str> = sent.lines().take(2).collect();
    assert_eq!(json.stdout.lines().collect::<Vec<_>>(), packets);

    let late = live(&["-c", "3"]);
    assert_eq!(late.exit, Exit::TimedOut, "two of three came in time");
    assert_eq!(live(&[]).exit, Exit::Ok, "as many as came");

    let refused = live(&["from 10.77.60.20"]);
    assert_eq!((refused.exit, refused.stdout.as_str()), (Exit::Usage, ""));
    assert!(
        refused.stderr.contains("'from' begins no term"),
        "{}",
        refused.stderr
    );
    let both = run(&[&socket[..], &["trace", "10.0.0.1", "10.0.0.2", "--live"]].concat());
    assert_eq!(both.exit, Exit::Usage, "{}", both.stdout);
    assert_eq!(
        server.asked(),
        [
            "GET /v1/trace/live?filter=host%2010.77.60.20%20and%20proto%20icmp&count=2",
            "GET /v1/trace/live?filter=host%2010.77.60.20&count=2&timeout=9",
            "GET /v1/trace/live?filter=&count=3",
            "GET /v1/trace/live?filter=",
            "GET /v1/trace/live?filter=from%2010.77.60.20",
        ]
    );
}

const MISSED: &str = "7 packets came too fast to be shown\n";

#[test]
fn the_version_names_program_and_router() {
    let server = Server::start("version");
    let own = env!("CARGO_PKG_VERSION");
    let printed = run(&["--socket", server.socket(), "version"]);
    assert_eq!(
        printed.stdout,
        format!("samctl {own}\nrouter 0.1.0 (api 1)\n")
    );
    let alone = run(&["--socket", "/nonexistent", "version"]);
    assert_eq!(
        (alone.exit, alone.stdout),
        (Exit::Ok, format!("samctl {own}\nrouter not running\n"))
    );
}

#[test]
fn what_does_not_go_together_about_a_neighbor_is_refused_before_anybody_is_asked() {
    let server = Server::start("topics");
    for (arguments, words) in [
        (&["received", "in"][..], "ways of a refresh"),
        (&["disable", "--hard"], "for a reset"),
        (&["enable", "-a", "ipv4"], "for a table"),
    ] {
        let verb = ["--socket", server.socket(), "bgp", "neighbor", "aws"];
        let printed = run(&[&verb, arguments].concat());
        assert_eq!(printed.exit, Exit::Usage);
        assert!(printed.stderr.contains(words), "{}", printed.stderr);
    }
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[test]
fn a_packet_that_no_protocol_has_is_refused() {
    let server = Server::start("trace");
    let addresses = ["trace", "10.77.60.10", "10.77.60.20"];
    let cases = [
        (&["sctp"][..], "invalid value 'sctp'"),
        (&["tcp", "70000"], "70000 is not in 0..=65535"),
        (&["--size", "65536"], "65536 is not in 0..=65535"),
        (&["icmp", "80"], "icmp has no ports"),
        (
            &["--size", "10"],
            "the headers of icmp alone are 28 bytes long",
        ),
    ];
    for (rest, words) in cases {
        let arguments = [&["--socket", server.socket()][..], &addresses, rest].concat();
        let printed = run(&arguments);
        assert_eq!(printed.exit, Exit::Usage, "{rest:?}: {}", printed.stderr);
        assert!(
            printed.stderr.contains(words),
            "{rest:?}: {}",
            printed.stderr
        );
        assert_eq!(printed.stdout, "");
    }
}

/// Doctor and test of the fixture find something, the traced packet is dropped, and both say so by their exit code.
fn expected_exit(name: &str) -> Exit {
    match name {
        "doctor" | "test" | "test-all" => Exit::ChecksFailed,
        "trace" => Exit::Failed,
        _ => Exit::Ok,
    }
}

const TRACE: &[&str] = &[
    "trace",
    "10.77.60.10",
    "10.77.60.20",
    "tcp",
    "443",
    "--size",
    "1500",
    "--df",
];

/// Verbs and the files with their views.
const VERBS: &[(&[&str], &str)] = &[
    (&["status"], "status"),
    (&["owners"], "owners"),
    (&["routes"], "routes"),
    (&["bgp", "neighbors"], "bgp-neighbors"),
    (&["bgp", "neighbor", "aws"], "bgp-neighbors-aws"),
    (
        &["bgp", "neighbor", "aws", "received"],
        "bgp-neighbors-aws-received",
    ),
    (
        &["bgp", "neighbor", "aws", "accepted"],
        "bgp-neighbors-aws-accepted",
    ),
    (
        &["bgp", "neighbor", "aws", "rejected"],
        "bgp-neighbors-aws-rejected",
    ),
    (
        &["bgp", "neighbor", "aws", "advertised"],
        "bgp-neighbors-aws-advertised",
    ),
    (
        &["bgp", "neighbor", "aws", "withheld"],
        "bgp-neighbors-aws-withheld",
    ),
    (&["bgp", "rib"], "bgp-rib"),
    (&["bgp", "policy", "show"], "bgp-policy"),
    (
        &["bgp", "policy", "test", "198.51.100.0/24", "upstream"],
        "bgp-policy-test",
    ),
    (&["bgp", "why", "10.77.60.20"], "bgp-why"),
    (&["bgp", "why", "10.77.60.21"], "bgp-why-nobody"),
    (&["bfd"], "bfd"),
    (&["vrrp"], "vrrp"),
    (&["drain"], "drain"),
    (&["handover"], "handover"),
    (&["captures"], "captures"),
    (&["actions"], "actions"),
    (&["actions", "show", "7"], "actions-7"),
    (&["tunnels"], "tunnels"),
    (&["arp"], "arp"),
    (&["discovery"], "discovery"),
    (&["explain", "10.77.60.20"], "explain-10.77.60.20"),
    (TRACE, "trace"),
    (&["doctor"], "doctor"),
    (&["test", "aws"], "test"),
    (&["test", "--all"], "test-all"),
    (&["counters"], "counters"),
    (&["events"], "events"),
];

/// Each order is carried out, and confirmed in these words.
fn assert_confirmed(server: &Server, orders: &[(&[&str], &str)]) {
    for (arguments, confirmation) in orders {
        let printed = run(&[&["--socket", server.socket()], *arguments].concat());
        assert_eq!(
            (printed.exit, printed.stdout.as_str()),
            (Exit::Ok, *confirmation)
        );
    }
}
