//! What follows from BFD: the FIB at once, the session after it, and nothing from a session that never was up.

use std::time::Duration;

use sam_bfd::{Diagnostic, DownCause, LastDown, SessionStatus, State};
use sam_bgp::wire::{Message, Update};
use sam_capture::{Claim, ClaimSource, RouteKind, RouteTags};

use super::*;
use crate::view::CheckStatus;

#[test]
fn a_session_that_never_was_up_changes_nothing() {
    let mut net = backed_up();
    net.station(1).kinds.clear();
    let session = Session::new(2);
    net.bfd(1, &session);
    assert_eq!(net.station(1).kinds, [""; 0]);
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn a_failed_path_gives_way_to_the_backup_before_the_session_hears_of_it() {
    let mut net = backed_up();
    let mut session = Session::up(&mut net, 1, 2);
    net.station(1).kinds.clear();

    session.fail(&net);
    net.bfd(1, &session);

    assert_eq!(
        net.tunneled_to(1, address(ADDRESS)),
        Some(3),
        "in the same call"
    );
    let kinds = &net.stations[&1].kinds;
    let position = |kind| kinds.iter().position(|found| *found == kind);
    assert!(position("publish") < position("send"), "{kinds:?}");
    assert!(net.station(1).told("bfd-down"));
    let down = Event::SessionDown {
        node: NodeId(2),
        reason: "BFD down".into(),
    };
    assert!(net.station(1).events.contains(&down));
    let peers = net.stations[&1].router.speaker.peers();
    let sent = peers[0].last_sent.as_ref().map(ToString::to_string);
    assert_eq!(sent.as_deref(), Some("Cease/BFD Down"));
}

#[test]
fn a_failed_path_without_backup_is_withheld_and_nobody_answers_for_it() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));
    let mut session = Session::up(&mut net, 1, 2);

    session.fail(&net);
    net.bfd(1, &session);

    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Withhold));
    assert!(!net.answers(1, address(ADDRESS)));
}

#[test]
fn a_path_that_works_again_is_usable_at_once_and_preferred_after_three_seconds_and_later_after_each_failure()
 {
    let mut net = backed_up();
    let mut session = Session::up(&mut net, 1, 2);
    for hold_up in [3, 6, 12, 24, 48, 60, 60] {
        session.fail(&net);
        net.bfd(1, &session);
        session.come_up(&net);
        net.bfd(1, &session);
        assert_eq!(
            net.tunneled_to(1, address(ADDRESS)),
            Some(3),
            "steady before"
        );
        let held = net.stations[&1].router.path_watch.steady_at(NodeId(2));
        assert_eq!(held, Some(net.now + Duration::from_secs(hold_up)));
        net.run(hold_up + 5);
        assert_eq!(
            net.tunneled_to(1, address(ADDRESS)),
            Some(2),
            "after {hold_up} s"
        );
    }
}

#[test]
fn an_only_path_is_used_as_soon_as_it_works_again() {
    let mut net = Net::new(3, &[3]);
    net.command(2, Command::Announce(address(ADDRESS)));
    let mut session = Session::up(&mut net, 1, 2);
    session.fail(&net);
    net.bfd(1, &session);
    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Withhold));

    session.come_up(&net);
    net.bfd(1, &session);

    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn a_session_that_an_operator_holds_down_changes_nothing() {
    let mut net = backed_up();
    let mut session = Session::up(&mut net, 1, 2);
    net.station(1).kinds.clear();

    session.leave_up(&net, DownCause::NeighborAdmin);
    net.bfd(1, &session);

    assert_eq!(net.station(1).kinds, ["event"]);
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn down_and_up_between_two_looks_is_a_failure_nevertheless() {
    let mut net = backed_up();
    let mut session = Session::up(&mut net, 1, 2);

    session.fail(&net);
    session.come_up(&net);
    net.bfd(1, &session);

    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(3), "held up");
    assert!(net.station(1).told("session-down"));
}

#[test]
fn a_new_session_of_bgp_overrules_a_failure_of_bfd() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));
    let mut session = Session::up(&mut net, 1, 2);
    session.fail(&net);
    net.bfd(1, &session);

    net.run(5);

    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
    assert!(!net.stations[&1].router.path_watch.has_failed(NodeId(2)));
}

#[test]
fn another_run_of_a_node_begins_anew() {
    let mut net = Net::new(3, &[3]);
    net.command(2, Command::Announce(address(ADDRESS)));
    let mut session = Session::up(&mut net, 1, 2);
    session.fail(&net);
    net.bfd(1, &session);
    net.run(20);
    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Withhold));

    let config = net.stations[&2].router.config().clone();
    let state = net.stations[&2].state.clone();
    net.kill(2);
    net.start(2, config, state);
    net.run(10);

    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn another_transport_to_a_node_begins_anew() {
    let mut net = backed_up();
    let mut session = Session::up(&mut net, 1, 2);
    session.fail(&net);
    net.bfd(1, &session);
    let failed = |net: &Net| net.stations[&1].router.path_watch.has_failed(NodeId(2));
    reconfigure(&mut net, 1, |config| {
        config.fabric.transport.mss_clamp ^= true
    });
    assert!(failed(&net), "the same tunnel");

    reconfigure(&mut net, 1, |config| {
        config.fabric.transport.encapsulation = crate::Encapsulation::Ipip;
    });
    assert!(!failed(&net));
    net.bfd(1, &session);
    assert!(!failed(&net), "that was before");

    session.come_up(&net);
    net.bfd(1, &session);
    net.run(1);
    session.fail(&net);
    net.bfd(1, &session);
    assert!(failed(&net));
}

#[test]
fn without_bfd_nothing_is_remembered() {
    let mut net = Net::new(3, &[3]);
    net.command(2, Command::Announce(address(ADDRESS)));
    let mut session = Session::up(&mut net, 1, 2);
    session.fail(&net);
    net.bfd(1, &session);
    net.station(1).kinds.clear();

    reconfigure(&mut net, 1, |config| config.fabric.bfd = None);

    assert!(net.stations[&1].kinds.contains(&"bfd"), "the sessions end");
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn a_node_that_cannot_be_called_is_watched_once_it_has_called() {
    let mut net = Net::new(2, FULL_MESH);
    net.station(1).kinds.clear();
    reconfigure(&mut net, 1, |config| {
        if let Some(node) = config.fabric.nodes.get_mut(&NodeId(2)) {
            node.endpoint = None;
        }
    });
    assert!(net.station(1).kinds.contains(&"bfd"), "not any more");
    net.station(1).kinds.clear();

    let call = Notice::EndpointChanged {
        tunnel: TunnelId(0),
        from: None,
        to: "192.0.2.77:4242".parse().unwrap(),
    };
    net.input(1, Input::Notice(call));

    assert!(net.station(1).kinds.contains(&"bfd"));
}

/// RFC 5882 section 4.1, of a BGP neighbor outside of the fabric.
#[test]
fn a_neighbor_outside_that_bfd_loses_has_its_session_ended() {
    let mut net = graceful_shutdown::border();
    reconfigure(&mut net, 1, |config| {
        let neighbor = config.local.foreign.neighbors.get_mut(&overlay(9));
        neighbor.expect("a neighbor").terms.bfd = Some(fixture::BFD);
    });
    assert_eq!(ups(&net), 1, "the session does not notice");
    let mut session = Session::up(&mut net, 1, 9);

    session.fail(&net);
    net.bfd(1, &session);

    assert!(net.station(1).told("bfd-down"));
    let sent = outside(&net).last_sent.as_ref().map(ToString::to_string);
    assert_eq!(sent.as_deref(), Some("Cease/BFD Down"));
    let mut facts = crate::Facts::default();
    let shown = |facts: &crate::Facts| {
        let view = net.stations[&1].router.bfd(facts, net.now);
        let rows = view.neighbors.into_iter().map(|row| row.node.name);
        let others = view.without_session.into_iter().map(|node| node.name);
        [rows.collect::<Vec<_>>(), others.collect()]
    };
    assert_eq!(shown(&facts), [vec![], vec!["n9".to_owned()]]);
    assert_eq!(told(&net, &facts).0, CheckStatus::Warn);
    facts.bfd.silent = true;
    assert_eq!(
        shown(&facts),
        [Vec::<String>::new(), vec![]],
        "nobody knows"
    );
    facts.bfd.silent = false;
    facts.bfd.sessions = vec![crate::facts::BfdSessionFacts::new(&session.0, net.now)];
    assert_eq!(shown(&facts), [vec!["n9".to_owned()], vec![]]);
    let (check, up, next_hop) = told(&net, &facts);
    assert_eq!((check, up), (CheckStatus::Warn, (0, 1)));
    assert_eq!(next_hop, [None], "the host forwards to it");
    reconfigure(&mut net, 1, |config| config.fabric.bfd = None);
    session.come_up(&net);
    net.bfd(1, &session);
    facts.bfd.sessions = vec![crate::facts::BfdSessionFacts::new(&session.0, net.now)];
    let (check, up, next_hop) = told(&net, &facts);
    assert_eq!((check, up), (CheckStatus::Pass, (1, 1)));
    assert_eq!(next_hop, [None]);
    net.run(30);
    assert!(ups(&net) > 1, "it may come back without BFD");
}

/// What `doctor` says of neighbors outside, how many sessions are up of those wanted, and what follows from those outside.
fn told(net: &Net, facts: &crate::Facts) -> (CheckStatus, (usize, usize), Vec<Option<String>>) {
    let router = &net.stations[&1].router;
    let checks = router.doctor(facts, net.now).checks.into_iter();
    let mut checks = checks.filter(|check| check.name == "bfd-neighbors");
    let status = router.status(facts, net.now).bfd.expect("BFD is on");
    let rows = router.bfd(facts, net.now).neighbors.into_iter();
    (
        checks.next().expect("a check").status,
        (status.up, status.configured),
        rows.map(|row| row.next_hop).collect(),
    )
}

/// A router that comes back waits for nodes, and for nobody else.
#[test]
fn a_silent_neighbor_outside_is_not_waited_for() {
    let mut net = graceful_shutdown::border();
    reconfigure(&mut net, 1, |config| {
        let neighbor = config.local.foreign.neighbors.get_mut(&overlay(9));
        neighbor.expect("a neighbor").terms.bfd = Some(fixture::BFD);
    });
    for (node, expected) in [(9, 0), (2, 1)] {
        net.bfd(1, &Session::new(node));
        let watch = &net.stations[&1].router.path_watch;
        assert_eq!(watch.pending().count(), expected, "n{node}");
        assert_eq!(watch.poll_timeout().is_some(), expected > 0, "n{node}");
    }
}

/// How often the session with the neighbor outside came up.
fn ups(net: &Net) -> u64 {
    outside(net).established_count
}

fn outside(net: &Net) -> sam_bgp::speaker::PeerView {
    let peers = net.stations[&1].router.speaker.peers().into_iter();
    let mut outside = peers.filter(|peer| peer.address == overlay(9));
    outside.next().expect("a neighbor")
}

#[test]
fn the_view_says_what_follows() {
    let mut net = backed_up();
    let mut session = Session::up(&mut net, 1, 2);
    session.fail(&net);
    net.bfd(1, &session);

    let mut facts = crate::Facts::default();
    facts.bfd.scheduling = "real-time".into();
    facts.bfd.sessions = vec![crate::facts::BfdSessionFacts::new(&session.0, net.now)];
    let router = &net.stations[&1].router;
    let view = router.bfd(&facts, net.now);

    let [row] = view.sessions.as_slice() else {
        panic!("{view:?}");
    };
    assert_eq!(
        (row.next_hop.as_deref(), row.flaps),
        (Some("unreachable"), 1)
    );
    assert_eq!(row.node.name, "n2");
    let neighbor = router.bgp_neighbor(NodeId(2), &facts, net.now);
    assert_eq!(neighbor.and_then(|view| view.bfd).as_ref(), Some(row));
    let doctor = router.doctor(&facts, net.now);
    let check = doctor.checks.iter().find(|check| check.name == "bfd");
    assert!(check.is_some_and(|check| check.status == CheckStatus::Warn));
    assert_eq!(
        router.status(&facts, net.now).bfd.map(|bfd| bfd.up),
        Some(0)
    );
}

/// Three routers without reflector; 2 owns the address, 3 would take over, and 1 knows.
fn backed_up() -> Net {
    let mut net = Net::new(3, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));
    let mut attributes = PathAttributes::local(overlay(3));
    let claim = Claim {
        state: ClaimState::Standby,
        sequence: 1,
        pool: 1,
        source: ClaimSource::Configured,
    };
    attributes.local_pref = Some(claim.state.local_pref());
    let tags = RouteTags::new(NodeId(3), RouteKind::Owner(claim));
    tags.apply(net.stations[&1].router.config().fabric.asn, &mut attributes);
    let update = Update {
        withdrawn: Vec::new(),
        announced: vec![Ipv4Net::from(address(ADDRESS)).into()],
        attributes: Some(attributes),
        faults: Vec::new(),
    };
    net.say(3, 1, &Message::Update(update));
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
    net
}

impl Net {
    pub(super) fn bfd(&mut self, id: u32, session: &Session) {
        self.input(id, Input::Bfd(std::slice::from_ref(&session.0)));
    }
}

/// The session with a node, as the thread of BFD would show it.
pub(super) struct Session(SessionStatus);

impl Session {
    pub(super) fn new(node: u32) -> Self {
        let now = Net::empty().now;
        Self(SessionStatus {
            peer: overlay(node),
            state: State::Down,
            since: now,
            remote_state: State::Down,
            local_discriminator: 1,
            remote_discriminator: 2,
            diagnostic: Diagnostic::NONE,
            remote_diagnostic: Diagnostic::NONE,
            transmit_interval: None,
            receive_interval: None,
            detection_time: None,
            multiplier: 3,
            remote_multiplier: 3,
            polling: false,
            ups: 0,
            failures: 0,
            last_down: None,
            received: 0,
            sent: 0,
        })
    }

    /// A session of router `id` that is up.
    pub(super) fn up(net: &mut Net, id: u32, node: u32) -> Self {
        let mut session = Self::new(node);
        session.come_up(net);
        net.bfd(id, &session);
        assert!(net.station(id).told("bfd-up"));
        session
    }

    pub(super) fn come_up(&mut self, net: &Net) {
        (self.0.state, self.0.remote_state) = (State::Up, State::Up);
        self.0.since = net.now;
        self.0.ups += 1;
    }

    pub(super) fn fail(&mut self, net: &Net) {
        self.leave_up(net, DownCause::Expired);
        self.0.failures += 1;
    }

    fn leave_up(&mut self, net: &Net, cause: DownCause) {
        (self.0.state, self.0.remote_state) = (State::Down, State::Down);
        self.0.since = net.now;
        self.0.last_down = Some(LastDown {
            at: net.now,
            cause,
            remote_diagnostic: Diagnostic::NONE,
        });
    }
}
