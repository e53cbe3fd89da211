//! One run of iperf3 between the clients.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::carried::{Carried, Datagrams};
use crate::lab::{CLIENTS, Lab};

/// Runs iperf3 with some options.
pub(crate) fn measure(lab: &Lab, options: &[&str], seconds: u32) -> Result<Carried> {
    let _server = Server::start(lab)?;
    let (target, seconds_text) = (CLIENTS[1].to_string(), seconds.to_string());
    let patience = (seconds + 15).to_string();
    let output = lab.clients[0]
        .command("timeout")
        .args(["-k", "1", &patience, "iperf3", "-J", "-c", &target])
        .args(["-t", &seconds_text, "--connect-timeout", "3000"])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .context("cannot run iperf3")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("iperf3 gave no JSON")?;
    if let Some(error) = report["error"].as_str() {
        bail!("iperf3: {error}");
    }
    carried(&report["end"], payload(options)).context("iperf3 reported no sum")
}

/// Bytes of a datagram, when these options are for datagrams.
fn payload(options: &[&str]) -> Option<f64> {
    let at = options.iter().position(|option| *option == "-l")?;
    options.get(at + 1)?.parse().ok()
}

fn carried(end: &Value, payload: Option<f64>) -> Option<Carried> {
    let sum = [&end["sum_received"], &end["sum"]]
        .into_iter()
        .find(|sum| sum["bits_per_second"].is_number())?;
    let number = |key: &str| sum[key].as_f64().unwrap_or(0.0);
    let Some(payload) = payload else {
        return Some(Carried {
            gbit_s: number("bits_per_second") / 1e9,
            gigabytes: number("bytes") / 1e9,
            datagrams: None,
        });
    };
    // The bytes of this sum are those that were sent; the packets are all that the receiver knows of.
    let (packets, time) = (number("packets"), number("seconds"));
    if packets <= 0.0 || time <= 0.0 {
        return None;
    }
    let received = (packets - number("lost_packets")).max(0.0);
    Some(Carried {
        gbit_s: received * payload * 8.0 / time / 1e9,
        gigabytes: received * payload / 1e9,
        datagrams: Some(Datagrams {
            kpps: received / time / 1e3,
            lost_percent: 100.0 * (packets - received) / packets,
            window: None,
        }),
    })
}

struct Server(Child);

impl Server {
    fn start(lab: &Lab) -> Result<Self> {
        let mut command = lab.clients[1].command("iperf3");
        sam_net::process::die_with_parent(&mut command);
        let child = command
            .args(["-s", "-1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run iperf3 -s")?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
