//! Local delivery and host egress: a TUN device whose packets carry a virtio header, so that the kernel hands over
//! and takes whole superpackets.
//!
//! The device vanishes with its last descriptor. It belongs to one process: a second one gets EBUSY instead of a share
//! of the flows. Several workers read it by several queues; the kernel keeps a flow to one of them. What the kernel has is
//! asked first: without the virtio header everything works packet by packet, without queues there is one;
//! [`Tun::offloads`] says what was obtained.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use sam_dataplane::{Buffer, Offload, Unit};

use crate::error::{Context, NetError};
use crate::netlink::Netlink;
use crate::vnet_hdr::{self, LinkType};

/// What the kernel agreed to hand over and to take unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunOffloads {
    /// No virtio header: packets are plain and complete.
    Plain,
    /// A virtio header, but packets are complete: the kernel refused every offload.
    Header,
    /// Partial checksums and TCP superpackets.
    Tcp,
    /// Partial checksums, TCP and UDP superpackets.
    TcpUdp,
}

/// A TUN device.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: String,
    index: u32,
    offloads: TunOffloads,
}

impl Tun {
    /// Makes the device `name`, or takes a persistent one that nobody has open. It is down and without address.
    ///
    /// # Errors
    /// With the remedy: no /dev/net/tun, no permission, the name in use.
    pub fn open(name: &str) -> Result<Self, NetError> {
        Self::attach(name, 0, TunOffloads::TcpUdp)
    }

    /// Like [`Self::open`], with offloads up to `limit`, and up to `count` queues: fewer where the device existed before with a single one, or
    /// where the kernel has no more.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_queues(
        name: &str,
        count: usize,
        limit: TunOffloads,
    ) -> Result<Vec<Self>, NetError> {
        if count <= 1 || !has(&open_device()?, libc::IFF_MULTI_QUEUE) {
            return Ok(vec![Self::attach(name, 0, limit)?]);
        }
        // IFF_TUN_EXCL refuses a device that exists, perhaps with the queues of another process.
        let first = match Self::attach(name, libc::IFF_MULTI_QUEUE | libc::IFF_TUN_EXCL, limit) {
            Ok(first) => first,
            // A persistent device with one queue is attached exclusively, as ever.
            Err(error) if error.errno() == Some(libc::EBUSY) => {
                return Ok(vec![Self::attach(name, 0, limit)?]);
            }
            Err(error) => return Err(error),
        };
        let mut queues = vec![first];
        while queues.len() < count {
            match Self::attach(name, libc::IFF_MULTI_QUEUE, limit) {
                Ok(queue) => queues.push(queue),
                Err(_) => break,
            }
        }
        Ok(queues)
    }

    fn attach(name: &str, flags: i32, limit: TunOffloads) -> Result<Self, NetError> {
        let request = interface_request(name)?;
        let file = open_device()?;
        let offloads = if has(&file, libc::IFF_VNET_HDR) {
            attach(&file, request, libc::IFF_VNET_HDR | flags, name)?;
            negotiate(&file, limit)
        } else {
            attach(&file, request, flags, name)?;
            TunOffloads::Plain
        };
        let index = Netlink::open()?.link(name)?.index;
        Ok(Self {
            file,
            name: name.to_owned(),
            index,
            offloads,
        })
    }

    /// Returns another handle of this queue, to write by.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            name: self.name.clone(),
            index: self.index,
            offloads: self.offloads,
        })
    }

    /// Returns the interface name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the interface index.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns what the kernel agreed to.
    #[must_use]
    pub fn offloads(&self) -> TunOffloads {
        self.offloads
    }

    /// Asks for the largest packet, in bytes. For the control path: it opens a netlink socket in the namespace of
    /// the calling thread, which must be the device's.
    ///
    /// # Errors
    /// ENODEV when the device was moved or removed.
    pub fn mtu(&self) -> Result<u32, NetError> {
        Ok(Netlink::open()?.link_by_index(self.index)?.mtu)
    }

    /// Reads one packet or superpacket behind what `buffer` holds; `None` when none waits.
    ///
    /// # Errors
    /// `InvalidData` (a [`crate::VnetError`] inside) concerns this packet alone: drop it and read on. Others concern
    /// the device; EIO says that it is down.
    pub fn recv(&mut self, buffer: &mut Buffer) -> io::Result<Option<Offload>> {
        let mut header = [0; vnet_hdr::LEN];
        let tail = buffer.tail_mut();
        let result = if self.offloads == TunOffloads::Plain {
            self.file.read(tail)
        } else {
            let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(tail)];
            self.file
                .read_vectored(&mut parts)
                .map(|length| length.saturating_sub(vnet_hdr::LEN))
        };
        let length = match result {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let offload = vnet_hdr::decode(header, length)?;
        buffer.grow(length);
        Ok(Some(offload))
    }

    /// Writes one packet or superpacket.
    ///
    /// # Errors
    /// EINVAL says that this kernel refuses such a superpacket: cut it and write the pieces. `WouldBlock` says that
    /// the device's queue is full, EIO that it is down. `InvalidData` says that metadata and bytes do not fit, or
    /// that unfinished work was given to a device that cannot finish it.
    pub fn send(&self, unit: &Unit) -> io::Result<()> {
        let packet = unit.buffer.bytes();
        let mut file = &self.file;
        let (written, expected) = if self.offloads == TunOffloads::Plain {
            if unit.offload != Offload::default() {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            (file.write(packet)?, packet.len())
        } else {
            let header = vnet_hdr::encode(unit.offload, packet, LinkType::Ip)?;
            let parts = [IoSlice::new(&header), IoSlice::new(packet)];
            (file.write_vectored(&parts)?, vnet_hdr::LEN + packet.len())
        };
        if written == expected {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Opens the clone device.
fn open_device() -> Result<File, NetError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(DEVICE)
        .context("open", DEVICE)
        .map_err(|error| {
            let remedy = open_remedy(error.errno());
            error.with_remedy(remedy)
        })
}

/// Tells whether the kernel has a feature; none, where it does not answer (sandboxes that play Linux).
fn has(file: &File, feature: i32) -> bool {
    let mut features: libc::c_int = 0;
    // SAFETY: TUNGETFEATURES writes one int, which `features` is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETFEATURES, &raw mut features) };
    result == 0 && features & feature == feature
}

/// Attaches the opened clone device to the interface of a request, `name`.
fn attach(
    file: &File,
    mut request: libc::ifreq,
    extra_flags: i32,
    name: &str,
) -> Result<(), NetError> {
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | extra_flags;
    request.ifr_ifru.ifru_flags = short(flags);
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let remedy = attach_remedy(error.raw_os_error());
    Err(NetError::new("attach TUN device", name, error).with_remedy(remedy))
}

fn interface_request(name: &str) -> Result<libc::ifreq, NetError> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '%', '\0']) {
        return Err(NetError::invalid(
            "attach TUN device",
            name,
            "no valid interface name",
        ));
    }
    // SAFETY: names, integers and addresses; all-zero is a valid, empty request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "interface flags have 16 bits"
)]
fn short(flags: i32) -> libc::c_short {
    flags as libc::c_short
}

/// Asks for offloads, best first. TSO_ECN and USO (Linux 6.2) are what older kernels lack.
fn negotiate(file: &File, limit: TunOffloads) -> TunOffloads {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let ladder = [
        (tcp | libc::TUN_F_TSO_ECN | udp, TunOffloads::TcpUdp),
        (tcp | udp, TunOffloads::TcpUdp),
        (tcp | libc::TUN_F_TSO_ECN, TunOffloads::Tcp),
        (tcp, TunOffloads::Tcp),
    ];
    let mut allowed = ladder.iter().filter(|(_, offloads)| *offloads <= limit);
    let accepted = allowed.find(|(flags, _)| {
        // SAFETY: TUNSETOFFLOAD takes its flags by value.
        let result = unsafe {
            libc::ioctl(
                file.as_raw_fd(),
                libc::TUNSETOFFLOAD,
                libc::c_ulong::from(*flags),
            )
        };
        result == 0
    });
    accepted.map_or(TunOffloads::Header, |(_, offloads)| *offloads)
}

fn open_remedy(errno: Option<i32>) -> Option<&'static str> {
    match errno? {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => Some(
            "load the tun module (modprobe tun), or give the container the device \
             (--device /dev/net/tun)",
        ),
        libc::EACCES | libc::EPERM => {
            Some("let this user read and write the device (chmod 666 is what systemd sets)")
        }
        _ => None,
    }
}

fn attach_remedy(errno: Option<i32>) -> Option<&'static str> {
    match errno? {
        libc::EPERM => Some("grant CAP_NET_ADMIN, or make the device beforehand for this user"),
        libc::EBUSY => Some("another process has it open: stop that one or choose another name"),
        libc::EINVAL => {
            Some("an interface of this name exists and is no TUN device, or another router uses it")
        }
        _ => None,
    }
}

const DEVICE: &str = "/dev/net/tun";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_names_are_refused_before_the_kernel_is_asked() {
        for name in ["", "sixteen-letters-", "a/b", "tun%d", "a\0b"] {
            let error = Tun::open(name).expect_err(name);
            assert_eq!(error.source.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
    }

    #[test]
    fn every_usual_refusal_has_a_remedy() {
        for errno in [libc::ENOENT, libc::EACCES] {
            assert!(open_remedy(Some(errno)).is_some());
        }
        for errno in [libc::EPERM, libc::EBUSY, libc::EINVAL] {
            assert!(attach_remedy(Some(errno)).is_some());
        }
    }
}
