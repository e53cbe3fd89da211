//! What is shown of peers and routes.
//!
//! Copies without behavior, so that whoever shows them needs no access to the speaker.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::config::{PeerId, PeerRole};
use crate::output::TimerName;
use crate::rib::{Candidate, DecisionStep, Path, compare};
use crate::session::SessionState;
use crate::wire::{Capability, Notification, PathAttributes, PathId, Prefix};

/// What is shown of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// The peer.
    pub id: PeerId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its BGP identifier, when known.
    pub router_id: Option<Ipv4Addr>,
    /// Session state.
    pub state: SessionState,
    /// Whether there is no session by order.
    pub disabled: bool,
    /// Since when.
    pub since: Instant,
    /// Role.
    pub role: PeerRole,
    /// The range of addresses for which it was made; `None` for a configured one.
    pub range: Option<Ipv4Net>,
    /// Whether messages from it may have up to 65535 bytes (RFC 8654), as negotiated.
    pub extended_receive: bool,
    /// Whether messages to it may, as negotiated.
    pub extended_send: bool,
    /// Negotiated hold time.
    pub hold_time: Option<Duration>,
    /// Proposed hold time.
    pub proposed_hold_time: Duration,
    /// Timers that run, and when they are due.
    pub timers: Vec<(TimerName, Instant)>,
    /// Capabilities that we sent.
    pub capabilities_sent: Vec<Capability>,
    /// Capabilities that the peer sent.
    pub capabilities_received: Vec<Capability>,
    /// Messages received: open, update, notification, keepalive, refresh.
    pub messages_received: [u64; 5],
    /// Messages sent, likewise.
    pub messages_sent: [u64; 5],
    /// How often routes were refused or attributes found malformed, by reason, since the peer was configured.
    pub refusals: BTreeMap<&'static str, u64>,
    /// How often the session reached Established.
    pub established_count: u64,
    /// Last NOTIFICATION sent.
    pub last_sent: Option<Notification>,
    /// Last NOTIFICATION received.
    pub last_received: Option<Notification>,
    /// Why the session last went down.
    pub last_down: Option<String>,
    /// Paths of each family that are accepted at most.
    pub max_prefixes: usize,
    /// Routes of IPv4 unicast.
    pub ipv4: FamilyView,
    /// Routes of IPv6 unicast; `None` where it is not offered.
    pub ipv6: Option<FamilyView>,
}

/// What was wrong with messages of a peer, and the last one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorView {
    /// When it came.
    pub at: Instant,
    /// Type code of the attribute that was wrong, if it was one; 0 for the list of them.
    pub attribute: Option<u8>,
    /// What was wrong, in a few words.
    pub reason: String,
    /// How many of them came.
    pub count: u64,
    /// Bytes of the message.
    pub length: usize,
    /// Its first bytes, header included.
    pub sample: Vec<u8>,
}

/// What is shown of a peer and the routes of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyView {
    /// Whether the session exchanges them.
    pub negotiated: bool,
    /// Whether the peer may tell several paths to a prefix (RFC 7911), as negotiated.
    pub add_path_receive: bool,
    /// Whether the peer is told several paths to a prefix, as negotiated.
    pub add_path_send: bool,
    /// Paths received, before policy.
    pub received: usize,
    /// Paths accepted.
    pub accepted: usize,
    /// Paths advertised to it.
    pub advertised: usize,
    /// Whether the peer's End-of-RIB came.
    pub end_of_rib: bool,
    /// Accepted routes that are kept from a session that ended.
    pub stale: usize,
    /// Until when they are kept, without or with a session.
    pub stale_until: Option<Instant>,
}

/// One path as shown by `samctl bgp rib` and `why`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathView<A = Ipv4Addr> {
    /// The path.
    pub path: Path<A>,
    /// Whether it is the best one.
    pub best: bool,
    /// Whether it may be chosen; if not, why.
    pub ineligible: Option<&'static str>,
    /// Whether its next hop came back only lately, so that other paths are preferred.
    pub unsteady: bool,
    /// The step at which it lost against its rival (or at which the best beat the second).
    pub step: DecisionStep,
    /// Place among the paths of the one that it lost against: the best one or, by MED, one from its own neighboring AS. Of the
    /// best path, that of the second.
    pub rival: usize,
    /// The id under which peers hear of it that are told several paths.
    pub local_id: PathId,
}

/// A route as a peer sent it, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedView<N: Prefix = Ipv4Net> {
    /// The prefix.
    pub prefix: N,
    /// The id under which the peer told it.
    pub path_id: Option<PathId>,
    /// Its attributes before policy.
    pub attributes: Arc<PathAttributes<N::NextHop>>,
    /// When these attributes came.
    pub learned_at: Instant,
    /// Why it was refused, if so.
    pub rejected: Option<&'static str>,
}

/// A path that a peer is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithheldView<N: Prefix = Ipv4Net> {
    /// The prefix.
    pub prefix: N,
    /// The path as it is in the Loc-RIB.
    pub path: Path<N::NextHop>,
    /// The reason's name.
    pub reason: &'static str,
}

/// A refused route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedView<N: Prefix = Ipv4Net> {
    /// The prefix.
    pub prefix: N,
    /// Which of the peer's paths to it, where the peer tells several.
    pub path_id: Option<PathId>,
    /// Its attributes.
    pub attributes: PathAttributes<N::NextHop>,
    /// The reason's name.
    pub reason: &'static str,
}

/// Shows the paths of a prefix, best first.
pub(crate) fn paths<A: Clone>(candidates: &[Candidate<A>]) -> Vec<PathView<A>> {
    let best = candidates
        .first()
        .filter(|candidate| candidate.ineligible.is_none());
    let view = |(position, candidate): (usize, &Candidate<A>)| {
        let rival = rival(candidates, position);
        let step = match (best, candidates.get(rival)) {
            (None, _) => DecisionStep::Eligible,
            (Some(_), None) => DecisionStep::OnlyPath,
            (Some(_), Some(rival)) => compare(candidate, rival).1,
        };
        PathView {
            path: candidate.path.clone(),
            best: position == 0 && best.is_some(),
            ineligible: candidate.ineligible,
            unsteady: candidate.unsteady,
            step,
            rival,
            local_id: candidate.local_id,
        }
    };
    candidates.iter().enumerate().map(view).collect()
}

/// Returns the place of the path that the one at `position` is to be compared with. A path that would beat the best one was
/// beaten itself, by the MED of one from its own neighboring AS.
fn rival<A>(candidates: &[Candidate<A>], position: usize) -> usize {
    if position == 0 {
        return 1;
    }
    let loser = &candidates[position];
    let beats = |other: &Candidate<A>| compare(other, loser).0.is_lt();
    if beats(&candidates[0]) {
        return 0;
    }
    let from = |it: &Candidate<A>| it.path.attributes.neighboring_as();
    let better = |other: &Candidate<A>| from(other) == from(loser) && beats(other);
    candidates[..position].iter().position(better).unwrap_or(0)
}
