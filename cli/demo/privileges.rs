//! What the demo needs of its machine: root over namespaces, real or that of a user namespace, and /dev/net/tun.

use std::path::Path;

use anyhow::{Context, Result, bail};
use sam_net::Capability;

/// Becomes root of a user namespace where this is an ordinary user.
///
/// # Errors
/// What is missing, and what to do about it.
pub(super) fn prepare() -> Result<()> {
    let capabilities = sam_net::Capabilities::effective()?;
    let needed = [
        Capability::NetAdmin,
        Capability::NetRaw,
        Capability::SysAdmin,
    ];
    if !capabilities.missing(&needed).is_empty() {
        sam_net::user_namespace::become_root().context(
            "the demo needs root, or user namespaces for ordinary users; this machine allows \
             neither: run it with sudo",
        )?;
    }
    let tun = Path::new("/dev/net/tun");
    if !tun.exists() {
        bail!(
            "/dev/net/tun is missing: load the tun module (modprobe tun), or give the container \
             --device /dev/net/tun"
        );
    }
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(tun)
        .context(
            "/dev/net/tun cannot be opened: run the demo with sudo, or allow it for everybody \
         (chmod 666 /dev/net/tun), as most distributions do",
        )?;
    Ok(())
}
