//! What the receiver of a load got.

/// What the receiver got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    /// Payload, Gbit/s.
    pub(crate) gbit_s: f64,
    /// Payload, 10^9 bytes.
    pub(crate) gigabytes: f64,
    /// None for TCP.
    pub(crate) datagrams: Option<Datagrams>,
}

/// What the receiver got of the datagrams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagrams {
    /// Received, thousands a second.
    pub(crate) kpps: f64,
    /// Sent and never received, wherever they were dropped.
    pub(crate) lost_percent: f64,
    /// In flight at most, where the load keeps a window of them.
    pub(crate) window: Option<u64>,
}
