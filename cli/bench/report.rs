//! What a test gave, from the view of one side: the table and the JSON come from the same struct.

use std::net::SocketAddr;

use serde::Serialize;

use super::parameters::{Parameters, Role, Transport};
use super::results::{Results, StreamResult, rate};

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
    /// How long this side measured.
    pub seconds: f64,
    /// Bytes of a block or datagram.
    pub length: usize,
    /// Bits a second that each stream was to offer; absent when as many as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_bits_per_second: Option<u64>,
    /// What was carried; of both directions the one from the client to the server.
    #[serde(flatten)]
    pub way: Way,
    /// Of both directions the one from the server to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<Way>,
    /// Processor time of this side's program, in percent of one processor.
    pub cpu_percent_here: Option<f64>,
    /// The same of the other side's.
    pub cpu_percent_there: Option<f64>,
}

/// What was carried in one direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Way {
    /// Whether this side sent (`send`) or received (`receive`).
    pub direction: &'static str,
    /// All streams.
    pub sum: Row,
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
    /// Puts both sides' counts together; `roles` are those of this side, one per stream.
    #[must_use]
    pub fn new(
        peer: SocketAddr,
        parameters: &Parameters,
        roles: &[Role],
        own: &Results,
        theirs: &Results,
    ) -> Self {
        let way = |role| Way::new(parameters.transport, role, roles, own, theirs);
        let first = roles.first().copied().unwrap_or(Role::Sender);
        let other = first.other();
        let time = own.streams.first().map(|stream| stream.time);
        Self {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            node: None,
            transport: parameters.transport,
            seconds: time.unwrap_or_default().as_secs_f64(),
            length: parameters.length,
            offered_bits_per_second: parameters.bits_per_second,
            way: way(first),
            back: roles.contains(&other).then(|| way(other)),
            cpu_percent_here: own.cpu_percent,
            cpu_percent_there: theirs.cpu_percent,
        }
    }
}

impl Way {
    /// The streams with which this side had a role.
    fn new(
        transport: Transport,
        role: Role,
        roles: &[Role],
        own: &Results,
        theirs: &Results,
    ) -> Self {
        let streams = std::iter::zip(&own.streams, &theirs.streams);
        let streams = std::iter::zip(roles, streams).filter(|(of, _)| **of == role);
        let (sent, received): (Vec<StreamResult>, Vec<StreamResult>) = streams
            .map(|(_, (own, theirs))| match role {
                Role::Sender => (*own, *theirs),
                Role::Receiver => (*theirs, *own),
            })
            .unzip();
        let row = |(sent, received)| Row::new(transport, sent, received);
        Self {
            direction: match role {
                Role::Sender => "send",
                Role::Receiver => "receive",
            },
            sum: row((&sum(&sent), &sum(&received))),
            streams: std::iter::zip(&sent, &received).map(row).collect(),
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
fn sum(streams: &[StreamResult]) -> StreamResult {
    let zero = StreamResult::default();
    streams.iter().fold(zero, |sum, stream| StreamResult {
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
            Role::Sender => Report::new(peer, &parameters, &[role; 2], &sent, &received),
            Role::Receiver => Report::new(peer, &parameters, &[role; 2], &received, &sent),
        }
    }

    #[test]
    fn a_datagram_that_nobody_missed_by_its_counter_is_lost_too() {
        let datagrams = report(Transport::Udp, Role::Sender).way.sum.datagrams;
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
        assert_eq!(sender.way.sum, receiver.way.sum);
        assert_eq!(sender.way.streams, receiver.way.streams);
        assert_eq!(
            (sender.way.direction, receiver.way.direction),
            ("send", "receive")
        );
        assert_eq!((sender.back, receiver.back), (None, None));
        assert_eq!(sender.way.sum.datagrams, None);
        assert!((sender.way.sum.received_bits_per_second - 7.92e6).abs() < 1.0);
    }

    #[test]
    fn both_directions_are_told_apart() {
        let parameters = Parameters {
            transport: Transport::Tcp,
            direction: Direction::Both,
            seconds: Some(2),
            streams: 1,
            length: 1000,
            bits_per_second: None,
            wide_counters: true,
        };
        let carried = |bytes: [u64; 2]| Results {
            cpu_percent: None,
            streams: bytes
                .map(|bytes| StreamResult {
                    bytes,
                    ..StreamResult::default()
                })
                .to_vec(),
        };
        let peer = SocketAddr::from(([10, 99, 0, 2], 5201));
        let roles = [Role::Sender, Role::Receiver];

        let report = Report::new(
            peer,
            &parameters,
            &roles,
            &carried([500, 70]),
            &carried([400, 80]),
        );

        let bytes = |way: &Way| (way.direction, way.sum.sent_bytes, way.sum.received_bytes);
        assert_eq!(bytes(&report.way), ("send", 500, 400));
        assert_eq!(report.back.as_ref().map(bytes), Some(("receive", 80, 70)));
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["sum"]["sent_bytes"], 500);
        assert_eq!(json["back"]["sum"]["sent_bytes"], 80);
    }
}
