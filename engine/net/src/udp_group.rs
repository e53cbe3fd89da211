//! The UDP sockets of one port: one per worker, and one for messages that keep the router alive.
//!
//! However much waits in the workers' sockets, or is lost there, the control socket has room: a site that is offered more
//! than it can carry still hears the keepalives of BGP. A classic BPF program of the group chooses
//! (`SO_ATTACH_REUSEPORT_CBPF`, Linux 4.5):
//!
//! 1. The DSCP of control messages: the control socket, behind the members.
//! 2. Else a hash of source address and source port: always the same member for one sender.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use sam_dataplane::dscp::CONTROL_TOS;

use crate::bpf::{Assembler, DROP, End, Instruction, KEEP, LOAD_BYTE, LOAD_HALF, LOAD_WORD};
use crate::error::NetError;
use crate::socket_option::set_program;
use crate::udp::{RECEIVE_BUFFER, UdpSocket};

/// Sockets of one address and port.
#[derive(Debug)]
pub struct UdpGroup {
    /// One per worker; each sender's datagrams reach one of them, in order.
    pub members: Vec<UdpSocket>,
    /// Receives what carries [`CONTROL_TOS`].
    pub control: UdpSocket,
}

impl UdpGroup {
    /// Binds `count` members and the control socket to one address. Nobody else has the port at that moment.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`]; ENOPROTOOPT before Linux 4.5.
    pub fn bind(address: SocketAddr, count: usize) -> Result<Self, NetError> {
        // Another process of this user could join a group that is there; it could not be joined by a socket alone.
        let alone = UdpSocket::bind(address)?;
        let address = alone.local_addr();
        drop(alone);
        let members = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let share = RECEIVE_BUFFER / members.try_into().unwrap_or(i32::MAX);
        // The program counts sockets in the order of their binding.
        let group = Self {
            members: (0..members)
                .map(|_| UdpSocket::bind_with(address, true, share.max(LEAST_BUFFER)))
                .collect::<Result<_, _>>()?,
            control: UdpSocket::bind_with(address, true, LEAST_BUFFER)?,
        };
        group.attach(&choice(address.is_ipv6(), members))?;
        Ok(group)
    }

    fn attach(&self, program: &[libc::sock_filter]) -> Result<(), NetError> {
        set_program(
            self.control.as_fd(),
            libc::SO_ATTACH_REUSEPORT_CBPF,
            program,
        )
        .map_err(|error| {
            let address = self.control.local_addr().to_string();
            NetError::new("attach socket choice to", address, error)
        })
    }
}

/// Makes a filter of a socket: it keeps control messages, or all others.
pub(crate) fn keep(ipv6: bool, control: bool) -> Vec<libc::sock_filter> {
    let ends = if control { [DROP, KEEP] } else { [KEEP, DROP] };
    recognize_control(ipv6).finish(ends)
}

/// Makes the program: it returns the index of a member, or `members` for the control socket.
fn choice(ipv6: bool, members: u32) -> Vec<libc::sock_filter> {
    let (source, port) = if ipv6 { (20, 40) } else { (12, 20) };
    // 1. Control messages.
    let mut code = recognize_control(ipv6);
    // 2. The others by sender; multiplication spreads neighbouring addresses and ports.
    code.load(LOAD_WORD, NETWORK + source);
    code.calculate(libc::BPF_MUL, 0x9e37_79b1);
    code.save();
    code.load(LOAD_HALF, NETWORK + port);
    code.calculate(libc::BPF_MUL, 0x85eb_ca6b);
    code.calculate_with_saved(libc::BPF_XOR);
    code.calculate(libc::BPF_RSH, 16);
    code.calculate(libc::BPF_MOD, members);
    code.finish([RETURN_RESULT, (libc::BPF_RET | libc::BPF_K, members)])
}

/// Begins a program that jumps to its second end if the packet carries [`CONTROL_TOS`].
fn recognize_control(ipv6: bool) -> Assembler {
    let mut code = Assembler::default();
    if ipv6 {
        // Version (4 bits), traffic class (8), flow label.
        code.load(LOAD_HALF, NETWORK);
        code.calculate(libc::BPF_RSH, 4);
    } else {
        code.load(LOAD_BYTE, NETWORK + 1);
    }
    code.calculate(libc::BPF_AND, DSCP);
    code.jump_if_equal(CONTROL_TOS.into(), End::Second);
    code
}

/// Of a group, each socket has a share of the receive buffer, but never less than this.
const LEAST_BUFFER: i32 = 1 << 20;

/// Offsets from here count from the IP header (`SKF_NET_OFF`); the program's packet begins with the UDP payload.
const NETWORK: u32 = libc::SKF_NET_OFF.cast_unsigned();
/// Returns what was calculated (`BPF_A`).
const RETURN_RESULT: Instruction = (libc::BPF_RET | 0x10, 0);
/// The DSCP field in a TOS byte.
const DSCP: u32 = 0xfc;
