//! Commands and daemons inside a namespace; none outlives the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sam_net::Namespace;
use sam_net::process::die_with_parent;

use super::wait::holds_within;

/// Time after which a command is ended.
const PATIENCE: &str = "90";
/// Time for a daemon to end in order.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Returns standard output of a command that must succeed.
    ///
    /// # Panics
    /// When it failed.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Returns standard output and standard error in one.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a shell command inside a namespace and waits for its end.
///
/// # Panics
/// When no shell can be started.
pub fn sh(namespace: &Namespace, command: &str) -> Outcome {
    let mut timeout = namespace.command("timeout");
    timeout.args(["-k", "1", PATIENCE, "sh", "-c", command]);
    die_with_parent(&mut timeout);
    let output = timeout.stdin(Stdio::null()).output();
    output.expect("timeout(1) and sh(1) can be started").into()
}

/// Tells whether a program is on the path or in the folders of system programs.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|folder| folder.join(program).is_file())
}

/// A running process with a log file; dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a process; both its output streams go to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = fs::File::create(log).expect("the log file can be made");
        let copy = file.try_clone().expect("a descriptor can be copied");
        die_with_parent(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(file)
            .spawn();
        Self {
            child: child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")),
            log: log.to_owned(),
        }
    }

    /// Starts a shell command inside a namespace; it should end in `exec`, so that signals reach the program.
    #[must_use]
    pub fn sh(namespace: &Namespace, command: &str, log: &Path) -> Self {
        let mut shell = namespace.command("sh");
        shell.args(["-c", command]);
        Self::start(shell, log)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Exit code once it has ended, -1 after a signal.
    pub fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().ok().flatten();
        status.map(|status| status.code().unwrap_or(-1))
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        sam_net::process::terminate(self.child.id());
    }

    /// Sends a signal by its name (`INT`, `HUP`) and does not wait.
    ///
    /// # Panics
    /// When kill(1) cannot be started.
    pub fn signal(&self, name: &str) {
        Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .expect("sh(1) can be started");
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Asks it to end, and kills it when it does not; returns its exit code.
    pub fn stop(&mut self) -> i32 {
        self.terminate();
        holds_within(FAREWELL, || self.exit_code().is_some());
        let code = self.exit_code();
        self.kill();
        code.unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.exit_code().is_none() {
            self.stop();
        }
    }
}

/// A new folder for temporary files, named after this process; dropping it removes it with everything inside.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("samctl-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        Self(folder)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
