//! What a packet costs on the wire (WireGuard paper section 5.4, RFC 791, RFC 8200, RFC 768), layer by layer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sam_wg::{DataPath, Device, Opened, PeerConfig, PeerIndex, PrivateKey};

const PEER: PeerIndex = PeerIndex(0);
/// Wall time at the start, since the Unix epoch.
const WALL: Duration = Duration::from_secs(1_700_000_000);

/// Lengths of the messages of sections 5.4.2, 5.4.3 and 5.4.6 of the paper, by message type.
#[test]
fn messages_of_a_handshake_have_the_lengths_of_the_paper() {
    let mut pair = Pair::new();
    let seen = pair.handshake();

    assert_eq!(
        seen,
        [(1, 148), (2, 92), (4, 32)],
        "initiation, response, keepalive"
    );
}

/// 16 bytes of header and 16 of tag. The paper pads to 16 bytes as well, which hides lengths and is not demanded of
/// whoever receives; this implementation does not (engine/wg/src/lib.rs), so that a tunnel's MTU needs no reserve.
#[test]
fn a_data_message_is_the_packet_and_32_bytes() {
    let mut pair = Pair::new();
    pair.handshake();
    for inner in [20, 32, 33, 1420] {
        let mut packet = vec![0; inner];
        packet[0] = 0x45;
        let total = u16::try_from(inner).expect("short");
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        let mut out = [0; 2048];

        let length = pair.paths[0]
            .seal(PEER, &packet, &mut out, pair.now)
            .expect("a session");

        assert_eq!((out[0], length), (4, inner + sam_wg::OVERHEAD), "{inner}");
    }
    assert_eq!(sam_wg::OVERHEAD, 32);
}

/// Two devices on a link without loss.
struct Pair {
    devices: [Device; 2],
    paths: [DataPath; 2],
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let keys = [PrivateKey::generate([1; 32]), PrivateKey::generate([2; 32])];
        let devices = [0, 1].map(|own: usize| {
            let mut device = Device::new(&keys[own], [1; 32], WALL, now);
            let peer = PeerConfig {
                index: PEER,
                public_key: keys[1 - own].public(),
                preshared_key: None,
                endpoint: Some(address(1 - own)),
                persistent_keepalive: None,
                roaming: true,
            };
            device.set_peers(&[peer], now);
            device
        });
        let paths = [0, 1].map(|own: usize| devices[own].data_path());
        Self {
            devices,
            paths,
            now,
        }
    }

    /// Brings a session up and returns type and length of each message.
    fn handshake(&mut self) -> Vec<(u8, usize)> {
        let mut seen = Vec::new();
        let mut out = [0; 2048];
        // Asking for a session starts the handshake.
        let refused = self.paths[0].seal(PEER, &[0x45; 20], &mut out, self.now);
        assert!(refused.is_err());
        while let Some(signal) = self.paths[0].poll_signal() {
            self.devices[0].handle_signal(signal, self.now);
        }
        for round in 0..8 {
            let from = round % 2;
            while let Some((_, length)) = self.devices[from].poll_transmit(&mut out) {
                seen.push((out[0], length));
                let message = out[..length].to_vec();
                let mut inner = vec![0; length];
                let (device, path) = (&mut self.devices[1 - from], &mut self.paths[1 - from]);
                path.refresh();
                let opened = path.open(address(from), &message, &mut inner, self.now);
                if opened == Ok(Opened::Handshake) {
                    device
                        .handle_message(address(from), &message, self.now)
                        .expect("an honest message");
                } else {
                    assert_eq!(opened, Ok(Opened::Keepalive));
                }
                while let Some(signal) = path.poll_signal() {
                    device.handle_signal(signal, self.now);
                }
            }
            while self.devices[from].poll_event().is_some() {}
            self.paths[0].refresh();
            self.now += Duration::from_millis(10);
        }
        seen
    }
}

fn address(device: usize) -> SocketAddr {
    let last = u8::try_from(device).expect("small") + 1;
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), 51_820))
}
