//! What a process uses, by what the kernel says of it.

use std::fs;
use std::time::Duration;

/// Ticks of the processor times in `/proc` (USER_HZ): the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Memory, processor time and descriptors of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Processor time of all its threads, since it began.
    pub processor: Duration,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// Looks at a process.
    ///
    /// # Panics
    /// When it is gone.
    #[must_use]
    pub fn of(process: u32) -> Self {
        let read = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let status = read("status");
        let mut lines = status.lines();
        let resident = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let stat = read("stat");
        // The name before may hold anything; user and system time are fields 14 and 15.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let times = fields.split(' ').skip(11).take(2);
        let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
        Self {
            resident_kib: resident.expect("the kernel tells VmRSS"),
            processor: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
            descriptors: descriptors.expect("its descriptors can be listed").count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_itself() {
        let usage = Usage::of(std::process::id());
        assert!(
            usage.resident_kib > 100 && usage.descriptors >= 3,
            "{usage:?}"
        );
    }
}
