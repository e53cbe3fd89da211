//! Two routers on one LAN, of which one acts there, and a third elsewhere.
//!
//! ```text
//!            ┌── router onprem, priority 150 ══╗
//! .10 ── lan1┤                                 ╠══ router aws ── lan2 ── .11
//!            └── router azure,  priority 100 ══╝
//! ```

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use sam_net::Namespace;
use serde_json::Value;

use super::arp::ask_who_has;
use super::fabric::Fabric;
use super::shell::sh;
use super::topology::Site;
use super::wait::wait_until;

/// The router with the better priority.
pub const FIRST: Site = Site::ONPREM;
/// The other one on its LAN.
pub const SECOND: Site = Site::AZURE;
/// The router elsewhere.
pub const FAR: Site = Site::AWS;
/// The virtual address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 254);
/// Three intervals of 300 ms, a skew, and what BFD and a busy machine take.
const TAKEOVER: Duration = Duration::from_millis(4_000);
const ELECTION: Duration = Duration::from_secs(15);
const ARP_WINDOW: Duration = Duration::from_millis(40);

/// Two routers on one LAN.
pub struct Pair {
    /// Everything that runs.
    pub fabric: Fabric,
}

impl Pair {
    /// Starts all routers and waits until the first one is master and packets pass.
    ///
    /// # Panics
    /// When the kernel refuses, or they do not come up.
    #[must_use]
    pub fn running(program: &Path) -> Self {
        Self::configured(program, |_| {})
    }

    /// The same after `edit` has changed the configuration files.
    ///
    /// # Panics
    /// When the kernel refuses, or they do not come up.
    #[must_use]
    pub fn configured(program: &Path, edit: impl FnOnce(&Fabric)) -> Self {
        let fabric = Fabric::new(program, 3);
        let topology = &fabric.topology;
        // Its cable goes to the first one's LAN, its address is another one.
        let cable = format!("ip link set {} master lan1", topology.router_port(SECOND));
        sh(topology.wires(), &cable).success();
        let address = "ip address flush dev lan0 && ip address add 10.77.60.2/24 dev lan0";
        sh(topology.router(SECOND), address).success();
        fabric.edit_all(
            "name: azure, site: azure, role: azure",
            "name: azure, site: onprem, role: onprem",
        );
        fabric.edit_all("routeReflectors: [onprem]", "routeReflectors: []");
        fabric.edit_all(
            "exclude: [10.77.60.1]",
            "exclude: [10.77.60.1, 10.77.60.2, 10.77.60.254]",
        );
        fabric.edit(SECOND, "owned: [10.77.60.12]", "owned: [10.77.60.10]");
        for (site, priority) in [(FIRST, 150), (SECOND, 100)] {
            let gate =
                format!("activeWhen: {{vrrp: {{vrid: 60, address: {VIP}, priority: {priority}}}}}");
            fabric.edit(site, "activeWhen: single-router", &gate);
        }
        edit(&fabric);
        // Without preemption the first to come keeps the role.
        let mut pair = Self { fabric };
        pair.fabric.start(FIRST);
        pair.wait_for(FIRST, "master");
        pair.fabric.start(SECOND);
        pair.fabric.start(FAR);
        pair.wait_for(SECOND, "backup");
        wait_until("the far client answers", ELECTION, || {
            sh(
                pair.client(),
                &format!("ping -n -c 1 -W 1 {}", FAR.client()),
            )
            .code
                == 0
        });
        // What breaks before BFD was up is noticed by BGP only, ten times as late.
        wait_until("BFD is up everywhere", ELECTION, || {
            [FIRST, SECOND, FAR].into_iter().all(|site| {
                let view = pair.fabric.router(site).json("bfd");
                let sessions = view["sessions"].as_array();
                sessions
                    .is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["state"] == "up"))
            })
        });
        pair
    }

    /// Loses multicast on the way to both routers, advertisements of VRRP with it, or delivers it again; ARP passes.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn lose_multicast(&self, lose: bool) {
        let flood = if lose { "off" } else { "on" };
        let topology = &self.fabric.topology;
        for site in [FIRST, SECOND] {
            let port = topology.router_port(site);
            let command = format!("ip link set {port} type bridge_slave mcast_flood {flood}");
            sh(topology.wires(), &command).success();
        }
    }

    /// Cuts the LAN in two: the second router gets a segment of its own, on which the other host is. Or joins it again.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn split(&self, split: bool) {
        let to = if split { SECOND } else { FIRST };
        let topology = &self.fabric.topology;
        topology.replug_port(&topology.router_port(SECOND), to);
        topology.replug(SECOND, to);
    }

    /// The host on the half of the LAN that is the second router's when it is split.
    #[must_use]
    pub fn other_client(&self) -> &Namespace {
        self.fabric.topology.client(SECOND)
    }

    /// The host on their LAN.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        self.fabric.topology.client(FIRST)
    }

    /// `samctl vrrp` of a router, from its election thread: a machine that stood still for longer than the router waits for
    /// that thread is asked again.
    ///
    /// # Panics
    /// When the thread does not answer within fifteen seconds.
    #[must_use]
    pub fn vrrp(&self, site: Site) -> Value {
        let mut view = Value::Null;
        wait_until("the election thread answers", ELECTION, || {
            view = self.fabric.router(site).json("vrrp");
            view["failure"] != "the thread does not answer"
        });
        view
    }

    /// Which part a router plays.
    #[must_use]
    pub fn state(&self, site: Site) -> String {
        let view = self.vrrp(site);
        view["election"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until a router plays a part.
    ///
    /// # Panics
    /// When it does not within fifteen seconds.
    pub fn wait_for(&self, site: Site, state: &str) {
        let what = format!("{} is {state}", site.name());
        wait_until(&what, ELECTION, || self.state(site) == state);
    }

    /// A router's MAC on the LAN.
    #[must_use]
    pub fn mac(&self, site: Site) -> String {
        let view = self.fabric.router(site).json("arp");
        view["mac"].as_str().unwrap_or_default().to_owned()
    }

    /// Asks the LAN who has an address, and returns who answered within a time.
    #[must_use]
    pub fn who_has(&self, target: Ipv4Addr, window: Duration) -> Vec<(Ipv4Addr, String)> {
        let answers = ask_who_has(self.client(), FIRST.client(), target, window);
        answers
            .into_iter()
            .map(|answer| (answer.address, answer.mac))
            .collect()
    }

    /// Asks again and again who has the far client's address, until a router is master; returns who answered each time.
    ///
    /// # Panics
    /// When it does not become master in time.
    #[must_use]
    pub fn answerers_until_master(&self, site: Site) -> Vec<BTreeSet<String>> {
        let mut seen = Vec::new();
        wait_until("the other router is master", TAKEOVER, || {
            let answers = self.who_has(FAR.client(), ARP_WINDOW);
            seen.push(answers.into_iter().map(|(_, mac)| mac).collect());
            self.state(site) == "master"
        });
        seen
    }
}
