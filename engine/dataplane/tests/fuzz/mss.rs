//! Arbitrary TCP options: the clamp keeps the packet valid, never raises a value, and changes nothing else.

use sam_dataplane::packet::checksum::{Sum, pseudo_header};
use sam_dataplane::packet::classify;
use sam_dataplane::packet::ipv4::{Ipv4Header, TCP};
use sam_dataplane::{Checksum, mss};

pub(crate) fn check(data: &[u8]) {
    let Some((&[flags, high, low, sequence], options)) = data.split_first_chunk() else {
        return;
    };
    let before = syn(
        flags | 0x02,
        sequence,
        &options[..options.len().min(40) & !3],
    );
    let classified = classify(&before).expect("built with care");
    let mut after = before.clone();
    let max = u16::from_be_bytes([high, low]);
    let changed = mss::clamp(&mut after, &classified, max, Checksum::Complete);
    assert_eq!(changed, before != after);
    assert!(l4_sum(&after[20..]).is_intact());
    let different: Vec<_> = (40..before.len())
        .filter(|&at| before[at] != after[at])
        .collect();
    assert!(different.len() <= 2 && different.last().is_none_or(|last| last - different[0] <= 1));
    assert_eq!(before[..36], after[..36]);
    assert!(
        !mss::clamp(&mut after, &classified, max, Checksum::Complete),
        "once is enough"
    );
    if changed {
        let words = |packet: &[u8]| {
            packet[40..]
                .windows(2)
                .map(|word| [word[0], word[1]])
                .collect::<Vec<_>>()
        };
        let lowered = words(&before)
            .into_iter()
            .zip(words(&after))
            .any(|(old, new)| old > new && new == [high, low]);
        assert!(lowered);
    }
}

fn syn(flags: u8, sequence: u8, options: &[u8]) -> Vec<u8> {
    let data_offset = u8::try_from(options.len() / 4).expect("at most ten words") + 5;
    let mut l4 = vec![
        0x9c,
        0x40,
        0,
        80,
        0,
        0,
        0,
        sequence,
        0,
        0,
        0,
        0,
        data_offset << 4,
        flags,
    ];
    l4.extend([4, 0, 0, 0, 0, 0]);
    l4.extend(options);
    let sum = l4_sum(&l4).checksum();
    l4[16..18].copy_from_slice(&sum.to_be_bytes());
    let header = Ipv4Header {
        tos: 0,
        total: u16::try_from(20 + l4.len()).expect("short"),
        id: 1,
        dont_fragment: true,
        ttl: 64,
        protocol: TCP,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
    };
    [&header.emit()[..], &l4].concat()
}

fn l4_sum(l4: &[u8]) -> Sum {
    let length = u16::try_from(l4.len()).expect("short");
    pseudo_header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), TCP, length).plus(Sum::of(l4))
}
