//! Echo requests from one end of the cable to the kernel at the other.

use std::net::{Ipv4Addr, UdpSocket};

use sam_net::echo_socket;

use crate::cable::{Cable, LEFT, wait_for};

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

#[test]
fn a_request_of_any_length_that_fits_the_device_is_answered_by_the_other_kernel() {
    let Some((_cable, socket)) = open() else {
        return;
    };
    for length in [8, 64, 1480] {
        let request = request(length);

        socket.send(&request).unwrap();

        let mut buffer = [0; 2048];
        let received = wait_for(&socket, "answer", || socket.recv(&mut buffer).ok());
        assert_eq!(received, 20 + length);
        assert_eq!(buffer[20], 0, "an answer");
        assert_eq!(buffer[24..received], request[4..], "the bytes changed");
    }
}

#[test]
fn a_request_that_is_longer_than_the_device_takes_does_not_leave() {
    let Some((_cable, socket)) = open() else {
        return;
    };
    let refused = socket.send(&request(1481)).unwrap_err();
    assert!(echo_socket::is_too_long(&refused), "{refused}");
    let missing = echo_socket::open(NEAR, "nowhere", FAR).unwrap_err();
    assert_eq!(missing.errno(), Some(libc::ENODEV), "{missing}");
}

fn open() -> Option<(Cable, UdpSocket)> {
    let cable = Cable::lay(Some("10.9.0.1/24"), Some("10.9.0.2/24"))?;
    let socket = cable.left.enter(|| echo_socket::open(NEAR, LEFT, FAR));
    Some((cable, socket.unwrap().unwrap()))
}

/// An echo request, from its ICMP header on.
fn request(length: usize) -> Vec<u8> {
    let mut message = vec![0; length];
    (message[0], message[4], message[6]) = (8, 0x12, 0x34);
    let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8);
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!u16::try_from(folded).unwrap()).to_be_bytes());
    message
}
