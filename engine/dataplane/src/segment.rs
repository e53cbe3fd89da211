//! Cuts a superpacket into wire packets (data-plane.md section 4.3) and completes pending checksums.
//!
//! Lengths come from the headers, never from what the kernel says about them: on forwarded packets its `hdr_len` may
//! be the whole linear part of the buffer. Every L4 checksum of a cut packet is computed, whatever the field held.

use crate::drop_reason::DropReason;
use crate::packet::checksum::{self, Sum, pseudo_header};
use crate::packet::classify::{TCP_HEADER, UDP_HEADER};
use crate::packet::ipv4::{
    CHECKSUM, IDENTIFICATION, IPV4_HEADER, TOTAL_LENGTH, long, low_word, put, word,
};
use crate::packet::{Classified, L4};
use crate::unit::{Checksum, Gso, Offload};

/// Smallest payload per segment; smaller sizes only occur in malformed metadata.
pub const SEGMENT_SIZE_MIN: usize = 8;
/// Most segments per superpacket.
pub const SEGMENTS_MAX: usize = 1024;

/// Returns the length of the largest wire packet that the unit stands for, IP header included: what an MTU limits.
#[must_use]
pub fn segment_size(classified: &Classified, offload: Offload) -> usize {
    match offload.gso {
        Gso::None => classified.total,
        Gso::Tcp { size } | Gso::Udp { size } => {
            classified.total.min(classified.payload + usize::from(size))
        }
    }
}

/// Completes a partial checksum in place; a complete one stays. `packet` ends where the IP total length says.
///
/// # Errors
/// `OffloadMalformed` when the field lies outside of `packet`.
pub fn complete_checksum(packet: &mut [u8], checksum: Checksum) -> Result<(), DropReason> {
    if let Some((start, field)) = partial_field(packet.len(), checksum)? {
        // Zero is mapped for every protocol, as kernels do: for TCP both values of zero are right.
        let sum = checksum::udp(Sum::of(&packet[start..]).checksum());
        put(packet, field, sum);
    }
    Ok(())
}

/// Returns where a partial checksum starts summing and where its field lies, if both are inside of the packet.
fn partial_field(length: usize, checksum: Checksum) -> Result<Option<(usize, usize)>, DropReason> {
    match checksum {
        Checksum::Complete => Ok(None),
        Checksum::Partial { start, offset } => {
            let start = usize::from(start);
            let field = start + usize::from(offset);
            if field + 2 > length {
                Err(DropReason::OffloadMalformed)
            } else {
                Ok(Some((start, field)))
            }
        }
    }
}

/// The wire packets that an IPv4 packet stands for, written one by one into places that the caller chooses: with
/// lengths, ids, flags and checksums finished. A packet without GSO is one of them, its partial checksum completed.
#[derive(Debug)]
pub struct Segments<'a> {
    /// The packet up to its total length.
    packet: &'a [u8],
    cut: Cut,
}

/// How the packet is to be written.
#[derive(Debug)]
enum Cut {
    /// As it is, with its checksum completed.
    Whole(Checksum),
    /// In pieces of the payload behind copies of the headers.
    Pieces(Pieces),
}

#[derive(Debug)]
struct Pieces {
    /// Headers with zeros where segments differ.
    template: [u8; HEADERS_MAX],
    /// Bytes of headers, even.
    headers: usize,
    /// Bytes of IP header.
    ip_header: usize,
    /// Payload bytes per segment.
    size: usize,
    /// Number of segments.
    count: usize,
    /// Sum of the IP header in the template.
    ip_sum: Sum,
    /// Sum of the L4 header in the template and of the pseudo-header without its length.
    l4_sum: Sum,
    /// Identification of the first segment.
    id: u16,
    transport: Transport,
}

#[derive(Debug, Clone, Copy)]
enum Transport {
    Tcp { sequence: u32, flags: u8 },
    Udp,
}

impl<'a> Segments<'a> {
    /// Prepares cutting; checks all metadata, so that nothing can fail later. Checksum offsets in `offload` count from
    /// the first byte of `packet` (the IP header).
    ///
    /// # Errors
    /// `OffloadMalformed` when the metadata does not fit the packet.
    pub fn new(
        packet: &'a [u8],
        classified: &Classified,
        offload: Offload,
    ) -> Result<Self, DropReason> {
        let packet = packet
            .get(..classified.total)
            .ok_or(DropReason::OffloadMalformed)?;
        let (transport, size) = match (offload.gso, classified.l4) {
            (Gso::None, _) => {
                partial_field(packet.len(), offload.checksum)?;
                return Ok(Self {
                    packet,
                    cut: Cut::Whole(offload.checksum),
                });
            }
            (Gso::Tcp { size }, L4::Tcp { flags }) => {
                let sequence = long(packet, classified.ip_header + SEQUENCE);
                (Transport::Tcp { sequence, flags }, size)
            }
            (Gso::Udp { size }, L4::Udp) => (Transport::Udp, size),
            (Gso::Tcp { .. } | Gso::Udp { .. }, _) => return Err(DropReason::OffloadMalformed),
        };
        let size = usize::from(size);
        if size < SEGMENT_SIZE_MIN || classified.fragment {
            return Err(DropReason::OffloadMalformed);
        }
        let count = (packet.len() - classified.payload).div_ceil(size).max(1);
        if count > SEGMENTS_MAX {
            return Err(DropReason::OffloadMalformed);
        }
        Ok(Self {
            packet,
            cut: Cut::Pieces(Pieces::new(packet, classified, transport, size, count)),
        })
    }

    /// Returns the number of wire packets, at least one.
    fn count(&self) -> usize {
        match &self.cut {
            Cut::Whole(_) => 1,
            Cut::Pieces(pieces) => pieces.count,
        }
    }

    /// Returns the wire packets in their order.
    pub fn iter(&self) -> impl Iterator<Item = Segment<'_>> {
        (0..self.count()).map(|index| Segment {
            segments: self,
            index,
        })
    }

    /// Returns the first of them.
    pub(crate) fn first(&self) -> Segment<'_> {
        Segment {
            segments: self,
            index: 0,
        }
    }

    /// Returns the length of a wire packet in bytes.
    fn length(&self, index: usize) -> usize {
        match &self.cut {
            Cut::Whole(_) => self.packet.len(),
            Cut::Pieces(pieces) => pieces.headers + pieces.payload(self.packet, index).len(),
        }
    }

    /// Writes a wire packet into `slot`, whose length is [`Self::length`].
    fn write(&self, index: usize, slot: &mut [u8]) {
        match &self.cut {
            Cut::Whole(checksum) => {
                slot.copy_from_slice(self.packet);
                let completed = complete_checksum(slot, *checksum);
                debug_assert!(completed.is_ok(), "the field was checked");
            }
            Cut::Pieces(pieces) => pieces.write(pieces.payload(self.packet, index), index, slot),
        }
    }
}

/// One of the wire packets of a unit.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    segments: &'a Segments<'a>,
    index: usize,
}

impl Segment<'_> {
    /// Returns its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it has an IP header at least")]
    pub fn len(&self) -> usize {
        self.segments.length(self.index)
    }

    /// Writes it into `slot`.
    ///
    /// # Panics
    /// When `slot` is not [`Self::len`] bytes long.
    pub fn write(&self, slot: &mut [u8]) {
        self.segments.write(self.index, slot);
    }
}

impl Pieces {
    fn new(
        packet: &[u8],
        classified: &Classified,
        transport: Transport,
        size: usize,
        count: usize,
    ) -> Self {
        let (headers, ip_header) = (classified.payload, classified.ip_header);
        let mut template = [0; HEADERS_MAX];
        template[..headers].copy_from_slice(&packet[..headers]);
        for field in [TOTAL_LENGTH, IDENTIFICATION, CHECKSUM] {
            put(&mut template, field, 0);
        }
        match transport {
            Transport::Tcp { .. } => {
                template[ip_header + SEQUENCE..][..4].fill(0);
                template[ip_header + TCP_FLAGS] = 0;
                put(&mut template, ip_header + TCP_CHECKSUM, 0);
            }
            Transport::Udp => {
                put(&mut template, ip_header + UDP_LENGTH, 0);
                put(&mut template, ip_header + UDP_CHECKSUM, 0);
            }
        }
        let pseudo = pseudo_header(
            classified.source,
            classified.destination,
            classified.protocol,
            0,
        );
        Self {
            headers,
            ip_header,
            size,
            count,
            ip_sum: Sum::of(&template[..ip_header]),
            l4_sum: pseudo.plus(Sum::of(&template[ip_header..headers])),
            id: word(packet, IDENTIFICATION),
            transport,
            template,
        }
    }

    /// Returns the payload of one segment.
    fn payload<'p>(&self, packet: &'p [u8], index: usize) -> &'p [u8] {
        let start = self.headers + index * self.size;
        &packet[start..packet.len().min(start + self.size)]
    }

    fn write(&self, payload: &[u8], index: usize, slot: &mut [u8]) {
        let (headers, body) = slot.split_at_mut(self.headers);
        body.copy_from_slice(payload);
        headers.copy_from_slice(&self.template[..self.headers]);
        // IDs count up also with DF set: receivers that merge again expect it.
        let id = self.id.wrapping_add(low_word(index));
        let total = low_word(self.headers + payload.len());
        let ip_checksum = self.ip_sum.word(total).word(id).checksum();
        put(headers, TOTAL_LENGTH, total);
        put(headers, IDENTIFICATION, id);
        put(headers, CHECKSUM, ip_checksum);
        let l4 = &mut headers[self.ip_header..];
        let length = low_word(l4.len() + payload.len());
        let sum = self.l4_sum.plus(Sum::of(payload)).word(length);
        match self.transport {
            Transport::Tcp { sequence, flags } => {
                let sequence = sequence.wrapping_add(low_long(index * self.size));
                let flags = self.flags(flags, index);
                l4[SEQUENCE..SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
                l4[TCP_FLAGS] = flags;
                put(
                    l4,
                    TCP_CHECKSUM,
                    sum.long(sequence).word(u16::from(flags)).checksum(),
                );
            }
            Transport::Udp => {
                put(l4, UDP_LENGTH, length);
                put(l4, UDP_CHECKSUM, checksum::udp(sum.word(length).checksum()));
            }
        }
    }

    /// Returns the TCP flags of one segment: FIN and PSH belong to the last, CWR to the first (RFC 3168 section 6.1.2).
    fn flags(&self, flags: u8, index: usize) -> u8 {
        let mut flags = flags;
        if index + 1 < self.count {
            flags &= !(FIN | PSH);
        }
        if index > 0 {
            flags &= !CWR;
        }
        flags
    }
}

#[expect(clippy::cast_possible_truncation, reason = "offsets are below 2^16")]
fn low_long(value: usize) -> u32 {
    value as u32
}

/// Longest headers: both IP and TCP with 40 bytes of options.
const HEADERS_MAX: usize = IPV4_HEADER + 40 + TCP_HEADER + 40;
const SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: usize = 16;
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: usize = 6;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

const _: () = assert!(UDP_CHECKSUM + 2 == UDP_HEADER);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::classify;
    use crate::sample::{self, Tcp, Udp};

    const PARTIAL_TCP: Checksum = Checksum::Partial {
        start: 20,
        offset: 16,
    };
    const PARTIAL_UDP: Checksum = Checksum::Partial {
        start: 20,
        offset: 6,
    };

    #[test]
    fn a_tcp_superpacket_becomes_the_segments_that_the_sender_would_have_sent() {
        let payload: Vec<u8> = (0..250u8).collect();
        let options = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let base = Tcp {
            sequence: u32::MAX - 50,
            flags: 0xd9,
            options: &options,
            ..Tcp::default()
        };
        let mut superpacket = Tcp {
            payload: &payload,
            ..base
        }
        .build();
        sample::make_partial(&mut superpacket);
        let expected: Vec<_> = [(0, 0xd0, 100), (1, 0x50, 101), (2, 0x59, 102)]
            .into_iter()
            .map(|(index, flags, id)| {
                let payload = &payload[index * 100..payload.len().min(index * 100 + 100)];
                let sequence = base
                    .sequence
                    .wrapping_add(u32::try_from(index * 100).unwrap());
                Tcp {
                    sequence,
                    flags,
                    payload,
                    ip: sample::with_id(id),
                    ..base
                }
                .build()
            })
            .collect();
        assert_eq!(
            cut(&superpacket, Gso::Tcp { size: 100 }, PARTIAL_TCP),
            Ok(expected)
        );
    }

    #[test]
    fn a_udp_superpacket_becomes_datagrams_with_their_own_length_and_checksum() {
        let payload = [7; 100];
        let superpacket = Udp {
            payload: &payload,
            ..Udp::default()
        }
        .build();
        let expected: Vec<_> = [(40, 100), (40, 101), (20, 102)]
            .into_iter()
            .map(|(length, id)| {
                Udp {
                    payload: &payload[..length],
                    ip: sample::with_id(id),
                    ..Udp::default()
                }
                .build()
            })
            .collect();
        assert_eq!(
            cut(&superpacket, Gso::Udp { size: 40 }, PARTIAL_UDP),
            Ok(expected)
        );
    }

    #[test]
    fn datagrams_of_a_superpacket_without_checksum_get_one() {
        let mut superpacket = Udp {
            payload: &[7; 30],
            ..Udp::default()
        }
        .build();
        put(&mut superpacket, 26, 0);
        let datagrams = cut(&superpacket, Gso::Udp { size: 16 }, Checksum::Complete).unwrap();
        assert!(
            datagrams
                .iter()
                .all(|datagram| word(datagram, 26) != 0 && sample::is_intact(datagram))
        );
    }

    #[test]
    fn identifications_wrap_around() {
        let superpacket = Udp {
            payload: &[7; 16],
            ip: sample::with_id(0xffff),
            ..Udp::default()
        }
        .build();
        let datagrams = cut(&superpacket, Gso::Udp { size: 8 }, PARTIAL_UDP).unwrap();
        assert_eq!(
            datagrams
                .iter()
                .map(|datagram| word(datagram, 4))
                .collect::<Vec<_>>(),
            [0xffff, 0]
        );
    }

    #[test]
    fn a_packet_without_gso_is_emitted_once_with_its_checksum_completed() {
        for (complete, checksum) in [
            (
                Tcp {
                    payload: b"hello",
                    ..Tcp::default()
                }
                .build(),
                PARTIAL_TCP,
            ),
            (
                Udp {
                    payload: b"hello",
                    ..Udp::default()
                }
                .build(),
                PARTIAL_UDP,
            ),
        ] {
            let mut partial = complete.clone();
            sample::make_partial(&mut partial);
            partial.extend([0xee; 9]); // Ethernet padding
            assert_eq!(
                cut(&partial, Gso::None, checksum),
                Ok(vec![complete.clone()])
            );
            assert_eq!(
                cut(&complete, Gso::None, Checksum::Complete),
                Ok(vec![complete])
            );
        }
    }

    #[test]
    fn a_computed_udp_checksum_of_zero_is_sent_as_all_ones() {
        let free = Udp {
            payload: &[0, 0],
            ..Udp::default()
        }
        .build();
        let wanted = word(&free, 26).to_be_bytes(); // brings the sum to 0xFFFF
        let expected = Udp {
            payload: &wanted,
            ..Udp::default()
        }
        .build();
        assert_eq!(word(&expected, 26), 0xffff);
        let mut partial = expected.clone();
        sample::make_partial(&mut partial);
        assert_eq!(complete_checksum(&mut partial, PARTIAL_UDP), Ok(()));
        assert_eq!(partial, expected);
    }

    #[test]
    fn metadata_that_does_not_fit_emits_nothing() {
        let tcp = Tcp {
            payload: &[0; 20_000],
            ..Tcp::default()
        }
        .build();
        let udp = Udp {
            payload: &[0; 100],
            ..Udp::default()
        }
        .build();
        let mut fragment = tcp.clone();
        fragment[6] = 0x20;
        sample::fix_header(&mut fragment);
        let outside = Checksum::Partial {
            start: 20_030,
            offset: 9,
        };
        for (row, packet, gso, checksum) in [
            ("size below 8", &tcp, Gso::Tcp { size: 7 }, PARTIAL_TCP),
            ("size zero", &tcp, Gso::Tcp { size: 0 }, PARTIAL_TCP),
            (
                "more than 1024 segments",
                &tcp,
                Gso::Tcp { size: 19 },
                PARTIAL_TCP,
            ),
            (
                "TCP metadata for UDP",
                &udp,
                Gso::Tcp { size: 50 },
                PARTIAL_TCP,
            ),
            (
                "UDP metadata for TCP",
                &tcp,
                Gso::Udp { size: 50 },
                PARTIAL_UDP,
            ),
            (
                "a fragment",
                &fragment,
                Gso::Tcp { size: 1400 },
                PARTIAL_TCP,
            ),
            ("checksum field half outside", &tcp, Gso::None, outside),
        ] {
            assert_eq!(
                cut(packet, gso, checksum),
                Err(DropReason::OffloadMalformed),
                "{row}"
            );
        }
        assert_eq!(
            cut(&tcp, Gso::Tcp { size: 20 }, PARTIAL_TCP).unwrap().len(),
            1000
        );
    }

    #[test]
    fn the_segment_size_is_what_the_largest_wire_packet_measures() {
        let packet = Tcp {
            payload: &[0; 250],
            ..Tcp::default()
        }
        .build();
        let classified = classify(&packet).unwrap();
        for (gso, size) in [
            (Gso::None, 290),
            (Gso::Tcp { size: 100 }, 140),
            (Gso::Tcp { size: 250 }, 290),
            (Gso::Tcp { size: 1000 }, 290),
        ] {
            assert_eq!(
                segment_size(
                    &classified,
                    Offload {
                        gso,
                        checksum: PARTIAL_TCP
                    }
                ),
                size
            );
        }
    }

    proptest! {
        #[test]
        fn segments_are_intact_and_carry_the_payload_in_order(
            payload in prop::collection::vec(any::<u8>(), 0..5000),
            size in 8..1500u16,
            flags in any::<u8>(),
            tcp in any::<bool>(),
        ) {
            let (packet, gso, headers) = if tcp {
                (Tcp { payload: &payload, flags, ..Tcp::default() }.build(), Gso::Tcp { size }, 40)
            } else {
                (Udp { payload: &payload, ..Udp::default() }.build(), Gso::Udp { size }, 28)
            };
            let segments = cut(&packet, gso, Checksum::Complete).unwrap();
            let carried: Vec<u8> = segments.iter().flat_map(|segment| segment[headers..].to_vec()).collect();
            prop_assert_eq!(carried, payload);
            for segment in &segments {
                prop_assert!(sample::is_intact(segment) && classify(segment).is_ok());
                prop_assert_eq!(&segment[12..24], &packet[12..24]);
            }
        }
    }

    fn cut(packet: &[u8], gso: Gso, checksum: Checksum) -> Result<Vec<Vec<u8>>, DropReason> {
        let classified = classify(packet)?;
        let segments = Segments::new(packet, &classified, Offload { gso, checksum })?;
        Ok(segments.iter().map(sample::written).collect())
    }
}
