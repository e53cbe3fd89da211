//! Words of the protocol: states, diagnostic codes, and why a session went down.

use std::fmt;

/// State of a session (RFC 5880 section 4.1, `Sta`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Held down by an operator.
    AdminDown = 0,
    /// Nothing is heard of the peer, or it says that it does not hear us.
    Down = 1,
    /// The peer is heard; whether it hears us is open.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

impl State {
    /// Reads two bits.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "admin-down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }
}

/// Why the sender last went down (RFC 5880 section 4.1, `Diag`): five bits, codes of others are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    /// Nothing to tell.
    pub const NONE: Self = Self(0);
    /// Control detection time expired.
    pub const DETECTION_EXPIRED: Self = Self(1);
    /// The neighbor signaled that it went down.
    pub const NEIGHBOR_DOWN: Self = Self(3);
    /// Administratively down.
    pub const ADMIN_DOWN: Self = Self(7);
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            code => return write!(f, "diagnostic {code}"),
        };
        f.write_str(name)
    }
}

/// Why a session left Up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownCause {
    /// Nothing was heard for the detection time.
    Expired,
    /// The peer says that it went down.
    Neighbor,
    /// The peer was held down by its operator: says nothing about the path (RFC 5882 section 3.2).
    NeighborAdmin,
    /// Our operator holds it down.
    Admin,
}

impl DownCause {
    /// Tells whether the path failed, as far as this end knows.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Expired | Self::Neighbor => true,
            Self::NeighborAdmin | Self::Admin => false,
        }
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "detection-time-expired",
            Self::Neighbor => "neighbor-down",
            Self::NeighborAdmin => "neighbor-admin-down",
            Self::Admin => "admin-down",
        }
    }
}
