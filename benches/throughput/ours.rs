//! samctl as a system: a router at each site.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::lab::{CLIENTS, GATEWAY, Lab, WAN};
use crate::running::Running;

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

/// Starts both routers with a transport, by its name in the configuration.
pub(crate) fn start(lab: &Lab, running: &mut Running, transport: &str) -> Result<()> {
    let folder = running.folder()?;
    for (site, file) in configure(&folder, transport)?.iter().enumerate() {
        let mut command = lab.routers[site].command(env!("CARGO_BIN_EXE_samctl"));
        command.arg("run").arg("-c").arg(file);
        running.spawn(command)?;
    }
    Ok(())
}
