//! What keeps strangers out of a TCP connection before a byte of it is read: hop limits (RFC 5082), MD5 signatures
//! (RFC 2385) and the authentication option (RFC 5925), as options of the kernel's sockets.
//!
//! Keys are copied into the kernel; the copies made here are wiped.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::Ipv4Net;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NetError;
use crate::socket_option::{OptionValue, set};

/// Longest key of either option, in bytes (`TCP_MD5SIG_MAXKEYLEN`, `TCP_AO_MAXKEYLEN`).
pub const TCP_KEY_MAX_BYTES: usize = 80;

/// A message authentication code of the TCP authentication option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpAoAlgorithm {
    /// HMAC-SHA-1-96 (RFC 5926).
    HmacSha1,
    /// AES-128-CMAC-96 (RFC 5926).
    Aes128Cmac,
    /// HMAC-SHA-256, cut to 96 bits; not of RFC 5926, but what the kernel and others offer.
    HmacSha256,
}

/// How segments are authenticated.
#[derive(Clone, Copy)]
pub enum TcpSignature<'a> {
    /// MD5 signatures (RFC 2385).
    Md5 {
        /// The shared key.
        key: &'a [u8],
    },
    /// The authentication option (RFC 5925).
    Ao {
        /// The shared master key.
        key: &'a [u8],
        /// KeyID in what is sent.
        send_id: u8,
        /// KeyID in what is received.
        receive_id: u8,
        /// The code.
        algorithm: TcpAoAlgorithm,
    },
}

/// Sets the TTL of what is sent, and the least TTL of what is taken (0: any). Segments with less are dropped and counted
/// by the kernel.
///
/// # Errors
/// What the kernel says.
pub fn set_hop_limits(socket: BorrowedFd<'_>, ttl: u8, least: u8) -> Result<(), NetError> {
    let options = [
        (libc::IP_TTL, i32::from(ttl)),
        (IP_MINTTL, i32::from(least)),
    ];
    for (option, value) in options {
        set(socket, libc::IPPROTO_IP, option, value)
            .map_err(|error| NetError::new("set the hop limit of", "a TCP socket", error))?;
    }
    Ok(())
}

/// Has every segment from and to `peers` signed; on a listening socket also those of connections that it accepts. A segment
/// without the right signature is dropped by the kernel.
///
/// # Errors
/// When the kernel does not offer it, with the remedy, or does not take the key.
pub fn set_signature(
    socket: BorrowedFd<'_>,
    peers: Ipv4Net,
    signature: TcpSignature<'_>,
) -> Result<(), NetError> {
    match signature {
        TcpSignature::Md5 { key } => {
            let mut value = Md5Key::new(peers, key)?;
            let outcome = set(socket, libc::IPPROTO_TCP, TCP_MD5SIG_EXT, value);
            wipe(&mut value.key);
            outcome.map_err(|error| refused("sign with TCP MD5", peers, error, MD5_REMEDY))
        }
        TcpSignature::Ao {
            key,
            send_id,
            receive_id,
            algorithm,
        } => {
            let mut value = AoKey::new(peers, key, algorithm)?;
            (value.send_id, value.receive_id) = (send_id, receive_id);
            let outcome = set(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, value);
            wipe(&mut value.key);
            outcome.map_err(|error| refused("authenticate with TCP-AO", peers, error, AO_REMEDY))
        }
    }
}

/// Asks the kernel whether it would sign so, with a socket that is thrown away.
///
/// # Errors
/// As [`set_signature`].
pub fn check_signature(peers: Ipv4Net, signature: TcpSignature<'_>) -> Result<(), NetError> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
        .map_err(|error| NetError::new("open", "a TCP socket", error))?;
    set_signature(socket.as_fd(), peers, signature)
}

fn refused(op: &'static str, peers: Ipv4Net, error: io::Error, remedy: &'static str) -> NetError {
    let absent = matches!(
        error.raw_os_error(),
        Some(libc::ENOPROTOOPT | libc::ENOENT | libc::EOPNOTSUPP)
    );
    NetError::new(op, format!("segments of {peers}"), error).with_remedy(absent.then_some(remedy))
}

/// Overwrites a key in a way that is not optimized away.
fn wipe(key: &mut [u8]) {
    key.fill(0);
    std::hint::black_box(key);
}

/// `struct sockaddr_storage` of an IPv4 address without port.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Storage {
    family: u16,
    port: u16,
    address: [u8; 4],
    rest: [u8; 120],
}

impl Storage {
    fn new(address: Ipv4Addr) -> Self {
        Self {
            family: AF_INET,
            port: 0,
            address: address.octets(),
            rest: [0; 120],
        }
    }
}

/// `struct tcp_md5sig` (linux/tcp.h).
#[derive(Clone, Copy)]
#[repr(C)]
struct Md5Key {
    peer: Storage,
    flags: u8,
    prefix: u8,
    length: u16,
    interface: i32,
    key: [u8; TCP_KEY_MAX_BYTES],
}

impl Md5Key {
    fn new(peers: Ipv4Net, key: &[u8]) -> Result<Self, NetError> {
        let (length, key) = padded(key)?;
        Ok(Self {
            peer: Storage::new(peers.network()),
            flags: TCP_MD5SIG_FLAG_PREFIX,
            prefix: peers.prefix_len(),
            length: length.into(),
            interface: 0,
            key,
        })
    }
}

/// `struct tcp_ao_add` (linux/tcp.h, since Linux 6.7).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct AoKey {
    peer: Storage,
    algorithm: [u8; 64],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    receive_id: u8,
    code_length: u8,
    key_flags: u8,
    length: u8,
    key: [u8; TCP_KEY_MAX_BYTES],
}

impl AoKey {
    fn new(peers: Ipv4Net, key: &[u8], algorithm: TcpAoAlgorithm) -> Result<Self, NetError> {
        let (length, key) = padded(key)?;
        let name: &[u8] = match algorithm {
            TcpAoAlgorithm::HmacSha1 => b"hmac(sha1)",
            TcpAoAlgorithm::Aes128Cmac => b"cmac(aes128)",
            TcpAoAlgorithm::HmacSha256 => b"hmac(sha256)",
        };
        let mut text = [0; 64];
        text[..name.len()].copy_from_slice(name);
        Ok(Self {
            peer: Storage::new(peers.network()),
            algorithm: text,
            interface: 0,
            flags: 0,
            reserved: 0,
            prefix: peers.prefix_len(),
            send_id: 0,
            receive_id: 0,
            // 0: the kernel's choice, 12 bytes as RFC 5926 orders.
            code_length: 0,
            key_flags: 0,
            length,
            key,
        })
    }
}

// SAFETY: repr(C) integers and arrays of bytes without padding between them, any bit pattern is valid.
unsafe impl OptionValue for Md5Key {}
// SAFETY: as above; the structure ends at a multiple of its alignment.
unsafe impl OptionValue for AoKey {}

const _: () = assert!(size_of::<Md5Key>() == 216 && size_of::<AoKey>() == 288);

fn padded(key: &[u8]) -> Result<(u8, [u8; TCP_KEY_MAX_BYTES]), NetError> {
    let mut space = [0; TCP_KEY_MAX_BYTES];
    let place = space.get_mut(..key.len()).filter(|_| !key.is_empty());
    let (Some(place), Ok(length)) = (place, u8::try_from(key.len())) else {
        let why = "a key has 1 to 80 bytes";
        return Err(NetError::invalid("use", "a key of TCP", why));
    };
    place.copy_from_slice(key);
    Ok((length, space))
}

/// As `libc::AF_INET`, in the type of the structure.
const AF_INET: u16 = 2;
/// linux/in.h
const IP_MINTTL: i32 = 21;
/// linux/tcp.h
const TCP_MD5SIG_EXT: i32 = 32;
/// linux/tcp.h: the address is a prefix.
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
/// linux/tcp.h
const TCP_AO_ADD_KEY: i32 = 38;
const MD5_REMEDY: &str = "this kernel has no TCP MD5 (CONFIG_TCP_MD5SIG)";
const AO_REMEDY: &str = "this kernel has no TCP-AO (CONFIG_TCP_AO, since Linux 6.7); use `type: md5`, or another kernel";

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signed_connection_comes_up_with_the_same_key_only() {
        let signature = |key| TcpSignature::Md5 { key };
        if let Err(error) = check_signature(LO, signature(b"secret")) {
            eprintln!("skipped: a_signed_connection_comes_up_with_the_same_key_only: {error}");
            return;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        set_signature(listener.as_fd(), LO, signature(b"secret")).expect("the kernel can");
        let far = listener.local_addr().expect("bound");

        for (key, comes_up) in [
            (Some(&b"secret"[..]), true),
            (Some(b"wrong"), false),
            (None, false),
        ] {
            let outcome = dial(far, key.map(signature));
            assert_eq!(outcome.is_ok(), comes_up, "{key:?}: {outcome:?}");
        }
    }

    #[test]
    fn a_key_of_tcp_ao_is_taken_or_refused_with_the_remedy() {
        let signature = TcpSignature::Ao {
            key: b"secret",
            send_id: 1,
            receive_id: 2,
            algorithm: TcpAoAlgorithm::HmacSha1,
        };
        match check_signature(LO, signature) {
            Ok(()) => {}
            Err(error) => assert!(error.to_string().contains("CONFIG_TCP_AO"), "{error}"),
        }
    }

    #[test]
    fn impossible_keys_are_refused() {
        for key in [&[][..], &[1; 81]] {
            let error = check_signature(LO, TcpSignature::Md5 { key }).expect_err("refused");
            assert!(error.to_string().contains("1 to 80 bytes"), "{error}");
        }
    }

    #[test]
    fn what_came_too_far_is_not_read() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let far = listener.local_addr().expect("bound");
        let mut plain = TcpStream::connect(far).expect("connects");
        let (mut accepted, _) = listener.accept().expect("accepted");
        accepted
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("settable");
        // The host itself sends with TTL 64: less than 255, as if it came from afar.
        set_hop_limits(accepted.as_fd(), 255, 255).expect("settable");

        plain.write_all(b"far").expect("sent");

        let mut buffer = [0; 3];
        assert!(accepted.read(&mut buffer).is_err(), "dropped");
        set_hop_limits(plain.as_fd(), 255, 255).expect("settable");
        accepted
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("settable");
        accepted.read_exact(&mut buffer).expect("sent again");
        assert_eq!(&buffer, b"far");
    }

    fn dial(far: SocketAddr, signature: Option<TcpSignature<'_>>) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        if let Some(signature) = signature {
            set_signature(socket.as_fd(), LO, signature).map_err(|error| error.source)?;
        }
        socket.connect_timeout(&far.into(), Duration::from_millis(300))
    }

    const LO: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 32);
}
