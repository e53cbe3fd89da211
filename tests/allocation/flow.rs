//! Traffic between two namespaces, both ways, whose ends are all in one thread.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sam_net::Namespace;

/// A namespace, and an address of it.
type End<'a> = (&'a Namespace, Ipv4Addr);

/// A stream and a run of datagrams.
pub(crate) struct Flow {
    streams: [TcpStream; 2],
    datagrams: [UdpSocket; 2],
    bytes: Vec<u8>,
}

impl Flow {
    /// Connects two ends.
    pub(crate) fn open([near, far]: [End<'_>; 2]) -> Self {
        let listen = || TcpListener::bind((far.1, PORT));
        let listener = far.0.enter(listen).expect("a namespace").expect("a port");
        let connect = || TcpStream::connect((far.1, PORT));
        let stream = near.0.enter(connect).expect("a namespace");
        let stream = stream.expect("the far end is reached");
        let (accepted, _) = listener.accept().expect("a connection");
        let streams = [stream, accepted];
        let datagrams = [near, far].map(|(namespace, address)| {
            let bind = || UdpSocket::bind((address, PORT));
            namespace.enter(bind).expect("a namespace").expect("a port")
        });
        for (socket, (_, peer)) in datagrams.iter().zip([far, near]) {
            socket.connect((peer, PORT)).expect("a route");
            socket.set_read_timeout(Some(PATIENCE)).expect("valid");
        }
        for stream in &streams {
            stream.set_read_timeout(Some(PATIENCE)).expect("valid");
            stream.set_write_timeout(Some(PATIENCE)).expect("valid");
        }
        Self {
            streams,
            datagrams,
            bytes: vec![7; BULK],
        }
    }

    /// Lets small datagrams and then a piece of the stream pass, one way and the other.
    pub(crate) fn round(&mut self) {
        for (from, to) in [(0, 1), (1, 0)] {
            for _ in 0..DATAGRAMS {
                self.datagrams[from].send(&[7; 36]).expect("a route");
            }
            for _ in 0..DATAGRAMS {
                let received = self.datagrams[to].recv(&mut self.bytes);
                assert_eq!(received.expect("a datagram"), 36);
            }
            let written = self.streams[from].write_all(&self.bytes);
            written.expect("the other end lives");
            let read = self.streams[to].read_exact(&mut self.bytes);
            read.expect("the other end lives");
        }
    }
}

const PORT: u16 = 7000;
const PATIENCE: Duration = Duration::from_secs(10);
/// More than a worker takes in a round of few.
const DATAGRAMS: usize = 24;
/// What two kernels keep, although nobody reads meanwhile.
const BULK: usize = 32 << 10;
