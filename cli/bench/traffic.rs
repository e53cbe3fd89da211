//! The data of a test: one thread per stream sends or receives until told to end, and counts.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::control::is_transient;
use super::datagram::{Arrivals, Header};
use super::fault::Fault;
use super::pace::Pace;
use super::parameters::{Parameters, Role};
use super::processor::Processor;
use super::results::{Results, StreamResult};

/// What carries one stream.
#[derive(Debug)]
pub enum Socket {
    /// A connection.
    Tcp(TcpStream),
    /// A connected socket.
    Udp(UdpSocket),
}

/// Streams under way.
#[derive(Debug)]
pub struct Traffic {
    threads: Vec<JoinHandle<Count>>,
    connections: Vec<TcpStream>,
    stop: Arc<AtomicBool>,
    processor: Processor,
    begun: Instant,
    measured: Duration,
}

/// What a thread counted, and why it ended before it was told to.
#[derive(Debug, Default)]
struct Count {
    result: StreamResult,
    broken: Option<io::Error>,
}

impl Traffic {
    /// Starts all streams; each socket has its role.
    ///
    /// # Errors
    /// When the kernel refuses threads or descriptors.
    pub fn start(
        sockets: Vec<Socket>,
        roles: &[Role],
        parameters: &Parameters,
    ) -> Result<Self, Fault> {
        let mut traffic = Self {
            threads: Vec::new(),
            connections: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            processor: Processor::now(),
            begun: Instant::now(),
            measured: Duration::ZERO,
        };
        for (socket, &role) in sockets.into_iter().zip(roles) {
            if let Err(error) = traffic.add(socket, role, *parameters) {
                traffic.halt();
                traffic.join();
                return Err(Fault::Io("start a stream", error));
            }
        }
        Ok(traffic)
    }

    /// Ends the measurement: what is sent from now on does not count. Threads may still wait for the other side.
    pub fn halt(&mut self) {
        if !self.stop.swap(true, Ordering::Relaxed) {
            self.measured = self.begun.elapsed();
        }
    }

    /// Closes all streams and returns what was counted.
    ///
    /// # Errors
    /// When a stream broke before [`Self::halt`].
    pub fn finish(mut self) -> Result<Results, Fault> {
        self.halt();
        let cpu_percent = self.processor.percent_since(self.measured);
        let measured = self.measured;
        let mut results = Results {
            cpu_percent,
            streams: Vec::new(),
        };
        for count in self.join() {
            if let Some(error) = count.broken {
                return Err(Fault::Stream(error));
            }
            results.streams.push(StreamResult {
                time: measured,
                ..count.result
            });
        }
        Ok(results)
    }

    fn add(&mut self, socket: Socket, role: Role, parameters: Parameters) -> io::Result<()> {
        let stop = Arc::clone(&self.stop);
        let builder = thread::Builder::new().name("bench-stream".to_owned());
        let thread = match socket {
            Socket::Tcp(stream) => {
                self.connections.push(stream.try_clone()?);
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(None)?;
                stream.set_write_timeout(None)?;
                builder.spawn(move || match role {
                    Role::Sender => send_bytes(stream, &parameters, &stop),
                    Role::Receiver => receive_bytes(stream, &parameters, &stop),
                })?
            }
            Socket::Udp(socket) => {
                socket.set_read_timeout(Some(TURN))?;
                socket.set_write_timeout(Some(TURN))?;
                builder.spawn(move || match role {
                    Role::Sender => send_datagrams(&socket, &parameters, &stop),
                    Role::Receiver => receive_datagrams(&socket, &parameters, &stop),
                })?
            }
        };
        self.threads.push(thread);
        Ok(())
    }

    /// Wakes threads that wait for the other side, and collects what they counted.
    fn join(&mut self) -> Vec<Count> {
        for connection in self.connections.drain(..) {
            // One that is closed already needs no closing.
            connection.shutdown(Shutdown::Both).ok();
        }
        let threads = self.threads.drain(..);
        threads
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

impl Count {
    /// Ends with an error, unless the measurement was over.
    fn broken(mut self, error: io::Error, stop: &AtomicBool) -> Self {
        if !stop.load(Ordering::Relaxed) {
            self.broken = Some(error);
        }
        self
    }
}

fn send_bytes(mut stream: TcpStream, parameters: &Parameters, stop: &AtomicBool) -> Count {
    let block = vec![FILLING; parameters.length];
    let (pace, begun) = (Pace::new(parameters.bits_per_second), Instant::now());
    let mut count = Count::default();
    while !stop.load(Ordering::Relaxed) {
        if rest(pace, count.result.bytes, begun) {
            continue;
        }
        match stream.write(&block) {
            Ok(written) => count.result.bytes += written as u64,
            Err(error) if is_transient(&error) => {}
            Err(error) => return count.broken(error, stop),
        }
    }
    count
}

fn receive_bytes(mut stream: TcpStream, parameters: &Parameters, stop: &AtomicBool) -> Count {
    let mut block = vec![0; parameters.length.max(LEAST_BUFFER)];
    let mut count = Count::default();
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut block) {
            Ok(0) => {
                return count.broken(io::ErrorKind::UnexpectedEof.into(), stop);
            }
            Ok(read) => count.result.bytes += read as u64,
            Err(error) if is_transient(&error) => {}
            Err(error) => return count.broken(error, stop),
        }
    }
    count
}

fn send_datagrams(socket: &UdpSocket, parameters: &Parameters, stop: &AtomicBool) -> Count {
    let mut datagram = vec![FILLING; parameters.length];
    let (pace, begun) = (Pace::new(parameters.bits_per_second), Instant::now());
    let mut count = Count::default();
    while !stop.load(Ordering::Relaxed) {
        if rest(pace, count.result.bytes, begun) {
            continue;
        }
        let header = Header {
            sent: clock(),
            counter: count.result.datagrams + 1,
        };
        header.write(parameters.wide_counters, &mut datagram);
        match socket.send(&datagram) {
            Ok(sent) => {
                count.result.bytes += sent as u64;
                count.result.datagrams += 1;
            }
            // A full queue and a receiver that left are no end; what does not arrive counts as lost.
            Err(error) if is_transient(&error) || is_of_the_moment(&error) => {}
            Err(error) => return count.broken(error, stop),
        }
    }
    count
}

fn receive_datagrams(socket: &UdpSocket, parameters: &Parameters, stop: &AtomicBool) -> Count {
    let mut datagram = vec![0; parameters.length.max(LEAST_BUFFER)];
    let wide = parameters.wide_counters;
    let (mut count, mut arrivals) = (Count::default(), Arrivals::default());
    while !stop.load(Ordering::Relaxed) {
        match socket.recv(&mut datagram) {
            Ok(received) => match Header::parse(wide, &datagram[..received]) {
                Some(header) => {
                    arrivals.add(header, clock());
                    count.result.bytes += received as u64;
                }
                // A hello that was sent twice, or not of this test.
                None => count.result.ignored += 1,
            },
            Err(error) if is_transient(&error) || is_of_the_moment(&error) => {}
            Err(error) => return count.broken(error, stop),
        }
    }
    count.result.datagrams = arrivals.sent;
    count.result.lost = arrivals.lost;
    count.result.jitter_s = arrivals.jitter_s;
    count
}

/// Sleeps when it is too early to send; tells whether it did.
fn rest(pace: Pace, sent: u64, begun: Instant) -> bool {
    let wait = pace.wait(sent, begun.elapsed());
    if !wait.is_zero() {
        thread::sleep(wait);
    }
    !wait.is_zero()
}

/// Tells whether a datagram socket may work again right away.
fn is_of_the_moment(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused || error.raw_os_error() == Some(ENOBUFS)
}

/// The wall clock: both sides of a UDP test need not agree, only its pace matters.
fn clock() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// How often a thread without traffic looks whether the test is over.
const TURN: Duration = Duration::from_millis(100);
/// Receivers read at least this much at once, in bytes.
const LEAST_BUFFER: usize = 64 << 10;
/// What is sent.
const FILLING: u8 = 0x5a;
/// ENOBUFS of Linux: a queue below the socket is full.
const ENOBUFS: i32 = 105;
