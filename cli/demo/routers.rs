//! The four `samctl run` of the demo: keys, configuration files, processes, and their control sockets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sam_wg::PrivateKey;

use super::ask;
use super::lab::{GATEWAY, Lab, SITES, SiteName};

/// Time for a router to withdraw and close its sessions.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Four running routers; dropping them stops them and removes their files.
#[derive(Debug)]
pub(super) struct Routers {
    /// Where configuration, keys, logs and sockets are.
    pub folder: PathBuf,
    children: Vec<Child>,
}

impl Routers {
    /// Writes the configurations and starts the four routers, each in its namespace.
    ///
    /// # Errors
    /// When a file cannot be written or a process not be started.
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("samctl-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            // Never a folder that somebody else prepared: keys go in.
            .recursive(false)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let mut routers = Self {
            folder,
            children: Vec::new(),
        };
        routers.write_files()?;
        let program = std::env::current_exe().context("cannot find the program itself")?;
        for (index, site) in SITES.iter().enumerate() {
            let log = fs::File::create(routers.log(*site))?;
            let mut command = lab.routers[index].command(&program);
            sam_net::process::die_with_parent(&mut command);
            let child = command
                .arg("run")
                .arg("-c")
                .arg(routers.folder.join(format!("{}.yaml", site.name)))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| format!("cannot start the router of {}", site.name))?;
            routers.children.push(child);
        }
        Ok(routers)
    }

    fn write_files(&self) -> Result<()> {
        let mut nodes = String::new();
        for site in SITES {
            let key = PrivateKey::generate(random()?);
            secret_file(
                &self.folder.join(format!("{}.key", site.name)),
                &key.to_base64(),
            )?;
            nodes += &format!(
                "    - {{id: {}, name: {}, site: {}, role: {}, overlay: {}, endpoint: \"{}:51820\", publicKey: \"{}\"}}\n",
                site.number,
                site.name,
                site.name,
                site.role,
                site.overlay(),
                site.underlay(),
                key.public(),
            );
        }
        let fabric = format!(
            "version: 1\nfabric:\n  name: demo\n  asn: 64577\n  pools:\n    - {{name: lan60, prefix: 10.77.60.0/24, exclude: [{GATEWAY}]}}\n  \
             bgp: {{timers: fast, routeReflectors: [onprem]}}\n  nodes:\n{nodes}"
        );
        for site in SITES {
            let own = format!(
                "self:\n  node: {name}\n  privateKeyFile: {name}.key\n  capture: {{type: proxy-arp, interface: lan0, activeWhen: single-router}}\n  \
                 owned: [{address}]\n  control: {{socket: {socket}}}\n",
                name = site.name,
                address = site.client(),
                socket = self.socket(site).display(),
            );
            let path = self.folder.join(format!("{}.yaml", site.name));
            fs::write(&path, format!("{fabric}{own}"))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The control socket of a site's router.
    #[must_use]
    pub(super) fn socket(&self, site: SiteName) -> PathBuf {
        self.folder.join(format!("{}.sock", site.name))
    }

    /// The log of a site's router.
    #[must_use]
    pub(super) fn log(&self, site: SiteName) -> PathBuf {
        self.folder.join(format!("{}.log", site.name))
    }

    /// Process id of a site's router.
    #[must_use]
    pub(super) fn process(&self, site: SiteName) -> u32 {
        self.children[usize::from(site.number - 1)].id()
    }

    /// Waits until every router sends every client's address to the right site.
    ///
    /// # Errors
    /// When a router ended, or agreement takes longer than `patience`.
    pub(super) fn wait_for_agreement(&mut self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            for (site, child) in SITES.iter().zip(&mut self.children) {
                if let Some(status) = child.try_wait()? {
                    let log = self.folder.join(format!("{}.log", site.name));
                    let text = fs::read_to_string(&log).unwrap_or_default();
                    bail!("the router of {} ended ({status}):\n{text}", site.name);
                }
            }
            if SITES.iter().all(|site| self.agrees(*site)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "the routers do not agree on the owners within {} s; logs are in {}",
            patience.as_secs(),
            self.folder.display()
        )
    }

    fn agrees(&self, at: SiteName) -> bool {
        SITES
            .iter()
            .all(|site| self.owner(at, site.client()).as_deref() == Some(site.name))
    }

    /// Who owns `address`, as the router of `at` sees it.
    #[must_use]
    pub(super) fn owner(&self, at: SiteName, address: std::net::Ipv4Addr) -> Option<String> {
        let view = ask::get(&self.socket(at), "/v1/owners").ok()?;
        let rows = view["owners"].as_array()?;
        let row = rows
            .iter()
            .find(|row| row["address"] == address.to_string())?;
        Some(row["owner"]["name"].as_str()?.to_owned())
    }

    /// Waits for the end: Ctrl-C and SIGTERM end the whole program in order.
    pub(super) fn wait_for_signal(&self) -> ! {
        loop {
            std::thread::park();
        }
    }

    /// Stops all routers in order.
    pub(super) fn stop(&mut self) {
        for child in &self.children {
            sam_net::process::terminate(child.id());
        }
        let end = Instant::now() + STOP_PATIENCE;
        for child in &mut self.children {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            child.kill().ok();
            child.wait().ok();
        }
        self.children.clear();
    }
}

impl Drop for Routers {
    fn drop(&mut self) {
        self.stop();
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}

fn secret_file(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{text}")?;
    Ok(())
}
