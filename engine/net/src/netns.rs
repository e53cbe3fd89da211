//! Network namespaces without ip(8): made by a thread that unshares, kept by a descriptor, gone with it.
//!
//! Work inside a namespace runs in a thread of its own or in a child process, so that the caller never moves. For
//! tests, demos and ports that live in a namespace.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::ptr;
use std::sync::Arc;
use std::thread;

use crate::error::{Context, NetError};
use crate::netlink::Netlink;

/// A network namespace; it lives as long as a clone, a process or a link's peer inside needs it.
#[derive(Debug, Clone)]
pub struct Namespace {
    fd: Arc<OwnedFd>,
}

impl Namespace {
    /// Makes a new namespace with its loopback up.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN.
    pub fn create() -> Result<Self, NetError> {
        in_thread(|| {
            // SAFETY: no pointers. Only this thread, which ends right after, changes its namespace.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            if result != 0 {
                let error = io::Error::last_os_error();
                let remedy = "grant CAP_SYS_ADMIN, or run under unshare -Urn";
                return Err(
                    NetError::new("create", "network namespace", error).with_remedy(Some(remedy))
                );
            }
            let namespace = Self::current()?;
            Netlink::open()?.set_up(LOOPBACK)?;
            Ok(namespace)
        })
    }

    /// Returns the namespace of the calling thread.
    ///
    /// # Errors
    /// ENOENT when /proc is not mounted.
    pub fn current() -> Result<Self, NetError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Opens a namespace by path: `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// ENOENT, EACCES.
    pub fn open(path: &Path) -> Result<Self, NetError> {
        let file = File::open(path).context("open", &path.to_string_lossy())?;
        Ok(Self {
            fd: Arc::new(OwnedFd::from(file)),
        })
    }

    /// Runs `work` in a thread inside the namespace and waits for it. Sockets that it opens stay inside for ever. A
    /// panic passes on to the caller.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN over the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetError> {
        in_thread(|| self.move_thread().map(|()| work()))
    }

    /// Moves the calling thread into the namespace for good.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN over the namespace.
    pub fn move_thread(&self) -> Result<(), NetError> {
        join(self.fd.as_fd()).context("enter", &self.path().to_string_lossy())
    }

    /// Prepares a child process that will run inside the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let fd = Arc::clone(&self.fd);
        let mut command = Command::new(program);
        // SAFETY: between fork and exec the closure makes one system call and neither allocates nor locks.
        unsafe { command.pre_exec(move || join(fd.as_fd())) };
        command
    }

    /// Returns a path that other processes of the same user can open while this one lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            process::id(),
            self.fd.as_raw_fd()
        ))
    }

    /// Gives the namespace a name for `ip netns exec`, until the answer is dropped.
    ///
    /// # Errors
    /// EEXIST when the name is taken, EPERM without CAP_SYS_ADMIN.
    pub fn bind(&self, name: &str) -> Result<NamespaceName, NetError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(NetError::invalid(
                "name namespace",
                name,
                "no valid file name",
            ));
        }
        let path = Path::new(DIRECTORY).join(name);
        let bind = || {
            fs::create_dir_all(DIRECTORY)?;
            File::create_new(&path)?;
            mount(&self.path(), &path).inspect_err(|_| {
                fs::remove_file(&path).ok();
            })
        };
        bind().context("name namespace", name)?;
        Ok(NamespaceName { path })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A name under /run/netns; dropping it takes the name away, not the namespace.
#[derive(Debug)]
pub struct NamespaceName {
    path: PathBuf,
}

impl NamespaceName {
    /// Returns the path that bears the name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for NamespaceName {
    fn drop(&mut self) {
        if let Ok(path) = CString::new(self.path.as_os_str().as_bytes()) {
            // SAFETY: `path` is a C string that lives until the call returns.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
        fs::remove_file(&self.path).ok();
    }
}

/// Runs `work` in a thread that ends with it.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
}

fn join(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn mount(source: &Path, target: &Path) -> io::Result<()> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: both are C strings that live until the call returns; type and data may be null for a bind mount.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            ptr::null(),
            libc::MS_BIND,
            ptr::null(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The loopback is the first link of every namespace.
const LOOPBACK: u32 = 1;
const DIRECTORY: &str = "/run/netns";
