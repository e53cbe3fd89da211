//! What the receiver of a load got.

/// What the receiver got.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Carried {
    /// Payload, Gbit/s.
    pub(crate) gbit_s: f64,
    /// Payload, 10^9 bytes.
    pub(crate) gigabytes: f64,
    /// Datagrams, thousands a second; none for TCP.
    pub(crate) kpps: Option<f64>,
    /// Datagrams in flight, where the load keeps a window of them.
    pub(crate) window: Option<u64>,
    /// Share of the datagrams that was lost; none for TCP.
    pub(crate) loss: Option<f64>,
}
