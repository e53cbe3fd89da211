//! Bytes from one client to another, compared at the far end: kernels do not verify the checksums of virtual links.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::wait_until;
use sam_testkit::uninterrupted;

/// Bytes that are made and compared at once.
const BLOCK: usize = 1 << 16;
/// Longest silence.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends `bytes` bytes over each of `streams` TCP connections at once and compares what arrives.
///
/// # Panics
/// When something is missing or different.
pub(crate) fn tcp(from: &Namespace, to: &Namespace, address: Ipv4Addr, streams: u8, bytes: usize) {
    let listener = to.enter(|| TcpListener::bind((address, 0)).expect("a free port"));
    let listener = listener.expect("the client's namespace");
    let server = listener.local_addr().expect("bound");
    std::thread::scope(|scope| {
        for number in 0..streams {
            scope.spawn(move || {
                let stream = from.enter(|| TcpStream::connect_timeout(&server, PATIENCE));
                let mut stream = stream.expect("the client's namespace").expect("connected");
                stream.set_write_timeout(Some(PATIENCE)).expect("valid");
                for block in blocks(number, bytes) {
                    stream.write_all(&block).expect("sent");
                }
            });
        }
        for _ in 0..streams {
            let mut stream = accept(&listener);
            scope.spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).expect("valid");
                let mut number = [0];
                uninterrupted(|| stream.peek(&mut number)).expect("received");
                let mut received = vec![0; BLOCK];
                for (index, block) in blocks(number[0], bytes).enumerate() {
                    let received = &mut received[..block.len()];
                    stream.read_exact(received).expect("received");
                    let damage = format!("stream {} is damaged in block {index}", number[0]);
                    assert!(received == &block[..], "{damage}");
                }
                let more = uninterrupted(|| stream.read(&mut number));
                assert_eq!(more.expect("received"), 0, "too much");
            });
        }
    });
}

/// Takes the next connection, which may never come.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("valid");
    let mut accepted = None;
    wait_until("a connection", 2 * PATIENCE, || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    accepted.expect("it has come").0
}

/// Sends datagrams of `sizes` one after the other and compares what arrives, in order.
///
/// # Panics
/// When one is missing, late or different.
pub(crate) fn udp(from: &Namespace, to: &Namespace, address: Ipv4Addr, sizes: &[usize]) {
    udp_in_tries(from, to, address, sizes, 1);
}

/// As [`udp`], but each datagram may be sent up to `tries` times: an emulator that gets no time for seconds may lose one.
///
/// # Panics
/// When one is missing after that, or different.
pub(crate) fn udp_in_tries(
    from: &Namespace,
    to: &Namespace,
    address: Ipv4Addr,
    sizes: &[usize],
    tries: u8,
) {
    let bind = |namespace: &Namespace, address: SocketAddr| {
        let socket = namespace.enter(|| UdpSocket::bind(address).expect("a free port"));
        let socket = socket.expect("the client's namespace");
        socket.set_read_timeout(Some(PATIENCE)).expect("valid");
        socket
    };
    let receiver = bind(to, SocketAddr::from((address, 0)));
    let sender = bind(from, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let target = receiver.local_addr().expect("bound");
    let mut buffer = vec![0; 65_536];
    for (number, size) in (0_u8..).zip(sizes) {
        let sent = pattern(number, *size);
        let length = (0..tries).find_map(|_| {
            sender.send_to(&sent, target).expect("sent");
            loop {
                let length = uninterrupted(|| receiver.recv(&mut buffer)).ok()?;
                // Not one that was late and sent again.
                if buffer[0] == number {
                    return Some(length);
                }
            }
        });
        let length = length.unwrap_or_else(|| panic!("no datagram of {size} bytes"));
        assert!(
            buffer[..length] == sent[..],
            "a datagram of {size} bytes arrived damaged"
        );
    }
}

/// The stream `number` in blocks, each with its index in front.
pub(crate) fn blocks(number: u8, bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    let base = pattern(number, BLOCK);
    (0..bytes.div_ceil(BLOCK)).map(move |index| {
        let mut block = base.clone();
        block[1..9].copy_from_slice(&index.to_be_bytes());
        block.truncate(bytes - index * BLOCK);
        block
    })
}

/// Bytes that look like no others: the first one is `number`.
fn pattern(number: u8, bytes: usize) -> Vec<u8> {
    let mut state = u32::from(number) | 0x9e37_0000;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let rest = std::iter::repeat_with(&mut next).take(bytes.saturating_sub(1));
    std::iter::once(number).chain(rest).collect()
}
