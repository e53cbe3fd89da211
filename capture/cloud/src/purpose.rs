//! What a call is for: to look, or to change something, as long as the reason for the change holds.

use std::fmt;

use sam_capture::provider::{ErrorClass, Fence, ProviderError};

use crate::http::error;

/// What a call is for.
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    /// It only reads.
    Look,
    /// It changes something while the fence holds.
    Change(&'a dyn Fence),
}

impl Purpose<'_> {
    /// Tells whether it changes something.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(self, Self::Change(_))
    }

    /// Checks directly before a request that it may still be sent.
    ///
    /// # Errors
    /// [`ErrorClass::Fenced`] when the reason for the change has ended.
    pub fn check(&self) -> Result<(), ProviderError> {
        match self {
            Self::Change(fence) if !fence.is_current() => Err(error(
                ErrorClass::Fenced,
                "Fenced",
                "the reason for the change ended before it was sent",
            )),
            Self::Look | Self::Change(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Purpose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Look => "Look",
            Self::Change(_) => "Change",
        })
    }
}
