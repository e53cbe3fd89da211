//! Real ssh between the clients, where sshd and ssh are installed.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use sam_net::Namespace;

/// Running sshds, one per client; dropping ends them.
#[derive(Debug)]
pub(super) struct Ssh {
    key: PathBuf,
    servers: Vec<Child>,
}

impl Ssh {
    /// Starts one sshd per client.
    ///
    /// # Errors
    /// Why ssh is not used in this run; the demo goes on without.
    pub(super) fn start(
        clients: &[Namespace],
        addresses: &[Ipv4Addr],
        folder: &Path,
    ) -> Result<Self> {
        let sshd =
            find(&["/usr/sbin/sshd", "/usr/local/sbin/sshd"]).context("sshd is not installed")?;
        find(&["/usr/bin/ssh", "/usr/local/bin/ssh"]).context("ssh is not installed")?;
        if sam_net::user_namespace::is_inside().unwrap_or(true) {
            bail!("sshd needs real root, not a user namespace");
        }
        fs::create_dir_all("/run/sshd").context("cannot make /run/sshd")?;
        let (host_key, key) = (folder.join("host"), folder.join("client"));
        generate(&host_key)?;
        generate(&key)?;
        let mut ssh = Self {
            key: key.clone(),
            servers: Vec::new(),
        };
        for (client, address) in clients.iter().zip(addresses) {
            let mut command = client.command(&sshd);
            sam_net::process::die_with_parent(&mut command);
            let server = command
                .args(["-D", "-e", "-f", "/dev/null", "-h"])
                .arg(&host_key)
                .args([
                    "-o",
                    "PidFile=none",
                    "-o",
                    "UsePAM=no",
                    "-o",
                    "StrictModes=no",
                ])
                .args(["-o", "PermitRootLogin=prohibit-password", "-o"])
                .arg(format!(
                    "AuthorizedKeysFile={}",
                    key.with_extension("pub").display()
                ))
                .arg("-o")
                .arg(format!("ListenAddress={address}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("cannot start sshd")?;
            ssh.servers.push(server);
        }
        Ok(ssh)
    }

    /// Says in a report whether ssh was used.
    pub(super) fn remark(ssh: &Result<Self>) -> String {
        match ssh {
            Ok(_) => "used beside the own TCP check".to_owned(),
            Err(reason) => format!("skipped: {reason}"),
        }
    }

    /// Logs in from a client and returns the address that the server saw (`$SSH_CONNECTION`).
    ///
    /// # Errors
    /// What ssh said.
    pub(super) fn seen_source(&self, client: &Namespace, to: Ipv4Addr) -> Result<String> {
        let mut command = client.command("ssh");
        sam_net::process::die_with_parent(&mut command);
        let output = command
            .args(["-F", "/dev/null", "-i"])
            .arg(&self.key)
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args([
                "-o",
                "BatchMode=yes",
                "-o",
                "ConnectTimeout=5",
                "-o",
                "LogLevel=ERROR",
            ])
            .args(["-o", "ConnectionAttempts=5"])
            .arg(format!("root@{to}"))
            .arg("echo $SSH_CONNECTION")
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("ssh: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

fn find(candidates: &[&str]) -> Option<PathBuf> {
    candidates
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

fn generate(path: &Path) -> Result<()> {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .context("cannot run ssh-keygen")?;
    if !status.success() {
        bail!("ssh-keygen failed");
    }
    Ok(())
}
