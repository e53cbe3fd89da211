//! BGP messages on the wire (RFC 4271 section 4 and the RFCs named at each part).
//!
//! No function here panics, whatever the bytes. Decoding an UPDATE follows RFC 7606: what can be survived is
//! reported in the decoded [`Update`], only what must reset the session is a [`DecodeError`].

mod attribute_decoder;
mod attribute_encoder;
mod attribute_kind;
mod attribute_value;
mod attributes;
mod capability;
mod community;
mod error;
mod family;
mod four_octet_as;
mod graceful_restart;
mod header;
mod nlri;
mod notification;
mod open;
mod reader;
mod route_refresh;
mod update;

pub use attributes::{Aggregator, AsPathSegment, Origin, PathAttributes, RawAttribute};
pub use capability::{AddPathDirection, AddPathFamily, Capability};
pub use community::{Community, LargeCommunity, ParseCommunityError};
pub use error::DecodeError;
pub use family::{Family, Prefix};
pub use graceful_restart::{GracefulRestart, RESTART_TIME_MAX_S, RestartFamily};
pub use header::{HEADER_LEN, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, MessageType, frame};
pub use nlri::{Nlri, PathId};
pub use notification::{Notification, code, subcode};
pub use open::Open;
pub use route_refresh::RouteRefresh;
pub use update::{AttributeFault, Disposition, Ipv6Update, Update};

pub(crate) use attribute_encoder::abbreviated_reach;
pub(crate) use four_octet_as::AS_TRANS;

/// One BGP message.
#[expect(
    clippy::large_enum_variant,
    reason = "a message is taken apart where it was decoded, and most are UPDATEs"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 section 4.2.
    Open(Open),
    /// RFC 4271 section 4.3: routes of IPv4 unicast.
    Update(Update),
    /// RFC 4760: routes of IPv6 unicast, which were negotiated.
    Ipv6Update(Box<Ipv6Update>),
    /// RFC 4271 section 4.5.
    Notification(Notification),
    /// RFC 4271 section 4.4.
    Keepalive,
    /// RFC 2918, RFC 7313.
    RouteRefresh(RouteRefresh),
}

/// What the session negotiated, as far as it changes the meaning of bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeContext {
    /// Four-octet AS numbers in AS_PATH and AGGREGATOR (RFC 6793).
    pub four_octet_as: bool,
    /// The session is internal (LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST are meaningful).
    pub ibgp: bool,
    /// Prefixes of IPv4 unicast stand behind path identifiers (RFC 7911).
    pub add_path: bool,
    /// Messages may be longer than [`MAX_MESSAGE_LEN`] (RFC 8654).
    pub extended: bool,
    /// IPv6 unicast, where it was negotiated (RFC 4760); without it its routes are dropped with a fault.
    pub ipv6: Option<Ipv6Context>,
}

/// What was negotiated for IPv6 unicast in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Context {
    /// Prefixes stand behind path identifiers (RFC 7911).
    pub add_path: bool,
}

impl DecodeContext {
    /// Tells whether prefixes of a family stand behind path identifiers.
    #[must_use]
    pub fn add_path_of(self, family: Family) -> bool {
        match family {
            Family::Ipv4Unicast => self.add_path,
            Family::Ipv6Unicast => self.ipv6.is_some_and(|ipv6| ipv6.add_path),
        }
    }
}

impl Message {
    /// Decodes one whole message, header included, as [`frame`] delivers it.
    ///
    /// # Errors
    /// What must be answered with a NOTIFICATION and the end of the session.
    pub fn decode(message: &[u8], context: DecodeContext) -> Result<Self, DecodeError> {
        let (kind, body) = header::split(message, context.extended)?;
        match kind {
            MessageType::Open => Open::decode(body).map(Self::Open),
            MessageType::Update => update::decode(body, context),
            MessageType::Notification => Ok(Self::Notification(Notification::decode(body))),
            MessageType::Keepalive => Ok(Self::Keepalive),
            MessageType::RouteRefresh => {
                RouteRefresh::decode(body, message).map(Self::RouteRefresh)
            }
        }
    }

    /// Lists what was malformed in it but survived (RFC 7606).
    #[must_use]
    pub fn faults(&self) -> &[AttributeFault] {
        match self {
            Self::Update(update) => &update.faults,
            Self::Ipv6Update(update) => &update.ipv6.faults,
            Self::Open(_) | Self::Notification(_) | Self::Keepalive | Self::RouteRefresh(_) => &[],
        }
    }

    /// Encodes the message, header included. An UPDATE beyond the longest message becomes several
    /// messages in a row, those of [`Update::encode_split`].
    #[must_use]
    pub fn encode(&self, context: DecodeContext) -> Vec<u8> {
        match self {
            Self::Open(open) => open.encode(),
            Self::Update(update) => update.encode(context),
            Self::Ipv6Update(update) => update.encode(context),
            Self::Notification(notification) => notification.encode(),
            Self::Keepalive => header::encode_message(MessageType::Keepalive, |_| {}),
            Self::RouteRefresh(refresh) => refresh.encode(),
        }
    }
}
