//! OpenVPN with the kernel as router around it: one peer to one, known to each other by fingerprint.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::kernel::{self, TUNNEL};
use crate::lab::{INNER_MTU, Lab, WAN};
use crate::running::{Running, checked, wait_until};

/// Its device.
const LINK: &str = "tun0";
const PORT: &str = "1194";
/// Beside WireGuard the cipher should make no difference; OpenVPN's own choice is AES.
const CIPHER: &str = "CHACHA20-POLY1305";

/// Starts both: the second waits for the first.
pub(crate) fn start(lab: &Lab, running: &mut Running) -> Result<()> {
    let folder = running.folder()?;
    let prints = [identity(&folder, 0)?, identity(&folder, 1)?];
    for site in [1, 0] {
        let far = 1 - site;
        let (mtu, wan) = (INNER_MTU.to_string(), WAN[1].to_string());
        let mut command = lab.routers[site].command("openvpn");
        command
            .args(["--dev", LINK, "--dev-type", "tun", "--topology", "p2p"])
            .arg("--ifconfig")
            .args([TUNNEL[site].to_string(), TUNNEL[far].to_string()])
            // All carry packets of the same size, and it does not make the clients send smaller ones.
            .args(["--tun-mtu", &mtu, "--mssfix", "0"])
            .args(["--proto", "udp4", "--data-ciphers", CIPHER])
            // In user space, also where a module of the kernel could do its work.
            .args(["--disable-dco", "--allow-compression", "no"])
            .args(["--txqueuelen", "1000", "--sndbuf", "0", "--rcvbuf", "0"])
            .arg("--cert")
            .arg(file(&folder, site, "crt"))
            .arg("--key")
            .arg(file(&folder, site, "key"))
            .args(["--peer-fingerprint", &prints[far]]);
        match site {
            0 => command.args(["--tls-client", "--nobind", "--remote", &wan, PORT]),
            _ => command.args([
                "--tls-server",
                "--dh",
                "none",
                "--local",
                &wan,
                "--port",
                PORT,
            ]),
        };
        running.spawn(command)?;
    }
    for site in 0..2 {
        wait_until("the kernel routes into openvpn", || {
            kernel::forward(lab, site, LINK, None).is_ok()
        })?;
    }
    Ok(())
}

fn file(folder: &Path, site: usize, ending: &str) -> std::path::PathBuf {
    folder.join(format!("{site}.{ending}"))
}

/// Makes a key and a certificate that nobody else signed, and returns the certificate's fingerprint.
fn identity(folder: &Path, site: usize) -> Result<String> {
    let certificate = file(folder, site, "crt");
    checked(
        Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "30", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj"])
            .arg(format!("/CN={site}"))
            .arg("-keyout")
            .arg(file(folder, site, "key"))
            .arg("-out")
            .arg(&certificate),
    )?;
    let text = checked(
        Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(&certificate),
    )?;
    let print = text.trim().split_once('=').map(|(_, print)| print);
    Ok(print.context("openssl tells no fingerprint")?.to_owned())
}
