//! What the underlay does to datagrams: delay, jitter (which reorders), loss, duplication, partition.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rng::Rng;

/// Faults of the underlay, the same for all pairs except for partitions.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Base delay one way.
    pub delay: Duration,
    /// Up to this much more, at random; larger than the spacing of packets means reordering.
    pub jitter: Duration,
    /// Datagrams lost, of 1000.
    pub loss_per_mille: u64,
    /// Datagrams duplicated, of 1000.
    pub duplicate_per_mille: u64,
    /// Payloads longer than this are lost, and nobody says so.
    pub swallowed_above: usize,
    /// Pairs of sites that cannot reach each other, smaller index first.
    pub cut: BTreeSet<(usize, usize)>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(5),
            jitter: Duration::ZERO,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            swallowed_above: usize::MAX,
            cut: BTreeSet::new(),
        }
    }
}

impl Faults {
    /// Cuts the link between two sites.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    /// Repairs the link between two sites.
    pub fn heal(&mut self, a: usize, b: usize) {
        self.cut.remove(&(a.min(b), a.max(b)));
    }

    /// Returns the delays after which copies of a datagram with so long a payload arrive; none when it is lost.
    pub fn deliveries(
        &self,
        (from, to): (usize, usize),
        length: usize,
        rng: &mut Rng,
    ) -> Vec<Duration> {
        let is_cut = self.cut.contains(&(from.min(to), from.max(to)));
        if is_cut || length > self.swallowed_above || rng.chance(self.loss_per_mille) {
            return Vec::new();
        }
        let copies = if rng.chance(self.duplicate_per_mille) {
            2
        } else {
            1
        };
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        (0..copies)
            .map(|_| self.delay + Duration::from_micros(rng.below(jitter)))
            .collect()
    }
}
