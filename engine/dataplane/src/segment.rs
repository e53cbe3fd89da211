//! Cuts a superpacket into wire packets (data-plane.md section 4.3).

use crate::drop_reason::DropReason;
use crate::packet::Classified;
use crate::unit::Offload;

/// Cuts an IPv4 packet into the wire packets that it stands for, finishing lengths, ids, flags and checksums.
///
/// For each wire packet, `emit` gets its length and a closure that writes it into a slice of exactly that length.
/// A packet without GSO is emitted once, with a partial checksum completed. Checksum offsets in `offload` count from
/// the first byte of `packet` (the IP header).
///
/// # Errors
/// `OffloadMalformed` when the metadata does not fit the packet; then nothing was emitted.
pub fn segment(
    _packet: &[u8],
    _classified: &Classified,
    _offload: Offload,
    _emit: impl FnMut(usize, &mut dyn FnMut(&mut [u8])),
) -> Result<(), DropReason> {
    todo!()
}
