//! The world of the demo while it runs: lab, providers, routers, and what the hosts serve.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::cloud::FakeCloud;
use super::lab::Lab;
use super::progress::Progress;
use super::routers::Routers;
use super::server::Server;
use super::sites::{GUEST, Site};
use super::ssh::Ssh;

/// Time for the routers to find each other, and for what follows.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Everything that runs.
pub(super) struct Running {
    /// The routers; they end first.
    pub routers: Routers,
    /// The providers.
    pub cloud: FakeCloud,
    /// Namespaces and cables.
    pub lab: Lab,
    /// Where each address lives.
    pub homes: BTreeMap<Ipv4Addr, Site>,
    /// How long the routers took to agree, and to capture.
    pub convergence: Duration,
    servers: Vec<Server>,
}

impl Running {
    /// Builds and starts everything, and waits until packets pass.
    ///
    /// # Errors
    /// What the machine refused, or what did not come up.
    pub(super) fn start(progress: &mut Progress) -> Result<Self> {
        progress.step("four sites: clients, a LAN, three fabrics, a WAN");
        let lab = Lab::build()?;
        let cloud = FakeCloud::start(&lab)?;
        let hosts = lab.clients().iter().chain([&lab.guest]);
        let servers = hosts.map(Server::start).collect::<Result<_>>()?;
        progress.step("eight routers: samctl run");
        let routers = Routers::start_all(&lab)?;
        end_in_order(&routers)?;
        let homes = Site::ALL.map(|site| (site.client(), site));
        let homes = homes.into_iter().chain([(GUEST, Site::Onprem)]);
        let mut running = Self {
            routers,
            cloud,
            lab,
            homes: homes.collect(),
            convergence: Duration::ZERO,
            servers,
        };
        let begun = Instant::now();
        running.wait("the routers agree on all owners", Self::agreed)?;
        progress.step("agreed on all owners");
        running.wait("all providers lead to the routers", Self::captured)?;
        running.convergence = begun.elapsed();
        progress.step(&format!(
            "captured in three clouds, {:.2} s after the start of the routers",
            running.convergence.as_secs_f64()
        ));
        Ok(running)
    }

    /// Starts ssh at the clients, or says why there is none.
    pub(super) fn ssh(&self) -> Result<Ssh> {
        let addresses = Site::ALL.map(Site::client);
        Ssh::start(self.lab.clients(), &addresses, &self.routers.folder)
    }

    /// Serves at one more host.
    ///
    /// # Errors
    /// When the port is taken.
    pub(super) fn serve(&mut self, host: &sam_net::Namespace) -> Result<()> {
        self.servers.push(Server::start(host)?);
        Ok(())
    }

    /// Tells whether all routers that run send all packets to the right sites.
    pub(super) fn agreed(&self) -> bool {
        let mut homes = self.homes.iter();
        homes.all(|(address, site)| self.routers.agree(*address, *site))
    }

    /// Tells whether each provider leads to a router whatever lives elsewhere.
    pub(super) fn captured(&self) -> bool {
        Site::CLOUDS.into_iter().all(|site| {
            let mut elsewhere = self.homes.iter().filter(|(_, home)| **home != site);
            elsewhere.all(|(address, _)| self.cloud.holder(site, *address).is_some())
        })
    }

    /// Waits until everything works that has to before anything is broken: what breaks before BFD is up is noticed late.
    ///
    /// # Errors
    /// What does not.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.wait("one router acts on the LAN", |running| {
            running.routers.master().is_some()
        })?;
        self.wait("the routers agree on all owners", Self::agreed)?;
        self.wait("all providers lead to the routers", Self::captured)?;
        self.wait("BFD is up everywhere", |running| {
            let mut routers = running.routers.running();
            routers.all(|router| running.routers.watches_all(router))
        })?;
        Ok(())
    }

    /// Waits for something, and returns how long that took.
    ///
    /// # Errors
    /// When a router ends by itself, or after a minute.
    pub(super) fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<Duration> {
        self.wait_for_slow(Duration::ZERO, what, holds)
    }

    /// The same, where each change at a provider takes so much longer.
    ///
    /// # Errors
    /// When a router ends by itself, or after a minute and the time for all changes.
    pub(super) fn wait_for_slow(
        &mut self,
        delay: Duration,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) -> Result<Duration> {
        // One change for each address and one more that takes something off another interface.
        let changes = u32::try_from(self.homes.len() + 1).unwrap_or(u32::MAX);
        let patience = PATIENCE + delay * changes;
        let begun = Instant::now();
        while begun.elapsed() < patience {
            self.routers.check()?;
            if holds(self) {
                return Ok(begun.elapsed());
            }
            std::thread::sleep(PAUSE);
        }
        bail!(
            "not within {} s: {what}; see --keep, and the logs in {}",
            patience.as_secs(),
            self.routers.folder.display()
        )
    }
}

/// Ctrl-C and SIGTERM stop the routers, remove their files and end the program.
fn end_in_order(routers: &Routers) -> Result<()> {
    let folder = routers.folder.clone();
    let processes = routers.processes.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let Ok(mut terminate) =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            else {
                return;
            };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if let Ok(processes) = processes.lock() {
                for process in processes.values() {
                    sam_net::process::terminate(*process);
                }
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
            std::fs::remove_dir_all(&folder).ok();
            std::process::exit(130);
        });
    });
    Ok(())
}
