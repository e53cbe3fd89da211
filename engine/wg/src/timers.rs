//! Timers of one peer (skeleton).

/// Says which deadline is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerName {
    /// Send the handshake initiation again.
    HandshakeRetry,
    /// Start a new handshake because the session is old.
    Rekey,
    /// Answer received data with an empty packet.
    Keepalive,
    /// Persistent keepalive.
    PersistentKeepalive,
    /// Forget session keys.
    Expiry,
}
