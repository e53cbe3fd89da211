//! What a test gave, from the view of one side: the table and the JSON come from the same struct.

use std::net::SocketAddr;

use serde::Serialize;

use super::parameters::{Parameters, Transport};
use super::results::{Results, StreamResult, rate};
use super::traffic::Role;

/// What a test gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Address of the other side.
    pub peer: SocketAddr,
    /// Name of the other side, when it was given as a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What carried the data.
    pub transport: Transport,
    /// Whether this side sent (`send`) or received (`receive`).
    pub direction: &'static str,
    /// How long this side measured.
    pub seconds: f64,
    /// Bytes of a block or datagram.
    pub length: usize,
    /// Bits a second that each stream was to offer; absent when as many as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_bits_per_second: Option<u64>,
    /// All streams.
    pub sum: Row,
    /// Processor time of this side's program, in percent of one processor.
    pub cpu_percent_here: Option<f64>,
    /// The same of the other side's.
    pub cpu_percent_there: Option<f64>,
    /// Each stream.
    pub streams: Vec<Row>,
}

/// What one stream, or all, carried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Row {
    /// Payload that the sender sent.
    pub sent_bytes: u64,
    /// Payload that the receiver received.
    pub received_bytes: u64,
    /// Payload received per second of the receiver's time.
    pub received_bits_per_second: f64,
    /// What only datagrams have.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<Datagrams>,
}

/// What is known about datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Datagrams {
    /// Sent, as the sender counted.
    pub datagrams_sent: u64,
    /// Sent and not received; those under way at the end are among them.
    pub datagrams_lost: u64,
    /// Received without a header of this test, as far as this side knows.
    pub datagrams_ignored: u64,
    /// Lost, in percent.
    pub lost_percent: f64,
    /// Received per second of the receiver's time.
    pub datagrams_per_second: f64,
    /// Jitter (RFC 3550 section 6.4.1), of several streams the largest.
    pub jitter_ms: f64,
}

impl Report {
    /// Puts both sides' counts together; `role` is that of this side.
    #[must_use]
    pub fn new(
        peer: SocketAddr,
        parameters: &Parameters,
        role: Role,
        own: &Results,
        theirs: &Results,
    ) -> Self {
        let (sent, received) = match role {
            Role::Sender => (own, theirs),
            Role::Receiver => (theirs, own),
        };
        let time = own.streams.first().map(|stream| stream.time);
        let row = |(sent, received)| Row::new(parameters.transport, sent, received);
        let pairs = sent.streams.iter().zip(&received.streams);
        Self {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            node: None,
            transport: parameters.transport,
            direction: match role {
                Role::Sender => "send",
                Role::Receiver => "receive",
            },
            seconds: time.unwrap_or_default().as_secs_f64(),
            length: parameters.length,
            offered_bits_per_second: parameters.bits_per_second,
            sum: Row::new(parameters.transport, &sum(sent), &sum(received)),
            cpu_percent_here: own.cpu_percent,
            cpu_percent_there: theirs.cpu_percent,
            streams: pairs.map(row).collect(),
        }
    }
}

impl Row {
    fn new(transport: Transport, sent: &StreamResult, received: &StreamResult) -> Self {
        Self {
            sent_bytes: sent.bytes,
            received_bytes: received.bytes,
            received_bits_per_second: received.bits_per_second(),
            datagrams: match transport {
                Transport::Tcp => None,
                Transport::Udp => Some(Datagrams::new(sent, received)),
            },
        }
    }
}

impl Datagrams {
    #[expect(clippy::cast_precision_loss, reason = "a share of 15 digits is enough")]
    fn new(sent: &StreamResult, received: &StreamResult) -> Self {
        let arrived = received.datagrams.saturating_sub(received.lost);
        let lost = sent.datagrams.saturating_sub(arrived);
        let share = match sent.datagrams {
            0 => 0.0,
            datagrams => lost as f64 / datagrams as f64,
        };
        Self {
            datagrams_sent: sent.datagrams,
            datagrams_lost: lost,
            datagrams_ignored: received.ignored,
            lost_percent: share * 100.0,
            datagrams_per_second: rate(arrived, received.time) / 8.0,
            jitter_ms: received.jitter_s * 1e3,
        }
    }
}

/// All streams as one: they ran at the same time.
fn sum(results: &Results) -> StreamResult {
    let zero = StreamResult::default();
    results
        .streams
        .iter()
        .fold(zero, |sum, stream| StreamResult {
            bytes: sum.bytes.saturating_add(stream.bytes),
            datagrams: sum.datagrams.saturating_add(stream.datagrams),
            lost: sum.lost.saturating_add(stream.lost),
            ignored: sum.ignored.saturating_add(stream.ignored),
            jitter_s: sum.jitter_s.max(stream.jitter_s),
            time: sum.time.max(stream.time),
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::parameters::Direction;
    use super::*;

    fn results(datagrams: u64, lost: u64) -> Results {
        let stream = StreamResult {
            bytes: datagrams * 1000,
            datagrams,
            lost,
            ignored: 0,
            jitter_s: 0.002,
            time: Duration::from_secs(2),
        };
        Results {
            cpu_percent: Some(50.0),
            streams: vec![stream; 2],
        }
    }

    fn report(transport: Transport, role: Role) -> Report {
        let parameters = Parameters {
            transport,
            direction: Direction::Forward,
            seconds: Some(2),
            streams: 2,
            length: 1000,
            bits_per_second: None,
            wide_counters: true,
        };
        let peer = SocketAddr::from(([10, 99, 0, 2], 5201));
        let (sent, received) = (results(1000, 0), results(990, 90));
        match role {
            Role::Sender => Report::new(peer, &parameters, role, &sent, &received),
            Role::Receiver => Report::new(peer, &parameters, role, &received, &sent),
        }
    }

    #[test]
    fn a_datagram_that_nobody_missed_by_its_counter_is_lost_too() {
        let datagrams = report(Transport::Udp, Role::Sender).sum.datagrams;
        let datagrams = datagrams.expect("UDP");
        assert_eq!(datagrams.datagrams_sent, 2000);
        assert_eq!(datagrams.datagrams_lost, 200);
        assert!((datagrams.lost_percent - 10.0).abs() < 1e-9);
        assert!((datagrams.datagrams_per_second - 900.0).abs() < 1e-9);
        assert!((datagrams.jitter_ms - 2.0).abs() < 1e-9);
    }

    #[test]
    fn both_sides_report_the_same() {
        let (sender, receiver) = (
            report(Transport::Tcp, Role::Sender),
            report(Transport::Tcp, Role::Receiver),
        );
        assert_eq!(sender.sum, receiver.sum);
        assert_eq!(sender.streams, receiver.streams);
        assert_eq!((sender.direction, receiver.direction), ("send", "receive"));
        assert_eq!(sender.sum.datagrams, None);
        assert!((sender.sum.received_bits_per_second - 7.92e6).abs() < 1.0);
    }
}
