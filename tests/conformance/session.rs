//! RFC 4271 section 8.2.2 as a peer sees it: every event of the wire in every state that has a connection.
//!
//! Messages are literal bytes. NOTIFICATIONs are code and subcode of RFC 4271 section 4.5 and RFC 6608.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_bgp::session::SessionState::{self, Established, OpenConfirm, OpenSent};
use sam_bgp::{
    ConnectionId, Input, Output, PathAttributes, PeerConfig, PeerId, PeerRole, Policy, Prefix,
    Rejection, Speaker, SpeakerConfig,
};

/// What the peer does, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Open,
    Update,
    Notification,
    Keepalive,
    RouteRefresh,
    BadMarker,
    UnknownType,
    Silence,
    TcpClosed,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The session is in this state, its connection open.
    State(SessionState),
    /// A NOTIFICATION with this code and subcode, then the end.
    Notify(u8, u8),
    /// The end without a word.
    Close,
}

use Event::*;
use Outcome::{Close, Notify, State};

const TABLE: &[(SessionState, Event, Outcome)] = &[
    // OpenSent: an OPEN, or the end. RFC 6608: subcode 1.
    (OpenSent, Open, State(OpenConfirm)),
    (OpenSent, Update, Notify(5, 1)),
    (OpenSent, Notification, Close),
    (OpenSent, Keepalive, Notify(5, 1)),
    (OpenSent, RouteRefresh, Notify(5, 1)),
    (OpenSent, BadMarker, Notify(1, 1)),
    (OpenSent, UnknownType, Notify(1, 3)),
    (OpenSent, Silence, Notify(4, 0)),
    (OpenSent, TcpClosed, Close),
    // OpenConfirm: a KEEPALIVE, or the end. Subcode 2.
    (OpenConfirm, Open, Notify(5, 2)),
    (OpenConfirm, Update, Notify(5, 2)),
    (OpenConfirm, Notification, Close),
    (OpenConfirm, Keepalive, State(Established)),
    (OpenConfirm, RouteRefresh, Notify(5, 2)),
    (OpenConfirm, BadMarker, Notify(1, 1)),
    (OpenConfirm, UnknownType, Notify(1, 3)),
    (OpenConfirm, Silence, Notify(4, 0)),
    (OpenConfirm, TcpClosed, Close),
    // Established: everything but an OPEN. Subcode 3.
    (Established, Open, Notify(5, 3)),
    (Established, Update, State(Established)),
    (Established, Notification, Close),
    (Established, Keepalive, State(Established)),
    (Established, RouteRefresh, State(Established)),
    (Established, BadMarker, Notify(1, 1)),
    (Established, UnknownType, Notify(1, 3)),
    (Established, Silence, Notify(4, 0)),
    (Established, TcpClosed, Close),
];

#[test]
fn every_event_of_the_wire_in_every_state_has_its_outcome() {
    for (state, event, expected) in TABLE {
        let mut session = Session::in_state(*state);

        session.happens(*event);

        assert_eq!(session.outcome(), *expected, "{event:?} in {state:?}");
    }
}

#[test]
fn no_cell_is_missing() {
    let rows: BTreeSet<_> = TABLE
        .iter()
        .map(|(state, event, _)| (format!("{state:?}"), *event))
        .collect();
    let events: BTreeSet<_> = rows.iter().map(|(_, event)| *event).collect();
    assert_eq!((rows.len(), TABLE.len()), (3 * events.len(), rows.len()));
    assert_eq!(events.len(), TcpClosed as usize + 1);
}

/// A speaker with one connection that its peer opened.
struct Session {
    speaker: Speaker<Anything>,
    now: Instant,
    sent: Vec<Vec<u8>>,
    closed: bool,
}

const CONNECTION: ConnectionId = ConnectionId(2);
const HOLD: Duration = Duration::from_secs(9);

impl Session {
    fn in_state(state: SessionState) -> Self {
        let now = Instant::now();
        let config = SpeakerConfig {
            asn: 64512,
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            cluster_id: Ipv4Addr::new(10, 0, 0, 1),
            hostname: "conformance".to_owned(),
            graceful_restart: None,
        };
        let mut speaker = Speaker::new(config, Anything, 1, now);
        let peer = PeerConfig {
            id: PeerId(1),
            address: Ipv4Addr::new(10, 0, 0, 2),
            router_id: None,
            role: PeerRole::NonClient,
            active: false,
            hold_time: HOLD,
            connect_retry: Duration::from_secs(5),
            max_prefixes: 10,
            reflector: false,
            add_path: None,
            extended_messages: false,
            ipv6: false,
        };
        speaker.set_next_hops([peer.address].into(), now);
        speaker.set_peers(vec![peer], now);
        let mut session = Self {
            speaker,
            now,
            sent: Vec::new(),
            closed: false,
        };
        session.input(Input::Accepted {
            connection: CONNECTION,
            from: Ipv4Addr::new(10, 0, 0, 2),
        });
        let way = [(OpenSent, Open), (OpenConfirm, Keepalive)];
        for (_, event) in way.iter().take_while(|(passed, _)| *passed != state) {
            session.happens(*event);
        }
        assert_eq!(session.outcome(), State(state));
        session.sent.clear();
        session
    }

    fn happens(&mut self, event: Event) {
        let bytes: &[u8] = match event {
            Open => &OPEN,
            Update => &UPDATE,
            Notification => &NOTIFICATION,
            Keepalive => &KEEPALIVE,
            RouteRefresh => &ROUTE_REFRESH,
            BadMarker => &BAD_MARKER,
            UnknownType => &UNKNOWN_TYPE,
            Silence => return self.wait(),
            TcpClosed => {
                self.closed = true;
                return self.input(Input::Closed(CONNECTION));
            }
        };
        self.input(Input::Received(CONNECTION, bytes));
    }

    /// Lets time pass by the speaker's own deadlines until the connection ends.
    fn wait(&mut self) {
        for _ in 0..100 {
            let Some((at, _)) = self.speaker.poll_timeout() else {
                return;
            };
            self.now = self.now.max(at);
            self.speaker.handle_timeout(self.now);
            self.drain();
            if self.closed {
                return;
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.speaker.handle_input(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Send(CONNECTION, bytes) => self.sent.push(bytes),
                Output::Close(CONNECTION) => self.closed = true,
                Output::Send(..)
                | Output::Close(_)
                | Output::Connect { .. }
                | Output::BestPath(_)
                | Output::Event(_) => {}
            }
        }
    }

    fn outcome(&self) -> Outcome {
        let notification = self.sent.iter().find(|message| message[18] == 3);
        match (notification, self.closed) {
            (Some(message), true) => Notify(message[19], message[20]),
            (None, true) => Close,
            (Some(message), false) => panic!("a connection open after {message:?}"),
            (None, false) => State(self.speaker.peers()[0].state),
        }
    }
}

/// Believes everything.
struct Anything;

impl<N: Prefix> Policy<N> for Anything {
    fn import(
        &self,
        _peer: PeerId,
        _prefix: N,
        _attributes: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }

    fn export(
        &self,
        _peer: PeerId,
        _prefix: N,
        _attributes: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }
}

/// Version 4, AS 64512, hold time 9 s, identifier 10.0.0.2; capabilities IPv4 unicast and four-octet AS.
const OPEN: [u8; 43] = message([
    0, 43, 1, 4, 0xfc, 0x00, 0, 9, 10, 0, 0, 2, 14, 2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfc,
    0x00,
]);
/// 10.99.0.2/32 by 10.0.0.2, ORIGIN IGP, empty AS_PATH, LOCAL_PREF 100.
const UPDATE: [u8; 49] = message([
    0, 49, 2, 0, 0, 0, 21, 0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 10, 0, 0, 2, 0x40, 5, 4, 0, 0, 0,
    100, 32, 10, 99, 0, 2,
]);
/// Cease, administrative shutdown.
const NOTIFICATION: [u8; 21] = message([0, 21, 3, 6, 2]);
const KEEPALIVE: [u8; 19] = message([0, 19, 4]);
const ROUTE_REFRESH: [u8; 23] = message([0, 23, 5, 0, 1, 0, 1]);
const UNKNOWN_TYPE: [u8; 19] = message([0, 19, 77]);
const BAD_MARKER: [u8; 19] = {
    let mut bytes = KEEPALIVE;
    bytes[3] = 0;
    bytes
};

/// Puts the marker before the rest of a message.
const fn message<const REST: usize, const LENGTH: usize>(rest: [u8; REST]) -> [u8; LENGTH] {
    let mut bytes = [0xff; LENGTH];
    let mut at = 0;
    while at < REST {
        bytes[16 + at] = rest[at];
        at += 1;
    }
    bytes
}
