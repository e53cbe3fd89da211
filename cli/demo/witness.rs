//! Independent eyes: packet sockets at the clients and on the WAN that note which addresses packets carry.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use sam_dataplane::BufferPool;
use sam_net::{Namespace, PacketSocket};

/// IPv4 packets seen, by source, destination, protocol and destination port.
pub(super) type Seen = BTreeMap<(Ipv4Addr, Ipv4Addr, u8, u16), u64>;

/// Entries kept; a demo has a few dozen.
const LIMIT: usize = 4096;

/// A running witness; dropping it ends it.
#[derive(Debug)]
pub(super) struct Witness {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Watches what arrives on an interface inside a namespace.
    ///
    /// # Errors
    /// When the interface cannot be opened.
    pub(super) fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace.enter(|| PacketSocket::open(interface, None))??;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::new()));
        let (thread_stop, thread_seen) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || watch(socket, &thread_stop, &thread_seen));
        Ok(Self {
            stop,
            seen,
            thread: Some(thread),
        })
    }

    /// What was seen so far.
    #[must_use]
    pub(super) fn seen(&self) -> Seen {
        self.seen
            .lock()
            .map(|seen| seen.clone())
            .unwrap_or_default()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn watch(mut socket: PacketSocket, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let mut pool = BufferPool::new(40);
    let mut frames = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let count = socket.recv_batch(&mut pool, &mut frames, 32).unwrap_or(0);
        for unit in frames.drain(..).flatten() {
            if let (Some(key), Ok(mut seen)) = (key(unit.buffer.bytes()), seen.lock())
                && (seen.len() < LIMIT || seen.contains_key(&key))
            {
                *seen.entry(key).or_default() += 1;
            }
            pool.give(unit.buffer);
        }
        if count == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn key(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, u8, u16)> {
    if frame.get(12..14)? != [8, 0] {
        return None;
    }
    let address = |at: usize| -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    let header = usize::from(frame.get(14)? & 15) * 4;
    let protocol = *frame.get(23)?;
    let port = match frame.get(14 + header + 2..14 + header + 4) {
        Some(bytes) if protocol == 6 || protocol == 17 => u16::from_be_bytes([bytes[0], bytes[1]]),
        _ => 0,
    };
    Some((address(26)?, address(30)?, protocol, port))
}
