//! Nebula with the kernel as router around it: each client is an unsafe network of its router.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::kernel::{self, TUNNEL};
use crate::lab::{CLIENTS, INNER_MTU, Lab, WAN};
use crate::running::{Running, checked, wait_until};

/// Its device.
const LINK: &str = "tun0";
/// Where both listen.
const PORT: u16 = 4242;
/// Beside WireGuard the cipher should make no difference; Nebula's own choice is AES.
const CIPHER: &str = "chachapoly";

/// Starts both.
pub(crate) fn start(lab: &Lab, running: &mut Running) -> Result<()> {
    let folder = running.folder()?;
    certificate(&folder, &["ca", "-name", "bench"], "ca")?;
    for site in 0..2 {
        let name = name(site);
        let address = format!("{}/24", TUNNEL[site]);
        let network = format!("{}/32", CLIENTS[site]);
        let order = ["sign", "-name", name, "-ip", &address, "-subnets", &network];
        certificate(&folder, &order, name)?;
        let configuration = folder.join(format!("{name}.yaml"));
        fs::write(&configuration, configure(&folder, site))?;
        let mut command = lab.routers[site].command("nebula");
        command.arg("-config").arg(&configuration);
        running.spawn(command)?;
    }
    for site in 0..2 {
        wait_until("the kernel routes into nebula", || {
            kernel::forward(lab, site, LINK, None).is_ok()
        })?;
    }
    Ok(())
}

fn name(site: usize) -> &'static str {
    ["a", "b"][site]
}

/// Makes a certificate and its key in the folder.
fn certificate(folder: &Path, order: &[&str], name: &str) -> Result<String> {
    let mut command = Command::new("nebula-cert");
    command.current_dir(folder).args(order);
    command.args(["-out-crt", &format!("{name}.crt")]);
    checked(command.args(["-out-key", &format!("{name}.key")]))
}

/// Everything may pass; local networks that are no addresses of its own too, which newer versions want to hear.
fn configure(folder: &Path, site: usize) -> String {
    let (own, far) = (name(site), 1 - site);
    let (peer, wan, client) = (TUNNEL[far], WAN[far], CLIENTS[far]);
    let folder = folder.display();
    format!(
        "pki: {{ca: {folder}/ca.crt, cert: {folder}/{own}.crt, key: {folder}/{own}.key}}\n\
         static_host_map: {{\"{peer}\": [\"{wan}:{PORT}\"]}}\n\
         lighthouse: {{am_lighthouse: false, hosts: []}}\n\
         listen: {{host: 0.0.0.0, port: {PORT}, batch: 64}}\n\
         punchy: {{punch: false}}\n\
         cipher: {CIPHER}\n\
         tun: {{dev: {LINK}, mtu: {INNER_MTU}, \
         unsafe_routes: [{{route: {client}/32, via: {peer}, mtu: {INNER_MTU}}}]}}\n\
         logging: {{level: warning}}\n\
         firewall: {{default_local_cidr_any: true, outbound: [{{port: any, proto: any, host: any}}], \
         inbound: [{{port: any, proto: any, host: any}}]}}\n"
    )
}
