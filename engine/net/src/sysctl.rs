//! Reads network settings of the host under /proc/sys/net, of the calling thread's namespace. Never writes one: the
//! router must work where they are read-only, and a setting that hurts is for `doctor` to name.

use std::fs;
use std::io;

use crate::error::{Context, NetError};

/// Reads an integer setting by its path below /proc/sys/net, such as `core/rmem_max`.
///
/// # Errors
/// ENOENT for a setting that this kernel does not have.
pub fn read(setting: &str) -> Result<i64, NetError> {
    let path = format!("/proc/sys/net/{setting}");
    let value = fs::read_to_string(&path).and_then(|text| {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not an integer");
        text.trim().parse().map_err(|_| malformed())
    });
    value.context("read", &path)
}

/// Reads an IPv4 setting of an interface, or of `all` or `default`.
///
/// # Errors
/// ENOENT for an interface that does not exist.
pub fn ipv4_conf(interface: &str, setting: &str) -> Result<i64, NetError> {
    if interface.is_empty() || interface.starts_with('.') || interface.contains('/') {
        return Err(NetError::invalid(
            "read setting of",
            interface,
            "no valid interface name",
        ));
    }
    read(&format!("ipv4/conf/{interface}/{setting}"))
}

/// Tells whether the kernel forwards IPv4 packets.
///
/// # Errors
/// As [`read`].
pub fn ip_forward() -> Result<bool, NetError> {
    Ok(read("ipv4/ip_forward")? != 0)
}

/// Tells whether the kernel forwards IPv4 packets that arrive on this interface.
///
/// # Errors
/// As [`ipv4_conf`].
pub fn forwarding(interface: &str) -> Result<bool, NetError> {
    Ok(ipv4_conf(interface, "forwarding")? != 0)
}

/// Tells whether the kernel answers ARP for others on this interface: here or for all.
///
/// # Errors
/// As [`ipv4_conf`].
pub fn proxy_arp(interface: &str) -> Result<bool, NetError> {
    Ok(ipv4_conf(interface, "proxy_arp")? != 0 || ipv4_conf("all", "proxy_arp")? != 0)
}

/// Returns the reverse path filter in force on this interface: 0 none, 1 strict, 2 loose. The kernel applies the
/// larger of its own setting and that of all.
///
/// # Errors
/// As [`ipv4_conf`].
pub fn rp_filter(interface: &str) -> Result<i64, NetError> {
    Ok(ipv4_conf(interface, "rp_filter")?.max(ipv4_conf("all", "rp_filter")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_loopback_can_be_read() {
        forwarding("lo").unwrap();
        proxy_arp("lo").unwrap();
        assert!((0..=2).contains(&rp_filter("lo").unwrap()));
        ip_forward().unwrap();
    }

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for name in ["", "..", "../lo", "a/b"] {
            assert!(ipv4_conf(name, "forwarding").is_err(), "{name}");
        }
    }
}
