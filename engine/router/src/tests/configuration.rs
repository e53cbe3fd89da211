//! What configuration and host facts change, and what they leave alone.

use super::*;

#[test]
fn an_equal_configuration_says_nothing() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.station(2).kinds.clear();

    let config = net.station(2).router.config().clone();
    net.input(2, Input::Config(Box::new(config)));

    assert_eq!(net.station(2).kinds, Vec::<&str>::new());
}

#[test]
fn equal_host_facts_say_nothing() {
    let mut net = Net::new(2, FULL_MESH);
    net.station(2).kinds.clear();

    net.host(2, fixture::lan(true));

    assert_eq!(net.station(2).kinds, Vec::<&str>::new());
}

#[test]
fn a_new_node_leaves_running_sessions_and_numbers_alone() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    let before = net.station(1).wireguard.clone();
    net.station(1).kinds.clear();

    reconfigure(&mut net, 1, |config| {
        config.fabric.nodes.insert(NodeId(4), fixture::node(4));
    });
    net.run(5);

    let station = net.station(1);
    assert!(!station.kinds.contains(&"close"), "{:?}", station.kinds);
    assert_eq!(station.wireguard[..2], before[..]);
    assert_eq!(station.wireguard.len(), 3);
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn a_removed_node_takes_its_routes_with_it() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));

    for id in [1, 3] {
        reconfigure(&mut net, id, |config| {
            drop(config.fabric.nodes.remove(&NodeId(2)))
        });
    }
    net.run(5);

    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Withhold));
    assert_eq!(net.next_hop(1, overlay(2)), None);
    assert_eq!(
        net.tunneled_to(1, overlay(3)),
        Some(3),
        "the number of node 3 stays"
    );
}

#[test]
fn a_change_that_needs_a_restart_is_refused_as_a_whole() {
    let mut net = Net::new(2, FULL_MESH);

    reconfigure(&mut net, 1, |config| {
        config.local.tun = "sam9".into();
        config.local.owned.insert(address(ADDRESS));
    });

    let settings = vec!["self.tun".to_owned()];
    assert_eq!(
        net.station(1).events.last(),
        Some(&Event::ConfigRefused { settings })
    );
    assert_eq!(net.owner(1, address(ADDRESS)), None);
}

#[test]
fn an_address_added_to_the_configuration_is_announced() {
    let mut net = Net::new(2, FULL_MESH);

    reconfigure(&mut net, 1, |config| {
        assert!(config.local.owned.insert(address(ADDRESS)))
    });
    net.run(1);

    assert_eq!(net.owner(2, address(ADDRESS)), Some(1));
}

#[test]
fn nothing_is_announced_before_the_lan_is_there() {
    let mut net = Net::new(2, FULL_MESH);
    let mut config = fixture::config(1, 2, FULL_MESH);
    config.local.owned.insert(address(ADDRESS));
    let Capture::ProxyArp { interface, .. } = &mut config.local.capture else {
        panic!()
    };
    *interface = "eth9".into();

    net.kill(1);
    net.start(1, config, RuntimeState::default());
    net.run(5);

    assert_eq!(net.owner(2, address(ADDRESS)), None);
}

#[test]
fn without_capture_an_owned_address_is_the_hosts() {
    let mut net = Net::empty();
    let mut config = fixture::config(1, 2, FULL_MESH);
    config.local.owned.insert(address(ADDRESS));
    config.local.capture = Capture::None;
    net.start(1, config, RuntimeState::default());
    net.start(2, fixture::config(2, 2, FULL_MESH), RuntimeState::default());

    net.run(5);

    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Local));
    assert_eq!(net.tunneled_to(2, address(ADDRESS)), Some(1));
    assert!(net.station(1).snapshot.lans.is_empty());
}

#[test]
fn the_tunnel_mtu_follows_underlay_and_address_family() {
    let mut net = Net::new(2, FULL_MESH);
    let endpoint = |host: &str, underlay_mtu| HostEvent::Endpoint {
        node: NodeId(2),
        address: host.parse().unwrap(),
        interface: 0,
        underlay_mtu,
        into_tun: false,
    };
    assert_eq!(mtu(&net), 1440);

    net.host(1, endpoint("192.0.2.2:51820", 9001));
    assert_eq!(mtu(&net), 8941);

    reconfigure(&mut net, 1, |config| {
        let node = config.fabric.nodes.get_mut(&NodeId(2)).unwrap();
        node.endpoint.as_mut().unwrap().host = Host::Name("b.example".into());
    });
    assert_eq!(
        (mtu(&net), net.station(1).wireguard[0].endpoint),
        (1440, None)
    );

    net.host(1, endpoint("[2001:db8::2]:51820", 1500));
    assert_eq!(mtu(&net), 1420);
    assert_eq!(
        net.station(1).wireguard[0].endpoint,
        Some("[2001:db8::2]:51820".parse().unwrap())
    );

    reconfigure(&mut net, 1, |config| {
        config.fabric.transport.mtu = TunnelMtu::Fixed(1300)
    });
    assert_eq!(mtu(&net), 1300);
}

#[test]
fn the_packet_path_knows_all_ports_of_wireguard() {
    let mut net = Net::new(3, FULL_MESH);
    reconfigure(&mut net, 1, |config| {
        let node = config.fabric.nodes.get_mut(&NodeId(2)).unwrap();
        node.endpoint.as_mut().unwrap().port = 7001;
    });
    assert_eq!(
        net.station(1).snapshot.wireguard_ports,
        [7001, 51_820].into()
    );
}
