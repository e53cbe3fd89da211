//! Independent eyes: tcpdump while something happens, tshark afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sam_net::Namespace;

use super::capture_file::{self, CapturedPacket};
use super::shell::{Daemon, Outcome};
use super::wait::{holds_within, wait_until};

/// Time for tcpdump to start or end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running tcpdump.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Daemon,
    packets: Packets,
}

/// A finished capture.
#[derive(Debug, Clone)]
pub struct Packets {
    file: PathBuf,
}

impl Capture {
    /// Captures what passes an interface; returns when it is listening. `file` is written and stays.
    ///
    /// # Panics
    /// When tcpdump does not start.
    #[must_use]
    pub fn start(namespace: &Namespace, interface: &str, filter: &str, file: &Path) -> Self {
        let mut command = namespace.command("tcpdump");
        command.args([
            "-n",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-i",
            interface,
        ]);
        // In immediate mode every slot of the ring has room for the longest packet, and 2 MiB would be but a few.
        command.args(["-B", RING_KIB, "-s", LONGEST]);
        command.arg("-w").arg(file).arg(filter);
        let mut tcpdump = Daemon::start(command, &file.with_extension("log"));
        wait_until("tcpdump listens", PATIENCE, || {
            assert_eq!(tcpdump.exit_code(), None, "{}", tcpdump.log());
            tcpdump.log().contains("listening on")
        });
        let packets = Packets {
            file: file.to_owned(),
        };
        Self { tcpdump, packets }
    }

    /// What was captured so far.
    #[must_use]
    pub fn so_far(&self) -> &Packets {
        &self.packets
    }

    /// Ends the capture, with every packet in the file that had passed the interface before.
    ///
    /// # Panics
    /// When tcpdump does not end.
    #[must_use]
    pub fn stop(mut self) -> Packets {
        self.drain();
        self.tcpdump.signal("INT");
        wait_until("tcpdump ends", PATIENCE, || {
            self.tcpdump.exit_code().is_some()
        });
        self.packets
    }

    /// Waits until everything received is written: tcpdump, interrupted, drops what it has not read. Asked by SIGUSR1,
    /// it tells both numbers.
    fn drain(&self) {
        let before = reports(&self.tcpdump.log()).count();
        let drained = holds_within(PATIENCE, || {
            self.tcpdump.signal("USR1");
            let log = self.tcpdump.log();
            let answers: Vec<&str> = reports(&log).skip(before).collect();
            is_drained(&answers)
        });
        let log = self.tcpdump.log();
        let last = reports(&log).last();
        assert!(drained, "tcpdump writes not all it received: {last:?}");
    }
}

/// What tcpdump said when it was asked how far it is.
fn reports(log: &str) -> impl Iterator<Item = &str> {
    log.lines()
        .filter(|line| line.contains(" received by filter, "))
}

/// Tells whether the last report counts every packet received as written or dropped, or has not changed for some time:
/// a packet from before the filter was set counts as received and is never written.
fn is_drained(reports: &[&str]) -> bool {
    let Some(last) = reports.last() else {
        return false;
    };
    let mut numbers = last.split(|other: char| !other.is_ascii_digit());
    let mut number = || numbers.find(|text| !text.is_empty());
    let counts = [number(), number(), number()].map(|count| count?.parse::<u64>().ok());
    if let [Some(written), Some(received), Some(dropped)] = counts
        && written + dropped == received
    {
        return true;
    }
    let latest = &reports[reports.len().saturating_sub(STEADY)..];
    latest.len() == STEADY && latest.iter().all(|report| report == last)
}

/// Room for packets that tcpdump has not read.
const RING_KIB: &str = "16384";
/// Bytes kept of a packet: all of a superpacket.
const LONGEST: &str = "65600";
/// Equal reports that leave no doubt: between two of them tcpdump runs.
const STEADY: usize = 5;

impl Packets {
    /// Reads a capture that something else wrote.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Fields of every packet that matches a display filter, one row per packet.
    ///
    /// # Panics
    /// When tshark fails.
    #[must_use]
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut command = Command::new("tshark");
        command.arg("-n").arg("-r").arg(&self.file);
        command.args(["-Y", filter, "-T", "fields", "-E", "separator=;"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.stdin(Stdio::null()).output();
        let outcome = Outcome::from(output.expect("tshark can be started"));
        let row = |line: &str| line.split(';').map(str::to_owned).collect();
        outcome.success().lines().map(row).collect()
    }

    /// Every IPv4 packet, in order, as bytes.
    ///
    /// # Panics
    /// When the file is no capture.
    #[must_use]
    pub fn ipv4(&self) -> Vec<CapturedPacket> {
        capture_file::ipv4(&self.bytes())
    }

    /// Everything that was captured, with what the file format puts between the packets.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).expect("the capture is readable")
    }

    /// Number of packets that match a display filter.
    #[must_use]
    pub fn count(&self, filter: &str) -> usize {
        self.fields(filter, &["frame.number"]).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_drained_when_its_counts_agree_or_stand_still() {
        let report = |written, received, dropped| {
            format!(
                "tcpdump: {written} packets captured, {received} packets received by filter, {dropped} packets dropped by kernel"
            )
        };
        let (agree, behind) = (report(5, 7, 2), report(4, 7, 2));
        assert!(is_drained(&[&agree]));
        assert!(!is_drained(&[]));
        assert!(!is_drained(&[behind.as_str(); STEADY - 1]));
        assert!(is_drained(&[behind.as_str(); STEADY]));
        let moving = report(3, 7, 2);
        assert!(!is_drained(&[&moving, &behind, &behind, &behind, &behind]));
        assert!(is_drained(&[
            "tcpdump: 1 packet captured, 1 packet received by filter, 0 packets dropped by kernel"
        ]));
    }
}
