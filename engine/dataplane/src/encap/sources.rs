//! Which tunnel a packet without encryption belongs to: that whose far end has its outer source address.
//!
//! The port of the source does not count: senders spread flows over several (RFC 7348 section 5).

use std::net::IpAddr;

use super::{Carrier, Plain};
use crate::ids::TunnelId;
use crate::snapshot::{Encap, Snapshot};

/// The far ends of all tunnels without encryption.
#[derive(Debug, Default)]
pub struct Sources {
    /// Sorted by carrier and address.
    known: Vec<((Carrier, IpAddr), (TunnelId, Plain))>,
}

impl Sources {
    /// Takes the far ends out of a snapshot. Of two tunnels with one far end, the first counts.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let tunnels = snapshot.tunnels.iter();
        let mut known: Vec<_> = tunnels
            .filter_map(|tunnel| match tunnel.encap {
                Encap::WireGuard(_) => None,
                Encap::Plain(plain) => {
                    let to = plain.to?;
                    Some(((plain.carrier, to.ip()), (tunnel.id, plain)))
                }
            })
            .collect();
        known.sort_by_key(|(source, _)| *source);
        known.dedup_by_key(|(source, _)| *source);
        Self { known }
    }

    /// Returns the tunnel whose packets come by `carrier` from `source`.
    #[must_use]
    pub fn find(&self, carrier: Carrier, source: IpAddr) -> Option<(TunnelId, Plain)> {
        let found = self
            .known
            .binary_search_by_key(&(carrier, source), |(source, _)| *source);
        Some(self.known[found.ok()?].1)
    }
}
