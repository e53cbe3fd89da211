//! What each client serves: a TCP service that says whom it sees and echoes lines, and a UDP echo.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sam_net::Namespace;

/// Port of both services.
pub(super) const PORT: u16 = 7760;
/// How long a blocked call waits before it looks whether to end.
const TURN: Duration = Duration::from_millis(100);
/// Time for one check.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves inside a client's namespace.
    ///
    /// # Errors
    /// When a port is taken or the namespace cannot be entered.
    pub(super) fn start(client: &Namespace) -> Result<Self> {
        let (tcp, udp) = client.enter(|| -> Result<_> {
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
            Ok((TcpListener::bind(any)?, UdpSocket::bind(any)?))
        })??;
        tcp.set_nonblocking(true)?;
        udp.set_read_timeout(Some(TURN))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (tcp_stop, udp_stop) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            std::thread::spawn(move || accept(&tcp, &tcp_stop)),
            std::thread::spawn(move || echo_datagrams(&udp, &udp_stop)),
        ];
        Ok(Self { stop, threads })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, from)) => {
                let stop = Arc::clone(stop);
                std::thread::spawn(move || serve(stream, from, &stop));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Says the peer's address, then echoes until the end.
fn serve(mut stream: TcpStream, from: SocketAddr, stop: &AtomicBool) {
    stream.set_nonblocking(false).ok();
    stream.set_read_timeout(Some(TURN)).ok();
    if writeln!(stream, "{}", from.ip()).is_err() {
        return;
    }
    let mut bytes = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => {
                if stream.write_all(&bytes[..count]).is_err() {
                    return;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn echo_datagrams(socket: &UdpSocket, stop: &AtomicBool) {
    let mut bytes = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((count, from)) = socket.recv_from(&mut bytes) {
            socket.send_to(&bytes[..count], from).ok();
        }
    }
}

/// A connection to a client's TCP service.
#[derive(Debug)]
pub(super) struct Session {
    stream: BufReader<TcpStream>,
    /// The address that the server saw.
    pub seen: String,
}

impl Session {
    /// Connects from inside `client`.
    ///
    /// # Errors
    /// When the connection fails or the server says nothing.
    pub(super) fn open(client: &Namespace, to: Ipv4Addr) -> Result<Self> {
        let stream =
            client.enter(|| TcpStream::connect_timeout(&SocketAddr::from((to, PORT)), PATIENCE))?;
        let stream = stream.with_context(|| format!("cannot connect to {to}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut seen = String::new();
        stream.read_line(&mut seen)?;
        Ok(Self {
            stream,
            seen: seen.trim().to_owned(),
        })
    }

    /// Sends a line and expects it back.
    ///
    /// # Errors
    /// When the connection broke or the echo differs.
    pub(super) fn echo(&mut self, line: &str) -> Result<()> {
        writeln!(self.stream.get_mut(), "{line}")?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        if answer.trim() != line {
            bail!("sent '{line}', got '{}'", answer.trim());
        }
        Ok(())
    }
}
