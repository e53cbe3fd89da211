//! BIRD 2. Its routes are a file of static routes that it reads again when one changes.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;

use super::{Announcement, Daemon, SeenRoute, Setup};
use crate::fabric::ASN;
use crate::process::{Process, output};
use crate::requirement::program;
use crate::wait::eventually;
use crate::world::Place;

/// A running bird.
pub(super) struct Bird {
    setup: Setup,
    process: Process,
    routes: BTreeMap<IpNet, Announcement>,
}

impl Bird {
    /// Starts it and waits for its control socket.
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        fs::write(setup.path("bird.conf"), config(setup))?;
        fs::write(setup.path("routes.conf"), "")?;
        fs::write(setup.path("routes6.conf"), "")?;
        let mut command = setup.namespace.command(program("bird"));
        command
            .arg("-f")
            .arg("-c")
            .arg(setup.path("bird.conf"))
            .arg("-s")
            .arg(setup.path("bird.ctl"));
        if setup.restarted {
            command.arg("-R");
        }
        let process = Process::start(command, &setup.log)?;
        let mut bird = Self {
            setup: setup.clone(),
            process,
            routes: BTreeMap::new(),
        };
        eventually("bird answers", || {
            bird.process.check_alive()?;
            bird.ask("show status")
        })?;
        Ok(bird)
    }

    fn ask(&self, order: &str) -> Result<String> {
        let mut command = self.setup.namespace.command(program("birdc"));
        command.arg("-s").arg(self.setup.path("bird.ctl"));
        output(command.args(order.split(' ')))
    }

    fn write_routes(&self) -> Result<()> {
        for (file, ipv6) in [("routes.conf", false), ("routes6.conf", true)] {
            let routes = self.routes.iter();
            let routes = routes.filter(|(prefix, _)| prefix.addr().is_ipv6() == ipv6);
            let text: String = routes.map(|(_, route)| static_route(route)).collect();
            fs::write(self.setup.path(file), text)?;
        }
        let answer = self.ask("configure")?;
        ensure!(answer.contains("Reconfigured"), "{answer}");
        Ok(())
    }
}

impl Daemon for Bird {
    fn established(&self, neighbor: Place) -> Result<bool> {
        let shown = self.ask(&format!("show protocols {}", neighbor.name()))?;
        Ok(shown.contains("Established"))
    }

    fn routes(&self) -> Result<Vec<SeenRoute>> {
        routes(&self.ask("show route all where source = RTS_BGP")?)
    }

    fn announce(&mut self, route: &Announcement) -> Result<()> {
        self.routes.insert(route.prefix, route.clone());
        self.write_routes()
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.routes.remove(&prefix);
        self.write_routes()
    }

    fn ask_refresh(&mut self, neighbor: Place) -> Result<()> {
        self.ask(&format!("reload in {}", neighbor.name()))
            .map(drop)
    }

    fn shut_down(&mut self, neighbor: Place, text: &str) -> Result<()> {
        let mut command = self.setup.namespace.command(program("birdc"));
        command.arg("-s").arg(self.setup.path("bird.ctl"));
        let text = format!("\"{text}\"");
        output(command.args(["disable", &neighbor.name(), &text])).map(drop)
    }

    fn reopen(&mut self, neighbor: Place) -> Result<()> {
        self.ask(&format!("enable {}", neighbor.name())).map(drop)
    }

    fn saw_shutdown(&self, neighbor: Place) -> Result<bool> {
        let log = fs::read_to_string(&self.setup.log)?;
        let words = format!("{}: Received: Administrative shutdown", neighbor.name());
        Ok(log.contains(&words))
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

fn config(setup: &Setup) -> String {
    let own = setup.own.overlay();
    let reflect = if setup.reflector {
        format!("rr client; rr cluster id {own};")
    } else {
        String::new()
    };
    let graceful = if setup.graceful {
        "graceful restart on; graceful restart time 60;"
    } else {
        ""
    };
    let add_path = if setup.add_path { "add paths on;" } else { "" };
    // Next hops are looked up in a table of their own: a marker says that an overlay address is reached by itself,
    // and BIRD takes such a next hop for unreachable when both are in one table.
    let mut text = format!(
        "router id {own};\nlog stderr all;\ndebug protocols {{ states }};\nprotocol device {{ }}\n\
         ipv4 table links;\nprotocol direct {{ ipv4 {{ table links; }}; interface \"wg0\"; }}\n\
         protocol static own {{ ipv4;\ninclude \"{routes}\";\n}}\n",
        routes = setup.path("routes.conf").display()
    );
    let ipv6 = if setup.ipv6 {
        // Over a session of IPv4 the next hop must be told; those of others are looked up like in IPv4.
        text += &format!(
            "ipv6 table links6;\nprotocol static reached6 {{ ipv6 {{ table links6; }}; route 2001:db8:ff::/48 via \"wg0\"; }}\n\
             protocol static own6 {{ ipv6;\ninclude \"{routes}\";\n}}\n",
            routes = setup.path("routes6.conf").display()
        );
        format!(
            "ipv6 {{ igp table links6; next hop address {}; import all; export where source = RTS_STATIC || source = RTS_BGP; }};",
            setup.own.next_hop(setup.own.ipv6_route())
        )
    } else {
        String::new()
    };
    for neighbor in &setup.neighbors {
        text += &format!(
            "protocol bgp {name} {{ local {own} as {ASN}; neighbor {address} as {ASN}; hold time 9;\n  \
             connect retry time 1; connect delay time 1; error wait time 1, 2; {reflect} {graceful}\n  \
             ipv4 {{ {add_path} igp table links; import all; export where source = RTS_STATIC || source = RTS_BGP; }}; {ipv6} }}\n",
            name = neighbor.name(),
            address = neighbor.overlay(),
        );
    }
    text
}

fn static_route(route: &Announcement) -> String {
    let mut actions = format!(
        "bgp_local_pref = {}; bgp_med = {};",
        route.local_pref, route.med
    );
    for community in &route.communities {
        actions += &format!(" bgp_community.add(({}));", community.replace(':', ","));
    }
    for community in &route.large_communities {
        let numbers = community.replace(':', ",");
        actions += &format!(" bgp_large_community.add(({numbers}));");
    }
    format!("route {} blackhole {{ {actions} }};\n", route.prefix)
}

/// Reads `show route all`: a line that begins with a prefix or spaces and `unicast` begins a route, indented
/// lines `BGP.name: value` are its attributes.
fn routes(text: &str) -> Result<Vec<SeenRoute>> {
    let mut routes: Vec<SeenRoute> = Vec::new();
    let mut prefix = None;
    for line in text.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !line.starts_with([' ', '\t']) {
            prefix = first.parse::<IpNet>().ok().or(prefix);
        }
        if line.contains(" unicast ") || line.contains(" unreachable ") {
            routes.push(SeenRoute::empty(prefix.context("a route without prefix")?));
            ensure!(!line.contains(" unreachable "), "next hop unknown: {line}");
        }
        if let (Some(route), Some((name, value))) =
            (routes.last_mut(), line.trim().split_once(": "))
        {
            attribute(route, name, value)?;
        }
    }
    Ok(routes)
}

fn attribute(route: &mut SeenRoute, name: &str, value: &str) -> Result<()> {
    let value = value.trim();
    match name {
        "BGP.next_hop" => route.next_hop = value.parse()?,
        "BGP.local_pref" => route.local_pref = Some(value.parse()?),
        "BGP.med" => route.med = Some(value.parse()?),
        "BGP.originator_id" => route.originator = Some(value.parse()?),
        "BGP.cluster_list" => {
            for id in value.split_whitespace() {
                route.cluster_list.push(id.parse()?);
            }
        }
        "BGP.community" => route.communities = communities(value),
        "BGP.large_community" => {
            route.large_communities = communities(value);
            route.large_communities.sort();
        }
        _ if name.starts_with("BGP.[") => bail!("bird does not know an attribute: {name} {value}"),
        _ => {}
    }
    Ok(())
}

/// Reads `(64577, 1, 2) (…)`.
fn communities(text: &str) -> Vec<String> {
    text.split(')')
        .map(|one| one.trim().trim_start_matches('('))
        .filter(|one| !one.is_empty())
        .map(|one| one.replace(", ", ":").replace(',', ":"))
        .collect()
}
