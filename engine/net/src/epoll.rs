//! Readiness of many descriptors, and a descriptor to wake a waiting thread.
//!
//! Level-triggered: what is not read is reported again, so a loop with a budget per descriptor loses nothing.
//! Descriptors are only borrowed; a closed one leaves the set by itself.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Says what readiness is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Errors and hang-up only, which are always reported.
    Nothing,
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Either.
    ReadWrite,
}

/// One descriptor that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The number given when the descriptor was added.
    pub token: u64,
    /// Reading will not block.
    pub readable: bool,
    /// Writing will not block.
    pub writable: bool,
    /// An error or a hang-up is pending; the next read or write tells which.
    pub failed: bool,
}

/// Watches descriptors.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
    events: Box<[libc::epoll_event]>,
}

impl Epoll {
    /// Makes an empty set that reports up to `capacity` (at least 1) events per wait.
    ///
    /// # Errors
    /// EMFILE and its like.
    pub fn new(capacity: usize) -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let empty = libc::epoll_event { events: 0, u64: 0 };
        Ok(Self {
            fd,
            events: vec![empty; capacity.max(1)].into_boxed_slice(),
        })
    }

    /// Adds a descriptor under a token.
    ///
    /// # Errors
    /// EEXIST when it is in the set.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes token and interest of a descriptor.
    ///
    /// # Errors
    /// ENOENT when it is not in the set.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Takes a descriptor out of the set.
    ///
    /// # Errors
    /// ENOENT when it is not in the set.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::Nothing)
    }

    /// Waits until something is ready, `timeout` (rounded up to milliseconds, `None` for ever) passes or a signal
    /// arrives, and returns what is ready, perhaps nothing.
    ///
    /// # Errors
    /// None that a correct program meets.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = Event>> {
        let milliseconds = timeout.map_or(-1, milliseconds);
        let capacity = i32::try_from(self.events.len()).unwrap_or(i32::MAX);
        // SAFETY: the pointer and `capacity` describe `events`, borrowed exclusively.
        let count = unsafe {
            let events = self.events.as_mut_ptr();
            libc::epoll_wait(self.fd.as_raw_fd(), events, capacity, milliseconds)
        };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => 0,
                error => return Err(error),
            },
        };
        Ok(self.events[..count].iter().map(|event| {
            let has = |flag: i32| event.events & flag.cast_unsigned() != 0;
            Event {
                token: event.u64,
                readable: has(libc::EPOLLIN),
                writable: has(libc::EPOLLOUT),
                failed: has(libc::EPOLLERR) || has(libc::EPOLLHUP),
            }
        }))
    }

    fn control(
        &self,
        op: i32,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let events = match interest {
            Interest::Nothing => 0,
            Interest::Read => libc::EPOLLIN,
            Interest::Write => libc::EPOLLOUT,
            Interest::ReadWrite => libc::EPOLLIN | libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event {
            events: events.cast_unsigned(),
            u64: token,
        };
        // SAFETY: `event` lives until the call returns; the kernel copies it.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd.as_raw_fd(), &raw mut event) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// Wakes a thread that waits in [`Epoll::wait`]; any number of wakes before the drain count as one.
#[derive(Debug)]
pub struct EventFd {
    file: File,
}

impl EventFd {
    /// Makes one that is not signaled.
    ///
    /// # Errors
    /// EMFILE and its like.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        Ok(Self {
            file: File::from(fd),
        })
    }

    /// Makes it readable. May be called from any thread.
    pub fn wake(&self) {
        // The only error is EAGAIN when the counter is full, and then it is readable already.
        (&self.file).write_all(&1u64.to_ne_bytes()).ok();
    }

    /// Makes it unreadable again and tells whether it had been woken.
    pub fn drain(&self) -> bool {
        (&self.file).read_exact(&mut [0; 8]).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Rounds up: a timer that is due in a fraction of a millisecond must not make the loop spin.
fn milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// Takes ownership of a descriptor that a system call returned.
pub(crate) fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a system call just returned it, so it is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_reported_under_its_token_until_drained() {
        let mut epoll = Epoll::new(4).unwrap();
        let event = EventFd::new().unwrap();
        epoll.add(event.as_fd(), 77, Interest::Read).unwrap();
        assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap().count(), 0);

        event.wake();
        event.wake();
        let ready: Vec<_> = epoll.wait(None).unwrap().collect();
        assert_eq!(
            ready,
            [Event {
                token: 77,
                readable: true,
                writable: false,
                failed: false
            }]
        );

        assert!(event.drain());
        assert!(!event.drain());
        assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    }

    #[test]
    fn interest_can_be_changed_and_removed() {
        let mut epoll = Epoll::new(4).unwrap();
        let event = EventFd::new().unwrap();
        epoll.add(event.as_fd(), 1, Interest::Nothing).unwrap();
        epoll.modify(event.as_fd(), 2, Interest::ReadWrite).unwrap();
        let ready: Vec<_> = epoll.wait(Some(Duration::ZERO)).unwrap().collect();
        assert_eq!(
            ready,
            [Event {
                token: 2,
                readable: false,
                writable: true,
                failed: false
            }]
        );
        epoll.remove(event.as_fd()).unwrap();
        assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        assert!(epoll.remove(event.as_fd()).is_err());
    }

    #[test]
    fn timeouts_are_rounded_up_and_bounded() {
        for (timeout, expected) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(5), 5),
            (Duration::from_micros(5001), 6),
            (Duration::MAX, i32::MAX),
        ] {
            assert_eq!(milliseconds(timeout), expected, "{timeout:?}");
        }
    }
}
