//! What was learnt about a path: tunnels, views and events follow.

use std::net::IpAddr;

use sam_dataplane::{PathProbe, Snapshot, Undelivered};

use super::bfd::Session;
use super::*;
use crate::encapsulation::{Encapsulation, Gre};
use crate::facts::Facts;
use crate::undelivered::{HOLD, LEAST, MEMORY, SPACING};
use crate::view::TunnelRow;

const TUNNEL: TunnelId = TunnelId(0);

#[test]
fn an_error_lowers_the_tunnel_at_once_and_shows_as_a_sum() {
    let mut net = Net::new(2, FULL_MESH);
    assert_eq!(mtu(&net), 1440);

    too_narrow(&mut net, 1300);

    assert_eq!(mtu(&net), 1240);
    let station = &net.stations[&1];
    let row = station
        .router
        .tunnels(&Facts::default(), net.now)
        .tunnels
        .remove(0);
    assert_eq!(
        (row.underlay_mtu, row.path_mtu, row.mtu),
        (1500, Some(1300), 1240)
    );
    assert_eq!(row.mtu_sum(), "1240 = 1500 - 200 - 60");
    assert_eq!(row.path_mtu_by.as_deref(), Some("error"));
    let explained = station
        .router
        .explain(overlay(2), &Facts::default(), net.now);
    assert_eq!(
        explained.mtu.map(|mtu| (mtu.path, mtu.tcp_mss)),
        Some((Some(1300), Some(1200)))
    );
    let lines = explained.questions.iter().flat_map(|row| &row.evidence);
    let sum = "MTU: underlay 1500 - learnt 200 - overhead 60 = inner 1240; its path carries 1300 bytes, said the underlay";
    assert!(
        lines.clone().any(|line| line == sum),
        "{:?}",
        lines.collect::<Vec<_>>()
    );
    let event = Event::PathMtu {
        node: NodeId(2),
        mtu: 1240,
        by: "error".into(),
    };
    assert_eq!(station.events.last(), Some(&event));
}

#[test]
fn no_error_lowers_a_tunnel_below_what_every_underlay_carries() {
    let mut net = Net::new(2, FULL_MESH);
    too_narrow(&mut net, 68);
    assert_eq!(mtu(&net), 576 - 60);
    let over_ipv6 = HostEvent::Endpoint {
        node: NodeId(2),
        address: "[2001:db8::2]:51820".parse().unwrap(),
        interface: 0,
        underlay_mtu: 1500,
        into_tun: false,
    };
    reconfigure(&mut net, 1, |config| {
        let node = config.fabric.nodes.get_mut(&NodeId(2)).unwrap();
        node.endpoint.as_mut().unwrap().host = Host::Name("b.example".into());
    });
    net.host(1, over_ipv6);
    assert_eq!(mtu(&net), 1420, "another way: what was learnt is forgotten");
    too_narrow(&mut net, 68);
    assert_eq!(mtu(&net), 1280 - 80);
}

#[test]
fn what_is_configured_is_lowered_too_and_never_raised() {
    let mut net = Net::new(2, FULL_MESH);
    reconfigure(&mut net, 1, |config| {
        config.fabric.transport.mtu = TunnelMtu::Fixed(1300);
    });
    too_narrow(&mut net, 1400);
    assert_eq!(mtu(&net), 1300);
    too_narrow(&mut net, 1300);
    assert_eq!(mtu(&net), 1240);
}

#[test]
fn where_no_probe_is_answered_the_error_is_forgotten_after_ten_minutes() {
    let mut net = Net::new(2, FULL_MESH);
    too_narrow(&mut net, 1300);
    net.run(590);
    assert_eq!(mtu(&net), 1240);
    net.run(30);
    assert_eq!(mtu(&net), 1440);
}

#[test]
fn long_packets_make_the_path_be_probed_and_answers_end_it() {
    let mut net = Net::new(2, FULL_MESH);
    let long = Notice::LongPackets { tunnel: TUNNEL };
    net.input(1, Input::Notice(long.clone()));
    let probes = std::mem::take(&mut net.station(1).probes);
    let PathProbe {
        tunnel, to, size, ..
    } = probes[0];
    assert_eq!((tunnel, to, size), (TUNNEL, overlay(2), 1440));
    answer(&mut net, &probes, 1440);
    net.run(30);
    net.station(1).probes.clear();
    net.run(30);
    assert_eq!(net.station(1).probes, [], "only while long packets flow");

    net.input(1, Input::Notice(long));
    let probes = std::mem::take(&mut net.station(1).probes);
    answer(&mut net, &probes, 1200);
    answer(&mut net, &probes, 516);
    assert_eq!(mtu(&net), 1440, "an answer may still come");
    net.run(1);
    assert_eq!(mtu(&net), 1200, "lowered at once");
    assert!(net.station(1).told("path-mtu"));
}

/// Lets the far end answer the probe of a size.
fn answer(net: &mut Net, probes: &[PathProbe], size: u16) {
    let asked = probes.iter().find(|probe| probe.size == size);
    let PathProbe { tunnel, id, .. } = *asked.expect("asked for this size");
    net.input(1, Input::Notice(Notice::ProbeAnswered { tunnel, id }));
}

fn too_narrow(net: &mut Net, mtu: u16) {
    let notice = Notice::PathTooNarrow {
        tunnel: TUNNEL,
        mtu,
    };
    net.input(1, Input::Notice(notice));
}

#[test]
fn senders_into_a_plain_tunnel_are_told_for_a_while_what_the_underlay_says() {
    let mut net = by(Encapsulation::Gre(Gre::PLAIN));
    reconfigure(&mut net, 1, |config| config.fabric.bfd = None);
    let generation = snapshot(&net).generation;
    lose(&mut net, LEAST - 1);
    assert_eq!(snapshot(&net).unreachable, [].into(), "perhaps once only");

    lose(&mut net, 1);

    assert_eq!(snapshot(&net).unreachable, [TUNNEL].into());
    let shown = row(&net);
    assert_eq!(
        (shown.up, shown.fault),
        (true, None),
        "it is used all the same"
    );
    let said = shown.undelivered.expect("the underlay said so");
    assert_eq!(
        (&*said.reason, said.by, said.count),
        ("host-unreachable", Some(ROUTER), LEAST)
    );
    assert!(said.senders_told);
    assert!(warns(&net, 1, "delivery-n2"));
    let told = Event::Undelivered {
        node: NodeId(2),
        reason: "host-unreachable".into(),
        by: Some(ROUTER),
    };
    let events = net.stations[&1].events.iter();
    assert_eq!(events.filter(|event| **event == told).count(), 1);

    lose(&mut net, LEAST);
    assert_eq!(snapshot(&net).generation, generation + 1, "nothing new");
    net.run(HOLD.as_secs());
    assert_eq!(snapshot(&net).unreachable, [].into());
    assert_eq!(snapshot(&net).generation, generation + 2);
    assert!(row(&net).undelivered.is_some_and(|said| !said.senders_told));
    net.run(MEMORY.as_secs());
    assert_eq!(row(&net).undelivered, None);
}

#[test]
fn what_the_underlay_says_about_wireguard_is_shown_and_told_to_no_sender() {
    let mut net = Net::new(2, FULL_MESH);
    reconfigure(&mut net, 1, |config| config.fabric.bfd = None);
    lose(&mut net, 2 * LEAST);
    assert_eq!(snapshot(&net).unreachable, [].into());
    let said = row(&net).undelivered.expect("the underlay said so");
    assert_eq!((said.count, said.senders_told), (2 * LEAST, false));
}

#[test]
fn what_bfd_hears_refutes_what_the_underlay_says() {
    let mut net = by(Encapsulation::Ipip);
    let mut session = Session::up(&mut net, 1, 2);
    lose(&mut net, 2 * LEAST);
    assert_eq!(snapshot(&net).unreachable, [].into());
    assert!(row(&net).undelivered.is_some_and(|said| !said.senders_told));

    session.fail(&net);
    net.bfd(1, &session);
    lose(&mut net, 1);
    assert_eq!(snapshot(&net).unreachable, [TUNNEL].into());
}

#[test]
fn a_new_way_to_a_node_has_no_past() {
    let mut net = by(Encapsulation::Ipip);
    reconfigure(&mut net, 1, |config| config.fabric.bfd = None);
    lose(&mut net, LEAST);
    assert_eq!(snapshot(&net).unreachable, [TUNNEL].into());
    reconfigure(&mut net, 1, |config| {
        let node = config.fabric.nodes.get_mut(&NodeId(2)).unwrap();
        node.endpoint.as_mut().unwrap().host = Host::Address([192, 0, 2, 77].into());
    });
    assert_eq!(snapshot(&net).unreachable, [].into());
    assert_eq!(row(&net).undelivered, None);
}

#[test]
fn what_was_said_is_over_once_something_came_by_the_tunnel() {
    let mut net = by(Encapsulation::Ipip);
    lose(&mut net, LEAST);
    let mut shown = row(&net);
    for (said, heard, stands) in [
        (1.0, Some(0.5), true),
        (4.0, Some(0.5), false),
        (4.0, Some(4.5), true),
        (20.0, None, true),
    ] {
        shown.undelivered.as_mut().expect("said so").last_s = said;
        shown.last_received_s = heard;
        assert_eq!(shown.complaint().is_some(), stands, "{said} {heard:?}");
    }
}

/// Two routers, the first of which reaches the second so.
fn by(encapsulation: Encapsulation) -> Net {
    let mut net = Net::new(2, FULL_MESH);
    reconfigure(&mut net, 1, |config| {
        config.fabric.transport.encapsulation = encapsulation;
    });
    net
}

/// Has the underlay say some times that nothing arrives.
fn lose(net: &mut Net, times: u32) {
    for _ in 0..times {
        net.run_for(2 * SPACING);
        let notice = Notice::Undelivered {
            tunnel: TUNNEL,
            why: Undelivered::HostUnreachable,
            by: Some(ROUTER),
        };
        net.input(1, Input::Notice(notice));
    }
}

fn row(net: &Net) -> TunnelRow {
    let router = &net.stations[&1].router;
    let mut view = router.tunnels(&Facts::default(), net.now);
    view.tunnels.remove(0)
}

fn snapshot(net: &Net) -> &Snapshot {
    &net.stations[&1].snapshot
}

/// Somebody on the way.
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
