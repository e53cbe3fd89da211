//! What made the paths of a prefix change, as those who watch are told: of several things since they looked the last one.

/// What made the paths of a prefix change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// A peer told a route; if that is refused, the former one went.
    #[default]
    Announced,
    /// A peer took one back, or told it malformed (RFC 7606).
    Withdrawn,
    /// A session ended: its routes went, or are kept as stale.
    SessionEnded,
    /// Stale routes went: not confirmed, told by others now, or their time was over.
    StaleRemoved,
    /// Routes went that a peer did not tell again within a refresh.
    Refreshed,
    /// A next hop failed, came back, or is trusted again.
    NextHop,
    /// Another policy judges.
    Policy,
    /// We originated a route, or do so no more.
    Local,
    /// There was room under a limit again.
    Room,
}

impl Cause {
    /// Returns its name, as shown to operators.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Withdrawn => "withdrawn",
            Self::SessionEnded => "session-ended",
            Self::StaleRemoved => "stale-removed",
            Self::Refreshed => "refreshed",
            Self::NextHop => "next-hop",
            Self::Policy => "policy",
            Self::Local => "local",
            Self::Room => "room",
        }
    }
}
