//! The sessions of a device as one worker uses them: seals and opens packets, and tells the device what it has to know.
//!
//! No lock on the way but the one around the replay window of the session that opens, once for all that came together, no
//! allocation, no handshake: what costs more than a packet may wait is left to [`crate::Device`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::OVERHEAD;
use crate::arrival::{Arrival, Heard};
use crate::config::PeerIndex;
use crate::error::{OpenError, SealError};
use crate::message::{Kind, RECEIVER, RESPONSE_RECEIVER, index};
use crate::replay::Order;
use crate::session::Unsealed;
use crate::signal::{Signal, Signals};
use crate::table::{Published, Reader, Table};
use crate::traffic::{Tick, Traffic};

/// What a received datagram turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// An inner IP packet of `len` bytes at the start of `out`, authenticated as sent by `peer`.
    Packet {
        /// Who sent it.
        peer: PeerIndex,
        /// Its length in bytes.
        len: usize,
    },
    /// An authenticated message with nothing in it.
    Keepalive,
    /// An initiation or response whose sender knows our public key, or an answer to a message of ours: it is for
    /// [`crate::Device::handle_message`].
    Handshake,
}

/// How datagrams came that stand back to back in one buffer.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Where all of them came from.
    pub from: SocketAddr,
    /// Length of each in bytes; the last one may be shorter.
    pub segment: usize,
    /// Whether they came past others that their sender had sent before.
    pub order: Order,
}

/// The sessions of a device in the hands of one worker.
#[derive(Debug)]
pub struct DataPath {
    reader: Reader,
    /// What became of the datagrams of a run, as far as the caller has not asked.
    opened: VecDeque<Result<Opened, OpenError>>,
    /// What became of those that one session opens; empty between calls.
    unsealed: Vec<Result<Unsealed, OpenError>>,
    /// Whether the table has changed since [`Self::refresh`] was called.
    changed: bool,
    padding_limit: usize,
    signals: Signals,
    /// The latest `now`, which all packets of a batch share.
    latest: Option<(Instant, Tick)>,
}

impl DataPath {
    /// Makes the data path of a device that publishes to `published`.
    pub(crate) fn new(published: &Arc<Published>) -> Self {
        Self {
            reader: Reader::new(published),
            opened: VecDeque::with_capacity(RUN_MAX),
            unsealed: Vec::with_capacity(RUN_MAX),
            changed: false,
            padding_limit: 0,
            signals: Signals::new(),
            latest: None,
        }
    }

    /// Takes over what the device has published; to be called once per batch. True if sessions, handshakes, peers or
    /// endpoints have changed since the last call, which costs one atomic load when they have not.
    pub fn refresh(&mut self) -> bool {
        self.update();
        std::mem::take(&mut self.changed)
    }

    /// Lets inner packets be padded with zeros to a multiple of 16 bytes (WireGuard paper section 5.4.6), but never to
    /// more than `limit`, which is to be the MTU of the tunnel. Without this call, or with 0, there is no padding. The
    /// receiver cuts padding off by the length that the IP header states.
    pub fn pad_up_to(&mut self, limit: usize) {
        self.padding_limit = limit;
    }

    /// Returns the length of the datagram that [`Self::seal`] makes of an inner packet of `len` bytes.
    #[must_use]
    pub fn sealed_len(&self, len: usize) -> usize {
        self.padded(len) + OVERHEAD
    }

    /// Whether the device has published this peer yet.
    #[must_use]
    pub fn has_peer(&self, peer: PeerIndex) -> bool {
        self.reader.table().peer(peer).is_some()
    }

    /// Returns where sealed packets for `peer` go.
    #[must_use]
    pub fn endpoint(&self, peer: PeerIndex) -> Option<SocketAddr> {
        self.reader.table().peer(peer)?.endpoint
    }

    /// Whether packets for `peer` can be sealed, as far as the device knew.
    #[must_use]
    pub fn has_session(&self, peer: PeerIndex) -> bool {
        let peer = self.reader.table().peer(peer);
        peer.is_some_and(|peer| peer.current.is_some())
    }

    /// Seals one inner packet into `out` and returns the datagram's length. The destination is [`Self::endpoint`].
    /// `out` has at least [`crate::OVERHEAD`] bytes more than `inner`, and room for the padding.
    ///
    /// What is sealed is to be sent soon: after 8192 packets that other workers seal and send for the same peer, the
    /// receiver refuses it as too old.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        &mut self,
        peer: PeerIndex,
        inner: &[u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<usize, SealError> {
        let write = |text: &mut [u8]| text.copy_from_slice(inner);
        self.seal_with(peer, inner.len(), write, out, now)
    }

    /// Like [`Self::seal`] for an inner packet of `len` bytes that `write` puts where it is sealed. `write` is called
    /// once at most, and not when nothing is sealed.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal_with(
        &mut self,
        peer: PeerIndex,
        len: usize,
        write: impl FnOnce(&mut [u8]),
        out: &mut [u8],
        now: Instant,
    ) -> Result<usize, SealError> {
        let view = self.reader.table().peer(peer).ok_or(SealError::NoPeer)?;
        let padded = self.padded(len);
        if out.len() < padded + OVERHEAD {
            return Err(SealError::OutputTooSmall);
        }
        if view.endpoint.is_none() {
            return Err(SealError::NoEndpoint);
        }
        let (signals, traffic) = (&mut self.signals, &view.traffic);
        let tick = tick(&mut self.latest, traffic, now);
        let session = view.current.as_ref().filter(|current| current.opens(now));
        let sealed = session.and_then(|session| {
            let sealed = session.seal_with(len, padded, write, out)?;
            Some((session, sealed))
        });
        let Some((session, sealed)) = sealed else {
            signals.raise(Signal::SessionWanted { peer }, traffic, tick);
            return Err(SealError::NoSession);
        };
        if session.old_for_sending(now) {
            signals.raise(Signal::SessionOld { peer }, traffic, tick);
        }
        if len == 0 {
            traffic.on_sent(tick);
        } else {
            traffic.on_data_sent(len, tick);
            signals.raise(Signal::DataFlows { peer }, traffic, tick);
        }
        Ok(sealed)
    }

    /// Opens one received datagram; an inner packet is written to `out` (at least as long as the datagram).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<Opened, OpenError> {
        let out = out.get_mut(..datagram.len());
        let out = out.ok_or(OpenError::OutputTooSmall)?;
        out.copy_from_slice(datagram);
        let (segment, order) = (datagram.len(), Order::Kept);
        let run = Run {
            from,
            segment,
            order,
        };
        self.open_run(run, out, now);
        let opened = self.poll_opened();
        opened.unwrap_or(Err(OpenError::UnknownType))
    }

    /// Opens datagrams that came together, each in place: an inner packet is at the start of its datagram then.
    /// [`Self::poll_opened`] tells of each; what it was not asked about before is forgotten. More than [`RUN_MAX`] at once
    /// cost an allocation.
    pub fn open_run(&mut self, run: Run, datagrams: &mut [u8], now: Instant) {
        self.opened.clear();
        let mut rest = datagrams;
        while !rest.is_empty() {
            let len = group_len(rest, run.segment);
            let (group, others) = rest.split_at_mut(len);
            self.open_group(run, group, now);
            rest = others;
        }
    }

    /// Tells what became of the next datagram of the run opened last, in their order.
    pub fn poll_opened(&mut self) -> Option<Result<Opened, OpenError>> {
        self.opened.pop_front()
    }

    /// Takes the next word for [`crate::Device::handle_signal`]; to be asked after each batch until there is none. A
    /// caller without room may stop and go on later: what is not taken stays in its order, and what would be said about
    /// the same subject of the same peer again takes its place. Nothing else is lost by that, for what does not fit into
    /// the queue is said by a later packet.
    pub fn poll_signal(&mut self) -> Option<Signal> {
        self.signals.take()
    }

    fn padded(&self, len: usize) -> usize {
        len.next_multiple_of(16).min(self.padding_limit).max(len)
    }

    /// Opens data for one session, or a datagram of another kind.
    fn open_group(&mut self, run: Run, group: &mut [u8], now: Instant) {
        let opened = match Kind::of(group) {
            Some(Kind::Data) => match self.open_data(run, group, now) {
                Ok(()) => return,
                Err(refused) => Err(refused),
            },
            Some(kind) => self.check_handshake(kind, group),
            None => Err(OpenError::UnknownType),
        };
        let count = group.len().div_ceil(run.segment.max(1));
        self.opened.extend(std::iter::repeat_n(opened, count));
    }

    fn open_data(&mut self, run: Run, group: &mut [u8], now: Instant) -> Result<(), OpenError> {
        let local_index = index(group, RECEIVER);
        let peer = self.find(|table| table.owner(local_index))?;
        let view = self.reader.table().peer(peer);
        let view = view.ok_or(OpenError::UnknownIndex)?;
        let (session, watched) = view
            .session(local_index)
            .filter(|(session, _)| session.opens(now))
            .ok_or(OpenError::UnknownIndex)?;
        session.open(group.chunks_mut(run.segment), run.order, &mut self.unsealed);
        let (mut heard, opened) = (Heard::default(), &mut self.opened);
        for unsealed in self.unsealed.drain(..) {
            opened.push_back(unsealed.and_then(|unsealed| heard.note(unsealed, peer)));
        }
        if heard.messages == 0 {
            return Ok(());
        }
        let arrival = Arrival {
            peer,
            view,
            session,
            watched,
            heard,
            from: run.from,
        };
        let tick = tick(&mut self.latest, &view.traffic, now);
        arrival.note(&mut self.signals, (now, tick));
        Ok(())
    }

    fn check_handshake(&mut self, kind: Kind, message: &[u8]) -> Result<Opened, OpenError> {
        match kind {
            Kind::Data => return Err(OpenError::UnknownType),
            Kind::Initiation => self.check_mac1(message)?,
            Kind::Response => {
                self.check_answered(index(message, RESPONSE_RECEIVER))?;
                self.check_mac1(message)?;
            }
            // It has no mac1.
            Kind::CookieReply => self.check_answered(index(message, RECEIVER))?,
        }
        Ok(Opened::Handshake)
    }

    /// Refuses an initiation or response whose sender does not know our public key (WireGuard paper section 5.4.4), so
    /// that it fills no queue to the device.
    fn check_mac1(&self, message: &[u8]) -> Result<(), OpenError> {
        if self.reader.has_mac1(message) {
            Ok(())
        } else {
            Err(OpenError::BadMac)
        }
    }

    /// Refuses a response or cookie reply to no message of ours.
    fn check_answered(&mut self, local_index: u32) -> Result<(), OpenError> {
        self.find(|table| table.may_be_answered(local_index).then_some(()))
    }

    /// Returns what `find` finds in the table. What it looks for may be younger than the table in hand: the device
    /// publishes an index before it sends the message that names it, but the peer may be faster than this batch.
    fn find<T>(&mut self, find: impl Fn(&Table) -> Option<T>) -> Result<T, OpenError> {
        if let Some(found) = find(self.reader.table()) {
            return Ok(found);
        }
        self.update();
        find(self.reader.table()).ok_or(OpenError::UnknownIndex)
    }

    fn update(&mut self) {
        self.changed |= self.reader.refresh();
    }
}

/// Returns how long the datagrams in front are together that are data for one session, or else the first datagram.
fn group_len(datagrams: &[u8], segment: usize) -> usize {
    let mut all = datagrams.chunks(segment.max(1));
    let first = all.next().unwrap_or_default();
    let is_data = |datagram: &&[u8]| Kind::of(datagram) == Some(Kind::Data);
    if !is_data(&first) {
        return first.len();
    }
    let same = |other: &&[u8]| is_data(other) && other[RECEIVER] == first[RECEIVER];
    let others: usize = all.take_while(same).map(<[u8]>::len).sum();
    first.len() + others
}

/// Returns `now` as all peers of the device note it.
fn tick(latest: &mut Option<(Instant, Tick)>, traffic: &Traffic, now: Instant) -> Tick {
    match latest {
        Some((at, tick)) if *at == now => *tick,
        Some(_) | None => {
            let tick = traffic.tick(now);
            *latest = Some((now, tick));
            tick
        }
    }
}

/// Datagrams that are opened at once without an allocation: what a kernel merges into one receive call at most.
pub const RUN_MAX: usize = 64;
