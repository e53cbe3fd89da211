//! What one side counted, and its form on the wire.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::message::{self, Malformed, number};
use super::parameters::MAX_STREAMS;

/// What one side counted in a whole test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// Time that the process spent on processors, in percent of one of them; `None` when it is not known.
    pub cpu_percent: Option<f64>,
    /// One row per stream, in the order in which they were opened.
    pub streams: Vec<StreamResult>,
}

/// What one side counted of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StreamResult {
    /// Payload sent or received.
    pub bytes: u64,
    /// Datagrams sent, at a receiver as far as it knows; 0 for TCP.
    pub datagrams: u64,
    /// Datagrams that a receiver missed; 0 at a sender.
    pub lost: u64,
    /// Datagrams that came and were none of this test; known at the receiver only.
    pub ignored: u64,
    /// Jitter at a receiver, in seconds.
    pub jitter_s: f64,
    /// How long it was measured.
    pub time: Duration,
}

impl Results {
    /// The document for the other side.
    #[must_use]
    pub fn document(&self) -> Value {
        let streams: Vec<Value> = self
            .streams
            .iter()
            .enumerate()
            .map(|(index, stream)| stream.document(stream_id(index)))
            .collect();
        let cpu = self.cpu_percent.unwrap_or(0.0);
        json!({
            "cpu_util_total": cpu,
            "cpu_util_user": cpu,
            "cpu_util_system": 0.0,
            "sender_has_retransmits": 0,
            "streams": streams,
        })
    }

    /// Reads the document of the other side.
    ///
    /// # Errors
    /// When it cannot be read or has more streams than a test can have.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let wire: Wire = message::json(text, "results")?;
        if wire.streams.len() > 2 * usize::from(MAX_STREAMS) {
            return Err(Malformed::Value {
                what: "the number of streams in the results",
                bounds: "at most 128 in each direction",
            });
        }
        let streams = wire.streams.iter().map(WireStream::result);
        Ok(Self {
            cpu_percent: number(&wire.cpu_util_total).filter(|percent| *percent >= 0.0),
            streams: streams.collect::<Result<_, _>>()?,
        })
    }

    /// Payload of all streams.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.streams
            .iter()
            .fold(0, |sum, stream| sum.saturating_add(stream.bytes))
    }
}

impl StreamResult {
    fn document(&self, id: usize) -> Value {
        json!({
            "id": id,
            "bytes": self.bytes,
            "retransmits": -1,
            "jitter": self.jitter_s,
            "errors": self.lost,
            "omitted_errors": 0,
            "packets": self.datagrams,
            "omitted_packets": 0,
            "start_time": 0,
            "end_time": self.time.as_secs_f64(),
        })
    }

    /// Payload per second, in bits; 0 when no time passed.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        rate(self.bytes, self.time)
    }
}

/// Bits a second; 0 when no time passed.
#[must_use]
pub fn rate(bytes: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate of 15 digits is enough")]
    let bits = bytes as f64 * 8.0;
    bits / time.as_secs_f64()
}

/// iperf3 numbers streams 1, 3, 4, 5 …: the second one takes the number after the next.
fn stream_id(index: usize) -> usize {
    if index == 0 { 1 } else { index + 2 }
}

#[derive(Debug, Deserialize)]
struct Wire {
    #[serde(default)]
    cpu_util_total: Value,
    streams: Vec<WireStream>,
}

#[derive(Debug, Deserialize)]
struct WireStream {
    bytes: Value,
    #[serde(default)]
    jitter: Value,
    #[serde(default)]
    errors: Value,
    #[serde(default)]
    packets: Value,
    #[serde(default)]
    end_time: Value,
}

impl WireStream {
    fn result(&self) -> Result<StreamResult, Malformed> {
        let seconds = number(&self.end_time).filter(|seconds| (0.0..1e9).contains(seconds));
        Ok(StreamResult {
            bytes: self.bytes.as_u64().ok_or(Malformed::Value {
                what: "the bytes of a stream",
                bounds: "a number from 0",
            })?,
            // A receiver of iperf3 may count below zero when datagrams come twice.
            datagrams: self.packets.as_u64().unwrap_or(0),
            lost: self.errors.as_u64().unwrap_or(0),
            ignored: 0,
            jitter_s: number(&self.jitter).unwrap_or(0.0).max(0.0),
            time: Duration::from_secs_f64(seconds.unwrap_or(0.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_sends_the_other_reads() {
        let results = Results {
            cpu_percent: Some(97.5),
            streams: vec![
                StreamResult {
                    bytes: 12_345_678_901,
                    datagrams: 1000,
                    lost: 3,
                    ignored: 0,
                    jitter_s: 0.000_25,
                    time: Duration::from_millis(2500),
                };
                4
            ],
        };
        let text = results.document().to_string();
        assert_eq!(Results::parse(text.as_bytes()), Ok(results));
    }

    #[test]
    fn streams_have_the_numbers_of_iperf3() {
        let results = Results {
            streams: vec![StreamResult::default(); 4],
            ..Results::default()
        };
        let ids: Vec<Value> = results.document()["streams"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|stream| stream["id"].clone())
            .collect();
        assert_eq!(ids, [1, 3, 4, 5]);
    }

    #[test]
    fn malformed_results_are_refused() {
        let many = format!(
            r#"{{"streams":[{}]}}"#,
            vec![r#"{"bytes":1}"#; 257].join(",")
        );
        for text in [
            "",
            "{}",
            r#"{"streams":7}"#,
            r#"{"streams":[{}]}"#,
            r#"{"streams":[{"bytes":-1}]}"#,
            r#"{"streams":[{"bytes":"many"}]}"#,
            &many,
        ] {
            assert!(Results::parse(text.as_bytes()).is_err(), "{text:.60}");
        }
    }

    #[test]
    fn strange_numbers_become_none_or_zero() {
        let text = r#"{"cpu_util_total":-5,"streams":[
            {"bytes":1,"jitter":-1,"errors":-2,"packets":-3,"end_time":1e300}]}"#;
        let results = Results::parse(text.as_bytes()).expect("good enough");
        assert_eq!(results.cpu_percent, None);
        let expected = StreamResult {
            bytes: 1,
            ..StreamResult::default()
        };
        assert_eq!(results.streams, [expected]);
    }

    #[test]
    fn sums_saturate() {
        let stream = StreamResult {
            bytes: u64::MAX,
            ..StreamResult::default()
        };
        let results = Results {
            streams: vec![stream; 2],
            ..Results::default()
        };
        assert_eq!(results.bytes(), u64::MAX);
        assert!(stream.bits_per_second().abs() < f64::EPSILON);
    }
}
