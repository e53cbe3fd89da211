//! ExaBGP. It has no RIB: everything it hears goes as JSON into a file, and what it says is written into a pipe.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde_json::Value;

use super::{Announcement, Daemon, SeenRoute, Setup};
use crate::fabric::ASN;
use crate::process::{Process, output};
use crate::requirement::program;
use crate::wait::eventually;
use crate::world::Place;

/// A running exabgp.
pub(super) struct Exabgp {
    setup: Setup,
    process: Process,
    /// What is written here, exabgp does.
    orders: File,
}

impl Exabgp {
    /// Starts it; it is ready when its helper reads orders, which needs no waiting.
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        let (pipe, heard) = (setup.path("orders"), heard_file(setup));
        fs::remove_file(&pipe).ok();
        output(Command::new("mkfifo").arg(&pipe))?;
        fs::write(&heard, "")?;
        let script = setup.path("helper");
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nexec 3<&0\ncat <&3 >>{} &\nexec cat {}\n",
                heard.display(),
                pipe.display()
            ),
        )?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        fs::write(setup.path("exabgp.conf"), config(setup))?;
        let mut command = setup.namespace.command(program("exabgp"));
        command
            .arg(setup.path("exabgp.conf"))
            .env("exabgp.daemon.user", "root")
            .env("exabgp.daemon.drop", "false")
            .env("exabgp.api.cli", "false")
            .env("exabgp.api.ack", "false")
            .env("exabgp.log.destination", "stdout")
            .env("exabgp.tcp.bind", setup.own.overlay().to_string())
            .env("exabgp.tcp.port", "179");
        // Open for both, so that the pipe neither blocks now nor ends later.
        let orders = File::options().read(true).write(true).open(&pipe)?;
        let mut exabgp = Self {
            setup: setup.clone(),
            process: Process::start(command, &setup.log)?,
            orders,
        };
        eventually("exabgp runs", || {
            exabgp.process.check_alive()?;
            let log = fs::read_to_string(&exabgp.setup.log)?;
            log.contains("loaded new configuration")
                .then_some(())
                .context("exabgp has not read its configuration")
        })?;
        Ok(exabgp)
    }

    fn order(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.orders, "{line}")?)
    }

    /// Which path to its prefix a route of its own is, where it may have several.
    fn path_id(&self) -> &'static str {
        if self.setup.add_path {
            " path-information 0.0.0.7"
        } else {
            ""
        }
    }

    /// Returns everything heard so far.
    fn heard(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(heard_file(&self.setup))?;
        // The last line may be half written.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        Ok(lines.collect())
    }
}

impl Daemon for Exabgp {
    fn established(&self, neighbor: Place) -> Result<bool> {
        let heard = self.heard()?;
        let mut states = heard.iter().filter(|line| {
            line["type"] == "state" && peer(line) == Some(neighbor.overlay().to_string().as_str())
        });
        let last = states.next_back();
        Ok(last.is_some_and(|line| line["neighbor"]["state"] == "up"))
    }

    fn routes(&self) -> Result<Vec<SeenRoute>> {
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        for line in self.heard()? {
            let Some(peer) = peer(&line) else { continue };
            let table = tables.entry(peer.to_owned()).or_default();
            if line["type"] == "state" && line["neighbor"]["state"] != "up" {
                table.clear();
            }
            if line["type"] == "update" {
                update(table, &line["neighbor"]["message"]["update"])?;
            }
        }
        Ok(tables
            .into_values()
            .flat_map(BTreeMap::into_values)
            .collect())
    }

    fn announce(&mut self, route: &Announcement) -> Result<()> {
        let words = |list: &[String]| list.join(" ");
        let mut line = format!(
            "announce route {}{} next-hop {} origin igp local-preference {} med {} community [ {} ]",
            route.prefix,
            self.path_id(),
            self.setup.own.next_hop(route.prefix),
            route.local_pref,
            route.med,
            words(&route.communities),
        );
        if !route.large_communities.is_empty() {
            line += &format!(" large-community [ {} ]", words(&route.large_communities));
        }
        self.order(&line)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        let (own, id) = (self.setup.own.next_hop(prefix), self.path_id());
        self.order(&format!("withdraw route {prefix}{id} next-hop {own}"))
    }

    fn ask_refresh(&mut self, _neighbor: Place) -> Result<()> {
        self.order("announce route-refresh ipv4 unicast")
    }

    fn shut_down(&mut self, neighbor: Place, _text: &str) -> Result<()> {
        self.order(&format!("neighbor {} teardown 2", neighbor.overlay()))
    }

    /// A teardown ends one session only; the next one comes by itself.
    fn reopen(&mut self, _neighbor: Place) -> Result<()> {
        Ok(())
    }

    /// ExaBGP 4.2 stumbles over the text of RFC 9003 (it joins bytes and text), and says which message it was.
    fn saw_shutdown(&self, neighbor: Place) -> Result<bool> {
        const STUMBLED: &str = "can not decode update message of type \"3\"";
        let heard = self.heard()?;
        Ok(heard.iter().any(|line| {
            let notification = &line["neighbor"]["notification"];
            let told = notification["code"] == 6 && notification["subcode"] == 2;
            let reason = line["neighbor"]["reason"].as_str();
            let stumbled = reason.is_some_and(|reason| reason.contains(STUMBLED));
            peer(line) == Some(neighbor.overlay().to_string().as_str()) && (told || stumbled)
        }))
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

fn config(setup: &Setup) -> String {
    let own = setup.own.overlay();
    let add_path = if setup.add_path {
        " add-path send/receive;"
    } else {
        ""
    };
    let ipv6 = if setup.ipv6 { " ipv6 unicast;" } else { "" };
    let mut text = format!(
        "process helper {{ run {}; encoder json; }}\n",
        setup.path("helper").display()
    );
    for neighbor in &setup.neighbors {
        text += &format!(
            "neighbor {address} {{ router-id {own}; local-address {own}; local-as {ASN}; peer-as {ASN}; hold-time 9;\n  \
             capability {{ route-refresh enable;{add_path} }} family {{ ipv4 unicast;{ipv6} }}\n  \
             api {{ processes [ helper ]; receive {{ parsed; update; notification; }} neighbor-changes; }} }}\n",
            address = neighbor.overlay(),
        );
    }
    text
}

/// Where everything heard is kept: beside the log, so that a failure shows its end.
fn heard_file(setup: &Setup) -> PathBuf {
    setup.log.with_file_name("heard.log")
}

fn peer(line: &Value) -> Option<&str> {
    line["neighbor"]["address"]["peer"].as_str()
}

/// What a neighbor told, by prefix and path identifier.
type Table = BTreeMap<(IpNet, Option<String>), SeenRoute>;

/// Applies an UPDATE to what a neighbor told before.
fn update(table: &mut Table, update: &Value) -> Result<()> {
    let key = |entry: &Value| -> Result<(IpNet, Option<String>)> {
        let text = entry["nlri"].as_str().context("no prefix")?;
        let id = entry["path-information"].as_str().map(str::to_owned);
        Ok((text.parse()?, id))
    };
    let families = ["ipv4 unicast", "ipv6 unicast"];
    let gone = families.map(|family| update["withdraw"][family].as_array());
    for entry in gone.into_iter().flatten().flatten() {
        table.remove(&key(entry)?);
    }
    let told = families.map(|family| update["announce"][family].as_object());
    for (next_hop, entries) in told.into_iter().flatten().flatten() {
        for entry in entries.as_array().context("no list of prefixes")? {
            let key = key(entry)?;
            let mut route = SeenRoute::empty(key.0);
            route.next_hop = next_hop.parse()?;
            attributes(&mut route, &update["attribute"])?;
            table.insert(key, route);
        }
    }
    Ok(())
}

fn attributes(route: &mut SeenRoute, shown: &Value) -> Result<()> {
    let number = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    route.local_pref = number(&shown["local-preference"]);
    route.med = number(&shown["med"]);
    if let Some(originator) = shown["originator-id"].as_str() {
        route.originator = Some(originator.parse()?);
    }
    for id in shown["cluster-list"].as_array().into_iter().flatten() {
        let id = id.as_str().context("a cluster id is no text")?;
        route.cluster_list.push(id.parse()?);
    }
    route.communities = joined(&shown["community"]);
    route.large_communities = joined(&shown["large-community"]);
    route.large_communities.sort();
    Ok(())
}

/// Makes `64577:1:2` of `[64577, 1, 2]`.
fn joined(list: &Value) -> Vec<String> {
    let numbers = |one: &Value| {
        let parts = one.as_array().into_iter().flatten();
        let parts: Vec<String> = parts.map(ToString::to_string).collect();
        parts.join(":")
    };
    list.as_array().into_iter().flatten().map(numbers).collect()
}
