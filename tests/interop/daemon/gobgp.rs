//! GoBGP, driven by its own command line over its API on the loopback of the namespace.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use serde_json::Value;

use super::{Announcement, Daemon, SeenRoute, Setup};
use crate::fabric::ASN;
use crate::process::{Process, output};
use crate::requirement::program;
use crate::wait::eventually;
use crate::world::Place;

/// A running gobgpd.
pub(super) struct Gobgp {
    setup: Setup,
    process: Process,
}

impl Gobgp {
    /// Starts it and waits for its API.
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        fs::write(setup.path("gobgpd.toml"), config(setup))?;
        let mut command = setup.namespace.command(program("gobgpd"));
        command
            .args(["-t", "toml", "-p", "--api-hosts", API])
            .arg("-f")
            .arg(setup.path("gobgpd.toml"));
        if setup.restarted {
            command.arg("-r");
        }
        let process = Process::start(command, &setup.log)?;
        let mut gobgp = Self {
            setup: setup.clone(),
            process,
        };
        eventually("gobgpd answers", || {
            gobgp.process.check_alive()?;
            gobgp.order(&["global"])
        })?;
        Ok(gobgp)
    }

    fn order(&self, words: &[&str]) -> Result<String> {
        output(self.setup.namespace.command(program("gobgp")).args(words))
    }

    fn ask(&self, words: &[&str]) -> Result<Value> {
        let mut all = vec!["-j"];
        all.extend(words);
        let text = self.order(&all)?;
        serde_json::from_str(&text).with_context(|| format!("gobgp printed no JSON: {text}"))
    }
}

impl Daemon for Gobgp {
    fn established(&self, neighbor: Place) -> Result<bool> {
        let view = self.ask(&["neighbor", &neighbor.overlay().to_string()])?;
        let view = view.get(0).unwrap_or(&view);
        // 6 in the API's enumeration of states.
        let state = &view["state"]["session_state"];
        Ok(*state == 6 || *state == "ESTABLISHED")
    }

    fn routes(&self) -> Result<Vec<SeenRoute>> {
        let mut routes = Vec::new();
        let mut tables = vec![self.ask(&["global", "rib"])?];
        if self.setup.ipv6 {
            tables.push(self.ask(&["global", "rib", "-a", "ipv6"])?);
        }
        let tables = tables.iter().filter_map(Value::as_object).flatten();
        for (prefix, paths) in tables {
            for path in paths.as_array().context("no paths")? {
                // Its own routes have no neighbor behind them.
                let neighbor: Option<Ipv4Addr> =
                    path["neighbor-ip"].as_str().and_then(|ip| ip.parse().ok());
                if neighbor.is_some() {
                    routes.push(route(prefix.parse()?, path)?);
                }
            }
        }
        Ok(routes)
    }

    fn announce(&mut self, route: &Announcement) -> Result<()> {
        let next_hop = self.setup.own.next_hop(route.prefix);
        let prefix = route.prefix.to_string();
        let (local_pref, med) = (route.local_pref.to_string(), route.med.to_string());
        let (next_hop, communities) = (next_hop.to_string(), route.communities.join(","));
        let large = route.large_communities.join(",");
        let mut words = vec!["global", "rib", "add", &prefix, "-a", family(route.prefix)];
        words.extend(["nexthop", &next_hop]);
        words.extend(["origin", "igp", "local-pref", &local_pref, "med", &med]);
        words.extend(["community", &communities]);
        if !large.is_empty() {
            words.extend(["large-community", &large]);
        }
        self.order(&words).map(drop)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        let text = prefix.to_string();
        self.order(&["global", "rib", "del", &text, "-a", family(prefix)])
            .map(drop)
    }

    fn ask_refresh(&mut self, neighbor: Place) -> Result<()> {
        let address = neighbor.overlay().to_string();
        self.order(&["neighbor", &address, "softresetin"]).map(drop)
    }

    fn shut_down(&mut self, neighbor: Place, text: &str) -> Result<()> {
        let address = neighbor.overlay().to_string();
        self.order(&["neighbor", &address, "shutdown", "--reason", text])
            .map(drop)
    }

    /// A shutdown with a reason ends one session only; the next one comes by itself.
    fn reopen(&mut self, _neighbor: Place) -> Result<()> {
        Ok(())
    }

    fn saw_shutdown(&self, neighbor: Place) -> Result<bool> {
        let log = fs::read_to_string(&self.setup.log)?;
        let key = neighbor.overlay().to_string();
        let told = |line: &str| {
            let line = line.to_lowercase();
            line.contains(&key)
                && line.contains("notification-received")
                && line.contains("administrative shutdown")
        };
        Ok(log.lines().any(told))
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

fn config(setup: &Setup) -> String {
    let own = setup.own.overlay();
    let mut text = format!(
        "[global.config]\n  as = {ASN}\n  router-id = \"{own}\"\n  local-address-list = [\"{own}\"]\n"
    );
    for neighbor in &setup.neighbors {
        text += &format!(
            "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{address}\"\n    peer-as = {ASN}\n  \
             [neighbors.transport.config]\n    local-address = \"{own}\"\n  \
             [neighbors.timers.config]\n    hold-time = 9\n    keepalive-interval = 3\n    connect-retry = 1\n    \
             idle-hold-time-after-reset = 1\n",
            address = neighbor.overlay(),
        );
        if setup.graceful {
            text += "  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 60\n    \
                     notification-enabled = true\n";
        }
        if setup.graceful || setup.add_path || setup.ipv6 {
            text += "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      \
                     afi-safi-name = \"ipv4-unicast\"\n";
        }
        if setup.graceful {
            text += "    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n";
        }
        if setup.add_path {
            text += "    [neighbors.afi-safis.add-paths.config]\n      receive = true\n      send-max = 8\n";
        }
        if setup.ipv6 {
            text += "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      \
                     afi-safi-name = \"ipv6-unicast\"\n";
        }
        if setup.reflector {
            text += &format!(
                "  [neighbors.route-reflector.config]\n    route-reflector-client = true\n    \
                 route-reflector-cluster-id = \"{own}\"\n"
            );
        }
    }
    text
}

fn family(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}

/// Reads a path: attributes are told by their type codes.
fn route(prefix: IpNet, path: &Value) -> Result<SeenRoute> {
    let number = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let mut route = SeenRoute::empty(prefix);
    for attribute in path["attrs"].as_array().context("no attributes")? {
        let value = &attribute["value"];
        match attribute["type"].as_u64() {
            Some(3 | 14) => {
                let hop = attribute["nexthop"].as_str().context("no next hop")?;
                route.next_hop = hop.parse()?;
            }
            Some(4) => route.med = number(&attribute["metric"]),
            Some(5) => route.local_pref = number(value),
            Some(8) => {
                let values = attribute["communities"].as_array().context("no list")?;
                let values = values.iter().filter_map(number);
                route.communities = values
                    .map(|value| format!("{}:{}", value >> 16, value & 0xffff))
                    .collect();
            }
            Some(9) => route.originator = Some(value.as_str().context("no originator")?.parse()?),
            Some(10) => {
                for id in value.as_array().context("no list")? {
                    let id = id.as_str().context("a cluster id is no text")?;
                    route.cluster_list.push(id.parse()?);
                }
            }
            Some(32) => {
                for one in value.as_array().context("no list")? {
                    let (asn, function) = (&one["ASN"], &one["LocalData1"]);
                    route
                        .large_communities
                        .push(format!("{asn}:{function}:{}", one["LocalData2"]));
                }
                route.large_communities.sort();
            }
            Some(1 | 2) => {}
            other => bail!("gobgp shows an attribute of type {other:?}: {attribute}"),
        }
    }
    Ok(route)
}

const API: &str = "127.0.0.1:50051";
