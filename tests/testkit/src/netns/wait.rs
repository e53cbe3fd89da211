//! Conditions with a deadline.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time between two looks.
const TURN: Duration = Duration::from_millis(20);

/// Tells whether a condition becomes true in time.
pub fn holds_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(TURN);
    }
}

/// Waits for a condition and returns how long it took.
///
/// # Panics
/// When it does not become true in time; `what` says what was waited for.
pub fn wait_until(what: &str, patience: Duration, condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    assert!(
        holds_within(patience, condition),
        "not within {patience:?}: {what}"
    );
    start.elapsed()
}

/// The time by which ping(8) and tcpdump(8) stamp, in seconds since the epoch.
///
/// # Panics
/// When the clock is before 1970.
#[must_use]
pub fn wall_time() -> f64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.expect("the clock is after 1970").as_secs_f64()
}
