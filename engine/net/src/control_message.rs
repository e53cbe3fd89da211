//! Ancillary data of sendmsg and recvmsg (cmsg(3)), written and read without pointers.
//!
//! The kernel's layout is a header {length: size_t, level: int, type: int}, the value, and padding to the size of a
//! word, on every libc. Malformed input ends the iteration; it never panics.

use std::mem::size_of;
use std::net::IpAddr;

/// Bytes of room per message: enough for a source and two small values to send, an interface and three to receive.
pub(crate) const CAPACITY: usize = 128;

const HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();

/// Holds the ancillary data of one message, aligned as the kernel expects it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control {
    pub(crate) bytes: [u8; CAPACITY],
}

impl Control {
    /// Makes an empty one.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; CAPACITY],
        }
    }

    /// Writes one value behind the first `used` bytes and returns the new length; too little room writes nothing.
    pub(crate) fn push(&mut self, used: usize, level: i32, kind: i32, value: &[u8]) -> usize {
        let end = used + align(HEADER + value.len());
        let Some(room) = self.bytes.get_mut(used..end) else {
            return used;
        };
        room.fill(0);
        let (length, rest) = room.split_at_mut(size_of::<usize>());
        length.copy_from_slice(&(HEADER + value.len()).to_ne_bytes());
        rest[..4].copy_from_slice(&level.to_ne_bytes());
        rest[4..8].copy_from_slice(&kind.to_ne_bytes());
        rest[8..8 + value.len()].copy_from_slice(value);
        end
    }

    /// Like [`Self::push`], for the source address of the packet (IP_PKTINFO, RFC 3542 section 6.2).
    pub(crate) fn push_source(&mut self, used: usize, source: IpAddr) -> usize {
        match source {
            // Interface, source, destination: 0 leaves the way to the route.
            IpAddr::V4(source) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&source.octets());
                self.push(used, libc::SOL_IP, libc::IP_PKTINFO, &info)
            }
            // Source, interface.
            IpAddr::V6(source) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&source.octets());
                self.push(used, libc::SOL_IPV6, libc::IPV6_PKTINFO, &info)
            }
        }
    }
}

/// Walks over received ancillary data and yields (level, type, value).
pub(crate) fn iterate(mut data: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from_ne_bytes(data.first_chunk().copied()?);
        let message = data.get(..length)?;
        let level = i32::from_ne_bytes(message.get(HEADER - 8..HEADER - 4)?.try_into().ok()?);
        let kind = i32::from_ne_bytes(message.get(HEADER - 4..HEADER)?.try_into().ok()?);
        data = data.get(align(length)..).unwrap_or_default();
        Some((level, kind, &message[HEADER..]))
    })
}

/// Reads by which interface a packet came, out of the value that says so.
pub(crate) fn interface(level: i32, kind: i32, value: &[u8]) -> Option<u32> {
    let at = match (level, kind) {
        (libc::SOL_IP, libc::IP_PKTINFO) => 0,
        (libc::SOL_IPV6, libc::IPV6_PKTINFO) => 16,
        _ => return None,
    };
    let index = value.get(at..)?.first_chunk().copied()?;
    Some(u32::from_ne_bytes(index))
}

/// Reads an `int` value; some options carry one byte instead.
pub(crate) fn integer(value: &[u8]) -> Option<i32> {
    match value {
        [byte] => Some(i32::from(*byte)),
        _ => value.first_chunk().copied().map(i32::from_ne_bytes),
    }
}

const fn align(length: usize) -> usize {
    length.next_multiple_of(size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read_back_in_order() {
        let mut control = Control::new();
        let used = control.push(0, libc::SOL_UDP, libc::UDP_SEGMENT, &1400u16.to_ne_bytes());
        let used = control.push(used, libc::SOL_IP, libc::IP_TOS, &[3]);
        let read: Vec<_> = iterate(&control.bytes[..used]).collect();
        let segment = 1400u16.to_ne_bytes();
        assert_eq!(
            read,
            [
                (libc::SOL_UDP, libc::UDP_SEGMENT, &segment[..]),
                (libc::SOL_IP, libc::IP_TOS, &[3][..])
            ]
        );
    }

    #[test]
    fn the_layout_is_that_of_the_c_library() {
        let mut control = Control::new();
        let used = control.push(0, 1, 2, &[9, 9, 9, 9]);
        // SAFETY: both functions compute sizes only.
        let (length, space) = unsafe { (libc::CMSG_LEN(4), libc::CMSG_SPACE(4)) };
        assert_eq!(used, space as usize);
        assert_eq!(
            usize::from_ne_bytes(control.bytes[..8].try_into().unwrap()),
            length as usize
        );
    }

    #[test]
    fn a_value_without_room_is_left_out() {
        let mut control = Control::new();
        assert_eq!(control.push(CAPACITY - 8, 1, 2, &[0; 4]), CAPACITY - 8);
    }

    #[test]
    fn integers_of_one_and_of_four_bytes_are_read() {
        assert_eq!(integer(&[7]), Some(7));
        assert_eq!(integer(&9i32.to_ne_bytes()), Some(9));
        assert_eq!(integer(&[1, 2]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end_the_walk(data in proptest::collection::vec(0u8.., 0..200)) {
            assert!(iterate(&data).count() <= data.len());
        }
    }
}
