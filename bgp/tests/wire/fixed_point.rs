//! What every message that decodes must fulfil; also the oracle of the fuzz targets.

use sam_bgp::wire::{DecodeContext, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, Message, frame};

/// Decodes `bytes`; on success, encodes the message and decodes it again. The result must be the same
/// message, without the faults, which are not encoded.
///
/// Returns whether the bytes were a message.
pub(crate) fn check(bytes: &[u8], context: DecodeContext) -> bool {
    let Ok(mut first) = Message::decode(bytes, context) else {
        return false;
    };
    let encoded = first.encode(context);
    assert!(
        encoded.len() <= longest(context),
        "{} bytes: {first:?}",
        encoded.len()
    );
    assert_eq!(
        frame(&encoded, context),
        Ok(Some(encoded.len())),
        "{first:?}"
    );
    let second = Message::decode(&encoded, context).expect("encoded messages are valid");

    if let Message::Update(update) = &mut first {
        assert!(
            update.announced.is_empty() || update.attributes.is_some(),
            "{update:?}"
        );
        update.faults.clear();
    }
    if let Message::Ipv6Update(update) = &mut first {
        let ipv6 = &mut update.ipv6;
        assert!(
            ipv6.announced.is_empty() || ipv6.attributes.is_some(),
            "{ipv6:?}"
        );
        ipv6.faults.clear();
    }
    assert_eq!(first, second);
    assert_eq!(second.encode(context), encoded, "the encoding is canonical");
    true
}

/// Frames the start of `stream`. A length that is delivered must be there, and possible.
pub(crate) fn check_frame(stream: &[u8], context: DecodeContext) {
    if let Ok(Some(len)) = frame(stream, context) {
        assert!(
            (19..=stream.len().min(longest(context))).contains(&len),
            "{len}"
        );
    }
}

fn longest(context: DecodeContext) -> usize {
    if context.extended {
        MAX_EXTENDED_MESSAGE_LEN
    } else {
        MAX_MESSAGE_LEN
    }
}
