//! What a BGP message says, byte by byte, and what this router would make of it: `samctl bgp decode`.
//!
//! The verdict and the meaning are those of the router's own decoder, which is strict (RFC 4271 section 6, RFC 7606).
//! The list of fields comes from bgpkit-parser, which walks as far as it can and judges nothing. Its parser of whole
//! messages is not used: it guesses ADD-PATH from the bytes and survives what must end a session. Here an OPEN among the
//! messages says it (RFC 7911 section 4), or whoever asks.

use std::fmt;

use bgpkit_parser::models::{AsnLength, DissectionNode};
use bgpkit_parser::parser::bgp::dissect::dissect_bgp_message;
use ipnet::IpNet;
use sam_bgp::wire::{
    AddPathDirection, AttributeFault, DecodeContext, DecodeError, Disposition, Family, HEADER_LEN,
    Ipv6Context, Ipv6Update, Message, Nlri, Open, PathId, Prefix, Update, frame,
};
use sam_router::view::{AttributesView, NotificationView};
use serde::Serialize;

/// All messages of a piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecodeView {
    /// In order; after one that cannot be framed there are no more.
    pub messages: Vec<MessageView>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageView {
    /// Where it begins.
    pub offset: usize,
    /// Its bytes, as far as they are there.
    pub length: usize,
    /// Its type: open, update, notification, keepalive, route-refresh, unknown.
    pub kind: String,
    /// What this router would do with it.
    pub verdict: Verdict,
    /// What is wrong with it, if something is.
    pub reason: Option<String>,
    /// How a refused message is answered.
    pub answer: Option<NotificationView>,
    /// What is malformed but survived.
    pub faults: Vec<FaultView>,
    /// Routes that it withdraws, those included that a fault makes it withdraw.
    pub withdrawn: Vec<DecodedRoute>,
    /// Routes that it announces.
    pub announced: Vec<DecodedRoute>,
    /// Their attributes.
    pub attributes: Option<AttributesView>,
    /// What a NOTIFICATION says.
    pub notification: Option<NotificationView>,
    /// Its fields.
    pub fields: Vec<FieldView>,
}

/// A prefix, and which path to it (RFC 7911).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DecodedRoute {
    /// Destination.
    pub prefix: IpNet,
    /// Path identifier, where routes have some.
    pub path_id: Option<u32>,
}

/// What this router would do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Take it as it is.
    Accepted,
    /// Mend or withdraw what is malformed, and go on (RFC 7606).
    Survived,
    /// Answer with a NOTIFICATION and end the session.
    Refused,
    /// Wait for the rest of it.
    Incomplete,
}

/// A malformed attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultView {
    /// Attribute type code; 0 for the list as a whole.
    pub kind: u8,
    /// What is wrong.
    pub reason: String,
    /// What is done: attribute-discard, treat-as-withdraw.
    pub disposition: String,
}

/// A field and those within it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldView {
    /// Where it begins.
    pub offset: usize,
    /// How many bytes it has.
    pub length: usize,
    /// Name and value.
    pub text: String,
    /// Its parts.
    pub fields: Vec<FieldView>,
}

/// Takes apart whatever messages `bytes` hold. Routes have path identifiers by `context`, or behind OPENs that offer them.
#[must_use]
pub fn decode(bytes: &[u8], context: DecodeContext) -> DecodeView {
    let mut messages = Vec::new();
    let mut offers = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let add_path = context.add_path || are_identified(&offers, Family::Ipv4Unicast);
        let ipv6 = context.ipv6.map(|ipv6| Ipv6Context {
            add_path: ipv6.add_path || are_identified(&offers, Family::Ipv6Unicast),
        });
        let (view, more) = message(
            rest,
            at,
            DecodeContext {
                add_path,
                ipv6,
                ..context
            },
        );
        offers.extend(offer(rest, context));
        at += view.length;
        messages.push(view);
        if !more {
            break;
        }
    }
    DecodeView { messages }
}

/// The OPEN at the front of `rest`, if one is there.
fn offer(rest: &[u8], context: DecodeContext) -> Option<Open> {
    let length = frame(rest, context).ok().flatten()?;
    let Ok(Message::Open(open)) = Message::decode(rest.get(..length)?, context) else {
        return None;
    };
    Some(open)
}

/// Tells whether routes have path identifiers after these OPENs: of one side, whether it offers to send them; of both,
/// whether what one offers to send the other offers to receive.
fn are_identified(offers: &[Open], family: Family) -> bool {
    let sends = |it: &Open| it.add_path(family).is_some_and(AddPathDirection::sends);
    let receives = |it: &Open| it.add_path(family).is_some_and(AddPathDirection::receives);
    match offers {
        [] => false,
        [one] => sends(one),
        [.., one, other] => sends(one) && receives(other) || sends(other) && receives(one),
    }
}

/// Takes one message apart, and tells whether the next one can be found.
fn message(rest: &[u8], offset: usize, context: DecodeContext) -> (MessageView, bool) {
    let framed = frame(rest, context);
    let length = match framed {
        Ok(Some(length)) => length,
        Ok(None) | Err(_) => rest.len(),
    };
    let whole = matches!(framed, Ok(Some(_)));
    let bytes = &rest[..length];
    let mut view = MessageView::new(bytes, offset, context);
    match framed {
        Err(error) => view.refuse(&error),
        Ok(None) => {
            view.verdict = Verdict::Incomplete;
            view.reason = Some(format!("{} bytes are not a whole message", rest.len()));
        }
        Ok(Some(_)) => match Message::decode(bytes, context) {
            Err(error) => view.refuse(&error),
            Ok(Message::Update(update)) => view.take_update(update),
            Ok(Message::Ipv6Update(update)) => {
                let Ipv6Update { ipv4, ipv6 } = *update;
                view.take_update(ipv6);
                if let Some(ipv4) = ipv4 {
                    view.take_update(ipv4);
                }
            }
            Ok(Message::Notification(told)) => view.notification = Some((&told).into()),
            Ok(Message::Open(_) | Message::Keepalive | Message::RouteRefresh(_)) => {}
        },
    }
    (view, whole)
}

impl MessageView {
    fn new(bytes: &[u8], offset: usize, context: DecodeContext) -> Self {
        let width = if context.four_octet_as {
            AsnLength::Bits32
        } else {
            AsnLength::Bits16
        };
        let tree = dissect_bgp_message(bytes, &width, context.add_path);
        Self {
            offset,
            length: bytes.len(),
            kind: kind(bytes).into(),
            verdict: Verdict::Accepted,
            reason: None,
            answer: None,
            faults: Vec::new(),
            withdrawn: Vec::new(),
            announced: Vec::new(),
            attributes: None,
            notification: None,
            fields: fields(tree.children, offset),
        }
    }

    fn refuse(&mut self, error: &DecodeError) {
        self.verdict = Verdict::Refused;
        self.reason = Some(error.reason.into());
        self.answer = Some((&error.notification).into());
    }

    /// Takes what it says of one family.
    fn take_update<N: Prefix>(&mut self, update: Update<N>) {
        if let Some(first) = update.faults.first() {
            self.verdict = Verdict::Survived;
            self.reason = Some(first.reason.into());
        }
        self.faults.extend(update.faults.iter().map(fault));
        let routes = |routes: Vec<Nlri<N>>| routes.into_iter().map(DecodedRoute::from);
        self.withdrawn.extend(routes(update.withdrawn));
        self.announced.extend(routes(update.announced));
        let attributes = update.attributes.as_ref().map(AttributesView::from);
        self.attributes = self.attributes.take().or(attributes);
    }
}

impl<N: Prefix> From<Nlri<N>> for DecodedRoute {
    fn from(route: Nlri<N>) -> Self {
        Self {
            prefix: route.prefix.into(),
            path_id: route.path_id.map(|PathId(id)| id),
        }
    }
}

impl fmt::Display for DecodedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path_id {
            Some(id) => write!(f, "{} id {id}", self.prefix),
            None => self.prefix.fmt(f),
        }
    }
}

fn kind(bytes: &[u8]) -> &'static str {
    match bytes.get(HEADER_LEN - 1) {
        Some(1) => "open",
        Some(2) => "update",
        Some(3) => "notification",
        Some(4) => "keepalive",
        Some(5) => "route-refresh",
        _ => "unknown",
    }
}

fn fault(fault: &AttributeFault) -> FaultView {
    let disposition = match fault.disposition {
        Disposition::AttributeDiscard => "attribute-discard",
        Disposition::TreatAsWithdraw => "treat-as-withdraw",
    };
    FaultView {
        kind: fault.kind,
        reason: fault.reason.into(),
        disposition: disposition.into(),
    }
}

/// The tree is as deep as the grammar of messages: message, section, attribute, value, entry.
fn fields(nodes: Vec<DissectionNode>, base: usize) -> Vec<FieldView> {
    let field = |node: DissectionNode| FieldView {
        offset: base + usize::try_from(node.offset).unwrap_or(usize::MAX - base),
        length: usize::try_from(node.length).unwrap_or(usize::MAX),
        text: node.label.chars().map(printable).collect(),
        fields: fields(node.children, base),
    };
    nodes.into_iter().map(field).collect()
}

/// Texts of the far end, such as host names, reach the terminal without control characters.
fn printable(c: char) -> char {
    if c.is_control() { '.' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::Ipv4Net;
    use proptest::prelude::*;
    use sam_bgp::PathAttributes;
    use sam_bgp::wire::{AddPathFamily, Capability};

    const CONTEXT: DecodeContext = DecodeContext {
        four_octet_as: true,
        ibgp: true,
        add_path: false,
        extended: false,
        ipv6: None,
    };

    #[test]
    fn a_default_route_that_comes_first_is_no_path_identifier() {
        let prefixes = ["0.0.0.0/0", "10.77.0.0/16", "10.0.0.0/8", "10.77.60.11/32"];
        let bytes = update(&prefixes);

        let view = decode(&bytes, CONTEXT);

        let announced: Vec<String> = view.messages[0]
            .announced
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(announced, prefixes);
        assert_eq!(view.messages[0].verdict, Verdict::Accepted);
        let texts = leaves(&view.messages[0].fields);
        for prefix in prefixes {
            assert!(
                texts.iter().any(|text| text.contains(prefix)),
                "{prefix} in {texts:?}"
            );
        }
    }

    /// RFC 7911 section 4.
    #[test]
    fn path_identifiers_are_read_where_an_open_or_the_reader_says_so() {
        let identified = DecodeContext {
            add_path: true,
            ..CONTEXT
        };
        let route = DecodedRoute {
            prefix: "10.77.60.11/32".parse().expect("a prefix"),
            path_id: Some(7),
        };
        let update = Message::Update(Update {
            announced: vec![Nlri {
                prefix: "10.77.60.11/32".parse::<Ipv4Net>().expect("a prefix"),
                path_id: Some(PathId(7)),
            }],
            attributes: Some(PathAttributes::local([10, 99, 0, 2].into())),
            ..Update::default()
        });
        let update = update.encode(identified);
        assert_eq!(decode(&update, identified).messages[0].announced, [route]);
        assert_ne!(decode(&update, CONTEXT).messages[0].announced, [route]);
        use AddPathDirection::{Both, Receive, Send};
        for (offers, agreed) in [
            (&[Some(Both)][..], true),
            (&[Some(Send)], true),
            (&[Some(Receive)], false),
            (&[None], false),
            (&[Some(Both), Some(Both)], true),
            (&[Some(Send), Some(Receive)], true),
            (&[Some(Receive), Some(Send)], true),
            (&[Some(Send), Some(Send)], false),
            (&[Some(Both), None], false),
        ] {
            let opens = offers.iter().map(|offer| open(*offer));
            let stream: Vec<u8> = opens.chain([update.clone()]).flatten().collect();
            let view = decode(&stream, CONTEXT);
            let last = view.messages.last().expect("messages");
            assert_eq!(last.announced == [route], agreed, "{offers:?}: {last:?}");
        }
        let texts = leaves(&decode(&update, identified).messages[0].fields);
        assert!(
            texts.iter().any(|text| text.contains("10.77.60.11/32")),
            "{texts:?}"
        );
    }

    #[test]
    fn an_attribute_that_overruns_the_list_is_treated_as_withdrawal() {
        let mut bytes = update(&["10.0.0.0/8"]);
        let origin = HEADER_LEN + 4;
        bytes[origin + 2] = 200;

        let view = decode(&bytes, CONTEXT);

        let message = &view.messages[0];
        assert_eq!(message.verdict, Verdict::Survived);
        assert_eq!(message.faults[0].disposition, "treat-as-withdraw");
        assert_eq!((message.announced.len(), message.withdrawn.len()), (0, 1));
    }

    #[test]
    fn a_wrong_marker_is_refused_with_the_answer_and_ends_the_list() {
        let mut bytes = update(&["10.0.0.0/8"]);
        let whole = bytes.len();
        bytes.extend(update(&["10.0.0.0/8"]));
        bytes[whole] = 0;

        let view = decode(&bytes, CONTEXT);

        let verdicts: Vec<Verdict> = view
            .messages
            .iter()
            .map(|message| message.verdict)
            .collect();
        assert_eq!(verdicts, [Verdict::Accepted, Verdict::Refused]);
        let answer = view.messages[1].answer.as_ref().expect("an answer");
        assert_eq!((answer.code, answer.subcode), (1, 1));
        assert_eq!(view.messages[1].offset, whole);
    }

    #[test]
    fn a_message_that_breaks_off_is_incomplete() {
        let bytes = update(&["10.0.0.0/8"]);
        let view = decode(&bytes[..bytes.len() - 1], CONTEXT);
        assert_eq!(view.messages[0].verdict, Verdict::Incomplete);
        assert_eq!(decode(&[], CONTEXT).messages, []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over_and_all_are_accounted_for(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = update(&["0.0.0.0/0", "10.77.60.11/32"]);
            bytes.extend(update(&["10.0.0.0/8"]));
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let view = decode(&bytes, CONTEXT);
            let total: usize = view.messages.iter().map(|message| message.length).sum();
            prop_assert_eq!(total, bytes.len());
        }
    }

    fn open(offer: Option<AddPathDirection>) -> Vec<u8> {
        let family = |direction| AddPathFamily {
            afi: 1,
            safi: 1,
            direction,
        };
        let offer = offer.map(|direction| Capability::AddPath(vec![family(direction)]));
        let open = Open {
            asn: 64_577,
            hold_time_s: 9,
            router_id: [10, 99, 0, 2].into(),
            capabilities: offer.into_iter().collect(),
        };
        Message::Open(open).encode(CONTEXT)
    }

    fn update(prefixes: &[&str]) -> Vec<u8> {
        let update = Update {
            announced: prefixes
                .iter()
                .map(|text| text.parse::<Ipv4Net>().expect("a prefix").into())
                .collect(),
            attributes: Some(PathAttributes::local([10, 99, 0, 2].into())),
            ..Update::default()
        };
        Message::Update(update).encode(CONTEXT)
    }

    fn leaves(fields: &[FieldView]) -> Vec<String> {
        let texts = fields.iter().flat_map(|field| {
            let inner = leaves(&field.fields);
            std::iter::once(field.text.clone()).chain(inner)
        });
        texts.collect()
    }
}
