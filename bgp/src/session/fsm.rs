//! The state machine of one connection as a pure table: (state, event) to transition (RFC 4271 section 8.2.2).
//!
//! Idle and Active are states of the peer, not of a connection, and live in `peer_session.rs`. There is one state
//! more than in the RFC: Confirmed is OpenConfirm whose KEEPALIVE came while another connection to the same peer is
//! still in the race (section 6.8); it becomes Established when the race is decided. DelayOpen, an option, is left out.

use super::SessionState;

/// State of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConnectionState {
    /// TCP under way.
    Connect,
    /// TCP up, our OPEN sent.
    OpenSent,
    /// The peer's OPEN accepted, our KEEPALIVE sent.
    OpenConfirm,
    /// The peer's KEEPALIVE received; waits for the end of a collision.
    Confirmed,
    /// Exchanging routes.
    Established,
}

impl ConnectionState {
    /// Returns the RFC state that operators see.
    pub(crate) fn shown(self) -> SessionState {
        match self {
            Self::Connect => SessionState::Connect,
            Self::OpenSent => SessionState::OpenSent,
            Self::OpenConfirm | Self::Confirmed => SessionState::OpenConfirm,
            Self::Established => SessionState::Established,
        }
    }
}

/// What can happen to a connection; numbers are the events of RFC 4271 section 8.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEvent {
    /// 2, 8: the operator, the configuration or a limit ends it.
    Stop,
    /// 9: TCP did not come up in time.
    ConnectExpired,
    /// 10: nothing was heard for the hold time.
    HoldExpired,
    /// 11: time for a KEEPALIVE.
    KeepaliveDue,
    /// 16: TCP came up.
    Connected,
    /// 18: TCP failed or was closed by the far end.
    Closed,
    /// 19: a valid OPEN.
    Open,
    /// 21, 22, 28: bytes that must be answered with a NOTIFICATION.
    Malformed,
    /// 23: another connection to the same peer wins.
    CollisionLost,
    /// The peer, which offers graceful restart, has delivered the OPEN of a new session (RFC 4724 section 5).
    Replaced,
    /// The race is decided for this connection, or there was none.
    CollisionWon,
    /// 24, 25: the peer ends the session.
    Notification,
    /// 26: a KEEPALIVE.
    Keepalive,
    /// 27: an UPDATE.
    Update,
    /// A ROUTE-REFRESH (RFC 2918), treated like an UPDATE.
    RouteRefresh,
}

/// What to do on the way to the next state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send our OPEN.
    SendOpen,
    /// Send a KEEPALIVE and set the timer for the next one.
    SendKeepalive,
    /// Tell the outside that the session is up.
    Establish,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is gone already.
    Gone,
    /// Close without a word.
    Close,
    /// Send the NOTIFICATION that comes with the event, then close.
    Notify,
    /// Send a finite state machine error (RFC 6608) with this subcode, then close.
    Unexpected(u8),
}

/// What the table orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Enter (or stay in) a state and act.
    Enter(ConnectionState, &'static [Action]),
    /// End the connection.
    End(Ending),
}

/// Looks up what an event does in a state.
pub(crate) fn transition(state: ConnectionState, event: ConnectionEvent) -> Transition {
    use ConnectionEvent as E;
    use ConnectionState as S;
    let stay = Transition::Enter(state, &[]);
    match (event, state) {
        (E::Connected, S::Connect) => Transition::Enter(S::OpenSent, &[Action::SendOpen]),
        (E::Open, S::OpenSent) => Transition::Enter(S::OpenConfirm, &[Action::SendKeepalive]),
        (E::Keepalive, S::OpenConfirm) => Transition::Enter(S::Confirmed, &[]),
        // Routes on a waiting connection mean that the peer has decided the race for it.
        (E::CollisionWon | E::Update | E::RouteRefresh, S::Confirmed) => {
            Transition::Enter(S::Established, &[Action::Establish])
        }
        (E::Keepalive, S::Confirmed | S::Established)
        | (E::Update | E::RouteRefresh, S::Established) => stay,
        (E::KeepaliveDue, S::OpenConfirm | S::Confirmed | S::Established) => {
            Transition::Enter(state, &[Action::SendKeepalive])
        }

        (E::Closed, _) => Transition::End(Ending::Gone),
        (E::Replaced, S::Established)
        | (E::ConnectExpired | E::Stop | E::CollisionLost, S::Connect)
        | (E::Notification, S::OpenSent | S::OpenConfirm | S::Confirmed | S::Established) => {
            Transition::End(Ending::Close)
        }
        (
            E::Stop | E::CollisionLost | E::HoldExpired | E::Malformed,
            S::OpenSent | S::OpenConfirm | S::Confirmed | S::Established,
        ) => Transition::End(Ending::Notify),
        (E::Keepalive | E::Update | E::RouteRefresh, S::OpenSent)
        | (E::Open, S::OpenConfirm | S::Confirmed | S::Established)
        | (E::Update | E::RouteRefresh, S::OpenConfirm) => {
            Transition::End(Ending::Unexpected(unexpected_subcode(state)))
        }

        // Messages before TCP is up cannot exist, and timers that do not run cannot expire: the driver erred.
        (
            E::Open
            | E::Keepalive
            | E::Update
            | E::RouteRefresh
            | E::Notification
            | E::Malformed
            | E::HoldExpired
            | E::KeepaliveDue
            | E::CollisionWon
            | E::Replaced,
            S::Connect,
        )
        | (E::KeepaliveDue | E::CollisionWon | E::Replaced, S::OpenSent)
        | (E::CollisionWon | E::Replaced, S::OpenConfirm)
        | (E::Replaced, S::Confirmed)
        | (E::CollisionWon, S::Established)
        | (
            E::Connected | E::ConnectExpired,
            S::OpenSent | S::OpenConfirm | S::Confirmed | S::Established,
        ) => stay,
    }
}

/// Returns the subcode of RFC 6608 section 3 for a message that the state does not expect.
fn unexpected_subcode(state: ConnectionState) -> u8 {
    match state {
        ConnectionState::Connect => 0,
        ConnectionState::OpenSent => 1,
        ConnectionState::OpenConfirm | ConnectionState::Confirmed => 2,
        ConnectionState::Established => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::ConnectionEvent as E;
    use super::ConnectionState as S;
    use super::*;

    #[test]
    fn the_straight_way_leads_from_connect_to_established() {
        let way = [
            (S::Connect, E::Connected, S::OpenSent),
            (S::OpenSent, E::Open, S::OpenConfirm),
            (S::OpenConfirm, E::Keepalive, S::Confirmed),
            (S::Confirmed, E::CollisionWon, S::Established),
        ];
        for (state, event, next) in way {
            assert!(
                matches!(transition(state, event), Transition::Enter(to, _) if to == next),
                "{state:?} {event:?}"
            );
        }
    }

    #[test]
    fn no_event_skips_a_state_or_goes_back() {
        for state in STATES {
            for event in EVENTS {
                if let Transition::Enter(next, _) = transition(state, event) {
                    assert!(next >= state, "{state:?} {event:?} goes back to {next:?}");
                    assert!(
                        next as u8 <= state as u8 + 1,
                        "{state:?} {event:?} skips to {next:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_session_is_announced_exactly_when_established_is_entered() {
        for state in STATES {
            for event in EVENTS {
                if let Transition::Enter(next, actions) = transition(state, event) {
                    let announced = actions.contains(&Action::Establish);
                    let entered = next == S::Established && state != S::Established;
                    assert_eq!(announced, entered, "{state:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn endings_follow_the_table() {
        let table = [
            (S::Connect, E::Closed, Ending::Gone),
            (S::Connect, E::ConnectExpired, Ending::Close),
            (S::Connect, E::CollisionLost, Ending::Close),
            (S::OpenSent, E::Keepalive, Ending::Unexpected(1)),
            (S::OpenSent, E::Update, Ending::Unexpected(1)),
            (S::OpenSent, E::HoldExpired, Ending::Notify),
            (S::OpenSent, E::Notification, Ending::Close),
            (S::OpenConfirm, E::Open, Ending::Unexpected(2)),
            (S::OpenConfirm, E::Update, Ending::Unexpected(2)),
            (S::OpenConfirm, E::CollisionLost, Ending::Notify),
            (S::Confirmed, E::Open, Ending::Unexpected(2)),
            (S::Established, E::Open, Ending::Unexpected(3)),
            (S::Established, E::Malformed, Ending::Notify),
            (S::Established, E::HoldExpired, Ending::Notify),
            (S::Established, E::Stop, Ending::Notify),
            (S::Established, E::Notification, Ending::Close),
            (S::Established, E::Closed, Ending::Gone),
            (S::Established, E::Replaced, Ending::Close),
        ];
        for (state, event, ending) in table {
            assert_eq!(
                transition(state, event),
                Transition::End(ending),
                "{state:?} {event:?}"
            );
        }
    }

    #[test]
    fn a_closed_connection_ends_in_every_state() {
        for state in STATES {
            assert_eq!(transition(state, E::Closed), Transition::End(Ending::Gone));
        }
    }

    const STATES: [S; 5] = [
        S::Connect,
        S::OpenSent,
        S::OpenConfirm,
        S::Confirmed,
        S::Established,
    ];

    const EVENTS: [E; 15] = [
        E::Stop,
        E::ConnectExpired,
        E::HoldExpired,
        E::KeepaliveDue,
        E::Connected,
        E::Closed,
        E::Open,
        E::Malformed,
        E::CollisionLost,
        E::CollisionWon,
        E::Replaced,
        E::Notification,
        E::Keepalive,
        E::Update,
        E::RouteRefresh,
    ];
}
