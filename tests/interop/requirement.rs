//! What a test needs from the machine. A test whose needs are not met is skipped with the reason, never passed.

use std::path::PathBuf;

use sam_net::Namespace;

/// Says what is missing, if anything is: privilege first, then the first missing program.
pub(crate) fn missing(programs: &[&str]) -> Option<String> {
    let always = ["ping", "unshare", "nsenter", "wireguard-go", "wg"];
    missing_of(&[&always, programs].concat())
}

/// The same where no tunnel leads to the other program.
pub(crate) fn missing_of(programs: &[&str]) -> Option<String> {
    if Namespace::create().is_err() {
        return Some("needs root, or `unshare -Urnm`, to make network namespaces".into());
    }
    let tun = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    if let Err(error) = tun {
        return Some(format!("/dev/net/tun: {error}"));
    }
    let absent = programs.iter().find(|program| find(program).is_none());
    absent.map(|program| format!("{program} is not installed"))
}

/// Finds a program where Debian puts daemons, besides PATH; without it returns the bare name.
pub(crate) fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| name.into())
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/sbin", "/usr/lib/frr"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(daemons)
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
}
