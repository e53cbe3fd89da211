//! A device against a plain boringtun `Tunn`, used as its authors mean it: with its own timers and its own queue.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::world::{PEER, WALL, origin, packet, packets, secs, seed_of};
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;
use sam_wg::{DataPath, Device, Opened, PeerConfig, PresharedKey, PrivateKey, SealError};

#[test]
fn as_initiator_towards_boringtun() {
    for preshared in [None, Some(PresharedKey([4; 32]))] {
        let mut pair = Pair::new(preshared.as_ref());
        assert_eq!(pair.send_from_device(0), Err(SealError::NoSession));
        pair.settle();
        for number in 0..5 {
            pair.send_from_device(number).unwrap();
            pair.send_from_tunn(number);
            pair.settle();
        }
        assert_eq!(pair.at_tunn, packets(5));
        assert_eq!(pair.at_device, packets(5));
        assert_eq!(pair.refused_by_tunn, [""; 0]);
    }
}

#[test]
fn as_responder_towards_boringtun() {
    for preshared in [None, Some(PresharedKey([4; 32]))] {
        let mut pair = Pair::new(preshared.as_ref());
        pair.send_from_tunn(0); // boringtun queues it and initiates
        pair.settle();
        for number in 1..5 {
            pair.send_from_tunn(number);
            pair.send_from_device(number - 1).unwrap();
            pair.settle();
        }
        assert_eq!(pair.at_tunn, packets(4));
        assert_eq!(pair.at_device, packets(5));
        assert_eq!(pair.refused_by_tunn, [""; 0]);
    }
}

#[test]
fn rekeys_of_both_sides_lose_nothing() {
    let mut pair = Pair::new(None);
    let _no_session = pair.send_from_device(0);
    pair.settle();
    for number in 0..40 {
        pair.send_from_device(number).unwrap();
        pair.send_from_tunn(number);
        match number % 4 {
            1 => pair.now += secs(121), // the device initiates, if it did so last time
            3 => pair.initiate_from_tunn(),
            _ => {}
        }
        pair.settle();
    }
    assert_eq!(pair.at_tunn, packets(40));
    assert_eq!(pair.at_device, packets(40));
    assert_eq!(pair.refused_by_tunn, [""; 0]);
    assert!(pair.device.status()[0].handshakes >= 10);
}

#[test]
fn both_at_once_towards_boringtun() {
    let mut pair = Pair::new(None);
    let _no_session = pair.send_from_device(0);
    pair.send_from_tunn(0);
    pair.settle();
    for number in 1..5 {
        pair.send_from_device(number - 1).unwrap();
        pair.send_from_tunn(number);
        pair.settle();
    }
    // boringtun initiates a second time while it answers, and then does not know the answer to its first initiation.
    assert_eq!(pair.refused_by_tunn, ["UnexpectedPacket"]);
    assert_eq!(pair.at_tunn, packets(4));
    assert_eq!(pair.at_device, packets(5));
}

/// A device and a `Tunn` on a link without delay.
struct Pair {
    now: Instant,
    device: Device,
    path: DataPath,
    tunn: Tunn,
    tunn_address: SocketAddr,
    to_device: VecDeque<Vec<u8>>,
    to_tunn: VecDeque<Vec<u8>>,
    at_device: Vec<Vec<u8>>,
    at_tunn: Vec<Vec<u8>>,
    refused_by_tunn: Vec<String>,
}

impl Pair {
    fn new(preshared_key: Option<&PresharedKey>) -> Self {
        let (ours, theirs) = (PrivateKey::generate([1; 32]), PrivateKey::generate([2; 32]));
        // As its device module does; the default would put it under load at ten handshakes per second of real time.
        let public = x25519::PublicKey::from(theirs.public().0);
        let limiter = Arc::new(RateLimiter::new(&public, 100));
        let tunn = Tunn::new(
            x25519::StaticSecret::from(theirs.0),
            x25519::PublicKey::from(ours.public().0),
            preshared_key.map(|key| key.0),
            Some(25),
            42,
            Some(limiter),
        );
        let (now, tunn_address) = (origin(), "192.0.2.2:51820".parse().unwrap());
        let mut device = Device::new(&ours, seed_of(9), WALL, now);
        let config = PeerConfig {
            index: PEER,
            public_key: theirs.public(),
            preshared_key: preshared_key.cloned(),
            endpoint: Some(tunn_address),
            persistent_keepalive: None,
            roaming: true,
        };
        device.set_peers(&[config], now);
        Self {
            now,
            path: device.data_path(),
            device,
            tunn,
            tunn_address,
            to_device: VecDeque::new(),
            to_tunn: VecDeque::new(),
            at_device: Vec::new(),
            at_tunn: Vec::new(),
            refused_by_tunn: Vec::new(),
        }
    }

    fn send_from_device(&mut self, number: u32) -> Result<(), SealError> {
        let mut out = [0; 256];
        let sealed = self.path.seal(PEER, &packet(number), &mut out, self.now);
        self.exchange();
        self.to_tunn.push_back(out[..sealed?].to_vec());
        Ok(())
    }

    fn send_from_tunn(&mut self, number: u32) {
        let mut out = [0; 256];
        if let TunnResult::WriteToNetwork(bytes) = self.tunn.encapsulate(&packet(number), &mut out)
        {
            self.to_device.push_back(bytes.to_vec());
        }
    }

    fn initiate_from_tunn(&mut self) {
        let mut out = [0; 256];
        let result = self.tunn.format_handshake_initiation(&mut out, true);
        let TunnResult::WriteToNetwork(bytes) = result else {
            panic!("{result:?}");
        };
        self.to_device.push_back(bytes.to_vec());
    }

    /// Lets device and data path know what the other one knows.
    fn exchange(&mut self) {
        while let Some(signal) = self.path.poll_signal() {
            self.device.handle_signal(signal, self.now);
        }
        self.path.refresh();
    }

    /// Delivers until nothing is under way.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.device.handle_timeout(self.now);
            self.exchange();
            let mut out = [0; 256];
            while let Some((to, len)) = self.device.poll_transmit(&mut out) {
                assert_eq!(to, self.tunn_address);
                self.to_tunn.push_back(out[..len].to_vec());
            }
            if let TunnResult::WriteToNetwork(bytes) = self.tunn.update_timers(&mut out) {
                self.to_device.push_back(bytes.to_vec());
            }
            if self.to_tunn.is_empty() && self.to_device.is_empty() {
                return;
            }
            self.deliver_to_tunn();
            self.deliver_to_device();
        }
        panic!("the conversation does not end");
    }

    fn deliver_to_tunn(&mut self) {
        while let Some(datagram) = self.to_tunn.pop_front() {
            let mut out = [0; 256];
            let mut result = self.tunn.decapsulate(None, &datagram, &mut out);
            loop {
                match result {
                    TunnResult::WriteToNetwork(bytes) => self.to_device.push_back(bytes.to_vec()),
                    TunnResult::WriteToTunnelV4(bytes, _) => {
                        self.at_tunn.push(bytes.to_vec());
                        break;
                    }
                    TunnResult::Done => break,
                    TunnResult::Err(error) => {
                        self.refused_by_tunn.push(format!("{error:?}"));
                        break;
                    }
                    TunnResult::WriteToTunnelV6(..) => panic!("{result:?}"),
                }
                result = self.tunn.decapsulate(None, &[], &mut out);
            }
        }
    }

    fn deliver_to_device(&mut self) {
        while let Some(datagram) = self.to_device.pop_front() {
            let mut out = [0; 256];
            let (from, now) = (self.tunn_address, self.now);
            match self.path.open(from, &datagram, &mut out, now).unwrap() {
                Opened::Packet { len, .. } => self.at_device.push(out[..len].to_vec()),
                Opened::Keepalive => {}
                Opened::Handshake => self.device.handle_message(from, &datagram, now).unwrap(),
            }
            self.exchange();
        }
    }
}
