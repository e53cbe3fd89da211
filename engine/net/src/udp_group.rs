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
    let (others, matching) = if control {
        (0, u32::MAX)
    } else {
        (u32::MAX, 0)
    };
    let mut program = recognize_control(ipv6);
    program.extend([(libc::BPF_RET, others), (libc::BPF_RET, matching)]);
    assemble(&program)
}

/// Makes the program: it returns the index of a member, or `members` for the control socket.
fn choice(ipv6: bool, members: u32) -> Vec<libc::sock_filter> {
    let (source, port) = if ipv6 { (20, 40) } else { (12, 20) };
    // 1. Control messages.
    let mut program = recognize_control(ipv6);
    program.extend([
        // 2. The others by sender; multiplication spreads neighbouring addresses and ports.
        (LOAD_WORD, NETWORK + source),
        (ALU | libc::BPF_MUL, 0x9e37_79b1),
        (libc::BPF_MISC | libc::BPF_TAX, 0),
        (LOAD_HALF, NETWORK + port),
        (ALU | libc::BPF_MUL, 0x85eb_ca6b),
        (libc::BPF_ALU | libc::BPF_X | libc::BPF_XOR, 0),
        (ALU | libc::BPF_RSH, 16),
        (ALU | libc::BPF_MOD, members),
        (libc::BPF_RET | RETURN_A, 0),
        (libc::BPF_RET, members),
    ]);
    assemble(&program)
}

/// Jumps to the last instruction if the packet carries [`CONTROL_TOS`].
fn recognize_control(ipv6: bool) -> Vec<(u32, u32)> {
    let mut program = if ipv6 { IPV6_TOS } else { IPV4_TOS }.to_vec();
    program.push((ALU | libc::BPF_AND, DSCP));
    program.push((JUMP_EQUAL, CONTROL_TOS.into()));
    program
}

/// Makes a program of operation codes with operands; its jumps lead to the last instruction.
fn assemble(program: &[(u32, u32)]) -> Vec<libc::sock_filter> {
    let instruction = |(at, &(code, k)): (usize, &(u32, u32))| {
        let ahead = u8::try_from(program.len().saturating_sub(at + 2)).unwrap_or_default();
        libc::sock_filter {
            code: u16::try_from(code).unwrap_or_default(),
            jt: if code == JUMP_EQUAL { ahead } else { 0 },
            jf: 0,
            k,
        }
    };
    program.iter().enumerate().map(instruction).collect()
}

/// Of a group, each socket has a share of the receive buffer, but never less than this.
const LEAST_BUFFER: i32 = 1 << 20;

/// Offsets from here count from the IP header (`SKF_NET_OFF`); the program's packet begins with the UDP payload.
const NETWORK: u32 = libc::SKF_NET_OFF.cast_unsigned();
const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const ALU: u32 = libc::BPF_ALU | libc::BPF_K;
const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
/// `BPF_A`: return the accumulator.
const RETURN_A: u32 = 0x10;
/// The DSCP field in a TOS byte.
const DSCP: u32 = 0xfc;
/// Loads the TOS byte of an IPv4 header.
const IPV4_TOS: &[(u32, u32)] = &[(LOAD_BYTE, NETWORK + 1)];
/// Loads the traffic class of an IPv6 header: version (4 bits), traffic class (8), flow label.
const IPV6_TOS: &[(u32, u32)] = &[(LOAD_HALF, NETWORK), (ALU | libc::BPF_RSH, 4)];
