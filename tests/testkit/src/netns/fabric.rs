//! Keys and configuration files of all routers, and the routers themselves.

use std::fs;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sam_net::Namespace;
use sam_wg::PrivateKey;

use super::router::{Files, RouterProcess};
use super::shell::Folder;
use super::topology::{GATEWAY, Site, Topology};
use super::wait::holds_within;

/// Time for all routers to agree on all owners.
const AGREEMENT: Duration = Duration::from_secs(20);

/// A topology with configured routers. Dropping it stops them and removes their files.
#[derive(Debug)]
pub struct Fabric {
    // Stopped before the namespaces go.
    routers: Vec<Option<RouterProcess>>,
    /// Clients, LANs, WAN.
    pub topology: Topology,
    program: PathBuf,
    folder: Folder,
}

impl Fabric {
    /// Builds a topology of `sites` and writes the files; `program` is samctl. No router runs yet.
    ///
    /// # Panics
    /// When the kernel or the file system refuses.
    #[must_use]
    pub fn new(program: &Path, sites: u8) -> Self {
        let topology = Topology::build(sites);
        let fabric = Self {
            routers: topology.sites().iter().map(|_| None).collect(),
            topology,
            program: program.to_owned(),
            folder: Folder::new("netns"),
        };
        fabric.write_files();
        fabric
    }

    /// Builds everything, starts all routers and waits until they agree.
    #[must_use]
    pub fn running(program: &Path, sites: u8) -> Self {
        let mut fabric = Self::new(program, sites);
        fabric.start_all();
        fabric
    }

    /// Starts all routers and waits until they agree on the owners.
    pub fn start_all(&mut self) {
        for site in self.topology.sites() {
            self.start(site);
        }
        self.wait_for_agreement();
    }

    /// Starts one router and waits until it runs.
    pub fn start(&mut self, site: Site) {
        self.start_within(site, &[]);
    }

    /// Starts one router behind other commands (`["setpriv", …]`) and waits until it runs.
    pub fn start_within(&mut self, site: Site, wrapper: &[&str]) {
        let mut router = self.spawn(site, wrapper);
        router.wait_until_running();
        self.routers[site.index()] = Some(router);
    }

    /// Starts one router behind other commands and returns at once; the router is the caller's.
    #[must_use]
    pub fn spawn(&self, site: Site, wrapper: &[&str]) -> RouterProcess {
        RouterProcess::spawn(
            self.topology.router(site),
            &self.files(site.name()),
            wrapper,
        )
    }

    /// Starts a router with configuration, log and socket named `name` in any namespace; it is the caller's.
    #[must_use]
    pub fn spawn_in(&self, namespace: &Namespace, name: &str) -> RouterProcess {
        RouterProcess::spawn(namespace, &self.files(name), &[])
    }

    /// A running router.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn router(&self, site: Site) -> &RouterProcess {
        let router = self.routers[site.index()].as_ref();
        router.expect("this router was started")
    }

    /// Takes a running router out, to stop it in some way.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn take(&mut self, site: Site) -> RouterProcess {
        let router = self.routers[site.index()].take();
        router.expect("this router was started")
    }

    /// Stops a router, if it runs.
    pub fn stop(&mut self, site: Site) {
        self.routers[site.index()] = None;
    }

    /// A path in the folder of this fabric; everything there goes with it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration file of a site's router.
    #[must_use]
    pub fn config(&self, site: Site) -> PathBuf {
        self.files(site.name()).config
    }

    /// Changes one piece of text in a configuration file.
    ///
    /// # Panics
    /// When the file does not contain it.
    pub fn edit(&self, site: Site, from: &str, to: &str) {
        let path = self.config(site);
        let text = fs::read_to_string(&path).expect("the file was written");
        assert!(text.contains(from), "no '{from}' in\n{text}");
        fs::write(&path, text.replacen(from, to, 1)).expect("the file is writable");
    }

    /// Changes one piece of text in all configuration files.
    pub fn edit_all(&self, from: &str, to: &str) {
        for site in self.topology.sites() {
            self.edit(site, from, to);
        }
    }

    /// Writes a file that only its owner may read.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_secret(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
    }

    /// Waits until every running router sends every client's address to its site.
    ///
    /// # Panics
    /// When that takes too long; says what each router thinks.
    pub fn wait_for_agreement(&self) {
        let sites = self.topology.sites();
        let running: Vec<Site> = sites
            .iter()
            .copied()
            .filter(|site| self.routers[site.index()].is_some())
            .collect();
        let agree = |at: &Site| {
            let owned = |of: &Site| self.owner(*at, of.client()).as_deref() == Some(of.name());
            running.iter().all(owned)
        };
        if holds_within(AGREEMENT, || running.iter().all(agree)) {
            return;
        }
        let logs: Vec<String> = running
            .iter()
            .map(|site| format!("{}:\n{}", site.name(), self.router(*site).log()))
            .collect();
        panic!("no agreement within {AGREEMENT:?}\n{}", logs.join("\n"));
    }

    /// Name of the node that owns an address, as the router of `at` sees it.
    #[must_use]
    pub fn owner(&self, at: Site, address: Ipv4Addr) -> Option<String> {
        self.router(at).owner(address)
    }

    fn files(&self, name: &str) -> Files {
        let path = |ending: &str| self.folder.path().join(format!("{name}.{ending}"));
        Files {
            program: self.program.clone(),
            config: path("yaml"),
            socket: path("sock"),
            state: path("state.json"),
            log: path("log"),
        }
    }

    fn write_files(&self) {
        let sites = self.topology.sites();
        let mut nodes = String::new();
        for site in &sites {
            let key = PrivateKey::generate(random());
            self.write_secret(&format!("{}.key", site.name()), &key.to_base64());
            nodes += &format!(
                "    - {{id: {}, name: {name}, site: {name}, role: {name}, overlay: {}, endpoint: \"{}:51820\", publicKey: \"{}\"}}\n",
                site.number(),
                site.overlay(),
                site.underlay(),
                key.public(),
                name = site.name(),
            );
        }
        let reflectors = if sites.len() > 2 { "onprem" } else { "" };
        for site in &sites {
            let files = self.files(site.name());
            let text = format!(
                "version: 1\nfabric:\n  name: lab\n  asn: 64577\n  pools:\n    \
                 - {{name: lan60, prefix: 10.77.60.0/24, exclude: [{GATEWAY}]}}\n  \
                 bgp: {{timers: fast, routeReflectors: [{reflectors}]}}\n  nodes:\n{nodes}\
                 self:\n  node: {name}\n  privateKeyFile: {name}.key\n  \
                 capture: {{type: proxy-arp, interface: lan0, activeWhen: single-router}}\n  \
                 owned: [{client}]\n  control: {{socket: {socket}}}\n  stateFile: {state}\n",
                name = site.name(),
                client = site.client(),
                socket = files.socket.display(),
                state = files.state.display(),
            );
            fs::write(&files.config, text).expect("the folder is writable");
        }
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        // All at once: each waits for its farewell.
        for router in self.routers.iter_mut().flatten() {
            router.daemon().terminate();
        }
        self.routers.clear();
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("/dev/urandom is readable");
    bytes
}
