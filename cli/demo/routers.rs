//! The eight `samctl run` of the demo: processes, and what they say on their control sockets.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::lab::Lab;
use super::sites::{Router, Site};
use super::{ask, configuration};

/// Time for a router to withdraw and close its sessions.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Process ids of what runs, for whoever has to end it.
pub(super) type Processes = Arc<Mutex<BTreeMap<Router, u32>>>;

/// Running routers; dropping them stops them and removes their files.
#[derive(Debug)]
pub(super) struct Routers {
    /// Where configuration, keys, logs and sockets are.
    pub folder: PathBuf,
    /// Process ids.
    pub processes: Processes,
    children: BTreeMap<Router, Child>,
}

impl Routers {
    /// Writes the configurations and starts all routers, each in its namespace.
    ///
    /// # Errors
    /// When a file cannot be written or a process not be started.
    pub(super) fn start_all(lab: &Lab) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("samctl-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            // Never a folder that somebody else prepared: keys go in.
            .recursive(false)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let mut routers = Self {
            folder,
            processes: Processes::default(),
            children: BTreeMap::new(),
        };
        configuration::write(&routers.folder)?;
        for router in Router::all() {
            routers.start(lab, router)?;
        }
        Ok(routers)
    }

    /// Starts a router that does not run.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(super) fn start(&mut self, lab: &Lab, router: Router) -> Result<()> {
        let program = std::env::current_exe().context("cannot find the program itself")?;
        let log = self.file(router, "log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = lab.router(router).command(&program);
        sam_net::process::die_with_parent(&mut command);
        let child = command
            .arg("run")
            .arg("-c")
            .arg(self.file(router, "yaml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", router.name()))?;
        self.known(|known| known.insert(router, child.id()));
        self.children.insert(router, child);
        Ok(())
    }

    /// Ends a router at once, as a crash does.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn kill(&mut self, router: Router) -> Result<()> {
        let mut child = self.take(router)?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Freezes a router, as a machine that hangs does.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn freeze(&self, router: Router) -> Result<()> {
        self.process(router).map(sam_net::process::freeze)
    }

    /// Lets a frozen router go on.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn thaw(&self, router: Router) -> Result<()> {
        self.process(router).map(sam_net::process::thaw)
    }

    fn process(&self, router: Router) -> Result<u32> {
        let child = self.children.get(&router);
        let child = child.with_context(|| format!("{} does not run", router.name()))?;
        Ok(child.id())
    }

    /// Ends a router in order.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn stop(&mut self, router: Router) -> Result<()> {
        let child = self.take(router)?;
        sam_net::process::terminate(child.id());
        end(child, Instant::now() + STOP_PATIENCE);
        Ok(())
    }

    fn take(&mut self, router: Router) -> Result<Child> {
        self.known(|known| known.remove(&router));
        let child = self.children.remove(&router);
        child.with_context(|| format!("{} does not run", router.name()))
    }

    fn known<T>(&self, act: impl FnOnce(&mut BTreeMap<Router, u32>) -> T) -> T {
        act(&mut self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// A file of a router: `yaml`, `log`, `sock`, `captures.jsonl`.
    pub(super) fn file(&self, router: Router, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", router.name()))
    }

    /// The routers that run.
    pub(super) fn running(&self) -> impl Iterator<Item = Router> + '_ {
        self.children.keys().copied()
    }

    /// Fails when a router has ended by itself.
    ///
    /// # Errors
    /// Which, with its log.
    pub(super) fn check(&mut self) -> Result<()> {
        for (router, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                let log = self.folder.join(format!("{}.log", router.name()));
                let text = fs::read_to_string(&log).unwrap_or_default();
                bail!("{} ended ({status}):\n{text}", router.name());
            }
        }
        Ok(())
    }

    /// Asks a router; `None` when it does not answer.
    pub(super) fn view(&self, router: Router, path: &str) -> Option<Value> {
        ask::get(&self.file(router, "sock"), path).ok()
    }

    /// Orders something.
    ///
    /// # Errors
    /// When the router refuses.
    pub(super) fn order(&self, router: Router, path: &str, body: &Value) -> Result<Value> {
        ask::post(&self.file(router, "sock"), path, body)
            .with_context(|| format!("{} refuses {path}", router.name()))
    }

    /// Empties a router, or uses it again.
    ///
    /// # Errors
    /// When the router refuses.
    pub(super) fn drain(&self, router: Router, on: bool) -> Result<()> {
        self.order(router, "/v1/drain", &json!({ "on": on }))
            .map(drop)
    }

    /// The site where an address lives, as a router sees it.
    pub(super) fn owner_site(&self, router: Router, address: Ipv4Addr) -> Option<Site> {
        let owner = self.owner(router, address)?;
        let (site, _) = owner.rsplit_once('-')?;
        Site::ALL.into_iter().find(|known| known.name() == site)
    }

    /// The node that owns an address, as a router sees it.
    pub(super) fn owner(&self, router: Router, address: Ipv4Addr) -> Option<String> {
        let view = self.view(router, "/v1/owners")?;
        let rows = view["owners"].as_array()?;
        let address = address.to_string();
        let row = rows.iter().find(|row| row["address"] == address)?;
        Some(row["owner"]["name"].as_str()?.to_owned())
    }

    /// Tells whether all that run send packets for an address to a site.
    pub(super) fn agree(&self, address: Ipv4Addr, site: Site) -> bool {
        self.running()
            .all(|router| self.owner_site(router, address) == Some(site))
    }

    /// The same, but for one that knows nothing.
    pub(super) fn agree_but(&self, cut_off: Router, address: Ipv4Addr, site: Site) -> bool {
        let others = self.running().filter(|router| *router != cut_off);
        { others }.all(|router| self.owner_site(router, address) == Some(site))
    }

    /// Tells whether a router has BFD sessions with all others that run, and all are up.
    pub(super) fn watches_all(&self, router: Router) -> bool {
        let view = self.view(router, "/v1/bfd");
        let sessions = view.as_ref().and_then(|view| view["sessions"].as_array());
        let up = sessions.into_iter().flatten();
        up.filter(|one| one["state"] == "up").count() + 1 >= self.children.len()
    }

    /// The part that a router plays on the LAN.
    pub(super) fn role(&self, router: Router) -> Option<String> {
        let view = self.view(router, "/v1/vrrp")?;
        Some(view["election"]["state"].as_str()?.to_owned())
    }

    /// Tells whether a router acts on the LAN.
    pub(super) fn is_master(&self, router: Router) -> bool {
        self.role(router).as_deref() == Some("master")
    }

    /// The router that acts on the LAN, if it is one.
    pub(super) fn master(&self) -> Option<Router> {
        let running = self.running().filter(|router| router.site == Site::Onprem);
        let masters: Vec<Router> = running.filter(|router| self.is_master(*router)).collect();
        match masters.as_slice() {
            [master] => Some(*master),
            _ => None,
        }
    }

    /// Waits for the end: Ctrl-C and SIGTERM end the whole program in order.
    pub(super) fn wait_for_signal(&self) -> ! {
        loop {
            std::thread::park();
        }
    }

    /// Stops all routers in order.
    pub(super) fn stop_all(&mut self) {
        self.known(BTreeMap::clear);
        for child in self.children.values() {
            sam_net::process::terminate(child.id());
        }
        let patience = Instant::now() + STOP_PATIENCE;
        for child in std::mem::take(&mut self.children).into_values() {
            end(child, patience);
        }
    }
}

impl Drop for Routers {
    fn drop(&mut self) {
        self.stop_all();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Waits for a process that was asked to end, and ends it then.
fn end(mut child: Child, patience: Instant) {
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().ok();
    child.wait().ok();
}
