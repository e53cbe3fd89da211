//! Waiting for a condition with a deadline: the only way in which a test lets time pass.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Time for what should happen within a few seconds, on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// Looks again and again until `look` finds what it wants; its last complaint is the failure.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Result<T>) -> Result<T> {
    within(PATIENCE, what, look)
}

/// As [`eventually`], with a deadline of its own.
pub(crate) fn within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        let seen = look();
        if seen.is_ok() || Instant::now() >= end {
            let waited = patience.as_secs();
            return seen.with_context(|| format!("waited {waited} s in vain: {what}"));
        }
        std::thread::sleep(PAUSE);
    }
}

const PAUSE: Duration = Duration::from_millis(100);
