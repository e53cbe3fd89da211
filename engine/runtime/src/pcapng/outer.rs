//! Headers of outer packets, which the kernel removed or will write: addresses, protocol and ports as on the wire.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sam_dataplane::encap::Carrier;
use sam_dataplane::packet::ipv4::{Ipv4Header, UDP};
use sam_dataplane::trace::{Remote, TapRecord};

/// Our end of the tunnels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Near {
    /// Our underlay address, as far as known.
    pub(crate) address: IpAddr,
    /// UDP port of WireGuard.
    pub(crate) wireguard_port: u16,
}

impl Near {
    /// Writes the headers in front of a captured payload. Checksums of UDP are left out: 0 over IPv4 says so, over
    /// IPv6 it is unknown here too.
    pub(super) fn headers(self, record: &TapRecord, remote: Remote) -> Vec<u8> {
        let (protocol, port) = match remote.carrier {
            None => (UDP, self.wireguard_port),
            Some(Carrier::Udp { port }) => (UDP, port),
            Some(Carrier::Ip { protocol }) => (protocol, 0),
        };
        let far = remote.address;
        let (from, to) = if record.outbound {
            // Tunnels without encryption send from several ports; which one, the kernel knows.
            (SocketAddr::new(self.address, port), far)
        } else {
            (far, SocketAddr::new(self.address, port))
        };
        let is_udp = protocol == UDP;
        let payload = record.length + if is_udp { UDP_HEADER } else { 0 };
        let mut headers = match (from.ip().to_canonical(), to.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, protocol, payload),
            (from, to) => ipv6(from, to, protocol, payload),
        };
        if is_udp {
            headers.extend(from.port().to_be_bytes());
            headers.extend(to.port().to_be_bytes());
            headers.extend(short(payload).to_be_bytes());
            headers.extend([0, 0]);
        }
        headers
    }
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: usize) -> Vec<u8> {
    let header = Ipv4Header {
        tos: 0,
        total: short(payload + 20),
        id: 0,
        dont_fragment: true,
        ttl: 64,
        protocol,
        source,
        destination,
    };
    header.emit().to_vec()
}

/// Where only one end is known to be IPv6, the other one is written as an IPv4-mapped address.
fn ipv6(source: IpAddr, destination: IpAddr, protocol: u8, payload: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(short(payload).to_be_bytes());
    header.extend([protocol, 64]);
    for address in [source, destination] {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        header.extend(address.octets());
    }
    header
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

const UDP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sam_dataplane::Gso;
    use sam_dataplane::packet::classify;
    use sam_dataplane::trace::TapPoint;

    use super::*;

    fn headers(far: &str, carrier: Option<Carrier>, outbound: bool) -> Vec<u8> {
        let near = Near {
            address: [192, 0, 2, 1].into(),
            wireguard_port: 51820,
        };
        let remote = Remote {
            address: far.parse().expect("address"),
            carrier,
        };
        let record = TapRecord {
            point: TapPoint::Outer,
            outbound,
            at: Instant::now(),
            length: 100,
            data: [7; 100].into(),
            remote: Some(remote),
            gso: Gso::None,
            tunnel: None,
            verdict: None,
        };
        near.headers(&record, remote)
    }

    #[test]
    fn each_carrier_gets_the_headers_of_the_wire() {
        let gue = Some(Carrier::Udp { port: 6080 });
        for (far, carrier, protocol, ports) in [
            ("192.0.2.2:40000", None, 17, Some((40000, 51820))),
            ("192.0.2.2:40000", gue, 17, Some((40000, 6080))),
            ("192.0.2.2:0", Some(Carrier::GRE), 47, None),
        ] {
            let packet = [headers(far, carrier, false), vec![7; 100]].concat();
            let classified = classify(&packet).expect("well-formed");
            assert_eq!(
                (classified.protocol, classified.total),
                (protocol, packet.len())
            );
            assert_eq!(classified.source, Ipv4Addr::new(192, 0, 2, 2));
            let port = |at| u16::from_be_bytes([packet[at], packet[at + 1]]);
            if let Some(ports) = ports {
                assert_eq!((port(20), port(22)), ports);
            }
        }
        let sent = headers("192.0.2.2:6080", gue, true);
        assert_eq!(sent[12..20], [192, 0, 2, 1, 192, 0, 2, 2]);
    }

    #[test]
    fn an_underlay_of_ipv6_is_written_as_such() {
        let packet = headers("[2001:db8::2]:51820", None, false);
        assert_eq!((packet.len(), packet[0] >> 4, packet[6]), (48, 6, 17));
        assert_eq!(packet[4..6], 108_u16.to_be_bytes());
        assert_eq!(packet[23], 2);
    }
}
