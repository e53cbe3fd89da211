//! Messages recorded from other implementations decode, mean what was configured, and survive our
//! encoding.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::wire::{Capability, Message, Open, Update};

use crate::bytes::INTERNAL;
use crate::fixed_point;

#[test]
fn every_recorded_message_decodes_and_survives_encoding() {
    let messages = recorded();

    assert!(messages.len() >= 15, "{}", messages.len());
    for Recorded {
        sender,
        kind,
        bytes,
    } in messages
    {
        assert!(fixed_point::check(&bytes, INTERNAL), "{sender} {kind}");
        let decoded = Message::decode(&bytes, INTERNAL).unwrap();
        assert_eq!(kind_of(&decoded), kind, "{sender}");
        if let Message::Update(update) = decoded {
            assert_eq!(update.faults, [], "{sender}");
        }
    }
}

#[test]
fn every_implementation_is_recognized_by_its_open() {
    for (sender, router_id, hold_time_s) in [
        ("bird", Ipv4Addr::new(192, 0, 2, 1), 9),
        ("frr", Ipv4Addr::new(192, 0, 2, 2), 9),
        ("gobgp", Ipv4Addr::new(192, 0, 2, 3), 9),
        ("exabgp", Ipv4Addr::new(192, 0, 2, 4), 9),
    ] {
        let open = opens_of(sender).remove(0);

        assert_eq!(
            (open.router_id, open.hold_time_s),
            (router_id, hold_time_s),
            "{sender}"
        );
        assert_eq!(open.real_asn(), 65001, "{sender}");
        let ipv4_unicast = Capability::Multiprotocol { afi: 1, safi: 1 };
        assert!(open.capabilities.contains(&ipv4_unicast), "{sender}");
    }
}

#[test]
fn the_host_name_of_frr_is_read() {
    let name = Capability::Fqdn {
        host: "frr".into(),
        domain: String::new(),
    };

    assert!(opens_of("frr").remove(0).capabilities.contains(&name));
}

#[test]
fn every_implementation_announces_its_route() {
    for (sender, prefix, next_hop, community) in [
        (
            "bird",
            "10.77.60.11/32",
            Ipv4Addr::new(192, 0, 2, 1),
            65001 << 16 | 1,
        ),
        (
            "frr",
            "10.77.60.12/32",
            Ipv4Addr::new(192, 0, 2, 2),
            65001 << 16 | 2,
        ),
        (
            "gobgp",
            "10.77.60.13/32",
            Ipv4Addr::new(192, 0, 2, 3),
            65001 << 16 | 3,
        ),
        (
            "exabgp",
            "10.77.60.14/32",
            Ipv4Addr::new(192, 0, 2, 4),
            65001 << 16 | 4,
        ),
    ] {
        let updates = updates_of(sender);
        let route = prefix.parse::<Ipv4Net>().unwrap().into();
        let update = updates
            .iter()
            .find(|it| it.announced.contains(&route))
            .expect(sender);

        let attributes = update.attributes.as_ref().unwrap();
        assert_eq!(attributes.next_hop, next_hop, "{sender}");
        assert_eq!(attributes.communities, [community], "{sender}");
        assert_eq!(attributes.local_pref, Some(100), "{sender}");
        assert_eq!(attributes.as_path, [], "{sender}");
    }
}

#[test]
fn every_implementation_but_gobgp_ends_its_rib() {
    for (sender, ends) in [
        ("bird", true),
        ("frr", true),
        ("exabgp", true),
        ("gobgp", false),
    ] {
        assert_eq!(
            updates_of(sender).iter().any(Update::is_end_of_rib),
            ends,
            "{sender}"
        );
    }
}

/// One line of the recording.
pub(crate) struct Recorded {
    pub(crate) sender: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Reads the recording.
pub(crate) fn recorded() -> Vec<Recorded> {
    let lines = include_str!("../data/real-messages.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(parse)
        .collect()
}

fn parse(line: &'static str) -> Recorded {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("three words in a line");
    let (sender, kind, hex) = (word(), word(), word());
    let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let bytes = (0..hex.len()).step_by(2).map(octet).collect();
    Recorded {
        sender,
        kind,
        bytes,
    }
}

fn of(sender: &str) -> impl Iterator<Item = Message> {
    let messages = recorded()
        .into_iter()
        .filter(move |it| it.sender.starts_with(sender));
    messages.map(|it| Message::decode(&it.bytes, INTERNAL).expect("decodes"))
}

fn opens_of(sender: &str) -> Vec<Open> {
    of(sender)
        .filter_map(|message| {
            if let Message::Open(open) = message {
                Some(open)
            } else {
                None
            }
        })
        .collect()
}

fn updates_of(sender: &str) -> Vec<Update> {
    of(sender)
        .filter_map(|it| {
            if let Message::Update(update) = it {
                Some(update)
            } else {
                None
            }
        })
        .collect()
}

fn kind_of(message: &Message) -> &'static str {
    match message {
        Message::Open(_) => "open",
        Message::Update(_) | Message::Ipv6Update(_) => "update",
        Message::Notification(_) => "notification",
        Message::Keepalive => "keepalive",
        Message::RouteRefresh(_) => "refresh",
    }
}
