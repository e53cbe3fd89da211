//! What a worker does beside forwarding.

/// The role of a worker. All workers see every ARP frame; one of them speaks for the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Answers ARP, announces addresses, and tells control what it sees on the LAN.
    Speaker,
    /// Only learns its neighbors.
    Learner,
}

impl Role {
    /// Returns the role of the worker `index`: the first one speaks.
    #[must_use]
    pub fn of_worker(index: usize) -> Self {
        if index == 0 {
            Self::Speaker
        } else {
            Self::Learner
        }
    }
}
