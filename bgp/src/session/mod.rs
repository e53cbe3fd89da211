//! One BGP session: state machine, timers, two connection slots (skeleton).

/// State of a session (RFC 4271 section 8.2.2); the best of its two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionState {
    /// Not trying.
    Idle,
    /// TCP connection under way.
    Connect,
    /// Waiting to connect, or for the peer to do so.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received.
    OpenConfirm,
    /// Exchanging routes.
    Established,
}
