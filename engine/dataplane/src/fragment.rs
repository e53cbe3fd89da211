//! Fragments an IPv4 packet (RFC 791 section 3.2), for packets without DF that do not fit a tunnel.
//!
//! The packet must be complete: superpackets are cut and checksums completed before. A packet with DF, with broken
//! options, or that would need an offset beyond 13 bits is refused. Reassembly is left to the end host.

use crate::drop_reason::DropReason;
use crate::packet::Classified;
use crate::packet::ipv4::{
    FLAGS, FRAGMENT_OFFSET, IPV4_HEADER, MORE_FRAGMENTS, TOTAL_LENGTH, low_word, put, word,
    write_checksum,
};

/// Smallest link MTU that IPv4 knows: 60 bytes of header and one unit of data (RFC 791 section 3.2).
pub const MTU_MIN: usize = 68;

/// Cuts `packet` into fragments of at most `mtu` bytes each and returns how many there are.
///
/// A packet that fits is emitted as it is. Fragments of a fragment continue its offsets.
///
/// # Errors
/// `FragmentFailed`; then nothing was emitted.
pub fn fragment(
    packet: &[u8],
    classified: &Classified,
    mtu: usize,
    mut emit: impl FnMut(Fragment<'_>),
) -> Result<usize, DropReason> {
    let packet = packet
        .get(..classified.total)
        .ok_or(DropReason::FragmentFailed)?;
    if packet.len() <= mtu {
        let (header, data) = packet.split_at(classified.ip_header);
        let flags = word(header, FLAGS);
        emit(Fragment {
            header,
            data,
            flags,
        });
        return Ok(1);
    }
    if classified.dont_fragment || mtu < MTU_MIN {
        return Err(DropReason::FragmentFailed);
    }
    let (first, mut rest) = packet.split_at(classified.ip_header);
    let flags = word(first, FLAGS);
    check_offsets(flags, rest.len())?;
    let later = LaterHeader::of(first)?;
    let mut header = first;
    let kept = flags & !FRAGMENT_OFFSET;
    let (mut offset, mut count) = (flags & FRAGMENT_OFFSET, 0);
    // Every fragment but the last carries a multiple of eight bytes.
    while header.len() + rest.len() > mtu {
        let units = (mtu - header.len()) / 8;
        let (data, behind) = rest.split_at(units * 8);
        let flags = kept | MORE_FRAGMENTS | offset;
        emit(Fragment {
            header,
            data,
            flags,
        });
        offset += low_word(units);
        (rest, header, count) = (behind, later.bytes(), count + 1);
    }
    emit(Fragment {
        header,
        data: rest,
        flags: kept | offset,
    });
    Ok(count + 1)
}

/// A fragment that is still to be written.
#[derive(Debug, Clone, Copy)]
pub struct Fragment<'a> {
    header: &'a [u8],
    data: &'a [u8],
    /// Flags and offset (RFC 791 section 3.1).
    flags: u16,
}

impl Fragment<'_> {
    /// Returns its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it has an IP header at least")]
    pub fn len(&self) -> usize {
        self.header.len() + self.data.len()
    }

    /// Writes it into `slot`.
    ///
    /// # Panics
    /// When `slot` is not [`Self::len`] bytes long.
    pub fn write(&self, slot: &mut [u8]) {
        let total = low_word(slot.len());
        let (header, data) = slot.split_at_mut(self.header.len());
        data.copy_from_slice(self.data);
        header.copy_from_slice(self.header);
        put(header, TOTAL_LENGTH, total);
        put(header, FLAGS, self.flags);
        write_checksum(header);
    }
}

/// Refuses packets whose data cannot belong to a datagram of at most 65 535 bytes.
fn check_offsets(flags: u16, length: usize) -> Result<(), DropReason> {
    let start = usize::from(flags & FRAGMENT_OFFSET) * 8;
    let uneven = flags & MORE_FRAGMENTS != 0 && !length.is_multiple_of(8);
    if uneven || start + length > usize::from(u16::MAX) {
        Err(DropReason::FragmentFailed)
    } else {
        Ok(())
    }
}

/// The header of all fragments but the first: with those options only whose copied flag is set.
struct LaterHeader {
    bytes: [u8; HEADER_MAX],
    length: usize,
}

impl LaterHeader {
    fn of(header: &[u8]) -> Result<Self, DropReason> {
        let mut later = Self {
            bytes: [0; HEADER_MAX],
            length: IPV4_HEADER,
        };
        later.bytes[..IPV4_HEADER].copy_from_slice(&header[..IPV4_HEADER]);
        let mut options = &header[IPV4_HEADER..];
        while let [kind, behind @ ..] = options {
            let length = match (*kind, behind) {
                (END_OF_OPTIONS, _) => break,
                (NO_OPERATION, _) => 1,
                (_, [length, ..]) if *length >= 2 => usize::from(*length),
                _ => return Err(DropReason::FragmentFailed),
            };
            let (option, rest) = options
                .split_at_checked(length)
                .ok_or(DropReason::FragmentFailed)?;
            if kind & COPIED != 0 {
                later.bytes[later.length..][..length].copy_from_slice(option);
                later.length += length;
            }
            options = rest;
        }
        // What is left of the last word stays zero: the end of options.
        later.length = later.length.next_multiple_of(4);
        let [_, words] = low_word(later.length / 4).to_be_bytes();
        later.bytes[0] = 0x40 | words;
        Ok(later)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

const HEADER_MAX: usize = 60;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const COPIED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::classify;
    use crate::sample::{self, Udp};

    #[test]
    fn fragments_keep_the_identification_and_count_offsets_in_units_of_eight() {
        let packet = plain(&(0..200).collect::<Vec<u8>>());
        let fragments = cut(&packet, 120).unwrap();
        let summary: Vec<_> = fragments
            .iter()
            .map(|f| (f.len(), word(f, 2), word(f, 4), word(f, 6)))
            .collect();
        assert_eq!(
            summary,
            [
                (116, 116, 7, 0x2000),
                (116, 116, 7, 0x200c),
                (28, 28, 7, 0x0018)
            ]
        );
    }

    #[test]
    fn a_packet_that_fits_is_emitted_as_it_is_even_with_dont_fragment() {
        let packet = Udp {
            payload: &[1; 72],
            ..Udp::default()
        }
        .build();
        assert_eq!(cut(&packet, 100), Ok(vec![packet]));
    }

    #[test]
    fn a_fragment_is_cut_into_fragments_that_continue_its_offsets() {
        let middle = with_flags(plain(&[1; 192]), 0x2000 | 100);
        let flags: Vec<_> = cut(&middle, 120)
            .unwrap()
            .iter()
            .map(|f| word(f, 6))
            .collect();
        assert_eq!(flags, [0x2000 | 100, 0x2000 | 112]);
        let last = with_flags(plain(&[1; 90]), 100);
        let flags: Vec<_> = cut(&last, 100)
            .unwrap()
            .iter()
            .map(|f| word(f, 6))
            .collect();
        assert_eq!(flags, [0x2000 | 100, 110]);
    }

    #[test]
    fn only_options_with_the_copied_flag_go_into_later_fragments() {
        let packet = with_options(&[7, 4, 4, 0, 0x94, 3, 9, 1], &[5; 96]);
        let fragments = cut(&packet, 100).unwrap();
        assert_eq!(fragments[0][20..28], [7, 4, 4, 0, 0x94, 3, 9, 1]);
        assert_eq!(
            (fragments[1][0], &fragments[1][20..24]),
            (0x46, &[0x94, 3, 9, 0][..])
        );
    }

    #[test]
    fn what_cannot_be_fragmented_is_refused() {
        for (row, packet, mtu) in [
            (
                "Don't Fragment",
                Udp {
                    payload: &[1; 100],
                    ..Udp::default()
                }
                .build(),
                100,
            ),
            ("an MTU below 68", plain(&[1; 100]), 67),
            (
                "an option without length",
                with_options(&[1, 1, 1, 0x94], &[1; 100]),
                100,
            ),
            (
                "an option of length one",
                with_options(&[0x94, 1, 0, 0], &[1; 100]),
                100,
            ),
            (
                "an option longer than the header",
                with_options(&[0x94, 5, 0, 0], &[1; 100]),
                100,
            ),
            (
                "an offset beyond the largest datagram",
                with_flags(plain(&[1; 100]), 0x1fff),
                100,
            ),
            (
                "a middle fragment of uneven length",
                with_flags(plain(&[1; 100]), 0x2001),
                100,
            ),
        ] {
            assert_eq!(cut(&packet, mtu), Err(DropReason::FragmentFailed), "{row}");
        }
    }

    proptest! {
        #[test]
        fn fragments_fit_and_reassemble_to_the_packet(
            data in prop::collection::vec(any::<u8>(), 8..4000),
            options in prop::sample::select(vec![&[][..], &[0x94, 4, 0, 0], &[7, 7, 4, 0, 0, 0, 0, 0]]),
            mtu in 68..1600usize,
            mtu_again in 68..1600usize,
        ) {
            let packet = with_options(options, &data);
            let mut fragments = Vec::new();
            for fragment in cut(&packet, mtu).unwrap() {
                fragments.extend(cut(&fragment, mtu_again).unwrap());
            }
            prop_assert!(fragments.iter().all(|fragment| fragment.len() <= mtu.min(mtu_again)));
            prop_assert_eq!(reassemble(&fragments), packet[packet.len() - data.len()..].to_vec());
        }
    }

    fn cut(packet: &[u8], mtu: usize) -> Result<Vec<Vec<u8>>, DropReason> {
        let mut emitted: Vec<Vec<u8>> = Vec::new();
        let result = fragment(packet, &classify(packet)?, mtu, |fragment| {
            let mut slot = vec![0xaa; fragment.len()];
            fragment.write(&mut slot);
            emitted.push(slot);
        });
        assert_eq!(result.unwrap_or(0), emitted.len());
        result.map(|_| emitted)
    }

    /// Puts the data of fragments together; they must be valid, in order and without gap.
    fn reassemble(fragments: &[Vec<u8>]) -> Vec<u8> {
        let mut data = Vec::new();
        for (index, fragment) in fragments.iter().enumerate() {
            let classified = classify(fragment).unwrap();
            let flags = word(fragment, FLAGS);
            assert_eq!(usize::from(flags & FRAGMENT_OFFSET) * 8, data.len());
            assert_eq!(flags & MORE_FRAGMENTS != 0, index + 1 < fragments.len());
            data.extend_from_slice(&fragment[classified.ip_header..]);
        }
        data
    }

    /// Returns a packet of a protocol without checks, so that any data will do.
    fn plain(data: &[u8]) -> Vec<u8> {
        with_options(&[], data)
    }

    fn with_options(options: &[u8], data: &[u8]) -> Vec<u8> {
        let header = crate::packet::ipv4::Ipv4Header {
            total: u16::try_from(20 + options.len() + data.len()).unwrap(),
            protocol: 253,
            dont_fragment: false,
            ..sample::with_id(7)
        };
        let mut packet = [&header.emit()[..], options, data].concat();
        packet[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
        sample::fix_header(&mut packet);
        packet
    }

    fn with_flags(mut packet: Vec<u8>, flags: u16) -> Vec<u8> {
        put(&mut packet, FLAGS, flags);
        sample::fix_header(&mut packet);
        packet
    }
}
