//! Streams at full speed: iperf3 by TCP, reverse and by UDP; bulk TCP compared byte by byte.

use sam_net::Namespace;
use sam_testkit::netns::{Daemon, sh};
use serde_json::Value;

use super::lab::{FAR, Lab, NEAR};
use crate::bulk;
use crate::case::{Need, wait_for_listener};

pub(super) const IPERF3_NEEDS: &[Need] = &[Need::Tool("iperf3")];

/// Port of iperf3.
const PORT: u16 = 5201;
/// Bytes that iperf3 sends by TCP.
const TCP_BYTES: u64 = 16 << 20;

pub(super) fn iperf3(lab: &Lab) {
    let _server = Daemon::sh(lab.client(FAR), "exec iperf3 -s", &lab.path("iperf3.log"));
    wait_for_listener(lab.client(FAR), PORT);
    let run = |options: &str| -> Value {
        let command = format!("iperf3 -J {options} -c {}", FAR.client());
        let report = sh(lab.client(NEAR), &command).success();
        serde_json::from_str(&report).expect("iperf3 writes JSON")
    };
    lab.twice(|_| {
        for direction in ["", "-R"] {
            let report = run(&format!("-n {TCP_BYTES} {direction}"));
            let received = report["end"]["sum_received"]["bytes"].as_u64();
            // What is under way when the sender has done its part is not counted.
            assert!(received >= Some(TCP_BYTES / 2), "{direction}: {report}");

            let receiver = if direction.is_empty() { FAR } else { NEAR };
            let overflows = || unread(lab.client(receiver));
            let before = overflows();
            let report = run(&format!("-u -b 5M -l 1200 -t 1 {direction}"));
            let stream = &report["end"]["streams"][0]["udp"];
            assert_eq!(stream["out_of_order"], 0, "{direction}: {report}");
            let lost = stream["lost_packets"].as_u64().expect("a number");
            let late = overflows() - before;
            assert!(
                lost <= late,
                "{lost} lost, {late} not read in time, {report}"
            );
        }
    });
}

/// Datagrams that reached a host whose program did not read them in time (nstat's `UdpRcvbufErrors`): on a busy machine
/// iperf3 itself loses many, and these are no loss of a router.
fn unread(host: &Namespace) -> u64 {
    let table = sh(host, "grep ^Udp: /proc/net/snmp").success();
    let mut lines = table.lines().map(str::split_whitespace);
    let (names, values) = (lines.next(), lines.next());
    let mut cells = names
        .into_iter()
        .flatten()
        .zip(values.into_iter().flatten());
    let (_, value) = cells
        .find(|(name, _)| *name == "RcvbufErrors")
        .expect("a column");
    value.parse().expect("a number")
}

pub(super) fn bulk(lab: &Lab) {
    let (near, far) = (lab.client(NEAR), lab.client(FAR));
    lab.twice(|_| {
        bulk::tcp(near, far, FAR.client(), 1, lab.stream);
        bulk::tcp(far, near, NEAR.client(), 1, lab.stream);
    });
}
