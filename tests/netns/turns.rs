//! Whose turn it is: many tests wait most of their time and may run together, but those that measure time or count losses are
//! disturbed by more than a few.

use std::sync::{Condvar, Mutex, PoisonError};

/// Room for tests that run at the same time.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// What a test takes of the room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Share {
    /// It checks what happens.
    Sixth,
    /// It checks how fast something happens, or how little is lost meanwhile.
    Half,
}

/// A turn; it ends when this is dropped, also by a test that fails.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    size: usize,
}

impl Turns {
    /// Tests at the same time, at most.
    pub(crate) const ROOM: usize = 6;

    pub(crate) const fn new() -> Self {
        Self {
            free: Mutex::new(Self::ROOM),
            freed: Condvar::new(),
        }
    }

    /// Waits for room.
    pub(crate) fn take(&self, share: Share) -> Turn<'_> {
        let size = match share {
            Share::Sixth => Self::ROOM / 6,
            Share::Half => Self::ROOM / 2,
        };
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free < size)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= size;
        Turn { turns: self, size }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut free = self
            .turns
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *free += self.size;
        self.turns.freed.notify_all();
    }
}
