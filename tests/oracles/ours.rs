//! Our own codec.

use sam_bgp::wire::{DecodeContext, Disposition, Message};

use crate::reading::{Class, Fault, Reading};

/// Reads a message on an internal session.
pub(crate) fn read(message: &[u8], four_octet_as: bool) -> Reading {
    let context = DecodeContext {
        four_octet_as,
        ibgp: true,
        add_path: false,
        extended: false,
        ipv6: None,
    };
    let decoded = match Message::decode(message, context) {
        Ok(decoded) => decoded,
        Err(error) => {
            return Reading::reset(error.reason.to_owned(), Some(error.notification.code));
        }
    };
    let faults = match &decoded {
        Message::Update(update) => update.faults.as_slice(),
        Message::Ipv6Update(update) => update.ipv6.faults.as_slice(),
        Message::Open(_)
        | Message::Notification(_)
        | Message::Keepalive
        | Message::RouteRefresh(_) => &[],
    };
    let faults = faults.iter().map(|fault| Fault {
        class: match fault.disposition {
            Disposition::AttributeDiscard => Class::Accepted,
            Disposition::TreatAsWithdraw => Class::Withdrawn,
        },
        kind: fault.kind,
        label: fault.reason.to_owned(),
    });
    Reading {
        faults: faults.collect(),
        understood: Some(decoded.encode(context)),
        notification: None,
    }
}
