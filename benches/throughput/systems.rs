//! The systems under comparison: how each is started between the two routers.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sam_net::Namespace;

use crate::lab::{CLIENTS, GATEWAY, Lab, WAN, address, route};

/// Time for a system to carry the first packet.
const PATIENCE: Duration = Duration::from_secs(15);

/// A way to connect the two sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    /// Kernel forwarding without a tunnel: the reference.
    Plain,
    Samctl,
    WireguardGo,
    BoringtunCli,
}

/// A running system; dropping it ends its processes.
#[derive(Debug, Default)]
pub(crate) struct Running {
    children: Vec<Child>,
    folder: Option<PathBuf>,
}

impl System {
    pub(crate) const ALL: [Self; 4] = [
        Self::Plain,
        Self::Samctl,
        Self::WireguardGo,
        Self::BoringtunCli,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain kernel forwarding",
            Self::Samctl => "samctl",
            Self::WireguardGo => "wireguard-go",
            Self::BoringtunCli => "boringtun-cli",
        }
    }

    /// Names the program that is missing on this machine.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let needed: &[&str] = match self {
            Self::Plain | Self::Samctl => &["iperf3"],
            Self::WireguardGo => &["iperf3", "wireguard-go", "wg"],
            Self::BoringtunCli => &["iperf3", "boringtun-cli", "wg"],
        };
        needed.iter().copied().find(|program| !installed(program))
    }

    pub(crate) fn start(self, lab: &Lab) -> Result<Running> {
        let mut running = Running::default();
        match self {
            Self::Plain => plain(lab)?,
            Self::Samctl => samctl(lab, &mut running)?,
            Self::WireguardGo => userspace(lab, &mut running, "wireguard-go", &["-f"])?,
            Self::BoringtunCli => {
                userspace(
                    lab,
                    &mut running,
                    "boringtun-cli",
                    &["-f", "--disable-drop-privileges"],
                )?;
            }
        }
        wait_for_path(lab).with_context(|| format!("{} does not carry packets", self.name()))?;
        Ok(running)
    }
}

impl Running {
    /// Makes a private folder for keys and configurations.
    pub(crate) fn folder(&mut self) -> Result<PathBuf> {
        let unique = format!("samctl-bench-{}-{:?}", std::process::id(), Instant::now());
        let name: String = unique
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let folder = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        self.folder = Some(folder.clone());
        Ok(folder)
    }

    pub(crate) fn spawn(&mut self, mut command: Command) -> Result<u32> {
        sam_net::process::die_with_parent(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let process = child.id();
        self.children.push(child);
        Ok(process)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().ok();
            child.wait().ok();
        }
        if let Some(folder) = &self.folder {
            fs::remove_dir_all(folder).ok();
        }
    }
}

/// The kernel as router: forwarding and proxy ARP, and a /32 route to the far client.
fn forward_by_kernel(lab: &Lab, site: usize, link: &str, gateway: bool) -> Result<()> {
    let gateway = gateway.then_some(WAN[1 - site]);
    lab.routers[site].enter(|| -> Result<()> {
        for setting in ["ip_forward", "conf/lan0/proxy_arp"] {
            fs::write(format!("/proc/sys/net/ipv4/{setting}"), "1")?;
        }
        fs::write("/proc/sys/net/ipv4/neigh/lan0/proxy_delay", "0")?;
        route(CLIENTS[1 - site], link, gateway)
    })?
}

fn plain(lab: &Lab) -> Result<()> {
    for site in 0..2 {
        forward_by_kernel(lab, site, "wan0", true)?;
    }
    Ok(())
}

/// Writes the configuration of both sites into `folder` and returns the files.
pub(crate) fn configure(folder: &Path) -> Result<[PathBuf; 2]> {
    let program = env!("CARGO_BIN_EXE_samctl");
    let mut nodes = String::new();
    for site in 0..2 {
        let name = ["a", "b"][site];
        let key = Command::new(program).args(["key", "gen"]).output()?.stdout;
        let path = folder.join(format!("{name}.key"));
        fs::write(&path, &key)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let public = Command::new(program)
            .args(["key", "pub"])
            .stdin(fs::File::open(&path)?)
            .output()?
            .stdout;
        nodes += &format!(
            "    - {{id: {id}, name: {name}, site: {name}, role: onprem, overlay: 10.99.0.{id}, \
             endpoint: \"{endpoint}:51820\", publicKey: \"{key}\"}}\n",
            id = site + 1,
            endpoint = WAN[site],
            key = String::from_utf8_lossy(&public).trim(),
        );
    }
    let mut files = [PathBuf::new(), PathBuf::new()];
    for (site, file) in files.iter_mut().enumerate() {
        let name = ["a", "b"][site];
        *file = folder.join(format!("{name}.yaml"));
        fs::write(
            &*file,
            format!(
                "version: 1\nfabric:\n  name: bench\n  asn: 64577\n  pools:\n    \
                 - {{name: lan, prefix: 10.77.60.0/24, exclude: [{GATEWAY}]}}\n  nodes:\n{nodes}\
                 self:\n  node: {name}\n  privateKeyFile: {name}.key\n  \
                 capture: {{type: proxy-arp, interface: lan0, activeWhen: single-router}}\n  \
                 owned: [{owned}]\n  control: {{socket: {socket}}}\n",
                owned = CLIENTS[site],
                socket = folder.join(format!("{name}.sock")).display(),
            ),
        )?;
    }
    Ok(files)
}

fn samctl(lab: &Lab, running: &mut Running) -> Result<()> {
    let folder = running.folder()?;
    for (site, file) in configure(&folder)?.iter().enumerate() {
        let mut command = lab.routers[site].command(env!("CARGO_BIN_EXE_samctl"));
        command.arg("run").arg("-c").arg(file);
        running.spawn(command)?;
    }
    Ok(())
}

/// A WireGuard program with the kernel as router around it. The control socket has a fixed place, so each gets a
/// mount namespace of its own.
fn userspace(lab: &Lab, running: &mut Running, program: &str, arguments: &[&str]) -> Result<()> {
    let folder = running.folder()?;
    let mut processes = [0; 2];
    for (site, process) in processes.iter_mut().enumerate() {
        let mut command = lab.routers[site].command("unshare");
        command.args(["-m", "sh", "-c"]).arg(format!(
            "mount -t tmpfs none /run && mkdir /run/wireguard && exec {program} {} wg0",
            arguments.join(" ")
        ));
        command.env("WG_PROCESS_FOREGROUND", "1");
        *process = running.spawn(command)?;
        let key = Command::new("wg").arg("genkey").output()?.stdout;
        fs::write(folder.join(format!("key{site}")), key)?;
    }
    let public = |site: usize| -> Result<String> {
        let key = fs::File::open(folder.join(format!("key{site}")))?;
        let output = Command::new("wg").arg("pubkey").stdin(key).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    for site in 0..2 {
        let (far, peer) = (1 - site, public(1 - site)?);
        let key = folder.join(format!("key{site}")).display().to_string();
        let end = Instant::now() + PATIENCE;
        loop {
            let status = Command::new("nsenter")
                .args([
                    "-t",
                    &processes[site].to_string(),
                    "-m",
                    "-n",
                    "wg",
                    "set",
                    "wg0",
                ])
                .args(["listen-port", "51820", "private-key", &key, "peer", &peer])
                .args(["endpoint", &format!("{}:51820", WAN[far])])
                .args(["allowed-ips", &format!("{}/32", CLIENTS[far])])
                .stderr(Stdio::null())
                .status()?;
            if status.success() {
                break;
            }
            if Instant::now() > end {
                bail!("{program} does not come up");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let tunnel_end = [[10, 255, 0, 1], [10, 255, 0, 2]][site];
        set_up_tunnel(&lab.routers[site], tunnel_end.into())?;
        forward_by_kernel(lab, site, "wg0", false)?;
    }
    Ok(())
}

/// The MTU of samctl's own tunnel over a 1500-byte underlay, so that all carry equal packets.
fn set_up_tunnel(router: &Namespace, own: std::net::Ipv4Addr) -> Result<()> {
    router.enter(|| -> Result<()> {
        let mut netlink = sam_net::Netlink::open()?;
        let index = netlink.link("wg0")?.index;
        netlink.set_mtu(index, 1440)?;
        address("wg0", own, 32)
    })?
}

/// Waits until a TCP connection between the clients gets any answer, refusal included.
fn wait_for_path(lab: &Lab) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    lab.clients[0].enter(|| {
        while Instant::now() < end {
            let target = (CLIENTS[1], 9).into();
            match std::net::TcpStream::connect_timeout(&target, Duration::from_millis(300)) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    return Ok(());
                }
                Err(_) => {}
            }
        }
        bail!("no answer within {} s", PATIENCE.as_secs())
    })?
}

fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .any(|folder| Path::new(folder).join(program).exists())
}
