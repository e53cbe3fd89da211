//! Typed access to setsockopt and getsockopt, and the receive and send buffer sizes that need a privilege.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Marks kernel option types: plain old data, every bit pattern valid, no padding that matters.
///
/// # Safety
/// The type must be `repr(C)` or primitive, must hold no reference, and any bit pattern must be a valid value.
pub(crate) unsafe trait OptionValue: Copy {}

// SAFETY: primitive, any bit pattern is valid.
unsafe impl OptionValue for libc::c_int {}
// SAFETY: repr(C) struct of two integers, any bit pattern is valid.
unsafe impl OptionValue for libc::tpacket_stats {}
// SAFETY: repr(C), a length and a pointer that only the kernel follows; its maker keeps the target alive.
unsafe impl OptionValue for libc::sock_fprog {}

/// Sets one option.
pub(crate) fn set<T: OptionValue>(
    fd: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: T,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length_of::<T>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Attaches a classic BPF program by an option of `SOL_SOCKET`.
pub(crate) fn set_program(
    fd: BorrowedFd<'_>,
    name: i32,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel reads the program during the call and keeps a copy.
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    set(fd, libc::SOL_SOCKET, name, program)
}

/// Reads one option.
pub(crate) fn read<T: OptionValue>(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<T> {
    // All-zero is a valid `T`, so that a short answer of the kernel leaves no uninitialized byte.
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = length_of::<T>();
    // SAFETY: the pointer and the length describe `value`; the kernel writes at most `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed above, perhaps overwritten by the kernel; `OptionValue` allows any bit pattern.
    Ok(unsafe { value.assume_init() })
}

/// Asks for a receive buffer beyond `rmem_max` (CAP_NET_ADMIN), else for as much as that limit allows.
/// Returns the bytes granted, as the kernel reports them (twice the request when granted in full).
///
/// # Errors
/// What the kernel says to something that is no socket.
pub fn set_receive_buffer(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<usize> {
    grow(fd, bytes, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)
}

/// Like [`set_receive_buffer`], for sending.
pub(crate) fn set_send_buffer(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<usize> {
    grow(fd, bytes, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)
}

fn grow(fd: BorrowedFd<'_>, bytes: i32, force: i32, plain: i32) -> io::Result<usize> {
    set(fd, libc::SOL_SOCKET, force, bytes).or_else(|_| set(fd, libc::SOL_SOCKET, plain, bytes))?;
    let granted: libc::c_int = read(fd, libc::SOL_SOCKET, plain)?;
    Ok(usize::try_from(granted).unwrap_or(0))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "option types are a few bytes long"
)]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
