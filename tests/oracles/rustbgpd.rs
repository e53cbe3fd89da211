//! `rustbgpd-wire`: RFC 7606 dispositions of its own, the closest of the three.

use ::bytes::{Bytes, BytesMut};
use rustbgpd_wire::validate::validate_update_attributes;
use rustbgpd_wire::{
    DecodeError, ErrorDisposition, Ipv4UnicastMode, MAX_MESSAGE_LEN, Message, PathAttribute,
    UpdateMessage, decode_message, encode_message,
};

use crate::reading::{Class, Fault, Reading, label};

/// Reads a message on an internal session.
pub(crate) fn read(message: &[u8], four_octet_as: bool) -> Reading {
    let mut rest = Bytes::copy_from_slice(message);
    match decode_message(&mut rest, MAX_MESSAGE_LEN) {
        Ok(_) if !rest.is_empty() => Reading::reset("bytes after the message".into(), None),
        Ok(Message::Update(update)) => read_update(&update, four_octet_as),
        Ok(other) => Reading {
            faults: Vec::new(),
            understood: encode_message(&other).ok().map(|message| message.to_vec()),
            notification: None,
        },
        Err(error) => reset(&error),
    }
}

fn read_update(update: &UpdateMessage, four_octet_as: bool) -> Reading {
    let parsed = match update.parse_revised(four_octet_as, true, false, &[]) {
        Ok(parsed) => parsed,
        Err(error) => return reset(&error),
    };
    let mut faults: Vec<Fault> = parsed
        .malformed
        .iter()
        .map(|malformed| Fault {
            class: class(malformed.disposition),
            kind: malformed.type_code,
            label: label(&malformed.error.to_string()),
        })
        .collect();
    let update = parsed.update;
    let reach = |attribute: &PathAttribute| matches!(attribute, PathAttribute::MpReachNlri(_));
    let in_body = !update.announced.is_empty();
    let routes = in_body || update.attributes.iter().any(reach);
    if let Err(error) = validate_update_attributes(&update.attributes, routes, in_body, false) {
        faults.push(Fault {
            class: class(error.disposition),
            kind: 0,
            label: format!("validation subcode {}", error.subcode),
        });
    }
    let encoded = UpdateMessage::try_build(
        &update.announced,
        &update.withdrawn,
        &update.attributes,
        four_octet_as,
        false,
        Ipv4UnicastMode::Body,
    );
    let mut message = BytesMut::new();
    let understood = encoded
        .ok()
        .and_then(|update| update.encode(&mut message).ok())
        .map(|()| message.to_vec());
    Reading {
        faults,
        understood,
        notification: None,
    }
}

fn class(disposition: ErrorDisposition) -> Class {
    match disposition {
        ErrorDisposition::AttributeDiscard => Class::Accepted,
        ErrorDisposition::TreatAsWithdraw => Class::Withdrawn,
        ErrorDisposition::SessionReset => Class::Reset,
    }
}

fn reset(error: &DecodeError) -> Reading {
    let (code, _, _) = error.to_notification();
    Reading::reset(label(&error.to_string()), Some(code.as_u8()))
}
