//! Processes: who we are, ending one, and children that do not outlive us.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Returns the effective user id of this process.
#[must_use]
pub fn effective_user_id() -> u32 {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Asks a process to end (SIGTERM), and lets it go on if it is frozen, so that it can; one that is gone already is no error.
pub fn terminate(process: u32) {
    signal(process, libc::SIGTERM);
    thaw(process);
}

/// Freezes a process (SIGSTOP): alive for its kernel, dead for everybody else.
pub fn freeze(process: u32) {
    signal(process, libc::SIGSTOP);
}

/// Lets a frozen process go on (SIGCONT).
pub fn thaw(process: u32) {
    signal(process, libc::SIGCONT);
}

fn signal(process: u32, signal: libc::c_int) {
    let Ok(process) = libc::pid_t::try_from(process) else {
        return;
    };
    // SAFETY: kill(2) takes two integers; a positive pid names one process only.
    unsafe { libc::kill(process, signal) };
}

/// Makes a child end (SIGTERM) when the thread that starts it ends, however that happens.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl(2) is async-signal-safe, and the closure touches no memory of the parent.
    unsafe {
        command.pre_exec(
            || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            },
        );
    }
}

/// Lets the calling thread run before all ordinary ones (SCHED_FIFO), from 1 (last among its kind) to 99.
///
/// # Errors
/// EPERM without CAP_SYS_NICE and a limit (RLIMIT_RTPRIO) that allows it.
pub fn run_before_others(priority: i32) -> io::Result<()> {
    // SAFETY: all-zero is a valid sched_param: integers only.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the pointer leads to `parameters`, which the C library only reads; the thread is the calling one.
    let error = unsafe {
        let thread = libc::pthread_self();
        libc::pthread_setschedparam(thread, libc::SCHED_FIFO, &raw const parameters)
    };
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Returns the host name, as far as it is text.
#[must_use]
pub fn host_name() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the pointer and length describe `name`; the kernel writes at most that many bytes.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    if result != 0 {
        return String::new();
    }
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}
