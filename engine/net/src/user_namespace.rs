//! Running without privileges: a user namespace in which the caller is root over networks of its own.
//!
//! There CAP_NET_ADMIN and CAP_NET_RAW hold for the new network namespace and those made from it, which is all that
//! tests and demos need. Not granted: buffers beyond `rmem_max`, and /dev/net/tun where its mode keeps users out.

use std::fs;
use std::io;

use crate::error::{Context, NetError};

/// Tells whether this process lives in a user namespace that is not the machine's.
///
/// # Errors
/// ENOENT when /proc is not mounted.
pub fn is_inside() -> Result<bool, NetError> {
    const MAP: &str = "/proc/self/uid_map";
    Ok(!is_identity(&fs::read_to_string(MAP).context("read", MAP)?))
}

/// Moves this process into new user, mount and network namespaces and makes it root there. Children inherit them.
/// Must be called while the process has one thread.
///
/// # Errors
/// EINVAL with more than one thread; EPERM or ENOSPC where the machine forbids user namespaces.
pub fn become_root() -> Result<(), NetError> {
    if threads()? != 1 {
        let why = "the process has more than one thread";
        return Err(NetError::invalid("enter", "user namespace", why));
    }
    // SAFETY: these two only read process credentials.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let kinds = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET;
    // SAFETY: no pointers; the process has one thread, as the check above says.
    let result = unsafe { libc::unshare(kinds) };
    if result != 0 {
        let remedy = "see sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone, \
                      or run as root";
        return Err(
            NetError::new("enter", "user namespace", io::Error::last_os_error())
                .with_remedy(Some(remedy)),
        );
    }
    // A group may be mapped without privilege only once setgroups is given up (user_namespaces(7)).
    for (path, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ] {
        fs::write(path, text).context("write", path)?;
    }
    Ok(())
}

fn threads() -> Result<usize, NetError> {
    const TASKS: &str = "/proc/self/task";
    Ok(fs::read_dir(TASKS).context("read", TASKS)?.count())
}

/// The machine's own user namespace maps every id to itself.
fn is_identity(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_full_map_is_that_of_the_machine() {
        assert!(is_identity("         0          0 4294967295\n"));
        assert!(!is_identity("         0       1000          1\n"));
        assert!(!is_identity("0 0 65536\n65536 100000 65536\n"));
        assert!(!is_identity(""));
    }

    #[test]
    fn a_process_with_threads_is_refused_with_the_reason() {
        let error = std::thread::scope(|scope| {
            let (release, held) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || held.recv());
            let error = become_root().expect_err("there is another thread");
            drop(release);
            error
        });
        assert!(
            error.to_string().contains("more than one thread"),
            "{error}"
        );
    }
}
