//! One measurement with iperf3 between the clients.

use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lab::{CLIENTS, Lab};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    Tcp1,
    Tcp1Reverse,
    Tcp4,
    Tcp4Reverse,
    Udp64,
    Udp512,
    Udp1400,
}

/// What one measurement gave.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Payload received, Gbit/s.
    pub(crate) gbit_s: f64,
    /// Datagrams received, thousands a second; 0 for TCP.
    pub(crate) kpps: f64,
}

impl Case {
    pub(crate) const ALL: [Self; 7] = [
        Self::Tcp1,
        Self::Tcp1Reverse,
        Self::Tcp4,
        Self::Tcp4Reverse,
        Self::Udp64,
        Self::Udp512,
        Self::Udp1400,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP, 1 stream",
            Self::Tcp1Reverse => "TCP, 1 stream, back",
            Self::Tcp4 => "TCP, 4 streams",
            Self::Tcp4Reverse => "TCP, 4 streams, back",
            Self::Udp64 => "UDP 64 B packets",
            Self::Udp512 => "UDP 512 B packets",
            Self::Udp1400 => "UDP 1400 B packets",
        }
    }

    pub(crate) fn render(self, sample: &Sample) -> String {
        if sample.kpps > 0.0 {
            return format!("{:.0} k/s", sample.kpps);
        }
        format!("{:.2}", sample.gbit_s)
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Tcp1 => &[],
            Self::Tcp1Reverse => &["-R"],
            Self::Tcp4 => &["-P", "4"],
            Self::Tcp4Reverse => &["-P", "4", "-R"],
            Self::Udp64 => &["-u", "-b", "0", "-l", "36"],
            Self::Udp512 => &["-u", "-b", "0", "-l", "484"],
            Self::Udp1400 => &["-u", "-b", "0", "-l", "1372"],
        }
    }
}

/// Runs one case.
pub(crate) fn measure(lab: &Lab, case: Case, seconds: u32) -> Result<Sample> {
    let mut server = Server::start(lab)?;
    let target = CLIENTS[1].to_string();
    let output = lab.clients[0]
        .command("iperf3")
        .args(["-J", "-c", &target, "-t", &seconds.to_string()])
        .args(case.arguments())
        .stdin(Stdio::null())
        .output()
        .context("cannot run iperf3")?;
    server.end();
    let report: Value = serde_json::from_slice(&output.stdout).context("iperf3 gave no JSON")?;
    if let Some(error) = report["error"].as_str() {
        bail!("iperf3: {error}");
    }
    let end = &report["end"];
    let received = [&end["sum_received"], &end["sum"]]
        .into_iter()
        .find(|sum| sum["bits_per_second"].is_number())
        .context("iperf3 reported no sum")?;
    let number = |key: &str| received[key].as_f64().unwrap_or(0.0);
    let (packets, lost, time) = (number("packets"), number("lost_packets"), number("seconds"));
    let udp = case.arguments().contains(&"-u");
    let kept = if packets > 0.0 {
        (packets - lost) / packets
    } else {
        1.0
    };
    Ok(Sample {
        gbit_s: number("bits_per_second") / 1e9 * if udp { kept } else { 1.0 },
        kpps: if udp {
            (packets - lost) / time / 1e3
        } else {
            0.0
        },
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

    fn end(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
