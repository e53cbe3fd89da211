//! The wires of a fake cloud: frames between interfaces of this host and the fabric, which decides on each.
//!
//! One thread; superpackets stay whole. Frames that find an interface busy or down are lost, as on a wire.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::thread;

use sam_dataplane::{Buffer, BufferPool, Unit};
use sam_fakecloud::fabric::{Port, Verdict};
use sam_fakecloud::server::{self, Shared, locked};
use sam_net::{Epoll, Interest, NetError, PacketSocket};

/// Frames that are read from one interface before the next one has its turn.
const BURST: usize = 32;

/// Opens all wires of a world and carries what comes by them, until the process ends.
///
/// # Errors
/// An interface that cannot be opened, by name.
pub(crate) fn attach(world: &Shared) -> Result<(), NetError> {
    let wires: Vec<(Port, String)> = locked(world, |world| {
        world
            .wires()
            .map(|(port, interface)| (port, interface.to_owned()))
            .collect()
    });
    if wires.is_empty() {
        return Ok(());
    }
    let failed = |error: io::Error| NetError::new("wait for frames of", "the fabric", error);
    let epoll = Epoll::new(wires.len()).map_err(failed)?;
    let mut fabric = Fabric {
        world: Shared::clone(world),
        ports: Vec::new(),
        sockets: Vec::new(),
        numbers: BTreeMap::new(),
        pool: BufferPool::new(4 * BURST),
    };
    for (port, interface) in wires {
        let socket = PacketSocket::open(&interface, None)?;
        let number = fabric.sockets.len();
        epoll
            .add(socket.as_fd(), number as u64, Interest::Read)
            .map_err(failed)?;
        fabric.numbers.insert(port.clone(), number);
        fabric.ports.push(port);
        fabric.sockets.push(socket);
    }
    thread::Builder::new()
        .name("fabric".to_owned())
        .spawn(move || fabric.run(epoll))
        .map_err(failed)?;
    Ok(())
}

struct Fabric {
    world: Shared,
    ports: Vec<Port>,
    sockets: Vec<PacketSocket>,
    numbers: BTreeMap<Port, usize>,
    pool: BufferPool,
}

impl Fabric {
    fn run(mut self, mut epoll: Epoll) {
        loop {
            let Ok(events) = epoll.wait(None) else { return };
            let ready: Vec<usize> = events
                .filter_map(|event| usize::try_from(event.token).ok())
                .collect();
            for number in ready {
                self.read(number);
            }
        }
    }

    fn read(&mut self, number: usize) {
        let mut frames = Vec::new();
        let socket = &mut self.sockets[number];
        // What an interface that went down loses is lost.
        socket.recv_batch(&mut self.pool, &mut frames, BURST).ok();
        for unit in frames.into_iter().filter_map(Result::ok) {
            self.carry(number, unit);
        }
    }

    fn carry(&mut self, from: usize, mut unit: Unit) {
        let port = &self.ports[from];
        let verdict = locked(&self.world, |world| {
            world.carry(port, unit.buffer.bytes(), server::now())
        });
        match verdict {
            Verdict::Deliver { to, ethernet } => {
                unit.buffer.bytes_mut()[..ethernet.len()].copy_from_slice(&ethernet);
                if let Some(&to) = self.numbers.get(&to) {
                    self.send(to, unit);
                    return;
                }
            }
            Verdict::Answer(frame) => {
                let mut buffer = Buffer::new();
                if buffer.append(&frame) {
                    self.send(from, Unit::plain(buffer));
                }
            }
            Verdict::Drop(_) => {}
        }
        self.pool.give(unit.buffer);
    }

    fn send(&mut self, to: usize, unit: Unit) {
        let units = [unit];
        let mut failures = Vec::new();
        self.sockets[to].send_batch(&units, &mut failures);
        let [unit] = units;
        self.pool.give(unit.buffer);
    }
}
