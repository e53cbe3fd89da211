//! A running system: its processes and its private folder.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::machine;

/// Time for each step until a system carries the first packet.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// A running system; dropping it ends its processes.
#[derive(Debug, Default)]
pub(crate) struct Running {
    children: Vec<Child>,
    folder: Option<PathBuf>,
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

/// Waits for something that a system does.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if condition() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    bail!("waited {} s in vain until {what}", PATIENCE.as_secs())
}

/// Runs a command to its end and returns what it printed; its own words are the error.
pub(crate) fn checked(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&stderr).trim()
    );
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
