//! BFD: a profile or a timing of one's own.

use std::time::Duration;

use sam_router::config::BfdTiming;

use crate::config::finding::Findings;
use crate::config::raw::{self, BfdProfile};
use crate::config::scalar::duration_text;

/// Checks the BFD settings; everything in them has a default. `None` switches BFD off.
pub(super) fn bfd(raw: &raw::Fabric, findings: &mut Findings) -> Option<BfdTiming> {
    match raw.bfd.given() {
        Some(raw) => own_timing(&raw.value, findings),
        None => timing(BfdProfile::Default),
    }
}

/// Checks settings that are there; what they leave out is that of the profile `default`.
pub(super) fn own_timing(raw: &raw::Bfd, findings: &mut Findings) -> Option<BfdTiming> {
    let profile = raw.profile.given();
    let own = raw.interval.given().map(|at| at.span);
    let own = own.or_else(|| raw.multiplier.given().map(|at| at.span));
    if let (Some(profile), Some(own)) = (profile, own) {
        findings
            .error(own, "`profile` says this already")
            .also(profile.span, "the profile")
            .help("write `profile`, or `interval` and `multiplier`");
    }
    let base = timing(profile.map_or(BfdProfile::Default, |profile| profile.value));
    let mut timing = base?;
    if let Some(interval) = raw.interval.given() {
        if !INTERVALS.contains(&interval.value) {
            let shown = duration_text(interval.value);
            findings
                .error(interval.span, format!("`interval` cannot be {shown}"))
                .help(format!(
                    "use {} to {}",
                    duration_text(*INTERVALS.start()),
                    duration_text(*INTERVALS.end())
                ));
        }
        timing.interval = interval.value;
    }
    if let Some(multiplier) = raw.multiplier.given() {
        match u8::try_from(multiplier.value) {
            Ok(value) if value > 0 => timing.multiplier = value,
            _ => {
                findings
                    .error(
                        multiplier.span,
                        format!("`multiplier` cannot be {}", multiplier.value),
                    )
                    .help("use 1 to 255, commonly 3");
            }
        }
    }
    Some(timing)
}

fn timing(profile: BfdProfile) -> Option<BfdTiming> {
    let (milliseconds, multiplier) = match profile {
        BfdProfile::Default => (300, 3),
        BfdProfile::Fast => (100, 5),
        BfdProfile::LanRt => (50, 3),
        BfdProfile::Wan => (1_000, 4),
        BfdProfile::None => return None,
    };
    Some(BfdTiming {
        interval: Duration::from_millis(milliseconds),
        multiplier,
    })
}

/// Faster than a busy host keeps up with, slower than BGP's own hold time.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(60);
