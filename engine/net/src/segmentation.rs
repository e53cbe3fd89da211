//! Whether the kernel cuts trains of datagrams (UDP_SEGMENT), as far as its answers tell.

/// Whether trains may leave as trains. EINVAL alone does not tell a kernel that refuses from a train too big for its
/// path, so only a run of them without a success in between counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segmentation {
    /// They may, after so many refusals in a row.
    Allowed { refusals: u8 },
    /// They may not.
    Refused,
}

impl Segmentation {
    /// Notes a refusal.
    pub(crate) fn refused(&mut self) {
        *self = match *self {
            Self::Allowed { refusals } if refusals + 1 < REFUSALS => Self::Allowed {
                refusals: refusals + 1,
            },
            Self::Allowed { .. } | Self::Refused => Self::Refused,
        };
    }

    /// Notes a train that was taken.
    pub(crate) fn accepted(&mut self) {
        if let Self::Allowed { refusals } = self {
            *refusals = 0;
        }
    }
}

/// How many EINVAL in a row make a socket give up on trains.
pub(crate) const REFUSALS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segmentation_is_given_up_after_a_run_of_refusals_only() {
        let mut state = Segmentation::Allowed { refusals: 0 };
        state.refused();
        state.refused();
        state.accepted();
        state.refused();
        state.refused();
        assert_ne!(state, Segmentation::Refused);
        state.refused();
        assert_eq!(state, Segmentation::Refused);
        state.accepted();
        assert_eq!(state, Segmentation::Refused);
    }
}
