//! A LAN port: AF_PACKET socket on one interface, whole superpackets in and out by their virtio headers.
//!
//! The socket sees every frame before tc and netfilter do (ETH_P_ALL) and never its own. The filter runs before the
//! kernel copies a frame. Where there are no virtio headers, what the kernel left undone is guessed, and finished before
//! a frame is sent. Batches go through recvmmsg and sendmmsg; TPACKET rings are not used: V3 adds milliseconds,
//! and V2 delivers no more packets (benches/README.md, "Tried and refused").

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use sam_dataplane::merged::offload_on_link;
use sam_dataplane::{Buffer, BufferPool, Checksum, Gso, Offload, Unit};

use crate::control_message::Control;
use crate::epoll::owned;
use crate::error::NetError;
use crate::filter::Filter;
use crate::message_batch::{MessageBatch, Outgoing, Prefix};
use crate::netlink::{Link, Netlink};
use crate::send_failure::{ENOBUFS_RETRIES, SendFailure};
use crate::socket_option::{self, set, set_program, set_receive_buffer, set_send_buffer};
use crate::spare::Spare;
use crate::vnet_hdr::{self, LinkType, VnetError};

/// Frames per system call.
pub const BATCH: usize = 32;

/// Names why a received frame is not handed over. Each counts as one lost frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Longer than a buffer.
    #[error("frame longer than a buffer")]
    Truncated,
    /// The kernel cannot describe it in a virtio header (UDP superpackets before Linux 6.2), or has none.
    #[error("superpacket that this kernel cannot describe")]
    Undescribable,
    /// Its virtio header does not fit it.
    #[error(transparent)]
    Header(#[from] VnetError),
}

/// An AF_PACKET socket bound to one interface.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    link: Link,
    /// Whether a virtio header stands in front of each frame.
    prefix: Prefix,
    receive_buffer: usize,
    inbound: MessageBatch,
    outbound: MessageBatch,
    /// Empty buffers for the next receive.
    spare: Spare,
}

impl PacketSocket {
    /// Opens a socket on the interface `name` of the calling thread's namespace. Without a filter it receives
    /// every frame.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW, ENODEV.
    pub fn open(name: &str, filter: Option<&Filter>) -> Result<Self, NetError> {
        Self::open_with(name, filter, RECEIVE_BUFFER)
    }

    /// Like [`Self::open`], with a receive buffer of up to `receive_buffer` bytes.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        name: &str,
        filter: Option<&Filter>,
        receive_buffer: i32,
    ) -> Result<Self, NetError> {
        let link = Netlink::open()?.link(name)?;
        let open = || {
            // Protocol 0 receives nothing until bind, so no frame slips past the filter.
            let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: no pointers.
            let fd = owned(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
            let prefix = match set(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1) {
                Ok(()) => Prefix::Vnet,
                Err(_) => Prefix::Absent,
            };
            let receive_buffer = configure(fd.as_fd(), filter, receive_buffer)?;
            bind(fd.as_fd(), link.index)?;
            drain(fd.as_fd());
            Ok((fd, prefix, receive_buffer))
        };
        let (fd, prefix, receive_buffer) = open().map_err(|error: io::Error| {
            let denied = error.raw_os_error() == Some(libc::EPERM);
            NetError::new("open packet socket on", name, error)
                .with_remedy(denied.then_some("grant CAP_NET_RAW"))
        })?;
        let (inbound, outbound) = (MessageBatch::new(BATCH), MessageBatch::new(BATCH));
        let spare = Spare::new(BATCH);
        Ok(Self {
            fd,
            link,
            prefix,
            receive_buffer,
            inbound,
            outbound,
            spare,
        })
    }

    /// Spreads the frames of the interface over `sockets`, by flow: a flow keeps to one of them. Frames that came
    /// before are discarded, for each socket had its own copy.
    ///
    /// # Errors
    /// EINVAL when the sockets are not of one interface.
    pub fn fan_out(sockets: &[Self]) -> Result<(), NetError> {
        let [first, _, ..] = sockets else {
            return Ok(());
        };
        let join = || {
            let unique = FANOUT_HASH | libc::PACKET_FANOUT_FLAG_UNIQUEID << 16;
            set(
                first.fd.as_fd(),
                libc::SOL_PACKET,
                libc::PACKET_FANOUT,
                unique.cast_signed(),
            )?;
            let group: libc::c_int =
                socket_option::read(first.fd.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT)?;
            let group = FANOUT_HASH | group.cast_unsigned() & 0xffff;
            for socket in &sockets[1..] {
                set(
                    socket.fd.as_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_FANOUT,
                    group.cast_signed(),
                )?;
            }
            sockets.iter().for_each(|socket| drain(socket.fd.as_fd()));
            Ok(())
        };
        join().map_err(|error| {
            NetError::new("fan out packet sockets of", first.link.name.clone(), error)
        })
    }

    /// Tells whether the kernel hands over and takes superpackets and unfinished checksums.
    #[must_use]
    pub fn offloads(&self) -> bool {
        self.prefix == Prefix::Vnet
    }

    /// Returns the interface index.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.link.index
    }

    /// Returns the Ethernet address, or zero where the link has none.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.link.mac.unwrap_or_default()
    }

    /// Returns the largest IP packet, in bytes, as it was when the socket was opened.
    #[must_use]
    pub fn mtu(&self) -> u32 {
        self.link.mtu
    }

    /// Returns the bytes of receive buffer that the kernel granted.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Returns how many frames the kernel dropped because the receive buffer was full, since the last call.
    ///
    /// # Errors
    /// None that a correct program meets.
    pub fn overflows(&self) -> io::Result<u64> {
        let statistics: libc::tpacket_stats =
            socket_option::read(self.fd.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(u64::from(statistics.tp_drops))
    }

    /// Receives up to `budget` frames and appends them to `out`; returns how many entries were added. Fewer than
    /// `budget` says that none waits, or that the pool ran dry.
    ///
    /// # Errors
    /// `OutOfMemory` when the pool is empty and frames may wait. ENETDOWN once when the interface goes down; the
    /// socket works again when it comes up. Entries already in `out` stay valid.
    pub fn recv_batch(
        &mut self,
        pool: &mut BufferPool,
        out: &mut Vec<Result<Unit, FrameError>>,
        budget: usize,
    ) -> io::Result<usize> {
        let received = self.receive(pool, out, budget);
        self.spare.settle(pool);
        received
    }

    fn receive(
        &mut self,
        pool: &mut BufferPool,
        out: &mut Vec<Result<Unit, FrameError>>,
        budget: usize,
    ) -> io::Result<usize> {
        let mut total = 0;
        while total < budget {
            let wanted = BATCH.min(budget - total);
            let buffers = self.spare.ready(wanted, pool);
            let room = buffers.len();
            if room == 0 {
                return if total > 0 {
                    Ok(total)
                } else {
                    Err(io::ErrorKind::OutOfMemory.into())
                };
            }
            let received = match self.inbound.receive(self.fd.as_fd(), self.prefix, buffers) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(total),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    out.push(Err(FrameError::Undescribable));
                    total += 1;
                    continue;
                }
                Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
            };
            for (index, buffer) in self.spare.filled(received).enumerate() {
                let incoming = self.inbound.incoming(index);
                let offload = match self.prefix {
                    _ if incoming.truncated => Err(FrameError::Truncated),
                    Prefix::Vnet => {
                        vnet_hdr::decode(incoming.prefix, buffer.len()).map_err(FrameError::Header)
                    }
                    Prefix::Absent => guess(buffer.bytes(), self.link.mtu),
                };
                out.push(finish(offload, buffer, pool));
            }
            total += received;
            if received < room {
                return Ok(total);
            }
        }
        Ok(total)
    }

    /// Sends units in order and returns how many were dealt with, sent or failed; fewer than all says that the
    /// socket is busy and the rest is to be sent when it is writable, or that a superpacket failed, whose pieces would be
    /// overtaken by what follows. What failed is appended to `failures`; `InvalidData` says that metadata and bytes do not
    /// fit, or that nobody could finish what is unfinished.
    pub fn send_batch(&mut self, units: &[Unit], failures: &mut Vec<SendFailure>) -> usize {
        let (mut next, mut retries) = (0, 0);
        while next < units.len() {
            let messages = units[next..]
                .iter()
                .map_while(|unit| outgoing(unit, self.prefix));
            let error = match self.outbound.send(self.fd.as_fd(), messages) {
                Ok(0) => io::ErrorKind::InvalidData.into(),
                Ok(sent) => {
                    next += sent;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return next,
                Err(error) => error,
            };
            if error.raw_os_error() == Some(libc::ENOBUFS) && retries < ENOBUFS_RETRIES {
                retries += 1;
                std::thread::yield_now();
                continue;
            }
            failures.push(SendFailure {
                index: next,
                packets: units[next].packets(),
                error,
            });
            next += 1;
            if units[next - 1].offload.gso != Gso::None {
                break;
            }
        }
        next
    }

    /// Gives the buffers that the socket keeps back to the pool.
    pub fn release(&mut self, pool: &mut BufferPool) {
        self.spare.release(pool);
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sets everything that must be in place before the first frame arrives; returns the receive buffer granted.
fn configure(
    fd: BorrowedFd<'_>,
    filter: Option<&Filter>,
    receive_buffer: i32,
) -> io::Result<usize> {
    set(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    if let Some(filter) = filter {
        set_program(fd, libc::SO_ATTACH_FILTER, filter.program())?;
    }
    let granted = set_receive_buffer(fd, receive_buffer)?;
    set_send_buffer(fd, SEND_BUFFER)?;
    if filter.is_some() {
        set(fd, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1)?;
    }
    Ok(granted)
}

#[expect(clippy::cast_possible_truncation, reason = "small constants")]
fn bind(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    // SAFETY: integers and a byte array; all-zero is a valid, empty address.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface.cast_signed();
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer and the length describe `address`, which lives until the call returns.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Discards what arrived while the socket was being set up. Bounded: a flood must not hold up the start.
fn drain(fd: BorrowedFd<'_>) {
    for _ in 0..DRAIN_LIMIT {
        let mut byte = [0u8; vnet_hdr::LEN + 1];
        // SAFETY: the pointer and the length describe `byte`; the rest of the frame is cut off.
        let result = unsafe {
            libc::recv(
                fd.as_raw_fd(),
                byte.as_mut_ptr().cast(),
                byte.len(),
                libc::MSG_DONTWAIT,
            )
        };
        if result < 0 {
            return;
        }
    }
}

/// Makes a unit of a received frame, or gives its buffer back.
fn finish(
    offload: Result<Offload, FrameError>,
    buffer: Buffer,
    pool: &mut BufferPool,
) -> Result<Unit, FrameError> {
    match offload {
        Ok(offload) => Ok(Unit { buffer, offload }),
        Err(error) => {
            pool.give(buffer);
            Err(error)
        }
    }
}

/// Finds out what the kernel left undone in a frame that it did not describe.
fn guess(frame: &[u8], mtu: u32) -> Result<Offload, FrameError> {
    let Some((header, packet)) = frame.split_at_checked(ETHERNET.into()) else {
        return Ok(Offload::default());
    };
    if header[12..] != IPV4 {
        return Ok(Offload::default());
    }
    let mut offload = offload_on_link(packet, mtu).ok_or(FrameError::Undescribable)?;
    if let Checksum::Partial { start, .. } = &mut offload.checksum {
        *start += ETHERNET;
    }
    Ok(offload)
}

/// Describes a unit to send; `None` when metadata and bytes do not fit, or no header can describe what is unfinished.
fn outgoing(unit: &Unit, prefix: Prefix) -> Option<Outgoing<'_>> {
    let bytes = unit.buffer.bytes();
    let prefix = match prefix {
        Prefix::Vnet => Some(vnet_hdr::encode(unit.offload, bytes, LinkType::Ethernet).ok()?),
        Prefix::Absent if unit.offload == Offload::default() => None,
        Prefix::Absent => return None,
    };
    Some(Outgoing {
        prefix,
        bytes,
        to: None,
        control: (Control::new(), 0),
    })
}

/// Bytes of Ethernet header.
const ETHERNET: u16 = 14;
/// EtherType of IPv4.
const IPV4: [u8; 2] = [0x08, 0x00];
/// Distribution by flow, in the upper half of the option's value. A group hears what this host sends unless it says so itself,
/// whatever its members said: a flow hash and a filter for each frame sent. Linux before 5.15 takes no notice of the flag.
const FANOUT_HASH: u32 =
    (libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING) << 16;
/// Bytes of receive buffer that a socket asks for: 10 Gb/s for 10 ms and some.
pub const RECEIVE_BUFFER: i32 = 16 << 20;
const SEND_BUFFER: i32 = 4 << 20;
const DRAIN_LIMIT: usize = 1024;
