//! A stream of TCP between two clients that never ends by itself, and what it suffered.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sam_net::Namespace;

const PORT: u16 = 7760;
/// Longest time that a stream waits for anything.
const STALL: Duration = Duration::from_secs(90);
/// Time between two messages.
const SPACING: Duration = Duration::from_millis(10);

/// A running stream: a message every ten milliseconds, each answered.
#[derive(Debug)]
pub struct Stream {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Duration>>,
}

impl Stream {
    /// Connects two clients.
    ///
    /// # Panics
    /// When the kernel refuses, or the far one is not reached.
    #[must_use]
    pub fn start(from: &Namespace, to: &Namespace, address: Ipv4Addr) -> Self {
        let address = SocketAddr::from((address, PORT));
        let listen = || TcpListener::bind(address);
        let listener = to.enter(listen).expect("a namespace").expect("a port");
        let connect = || TcpStream::connect_timeout(&address, STALL);
        let near = from.enter(connect).expect("a namespace");
        let near = near.expect("the far client is reached");
        let (far, _) = listener.accept().expect("a connection");
        for stream in [&near, &far] {
            stream.set_nodelay(true).expect("a socket");
            stream.set_read_timeout(Some(STALL)).expect("a socket");
        }
        std::thread::spawn(move || echo(far));
        let ends = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ends);
        let thread = std::thread::spawn(move || ask(near, &over));
        Self { ends, thread }
    }

    /// Ends it, and returns the longest time that an answer took.
    ///
    /// # Errors
    /// When it broke.
    pub fn stop(self) -> std::io::Result<Duration> {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")))
    }
}

fn ask(mut stream: TcpStream, over: &AtomicBool) -> std::io::Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut answer = [0; 1];
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        stream.write_all(&[7])?;
        stream.read_exact(&mut answer)?;
        longest = longest.max(asked.elapsed());
        std::thread::sleep(SPACING);
    }
    Ok(longest)
}

/// Answers until the other side closes.
fn echo(mut stream: TcpStream) {
    let mut byte = [0; 1];
    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
}
