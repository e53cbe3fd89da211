//! What control tells a thread.
//!
//! Slots, not a queue: the newest state replaces one that the thread has not read yet. A mailbox is therefore never full
//! (R10), and a thread that was busy finds what holds now, not what held meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use sam_net::EventFd;

/// A mailbox for letters of one kind, shared by control and a thread.
#[derive(Debug)]
pub(crate) struct Mailbox<L> {
    letters: Mutex<L>,
    wake: EventFd,
}

impl<L: Default> Mailbox<L> {
    /// Makes an empty mailbox.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            letters: Mutex::default(),
            wake: EventFd::new()?,
        })
    }

    /// Writes and wakes the thread.
    pub(crate) fn post(&self, write: impl FnOnce(&mut L)) {
        write(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.wake();
    }

    /// Wakes the thread without telling it anything.
    pub(crate) fn wake(&self) {
        self.wake.wake();
    }

    /// Takes everything; the mailbox is empty and quiet afterwards.
    pub(crate) fn take(&self) -> L {
        // In this order a letter that is posted meanwhile wakes again.
        self.wake.drain();
        std::mem::take(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<L> AsFd for Mailbox<L> {
    /// Readable while there is something to take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
