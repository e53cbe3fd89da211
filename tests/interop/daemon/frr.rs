//! FRR's bgpd alone: no zebra, no watchfrr, its control socket in a folder of its own. Driven by vtysh.

use std::fs;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde_json::Value;

use super::{Announcement, Daemon, SeenRoute, Setup};
use crate::fabric::ASN;
use crate::process::{Process, output};
use crate::requirement::program;
use crate::wait::eventually;
use crate::world::Place;

/// A running bgpd.
pub(super) struct Frr {
    setup: Setup,
    process: Process,
    /// Numbers the route maps: each set of attributes gets a new one, because a change of one in use is noticed late.
    maps: u32,
}

impl Frr {
    /// Starts it and waits for its control socket.
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        fs::write(setup.path("bgpd.conf"), config(setup))?;
        let mut command = setup.namespace.command(program("bgpd"));
        // -S: stay root, so that the control folder need not belong to frr and the child ends with this process.
        command
            .args(["-S", "-n", "-Z", "-P", "0", "--log", "stdout", "-l"])
            .arg(setup.own.overlay().to_string())
            .arg("-f")
            .arg(setup.path("bgpd.conf"))
            .arg("-i")
            .arg(setup.path("bgpd.pid"))
            .arg("--vty_socket")
            .arg(&setup.folder);
        let process = Process::start(command, &setup.log)?;
        let mut frr = Self {
            setup: setup.clone(),
            process,
            maps: 0,
        };
        eventually("bgpd answers", || {
            frr.process.check_alive()?;
            frr.ask(&["show version"])
        })?;
        Ok(frr)
    }

    fn ask(&self, orders: &[&str]) -> Result<String> {
        let mut command = self.setup.namespace.command(program("vtysh"));
        command.arg("--vty_socket").arg(&self.setup.folder);
        command.args(["-d", "bgpd"]);
        for order in orders {
            command.args(["-c", order]);
        }
        output(&mut command)
    }

    fn show(&self, what: &str) -> Result<Value> {
        let text = self.ask(&[&format!("show bgp {what} json")])?;
        serde_json::from_str(&text).with_context(|| format!("bgpd printed no JSON: {text}"))
    }

    fn families(&self) -> &'static [&'static str] {
        if self.setup.ipv6 {
            &["ipv4 unicast", "ipv6 unicast"]
        } else {
            &["ipv4 unicast"]
        }
    }

    fn configure(&self, orders: &[String]) -> Result<()> {
        let mut all = vec!["configure terminal"];
        all.extend(orders.iter().map(String::as_str));
        self.ask(&all).map(drop)
    }
}

impl Daemon for Frr {
    fn established(&self, neighbor: Place) -> Result<bool> {
        let address = neighbor.overlay().to_string();
        let view = self.show(&format!("neighbors {address}"))?;
        Ok(view[&address]["bgpState"] == "Established")
    }

    fn routes(&self) -> Result<Vec<SeenRoute>> {
        let mut routes = Vec::new();
        for family in self.families() {
            let table = self.show(family)?;
            let prefixes = table["routes"].as_object().context("no routes")?;
            for prefix in prefixes.keys() {
                let entry = self.show(&format!("{family} {prefix}"))?;
                for path in entry["paths"].as_array().context("no paths")? {
                    // Its own routes have no neighbor behind them.
                    if path["peer"]["peerId"] != "0.0.0.0" && path["peer"]["peerId"] != "::" {
                        routes.push(route(prefix.parse()?, path)?);
                    }
                }
            }
        }
        Ok(routes)
    }

    fn announce(&mut self, route: &Announcement) -> Result<()> {
        self.maps += 1;
        let name = format!("OWN-{}", self.maps);
        let set = |what: &str, value: &str| format!("set {what} {value}");
        let large = if route.large_communities.is_empty() {
            "none".into()
        } else {
            route.large_communities.join(" ")
        };
        let mut orders = vec![
            format!("route-map {name} permit 10"),
            set("local-preference", &route.local_pref.to_string()),
            set("metric", &route.med.to_string()),
            set("community", &route.communities.join(" ")),
            set("large-community", &large),
        ];
        if route.prefix.addr().is_ipv6() {
            let next_hop = self.setup.own.next_hop(route.prefix).to_string();
            orders.push(set("ipv6 next-hop global", &next_hop));
        }
        orders.extend([
            "exit".into(),
            format!("router bgp {ASN}"),
            format!("address-family {}", family(route.prefix)),
            format!("network {} route-map {name}", route.prefix),
        ]);
        self.configure(&orders)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.configure(&[
            format!("router bgp {ASN}"),
            format!("address-family {}", family(prefix)),
            format!("no network {prefix}"),
        ])
    }

    fn ask_refresh(&mut self, neighbor: Place) -> Result<()> {
        let order = format!("clear bgp ipv4 unicast {} soft in", neighbor.overlay());
        self.ask(&[&order]).map(drop)
    }

    fn shut_down(&mut self, neighbor: Place, text: &str) -> Result<()> {
        self.configure(&[
            format!("router bgp {ASN}"),
            format!("neighbor {} shutdown message {text}", neighbor.overlay()),
        ])
    }

    fn reopen(&mut self, neighbor: Place) -> Result<()> {
        self.configure(&[
            format!("router bgp {ASN}"),
            format!("no neighbor {} shutdown", neighbor.overlay()),
        ])
    }

    fn saw_shutdown(&self, neighbor: Place) -> Result<bool> {
        let address = neighbor.overlay().to_string();
        let view = self.show(&format!("neighbors {address}"))?;
        let reason = view[&address]["lastNotificationReason"].as_str();
        Ok(reason == Some("Cease/Administrative Shutdown"))
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

fn config(setup: &Setup) -> String {
    let own = setup.own.overlay();
    let mut text = format!(
        "hostname frr\nrouter bgp {ASN}\n bgp router-id {own}\n bgp cluster-id {own}\n timers bgp 3 9\n \
         bgp log-neighbor-changes\n no bgp network import-check\n"
    );
    if setup.graceful {
        // For a minute after its start it calls itself restarting, so nobody waits for what it has to tell (RFC 4724 section
        // 4.1). It must not hold that back for a second then, as it does by itself.
        text += " bgp graceful-restart\n bgp graceful-restart restart-time 60\n \
                 bgp graceful-restart preserve-fw-state\n bgp graceful-restart notification\n \
                 coalesce-time 0\n";
    }
    for neighbor in &setup.neighbors {
        let address = neighbor.overlay();
        text += &format!(
            " neighbor {address} remote-as {ASN}\n neighbor {address} update-source {own}\n \
             neighbor {address} timers connect 1\n neighbor {address} advertisement-interval 0\n"
        );
    }
    text += " address-family ipv4 unicast\n";
    for neighbor in &setup.neighbors {
        let address = neighbor.overlay();
        text += &format!("  neighbor {address} send-community all\n");
        if setup.add_path {
            text += &format!("  neighbor {address} addpath-tx-all-paths\n");
        }
        if setup.reflector {
            text += &format!("  neighbor {address} route-reflector-client\n");
        }
    }
    text += " exit-address-family\n";
    if setup.ipv6 {
        text += " address-family ipv6 unicast\n";
        for neighbor in &setup.neighbors {
            let address = neighbor.overlay();
            text += &format!(
                "  neighbor {address} activate\n  neighbor {address} send-community all\n"
            );
            if setup.reflector {
                text += &format!("  neighbor {address} route-reflector-client\n");
            }
        }
        text += " exit-address-family\n";
    }
    text
}

fn family(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ipv4 unicast",
        IpNet::V6(_) => "ipv6 unicast",
    }
}

fn route(prefix: IpNet, path: &Value) -> Result<SeenRoute> {
    let number = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let words = |value: &Value| -> Vec<String> {
        let text = value["string"].as_str().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let mut route = SeenRoute::empty(prefix);
    let hop = path["nexthops"][0]["ip"].as_str().context("no next hop")?;
    route.next_hop = hop.parse()?;
    route.local_pref = number(&path["locPrf"]);
    route.med = number(&path["metric"]);
    route.communities = words(&path["community"]);
    route.large_communities = words(&path["largeCommunity"]);
    route.large_communities.sort();
    if let Some(originator) = path["originatorId"].as_str() {
        route.originator = Some(originator.parse()?);
    }
    for id in path["clusterList"]["list"].as_array().into_iter().flatten() {
        let id = id.as_str().context("a cluster id is no text")?;
        route.cluster_list.push(id.parse()?);
    }
    Ok(route)
}
