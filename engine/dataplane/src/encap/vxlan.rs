//! VXLAN (RFC 7348) as a point-to-point tunnel: the inner Ethernet header is a formality between two routers.
//!
//! Addresses are made of the overlay addresses, so that a packet which went astray is noticed.

use std::net::Ipv4Addr;

use crate::drop_reason::DropReason;
use crate::notice::Mac;
use crate::packet::ethernet::ETHERTYPE_IPV4;
use crate::packet::ipv4::{put, word};

/// Length of both headers in bytes: VXLAN 8, Ethernet 14.
pub const HEADER: usize = 22;

/// What both ends of a VXLAN tunnel agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vxlan {
    /// Network identifier, 24 bits.
    pub vni: u32,
    /// Our inner MAC address.
    pub from: Mac,
    /// The far router's inner MAC address.
    pub to: Mac,
}

impl Vxlan {
    /// Makes one end of a tunnel between two overlay addresses.
    #[must_use]
    pub fn between(vni: u32, own: Ipv4Addr, far: Ipv4Addr) -> Self {
        Self {
            vni,
            from: mac_of(own),
            to: mac_of(far),
        }
    }

    /// Writes both headers in front of an IPv4 packet; `packet` is all.
    ///
    /// # Panics
    /// When `packet` is shorter than the headers.
    pub fn write(self, packet: &mut [u8]) {
        let [_, high, middle, low] = self.vni.to_be_bytes();
        packet[..8].copy_from_slice(&[VNI_VALID, 0, 0, 0, high, middle, low, 0]);
        packet[8..14].copy_from_slice(&self.to);
        packet[14..20].copy_from_slice(&self.from);
        put(packet, 20, ETHERTYPE_IPV4);
    }

    /// Returns the IPv4 packet behind both headers. Reserved bits are ignored, as the RFC wants it.
    ///
    /// # Errors
    /// `EncapMalformed`, `EncapWrongKey` for another network, `FrameNotForUs`, `NotIpv4`.
    pub fn parse(self, packet: &[u8]) -> Result<&[u8], DropReason> {
        let (header, inner) = packet
            .split_first_chunk::<HEADER>()
            .ok_or(DropReason::EncapMalformed)?;
        if header[0] & VNI_VALID == 0 {
            return Err(DropReason::EncapMalformed);
        }
        if u32::from_be_bytes([0, header[4], header[5], header[6]]) != self.vni {
            return Err(DropReason::EncapWrongKey);
        }
        if header[8..14] != self.from {
            return Err(DropReason::FrameNotForUs);
        }
        if word(header, 20) != ETHERTYPE_IPV4 {
            return Err(DropReason::NotIpv4);
        }
        Ok(inner)
    }
}

/// Returns the inner MAC address of a router: 02:53 and its overlay address.
fn mac_of(overlay: Ipv4Addr) -> Mac {
    let [a, b, c, d] = overlay.octets();
    [0x02, 0x53, a, b, c, d]
}

/// The I flag.
const VNI_VALID: u8 = 0x08;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_the_rfc() {
        let vxlan = tunnel();
        let mut packet = vec![0xee; HEADER];
        packet.push(0x45);
        vxlan.write(&mut packet);
        let expected = [
            8, 0, 0, 0, 0x12, 0x34, 0x56, 0, 2, 0x53, 10, 99, 0, 2, 2, 0x53, 10, 99, 0, 1, 8, 0,
            0x45,
        ];
        assert_eq!(packet, expected);
    }

    #[test]
    fn what_does_not_belong_is_refused_by_its_reason() {
        let far = Vxlan {
            from: tunnel().to,
            to: tunnel().from,
            ..tunnel()
        };
        let mut good = vec![0; HEADER];
        good.push(0x45);
        far.write(&mut good);
        assert_eq!(tunnel().parse(&good), Ok(&[0x45][..]));
        let cases = [
            (0, 0x00, DropReason::EncapMalformed),
            (6, 0x57, DropReason::EncapWrongKey),
            (13, 3, DropReason::FrameNotForUs),
            (21, 6, DropReason::NotIpv4),
        ];
        for (at, value, reason) in cases {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(tunnel().parse(&bad), Err(reason), "byte {at}");
        }
        for (at, value) in [(0, 0xff), (1, 9), (3, 9), (7, 9), (19, 9)] {
            let mut odd = good.clone();
            odd[at] = value;
            assert!(tunnel().parse(&odd).is_ok(), "byte {at} does not matter");
        }
        assert_eq!(tunnel().parse(&good[..21]), Err(DropReason::EncapMalformed));
    }

    fn tunnel() -> Vxlan {
        Vxlan::between(0x0012_3456, [10, 99, 0, 1].into(), [10, 99, 0, 2].into())
    }
}
