//! Traffic between clients: pings, and bulk TCP whose every byte is checked.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sam_testkit::uninterrupted;

use crate::process::output;
use crate::world::Site;

/// Pings from one site's client to another's until one answer came.
pub(crate) fn ping(from: &Site, to: &Site) -> Result<()> {
    let mut command = from.client.command("ping");
    command.args(["-n", "-c", "1", "-W", "1"]);
    output(command.arg(to.place.client().to_string())).map(drop)
}

/// Sends so many bytes over TCP from one site's client to another's and compares them; also checks that the sender's
/// own address is seen.
pub(crate) fn bulk(from: &Site, to: &Site, bytes: usize) -> Result<()> {
    let address = SocketAddr::from((to.place.client(), PORT));
    let listener = to.client.enter(|| TcpListener::bind(address))??;
    let stream = from
        .client
        .enter(|| TcpStream::connect_timeout(&address, STALL))?
        .context("cannot connect")?;
    let (arriving, seen) = listener.accept()?;
    ensure!(
        seen.ip() == IpAddr::V4(from.place.client()),
        "the connection seems to come from {seen}"
    );
    for stream in [&stream, &arriving] {
        stream.set_read_timeout(Some(STALL))?;
        stream.set_write_timeout(Some(STALL))?;
    }
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(stream, bytes));
        let received = receive(arriving, bytes);
        sender.join().expect("the sender does not panic")?;
        received
    })
}

fn send(mut stream: TcpStream, bytes: usize) -> Result<()> {
    let mut pattern = Pattern::new();
    let mut block = [0; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(BLOCK);
        pattern.fill(&mut block[..length]);
        stream.write_all(&block[..length]).context("cannot send")?;
        left -= length;
    }
    Ok(())
}

fn receive(mut stream: TcpStream, bytes: usize) -> Result<()> {
    let mut pattern = Pattern::new();
    let (mut block, mut expected) = ([0; BLOCK], [0; BLOCK]);
    let mut received = 0;
    loop {
        let length = uninterrupted(|| stream.read(&mut block))
            .with_context(|| format!("stalled after {received} of {bytes} bytes"))?;
        if length == 0 {
            break;
        }
        pattern.fill(&mut expected[..length]);
        ensure!(
            block[..length] == expected[..length],
            "wrong bytes after {received}"
        );
        received += length;
    }
    ensure!(received == bytes, "got {received} of {bytes} bytes");
    Ok(())
}

/// Bytes that differ at every place: a xorshift generator, one step per byte.
struct Pattern(u64);

impl Pattern {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn fill(&mut self, block: &mut [u8]) {
        for byte in block {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

const PORT: u16 = 7760;
const BLOCK: usize = 64 * 1024;
/// Longest pause of a transfer that is not stuck.
const STALL: Duration = Duration::from_secs(10);
