//! Prefixes on the wire: a length in bits and as many bytes as it needs (RFC 4271 section 4.3), behind a path identifier
//! where the session carries them (RFC 7911 section 3).
//!
//! Bits after the prefix length are irrelevant by the RFC and are cleared silently. Whether there are identifiers is
//! told, never guessed: the bytes do not show it.

use ipnet::Ipv4Net;

use super::family::Prefix;
use super::reader::Reader;

/// Tells the paths of one prefix apart within one direction of one session (RFC 7911 section 3); means nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

/// A prefix, and which path to it where the session tells paths apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nlri<N = Ipv4Net> {
    /// The prefix.
    pub prefix: N,
    /// The path; `None` in a session where a prefix has one path. Counts as 0 where an identifier must be written.
    pub path_id: Option<PathId>,
}

impl<N: Prefix> Nlri<N> {
    /// Counts its bytes.
    fn wire_len(&self, add_path: bool) -> usize {
        let id = if add_path { PATH_ID_LEN } else { 0 };
        id + 1 + usize::from(self.prefix.bits().div_ceil(8))
    }
}

impl<N: Prefix> From<N> for Nlri<N> {
    fn from(prefix: N) -> Self {
        let path_id = None;
        Self { prefix, path_id }
    }
}

/// Bytes of a path identifier.
const PATH_ID_LEN: usize = 4;

/// Returns how many bytes the longest prefix takes, with its identifier if there is one.
pub(super) const fn max_len<N: Prefix>(add_path: bool) -> usize {
    if add_path {
        PATH_ID_LEN + 1 + N::OCTETS
    } else {
        1 + N::OCTETS
    }
}

/// Decodes a whole field of prefixes, each behind a path identifier with `add_path`; `None` when one is longer than
/// its family has bits, or cut short.
pub(super) fn decode<N: Prefix>(field: &[u8], add_path: bool) -> Option<Vec<Nlri<N>>> {
    let mut reader = Reader::new(field);
    let mut routes = Vec::new();
    while !reader.is_empty() {
        let path_id = if add_path {
            Some(PathId(reader.u32()?))
        } else {
            None
        };
        let len = reader.u8()?;
        let bytes = reader.take(usize::from(len.div_ceil(8)))?;
        let prefix = N::from_wire(len, bytes)?;
        routes.push(Nlri { prefix, path_id });
    }
    Some(routes)
}

/// Encodes prefixes one after the other, each behind its path identifier with `add_path`.
pub(super) fn encode<N: Prefix>(routes: &[Nlri<N>], add_path: bool) -> Vec<u8> {
    let mut field = Vec::with_capacity(routes.len() * max_len::<N>(add_path));
    for Nlri { prefix, path_id } in routes {
        if add_path {
            let PathId(id) = path_id.unwrap_or(PathId(0));
            field.extend(id.to_be_bytes());
        }
        let len = prefix.bits();
        field.push(len);
        let address = prefix.address();
        field.extend(address.as_ref().iter().take(usize::from(len.div_ceil(8))));
    }
    field
}

/// Encodes prefixes into as few fields as possible, none longer than `room`, which must hold the
/// longest prefix.
pub(super) fn encode_split<N: Prefix>(
    routes: &[Nlri<N>],
    add_path: bool,
    room: usize,
) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut rest = routes;
    while !rest.is_empty() {
        let count = fitting(rest, add_path, room).max(1);
        let (now, later) = rest.split_at(count);
        fields.push(encode(now, add_path));
        rest = later;
    }
    fields
}

/// Counts how many prefixes from the start fit into `room` bytes.
fn fitting<N: Prefix>(routes: &[Nlri<N>], add_path: bool, room: usize) -> usize {
    let ends = routes.iter().scan(0, |end, route| {
        *end += route.wire_len(add_path);
        Some(*end)
    });
    ends.take_while(|end| *end <= room).count()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipnet::Ipv6Net;

    use super::*;

    #[test]
    fn prefixes_of_every_length_survive() {
        for add_path in [false, true] {
            let routes: Vec<Nlri> = (0..=32)
                .map(|len| Nlri {
                    prefix: Ipv4Net::new(Ipv4Addr::from(0xd6b5_a9fd), len)
                        .unwrap()
                        .trunc(),
                    path_id: add_path.then(|| PathId(0xffff_fff0 + u32::from(len) % 8)),
                })
                .collect();

            assert_eq!(decode(&encode(&routes, add_path), add_path), Some(routes));
        }
    }

    #[test]
    fn ipv6_prefixes_of_every_length_survive() {
        for add_path in [false, true] {
            let routes: Vec<Nlri<Ipv6Net>> = (0..=128)
                .map(|len| Nlri {
                    prefix: Ipv6Net::new(
                        "2001:db8:a5a5:5a5a:ffff:f0f0:1234:5678".parse().unwrap(),
                        len,
                    )
                    .unwrap()
                    .trunc(),
                    path_id: add_path.then(|| PathId(u32::from(len))),
                })
                .collect();

            assert_eq!(decode(&encode(&routes, add_path), add_path), Some(routes));
        }
        assert_eq!(decode::<Ipv6Net>(&[129; 18], false), None);
    }

    /// What a guess gets wrong: a default route in front looks like an identifier.
    #[test]
    fn the_same_bytes_are_read_as_told() {
        let field = [0, 16, 10, 77, 8, 10];

        let plain: Vec<Nlri> = ["0.0.0.0/0", "10.77.0.0/16", "10.0.0.0/8"]
            .map(|prefix| prefix.parse::<Ipv4Net>().unwrap().into())
            .to_vec();
        assert_eq!(decode(&field, false), Some(plain));
        let identified: Nlri = Nlri {
            prefix: "10.0.0.0/8".parse().unwrap(),
            path_id: Some(PathId(0x0010_0a4d)),
        };
        assert_eq!(decode(&field, true), Some(vec![identified]));
    }

    #[test]
    fn a_path_identifier_without_prefix_is_refused() {
        for field in [&[0, 0, 0, 1][..], &[0, 0, 1], &[0, 0, 0, 1, 33, 1, 2, 3, 4]] {
            assert_eq!(decode::<Ipv4Net>(field, true), None, "{field:?}");
        }
    }

    #[test]
    fn bits_after_the_prefix_length_are_cleared() {
        let prefix: Ipv4Net = "10.77.60.0/22".parse().unwrap();

        assert_eq!(decode(&[22, 10, 77, 63], false), Some(vec![prefix.into()]));
        let dirty = Ipv4Net::new(Ipv4Addr::new(10, 77, 63, 1), 22).unwrap();
        assert_eq!(encode(&[dirty.into()], false), [22, 10, 77, 60]);
    }

    #[test]
    fn impossible_fields_are_refused() {
        for field in [
            &[33, 1, 2, 3, 4, 5][..],
            &[24, 10, 77],
            &[255],
            &[32],
            &[0, 8],
        ] {
            assert_eq!(decode::<Ipv4Net>(field, false), None, "{field:?}");
        }
    }

    #[test]
    fn split_fields_fill_the_room() {
        let routes = |path_id| -> Vec<Nlri> {
            (0..7_u32)
                .map(|host| Nlri {
                    prefix: Ipv4Net::new(Ipv4Addr::from(host), 32).unwrap(),
                    path_id,
                })
                .collect()
        };
        for (path_id, lens) in [(None, &[15, 15, 5][..]), (Some(PathId(9)), &[9; 7])] {
            let fields = encode_split(&routes(path_id), path_id.is_some(), 16);

            assert_eq!(fields.iter().map(Vec::len).collect::<Vec<_>>(), lens);
            let decoded = decode(&fields.concat(), path_id.is_some());
            assert_eq!(decoded, Some(routes(path_id)));
        }
    }
}
