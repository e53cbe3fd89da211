//! Links, addresses and routes of fresh namespaces.

use std::net::IpAddr;
use std::os::fd::AsFd;

use ipnet::IpNet;
use sam_net::netlink::{OperState, Route};
use sam_net::{Namespace, Netlink};

use crate::cable::{Cable, LEFT, RIGHT, namespace};

#[test]
fn a_new_namespace_holds_a_loopback_and_nothing_else() {
    let Some(namespace) = namespace() else { return };
    inside(&namespace, |netlink| {
        let links = netlink.links().unwrap();
        assert_eq!(
            links
                .iter()
                .map(|link| link.name.as_str())
                .collect::<Vec<_>>(),
            ["lo"]
        );
        assert!(links[0].up);
        assert_eq!(links[0].mtu, 65_536);
        let addresses = netlink.addresses(links[0].index).unwrap();
        assert!(
            addresses.contains(&"127.0.0.1/8".parse().unwrap()),
            "{addresses:?}"
        );
    });
}

#[test]
fn both_ends_of_a_veth_pair_are_described() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    for (side, name) in [(&cable.left, LEFT), (&cable.right, RIGHT)] {
        inside(side, |netlink| {
            let link = netlink.link(name).unwrap();
            assert_eq!((link.name.as_str(), link.mtu), (name, 1500));
            assert_eq!(
                (link.up, link.carrier, link.state),
                (true, true, OperState::Up)
            );
            assert_eq!(link.kind.as_deref(), Some("veth"));
            assert_ne!(link.mac.unwrap(), [0; 6]);
            assert_eq!(netlink.link_by_index(link.index).unwrap(), link);
        });
    }
}

#[test]
fn mtu_queue_mac_and_state_of_a_link_can_be_set() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    inside(&cable.left, |netlink| {
        let index = netlink.link(LEFT).unwrap().index;
        netlink.set_mtu(index, 9000).unwrap();
        netlink.set_tx_queue_length(index, 10_000).unwrap();
        netlink.set_mac(index, [2, 0, 0, 0, 0, 7]).unwrap();
        netlink.set_down(index).unwrap();
        let link = netlink.link(LEFT).unwrap();
        assert_eq!((link.mtu, link.tx_queue_length), (9000, 10_000));
        assert_eq!((link.mac, link.up), (Some([2, 0, 0, 0, 0, 7]), false));
    });
}

#[test]
fn addresses_are_added_once_and_removed_once() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    inside(&cable.left, |netlink| {
        let index = netlink.link(LEFT).unwrap().index;
        for text in ["10.77.60.1/24", "10.255.0.1/32", "2001:db8::1/64"] {
            let address: IpNet = text.parse().unwrap();
            assert!(netlink.add_address(index, address).unwrap(), "{text}");
            assert!(
                !netlink.add_address(index, address).unwrap(),
                "{text} again"
            );
            assert!(
                netlink.addresses(index).unwrap().contains(&address),
                "{text}"
            );
            assert!(netlink.remove_address(index, address).unwrap(), "{text}");
            assert!(
                !netlink.remove_address(index, address).unwrap(),
                "{text} is gone"
            );
        }
    });
}

#[test]
fn every_local_address_is_listed() {
    let Some(cable) = Cable::lay(Some("10.9.0.1/24"), None) else {
        return;
    };
    inside(&cable.left, |netlink| {
        let all = netlink.local_addresses().unwrap();
        let has = |text: &str| {
            all.iter()
                .any(|address| address.network == text.parse().unwrap())
        };
        assert!(has("10.9.0.1/24") && has("127.0.0.1/8"), "{all:?}");
    });
}

#[test]
fn routes_are_added_replaced_found_and_removed() {
    let Some(cable) = Cable::lay(Some("10.9.0.1/24"), None) else {
        return;
    };
    inside(&cable.left, |netlink| {
        let index = netlink.link(LEFT).unwrap().index;
        let source: IpAddr = "10.9.0.1".parse().unwrap();
        let gateway: IpAddr = "10.9.0.254".parse().unwrap();
        let target: IpAddr = "10.77.60.12".parse().unwrap();
        let missing = netlink.route_to(target).unwrap_err();
        assert_eq!(missing.errno(), Some(libc::ENETUNREACH), "{missing}");

        let route = Route::on_link("10.77.60.0/24".parse().unwrap(), index);
        let route = Route {
            source: Some(source),
            ..route
        };
        assert!(netlink.add_route(&route).unwrap());
        assert!(!netlink.add_route(&route).unwrap());
        let answer = netlink.route_to(target).unwrap();
        assert_eq!((answer.interface, answer.source), (index, Some(source)));
        assert_eq!(
            (answer.gateway, answer.local, answer.mtu),
            (None, false, 1500)
        );

        let detour = Route {
            gateway: Some(gateway),
            mtu: Some(1380),
            ..route
        };
        netlink.replace_route(&detour).unwrap();
        let answer = netlink.route_to(target).unwrap();
        assert_eq!((answer.gateway, answer.mtu), (Some(gateway), 1380));

        assert!(netlink.remove_route(&detour).unwrap());
        assert!(!netlink.remove_route(&detour).unwrap());
        assert!(netlink.route_to(source).unwrap().local);
    });
}

#[test]
fn ipv6_routes_work_alike() {
    let Some(cable) = Cable::lay(Some("2001:db8::1/64"), None) else {
        return;
    };
    inside(&cable.left, |netlink| {
        let index = netlink.link(LEFT).unwrap().index;
        let route = Route::on_link("2001:db8:60::/48".parse().unwrap(), index);
        assert!(netlink.add_route(&route).unwrap());
        let answer = netlink.route_to("2001:db8:60::9".parse().unwrap()).unwrap();
        assert_eq!(answer.interface, index);
        assert!(netlink.remove_route(&route).unwrap());
    });
}

#[test]
fn a_bridge_takes_ports_and_gives_them_back() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    inside(&cable.left, |netlink| {
        let port = netlink.link(LEFT).unwrap().index;
        assert!(netlink.create_bridge("lan").unwrap());
        assert!(!netlink.create_bridge("lan").unwrap());
        let bridge = netlink.link("lan").unwrap();
        assert_eq!(bridge.kind.as_deref(), Some("bridge"));

        netlink.set_bridge(port, Some(bridge.index)).unwrap();
        assert_eq!(netlink.link(LEFT).unwrap().controller, Some(bridge.index));
        netlink.set_bridge(port, None).unwrap();
        assert_eq!(netlink.link(LEFT).unwrap().controller, None);

        assert!(netlink.delete_link(bridge.index).unwrap());
        assert!(!netlink.delete_link(bridge.index).unwrap());
    });
}

#[test]
fn many_links_are_listed_completely() {
    let Some(namespace) = namespace() else { return };
    inside(&namespace, |netlink| {
        // More than one datagram of a dump.
        for number in 0..60 {
            netlink
                .create_veth(&format!("a{number}"), &format!("b{number}"), None)
                .unwrap();
        }
        assert_eq!(netlink.links().unwrap().len(), 121);
    });
}

#[test]
fn removing_one_end_of_a_pair_removes_both() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    inside(&cable.left, |netlink| {
        let index = netlink.link(LEFT).unwrap().index;
        assert!(netlink.delete_link(index).unwrap());
    });
    inside(&cable.right, |netlink| {
        assert!(netlink.link(RIGHT).is_err())
    });
}

#[test]
fn a_taken_name_is_refused() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let peer = cable.right.as_fd();
    inside(&cable.left, |netlink| {
        let error = netlink
            .create_veth(LEFT, "another", Some(peer))
            .unwrap_err();
        assert_eq!(error.errno(), Some(libc::EEXIST), "{error}");
    });
}

fn inside(namespace: &Namespace, work: impl FnOnce(&mut Netlink) + Send) {
    namespace
        .enter(|| work(&mut Netlink::open().unwrap()))
        .unwrap();
}
