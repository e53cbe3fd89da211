//! What is measured between the clients, and what each measurement is worth.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::carried::Carried;
use crate::iperf;
use crate::lab::Lab;
use crate::latency;
use crate::machine::{self, Losses};
use crate::offloads::Offloads;
use crate::running::Running;
use crate::window;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Idle,
    Tcp1,
    Tcp1Reverse,
    Tcp4,
    Tcp4Reverse,
    Loaded,
    Udp64,
    Udp512,
    Udp1400,
    Flood64,
}

impl Case {
    pub(crate) const ALL: [Self; 10] = [
        Self::Idle,
        Self::Tcp1,
        Self::Tcp1Reverse,
        Self::Tcp4,
        Self::Tcp4Reverse,
        Self::Loaded,
        Self::Udp64,
        Self::Udp512,
        Self::Udp1400,
        Self::Flood64,
    ];

    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Tcp1 => "tcp-1",
            Self::Tcp1Reverse => "tcp-1-back",
            Self::Tcp4 => "tcp-4",
            Self::Tcp4Reverse => "tcp-4-back",
            Self::Loaded => "loaded",
            Self::Udp64 => "udp-64",
            Self::Udp512 => "udp-512",
            Self::Udp1400 => "udp-1400",
            Self::Flood64 => "flood-64",
        }
    }

    /// Tells whether it is of interest with some offloads: the rarer ones show that they work.
    pub(crate) fn runs_with(self, offloads: Offloads) -> bool {
        match offloads {
            Offloads::Whole => true,
            Offloads::Wire | Offloads::Single => {
                !matches!(self, Self::Tcp4Reverse | Self::Udp512 | Self::Udp1400)
            }
            Offloads::LanTso | Offloads::LanGso | Offloads::LanChecksum => {
                matches!(self, Self::Tcp1 | Self::Tcp1Reverse)
            }
        }
    }

    /// Options of iperf3; UDP payloads are 28 bytes shorter than their packets.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Idle | Self::Tcp1 | Self::Loaded => &[],
            Self::Tcp1Reverse => &["-R"],
            Self::Tcp4 => &["-P", "4"],
            Self::Tcp4Reverse => &["-P", "4", "-R"],
            Self::Flood64 => &["-u", "-b", "0", "-l", "36"],
            Self::Udp64 | Self::Udp512 | Self::Udp1400 => &[],
        }
    }

    /// Length of the packets of a windowed load, headers included.
    fn packet_size(self) -> Option<usize> {
        match self {
            Self::Udp64 => Some(64),
            Self::Udp512 => Some(512),
            Self::Udp1400 => Some(1400),
            Self::Idle
            | Self::Tcp1
            | Self::Tcp1Reverse
            | Self::Tcp4
            | Self::Tcp4Reverse
            | Self::Loaded
            | Self::Flood64 => None,
        }
    }

    /// Measures once; the values have names with units.
    pub(crate) fn measure(
        self,
        lab: &Lab,
        running: &Running,
        seconds: u32,
    ) -> Result<BTreeMap<String, f64>> {
        let time = Duration::from_secs(u64::from(seconds));
        let mut values = BTreeMap::new();
        match self {
            Self::Idle => {
                let round_trips = latency::probe(lab, time)?;
                values.insert("rtt_p50_us".to_owned(), round_trips.p50_us);
                values.insert("rtt_p99_us".to_owned(), round_trips.p99_us);
            }
            Self::Loaded => {
                let round_trips = thread::scope(|scope| {
                    let load = scope.spawn(|| iperf::measure(lab, &[], seconds + 1));
                    thread::sleep(Duration::from_millis(600));
                    let round_trips = latency::probe(lab, time);
                    let load = load
                        .join()
                        .map_err(|_| anyhow::anyhow!("the load panicked"))?;
                    load.and(round_trips)
                })?;
                values.insert("rtt_p50_us".to_owned(), round_trips.p50_us);
                values.insert("rtt_p99_us".to_owned(), round_trips.p99_us);
            }
            Self::Tcp1
            | Self::Tcp1Reverse
            | Self::Tcp4
            | Self::Tcp4Reverse
            | Self::Udp64
            | Self::Udp512
            | Self::Udp1400
            | Self::Flood64 => self.carry(lab, running, seconds, &mut values)?,
        }
        Ok(values)
    }

    /// Lets the load run and looks at machine and processes meanwhile.
    fn carry(
        self,
        lab: &Lab,
        running: &Running,
        seconds: u32,
        values: &mut BTreeMap<String, f64>,
    ) -> Result<()> {
        let (losses, busy) = (Losses::of(lab)?, machine::busy()?);
        let (carried, resident) = thread::scope(|scope| -> Result<_> {
            let load = scope.spawn(|| self.load(lab, seconds));
            thread::sleep(Duration::from_millis(300 + u64::from(seconds) * 700));
            let resident = running.resident_mib();
            let carried = load
                .join()
                .map_err(|_| anyhow::anyhow!("the load panicked"))??;
            Ok((carried, resident))
        })?;
        let busy = machine::busy()?.saturating_sub(busy);
        let losses = Losses::of(lab)?.since(losses);
        let mut set = |name: &str, value: f64| values.insert(name.to_owned(), value);
        set("gbit_s", carried.gbit_s);
        if carried.gigabytes > 0.0 {
            set("cpu_s_per_gb", busy.as_secs_f64() / carried.gigabytes);
        }
        if let Some(datagrams) = carried.datagrams {
            set("kpps", datagrams.kpps);
            set("lost_percent", datagrams.lost_percent);
            if let Some(window) = datagrams.window {
                set("window", count(window));
            }
        }
        if let Some(resident) = resident {
            set("resident_mib", resident);
        }
        set("drops", count(losses.drops));
        set("bad_checksums", count(losses.bad_checksums));
        Ok(())
    }

    fn load(self, lab: &Lab, seconds: u32) -> Result<Carried> {
        match self.packet_size() {
            Some(size) => window::measure(lab, size, Duration::from_secs(u64::from(seconds))),
            None => iperf::measure(lab, self.options(), seconds),
        }
    }
}

/// Counts of one run are far below 2^32.
fn count(value: u64) -> f64 {
    u32::try_from(value).map_or(f64::INFINITY, f64::from)
}
