//! A real `samctl run` in a router namespace, and what its other verbs say about it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use sam_net::Namespace;
use serde_json::Value;

use crate::fabric::Fabric;
use crate::process::{Process, output};
use crate::scratch::Scratch;
use crate::wait::eventually;
use crate::world::{Place, Site};

/// A running router; dropping it stops it.
pub(crate) struct Router {
    /// Which site it serves.
    pub(crate) place: Place,
    socket: PathBuf,
    process: Process,
    namespace: Namespace,
    config: PathBuf,
    /// What is the same in every configuration of the test.
    base: String,
    log: PathBuf,
}

impl Router {
    /// Starts the router of a site; it owns the site's client. `preshared` holds for all its peers.
    pub(crate) fn start(
        site: &Site,
        fabric: &Fabric,
        scratch: &Scratch,
        preshared: Option<&Path>,
    ) -> Result<Self> {
        let mut more = String::new();
        if let Some(file) = preshared {
            more += "  presharedKeyFiles:\n";
            for peer in fabric.others(site.place) {
                more += &format!("    {}: {}\n", peer.name(), file.display());
            }
        }
        Self::start_with(site, fabric, scratch, &more)
    }

    /// The same with more of its own part of the configuration.
    pub(crate) fn start_with(
        site: &Site,
        fabric: &Fabric,
        scratch: &Scratch,
        more: &str,
    ) -> Result<Self> {
        Self::start_when(site, fabric, scratch, "single-router", more)
    }

    /// The same with `activeWhen` as it is to be written.
    pub(crate) fn start_when(
        site: &Site,
        fabric: &Fabric,
        scratch: &Scratch,
        active_when: &str,
        more: &str,
    ) -> Result<Self> {
        let place = site.place;
        let name = place.name();
        scratch.write(&format!("{name}.key"), &fabric.private_key(place))?;
        let socket = scratch.path(&format!("{name}.sock"));
        let mut text = fabric.yaml();
        text += &format!(
            "self:\n  node: {name}\n  privateKeyFile: {name}.key\n  owned: [{client}]\n  control: {{socket: {socket}}}\n  stateFile: {name}.state.json\n  \
             capture: {{type: proxy-arp, interface: lan0, activeWhen: {active_when}}}\n",
            client = place.client(),
            socket = socket.display(),
        );
        let base = text.clone();
        text += more;
        let config = scratch.write(&format!("{name}.yaml"), &text)?;
        let log = scratch.path(&format!("{name}.log"));
        let namespace = site.router.clone();
        let mut router = Self {
            place,
            socket,
            process: run(&namespace, &config, &log)?,
            namespace,
            config,
            base,
            log,
        };
        router.wait_until_running()?;
        Ok(router)
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it in its tracks until [`Self::thaw`].
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let process = self.process.id().to_string();
        output(Command::new("kill").args(["-s", name, &process])).map(drop)
    }

    /// Starts the killed router again.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = run(&self.namespace, &self.config, &self.log)?;
        self.wait_until_running()
    }

    /// Has it read another configuration: what it began with, and `more`.
    pub(crate) fn reload(&self, more: &str) -> Result<()> {
        std::fs::write(&self.config, format!("{}{more}", self.base))?;
        self.order(&["reload"]).map(drop)
    }

    fn wait_until_running(&mut self) -> Result<()> {
        eventually("the router answers", || {
            self.process.check_alive()?;
            let version = self.ask(&["version"])?;
            ensure!(version["router"]["name"] == "samctl", "{version}");
            Ok(())
        })
    }

    /// Runs a verb and returns its JSON.
    pub(crate) fn ask(&self, verb: &[&str]) -> Result<Value> {
        let text = self.order(verb)?;
        serde_json::from_str(&text).with_context(|| format!("samctl {verb:?} printed no JSON"))
    }

    /// Runs a verb whose answer does not matter.
    pub(crate) fn order(&self, verb: &[&str]) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samctl"));
        command.arg("--socket").arg(&self.socket);
        output(command.args(["-o", "json"]).args(verb))
    }

    /// `samctl bgp neighbor`
    pub(crate) fn neighbor(&self, of: Place) -> Result<Value> {
        self.ask(&["bgp", "neighbor", &of.name()])
    }

    /// All paths to a prefix, as `samctl bgp rib` shows them.
    pub(crate) fn paths(&self, prefix: IpNet) -> Result<Vec<Value>> {
        let rib = self.ask(&["bgp", "rib", &prefix.to_string()])?;
        let entries = rib["entries"].as_array().context("no entries")?;
        let entry = entries
            .iter()
            .find(|entry| entry["prefix"] == prefix.to_string());
        Ok(entry
            .and_then(|entry| entry["paths"].as_array().cloned())
            .unwrap_or_default())
    }

    /// The forwarding entry of a prefix, as `samctl routes` shows it.
    pub(crate) fn route(&self, prefix: IpNet) -> Result<Option<Value>> {
        let table = self.ask(&["routes"])?;
        let routes = table["routes"].as_array().context("no routes")?;
        let found = routes
            .iter()
            .find(|route| route["prefix"] == prefix.to_string());
        Ok(found.cloned())
    }

    /// The tunnel to a node, as `samctl tunnels` shows it.
    pub(crate) fn tunnel(&self, to: Place) -> Result<Value> {
        let view = self.ask(&["tunnels"])?;
        let tunnels = view["tunnels"].as_array().context("no tunnels")?;
        let found = tunnels
            .iter()
            .find(|row| row["overlay"] == to.overlay().to_string());
        found.cloned().context("no such tunnel")
    }

    /// Packets dropped for a reason, as `samctl counters` shows them.
    pub(crate) fn drops(&self, reason: &str) -> Result<u64> {
        let view = self.ask(&["counters"])?;
        let drops = view["drops"].as_array().context("no drops")?;
        let row = drops.iter().find(|row| row["reason"] == reason);
        row.and_then(|row| row["total"].as_u64())
            .with_context(|| format!("there is no drop reason {reason}"))
    }

    /// Stops the router in order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "samctl ended with {status}");
        Ok(())
    }
}

fn run(namespace: &Namespace, config: &Path, log: &Path) -> Result<Process> {
    let mut command = namespace.command(env!("CARGO_BIN_EXE_samctl"));
    command.arg("run").arg("-c").arg(config);
    Process::start(command, log)
}
