//! `netgauze-bgp-pkt`: accepts a message or refuses the whole of it.

use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::notification::BgpNotificationMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;

use crate::reading::{Reading, variants};

/// Reads a message.
pub(crate) fn read(message: &[u8], four_octet_as: bool) -> Reading {
    let mut context = BgpParsingContext::default();
    context.set_asn4(four_octet_as);
    let mut rest = SliceReader::new(message);
    match BgpMessage::parse(&mut rest, &mut context) {
        Ok(_) if !rest.is_empty() => Reading::reset("bytes after the message".into(), None),
        Ok(decoded) => Reading {
            faults: Vec::new(),
            understood: written(&decoded),
            notification: None,
        },
        Err(error) => {
            let label = variants(&format!("{error:?}"));
            let label = label.replace("BgpUpdateMessageParsingError PathAttributeError ", "");
            let notification = BgpMessage::Notification(BgpNotificationMessage::from(error));
            let notification = written(&notification);
            Reading::reset(
                label,
                notification.and_then(|message| message.get(19).copied()),
            )
        }
    }
}

fn written(message: &BgpMessage) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    message.write(&mut bytes).ok().map(|()| bytes)
}
