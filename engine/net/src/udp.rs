//! The underlay: a UDP socket that sends and receives trains, many datagrams of one size in one buffer.
//!
//! Sending uses UDP_SEGMENT where a train has more than one datagram and falls back to single datagrams when the
//! kernel does not know it, or refuses, or the device does; the socket remembers a refusal until it is told to try again. Receiving uses UDP_GRO
//! into 64 KiB buffers: a shorter one would lose the rest of a train. One socket serves one address family.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use sam_dataplane::{Buffer, BufferPool};
use socket2::{Domain, Protocol, Socket, Type};

use crate::bpf;
use crate::control_message::{self, Control};
use crate::error::NetError;
use crate::message_batch::{MessageBatch, Outgoing, Prefix};
use crate::raw_ip;
use crate::segmentation::Segmentation;
use crate::send_failure::SendFailure;
use crate::sending::Sending;
use crate::socket_option::{set, set_program, set_receive_buffer, set_send_buffer};
use crate::spare::Spare;

/// Trains received per system call.
pub const RECEIVE_BATCH: usize = 32;
/// Messages sent per system call.
pub const SEND_BATCH: usize = 64;
/// Datagrams per message. The limit of kernels before 6.9 is 64; those before 5.16 count the headers to the data, so that 64
/// full datagrams are one too many.
pub const MAX_SEGMENTS: usize = 63;

/// Datagrams received from one sender: all `segment` bytes long, the last perhaps shorter.
#[derive(Debug)]
pub struct Datagrams {
    /// The datagrams, back to back.
    pub buffer: Buffer,
    /// Bytes per datagram; equals the buffer length when there is one, and is 0 of an empty one.
    pub segment: usize,
    /// Sender.
    pub from: SocketAddr,
    /// TOS byte or traffic class: the lower two bits are ECN.
    pub tos: u8,
    /// The kernel's number of the interface that they came in by.
    pub interface: u32,
}

/// Datagrams to send to one destination: all `segment` bytes long, the last perhaps shorter.
#[derive(Debug)]
pub struct Train {
    /// Destination.
    pub to: SocketAddr,
    /// Bytes per datagram; equals the buffer length (or is larger) when there is one.
    pub segment: u16,
    /// TOS byte or traffic class.
    pub tos: u8,
    /// The datagrams, back to back.
    pub buffer: Buffer,
}

/// A bound, nonblocking UDP socket; or one of raw IP, see [`UdpSocket::open_raw`].
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    /// Whether received packets begin with their IPv4 header.
    begins_with_ip: bool,
    local: SocketAddr,
    /// Address that packets leave with; `None`: the kernel chooses.
    source: Option<IpAddr>,
    receive_buffer: usize,
    inbound: MessageBatch,
    outbound: MessageBatch,
    /// Empty buffers for the next receive.
    spare: Spare,
    segmentation: Segmentation,
    joins: bool,
    truncated: u64,
    overflows: u32,
}

impl UdpSocket {
    /// Binds a socket of the address's family.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, EACCES for a port below 1024 without CAP_NET_BIND_SERVICE.
    pub fn bind(address: SocketAddr) -> Result<Self, NetError> {
        Self::bind_with(address, false, RECEIVE_BUFFER)
    }

    /// Makes packets leave with an address of this host as their source; with `None`, or one of the other family, with
    /// that which the kernel chooses by the route.
    pub fn set_source(&mut self, source: Option<IpAddr>) {
        let ipv4 = self.local.is_ipv4();
        self.source = source.filter(|source| source.is_ipv4() == ipv4);
    }

    /// Returns the address that stands for any of a family, with a port.
    #[must_use]
    pub fn any(ipv6: bool, port: u16) -> SocketAddr {
        let mut any = unspecified(ipv6);
        any.set_port(port);
        any
    }

    /// Binds a socket that only sends, to a port that nobody else has; the kernel discards what is sent to it.
    ///
    /// # Errors
    /// When the host lacks the address family or has no port left.
    pub fn bind_sender(ipv6: bool) -> Result<Self, NetError> {
        let socket = Self::bind(unspecified(ipv6))?;
        socket.deafen()?;
        Ok(socket)
    }

    /// Makes the kernel discard everything that arrives.
    ///
    /// # Errors
    /// None that a correct program meets.
    pub fn deafen(&self) -> Result<(), NetError> {
        self.filter(&[bpf::assembled(bpf::DROP)])
    }

    /// Makes the kernel keep only what a program chooses.
    pub(crate) fn filter(&self, program: &[libc::sock_filter]) -> Result<(), NetError> {
        set_program(self.socket.as_fd(), libc::SO_ATTACH_FILTER, program)
            .map_err(|error| NetError::new("attach filter to", self.local.to_string(), error))
    }

    /// Binds a socket alone, or as a member of the group that has the port.
    pub(crate) fn bind_with(
        address: SocketAddr,
        group: bool,
        receive_buffer: i32,
    ) -> Result<Self, NetError> {
        let bind = || {
            let domain = Domain::for_address(address);
            let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            set(
                socket.as_fd(),
                libc::SOL_SOCKET,
                libc::SO_REUSEPORT,
                i32::from(group),
            )?;
            let receive_buffer = configure(socket.as_fd(), address.is_ipv4(), receive_buffer)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            let local = socket.local_addr()?.as_socket().unwrap_or(address);
            let bound = Self::new(socket, local, receive_buffer);
            // Kernels before 5.0 have no UDP_GRO: datagrams then come one by one.
            let joins = set(bound.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
            // Kernels before 4.18 have no UDP_SEGMENT, and would send a train as one datagram. Zero says that each call tells.
            let segmentation = match set(bound.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0) {
                Ok(()) => bound.segmentation,
                Err(_) => Segmentation::Refused,
            };
            Ok(Self {
                joins,
                segmentation,
                ..bound
            })
        };
        bind().map_err(|error: io::Error| {
            NetError::new("bind UDP socket to", address.to_string(), error)
        })
    }

    pub(crate) fn new(socket: Socket, local: SocketAddr, receive_buffer: usize) -> Self {
        Self {
            socket,
            begins_with_ip: false,
            local,
            source: None,
            receive_buffer,
            inbound: MessageBatch::new(RECEIVE_BATCH),
            outbound: MessageBatch::new(SEND_BATCH),
            spare: Spare::new(RECEIVE_BATCH),
            segmentation: Segmentation::Allowed { refusals: 0 },
            joins: false,
            truncated: 0,
            overflows: 0,
        }
    }

    /// Returns another handle of the socket, to send by.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self {
            joins: self.joins,
            segmentation: self.segmentation,
            ..Self::new(socket, self.local, self.receive_buffer)
        })
    }

    /// Makes it a raw one: single packets, without the IPv4 header that the kernel puts in front of received ones.
    pub(crate) fn into_raw(mut self) -> Self {
        self.begins_with_ip = self.local.is_ipv4();
        self.forbid_segmentation();
        self
    }

    /// Returns the bound address, with the port that was chosen for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the bytes of receive buffer that the kernel granted.
    #[must_use]
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Returns how many trains were longer than a buffer and dropped, since the start.
    #[must_use]
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Returns how many datagrams the kernel dropped because the receive buffer was full, since the start (modulo
    /// 2^32), as of the last train received.
    #[must_use]
    pub fn overflows(&self) -> u32 {
        self.overflows
    }

    /// Tells whether trains leave as trains.
    #[must_use]
    pub fn segments(&self) -> bool {
        self.segmentation != Segmentation::Refused
    }

    /// Lets trains leave as trains again, after a refusal or [`UdpSocket::forbid_segmentation`].
    pub fn allow_segmentation(&mut self) {
        self.segmentation = Segmentation::Allowed { refusals: 0 };
    }

    /// Makes every datagram leave alone, for kernels and hosts that corrupt trains.
    pub fn forbid_segmentation(&mut self) {
        self.segmentation = Segmentation::Refused;
    }

    /// Makes datagrams leave without a checksum over IPv4, for tests: the kernel cuts no train of such.
    ///
    /// # Errors
    /// None that a correct program meets.
    #[doc(hidden)]
    pub fn omit_checksums(&self) -> io::Result<()> {
        set(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)
    }

    /// Tells whether the kernel joins datagrams that arrive.
    #[must_use]
    pub fn joins(&self) -> bool {
        self.joins
    }

    /// Makes the kernel hand over every datagram alone.
    pub fn forbid_joining(&mut self) {
        // Kernels that do not know the option do not join either.
        set(self.socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 0).ok();
        self.joins = false;
    }

    /// Receives up to `budget` trains and appends them to `out`; returns how many messages were read, dropped ones
    /// included. Fewer than `budget` says that none waits, or that the pool ran dry.
    ///
    /// # Errors
    /// `OutOfMemory` when the pool is empty and datagrams may wait. Trains already in `out` stay valid.
    pub fn recv_batch(
        &mut self,
        pool: &mut BufferPool,
        out: &mut Vec<Datagrams>,
        budget: usize,
    ) -> io::Result<usize> {
        let received = self.receive(pool, out, budget);
        self.spare.settle(pool);
        received
    }

    fn receive(
        &mut self,
        pool: &mut BufferPool,
        out: &mut Vec<Datagrams>,
        budget: usize,
    ) -> io::Result<usize> {
        let (mut total, mut told) = (0, 0);
        while total < budget {
            let wanted = RECEIVE_BATCH.min(budget - total);
            let buffers = self.spare.ready(wanted, pool);
            let room = buffers.len();
            if room == 0 {
                return if total > 0 {
                    Ok(total)
                } else {
                    Err(io::ErrorKind::OutOfMemory.into())
                };
            }
            let received = match self
                .inbound
                .receive(self.socket.as_fd(), Prefix::Absent, buffers)
            {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(total),
                // An ICMP error about a packet that was sent; the kernel tells it once, and what waits comes after it.
                Err(_) if told < RECEIVE_BATCH => {
                    told += 1;
                    continue;
                }
                Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
            };
            self.hand_over(received, pool, out);
            total += received;
            if received < room {
                return Ok(total);
            }
        }
        Ok(total)
    }

    /// Sends trains in order and returns how many were dealt with, sent or failed; fewer than all says that the
    /// socket is busy and the rest is to be sent when it is writable. What was sent is cut off the buffers, so the
    /// first unsent train holds exactly its unsent datagrams. Refused datagrams are appended to `failures`.
    pub fn send_trains(&mut self, trains: &mut [Train], failures: &mut Vec<SendFailure>) -> usize {
        let mut send = Sending::default();
        while let Some(train) = trains.get(send.next) {
            if train.buffer.is_empty() {
                send.advance();
                continue;
            }
            let manner = Manner {
                segmented: self.segments(),
                alone: send.alone,
                source: self.source,
            };
            let messages = chunks(&trains[send.next..], manner);
            match self.outbound.send(self.socket.as_fd(), messages) {
                Ok(sent) => self.account(trains, &mut send, sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return send.next,
                Err(error) => self.recover(trains, &mut send, error, failures),
            }
        }
        send.next
    }

    /// Gives the buffers that the socket keeps back to the pool.
    pub fn release(&mut self, pool: &mut BufferPool) {
        self.spare.release(pool);
    }

    /// Makes trains of the first `received` spare buffers.
    fn hand_over(&mut self, received: usize, pool: &mut BufferPool, out: &mut Vec<Datagrams>) {
        for (index, mut buffer) in self.spare.filled(received).enumerate() {
            let incoming = self.inbound.incoming(index);
            if self.begins_with_ip {
                raw_ip::trim_header(&mut buffer);
            }
            let (mut segment, mut tos, mut interface) = (buffer.len(), 0, 0);
            for (level, kind, value) in control_message::iterate(incoming.control) {
                if let Some(index) = control_message::interface(level, kind, value) {
                    interface = index;
                    continue;
                }
                let Some(value) = control_message::integer(value) else {
                    continue;
                };
                match (level, kind) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        segment = usize::try_from(value).unwrap_or(segment);
                    }
                    (libc::SOL_IP, libc::IP_TOS) | (libc::SOL_IPV6, libc::IPV6_TCLASS) => {
                        tos = value.to_le_bytes()[0];
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => self.overflows = value.cast_unsigned(),
                    _ => {}
                }
            }
            match incoming.from {
                Some(from) if !incoming.truncated => {
                    out.push(Datagrams {
                        buffer,
                        segment,
                        from,
                        tos,
                        interface,
                    });
                }
                // What was cut would be misread.
                _ => {
                    self.truncated += u64::from(incoming.truncated);
                    pool.give(buffer);
                }
            }
        }
    }

    /// Cuts what the first `sent` messages carried off the trains.
    fn account(&mut self, trains: &mut [Train], send: &mut Sending, sent: usize) {
        for _ in 0..sent {
            let train = &mut trains[send.next];
            let length = chunk_length(train, train.buffer.len(), self.segments() && !send.alone);
            if length > usize::from(train.segment) {
                self.segmentation.accepted();
            }
            // It was the train that the kernel refused.
            if mem::take(&mut send.suspect) {
                self.segmentation.refused();
            }
            train.buffer.trim_front(length);
            if train.buffer.is_empty() {
                send.advance();
            }
        }
    }

    /// Decides what becomes of the first unsent message after an error.
    fn recover(
        &mut self,
        trains: &mut [Train],
        send: &mut Sending,
        error: io::Error,
        failures: &mut Vec<SendFailure>,
    ) {
        let train = &mut trains[send.next];
        let length = chunk_length(train, train.buffer.len(), self.segments() && !send.alone);
        let segment = usize::from(train.segment).clamp(1, length);
        match error.raw_os_error() {
            // The device's queue is full, which a socket with an error queue is told. It will not be empty at once.
            Some(libc::ENOBUFS) => send.fail(train, length, segment, error, failures),
            // An ICMP error about an earlier packet is told by the next send; the kernel then forgets it.
            Some(_) if !send.told => send.told = true,
            // The device cannot finish the checksums of segments.
            Some(libc::EIO) if length > segment => self.segmentation = Segmentation::Refused,
            // Too many bytes for the path, or a kernel that says EINVAL for the same reason: let each datagram try.
            // So it says of an address that is not ours as well: refused is a train whose datagrams are not.
            Some(libc::EINVAL) if length > segment => (send.alone, send.suspect) = (true, true),
            Some(libc::EMSGSIZE) if length > segment => send.alone = true,
            _ => send.fail(train, length, segment, error, failures),
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How trains leave.
#[derive(Debug, Clone, Copy, Default)]
struct Manner {
    /// As trains.
    segmented: bool,
    /// But the first as single datagrams.
    alone: bool,
    /// With this source.
    source: Option<IpAddr>,
}

/// Cuts trains into messages.
fn chunks(trains: &[Train], manner: Manner) -> impl Iterator<Item = Outgoing<'_>> {
    let source = manner.source;
    trains.iter().enumerate().flat_map(move |(index, train)| {
        let segmented = manner.segmented && !(manner.alone && index == 0);
        let mut rest = train.buffer.bytes();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (bytes, left) = rest.split_at(chunk_length(train, rest.len(), segmented));
            rest = left;
            let control = control_of(train, bytes.len(), source);
            Some(Outgoing {
                prefix: None,
                bytes,
                to: Some(train.to),
                control,
            })
        })
    })
}

/// Returns the bytes of the first message of `rest` bytes of a train: one datagram, or as many as one call may
/// carry.
fn chunk_length(train: &Train, rest: usize, segmented: bool) -> usize {
    let segment = usize::from(train.segment).max(1);
    let most = if train.to.is_ipv4() {
        MAX_BYTES_IPV4
    } else {
        MAX_BYTES_IPV6
    };
    let count = if segmented {
        (most / segment).clamp(1, MAX_SEGMENTS)
    } else {
        1
    };
    rest.min(segment * count)
}

/// UDP_SEGMENT only where there is something to cut: with a single datagram some devices refuse it. TOS only where
/// it differs from the socket's.
fn control_of(train: &Train, length: usize, source: Option<IpAddr>) -> (Control, usize) {
    let (mut control, mut used) = (Control::new(), 0);
    if length > usize::from(train.segment) {
        let segment = train.segment.to_ne_bytes();
        used = control.push(used, libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
    }
    if train.tos != 0 {
        let (level, kind) = match train.to.ip() {
            IpAddr::V4(_) => (libc::SOL_IP, libc::IP_TOS),
            IpAddr::V6(_) => (libc::SOL_IPV6, libc::IPV6_TCLASS),
        };
        used = control.push(used, level, kind, &i32::from(train.tos).to_ne_bytes());
    }
    if let Some(source) = source {
        used = control.push_source(used, source);
    }
    (control, used)
}

/// Returns the address of a family that stands for any, with a port that the kernel chooses.
pub(crate) fn unspecified(ipv6: bool) -> SocketAddr {
    if ipv6 {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    }
}

/// Sets the options of data-plane sockets; returns the receive buffer granted.
pub(crate) fn configure(fd: BorrowedFd<'_>, ipv4: bool, receive_buffer: i32) -> io::Result<usize> {
    let granted = set_receive_buffer(fd, receive_buffer)?;
    set_send_buffer(fd, SEND_BUFFER)?;
    set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    // PROBE sets DF and ignores the kernel's path MTU: the tunnel's MTU is ours to find, by the error queue.
    if ipv4 {
        set(fd, libc::SOL_IP, libc::IP_PKTINFO, 1)?;
        set(fd, libc::SOL_IP, libc::IP_RECVTOS, 1)?;
        set(fd, libc::SOL_IP, libc::IP_RECVERR, 1)?;
        set(fd, libc::SOL_IP, libc::IP_TTL, OUTER_TTL)?;
        set(
            fd,
            libc::SOL_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )?;
    } else {
        set(fd, libc::SOL_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        set(fd, libc::SOL_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        set(fd, libc::SOL_IPV6, libc::IPV6_RECVERR, 1)?;
        set(fd, libc::SOL_IPV6, libc::IPV6_UNICAST_HOPS, OUTER_TTL)?;
        set(
            fd,
            libc::SOL_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )?;
    }
    Ok(granted)
}

/// TTL of outer headers, whatever the host's default and the inner TTL: a tunnel is one hop (RFC 2003 section 3.1).
const OUTER_TTL: i32 = 64;
/// 10 Gb/s for 10 ms and some.
pub(crate) const RECEIVE_BUFFER: i32 = 16 << 20;
const SEND_BUFFER: i32 = 4 << 20;
/// The largest UDP payload: 65 535 less the IP and UDP headers.
const MAX_BYTES_IPV4: usize = 65_507;
/// A train is one IPv6 packet inside the kernel, header included in its 65 535 bytes.
const MAX_BYTES_IPV6: usize = 65_487;

#[cfg(test)]
mod tests {
    use super::*;

    const TRAINS: Manner = Manner {
        segmented: true,
        alone: false,
        source: None,
    };

    #[test]
    fn trains_are_cut_at_63_datagrams_and_at_the_largest_packet() {
        for (segment, bytes, expected) in [
            (1400, 1400, vec![1400]),
            (1400, 900, vec![900]),
            (1400, 56_000, vec![56_000]),
            (1400, 64_500, vec![46 * 1400, 100]),
            (100, 6400, vec![6300, 100]),
            (1, 64, vec![63, 1]),
            (40_000, 65_507, vec![40_000, 25_507]),
        ] {
            let train = [train_of(segment, bytes)];
            let lengths: Vec<_> = chunks(&train, TRAINS).map(|m| m.bytes.len()).collect();
            assert_eq!(lengths, expected, "{segment} {bytes}");
        }
    }

    #[test]
    fn only_messages_of_several_datagrams_carry_a_segment_size() {
        let trains = [
            train_of(1400, 3000),
            train_of(1400, 1400),
            train_of(1400, 600),
        ];
        let segmented: Vec<_> = chunks(&trains, TRAINS)
            .map(|message| message.control.1 > 0)
            .collect();
        assert_eq!(segmented, [true, false, false]);
        assert!(chunks(&trains, Manner::default()).all(|message| message.control.1 == 0));
    }

    #[test]
    fn a_train_that_must_go_alone_does_not_affect_the_next() {
        let trains = [train_of(1000, 2500), train_of(1000, 2500)];
        let alone = Manner {
            alone: true,
            ..TRAINS
        };
        let lengths: Vec<_> = chunks(&trains, alone).map(|m| m.bytes.len()).collect();
        assert_eq!(lengths, [1000, 1000, 500, 2500]);
    }

    #[test]
    fn a_kernel_that_refuses_trains_gets_single_datagrams_and_is_not_asked_forever() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let receiver = std::net::UdpSocket::bind(any).unwrap();
        let mut sender = UdpSocket::bind(any).unwrap();
        // The kernel cuts no train whose datagrams are to have no checksum.
        let without_checksums = |sender: &UdpSocket, on: i32| {
            set(sender.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, on).unwrap();
        };
        let exchange = |sender: &mut UdpSocket| {
            let mut train = [train_of(100, 250)];
            train[0].to = receiver.local_addr().unwrap();
            let mut failures = Vec::new();
            assert_eq!(sender.send_trains(&mut train, &mut failures), 1);
            assert!(failures.is_empty(), "{failures:?}");
            let mut buffer = [0; 999];
            for length in [100, 100, 50] {
                assert_eq!(receiver.recv(&mut buffer).unwrap(), length);
            }
        };
        without_checksums(&sender, 1);
        for _ in 0..crate::segmentation::REFUSALS {
            assert!(sender.segments());
            exchange(&mut sender);
        }
        assert!(!sender.segments());
        exchange(&mut sender);

        without_checksums(&sender, 0);
        sender.allow_segmentation();
        for _ in 0..=crate::segmentation::REFUSALS {
            exchange(&mut sender);
            assert!(sender.segments());
        }
    }

    #[test]
    fn a_device_that_finishes_no_checksums_of_segments_ends_trains_at_once() {
        let mut sender = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        for (bytes, segments, failed) in [(250, false, 0), (100, true, 1)] {
            sender.allow_segmentation();
            let (mut train, mut failures) = ([train_of(100, bytes)], Vec::new());
            let mut send = Sending::default();
            for told in [false, true] {
                assert_eq!((send.told, sender.segments()), (told, true));
                let error = io::Error::from_raw_os_error(libc::EIO);
                sender.recover(&mut train, &mut send, error, &mut failures);
            }
            let left = train[0].buffer.len();
            assert_eq!((sender.segments(), failures.len()), (segments, failed));
            assert_eq!(left, if failed == 0 { bytes } else { 0 });
        }
    }

    fn train_of(segment: u16, bytes: usize) -> Train {
        let mut buffer = Buffer::new();
        assert!(buffer.append(&vec![7; bytes]));
        Train {
            to: "192.0.2.1:6080".parse().unwrap(),
            segment,
            tos: 0,
            buffer,
        }
    }
}
