//! One `samctl run`, and the verbs that talk to it.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use sam_net::Namespace;
use sam_net::process::die_with_parent;
use serde_json::Value;

use super::shell::{Daemon, Outcome};
use super::wait::wait_until;

/// Time for a router to say that it runs.
const START: Duration = Duration::from_secs(10);

/// Where the files of a router are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) program: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) log: PathBuf,
}

/// A running router; dropping it stops it.
#[derive(Debug)]
pub struct RouterProcess {
    daemon: Daemon,
    files: Files,
}

impl RouterProcess {
    /// Starts a router without waiting; `wrapper` is put before the command, such as `["setpriv", …]`.
    pub(crate) fn spawn(namespace: &Namespace, files: &Files, wrapper: &[&str]) -> Self {
        let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(AsRef::as_ref).collect();
        words.extend([
            files.program.as_os_str(),
            "run".as_ref(),
            "-c".as_ref(),
            files.config.as_os_str(),
        ]);
        let mut command = namespace.command(words[0]);
        command.args(&words[1..]);
        Self {
            daemon: Daemon::start(command, &files.log),
            files: files.clone(),
        }
    }

    /// Waits until it runs.
    ///
    /// # Panics
    /// When it ends or takes too long.
    pub fn wait_until_running(&mut self) {
        wait_until("the router runs", START, || {
            assert_eq!(self.daemon.exit_code(), None, "{}", self.daemon.log());
            self.log().contains(" running ") && self.files.socket.exists()
        });
    }

    /// The process.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Path of its control socket.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.files.socket
    }

    /// Prepares `samctl` with arguments separated by spaces, directed at this router.
    #[must_use]
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.files.program);
        command.arg("--socket").arg(&self.files.socket);
        command.args(arguments.split_whitespace());
        command.stdin(Stdio::null());
        die_with_parent(&mut command);
        command
    }

    /// Runs `samctl` with arguments separated by spaces against this router.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn samctl(&self, arguments: &str) -> Outcome {
        let output = self.command(arguments).output();
        output.expect("samctl can be started").into()
    }

    /// Runs a verb with `-o json` and returns the document, whatever the exit code.
    ///
    /// # Panics
    /// When the answer is no JSON.
    #[must_use]
    pub fn json(&self, arguments: &str) -> Value {
        let outcome = self.samctl(&format!("-o json {arguments}"));
        serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{arguments}: {error}: {}", outcome.text()))
    }

    /// Packets that it dropped, by reason. The hosts' own IPv6 does not count.
    ///
    /// # Panics
    /// When the router does not answer.
    #[must_use]
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let counters = self.json("counters");
        let rows = counters["drops"].as_array().expect("a list").iter();
        let rows = rows.filter_map(|row| Some((row["reason"].as_str()?, row["total"].as_u64()?)));
        rows.filter(|(reason, total)| *total > 0 && *reason != "not-ipv4")
            .map(|(reason, total)| (reason.to_owned(), total))
            .collect()
    }

    /// Packets that it dropped for a reason.
    ///
    /// # Panics
    /// When the router does not answer, or knows no such reason.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        let counters = self.json("counters");
        let mut rows = counters["drops"].as_array().into_iter().flatten();
        let row = rows.find(|row| row["reason"] == reason);
        row.and_then(|row| row["total"].as_u64())
            .unwrap_or_else(|| panic!("no drop reason {reason} in {counters}"))
    }

    /// Row of `samctl owners` for an address; `Null` when there is none or the router does not answer.
    #[must_use]
    pub fn owner_row(&self, address: Ipv4Addr) -> Value {
        let outcome = self.samctl("-o json owners");
        let view: Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
        let rows = view["owners"].as_array().cloned().unwrap_or_default();
        let address = address.to_string();
        let mut rows = rows.into_iter();
        rows.find(|row| row["address"] == address)
            .unwrap_or_default()
    }

    /// Name of the node that owns an address, as this router sees it.
    #[must_use]
    pub fn owner(&self, address: Ipv4Addr) -> Option<String> {
        let name = &self.owner_row(address)["owner"]["name"];
        name.as_str().map(str::to_owned)
    }

    /// The state file as text, if there is one.
    #[must_use]
    pub fn state(&self) -> Option<String> {
        fs::read_to_string(&self.files.state).ok()
    }
}
