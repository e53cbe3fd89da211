//! The systems under comparison: how each is started between the two routers.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sam_net::Namespace;

use crate::lab::{CLIENTS, GATEWAY, INNER_MTU, Lab, WAN, address, route};
use crate::{machine, ovs};

/// Time for a system to carry the first packet.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// The ends of a tunnel that is not samctl's.
const TUNNEL: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 255, 0, 1), Ipv4Addr::new(10, 255, 0, 2)];

/// A way to connect the two sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    /// Kernel forwarding without a tunnel: the reference.
    Plain,
    /// The kernel's tunnel without encryption.
    Vxlan,
    /// Our WireGuard.
    Samctl,
    /// Ours without encryption, by the name of its transport in the configuration.
    SamctlPlain(&'static str),
    /// wireguard-go from 2023 on, with UDP GSO and TUN offloads, as `wireguard-go-gso`.
    WireguardGoGso,
    /// wireguard-go as the distribution has it.
    WireguardGo,
    BoringtunCli,
    /// Open vSwitch in user space with a GRE tunnel.
    OvsGre,
}

/// A running system; dropping it ends its processes.
#[derive(Debug, Default)]
pub(crate) struct Running {
    children: Vec<Child>,
    folder: Option<PathBuf>,
}

impl System {
    pub(crate) const ALL: [Self; 12] = [
        Self::Plain,
        Self::Vxlan,
        Self::Samctl,
        Self::SamctlPlain("gue"),
        Self::SamctlPlain("fou"),
        Self::SamctlPlain("vxlan"),
        Self::SamctlPlain("gre"),
        Self::SamctlPlain("ipip"),
        Self::WireguardGoGso,
        Self::WireguardGo,
        Self::BoringtunCli,
        Self::OvsGre,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SamctlPlain("gue") => "samctl GUE",
            Self::SamctlPlain("fou") => "samctl FOU",
            Self::SamctlPlain("vxlan") => "samctl VXLAN",
            Self::SamctlPlain("gre") => "samctl GRE",
            Self::SamctlPlain(_) => "samctl IPIP",
            Self::Plain => "plain kernel forwarding",
            Self::Vxlan => "kernel VXLAN",
            Self::Samctl => "samctl",
            Self::WireguardGoGso => "wireguard-go with GSO",
            Self::WireguardGo => "wireguard-go",
            Self::BoringtunCli => "boringtun-cli",
            Self::OvsGre => "Open vSwitch GRE",
        }
    }

    /// Says what is missing on this machine.
    pub(crate) fn missing(self) -> Option<String> {
        let needed: &[&str] = match self {
            Self::Plain | Self::Samctl | Self::SamctlPlain(_) => &["iperf3"],
            Self::Vxlan => &["iperf3", "ip"],
            Self::WireguardGoGso => &["iperf3", "wireguard-go-gso", "wg"],
            Self::WireguardGo => &["iperf3", "wireguard-go", "wg"],
            Self::BoringtunCli => &["iperf3", "boringtun-cli", "wg"],
            Self::OvsGre => &["iperf3", "ip"],
        };
        let others: &[&str] = if self == Self::OvsGre {
            &ovs::PROGRAMS
        } else {
            &[]
        };
        let missing = needed
            .iter()
            .chain(others)
            .find(|program| !installed(program));
        missing.map(|program| format!("{program} is not installed"))
    }

    /// Its version as it says itself.
    pub(crate) fn version(self) -> String {
        let program = match self {
            Self::Plain | Self::Vxlan => return "of this kernel".to_owned(),
            Self::Samctl | Self::SamctlPlain(_) => env!("CARGO_BIN_EXE_samctl"),
            Self::WireguardGoGso => "wireguard-go-gso",
            Self::WireguardGo => "wireguard-go",
            Self::BoringtunCli => "boringtun-cli",
            Self::OvsGre => "ovs-vswitchd",
        };
        machine::version(program, "--version").unwrap_or_else(|| "unknown".to_owned())
    }

    pub(crate) fn start(self, lab: &Lab) -> Result<Running> {
        let mut running = Running::default();
        match self {
            Self::Plain => plain(lab)?,
            Self::Vxlan => vxlan(lab)?,
            Self::Samctl => samctl(lab, &mut running, "wireguard")?,
            Self::SamctlPlain(transport) => samctl(lab, &mut running, transport)?,
            Self::WireguardGoGso => wireguard(lab, &mut running, "wireguard-go-gso -f")?,
            Self::WireguardGo => wireguard(lab, &mut running, "wireguard-go -f")?,
            Self::BoringtunCli => wireguard(
                lab,
                &mut running,
                "boringtun-cli -f --disable-drop-privileges",
            )?,
            Self::OvsGre => ovs::start(lab, &mut running)?,
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

    /// Resident memory of the larger of its processes; none when the kernel does the work.
    pub(crate) fn resident_mib(&self) -> Option<f64> {
        let sizes = self.children.iter().map(Child::id);
        sizes
            .filter_map(|process| machine::resident_mib(process).ok())
            .max_by(f64::total_cmp)
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
fn forward_by_kernel(lab: &Lab, site: usize, link: &str, gateway: Option<Ipv4Addr>) -> Result<()> {
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
        forward_by_kernel(lab, site, "wan0", Some(WAN[1 - site]))?;
    }
    Ok(())
}

fn vxlan(lab: &Lab) -> Result<()> {
    for site in 0..2 {
        let (local, remote) = (WAN[site].to_string(), WAN[1 - site].to_string());
        let output = lab.routers[site]
            .command("ip")
            .args(["link", "add", "vx0", "type", "vxlan", "id", "7"])
            .args([
                "local", &local, "remote", &remote, "dstport", "4789", "dev", "wan0",
            ])
            .output()?;
        if !output.status.success() {
            bail!(
                "no VXLAN: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        set_up_tunnel(&lab.routers[site], "vx0", TUNNEL[site], 30)?;
        forward_by_kernel(lab, site, "vx0", Some(TUNNEL[1 - site]))?;
    }
    Ok(())
}

/// Writes the configuration of both sites into `folder` and returns the files.
pub(crate) fn configure(folder: &Path, transport: &str) -> Result<[PathBuf; 2]> {
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
    let transport = match transport {
        "wireguard" => "transport: {encap: wireguard}".to_owned(),
        "vxlan" => "transport: {encap: vxlan, vni: 7, mtu: 1440, trustedUnderlay: true}".to_owned(),
        _ => format!("transport: {{encap: {transport}, trustedUnderlay: true}}"),
    };
    let mut files = [PathBuf::new(), PathBuf::new()];
    for (site, file) in files.iter_mut().enumerate() {
        let name = ["a", "b"][site];
        *file = folder.join(format!("{name}.yaml"));
        fs::write(
            &*file,
            format!(
                "version: 1\nfabric:\n  name: bench\n  asn: 64577\n  pools:\n    \
                 - {{name: lan, prefix: 10.77.60.0/24, exclude: [{GATEWAY}]}}\n  {transport}\n  nodes:\n{nodes}\
                 self:\n  node: {name}\n  privateKeyFile: {name}.key\n  \
                 capture: {{type: proxy-arp, interface: lan0, activeWhen: single-router}}\n  \
                 owned: [{owned}]\n  control: {{socket: {socket}}}\n  stateFile: none\n",
                owned = CLIENTS[site],
                socket = folder.join(format!("{name}.sock")).display(),
            ),
        )?;
    }
    Ok(files)
}

fn samctl(lab: &Lab, running: &mut Running, transport: &str) -> Result<()> {
    let folder = running.folder()?;
    for (site, file) in configure(&folder, transport)?.iter().enumerate() {
        let mut command = lab.routers[site].command(env!("CARGO_BIN_EXE_samctl"));
        command.arg("run").arg("-c").arg(file);
        running.spawn(command)?;
    }
    Ok(())
}

/// A WireGuard program with the kernel as router around it. The control socket has a fixed place, so each gets a
/// mount namespace of its own.
fn wireguard(lab: &Lab, running: &mut Running, program: &str) -> Result<()> {
    let folder = running.folder()?;
    let mut processes = [0; 2];
    for (site, process) in processes.iter_mut().enumerate() {
        let mut command = lab.routers[site].command("unshare");
        command.args(["-m", "sh", "-c"]).arg(format!(
            "mount -t tmpfs none /run && mkdir /run/wireguard && exec {program} wg0"
        ));
        command.env("WG_PROCESS_FOREGROUND", "1");
        *process = running.spawn(command)?;
        let key = Command::new("wg").arg("genkey").output()?.stdout;
        let path = folder.join(format!("key{site}"));
        fs::write(&path, key)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    for (site, process) in processes.into_iter().enumerate() {
        peer_with(&folder, site, process).with_context(|| format!("{program} does not come up"))?;
        set_up_tunnel(&lab.routers[site], "wg0", TUNNEL[site], 32)?;
        forward_by_kernel(lab, site, "wg0", None)?;
    }
    Ok(())
}

/// Tells a WireGuard program its key and its peer, as soon as it listens.
fn peer_with(folder: &Path, site: usize, process: u32) -> Result<()> {
    let far = 1 - site;
    let far_key = fs::File::open(folder.join(format!("key{far}")))?;
    let output = Command::new("wg").arg("pubkey").stdin(far_key).output()?;
    let peer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let key = folder.join(format!("key{site}"));
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let status = Command::new("nsenter")
            .args(["-t", &process.to_string(), "-m", "-n", "wg", "set", "wg0"])
            .args(["listen-port", "51820", "private-key"])
            .arg(&key)
            .args(["peer", &peer, "endpoint", &format!("{}:51820", WAN[far])])
            .args(["allowed-ips", &format!("{}/32", CLIENTS[far])])
            .stderr(Stdio::null())
            .status()?;
        if status.success() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("no answer within {} s", PATIENCE.as_secs())
}

/// Gives a tunnel the MTU of samctl's own over a 1500-byte underlay, so that all carry equal packets.
fn set_up_tunnel(router: &Namespace, link: &str, own: Ipv4Addr, length: u8) -> Result<()> {
    router.enter(|| -> Result<()> {
        let mut netlink = sam_net::Netlink::open()?;
        let index = netlink.link(link)?.index;
        netlink.set_mtu(index, INNER_MTU)?;
        address(link, own, length)
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

/// Tells whether a program is on the path.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .any(|folder| Path::new(folder).join(program).exists())
}
