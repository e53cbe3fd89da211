//! Conditions with a deadline.

use std::thread;
use std::time::{Duration, Instant};

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
