//! The arrays behind recvmmsg and sendmmsg, allocated once and filled anew for every call.
//!
//! All raw pointers into packets live only inside [`MessageBatch::receive`] and [`MessageBatch::send`]; whoever calls
//! them sees slices. A message is an optional virtio header, then the packet, with an optional address and
//! ancillary data.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use sam_dataplane::Buffer;
use socket2::{SockAddr, SockAddrStorage};

use crate::control_message::{CAPACITY as CONTROL_CAPACITY, Control};
use crate::vnet_hdr;

/// Says what stands in front of each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Nothing.
    Absent,
    /// A virtio_net_hdr.
    Vnet,
}

/// Describes one message to send.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    /// Header in front of the bytes.
    pub(crate) prefix: Option<[u8; vnet_hdr::LEN]>,
    /// The frame, packet or train.
    pub(crate) bytes: &'a [u8],
    /// Destination of an unconnected socket.
    pub(crate) to: Option<SocketAddr>,
    /// Ancillary data and its length.
    pub(crate) control: (Control, usize),
}

/// Describes one message received.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    /// Header in front of the bytes.
    pub(crate) prefix: [u8; vnet_hdr::LEN],
    /// Sender, where the socket type has one and there is no prefix.
    pub(crate) from: Option<SocketAddr>,
    /// Whether bytes were lost because the buffer was too small.
    pub(crate) truncated: bool,
    /// Ancillary data.
    pub(crate) control: &'a [u8],
}

/// Owns the arrays for a fixed number of messages.
pub(crate) struct MessageBatch {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[[libc::iovec; 2]]>,
    prefixes: Box<[[u8; vnet_hdr::LEN]]>,
    addresses: Box<[SockAddrStorage]>,
    controls: Box<[Control]>,
}

// SAFETY: the raw pointers inside are written before and read during one system call only, within one method that
// borrows everything they point to. Between calls they are dead values, so moving the batch to a thread is sound.
unsafe impl Send for MessageBatch {}

impl MessageBatch {
    /// Allocates the arrays for `capacity` messages.
    pub(crate) fn new(capacity: usize) -> Self {
        let empty = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            headers: (0..capacity).map(|_| empty_header()).collect(),
            vectors: vec![[empty; 2]; capacity].into_boxed_slice(),
            prefixes: vec![[0; vnet_hdr::LEN]; capacity].into_boxed_slice(),
            addresses: (0..capacity).map(|_| SockAddrStorage::zeroed()).collect(),
            controls: vec![Control::new(); capacity].into_boxed_slice(),
        }
    }

    /// Receives up to one message per buffer into the buffers' tails and returns how many arrived.
    /// `WouldBlock` says that none waits.
    pub(crate) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        prefix: Prefix,
        buffers: &mut [Buffer],
    ) -> io::Result<usize> {
        let count = buffers.len().min(self.headers.len());
        for (index, buffer) in buffers[..count].iter_mut().enumerate() {
            let tail = buffer.tail_mut();
            self.vectors[index][1] = libc::iovec {
                iov_base: tail.as_mut_ptr().cast(),
                iov_len: tail.len(),
            };
            // Of a frame nobody asks who sent it, and what the kernel need not copy costs nothing.
            let (name_length, control) = match prefix {
                Prefix::Vnet => (0, 0),
                Prefix::Absent => (self.addresses[index].size_of(), CONTROL_CAPACITY),
            };
            self.headers[index] = shape(prefix, name_length, control);
        }
        self.wire(count);
        // SAFETY: the first `count` headers point to tails of `buffers`, to `prefixes`, `addresses` and `controls`
        // with their true lengths; all of them are borrowed exclusively until this method returns.
        let received = retry_interrupted(|| unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                message_count(count),
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })?;
        for (buffer, header) in buffers.iter_mut().zip(&self.headers[..received]) {
            let skip = if prefix == Prefix::Vnet {
                vnet_hdr::LEN
            } else {
                0
            };
            let length = (header.msg_len as usize).saturating_sub(skip);
            let room = buffer.tail_mut().len();
            buffer.grow(length.min(room));
        }
        Ok(received)
    }

    /// Returns what came with message `index` of the latest [`MessageBatch::receive`].
    pub(crate) fn incoming(&mut self, index: usize) -> Incoming<'_> {
        let header = self.headers[index].msg_hdr;
        let from = (header.msg_namelen > 0).then(|| {
            let storage = mem::replace(&mut self.addresses[index], SockAddrStorage::zeroed());
            // SAFETY: the kernel wrote `msg_namelen` bytes of an address of the socket's family; the rest was zero.
            unsafe { SockAddr::new(storage, header.msg_namelen) }.as_socket()
        });
        let from = from.flatten();
        #[expect(
            clippy::unnecessary_cast,
            reason = "the type differs between C libraries"
        )]
        let length = (header.msg_controllen as usize).min(CONTROL_CAPACITY);
        Incoming {
            prefix: self.prefixes[index],
            from,
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            control: &self.controls[index].bytes[..length],
        }
    }

    /// Sends as many of `messages` as fit the arrays, in one call, and returns how many the kernel took.
    /// An error concerns the first message; with none to send the answer is `Ok(0)`.
    pub(crate) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: impl Iterator<Item = Outgoing<'a>>,
    ) -> io::Result<usize> {
        let mut count = 0;
        for (index, message) in messages.take(self.headers.len()).enumerate() {
            // The kernel only reads through this pointer in sendmmsg.
            self.vectors[index][1] = libc::iovec {
                iov_base: message.bytes.as_ptr().cast_mut().cast(),
                iov_len: message.bytes.len(),
            };
            let prefix = if message.prefix.is_some() {
                Prefix::Vnet
            } else {
                Prefix::Absent
            };
            self.prefixes[index] = message.prefix.unwrap_or_default();
            let mut name_length = 0;
            if let Some(to) = message.to.map(SockAddr::from) {
                name_length = to.len();
                self.addresses[index] = to.as_storage();
            }
            let (control, control_length) = message.control;
            self.controls[index] = control;
            self.headers[index] = shape(prefix, name_length, control_length);
            count = index + 1;
        }
        if count == 0 {
            return Ok(0);
        }
        self.wire(count);
        // SAFETY: the first `count` headers point to the bytes of `messages`, which outlive this call by 'a, and to
        // `prefixes`, `addresses` and `controls`, borrowed exclusively. The kernel writes only `msg_len`.
        retry_interrupted(|| unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                message_count(count),
                libc::MSG_DONTWAIT as _,
            )
        })
    }

    /// Points the first `count` headers, whose lengths are set, to their parts. Each array is borrowed once, and
    /// none is touched between here and the system call.
    fn wire(&mut self, count: usize) {
        let prefixes = self.prefixes.as_mut_ptr();
        for (index, vector) in self.vectors[..count].iter_mut().enumerate() {
            let header = prefixes.wrapping_add(index);
            vector[0] = libc::iovec {
                iov_base: header.cast(),
                iov_len: vnet_hdr::LEN,
            };
        }
        let vectors = self.vectors.as_mut_ptr();
        let addresses = self.addresses.as_mut_ptr();
        let controls = self.controls.as_mut_ptr();
        for (index, message) in self.headers[..count].iter_mut().enumerate() {
            let header = &mut message.msg_hdr;
            let first = if header.msg_iovlen == 2 { 0 } else { 1 };
            header.msg_iov = vectors
                .wrapping_add(index)
                .cast::<libc::iovec>()
                .wrapping_add(first);
            if header.msg_namelen > 0 {
                header.msg_name = addresses.wrapping_add(index).cast();
            }
            if header.msg_controllen > 0 {
                header.msg_control = controls.wrapping_add(index).cast();
            }
        }
    }
}

impl std::fmt::Debug for MessageBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageBatch")
            .field("capacity", &self.headers.len())
            .finish()
    }
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: integers and pointers only; all-zero is an empty message.
    unsafe { mem::zeroed() }
}

/// Makes a header with lengths and no pointers: [`MessageBatch::wire`] adds them.
fn shape(prefix: Prefix, name: libc::socklen_t, control: usize) -> libc::mmsghdr {
    let mut message = empty_header();
    message.msg_hdr.msg_iovlen = if prefix == Prefix::Vnet { 2 } else { 1 };
    message.msg_hdr.msg_namelen = name;
    message.msg_hdr.msg_controllen = control as _;
    message
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "batches are at most 64 messages"
)]
fn message_count(count: usize) -> libc::c_uint {
    count as libc::c_uint
}

/// Repeats a system call that a signal interrupted.
fn retry_interrupted(mut call: impl FnMut() -> libc::c_int) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
