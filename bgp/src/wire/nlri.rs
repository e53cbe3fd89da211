//! Prefixes on the wire: a length in bits and as many bytes as it needs (RFC 4271 section 4.3).
//!
//! Bits after the prefix length are irrelevant by the RFC and are cleared silently.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::reader::Reader;

/// Bytes of the longest prefix.
pub(super) const MAX_PREFIX_LEN: usize = 5;

/// Decodes a whole field of prefixes; `None` when one is longer than 32 bits or cut short.
pub(super) fn decode(field: &[u8]) -> Option<Vec<Ipv4Net>> {
    let mut reader = Reader::new(field);
    let mut prefixes = Vec::new();
    while !reader.is_empty() {
        let len = reader.u8()?;
        let bytes = reader.take(usize::from(len.div_ceil(8)))?;
        let mut address = [0; 4];
        address.get_mut(..bytes.len())?.copy_from_slice(bytes);
        prefixes.push(Ipv4Net::new(Ipv4Addr::from(address), len).ok()?.trunc());
    }
    Some(prefixes)
}

/// Encodes prefixes one after the other.
pub(super) fn encode(prefixes: &[Ipv4Net]) -> Vec<u8> {
    let mut field = Vec::with_capacity(prefixes.len() * MAX_PREFIX_LEN);
    for prefix in prefixes {
        let len = prefix.prefix_len();
        field.push(len);
        let address = prefix.network().octets();
        field.extend(address.iter().take(usize::from(len.div_ceil(8))));
    }
    field
}

/// Encodes prefixes into as few fields as possible, none longer than `room`, which must hold the
/// longest prefix.
pub(super) fn encode_split(prefixes: &[Ipv4Net], room: usize) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut rest = prefixes;
    while !rest.is_empty() {
        let count = fitting(rest, room).max(1);
        let (now, later) = rest.split_at(count);
        fields.push(encode(now));
        rest = later;
    }
    fields
}

/// Counts how many prefixes from the start fit into `room` bytes.
fn fitting(prefixes: &[Ipv4Net], room: usize) -> usize {
    let ends = prefixes.iter().scan(0, |end, prefix| {
        *end += 1 + usize::from(prefix.prefix_len().div_ceil(8));
        Some(*end)
    });
    ends.take_while(|end| *end <= room).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_every_length_survive() {
        let prefixes: Vec<Ipv4Net> = (0..=32)
            .map(|len| {
                Ipv4Net::new(Ipv4Addr::from(0xd6b5_a9fd), len)
                    .unwrap()
                    .trunc()
            })
            .collect();

        assert_eq!(decode(&encode(&prefixes)), Some(prefixes));
    }

    #[test]
    fn bits_after_the_prefix_length_are_cleared() {
        let prefix: Ipv4Net = "10.77.60.0/22".parse().unwrap();

        assert_eq!(decode(&[22, 10, 77, 63]), Some(vec![prefix]));
        let dirty = Ipv4Net::new(Ipv4Addr::new(10, 77, 63, 1), 22).unwrap();
        assert_eq!(encode(&[dirty]), [22, 10, 77, 60]);
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
            assert_eq!(decode(field), None, "{field:?}");
        }
    }

    #[test]
    fn split_fields_fill_the_room() {
        let prefixes: Vec<Ipv4Net> = (0..7_u32)
            .map(|host| Ipv4Net::new(Ipv4Addr::from(host), 32).unwrap())
            .collect();

        let fields = encode_split(&prefixes, 16);

        assert_eq!(fields.iter().map(Vec::len).collect::<Vec<_>>(), [15, 15, 5]);
        assert_eq!(decode(&fields.concat()), Some(prefixes));
    }
}
