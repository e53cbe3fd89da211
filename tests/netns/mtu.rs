//! Sizes: what fits a tunnel passes, what does not gets the right ICMP error, TCP never notices.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::netns::{Capture, Daemon, Fabric, GATEWAY, Site, sh};

use crate::bulk;
use crate::case::{Case, Need, samctl, wait_for_listener, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "mtu::a_packet_of_the_tunnels_size_passes_and_one_byte_more_is_refused",
        needs: &[Need::Tool("tcpdump"), Need::Tool("tshark")],
        run: boundary,
    },
    Case {
        name: "mtu::tracepath_sees_router_far_router_target_and_1440_bytes",
        needs: &[Need::Tool("tracepath")],
        run: tracepath,
    },
    Case {
        name: "mtu::a_tunnel_that_forces_fragments_what_may_not_be_fragmented",
        needs: &[],
        run: forced,
    },
    Case {
        name: "mtu::the_mss_of_both_syns_is_clamped",
        needs: &[
            Need::Tool("tcpdump"),
            Need::Tool("tshark"),
            Need::Tool("iperf3"),
        ],
        run: clamped,
    },
];

/// Underlay 1500 less 60 of WireGuard over IPv4.
const MTU: usize = 1440;
/// IPv4 and ICMP headers of an echo request.
const HEADERS: usize = 28;
/// Time for a tunnel to carry packets.
const PATIENCE: Duration = Duration::from_secs(10);

/// ```text
/// .10 ── lan1 (1500) ── router onprem ══ 1440 ══ router aws ── lan2 (1500) ── .11
/// ```
fn boundary() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    let target = Site::AWS.client();
    let far = Capture::start(
        fabric.topology.client(Site::AWS),
        "eth0",
        "icmp or (ip[6:2] & 0x1fff != 0)",
        &fabric.path("far.pcap"),
    );
    let near = Capture::start(client, "eth0", "icmp", &fabric.path("near.pcap"));
    let ping = |discovery: &str, size: usize| {
        let command = format!(
            "ping -n -c 1 -W 2 -M {discovery} -s {} {target}",
            size - HEADERS
        );
        sh(client, &command)
    };

    ping("do", MTU).success();
    let refused = ping("do", MTU + 1);
    assert_ne!(refused.code, 0, "{}", refused.text());
    ping("dont", 3000).success();
    let expired = sh(client, &format!("ping -n -c 1 -W 2 -t 1 {target}"));
    assert!(
        expired
            .stdout
            .contains(&format!("From {GATEWAY} icmp_seq=1 Time to live exceeded")),
        "{}",
        expired.text()
    );

    let errors = near
        .stop()
        .fields("icmp.type == 3", &["ip.src", "icmp.code", "icmp.mtu"]);
    // Of each field the first value: the second is that of the packet quoted in the error.
    let outermost = |text: &String| text.split(',').next().unwrap_or_default().to_owned();
    let errors: Vec<Vec<String>> = errors
        .iter()
        .map(|row| row.iter().map(outermost).collect())
        .collect();
    let expected = [GATEWAY.to_string(), "4".to_owned(), MTU.to_string()];
    assert_eq!(errors, [expected]);
    let fragments = far.stop().fields(
        &format!("ip.dst == {target} && (ip.flags.mf == 1 || ip.frag_offset > 0)"),
        &["ip.len"],
    );
    assert!(
        fragments.len() >= 3,
        "3000 bytes need three fragments: {fragments:?}"
    );
    for size in fragments.concat() {
        assert!(
            size.parse::<usize>().is_ok_and(|size| size <= MTU),
            "{size}"
        );
    }
}

/// ```text
/// .10 ── lan1 ── router onprem .1 ══ 1440 ══ router aws 10.99.0.2 ── lan2 ── .11
/// ```
fn tracepath() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    let text = sh(client, &format!("tracepath -n {}", Site::AWS.client())).success();
    let hop = |number: u8, address: Ipv4Addr| {
        let start = format!("{number}:  {address} ");
        text.lines()
            .any(|line| line.trim_start().starts_with(&start))
    };
    assert!(text.contains("pmtu 1440"), "{text}");
    assert!(hop(1, GATEWAY), "{text}");
    assert!(hop(2, Site::AWS.overlay()), "{text}");
    assert!(hop(3, Site::AWS.client()), "{text}");
    assert!(text.contains("Resume: pmtu 1440 hops 3"), "{text}");
}

/// ```text
/// .10 ── lan1 (1500) ── router onprem ══ 1440, forceFragmentIPv4 ══ router aws ── lan2 (1500) ── .11
/// ```
fn forced() {
    let mut fabric = Fabric::new(samctl(), 2);
    let transport = "  transport: {mssClamp: false, forceFragmentIPv4: true}\n  bgp:";
    fabric.edit_all("  bgp:", transport);
    fabric.start_all();
    let (near, far) = (
        fabric.topology.client(Site::ONPREM),
        fabric.topology.client(Site::AWS),
    );
    let target = Site::AWS.client();
    wait_for_ping(near, target, PATIENCE);

    let ping = format!(
        "ping -n -c 2 -i 0.2 -W 2 -M do -s {} {target}",
        1500 - HEADERS
    );
    sh(near, &ping).success();
    // Nobody lowers the MSS, and nobody is told: segments of 1500 bytes arrive all the same.
    bulk::tcp(near, far, target, 2, 4 << 20);
    bulk::udp(near, far, target, &[1472, 1413, 1412, 100]);

    let counters = fabric.router(Site::ONPREM).json("counters");
    let counter = |name: &str| {
        let rows = counters["counters"].as_array().cloned().unwrap_or_default();
        let mut rows = rows.into_iter();
        let row = rows.find(|row| row["name"] == name).unwrap_or_default();
        row["value"].as_u64().unwrap_or_default()
    };
    assert!(counter("packets-forced") > 0);
    assert_eq!(counter("icmp-errors-sent"), 0);
}

/// ```text
/// .10 iperf3 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── iperf3 -s .11
/// ```
fn clamped() {
    let fabric = Fabric::running(samctl(), 2);
    let (near, far) = (
        fabric.topology.client(Site::ONPREM),
        fabric.topology.client(Site::AWS),
    );
    let filter = "tcp[tcpflags] & tcp-syn != 0";
    let at_server = Capture::start(far, "eth0", filter, &fabric.path("server.pcap"));
    let at_client = Capture::start(near, "eth0", filter, &fabric.path("client.pcap"));
    let _server = Daemon::sh(far, "exec iperf3 -s", &fabric.path("iperf3.log"));
    wait_for_listener(far, 5201);

    sh(near, &format!("iperf3 -c {} -n 2M", Site::AWS.client())).success();

    let mss = ["tcp.options.mss_val"];
    let (syn, answer) = ("tcp.flags == 0x002", "tcp.flags == 0x012");
    let arrived = at_server.stop().fields(syn, &mss).concat();
    let answered = at_client.stop().fields(answer, &mss).concat();
    assert!(!arrived.is_empty() && !answered.is_empty());
    for value in arrived.iter().chain(&answered) {
        assert_eq!(value, "1400", "SYNs {arrived:?}, SYN-ACKs {answered:?}");
    }
}
