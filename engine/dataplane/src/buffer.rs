//! Packet buffers of one size, allocated once, lent out by a pool.
//!
//! A [`Buffer`] owns its storage and remembers which part of it is packet: headers are prepended into the headroom
//! without moving the payload. The pool never allocates after start; when it is empty the caller drops and counts.

/// Bytes kept free in front of a received packet for the headers a later step prepends.
pub const HEADROOM: usize = 128;
/// Bytes of storage per buffer: headroom, the largest superpacket (65 535 and its Ethernet header), tailroom.
pub const CAPACITY: usize = HEADROOM + 65_536 + 128;

/// Holds one packet, superpacket or train.
#[derive(Debug)]
pub struct Buffer {
    storage: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Allocates an empty buffer with [`HEADROOM`] bytes in front.
    #[must_use]
    pub fn new() -> Self {
        Self {
            storage: vec![0; CAPACITY].into_boxed_slice(),
            start: HEADROOM,
            end: HEADROOM,
        }
    }

    /// Empties the buffer and restores the default headroom.
    pub fn clear(&mut self) {
        (self.start, self.end) = (HEADROOM, HEADROOM);
    }

    /// Returns the bytes in use.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// Returns the bytes in use, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Returns the number of bytes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Tells whether no byte is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns the unused bytes behind the packet: where a driver receives, or a builder appends.
    pub fn tail_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.end..]
    }

    /// Declares the first `count` bytes of the tail to be packet.
    ///
    /// # Panics
    /// When `count` exceeds the tail.
    pub fn grow(&mut self, count: usize) {
        assert!(
            count <= self.storage.len() - self.end,
            "grow beyond the buffer"
        );
        self.end += count;
    }

    /// Appends `data`, or returns `false` and changes nothing when the tail is too small.
    #[must_use]
    pub fn append(&mut self, data: &[u8]) -> bool {
        let Some(room) = self.storage.get_mut(self.end..self.end + data.len()) else {
            return false;
        };
        room.copy_from_slice(data);
        self.end += data.len();
        true
    }

    /// Makes room for `count` header bytes in front and returns them.
    ///
    /// # Panics
    /// When the headroom is smaller than `count`.
    pub fn prepend(&mut self, count: usize) -> &mut [u8] {
        assert!(count <= self.start, "headroom exhausted");
        self.start -= count;
        &mut self.storage[self.start..self.start + count]
    }

    /// Removes `count` bytes from the front.
    ///
    /// # Panics
    /// When fewer bytes are in use.
    pub fn trim_front(&mut self, count: usize) {
        assert!(count <= self.len(), "trim beyond the packet");
        self.start += count;
    }

    /// Shortens the packet to `len` bytes; longer values change nothing.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Lends out a fixed number of buffers.
#[derive(Debug)]
pub struct BufferPool {
    free: Vec<Buffer>,
    capacity: usize,
}

impl BufferPool {
    /// Allocates `capacity` buffers.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            free: (0..capacity).map(|_| Buffer::new()).collect(),
            capacity,
        }
    }

    /// Lends an empty buffer, or `None` when all are out.
    pub fn take(&mut self) -> Option<Buffer> {
        self.free.pop()
    }

    /// Takes a buffer back.
    pub fn give(&mut self, mut buffer: Buffer) {
        if self.free.len() < self.capacity {
            buffer.clear();
            self.free.push(buffer);
        }
    }

    /// Returns how many buffers are free.
    #[must_use]
    pub fn available(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_prepended_without_moving_the_payload() {
        let mut buffer = Buffer::new();
        assert!(buffer.append(b"payload"));
        buffer.prepend(2).copy_from_slice(b"hd");
        assert_eq!(buffer.bytes(), b"hdpayload");
        buffer.trim_front(2);
        assert_eq!(buffer.bytes(), b"payload");
    }

    #[test]
    fn an_append_beyond_the_end_changes_nothing() {
        let mut buffer = Buffer::new();
        assert!(!buffer.append(&vec![0; CAPACITY]));
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_pool_lends_no_more_than_it_has() {
        let mut pool = BufferPool::new(1);
        let buffer = pool.take().expect("one");
        assert!(pool.take().is_none());
        pool.give(buffer);
        assert_eq!(pool.available(), 1);
    }
}
