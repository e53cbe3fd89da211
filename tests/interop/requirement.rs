//! What a test needs from the machine. A test whose needs are not met is skipped with the reason, never passed.

use std::path::Path;

use sam_net::Namespace;

/// Says what is missing, if anything is: privilege first, then the first missing program.
pub(crate) fn missing(programs: &[&str]) -> Option<String> {
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
    let always = ["ping", "unshare", "nsenter", "wireguard-go", "wg"];
    let absent = always
        .iter()
        .chain(programs)
        .find(|program| !is_installed(program));
    absent.map(|program| format!("{program} is not installed"))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let always = ["/usr/sbin", "/sbin", "/usr/lib/frr"];
    path.split(':')
        .chain(always)
        .any(|folder| Path::new(folder).join(program).exists())
}
