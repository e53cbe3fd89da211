//! Open vSwitch's userspace datapath with a GRE tunnel: the other GRE in user space.
//!
//! Each router has a database, a switch and sockets of its own in a private folder; nothing of the system's is used.
//! The switch takes neither superpackets nor unfinished checksums from its ports once a tunnel is involved, so its
//! links have no offloads in any setting. It answers no ARP: the clients know the MAC of their router.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sam_net::{Namespace, Netlink};

use crate::lab::{CLIENTS, INNER_MTU, Lab, WAN, address};
use crate::offloads;
use crate::running::{Running, checked, wait_until};

/// Where the package puts the form of the database.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const NO_OFFLOADS: [(&str, &str); 5] = [
    ("tso", "off"),
    ("gso", "off"),
    ("tx-udp-segmentation", "off"),
    ("gro", "off"),
    ("tx", "off"),
];

/// Starts both switches.
pub(crate) fn start(lab: &Lab, running: &mut Running) -> Result<()> {
    let folder = running.folder()?;
    for site in 0..2 {
        let own = folder.join(site.to_string());
        fs::create_dir(&own)?;
        start_site(lab, site, &own, running)?;
    }
    Ok(())
}

fn start_site(lab: &Lab, site: usize, folder: &Path, running: &mut Running) -> Result<()> {
    let (client, router, far) = (&lab.clients[site], &lab.routers[site], 1 - site);
    for (namespace, link) in [(client, "eth0"), (router, "lan0"), (router, "wan0")] {
        offloads::set(namespace, link, &NO_OFFLOADS)?;
    }
    let (host, lan, wan) = (
        mac(client, "eth0")?,
        mac(router, "lan0")?,
        mac(router, "wan0")?,
    );
    let to = CLIENTS[far].to_string();
    ip(
        client,
        &format!("neigh replace {to} lladdr {lan} dev eth0 nud permanent"),
    )?;
    ip(
        client,
        &format!("route replace {to}/32 dev eth0 mtu {INNER_MTU}"),
    )?;
    for link in ["lan0", "wan0"] {
        ip(router, &format!("addr flush dev {link}"))?;
    }

    let socket = folder.join("db.sock");
    let database = socket.display().to_string();
    checked(
        Command::new("ovsdb-tool")
            .arg("create")
            .arg(folder.join("conf.db"))
            .arg(SCHEMA),
    )?;
    let mut server = private(router.command("ovsdb-server"), folder);
    server
        .arg(folder.join("conf.db"))
        .arg(format!("--remote=punix:{database}"))
        .arg(format!("--unixctl={}", folder.join("db.ctl").display()));
    running.spawn(server)?;
    wait_until("the database listens", || socket.exists())?;
    let control = |words: &str| {
        let mut command = private(Command::new("ovs-vsctl"), folder);
        command.arg(format!("--db=unix:{database}"));
        checked(command.arg("--timeout=15").args(words.split_whitespace()))
    };
    control("--no-wait init")?;
    let mut switch = private(router.command("ovs-vswitchd"), folder);
    switch
        .arg(format!("unix:{database}"))
        .arg(format!("--unixctl={}", folder.join("switch.ctl").display()));
    running.spawn(switch)?;
    control(&format!(
        "add-br underlay -- set bridge underlay datapath_type=netdev other-config:hwaddr={wan} \
         -- add-port underlay wan0 \
         -- add-br lan -- set bridge lan datapath_type=netdev fail-mode=secure \
         -- add-port lan lan0 -- set interface lan0 ofport_request=1 \
         -- add-port lan gre0 -- set interface gre0 ofport_request=2 type=gre \
         options:local_ip={} options:remote_ip={}",
        WAN[site], WAN[far]
    ))?;
    router.enter(|| address("underlay", WAN[site], 24))??;
    for flow in [
        format!("ip,in_port=1,nw_dst={to},actions=dec_ttl,output:2"),
        format!(
            "ip,in_port=2,nw_dst={},actions=dec_ttl,mod_dl_src:{lan},mod_dl_dst:{host},output:1",
            CLIENTS[site]
        ),
    ] {
        let bridge = format!("unix:{}", folder.join("lan.mgmt").display());
        let mut command = private(Command::new("ovs-ofctl"), folder);
        checked(command.args(["add-flow", &bridge, &flow]))?;
    }
    Ok(())
}

/// Keeps a program of Open vSwitch away from the system's folders.
fn private(mut command: Command, folder: &Path) -> Command {
    for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR"] {
        command.env(variable, folder);
    }
    command
}

fn ip(namespace: &Namespace, words: &str) -> Result<String> {
    checked(namespace.command("ip").args(words.split_whitespace()))
}

fn mac(namespace: &Namespace, link: &str) -> Result<String> {
    let mac = namespace.enter(|| Netlink::open()?.link(link))??.mac;
    let octets = mac.context("no MAC")?.map(|octet| format!("{octet:02x}"));
    Ok(octets.join(":"))
}
