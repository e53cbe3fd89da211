//! What does not work costs priority in the election.

use super::bfd::Session;
use super::vrrp::{plan, site, tunnel_to, vrrp};
use super::*;
use crate::config::ActiveWhen;
use crate::encapsulation::{Encapsulation, Gre, Inside};

#[test]
fn a_router_that_has_just_begun_is_not_blamed_for_what_it_has_not_heard_of_yet() {
    let mut net = Net::empty();
    let mut config = fixture::config(1, 3, FULL_MESH);
    config.local.capture = Capture::ProxyArp {
        interface: "eth1".into(),
        gratuitous_arp: true,
        active_when: ActiveWhen::Vrrp(vrrp()),
        discovery: None,
    };
    net.start(1, config, RuntimeState::default());
    net.run(9);
    assert_eq!((plan(&net, 1).penalty, plan(&net, 1).fenced), (0, true));
    let tunnel = |to| tunnel_to(&net, 1, to);
    for tunnel in [tunnel(2), tunnel(3)] {
        net.input(1, Input::Notice(Notice::SessionDown { tunnel }));
    }
    assert_eq!(plan(&net, 1).penalty, 30, "that is known");
    net.run(1);
    assert_eq!(plan(&net, 1).penalty, 50);
    assert!(plan(&net, 1).fenced);
    net.run(110);
    assert!(plan(&net, 1).fenced, "it reaches nobody");
    net.start(2, fixture::config(2, 3, FULL_MESH), RuntimeState::default());
    net.run(30);
    assert!(!plan(&net, 1).fenced);
}

#[test]
fn what_does_not_work_costs_priority() {
    let mut net = site();
    assert_eq!(plan(&net, 1).penalty, 30, "no tunnel is up, BGP is");
    net.input(
        1,
        Input::Notice(Notice::SessionUp {
            tunnel: tunnel_to(&net, 1, 2),
            first: true,
        }),
    );
    assert_eq!(plan(&net, 1).penalty, 30, "that one stays on the LAN");
    net.input(
        1,
        Input::Notice(Notice::SessionUp {
            tunnel: tunnel_to(&net, 1, 3),
            first: true,
        }),
    );
    assert_eq!(plan(&net, 1).penalty, 0);
    for id in [2, 3] {
        net.kill(id);
    }
    net.run(60);
    assert_eq!(plan(&net, 1).penalty, 20, "no BGP session is up");
}

#[test]
fn a_tunnel_without_encryption_counts_while_something_passes_it() {
    let mut net = site();
    for id in 1..=3 {
        reconfigure(&mut net, id, |config| {
            config.fabric.transport.encapsulation = Encapsulation::Ipip;
        });
    }
    assert_eq!(plan(&net, 1).penalty, 0, "a session of BGP passes");
    net.kill(3);
    net.run(60);
    assert_eq!(plan(&net, 1).penalty, 50, "nothing passes to another site");
}

#[test]
fn a_path_that_fails_costs_its_session_of_bgp_at_once() {
    let mut net = site();
    net.run(15);
    let tunnel = tunnel_to(&net, 1, 3);
    let first = true;
    net.input(1, Input::Notice(Notice::SessionUp { tunnel, first }));
    let mut session = Session::up(&mut net, 1, 3);
    assert_eq!(plan(&net, 1).penalty, 0);

    session.fail(&net);
    net.bfd(1, &session);

    assert_eq!(plan(&net, 1).penalty, 50, "tunnel and session");
}

#[test]
fn a_session_of_wireguard_stays_up_whatever_it_carries() {
    let mut net = site();
    let tunnel = tunnel_to(&net, 1, 3);
    let first = true;
    net.input(1, Input::Notice(Notice::SessionUp { tunnel, first }));
    let up = |net: &Net| net.stations[&1].router.tunnel_up(NodeId(3));
    assert!(up(&net));

    let mut carry = |encapsulation| {
        reconfigure(&mut net, 1, |config| {
            config.fabric.transport.encapsulation = encapsulation;
        });
        up(&net)
    };
    let gre = Gre {
        key: None,
        checksum: false,
    };
    assert!(carry(Encapsulation::OverWireGuard(Inside::Gre(gre))));
    assert!(carry(Encapsulation::WireGuard));
    carry(Encapsulation::Ipip);
    assert!(!carry(Encapsulation::WireGuard), "it was torn down");
}
