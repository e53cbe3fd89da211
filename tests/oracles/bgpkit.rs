//! `bgpkit-parser`: made for archives of messages, so it warns where a session must act.
//!
//! Which warning means what is left to its user; here as RFC 7606 has it.

use ::bytes::Bytes;
use bgpkit_parser::error::BgpValidationWarning as Warning;
use bgpkit_parser::models::{AsnLength, AttrType, BgpMessage};
use bgpkit_parser::parser::bgp::messages::parse_bgp_message;

use crate::reading::{Class, Fault, Reading, label, variants};

/// Reads a message.
pub(crate) fn read(message: &[u8], four_octet_as: bool) -> Reading {
    let asn_len = if four_octet_as {
        AsnLength::Bits32
    } else {
        AsnLength::Bits16
    };
    let mut rest = Bytes::copy_from_slice(message);
    let decoded = match parse_bgp_message(&mut rest, false, &asn_len) {
        Ok(_) if !rest.is_empty() => return Reading::reset("bytes after the message".into(), None),
        Ok(decoded) => decoded,
        Err(error) => return Reading::reset(label(&error.to_string()), None),
    };
    let warnings = match &decoded {
        BgpMessage::Update(update) => update.attributes.validation_warnings(),
        _ => &[],
    };
    Reading {
        faults: warnings.iter().map(fault).collect(),
        understood: decoded.encode(asn_len).ok().map(|message| message.to_vec()),
        notification: None,
    }
}

fn fault(warning: &Warning) -> Fault {
    let kind = match warning {
        Warning::AttributeFlagsError { attr_type, .. }
        | Warning::AttributeLengthError { attr_type, .. }
        | Warning::MissingWellKnownAttribute { attr_type }
        | Warning::OptionalAttributeError { attr_type, .. }
        | Warning::DuplicateAttribute { attr_type }
        | Warning::PartialAttributeError { attr_type, .. } => Some(*attr_type),
        _ => None,
    };
    let discarded = matches!(
        kind,
        Some(AttrType::ATOMIC_AGGREGATE | AttrType::AGGREGATOR)
    ) && !matches!(warning, Warning::AttributeFlagsError { .. });
    let class = match warning {
        Warning::MalformedNlri { .. } | Warning::InvalidNetworkField { .. } => Class::Reset,
        Warning::DuplicateAttribute { .. } => Class::Accepted,
        _ if discarded => Class::Accepted,
        _ => Class::Withdrawn,
    };
    let name = variants(&format!("{warning:?}"));
    Fault {
        class,
        kind: kind.map_or(0, u8::from),
        label: name,
    }
}
