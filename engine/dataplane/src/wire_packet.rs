//! One inner packet that is still to be written: cutting and encapsulating it cost one copy together.

use crate::fragment::Fragment;
use crate::segment::Segment;

/// An inner packet as it is to travel. Whoever encapsulates it has it written to its place.
#[derive(Debug, Clone, Copy)]
pub enum WirePacket<'a> {
    /// It stands somewhere as it is.
    Whole(&'a [u8]),
    /// It is to be cut from a superpacket.
    Segment(Segment<'a>),
    /// It is to be cut from a packet that is too long.
    Fragment(Fragment<'a>),
}

impl WirePacket<'_> {
    /// Returns its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it has an IP header at least")]
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Segment(segment) => segment.len(),
            Self::Fragment(fragment) => fragment.len(),
        }
    }

    /// Writes it into `slot`.
    ///
    /// # Panics
    /// When `slot` is not [`Self::len`] bytes long.
    pub fn write(&self, slot: &mut [u8]) {
        match self {
            Self::Whole(bytes) => slot.copy_from_slice(bytes),
            Self::Segment(segment) => segment.write(slot),
            Self::Fragment(fragment) => fragment.write(slot),
        }
    }
}
