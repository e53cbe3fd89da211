//! Programs that speak WireGuard and are told what to do by wg(8).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::kernel;
use crate::lab::{CLIENTS, Lab, WAN};
use crate::running::{Running, checked, wait_until};

/// A WireGuard program with the kernel as router around it. The control socket has a fixed place, so each gets a
/// mount namespace of its own.
pub(crate) fn start(lab: &Lab, running: &mut Running, program: &str) -> Result<()> {
    let folder = running.folder()?;
    let mut processes = [0; 2];
    for (site, process) in processes.iter_mut().enumerate() {
        let mut command = lab.routers[site].command("unshare");
        command.args(["-m", "sh", "-c"]).arg(format!(
            "mount -t tmpfs none /run && mkdir /run/wireguard && exec {program} wg0"
        ));
        command.env("WG_PROCESS_FOREGROUND", "1");
        *process = running.spawn(command)?;
        let key = checked(Command::new("wg").arg("genkey"))?;
        let path = folder.join(format!("key{site}"));
        fs::write(&path, key)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    for (site, process) in processes.into_iter().enumerate() {
        peer_with(&folder, site, process).with_context(|| format!("{program} does not come up"))?;
        kernel::set_up_tunnel(&lab.routers[site], "wg0", kernel::TUNNEL[site], 32)?;
        kernel::forward(lab, site, "wg0", None)?;
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
    wait_until("it takes its key and its peer", || {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &process.to_string(), "-m", "-n", "wg", "set", "wg0"])
            .args(["listen-port", "51820", "private-key"])
            .arg(&key)
            .args(["peer", &peer, "endpoint", &format!("{}:51820", WAN[far])])
            .args(["allowed-ips", &format!("{}/32", CLIENTS[far])]);
        checked(&mut command).is_ok()
    })
}
