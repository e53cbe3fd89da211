//! Identifiers of the data plane: small numbers that index tables of the [`crate::Snapshot`].

/// Names one attachment of the engine to the outside (LAN interface, TUN device).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

/// Names one tunnel to another node; equals its index in [`crate::Snapshot::tunnels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelId(pub u16);
