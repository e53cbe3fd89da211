//! What the machine says about itself: processor time, drops, memory, versions.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use sam_net::Namespace;

use crate::lab::Lab;

/// Processor time of the whole machine that was not idle.
pub(crate) fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    // user nice system idle iowait irq softirq steal (proc(5)), in hundredths of a second
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let hundredths = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|index| fields.get(*index))
        .sum::<u64>();
    Ok(Duration::from_millis(hundredths * 10))
}

/// Packets that were lost on the way, and checksums that were wrong, in all namespaces of a lab since they exist.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Losses {
    /// Dropped by links and by sockets.
    pub(crate) drops: u64,
    /// Refused by the clients for their checksum.
    pub(crate) bad_checksums: u64,
}

impl Losses {
    pub(crate) fn of(lab: &Lab) -> Result<Self> {
        let mut losses = Self::default();
        for namespace in lab.clients.iter().chain(&lab.routers) {
            let (links, protocols) = namespace_counters(namespace)?;
            losses.drops += dropped_by_links(&links);
            losses.drops += protocol_counter(&protocols, "Udp:", "RcvbufErrors");
            losses.drops += protocol_counter(&protocols, "Udp:", "SndbufErrors");
            for protocol in ["Tcp:", "Udp:"] {
                losses.bad_checksums += protocol_counter(&protocols, protocol, "InCsumErrors");
            }
        }
        Ok(losses)
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            drops: self.drops.saturating_sub(before.drops),
            bad_checksums: self.bad_checksums.saturating_sub(before.bad_checksums),
        }
    }
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).unwrap_or_default().parse()?;
    Ok(kib / 1024.0)
}

/// The first line that a program prints about its version; nothing when it is not there.
pub(crate) fn version(program: &str, option: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(option)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().map(|line| line.trim().to_owned())
}

fn namespace_counters(namespace: &Namespace) -> Result<(String, String)> {
    namespace.enter(|| -> Result<(String, String)> {
        let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        Ok((read("dev")?, read("snmp")?))
    })?
}

/// Columns 4 and 12 of `/proc/net/dev`: drops on receive and on transmit.
fn dropped_by_links(text: &str) -> u64 {
    let rows = text.lines().filter_map(|line| line.split_once(':'));
    rows.filter(|(name, _)| name.trim() != "lo")
        .map(|(_, counters)| {
            let fields: Vec<&str> = counters.split_whitespace().collect();
            [3, 11]
                .iter()
                .filter_map(|index| fields.get(*index)?.parse::<u64>().ok())
                .sum::<u64>()
        })
        .sum()
}

/// A counter of `/proc/net/snmp`: a line of names, then a line of values, both after the protocol.
fn protocol_counter(text: &str, protocol: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs
        .find(|(found, _)| *found == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}
