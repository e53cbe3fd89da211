//! Sizes and lifetimes: the largest packet to the byte, the ICMP errors beyond it, fragments, tracepath.

use sam_testkit::netns::{Capture, GATEWAY, Outcome, Site, sh};

use super::lab::{FAR, Lab, NEAR};
use crate::case::Need;

pub(super) const NEEDS: &[Need] = &[Need::Tool("tracepath")];

/// IPv4 and ICMP headers of an echo request.
pub(super) const HEADERS: usize = 28;
/// Sizes tried on either side of the largest one.
const AROUND: usize = 3;

pub(super) fn check(lab: &Lab) {
    lab.twice(|_| {
        for (from, to) in [(NEAR, FAR), (FAR, NEAR)] {
            sweep(lab, from, to);
            learn(lab, from, to);
            fragments(lab, from, to);
            lifetimes(lab, from, to);
        }
        tracepath(lab);
    });
}

/// Sizes around the largest one, each from a client that has learnt no path MTU.
fn sweep(lab: &Lab, from: Site, to: Site) {
    for size in lab.mtu - AROUND..=lab.mtu + AROUND {
        lab.forget();
        let outcome = ping(lab, from, to, &format!("-M do -s {}", size - HEADERS));
        let text = outcome.text();
        assert_eq!(outcome.code == 0, size <= lab.mtu, "{size} bytes: {text}");
        assert_eq!(
            text.contains(&too_big(lab)),
            size > lab.mtu,
            "{size} bytes: {text}"
        );
    }
}

/// The client believes the error: its kernel knows the path MTU.
fn learn(lab: &Lab, from: Site, to: Site) {
    let route = format!("ip route get {}", to.client());
    let route = sh(lab.client(from), &route).success();
    assert!(route.contains(&format!(" mtu {}", lab.mtu)), "{route}");
}

/// Fragments that fit the LAN but not the tunnel are cut again.
fn fragments(lab: &Lab, from: Site, to: Site) {
    lab.forget();
    let filter = format!("src host {} and ip[6:2] & 0x3fff != 0", from.client());
    let seen = Capture::start(lab.client(to), "eth0", &filter, &lab.path("fragments.pcap"));

    let text = ping(lab, from, to, "-M dont -s 3000").success();

    assert!(text.contains(" 0% packet loss"), "{text}");
    let sizes = seen.stop().fields("ip", &["ip.len"]).concat();
    assert!(sizes.len() > 3, "not cut: {sizes:?}");
    for size in &sizes {
        assert!(
            size.parse::<usize>().is_ok_and(|size| size <= lab.mtu),
            "{sizes:?}"
        );
    }
}

/// Either router reports packets that die in it, from an address that the client can tell.
fn lifetimes(lab: &Lab, from: Site, to: Site) {
    for (ttl, router) in [(1, GATEWAY), (2, to.overlay())] {
        let text = ping(lab, from, to, &format!("-t {ttl}")).text();
        let expected = format!("From {router} icmp_seq=1 Time to live exceeded");
        assert!(text.contains(&expected), "TTL {ttl}: {text}");
    }
    ping(lab, from, to, "-t 3").success();
}

fn tracepath(lab: &Lab) {
    let text = sh(lab.client(NEAR), &format!("tracepath -n {}", FAR.client())).success();
    let expected = format!("Resume: pmtu {} hops 3", lab.mtu);
    assert!(text.contains(&expected), "{text}");
    for (number, address) in [(1, GATEWAY), (2, FAR.overlay()), (3, FAR.client())] {
        let start = format!("{number}:  {address} ");
        let hop = |line: &str| line.trim_start().starts_with(&start);
        assert!(text.lines().any(hop), "{text}");
    }
}

pub(super) fn ping(lab: &Lab, from: Site, to: Site, options: &str) -> Outcome {
    let command = format!("ping -n -c 1 -W 5 {options} {}", to.client());
    sh(lab.client(from), &command)
}

/// What ping says of a packet that must not be cut.
pub(super) fn too_big(lab: &Lab) -> String {
    format!(
        "From {GATEWAY} icmp_seq=1 Frag needed and DF set (mtu = {})",
        lab.mtu
    )
}
