//! Segmentation in software, for superpackets that the kernel refuses.

use std::io;

use sam_dataplane::packet::classify;
use sam_dataplane::segment::Segments;
use sam_dataplane::{BufferPool, Checksum, DropReason, Gso, Offload, Unit};

/// Tells whether the kernel refused unfinished work, as opposed to this packet for another reason.
pub(super) fn is_refusal(unit: &Unit, error: &io::Error) -> bool {
    let refused =
        error.kind() == io::ErrorKind::InvalidData || error.raw_os_error() == Some(EINVAL);
    refused && unit.offload != Offload::default()
}

/// Names what superpackets of a kind are made of, for people.
pub(super) fn protocol(gso: Gso) -> &'static str {
    match gso {
        Gso::None => "IP",
        Gso::Tcp { .. } => "TCP",
        Gso::Udp { .. } => "UDP",
    }
}

/// Cuts a unit into plain packets; `link` bytes of link header in front of the IP packet are repeated.
///
/// # Errors
/// When the metadata do not fit the bytes, or the pool is empty; `emit` got the packets made until then.
pub(super) fn cut(
    unit: &Unit,
    link: u16,
    pool: &mut BufferPool,
    mut emit: impl FnMut(Unit, &mut BufferPool),
) -> Result<(), DropReason> {
    let (header, packet) = unit
        .buffer
        .bytes()
        .split_at_checked(link.into())
        .ok_or(DropReason::OffloadMalformed)?;
    let checksum = match unit.offload.checksum {
        Checksum::Complete => Checksum::Complete,
        Checksum::Partial { start, offset } => Checksum::Partial {
            start: start
                .checked_sub(link)
                .ok_or(DropReason::OffloadMalformed)?,
            offset,
        },
    };
    let offload = Offload {
        checksum,
        ..unit.offload
    };
    for segment in Segments::new(packet, &classify(packet)?, offload)?.iter() {
        let mut buffer = pool.take().ok_or(DropReason::BufferPoolEmpty)?;
        let fits = buffer.append(header);
        debug_assert!(fits, "an empty buffer holds a frame");
        segment.write(&mut buffer.tail_mut()[..segment.len()]);
        buffer.grow(segment.len());
        emit(Unit::plain(buffer), pool);
    }
    Ok(())
}

/// Error number of "invalid argument".
const EINVAL: i32 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: [u8; 14] = [7; 14];
    const HEADERS: usize = 28;

    #[test]
    fn a_refused_superframe_becomes_frames_with_its_link_header() {
        let mut pool = BufferPool::new(8);
        let unit = superframe(&mut pool);
        let mut frames = Vec::new();

        let done = cut(&unit, 14, &mut pool, |unit, _| frames.push(unit));

        assert_eq!(done, Ok(()));
        let lengths: Vec<_> = frames.iter().map(|frame| frame.buffer.len()).collect();
        assert_eq!(lengths, [100, 100, 50].map(|data| 14 + HEADERS + data));
        for frame in &frames {
            let bytes = frame.buffer.bytes();
            assert_eq!(
                (&bytes[..14], frame.offload),
                (&LINK[..], Offload::default())
            );
            let classified = classify(&bytes[14..]).expect("a valid packet");
            assert_eq!(classified.total, bytes.len() - 14);
        }
    }

    #[test]
    fn an_empty_pool_is_named() {
        let mut pool = BufferPool::new(2);
        let unit = superframe(&mut pool);
        let mut frames = Vec::new();

        let done = cut(&unit, 14, &mut pool, |unit, _| frames.push(unit));

        assert_eq!((done, frames.len()), (Err(DropReason::BufferPoolEmpty), 1));
    }

    #[test]
    fn only_unfinished_work_is_refused_as_such() {
        let mut pool = BufferPool::new(1);
        let mut unit = superframe(&mut pool);
        let invalid = io::Error::from_raw_os_error(EINVAL);
        assert!(is_refusal(&unit, &invalid));
        assert!(is_refusal(&unit, &io::ErrorKind::InvalidData.into()));
        assert!(!is_refusal(&unit, &io::ErrorKind::WouldBlock.into()));
        unit.offload = Offload::default();
        assert!(!is_refusal(&unit, &invalid));
    }

    /// A UDP superpacket of 250 bytes in datagrams of 100, in a frame.
    fn superframe(pool: &mut BufferPool) -> Unit {
        let mut packet = vec![0x45, 0, 0x01, 0x16, 0, 1, 0x40, 0, 64, 17, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 9, 0, 9, 1, 2, 0, 0]);
        packet.resize(HEADERS + 250, 5);
        let sum: u32 = packet[..20]
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let [_, _, high, low] = (!folded).to_be_bytes();
        packet[10..12].copy_from_slice(&[high, low]);
        let mut buffer = pool.take().expect("free buffer");
        assert!(buffer.append(&LINK) && buffer.append(&packet));
        let offload = Offload {
            gso: Gso::Udp { size: 100 },
            checksum: Checksum::Partial {
                start: 34,
                offset: 6,
            },
        };
        Unit { buffer, offload }
    }
}
