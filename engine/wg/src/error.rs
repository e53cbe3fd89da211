//! Why a packet or datagram was refused.

/// Why a received datagram was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No WireGuard message.
    #[error("no WireGuard message")]
    UnknownType,
    /// mac1 or mac2 is wrong.
    #[error("wrong mac")]
    BadMac,
    /// The handshake comes from a key that no peer has.
    #[error("unknown public key")]
    UnknownPeer,
    /// The handshake is invalid (preshared key, timestamp, replay).
    #[error("invalid handshake")]
    HandshakeRejected,
    /// Receiver index of no session.
    #[error("unknown session index")]
    UnknownIndex,
    /// The AEAD tag does not verify.
    #[error("does not decrypt")]
    DecryptFailed,
    /// Counter seen before, or too old.
    #[error("replayed")]
    Replay,
    /// Handshake limit reached; a cookie reply waits to be sent, or the source is over its limit.
    #[error("under load")]
    UnderLoad,
    /// The inner packet is no IP packet.
    #[error("not an IP packet")]
    NotIp,
    /// `out` is shorter than the datagram.
    #[error("output buffer too small")]
    OutputTooSmall,
}

/// Why a packet could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No session; a handshake is asked for by a signal. Stage the packet and retry when [`crate::DataPath::refresh`]
    /// tells of a change.
    #[error("no session")]
    NoSession,
    /// The peer's address is unknown.
    #[error("no endpoint")]
    NoEndpoint,
    /// No such peer.
    #[error("no such peer")]
    NoPeer,
    /// `out` is shorter than the packet, its padding and [`crate::OVERHEAD`].
    #[error("output buffer too small")]
    OutputTooSmall,
}
