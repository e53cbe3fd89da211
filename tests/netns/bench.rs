//! `samctl bench` between two live routers: against itself, and with a stock iperf3 on either side.
//!
//! ```text
//! samctl bench aws ── router onprem ══ WireGuard ══ router aws ── samctl bench --server
//! ```
//! Both sides run beside the routers and meet at overlay addresses, so that all data passes both engines.

use std::time::Duration;

use sam_testkit::netns::{Daemon, Fabric, Site, sh, wait_until};
use serde_json::Value;

use crate::case::{Case, Need, samctl, wait_for_listener};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "bench::two_routers_measure_through_their_engines",
        needs: &[],
        run: against_itself,
    },
    Case {
        name: "bench::a_stock_iperf3_server_is_a_peer",
        needs: &[Need::Tool("iperf3")],
        run: iperf3_as_server,
    },
    Case {
        name: "bench::a_stock_iperf3_client_is_a_peer",
        needs: &[Need::Tool("iperf3")],
        run: iperf3_as_client,
    },
];

const PORT: u16 = 5201;
/// What each test offers and must carry at least, in bytes: a second of any debug build.
const LEAST_BYTES: u64 = 100_000;

/// Options of ours and of iperf3 for the same test; streams in each direction.
const TESTS: &[(&str, &str, usize)] = &[
    ("", "", 1),
    ("--parallel 4 --reverse", "-P 4 -R", 4),
    ("--bitrate 8M --length 8192", "-b 8M -l 8K", 1),
    (
        "--udp --bitrate 4M --parallel 4",
        "-u -b 4M -l 1232 -P 4",
        4,
    ),
    ("--udp --bitrate 4M --reverse", "-u -b 4M -l 1232 -R", 1),
    ("--bidir --parallel 2", "--bidir -P 2", 2),
    ("--udp --bitrate 4M --bidir", "-u -b 4M -l 1232 --bidir", 1),
];

/// What only iperf3 can ask for: to end by bytes or blocks, and to hear what the server prints. Paced, for a receiver counts
/// what has arrived when the client ends.
const OF_IPERF3: &[&str] = &[
    "-n 500K -b 8M",
    "-n 500K -b 8M -R",
    "-k 500 -l 1000 -b 8M",
    "-u -n 500K -l 1232 -b 8M",
    "-t 1 --get-server-output",
];

/// What is refused of a stock iperf3: its options, our words.
const REFUSED: &[(&str, &str)] = &[
    ("-O 1", "omitting the first seconds"),
    ("-R -w 64K", "a socket buffer of the server"),
    ("-R -M 600", "a segment size of the server"),
    ("-R -S 32", "a type of service of the server"),
];

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                ▲ bench aws             ▲ bench --server
/// ```
fn against_itself() {
    let fabric = Fabric::running(samctl(), 2);
    let server = our_server(&fabric);
    for (options, _, streams) in TESTS {
        let before = carried(&fabric);
        let report = our_client(&fabric, "aws", options);
        assert_eq!(report["node"], "aws");
        check(&report, options, *streams);
        let received = report["sum"]["received_bytes"].as_u64().unwrap_or(0);
        let through = carried(&fabric) - before;
        assert!(
            through >= received,
            "{through} of {received} bytes went through the tunnel"
        );
    }
    // The server measured the same and binds to the overlay only.
    let log = server.log();
    assert!(log.contains("listening on 10.99.0.2:5201"), "{log}");
    let all = TESTS.iter().map(|(options, ..)| options);
    let from_server = all.clone().filter(|options| options.contains("--reverse"));
    let both = all.clone().filter(|options| options.contains("--bidir"));
    let to_server = all.count() - from_server.clone().count();
    for (direction, times) in [
        ("receive", to_server),
        ("send", from_server.count() + both.count()),
    ] {
        let word = format!("\"direction\": \"{direction}\"");
        assert_eq!(log.matches(&word).count(), times, "{log}");
    }
    let unknown = run(&fabric, "bench nowhere --time 1");
    assert_eq!(unknown.code, 2, "{}", unknown.text());
    assert!(unknown.stderr.contains("nodes: aws"), "{}", unknown.stderr);
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                ▲ bench 10.99.0.2       ▲ iperf3 -s
/// ```
fn iperf3_as_server() {
    let fabric = Fabric::running(samctl(), 2);
    let namespace = fabric.topology.router(Site::AWS);
    let command = format!("exec iperf3 -s -B {}", Site::AWS.overlay());
    let server = Daemon::sh(namespace, &command, &fabric.path("iperf3.log"));
    wait_for_listener(namespace, PORT);
    for (options, _, streams) in TESTS {
        let report = our_client(&fabric, &Site::AWS.overlay().to_string(), options);
        check(&report, options, *streams);
    }
    assert!(!server.log().contains("error"), "{}", server.log());
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                ▲ iperf3 -c             ▲ bench --server
/// ```
fn iperf3_as_client() {
    let fabric = Fabric::running(samctl(), 2);
    let server = our_server(&fabric);
    let client = fabric.topology.router(Site::ONPREM);
    let target = Site::AWS.overlay();
    let by_time = TESTS
        .iter()
        .map(|(_, options, streams)| (format!("-t 1 {options}"), *streams));
    let others = OF_IPERF3.iter().map(|options| ((*options).to_owned(), 1));
    for (options, streams) in by_time.chain(others) {
        let text = sh(client, &format!("iperf3 -J -c {target} {options}")).success();
        let report: Value = serde_json::from_str(&text).expect("iperf3 prints JSON");
        assert!(report["error"].is_null(), "{options}: {report}");
        let end = &report["end"];
        let ways = if options.contains("--bidir") {
            &["", "_bidir_reverse"][..]
        } else {
            &[""]
        };
        let all = Some(streams * ways.len());
        assert_eq!(end["streams"].as_array().map(Vec::len), all, "{end}");
        for way in ways {
            let names = [format!("sum_received{way}"), format!("sum{way}")];
            let bytes = names.iter().find_map(|name| end[name]["bytes"].as_u64());
            assert!(bytes >= Some(LEAST_BYTES), "{options}: {end}");
        }
    }
    // What we refuse, we refuse in iperf3's words, name it in our own, and go on.
    for (options, words) in REFUSED {
        let refused = sh(client, &format!("iperf3 -c {target} -t 1 {options}"));
        assert!(
            refused.text().contains("not implemented"),
            "{options}: {}",
            refused.text()
        );
        let said = format!("refused a test: {words}");
        wait_until(&said, Duration::from_secs(5), || {
            server.log().contains(&said)
        });
    }
    sh(client, &format!("iperf3 -c {target} -t 1")).success();
}

fn our_server(fabric: &Fabric) -> Daemon {
    let namespace = fabric.topology.router(Site::AWS);
    let socket = fabric.router(Site::AWS).socket().display();
    let command = format!(
        "exec {} --socket {socket} -o json bench --server",
        samctl().display()
    );
    let server = Daemon::sh(namespace, &command, &fabric.path("bench.log"));
    wait_until("the server listens", Duration::from_secs(10), || {
        server.log().contains("listening on")
    });
    server
}

/// A server that has not ended its last test yet turns a client away.
fn our_client(fabric: &Fabric, target: &str, options: &str) -> Value {
    let command = format!("-o json bench {target} --time 1 {options}");
    let mut outcome = None;
    wait_until("the server has time", Duration::from_secs(10), || {
        let tried = outcome.insert(run(fabric, &command));
        !tried.text().contains("measures with another client")
    });
    let text = outcome.expect("tried").success();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"))
}

fn run(fabric: &Fabric, arguments: &str) -> sam_testkit::netns::Outcome {
    let socket = fabric.router(Site::ONPREM).socket().display();
    let program = samctl().display();
    let command = format!("{program} --socket {socket} {arguments}");
    sh(fabric.topology.router(Site::ONPREM), &command)
}

/// Each direction that was asked for carried something on all of its streams.
fn check(report: &Value, options: &str, streams: usize) {
    let both = options.contains("--bidir");
    assert_eq!(report["back"].is_object(), both, "{report}");
    for way in [report, &report["back"]]
        .into_iter()
        .take(1 + usize::from(both))
    {
        let rows = way["streams"].as_array().map(Vec::len);
        assert_eq!(rows, Some(streams), "{report}");
        let number = |key: &str| way["sum"][key].as_u64();
        assert!(number("received_bytes") >= Some(LEAST_BYTES), "{report}");
        assert!(number("sent_bytes") >= number("received_bytes"), "{report}");
        if report["transport"] == "udp" {
            assert!(number("datagrams_sent") > Some(100), "{report}");
            assert!(number("datagrams_lost") < Some(50), "{report}");
        }
    }
}

/// Inner bytes that the tunnel at onprem has sent and received.
fn carried(fabric: &Fabric) -> u64 {
    let view = fabric.router(Site::ONPREM).json("tunnels");
    let tunnel = &view["tunnels"][0];
    ["rx_bytes", "tx_bytes"]
        .iter()
        .filter_map(|key| tunnel[key].as_u64())
        .sum()
}
