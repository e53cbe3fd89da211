//! The decision per packet (skeleton).

/// Decides what happens to each packet.
#[derive(Debug)]
pub struct Forwarder {}
