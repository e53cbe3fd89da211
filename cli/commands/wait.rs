//! Waiting until the router says that something has happened.

use std::time::{Duration, Instant};

use crate::exit::Failure;

/// Asks again and again until it is so; false when it is not in time.
pub(super) fn wait(
    seconds: u32,
    mut is_so: impl FnMut() -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        if is_so()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}

const PAUSE: Duration = Duration::from_millis(100);
