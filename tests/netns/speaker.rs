//! A BGP neighbor of another AS, played by the test: says what it shall, and reads only if it shall.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use ipnet::Ipv4Net;
use sam_bgp::PathAttributes;
use sam_bgp::wire::{Capability, DecodeContext, Message, Open, frame};
use sam_net::Namespace;
use sam_testkit::uninterrupted;
use socket2::{Domain, Socket, Type};

/// How often it says that it lives: hold times are 9 s at least.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// What the kernel keeps for one that does not read.
const LITTLE: usize = 4096;
const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: false,
    add_path: false,
    extended: false,
    ipv6: None,
};

/// Routes that a neighbor was told, with their attributes.
pub(crate) type Heard = BTreeMap<Ipv4Net, PathAttributes>;

/// One end of an established session; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Speaker {
    stream: Arc<Mutex<TcpStream>>,
    heard: Arc<Mutex<Heard>>,
    /// Keepalives end with it.
    _alive: SyncSender<()>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    /// Its address, which is that of an interface.
    pub(crate) address: Ipv4Addr,
    /// Its AS number.
    pub(crate) asn: u16,
    /// Whether it reads once the session is up.
    pub(crate) reads: bool,
}

impl Speaker {
    /// Calls `router` from inside of the namespace and brings the session up.
    ///
    /// # Panics
    /// When the router does not agree.
    pub(crate) fn call(namespace: &Namespace, own: Identity, router: Ipv4Addr) -> Self {
        let connected = namespace.enter(|| connect(own, router));
        let mut stream = connected.expect("a thread inside");
        let open = Open {
            asn: own.asn,
            hold_time_s: 90,
            router_id: own.address,
            capabilities: vec![
                Capability::FourOctetAs(own.asn.into()),
                Capability::Multiprotocol { afi: 1, safi: 1 },
            ],
        };
        let mut say = |message: &Message| {
            let bytes = message.encode(CONTEXT);
            stream.write_all(&bytes).expect("the router reads");
        };
        say(&Message::Open(open));
        say(&Message::Keepalive);
        let reader = stream.try_clone().expect("a descriptor");
        let heard = Arc::new(Mutex::new(Heard::new()));
        if own.reads {
            let heard = Arc::clone(&heard);
            thread::spawn(move || listen(reader, &heard));
        }
        let stream = Arc::new(Mutex::new(stream));
        let (alive, ends) = mpsc::sync_channel(0);
        let speaking = Arc::clone(&stream);
        thread::spawn(move || {
            let keepalive = Message::Keepalive.encode(CONTEXT);
            while ends.recv_timeout(KEEPALIVE) == Err(RecvTimeoutError::Timeout) {
                if lock(&speaking).write_all(&keepalive).is_err() {
                    return;
                }
            }
            lock(&speaking).shutdown(std::net::Shutdown::Both).ok();
        });
        Self {
            stream,
            heard,
            _alive: alive,
        }
    }

    /// Says something, however long the router takes to read it.
    ///
    /// # Panics
    /// When the session has ended.
    pub(crate) fn say(&self, message: &Message) {
        let bytes = message.encode(CONTEXT);
        lock(&self.stream)
            .write_all(&bytes)
            .expect("the router reads");
    }

    /// What it was told, as of now.
    pub(crate) fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard)
    }
}

fn connect(own: Identity, router: Ipv4Addr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if !own.reads {
        socket.set_recv_buffer_size(LITTLE).expect("settable");
    }
    let (near, far): (SocketAddr, SocketAddr) = ((own.address, 0).into(), (router, 179).into());
    socket.bind(&near.into()).expect("its address");
    socket.connect(&far.into()).expect("the router listens");
    socket.into()
}

/// Notes what is told until the session ends.
fn listen(mut stream: TcpStream, heard: &Mutex<Heard>) {
    let mut unread = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
        unread.extend(&buffer[..count]);
        let mut at = 0;
        while let Some(length) = frame(&unread[at..], CONTEXT).expect("messages are framed") {
            let message = &unread[at..at + length];
            let message = Message::decode(message, CONTEXT).expect("the router speaks BGP");
            note(&mut lock(heard), message);
            at += length;
        }
        unread.drain(..at);
    }
}

fn note(heard: &mut Heard, message: Message) {
    let Message::Update(update) = message else {
        return;
    };
    for gone in update.withdrawn {
        heard.remove(&gone.prefix);
    }
    for route in update.announced {
        let attributes = update.attributes.clone().expect("routes have attributes");
        heard.insert(route.prefix, attributes);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panicked with it")
}
