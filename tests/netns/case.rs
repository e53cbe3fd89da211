//! One test: its name, what it needs from the machine, and what it does.

use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use sam_net::{Capabilities, Capability, Namespace};
use sam_testkit::guest::Image;
use sam_testkit::netns::{is_installed, sh, wait_until};

use crate::turns::{Share, Turns};

/// All tests of this program share it.
static TURNS: Turns = Turns::new();

/// Something that a test needs beside root over namespaces and /dev/net/tun.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// A program.
    Tool(&'static str),
    /// A file below `/usr/lib` or below a folder in there.
    Library(&'static str),
    /// A file of the checkout.
    File(&'static str),
    /// Temporary files that can be opened by handle, as NFS servers do; overlayfs has none.
    FileHandles,
    /// A foreign kernel in an emulator.
    Guest,
    /// A queueing discipline of this kernel (`tc qdisc`).
    Qdisc(&'static str),
    /// Several users: root of the machine, not that of a user namespace.
    Users,
}

/// One test.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(),
}

impl Case {
    /// Makes the trial, which waits for its turn; ignored, with the reason on standard error, where something is missing.
    pub(crate) fn trial(&self, share: Share) -> Trial {
        let run = self.run;
        let missing = missing(self.needs);
        if let Some(reason) = &missing {
            writeln!(io::stderr(), "skipped: {}: {reason}", self.name).ok();
        }
        Trial::test(self.name, move || {
            let _turn = TURNS.take(share);
            run();
            Ok(())
        })
        .with_ignored_flag(missing.is_some())
    }
}

/// The program under test.
pub(crate) fn samctl() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_samctl"))
}

/// Waits until a client gets answers from an address.
pub(crate) fn wait_for_ping(client: &Namespace, to: Ipv4Addr, patience: Duration) -> Duration {
    wait_until(&format!("ping {to} is answered"), patience, || {
        sh(client, &format!("ping -n -c 1 -W 1 {to}")).code == 0
    })
}

/// Waits until something listens on a TCP port inside a namespace.
pub(crate) fn wait_for_listener(server: &Namespace, port: u16) {
    let command = format!("ss -Hltn 'sport = :{port}' | grep -q .");
    let what = format!("something listens on port {port}");
    wait_until(&what, Duration::from_secs(10), || {
        sh(server, &command).code == 0
    });
}

/// Says what is missing on this machine, if anything.
pub(crate) fn missing(needs: &[Need]) -> Option<String> {
    let needed = [
        Capability::NetAdmin,
        Capability::NetRaw,
        Capability::SysAdmin,
    ];
    match Capabilities::effective() {
        Ok(held) if held.missing(&needed).is_empty() => {}
        _ => return Some("needs root (try `unshare -Urnm`)".to_owned()),
    }
    let mut tun = fs::OpenOptions::new();
    if let Err(error) = tun.read(true).write(true).open("/dev/net/tun") {
        return Some(format!("/dev/net/tun: {error}"));
    }
    let always = [Need::Tool("ip"), Need::Tool("ping"), Need::Tool("timeout")];
    always.iter().chain(needs).find_map(|need| match need {
        Need::Tool(tool) if !is_installed(tool) => Some(format!("{tool} is not installed")),
        Need::Library(file) if !has_library(file) => Some(format!("{file} is not installed")),
        Need::File(file) if !checkout(file).exists() => Some(format!("there is no {file}")),
        Need::Tool(tool) if CHANGES_USER.contains(tool) && !is_real_root() => {
            Some(format!("{tool} needs real root, not a user namespace"))
        }
        Need::FileHandles if is_overlay() => Some("temporary files are on overlayfs".to_owned()),
        Need::Users if !is_real_root() => Some("needs real root, not a user namespace".to_owned()),
        Need::Qdisc(name) if !has_qdisc(name) => Some(format!("the kernel has no qdisc {name}")),
        Need::Guest => guest_image().err(),
        Need::Tool(_)
        | Need::Library(_)
        | Need::File(_)
        | Need::FileHandles
        | Need::Qdisc(_)
        | Need::Users => None,
    })
}

fn has_library(file: &str) -> bool {
    let root = Path::new("/usr/lib");
    let folders = fs::read_dir(root).into_iter().flatten().flatten();
    let mut folders = folders.map(|entry| entry.path());
    root.join(file).exists() || folders.any(|folder| folder.join(file).exists())
}

fn has_qdisc(name: &str) -> bool {
    let trial = format!("ip link set lo up && tc qdisc add dev lo root {name}");
    let tried = Command::new("unshare")
        .args(["-n", "sh", "-c", &trial])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

fn is_overlay() -> bool {
    let stat = Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(std::env::temp_dir())
        .output();
    stat.is_ok_and(|output| output.stdout.starts_with(b"overlay"))
}

/// What `tests/guest/fetch` made.
pub(crate) fn guest_image() -> Result<Image, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    Image::find(folder.parent().unwrap_or(folder))
}

/// Tells whether this is root of the machine itself.
pub(crate) fn is_real_root() -> bool {
    !sam_net::user_namespace::is_inside().unwrap_or(true)
}

/// Programs that become another user.
const CHANGES_USER: [&str; 4] = ["rpcbind", "tcpdump", "sshd", "vsftpd"];

/// A path in the checkout.
pub(crate) fn checkout(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}
