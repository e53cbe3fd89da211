//! Packets that wait for the first session of a tunnel.
//!
//! Bounded per tunnel and in total, because each waiting unit holds a whole buffer: without a bound one unreachable
//! site would take all buffers from the others. The oldest packets of the tunnel give way, and nothing waits for longer
//! than [`PATIENCE`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::TunnelId;
use crate::ip_packet::IpPacket;

/// Most units that wait for one tunnel.
pub const TUNNEL_UNITS: usize = 32;
/// Most bytes that wait for one tunnel.
pub const TUNNEL_BYTES: usize = 1 << 20;
/// Most units that wait for all tunnels together.
pub const TOTAL_UNITS: usize = 128;

/// Longest wait: a handshake and its first repetition (`REKEY_TIMEOUT` is 5 s) fit.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The waiting packets of all tunnels.
#[derive(Debug, Default)]
pub struct Staging {
    /// One per tunnel id.
    queues: Vec<Queue>,
    total: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each with the end of its patience.
    packets: VecDeque<(Instant, IpPacket)>,
    bytes: usize,
}

impl Queue {
    fn pop(&mut self) -> Option<IpPacket> {
        let (_, packet) = self.packets.pop_front()?;
        self.bytes -= packet.unit.buffer.len();
        Some(packet)
    }

    fn deadline(&self) -> Option<Instant> {
        self.packets.front().map(|(end, _)| *end)
    }

    fn is_full(&self, bytes: usize) -> bool {
        self.packets.len() >= TUNNEL_UNITS || self.bytes + bytes > TUNNEL_BYTES
    }
}

impl Staging {
    /// Queues `packet` behind the others of `tunnel`; `refuse` gets every packet that has to give way.
    pub fn stage(
        &mut self,
        tunnel: TunnelId,
        packet: IpPacket,
        now: Instant,
        mut refuse: impl FnMut(IpPacket),
    ) {
        let index = usize::from(tunnel.0);
        if self.queues.len() <= index {
            self.queues.resize_with(index + 1, Queue::default);
        }
        let queue = &mut self.queues[index];
        let bytes = packet.unit.buffer.len();
        while queue.is_full(bytes) || self.total >= TOTAL_UNITS {
            let Some(oldest) = queue.pop() else {
                return refuse(packet);
            };
            self.total -= 1;
            refuse(oldest);
        }
        queue.bytes += bytes;
        queue.packets.push_back((now + PATIENCE, packet));
        self.total += 1;
    }

    /// Takes the oldest packet that waits for `tunnel`.
    pub fn take(&mut self, tunnel: TunnelId) -> Option<IpPacket> {
        let packet = self.queues.get_mut(usize::from(tunnel.0))?.pop()?;
        self.total -= 1;
        Some(packet)
    }

    /// Takes a packet that has waited for too long.
    pub fn take_expired(&mut self, now: Instant) -> Option<IpPacket> {
        let expired = |queue: &&mut Queue| queue.deadline().is_some_and(|end| end <= now);
        let packet = self.queues.iter_mut().find(expired)?.pop()?;
        self.total -= 1;
        Some(packet)
    }

    /// Returns when [`Self::take_expired`] has something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.total == 0 {
            return None;
        }
        self.queues.iter().filter_map(Queue::deadline).min()
    }

    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns how many packets wait for `tunnel`.
    #[must_use]
    pub fn len(&self, tunnel: TunnelId) -> usize {
        self.queues
            .get(usize::from(tunnel.0))
            .map_or(0, |queue| queue.packets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::ingress::Ingress;
    use crate::packet::classify;
    use crate::sample::{Udp, start};
    use crate::unit::Unit;

    const TUNNEL: TunnelId = TunnelId(3);

    #[test]
    fn packets_come_back_in_order() {
        let mut staging = Staging::default();
        assert_eq!(stage(&mut staging, TUNNEL, &[1, 2, 3]), []);
        assert_eq!(take_all(&mut staging, TUNNEL), [1, 2, 3]);
        assert_eq!((staging.total, staging.len(TUNNEL)), (0, 0));
        assert!(staging.take(TunnelId(9)).is_none());
    }

    #[test]
    fn the_oldest_packet_of_a_full_tunnel_gives_way() {
        let mut staging = Staging::default();
        let numbers: Vec<u8> = (0..34).collect();
        assert_eq!(stage(&mut staging, TUNNEL, &numbers), [0, 1]);
        assert_eq!(take_all(&mut staging, TUNNEL), numbers[2..]);
    }

    #[test]
    fn a_tunnel_holds_no_more_than_a_megabyte() {
        let mut staging = Staging::default();
        let mut refused = 0;
        for number in 0..20 {
            let mut long = packet(number);
            assert!(long.unit.buffer.append(&[number; 60_000]));
            staging.stage(TUNNEL, long, start(), |_| refused += 1);
        }
        assert_eq!((refused, staging.len(TUNNEL)), (3, 17));
        assert!(staging.queues[3].bytes <= TUNNEL_BYTES);
    }

    #[test]
    fn all_tunnels_share_a_bound_and_a_newcomer_takes_nothing_from_the_others() {
        let mut staging = Staging::default();
        for tunnel in 0..4 {
            assert_eq!(
                stage(&mut staging, TunnelId(tunnel), &[7; TUNNEL_UNITS]),
                []
            );
        }
        assert_eq!(stage(&mut staging, TunnelId(4), &[9]), [9]);
        assert_eq!(staging.total, TOTAL_UNITS);
    }

    #[test]
    fn nothing_waits_for_longer_than_the_patience() {
        let (mut staging, start) = (Staging::default(), start());
        let later = start + Duration::from_secs(4);
        staging.stage(TunnelId(1), packet(1), start, |_| ());
        staging.stage(TUNNEL, packet(2), later, |_| ());
        assert_eq!(staging.poll_timeout(), Some(start + PATIENCE));
        assert!(staging.take_expired(later).is_none());
        let expired = staging.take_expired(start + PATIENCE).expect("due");
        assert_eq!((last(&expired), staging.total), (1, 1));
        assert!(staging.take_expired(start + PATIENCE).is_none());
        assert_eq!(staging.poll_timeout(), Some(later + PATIENCE));
        assert!(staging.take_expired(later + PATIENCE).is_some());
        assert_eq!((staging.poll_timeout(), staging.is_empty()), (None, true));
    }

    fn stage(staging: &mut Staging, tunnel: TunnelId, numbers: &[u8]) -> Vec<u8> {
        let mut refused = Vec::new();
        for &number in numbers {
            staging.stage(tunnel, packet(number), start(), |packet| {
                refused.push(last(&packet));
            });
        }
        refused
    }

    fn take_all(staging: &mut Staging, tunnel: TunnelId) -> Vec<u8> {
        std::iter::from_fn(|| staging.take(tunnel))
            .map(|packet| last(&packet))
            .collect()
    }

    fn packet(number: u8) -> IpPacket {
        let bytes = Udp {
            payload: &[number],
            ..Udp::default()
        }
        .build();
        let mut buffer = Buffer::new();
        assert!(buffer.append(&bytes));
        let classified = classify(&bytes).expect("a valid packet");
        IpPacket {
            unit: Unit::plain(buffer),
            classified,
            ingress: Ingress::Host,
        }
    }

    fn last(packet: &IpPacket) -> u8 {
        *packet.unit.buffer.bytes().last().expect("not empty")
    }
}
