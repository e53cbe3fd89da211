//! Every system call of the project, and the only crate that may use `unsafe`.
//!
//! What it owns: file descriptors and the exact option sequences that make them useful to a userspace router.
//! What it refuses: protocol words and decisions. It neither knows a tunnel nor retries a policy; it says what the
//! kernel said, as a [`NetError`] while opening and as `io::Error` or a named reason per packet afterwards.
//!
//! | file | owns |
//! |---|---|
//! | `tun` | local delivery: TUN device with virtio headers |
//! | `packet_socket`, `filter` | LAN port: AF_PACKET with virtio headers behind a cBPF program |
//! | `udp` | underlay: datagram trains by UDP_SEGMENT and UDP_GRO |
//! | `udp_group` | the sockets of one port: one per worker, one for control messages |
//! | `raw_ip` | underlay of GRE and IPIP: raw sockets |
//! | `error_queue` | what the underlay says about packets that it did not carry |
//! | `hop_socket` | UDP of one hop: TTL 255 out, the TTL of what comes in |
//! | `tcp_guard` | TCP of BGP to others: hop limits, MD5 signatures, TCP-AO |
//! | `link_socket` | raw IPv4 of one protocol on one interface: TTL 255 out, header and all in |
//! | `echo_socket` | ICMP echo requests of exact length |
//! | `vnet_hdr` | virtio_net_hdr to and from [`sam_dataplane::Offload`] |
//! | `bpf` | classic BPF programs, for filters and for the choice of a socket |
//! | `message_batch`, `control_message` | recvmmsg and sendmmsg arrays, ancillary data |
//! | `epoll` | readiness and wake-up |
//! | `netlink` | links, addresses, routes |
//! | `netns`, `user_namespace`, `caps`, `sysctl` | where we run and what we may do |

#![expect(
    unsafe_code,
    reason = "system calls; every block states why it is sound"
)]
#![deny(unsafe_op_in_unsafe_fn)]

mod bpf;
pub mod caps;
mod control_message;
pub mod echo_socket;
pub mod epoll;
mod error;
pub mod error_queue;
pub mod filter;
mod hop_socket;
mod link_socket;
mod message_batch;
pub mod netlink;
pub mod netns;
pub mod packet_socket;
pub mod process;
mod raw_ip;
mod segmentation;
mod send_failure;
mod sending;
mod socket_option;
mod spare;
pub mod sysctl;
pub mod tcp_guard;
pub mod tun;
pub mod udp;
pub mod udp_group;
pub mod user_namespace;
pub mod vnet_hdr;

pub use caps::{Capabilities, Capability};
pub use epoll::{Epoll, EventFd, Interest};
pub use error::NetError;
pub use filter::{Filter, FrameFilter};
pub use hop_socket::{Arrival, HopSocket};
pub use link_socket::{LinkPacket, LinkSocket};
pub use netlink::Netlink;
pub use netns::{Namespace, NamespaceName};
pub use packet_socket::{FrameError, PacketSocket};
pub use send_failure::SendFailure;
pub use socket_option::set_receive_buffer;
pub use tcp_guard::{TcpAoAlgorithm, TcpSignature};
pub use tun::Tun;
pub use udp::{Datagrams, Train, UdpSocket};
pub use udp_group::UdpGroup;
pub use vnet_hdr::{LinkType, VnetError};
