//! The packet that is traced: real bytes, so that the packet path's own parser reads them.

use std::fmt;

use sam_dataplane::packet::icmp::ICMP_HEADER;
use sam_dataplane::packet::ipv4::{ICMP, IPV4_HEADER, Ipv4Header, TCP, UDP};

use crate::view::{TraceProtocol, TraceQuery};

/// Why a packet cannot be traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceRefusal {
    /// The headers alone are longer.
    TooShort {
        /// Protocol.
        protocol: TraceProtocol,
        /// Length of its headers and the IP header in bytes.
        headers: usize,
    },
    /// The protocol has no ports.
    PortWithoutPorts,
}

impl TraceRefusal {
    /// Says what to write instead.
    #[must_use]
    pub fn remedy(self) -> String {
        match self {
            Self::TooShort { headers, .. } => {
                format!("the size counts the IP header too; give {headers} to 65535 bytes")
            }
            Self::PortWithoutPorts => "leave the port out, or name tcp or udp".into(),
        }
    }
}

impl fmt::Display for TraceRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { protocol, headers } => {
                let name = protocol.name();
                write!(out, "the headers of {name} alone are {headers} bytes long")
            }
            Self::PortWithoutPorts => out.write_str("icmp has no ports"),
        }
    }
}

/// Writes the packet. Checksums beyond that of the IP header are zero: nothing on the way reads them.
///
/// # Errors
/// When there is no such packet.
pub(super) fn write(query: &TraceQuery) -> Result<Vec<u8>, TraceRefusal> {
    let (protocol, header) = match query.protocol {
        TraceProtocol::Icmp if query.port.is_some() => return Err(TraceRefusal::PortWithoutPorts),
        TraceProtocol::Icmp => (ICMP, ICMP_HEADER),
        TraceProtocol::Tcp => (TCP, TCP_HEADER),
        TraceProtocol::Udp => (UDP, UDP_HEADER),
    };
    let headers = IPV4_HEADER + header;
    let mut packet = vec![0; usize::from(query.size)];
    if packet.len() < headers {
        return Err(TraceRefusal::TooShort {
            protocol: query.protocol,
            headers,
        });
    }
    let ip = Ipv4Header {
        tos: 0,
        total: query.size,
        id: 0,
        dont_fragment: query.df,
        ttl: TTL,
        protocol,
        source: query.from,
        destination: query.to,
    };
    let (ip_header, payload) = packet.split_at_mut(IPV4_HEADER);
    ip_header.copy_from_slice(&ip.emit());
    let port = query.port.unwrap_or_default().to_be_bytes();
    match query.protocol {
        TraceProtocol::Icmp => payload[0] = ECHO_REQUEST,
        TraceProtocol::Tcp => {
            payload[2..4].copy_from_slice(&port);
            (payload[12], payload[13]) = (TCP_WORDS << 4, ACK);
        }
        TraceProtocol::Udp => {
            let length = query.size - IPV4_HEADER_U16;
            payload[2..4].copy_from_slice(&port);
            payload[4..6].copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(packet)
}

/// Says what the packet carries.
pub(super) fn words(query: &TraceQuery) -> String {
    let name = query.protocol.name();
    match query.port {
        Some(port) => format!("{name} to port {port}"),
        None => name.into(),
    }
}

/// TTL of most hosts.
const TTL: u8 = 64;
const IPV4_HEADER_U16: u16 = 20;
const TCP_HEADER: usize = 20;
/// Length of a TCP header without options in words of four bytes.
const TCP_WORDS: u8 = 5;
const ACK: u8 = 0x10;
const UDP_HEADER: usize = 8;
const ECHO_REQUEST: u8 = 8;

#[cfg(test)]
mod tests {
    use sam_dataplane::packet::{L4, classify};

    use super::*;
    use crate::fixture::address;

    fn query(protocol: TraceProtocol, size: u16) -> TraceQuery {
        TraceQuery {
            from: address(11),
            to: address(10),
            protocol,
            port: None,
            size,
            df: true,
        }
    }

    #[test]
    fn the_shortest_and_the_longest_packet_of_each_protocol_are_well_formed() {
        for (protocol, headers, l4) in [
            (TraceProtocol::Icmp, 28, L4::Icmp { kind: 8 }),
            (TraceProtocol::Tcp, 40, L4::Tcp { flags: 0x10 }),
            (TraceProtocol::Udp, 28, L4::Udp),
        ] {
            for size in [headers, 1500, u16::MAX] {
                let bytes = write(&query(protocol, size)).unwrap();
                let classified = classify(&bytes).unwrap();
                assert_eq!((classified.total, classified.l4), (usize::from(size), l4));
                assert_eq!(
                    (classified.source, classified.destination),
                    (address(11), address(10))
                );
                assert!(classified.dont_fragment);
            }
            let refusal = write(&query(protocol, headers - 1)).unwrap_err();
            assert!(refusal.to_string().contains(&headers.to_string()));
        }
    }

    #[test]
    fn a_port_is_written_where_there_are_ports_and_refused_elsewhere() {
        let with_port = |protocol| TraceQuery {
            port: Some(443),
            ..query(protocol, 84)
        };
        for protocol in [TraceProtocol::Tcp, TraceProtocol::Udp] {
            assert_eq!(write(&with_port(protocol)).unwrap()[22..24], [1, 187]);
        }
        let refused = write(&with_port(TraceProtocol::Icmp));
        assert_eq!(refused, Err(TraceRefusal::PortWithoutPorts));
    }
}
