//! The messages of a transfer as bytes, and both sides' part of it over any stream.
//!
//! ```text
//!   client                                  server
//!   magic, length, seed                ───►
//!   length bytes of pattern(seed)      ───►
//!                                      ◄─── magic, address and port seen, bytes received, their sum
//!                                      ◄─── length bytes of pattern(!seed)
//! ```
//! All numbers are big endian. The server accepts [`LENGTH_MAX`] bytes at most, and keeps none of them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::pattern::{Checksum, Pattern};

/// Most bytes in each direction.
pub(super) const LENGTH_MAX: u32 = 1 << 20;
/// Bytes that are in memory at a time.
const PIECE: usize = 16 * 1024;
const MAGIC: [u8; 8] = *b"samtest1";
/// Bytes of what every client sends first.
pub(super) const HEAD: usize = 16;
const REPORT: usize = 28;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// Bytes in each direction.
    pub(super) length: u32,
    /// Seed of the pattern that the client sends.
    pub(super) seed: u32,
}

/// What the server saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    /// The client's address and port.
    pub(super) seen: SocketAddrV4,
    /// Bytes received.
    pub(super) received: u32,
    /// Their sum.
    pub(super) checksum: Checksum,
}

impl Request {
    fn emit(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.length.to_be_bytes());
        bytes[12..].copy_from_slice(&self.seed.to_be_bytes());
        bytes
    }

    fn parse(bytes: [u8; HEAD]) -> Option<Self> {
        let [length, seed] = [8, 12].map(|at| long(&bytes, at));
        let request = Self { length, seed };
        (bytes[..8] == MAGIC && length <= LENGTH_MAX).then_some(request)
    }
}

impl Report {
    fn emit(self) -> [u8; REPORT] {
        let mut bytes = [0; REPORT];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.seen.ip().octets());
        bytes[12..14].copy_from_slice(&self.seen.port().to_be_bytes());
        bytes[16..20].copy_from_slice(&self.received.to_be_bytes());
        bytes[20..].copy_from_slice(&self.checksum.0.to_be_bytes());
        bytes
    }

    fn parse(bytes: [u8; REPORT]) -> Option<Self> {
        let port = u16::from_be_bytes([bytes[12], bytes[13]]);
        let sum = (u64::from(long(&bytes, 20)) << 32) | u64::from(long(&bytes, 24));
        let report = Self {
            seen: SocketAddrV4::new(Ipv4Addr::from(long(&bytes, 8)), port),
            received: long(&bytes, 16),
            checksum: Checksum(sum),
        };
        (bytes[..8] == MAGIC).then_some(report)
    }
}

/// The client's part; returns what the server saw, and whether its bytes arrived as they were sent.
///
/// # Errors
/// When the stream ends early, or the other side speaks something else.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: Request,
) -> io::Result<(Report, bool)> {
    stream.write_all(&request.emit()).await?;
    send(stream, request.length, request.seed).await?;
    let mut head = [0; REPORT];
    stream.read_exact(&mut head).await?;
    let report = Report::parse(head).ok_or_else(foreign)?;
    let received = receive(stream, request.length).await?;
    Ok((report, received == sum_of(request.length, !request.seed)))
}

/// The server's part, after the `head` that the client sent.
///
/// # Errors
/// When the stream ends early, or the client speaks something else or asks for too much.
pub(super) async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    head: [u8; HEAD],
    client: SocketAddrV4,
) -> io::Result<()> {
    let request = Request::parse(head).ok_or_else(foreign)?;
    let report = Report {
        seen: client,
        received: request.length,
        checksum: receive(stream, request.length).await?,
    };
    stream.write_all(&report.emit()).await?;
    send(stream, request.length, !request.seed).await?;
    stream.shutdown().await
}

/// The sum of the first bytes of a pattern.
pub(super) fn sum_of(length: u32, seed: u32) -> Checksum {
    let (mut pattern, mut sum) = (Pattern::new(seed), Checksum::default());
    let mut piece = [0; PIECE];
    for length in pieces(length) {
        pattern.fill(&mut piece[..length]);
        sum.add(&piece[..length]);
    }
    sum
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), length: u32, seed: u32) -> io::Result<()> {
    let (mut pattern, mut piece) = (Pattern::new(seed), vec![0; PIECE]);
    for length in pieces(length) {
        pattern.fill(&mut piece[..length]);
        stream.write_all(&piece[..length]).await?;
    }
    Ok(())
}

async fn receive(stream: &mut (impl AsyncRead + Unpin), length: u32) -> io::Result<Checksum> {
    let (mut sum, mut piece) = (Checksum::default(), vec![0; PIECE]);
    for length in pieces(length) {
        stream.read_exact(&mut piece[..length]).await?;
        sum.add(&piece[..length]);
    }
    Ok(sum)
}

/// Cuts a length into pieces.
fn pieces(length: u32) -> impl Iterator<Item = usize> {
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    std::iter::from_fn(move || {
        let piece = left.min(PIECE);
        left -= piece;
        (piece > 0).then_some(piece)
    })
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn foreign() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the other side does not speak this protocol",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 1), 40000);
    const REQUEST_OF_TEST: Request = Request {
        length: 100_001,
        seed: 77,
    };

    async fn served(server: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let mut head = [0; HEAD];
        server.read_exact(&mut head).await?;
        answer(server, head, CLIENT).await
    }

    #[tokio::test]
    async fn both_sides_agree_on_what_was_sent() {
        let (mut client, mut server) = tokio::io::duplex(1000);
        let (asked, answered) =
            tokio::join!(ask(&mut client, REQUEST_OF_TEST), served(&mut server));
        answered.expect("served");
        let (report, intact) = asked.expect("answered");
        let expected = Report {
            seen: CLIENT,
            received: 100_001,
            checksum: sum_of(100_001, 77),
        };
        assert_eq!((report, intact), (expected, true));
    }

    #[tokio::test]
    async fn a_changed_byte_is_noticed_on_either_side() {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        let forged = async {
            let mut bytes = vec![0; HEAD + 100_001];
            server.read_exact(&mut bytes).await.expect("all comes");
            bytes[HEAD + 5000] ^= 1;
            let mut checksum = Checksum::default();
            checksum.add(&bytes[HEAD..]);
            let report = Report {
                seen: CLIENT,
                received: 100_001,
                checksum,
            };
            server.write_all(&report.emit()).await.expect("room");
            server.write_all(&bytes[HEAD..]).await.expect("room");
        };
        let (asked, ()) = tokio::join!(ask(&mut client, REQUEST_OF_TEST), forged);
        let (report, intact) = asked.expect("answered");
        assert!(!intact, "not the pattern of the answer");
        assert_ne!(report.checksum, sum_of(100_001, 77));
    }

    #[tokio::test]
    async fn a_server_hangs_up_on_strangers_and_on_those_who_want_too_much() {
        let too_long = Request {
            length: LENGTH_MAX + 1,
            seed: 1,
        };
        for head in [too_long.emit(), *b"GET / HTTP/1.1\r\n"] {
            let (mut client, mut server) = tokio::io::duplex(1000);
            client.write_all(&head).await.expect("room");
            assert!(served(&mut server).await.is_err());
            drop(server);
            assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
        }
    }

    #[tokio::test]
    async fn a_client_does_not_believe_strangers_nor_early_ends() {
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &MAGIC, b""] {
            let (mut client, mut server) = tokio::io::duplex(1 << 20);
            server.write_all(answer).await.expect("room");
            let (read, mut write) = tokio::io::split(server);
            write.shutdown().await.expect("open");
            assert!(ask(&mut client, REQUEST_OF_TEST).await.is_err());
            drop((read, write));
        }
    }
}
