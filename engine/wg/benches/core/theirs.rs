//! boringtun: a `Tunn` for each tunnel, which its workers lock for a train at a time, as it can be used by one at a time.

use std::sync::{Arc, Mutex};

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};

use crate::ours::key;
use crate::tunnels::{Core, Side, Train, Tunnels, Worker};

/// boringtun.
pub(crate) struct Theirs;

/// The tunnels of one side.
pub(crate) struct TheirSide(Vec<Mutex<Tunn>>);

/// A thread.
pub(crate) struct TheirWorker<'a> {
    tunns: &'a [Mutex<Tunn>],
    out: Vec<u8>,
}

impl Core for Theirs {
    type Side = TheirSide;

    fn tunnels(count: usize) -> Tunnels<TheirSide> {
        let pairs = (1..=count).map(|number| {
            let (mut near, mut far) = (tunn(0, number), tunn(number, 0));
            shake_hands(&mut near, &mut far);
            (Mutex::new(near), TheirSide(vec![Mutex::new(far)]))
        });
        let (near, far) = pairs.unzip();
        Tunnels {
            near: TheirSide(near),
            far,
        }
    }
}

impl Side for TheirSide {
    type Worker<'a> = TheirWorker<'a>;

    fn worker(&self) -> TheirWorker<'_> {
        TheirWorker {
            tunns: &self.0,
            out: vec![0; 2048],
        }
    }
}

impl Worker for TheirWorker<'_> {
    fn seal(&mut self, tunnel: usize, inner: &[u8], train: &mut Train) {
        seal(&self.tunns[tunnel], inner, train);
    }

    fn open(&mut self, tunnel: usize, train: &mut Train) {
        let mut tunn = self.tunns[tunnel].lock().expect("nobody panics");
        for datagram in train.slots() {
            let opened = tunn.decapsulate(None, datagram, &mut self.out);
            assert!(matches!(opened, TunnResult::WriteToTunnelV4(..)));
        }
    }
}

/// Seals `inner` into each slot of `train`.
pub(crate) fn seal(tunn: &Mutex<Tunn>, inner: &[u8], train: &mut Train) {
    let mut tunn = tunn.lock().expect("nobody panics");
    for slot in train.slots() {
        let len = slot.len();
        assert_eq!(written(&tunn.encapsulate(inner, slot)), len);
    }
}

/// Makes the tunnel between the owners of two keys, with a limit on handshakes that is never reached.
pub(crate) fn tunn(own: usize, other: usize) -> Tunn {
    let limiter = Arc::new(RateLimiter::new(&public(own), u64::MAX));
    Tunn::new(secret(own), public(other), None, None, 7, Some(limiter))
}

/// The private key of a number.
pub(crate) fn secret(number: usize) -> StaticSecret {
    StaticSecret::from(key(number).0)
}

/// The public key of a number.
pub(crate) fn public(number: usize) -> PublicKey {
    PublicKey::from(key(number).public().0)
}

/// Has `a` begin a handshake, up to the first packet that `b` opens.
pub(crate) fn shake_hands(a: &mut Tunn, b: &mut Tunn) {
    let (mut first, mut second) = ([0; 148], [0; 148]);
    let len = written(&a.format_handshake_initiation(&mut first, true));
    let len = written(&b.decapsulate(None, &first[..len], &mut second));
    let len = written(&a.decapsulate(None, &second[..len], &mut first));
    let done = b.decapsulate(None, &first[..len], &mut second);
    assert!(matches!(done, TunnResult::Done));
}

/// Length of what is to be sent.
pub(crate) fn written(result: &TunnResult<'_>) -> usize {
    let TunnResult::WriteToNetwork(bytes) = result else {
        panic!("{result:?}");
    };
    bytes.len()
}
