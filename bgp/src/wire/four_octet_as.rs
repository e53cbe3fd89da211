//! AS numbers of four octets beyond peers that know two only (RFC 6793 sections 4.2.2 and 4.2.3).
//!
//! Such a peer is told AS_TRANS in place of what it cannot read, and the truth in AS4_PATH and AS4_AGGREGATOR, which it
//! passes on unread. So what it did to the path itself is in AS_PATH only: here both are put together again.

use super::attributes::AsPathSegment;

/// Stands for an AS number that does not fit two octets.
pub(crate) const AS_TRANS: u16 = 23456;

/// Tells whether a path does not fit two octets.
pub(super) fn is_needed(path: &[AsPathSegment]) -> bool {
    let mut numbers = path.iter().flat_map(|segment| &segment.0);
    numbers.any(|asn| u16::try_from(*asn).is_err())
}

/// Puts in front of `as4_path` what AS_PATH has more; `None` when it has less, for then AS4_PATH belongs to another path.
pub(super) fn restored(
    as_path: &[AsPathSegment],
    as4_path: Vec<AsPathSegment>,
) -> Option<Vec<AsPathSegment>> {
    let mut leading = hops(as_path).checked_sub(hops(&as4_path))?;
    let mut path = Vec::new();
    for segment in as_path {
        let taken: Vec<u32> = segment.0.iter().copied().take(leading).collect();
        if taken.is_empty() {
            break;
        }
        leading -= taken.len();
        path.push(AsPathSegment(taken));
    }
    path.extend(as4_path);
    Some(path)
}

/// Returns the bytes of a path for a two-octet peer: AS_PATH and, if needed, AS4_PATH, each behind a header of so many.
pub(super) fn encoded_len(path: &[AsPathSegment], header: usize) -> usize {
    let in_octets = |octets: usize| -> usize {
        let segments = path.iter();
        segments.map(|segment| 2 + octets * segment.0.len()).sum()
    };
    let as4_path = is_needed(path).then(|| header + in_octets(4));
    header + in_octets(2) + as4_path.unwrap_or(0)
}

fn hops(path: &[AsPathSegment]) -> usize {
    path.iter().map(|segment| segment.0.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_as_path_has_more_goes_in_front_segment_by_segment() {
        for (as_path, as4_path, expected) in [
            (
                &[&[1, 2, 3][..]][..],
                &[&[70002, 70003][..]][..],
                Some(&[&[1][..], &[70002, 70003]][..]),
            ),
            (&[&[1, 2], &[3]], &[&[70003]], Some(&[&[1, 2], &[70003]])),
            (
                &[&[1, 2], &[3]],
                &[&[70002, 70003]],
                Some(&[&[1], &[70002, 70003]]),
            ),
            (
                &[&[1, 2]],
                &[&[70001], &[70002]],
                Some(&[&[70001], &[70002]]),
            ),
            (&[&[1, 2]], &[], Some(&[&[1, 2]])),
            (&[], &[], Some(&[])),
            (&[&[1]], &[&[70001, 70002]], None),
        ] {
            let restored = restored(&path(as_path), path(as4_path));
            assert_eq!(restored, expected.map(path), "{as_path:?} {as4_path:?}");
        }
    }

    fn path(segments: &[&[u32]]) -> Vec<AsPathSegment> {
        let segments = segments.iter();
        segments
            .map(|numbers| AsPathSegment(numbers.to_vec()))
            .collect()
    }
}
