//! As much of DER (X.690) as RSA keys and certificates need.

use std::iter;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const UTF8: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, around a value of its own.
pub(super) const EXPLICIT_0: u8 = 0xa0;

/// Takes an element of this tag off the front: its content, and what follows it.
pub(super) fn read(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(*first),
        0x81 | 0x82 => {
            let (length, after) = rest.split_at_checked(usize::from(first & 0x0f))?;
            rest = after;
            length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}

/// Writes an element of less than 64 KiB.
pub(super) fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let length = match (high, low) {
        (0, 0..=0x7f) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    iter::once(tag)
        .chain(length)
        .chain(content.iter().copied())
        .collect()
}

/// Writes an element around others.
pub(super) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    write(tag, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_short_is_not() {
        for length in [0, 1, 127, 128, 255, 256, 40_000] {
            let content = vec![7; length];
            let mut element = write(SEQUENCE, &content);
            element.push(9);
            assert_eq!(read(&element, SEQUENCE), Some((&content[..], &[9][..])));
            assert_eq!(read(&element, INTEGER), None);
            for end in 0..element.len().min(6) {
                assert!(length + 1 < end || read(&element[..end], SEQUENCE).is_none());
            }
        }
        assert_eq!(read(&[SEQUENCE, 0x84, 0, 0, 0, 0], SEQUENCE), None);
    }
}
