//! Which of several connections to one peer survives (RFC 4271 section 6.8, RFC 6286).
//!
//! 1. An Established connection stays, unless it yields and the other one has delivered an OPEN: then the peer has
//!    restarted. It yields when nothing was heard on it for a keepalive interval, and at any time to a peer that offers
//!    graceful restart (RFC 4724 section 5).
//! 2. Otherwise the connection opened by the side with the higher BGP identifier wins, or of the larger AS where two of
//!    different ones have the same (RFC 6286 section 2.3), as soon as an OPEN was received on it. Until then the other one waits: so both sides judge alike, whatever the order of arrival.
//! 3. A winner without OPEN for two seconds is half-dead and loses.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::config::{PeerConfig, PeerRole, SpeakerConfig};
use crate::input::ConnectionId;

/// How long a winner may take to deliver its OPEN.
pub(crate) const HALF_DEAD: Duration = Duration::from_secs(2);

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// We did.
    Outgoing,
    /// The peer did.
    Incoming,
}

/// A connection with TCP up, as far as the race matters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// Its id.
    pub(crate) id: ConnectionId,
    /// Who opened it.
    pub(crate) direction: Direction,
    /// Identifier from the OPEN received on it.
    pub(crate) peer_router_id: Option<Ipv4Addr>,
    /// Whether it is Established.
    pub(crate) established: bool,
    /// Whether a newer one may replace it though it is Established.
    pub(crate) yields: bool,
    /// When TCP came up.
    pub(crate) opened_at: Instant,
}

/// Between whom the race is, as far as that is known before any OPEN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rivals {
    /// Our BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Our AS, as the peer knows it.
    pub(crate) asn: u32,
    /// The peer's AS.
    pub(crate) peer_asn: u32,
}

impl Rivals {
    /// Names us and a peer.
    pub(crate) fn between(local: &SpeakerConfig, peer: &PeerConfig) -> Self {
        let asn = match peer.role {
            PeerRole::Client | PeerRole::NonClient => local.asn,
            PeerRole::External(external) => external.local_asn,
        };
        Self {
            router_id: local.router_id,
            asn,
            peer_asn: peer.role.asn(local.asn),
        }
    }
}

/// What to do about a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is none, or nothing is known yet that could decide it.
    Settled,
    /// Judge again at this time, or when an OPEN comes.
    Wait(Instant),
    /// This connection loses.
    Drop(ConnectionId),
}

/// Judges the race between `contenders`, of which there is at most one per direction besides an Established one.
pub(crate) fn judge(contenders: &[Contender], rivals: Rivals, now: Instant) -> Verdict {
    if let Some(established) = contenders.iter().find(|contender| contender.established) {
        return judge_established(established, contenders);
    }
    let side = |direction| {
        contenders
            .iter()
            .find(|contender| contender.direction == direction)
    };
    let (Some(outgoing), Some(incoming)) = (side(Direction::Outgoing), side(Direction::Incoming))
    else {
        return Verdict::Settled;
    };
    let Some(peer_router_id) = outgoing.peer_router_id.or(incoming.peer_router_id) else {
        return Verdict::Settled;
    };
    let ours = (rivals.router_id, rivals.asn);
    let (winner, loser) = if ours > (peer_router_id, rivals.peer_asn) {
        (outgoing, incoming)
    } else {
        (incoming, outgoing)
    };
    let deadline = winner.opened_at + HALF_DEAD;
    if winner.peer_router_id.is_some() {
        Verdict::Drop(loser.id)
    } else if now >= deadline {
        Verdict::Drop(winner.id)
    } else {
        Verdict::Wait(deadline)
    }
}

fn judge_established(established: &Contender, contenders: &[Contender]) -> Verdict {
    match contenders
        .iter()
        .find(|contender| contender.id != established.id)
    {
        None => Verdict::Settled,
        Some(rival) if !established.yields => Verdict::Drop(rival.id),
        Some(rival) if rival.peer_router_id.is_some() => Verdict::Drop(established.id),
        Some(_) => Verdict::Settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: ConnectionId = ConnectionId(1);
    const THEIRS: ConnectionId = ConnectionId(2);

    #[test]
    fn the_connection_of_the_higher_identifier_wins_once_its_open_came() {
        let both = [
            open(OURS, Direction::Outgoing),
            open(THEIRS, Direction::Incoming),
        ];
        assert_eq!(judge(&both, higher(), start()), Verdict::Drop(THEIRS));
        assert_eq!(judge(&both, lower(), start()), Verdict::Drop(OURS));
    }

    #[test]
    fn the_loser_waits_for_the_winners_open_two_seconds_at_most() {
        let opened_at = start();
        let race = [
            Contender {
                peer_router_id: None,
                opened_at,
                ..open(OURS, Direction::Outgoing)
            },
            Contender {
                opened_at,
                ..open(THEIRS, Direction::Incoming)
            },
        ];
        let deadline = opened_at + HALF_DEAD;
        assert_eq!(judge(&race, higher(), opened_at), Verdict::Wait(deadline));
        assert_eq!(judge(&race, higher(), deadline), Verdict::Drop(OURS));
    }

    #[test]
    fn without_any_open_nothing_is_decided() {
        let race = [
            Contender {
                peer_router_id: None,
                ..open(OURS, Direction::Outgoing)
            },
            Contender {
                peer_router_id: None,
                ..open(THEIRS, Direction::Incoming)
            },
        ];
        assert_eq!(judge(&race, higher(), start()), Verdict::Settled);
    }

    #[test]
    fn one_connection_is_no_race() {
        assert_eq!(
            judge(&[open(OURS, Direction::Outgoing)], lower(), start()),
            Verdict::Settled
        );
    }

    #[test]
    fn an_established_connection_stays_unless_it_yields() {
        let rival = open(THEIRS, Direction::Incoming);
        let established = Contender {
            established: true,
            ..open(OURS, Direction::Outgoing)
        };
        let yielding = Contender {
            yields: true,
            ..established
        };
        assert_eq!(
            judge(&[established, rival], lower(), start()),
            Verdict::Drop(THEIRS)
        );
        assert_eq!(
            judge(&[yielding, rival], lower(), start()),
            Verdict::Drop(OURS)
        );
    }

    #[test]
    fn a_yielding_established_connection_stays_until_the_rival_delivers_an_open() {
        let rival = Contender {
            peer_router_id: None,
            ..open(THEIRS, Direction::Incoming)
        };
        let yielding = Contender {
            established: true,
            yields: true,
            ..open(ConnectionId(4), Direction::Incoming)
        };
        assert_eq!(
            judge(&[yielding, rival], lower(), start()),
            Verdict::Settled
        );
    }

    fn open(id: ConnectionId, direction: Direction) -> Contender {
        Contender {
            id,
            direction,
            peer_router_id: Some(Ipv4Addr::new(10, 0, 0, 5)),
            established: false,
            yields: false,
            opened_at: start(),
        }
    }

    fn higher() -> Rivals {
        internal(9)
    }

    fn lower() -> Rivals {
        internal(1)
    }

    fn internal(host: u8) -> Rivals {
        Rivals {
            router_id: Ipv4Addr::new(10, 0, 0, host),
            asn: 64512,
            peer_asn: 64512,
        }
    }

    fn start() -> Instant {
        crate::testing::start()
    }
}
