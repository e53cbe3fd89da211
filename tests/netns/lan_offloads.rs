//! LAN ports that do one thing less, or nothing at all, on the hosts' side and on the router's: the same bytes arrive.

use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, sh};

use crate::bulk;
use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "lan_offloads::each_off_in_turn_and_all_through_wireguard",
        needs: NEEDS,
        run: || each_off("encap: wireguard"),
    },
    Case {
        name: "lan_offloads::each_off_in_turn_and_all_through_gue",
        needs: NEEDS,
        run: || each_off("encap: gue, trustedUnderlay: true"),
    },
];

const NEEDS: &[Need] = &[Need::Tool("ethtool")];
/// As ethtool(8) sets it, and as it shows it.
const FEATURES: [(&str, &str); 7] = [
    ("tso", "tcp-segmentation-offload"),
    ("gso", "generic-segmentation-offload"),
    ("tx", "tx-checksumming"),
    ("rx", "rx-checksumming"),
    ("gro", "generic-receive-offload"),
    ("tx-udp-segmentation", "tx-udp-segmentation"),
    ("sg", "scatter-gather"),
];
const SIZES: [usize; 3] = [1, 1412, 9000];
const BULK: usize = 1 << 20;
const START: Duration = Duration::from_secs(10);

/// ```text
/// .10 ── eth0 ── lan0 ── router onprem ══ wan ══ router aws ── lan0 ── eth0 ── .11
///        └ without ┘                                           └ without ┘
/// ```
fn each_off(transport: &str) {
    let mut fabric = Fabric::new(samctl(), 2);
    let line = format!("  transport: {{{transport}}}\n  bgp:");
    fabric.edit_all("  bgp:", &line);
    fabric.start_all();
    let sites = [Site::ONPREM, Site::AWS];
    let topology = &fabric.topology;
    wait_for_ping(topology.client(Site::ONPREM), Site::AWS.client(), START);
    let links = sites.map(|site| {
        [
            (topology.client(site), "eth0"),
            (topology.router(site), "lan0"),
        ]
    });
    let set = |feature, value| {
        for (namespace, link) in links.as_flattened() {
            switch(namespace, link, feature, value);
        }
    };
    let bytes_arrive = || {
        for (from, to) in [(sites[0], sites[1]), (sites[1], sites[0])] {
            let (near, far) = (topology.client(from), topology.client(to));
            bulk::tcp(near, far, to.client(), 2, BULK);
            bulk::udp(near, far, to.client(), &SIZES);
        }
    };
    for feature in FEATURES {
        set(feature, "off");
        bytes_arrive();
        set(feature, "on");
    }
    for feature in FEATURES {
        set(feature, "off");
    }
    bytes_arrive();
}

/// Switches a feature of a link, and looks whether that had an effect.
fn switch(namespace: &Namespace, link: &str, (name, shown): (&str, &str), value: &str) {
    let command = format!("ethtool -K {link} {name} {value} && ethtool -k {link}");
    let features = sh(namespace, &command).success();
    let mut lines = features.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with(shown));
    let expected = format!("{shown}: {value}");
    assert!(
        line.is_some_and(|line| line.starts_with(&expected)),
        "{line:?}, not {expected}"
    );
}
