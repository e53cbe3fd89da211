//! Kernels that corrupt packets which they cut, known by their release.

use std::fs;

use sam_router::Offloads;
use tracing::warn;

/// Version, patch level and sublevel of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Release(u32, u32, u32);

/// From the first to the last kernel that corrupts trains whose last datagram is as long as the others.
const MANGLES_TRAINS: (Release, Release) = (Release(7, 0, 0), Release(7, 1, 4));

/// Returns the offloads that may be used here: those wanted, less what this kernel is known to do wrong.
pub(crate) fn safe_offloads(wanted: Offloads) -> Offloads {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let safe = on_kernel(text.trim(), wanted);
    if safe != wanted {
        warn!(
            release = text.trim(),
            "this kernel corrupts trains of datagrams that it cuts: each is sent alone; Linux 7.1.5 is faster"
        );
    }
    safe
}

/// A release that cannot be read is none of those that are known.
fn on_kernel(release: &str, wanted: Offloads) -> Offloads {
    let (first, last) = MANGLES_TRAINS;
    let mangles = Release::parse(release).is_some_and(|found| (first..=last).contains(&found));
    Offloads {
        udp_segment: wanted.udp_segment && !mangles,
        ..wanted
    }
}

impl Release {
    /// Reads "7.1.2-13-cloud-amd64"; "7.1" and "7.1-rc3" are 7.1.0.
    fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut numbers = text[..end.unwrap_or(text.len())].split('.');
        let version = numbers.next()?.parse().ok()?;
        let patch = numbers.next()?.parse().ok()?;
        let sub = numbers.next().and_then(|number| number.parse().ok());
        Some(Self(version, patch, sub.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trains_are_not_cut_by_kernels_that_mangle_them() {
        for (release, segments) in [
            ("6.18.44", true),
            ("6.1.0-44-cloud-amd64", true),
            ("7.0.0", false),
            ("7.0-rc2", false),
            ("7.1.4+deb14-amd64", false),
            ("7.1.5", true),
            ("7.10.1", true),
            ("8.0.1-generic", true),
            ("unknown", true),
            ("", true),
        ] {
            let expected = Offloads {
                udp_segment: segments,
                ..Offloads::default()
            };
            assert_eq!(
                on_kernel(release, Offloads::default()),
                expected,
                "{release}"
            );
        }
        let off = Offloads {
            udp_segment: false,
            ..Offloads::default()
        };
        assert_eq!(on_kernel("6.18.44", off), off);
    }
}
