//! Capabilities of this process (capabilities(7)): which it has, and how to give the others up.

use std::fmt;
use std::fs;
use std::io;

use crate::error::{Context, NetError};

/// A capability that the router has a use for. The value is the bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Ports below 1024: BGP on 179.
    NetBindService = 10,
    /// TUN devices, addresses and routes, buffers beyond `rmem_max`.
    NetAdmin = 12,
    /// Packet sockets and raw IP.
    NetRaw = 13,
    /// Network namespaces.
    SysAdmin = 21,
    /// Threads that run before ordinary ones.
    SysNice = 23,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NetBindService,
        Self::NetAdmin,
        Self::NetRaw,
        Self::SysAdmin,
        Self::SysNice,
    ];

    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysNice => "CAP_SYS_NICE",
        })
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Returns what the calling thread may do.
    ///
    /// # Errors
    /// ENOENT when /proc is not mounted.
    pub fn effective() -> Result<Self, NetError> {
        let text = fs::read_to_string(STATUS).context("read", STATUS)?;
        parse(&text).ok_or_else(|| NetError::invalid("read", STATUS, "no CapEff line"))
    }

    /// Tells whether the set holds a capability.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Returns those of `wanted` that are not in the set.
    #[must_use]
    pub fn missing(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted
            .iter()
            .copied()
            .filter(|capability| !self.has(*capability))
            .collect()
    }
}

/// Gives up every capability but those in `keep`, and the ability to gain any by exec. Concerns the calling thread
/// and the threads and processes that it starts afterwards, so it is to be called before the first of them.
///
/// # Errors
/// EPERM when one of `keep` is not permitted to this process.
pub fn drop_all_except(keep: &[Capability]) -> Result<(), NetError> {
    let mask = keep
        .iter()
        .fold(0, |mask, capability| mask | capability.bit());
    // The kernel takes the two halves of each set one after the other.
    let half = |shift: u32| {
        let [b0, b1, b2, b3, ..] = (mask >> shift).to_le_bytes();
        let bits = u32::from_le_bytes([b0, b1, b2, b3]);
        Sets {
            effective: bits,
            permitted: bits,
            inheritable: 0,
        }
    };
    let header = Header {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let sets = [half(0), half(32)];
    let check = |result: libc::c_long| {
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    let (none, one): (libc::c_ulong, libc::c_ulong) = (0, 1);
    // SAFETY: prctl with this operation takes integers only, all of them given in full width.
    let sealed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, none, none, none) };
    check(sealed.into()).context("give up", "privileges by exec")?;
    let clear = libc::c_ulong::from(libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned());
    // SAFETY: as above.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, none, none, none) };
    check(cleared.into()).context("drop", "ambient capabilities")?;
    // SAFETY: the layouts are those of capset(2), version 3, and both values live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    check(result).context("drop", "capabilities")
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn parse(status: &str) -> Option<Capabilities> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok().map(Capabilities)
}

const STATUS: &str = "/proc/thread-self/status";
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_line_is_read() {
        let set = parse("CapPrm:\t00000000ffffffff\nCapEff:\t0000000000003400\n").unwrap();
        assert_eq!(
            set.missing(&Capability::ALL),
            [Capability::SysAdmin, Capability::SysNice]
        );
        assert!(set.has(Capability::NetBindService));
        assert_eq!(parse("CapEff:\tzz\n"), None);
        assert_eq!(parse("CapPrm:\t0\n"), None);
    }

    #[test]
    fn a_thread_that_dropped_its_capabilities_has_none() {
        let left = std::thread::spawn(|| {
            drop_all_except(&[]).unwrap();
            Capabilities::effective().unwrap()
        });
        assert_eq!(left.join().unwrap(), Capabilities(0));
    }

    #[test]
    fn a_thread_that_keeps_one_capability_has_just_that() {
        if !Capabilities::effective().unwrap().has(Capability::NetRaw) {
            println!("skipped: no CAP_NET_RAW to keep");
            return;
        }
        let left = std::thread::spawn(|| {
            drop_all_except(&[Capability::NetRaw]).unwrap();
            Capabilities::effective().unwrap()
        });
        assert_eq!(left.join().unwrap(), Capabilities(Capability::NetRaw.bit()));
    }
}
