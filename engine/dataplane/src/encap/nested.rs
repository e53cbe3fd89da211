//! A tunnel inside of WireGuard: GRE or GUE between the two overlay addresses, and that is what is sealed.
//!
//! ```text
//!   outer IP | UDP | WireGuard: | IPv4, overlay to overlay | GRE, or UDP and GUE | inner packet |
//! ```
//! Linux does so with a tunnel device whose ends are the addresses of its WireGuard device. Such a host sends its own
//! packets, BGP for example, from overlay address to overlay address without framing: they are taken as they are.
//! Everything else that is not framed is refused.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::{Carrier, Framing};
use crate::drop_reason::DropReason;
use crate::packet::checksum::{Sum, pseudo_header};
use crate::packet::classify;
use crate::packet::ipv4::{IPV4_HEADER, Ipv4Header, UDP, low_word, put, word};
use crate::wire_packet::WirePacket;

/// What is put around an inner packet before it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nested {
    /// In what it travels, in there.
    pub carrier: Carrier,
    /// What stands in front of the inner packet.
    pub framing: Framing,
    /// Our overlay address.
    pub own: Ipv4Addr,
    /// That of the far end.
    pub far: Ipv4Addr,
}

/// What was found in an opened packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An inner packet, at these bytes.
    Framed {
        /// Where it is.
        inner: Range<usize>,
        /// TOS byte of the header around it.
        tos: u8,
    },
    /// A packet between the overlay addresses themselves.
    Bare,
}

impl Nested {
    /// Returns the bytes that it puts in front of an inner packet.
    #[must_use]
    pub const fn header(self) -> u16 {
        low_word(IPV4_HEADER) + self.carrier.header() + low_word(self.framing.header())
    }

    /// Writes a framed packet to the start of `slot`, and returns it. Packets of one `flow` get one UDP port.
    ///
    /// # Errors
    /// `TooBig` when it is too long for `slot` or for IPv4.
    pub fn write<'s>(
        self,
        inner: &WirePacket<'_>,
        tos: u8,
        flow: u8,
        slot: &'s mut [u8],
    ) -> Result<&'s [u8], DropReason> {
        let header = usize::from(self.header());
        let length = header + inner.len();
        let total = u16::try_from(length).map_err(|_| DropReason::TooBig)?;
        let packet = slot.get_mut(..length).ok_or(DropReason::TooBig)?;
        inner.write(&mut packet[header..]);
        let (front, mut rest) = packet.split_at_mut(IPV4_HEADER);
        let ip = Ipv4Header {
            tos,
            total,
            id: 0,
            dont_fragment: true,
            ttl: TTL,
            protocol: self.protocol(),
            source: self.own,
            destination: self.far,
        };
        front.copy_from_slice(&ip.emit());
        if let Carrier::Udp { port } = self.carrier {
            // No checksum (RFC 768): what is sealed arrives as it was.
            let words = [PORTS + u16::from(flow), port, low_word(rest.len()), 0];
            let (udp, framed) = rest.split_at_mut(UDP_HEADER);
            for (at, word) in words.into_iter().enumerate() {
                put(udp, 2 * at, word);
            }
            rest = framed;
        }
        self.framing.write(rest);
        Ok(packet)
    }

    /// Finds the inner packet of an opened one.
    ///
    /// # Errors
    /// `EncapMissing` for one that is neither framed nor between the overlay addresses; `EncapMalformed` also for
    /// fragments, which nobody joins here; those of [`classify`] and [`Framing::parse`].
    pub fn parse(self, packet: &[u8]) -> Result<Content, DropReason> {
        let classified = classify(packet)?;
        if (classified.source, classified.destination) != (self.far, self.own) {
            return Err(DropReason::EncapMissing);
        }
        if classified.protocol != self.protocol() {
            return Ok(Content::Bare);
        }
        let body = &packet[classified.ip_header..classified.total];
        let framed = match self.carrier {
            Carrier::Ip { .. } if classified.fragment => return Err(DropReason::EncapMalformed),
            Carrier::Ip { .. } => body,
            Carrier::Udp { port } => {
                let is_bare = classified.fragment || word(body, 2) != port;
                if is_bare {
                    return Ok(Content::Bare);
                }
                self.datagram(body)?
            }
        };
        let inner = self.framing.parse(framed)?;
        // A framing is in front only, so the inner packet ends where the framed one does.
        let header = packet[..classified.total].len() - body.len();
        let end = header + self.carrier_header() + framed.len();
        Ok(Content::Framed {
            inner: end - inner.len()..end,
            tos: classified.tos,
        })
    }

    /// Returns what a UDP datagram carries.
    fn datagram(self, datagram: &[u8]) -> Result<&[u8], DropReason> {
        let length = word(datagram, 4);
        let datagram = datagram
            .get(..usize::from(length))
            .filter(|datagram| datagram.len() >= UDP_HEADER)
            .ok_or(DropReason::EncapMalformed)?;
        let sum = pseudo_header(self.far, self.own, UDP, length).plus(Sum::of(datagram));
        let has_checksum = word(datagram, 6) != 0;
        if has_checksum && !sum.is_intact() {
            return Err(DropReason::EncapChecksum);
        }
        Ok(&datagram[UDP_HEADER..])
    }

    fn carrier_header(self) -> usize {
        usize::from(self.carrier.header())
    }

    const fn protocol(self) -> u8 {
        match self.carrier {
            Carrier::Udp { .. } => UDP,
            Carrier::Ip { protocol } => protocol,
        }
    }
}

/// Nobody between the ends lowers it.
const TTL: u8 = 64;
const UDP_HEADER: usize = 8;
/// First source port: of the dynamic ones (RFC 6335 section 6).
const PORTS: u16 = 49_152;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encap::{Gre, Gue, Payload};
    use crate::sample::Udp;

    type Damage = fn(&mut [u8]);

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
    const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
    const GUE: Carrier = Carrier::Udp { port: 6080 };

    fn all() -> [(Nested, u16); 4] {
        let keyed = Gre {
            key: Some(7),
            checksum: true,
        };
        [
            (Carrier::GRE, Framing::Gre(Gre::PLAIN), 24),
            (Carrier::GRE, Framing::Gre(keyed), 32),
            (GUE, Framing::Gue(Gue::Variant1), 28),
            (GUE, Framing::Gue(Gue::Variant0(Payload::Gre)), 36),
        ]
        .map(|(carrier, framing, header)| {
            let nested = Nested {
                carrier,
                framing,
                own: OWN,
                far: FAR,
            };
            (nested, header)
        })
    }

    /// As the far end knows it.
    fn mirrored(nested: Nested) -> Nested {
        Nested {
            own: nested.far,
            far: nested.own,
            ..nested
        }
    }

    #[test]
    fn what_one_end_writes_the_other_finds_whatever_padding_follows() {
        let inner = Udp {
            payload: b"hello",
            ..Udp::default()
        }
        .build();
        for (nested, header) in all() {
            assert_eq!(nested.header(), header, "{nested:?}");
            let mut slot = [0xee; 200];
            let written = nested
                .write(&WirePacket::Whole(&inner), 0xb9, 3, &mut slot)
                .unwrap();
            assert_eq!(written.len(), usize::from(header) + inner.len());
            let padded = [written, &[0; 15]].concat();

            let found = mirrored(nested).parse(&padded);

            let expected = Content::Framed {
                inner: usize::from(header)..usize::from(header) + inner.len(),
                tos: 0xb9,
            };
            assert_eq!(found, Ok(expected), "{nested:?}");
            assert_eq!(
                nested.parse(&padded),
                Err(DropReason::EncapMissing),
                "it is not from the far end: {nested:?}"
            );
        }
    }

    #[test]
    fn packets_between_the_overlay_addresses_are_taken_as_they_are() {
        for (nested, _) in all() {
            let mut bgp = Udp::default().build();
            bgp[12..16].copy_from_slice(&FAR.octets());
            bgp[16..20].copy_from_slice(&OWN.octets());
            crate::packet::ipv4::write_checksum(&mut bgp[..20]);
            assert_eq!(nested.parse(&bgp), Ok(Content::Bare), "{nested:?}");
            assert_eq!(
                nested.parse(&Udp::default().build()),
                Err(DropReason::EncapMissing)
            );
        }
    }

    #[test]
    fn damage_is_refused_by_its_reason() {
        let [gre, _, gue, _] = all().map(|(nested, _)| nested);
        let written = |nested: Nested, damage: Damage| {
            let mut slot = [0; 100];
            let inner = WirePacket::Whole(&[0x45; 20]);
            let length = nested.write(&inner, 0, 0, &mut slot).unwrap().len();
            let packet = &mut slot[..length];
            damage(packet);
            crate::packet::ipv4::write_checksum(&mut packet[..20]);
            mirrored(nested).parse(packet)
        };
        let cases: [(Nested, Damage, DropReason); 5] = [
            (gre, |packet| packet[6] = 0x20, DropReason::EncapMalformed),
            (gre, |packet| packet[20] = 0x20, DropReason::EncapWrongKey),
            (gue, |packet| packet[27] = 9, DropReason::EncapChecksum),
            (gue, |packet| packet[25] = 7, DropReason::L4Malformed),
            (gue, |packet| packet[28] = 0xc5, DropReason::EncapMalformed),
        ];
        for (index, (nested, damage, reason)) in cases.into_iter().enumerate() {
            assert_eq!(written(nested, damage), Err(reason), "case {index}");
        }
    }

    #[test]
    fn what_does_not_fit_is_too_big() {
        let (nested, header) = all()[0];
        let longest = usize::from(u16::MAX - header);
        let mut slot = vec![0; 70_000];
        let write = |length, slot: &mut [u8]| {
            let inner = vec![0x45; length];
            let written = nested.write(&WirePacket::Whole(&inner), 0, 0, slot);
            written.map(<[u8]>::len)
        };
        assert_eq!(write(longest, &mut slot), Ok(usize::from(u16::MAX)));
        assert_eq!(write(longest + 1, &mut slot), Err(DropReason::TooBig));
        assert_eq!(write(20, &mut [0; 43]), Err(DropReason::TooBig));
    }
}
