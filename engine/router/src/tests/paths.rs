//! What was learnt about a path: tunnels, views and events follow.

use sam_dataplane::PathProbe;

use super::*;
use crate::facts::Facts;

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
