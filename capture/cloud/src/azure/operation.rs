//! What goes on at Azure after a change was answered: watched until it ended, and believed only when the interface
//! itself shows it.

use std::time::{Duration, Instant};

use sam_capture::provider::{ErrorClass, Fence, ProviderError};

use super::NETWORK_API;
use super::arm::{Arm, read};
use super::error::failed;
use super::interface::Interface;
use super::resource::ResourceId;
use crate::http::{Answer, error};

/// How long something is watched, and why.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    fence: &'a dyn Fence,
    began: Instant,
    deadline: Instant,
}

/// How often is asked, unless Azure wants to be left alone for longer.
const SECOND: Duration = Duration::from_secs(1);
/// How often is asked what becomes of an operation for a start, whatever Azure proposes: most take less time than it does,
/// and an address may be nowhere meanwhile.
const EARLY: Duration = Duration::from_millis(250);
/// For how long that is so.
const START: Duration = Duration::from_secs(10);

/// Reads after the end of an operation that may still be too old.
const MAX_OLD_READS: u32 = 3;

/// Codes of our own, of operations that are not watched to their end.
const FENCED: &str = "FencedWhileWaiting";
const LATE: &str = "OperationDeadline";

/// Tells whether an operation failed at Azure for no known reason; not because nobody watched any longer.
pub(super) fn ended_by_azure(failed: &ProviderError) -> bool {
    failed.class == ErrorClass::Unknown && ![FENCED, LATE].contains(&failed.code.as_str())
}

impl<'a> Watch<'a> {
    pub(super) fn new(fence: &'a dyn Fence, longest: Duration) -> Self {
        let began = Instant::now();
        Self {
            fence,
            began,
            deadline: began + longest,
        }
    }

    /// Returns how long to wait before it is asked again what becomes of an operation.
    fn interval(&self, proposed: Option<Duration>) -> Duration {
        if self.began.elapsed() < START {
            EARLY
        } else {
            proposed.unwrap_or(SECOND)
        }
    }

    /// Waits, in steps of a second.
    ///
    /// # Errors
    /// When there is no time left, or no reason to wait: then nobody knows what becomes of the change, for it was sent.
    fn pause(&self, pause: Duration) -> Result<(), ProviderError> {
        let end = Instant::now() + pause;
        loop {
            let now = Instant::now();
            if !self.fence.is_current() {
                let message = "the reason for the change ended while Azure was at it";
                return Err(error(ErrorClass::Unknown, FENCED, message));
            }
            if now >= self.deadline {
                let message = "the operation at Azure took too long";
                return Err(error(ErrorClass::Unknown, LATE, message));
            }
            if now >= end {
                return Ok(());
            }
            let step = SECOND.min(end - now).min(self.deadline - now);
            std::thread::sleep(step);
        }
    }
}

/// Waits for the operation that an answer speaks of, if it does.
///
/// # Errors
/// Why it failed. An operation that may not be asked for is no failure: the interface will tell.
pub(super) fn wait(arm: &mut Arm, answer: &Answer, watch: Watch<'_>) -> Result<(), ProviderError> {
    let by_document = answer.header("azure-asyncoperation");
    let Some(url) = by_document.or_else(|| answer.header("location")) else {
        return Ok(());
    };
    let mut pause = watch.interval(answer.retry_after());
    loop {
        watch.pause(pause)?;
        match arm.ask(url) {
            Ok(polled) if by_document.is_none() => {
                if polled.status != 202 {
                    return Ok(());
                }
                pause = watch.interval(polled.retry_after());
            }
            Ok(polled) => {
                pause = watch.interval(polled.retry_after());
                let Ok(body) = read(&polled, false) else {
                    continue;
                };
                match body["status"].as_str() {
                    Some("Succeeded") => return Ok(()),
                    Some(status @ ("Failed" | "Canceled")) => return Err(failed(&body, status)),
                    Some(_) | None => {}
                }
            }
            Err(refused) => match again(&refused) {
                Some(after) => pause = after,
                None => return Ok(()),
            },
        }
    }
}

/// Reads an interface until it shows what a change was for.
///
/// # Errors
/// [`ErrorClass::Unknown`] when it does not.
pub(super) fn confirm(
    arm: &mut Arm,
    nic: &ResourceId,
    watch: Watch<'_>,
    shows: impl Fn(&Interface) -> bool,
) -> Result<(), ProviderError> {
    let mut old_reads = 0;
    loop {
        let mut pause = SECOND;
        match interface(arm, nic) {
            Ok(nic) if nic.is_busy() => {}
            Ok(nic) if nic.state() == "Succeeded" && shows(&nic) => return Ok(()),
            Ok(nic) => {
                old_reads += 1;
                if old_reads == MAX_OLD_READS {
                    let message = format!(
                        "{} does not show the change, state {}",
                        nic.id(),
                        nic.state()
                    );
                    return Err(error(ErrorClass::Unknown, "NotShown", &message));
                }
            }
            Err(refused) => match again(&refused) {
                Some(after) => pause = after,
                None => {
                    let message = format!("the change cannot be confirmed: {refused}");
                    return Err(error(ErrorClass::Unknown, "NotConfirmed", &message));
                }
            },
        }
        watch.pause(pause)?;
    }
}

/// Reads an interface.
pub(super) fn interface(arm: &mut Arm, nic: &ResourceId) -> Result<Interface, ProviderError> {
    let path = format!("{}?api-version={NETWORK_API}", nic.as_str());
    Interface::new(arm.get(&path)?)
}

/// Says when to ask again after a refusal, if that is any use.
fn again(refused: &ProviderError) -> Option<Duration> {
    match refused.class {
        ErrorClass::Throttled(after) => Some(after.unwrap_or(SECOND)),
        ErrorClass::Unavailable | ErrorClass::Busy => Some(SECOND),
        ErrorClass::Held
        | ErrorClass::LocalOwner
        | ErrorClass::AlreadyGone
        | ErrorClass::Capacity
        | ErrorClass::Denied
        | ErrorClass::PreconditionLost
        | ErrorClass::Permanent
        | ErrorClass::Unknown
        | ErrorClass::Fenced => None,
    }
}
