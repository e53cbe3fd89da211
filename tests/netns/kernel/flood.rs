//! Handshakes of somebody whom no peer knows, many and without pause: what puts a responder under load.
//!
//! They carry the right mac1, for which the responder's public key is enough, and so cost it a key exchange each.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, sh};
use sam_wg::{Device, HANDSHAKE_MAX, PeerConfig, PeerIndex, PrivateKey, PublicKey};

/// An address of its own.
pub(super) const STRANGE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);
const LAN_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 99);

/// How a flood comes: so many at once, and a pause.
pub(super) struct Pace {
    train: usize,
    pause: Duration,
}

impl Pace {
    /// For samctl, which is under load from one address while more than 20 per second come from there.
    pub(super) const STEADY: Self = Self {
        train: 40,
        pause: Duration::from_millis(10),
    };
    /// For Linux, which is under load for a second once 512 handshakes wait.
    pub(super) const BURSTS: Self = Self {
        train: 1500,
        pause: Duration::from_millis(300),
    };
}

/// Whom a flood is for.
pub(super) struct Victim<'a> {
    pub(super) address: Ipv4Addr,
    pub(super) mac: &'a str,
    pub(super) key: PublicKey,
}

/// A host on the WAN that answers no ARP, so that it can have an address which is somebody else's.
pub(super) struct Stranger {
    host: Namespace,
    address: Ipv4Addr,
}

impl Stranger {
    /// Plugs it in.
    pub(super) fn arrive(fabric: &Fabric, address: Ipv4Addr) -> Self {
        let site = Site::ONPREM;
        let host = fabric.topology.add_router(site, 'x', LAN_ADDRESS, address);
        sh(&host, "ip link set wan0 arp off").success();
        Self { host, address }
    }

    /// Sends initiations to the victim's port of WireGuard until `work` is done.
    pub(super) fn while_flooding<T>(
        &self,
        victim: &Victim<'_>,
        pace: &Pace,
        work: impl FnOnce() -> T,
    ) -> T {
        let Victim { address, mac, key } = *victim;
        let command = format!("ip neighbor replace {address} lladdr {mac} dev wan0 nud permanent");
        sh(&self.host, &command).success();
        let bind = || UdpSocket::bind((self.address, 0)).expect("its address");
        let socket = self.host.enter(bind).expect("the stranger's namespace");
        let target = SocketAddr::from((address, 51820));
        let initiation = initiation(target, key);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _ends = SetAtEnd(&done);
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    for _ in 0..pace.train {
                        // A full queue is part of a flood.
                        socket.send_to(&initiation, target).ok();
                    }
                    std::thread::sleep(pace.pause);
                }
            });
            work()
        })
    }
}

/// Ends the flood also when the work panics.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A handshake initiation with a private key that nobody knows.
fn initiation(to: SocketAddr, key: PublicKey) -> Vec<u8> {
    let now = Instant::now();
    let own = PrivateKey::generate([7; 32]);
    let mut device = Device::new(&own, [8; 32], Duration::from_secs(1), now);
    let victim = PeerConfig {
        index: PeerIndex(1),
        public_key: key,
        preshared_key: None,
        endpoint: Some(to),
        // Calls at once.
        persistent_keepalive: Some(Duration::from_secs(25)),
        roaming: false,
    };
    device.set_peers(&[victim], now);
    let mut message = [0; HANDSHAKE_MAX];
    let (_, length) = device.poll_transmit(&mut message).expect("it calls");
    message[..length].to_vec()
}
