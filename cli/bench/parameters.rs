//! What is measured: transport, direction, time, streams, sizes – and its form on the wire.

use serde::Deserialize;
use serde_json::{Value, json};

use super::message::{self, Malformed, number};

/// Most streams of one test, as in iperf3.
pub const MAX_STREAMS: u8 = 128;
/// Longest test, in seconds, as in iperf3.
pub const MAX_SECONDS: u32 = 86_400;
/// Largest block of TCP, in bytes, as in iperf3.
pub const MAX_TCP_LENGTH: usize = 1 << 20;
/// Smallest datagram: its header with a counter of 64 bits.
pub const MIN_UDP_LENGTH: usize = 16;
/// Largest datagram over IPv4.
pub const MAX_UDP_LENGTH: usize = 65_507;

/// What carries the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A byte stream.
    Tcp,
    /// Datagrams that are counted.
    Udp,
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The client sends.
    Forward,
    /// The server sends.
    Reverse,
    /// Both do at the same time, each with streams of its own.
    Both,
}

/// What one side does with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends.
    Sender,
    /// Receives.
    Receiver,
}

/// One test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// What carries the data.
    pub transport: Transport,
    /// Who sends.
    pub direction: Direction,
    /// Length of the test in seconds; `None` when the client ends it by other means.
    pub seconds: Option<u32>,
    /// Number of streams in each direction.
    pub streams: u8,
    /// Bytes of a block or datagram.
    pub length: usize,
    /// Bits a second that each stream offers; `None` sends as fast as it can.
    pub bits_per_second: Option<u64>,
    /// Whether datagrams carry counters of 64 bits instead of 32.
    pub wide_counters: bool,
}

/// Why a server does not take a test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It asks for something that we do not do.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

impl Transport {
    /// The length of a block when none is asked for.
    #[must_use]
    pub fn default_length(self) -> usize {
        match self {
            Self::Tcp => 128 << 10,
            // An overlay of MTU 1280 carries it whole.
            Self::Udp => 1232,
        }
    }

    /// Tells whether a block may have this length.
    ///
    /// # Errors
    /// What it may be.
    pub fn check_length(self, length: usize) -> Result<usize, Malformed> {
        let (range, bounds) = match self {
            Self::Tcp => (1..=MAX_TCP_LENGTH, "1 to 1048576 bytes with TCP"),
            Self::Udp => (
                MIN_UDP_LENGTH..=MAX_UDP_LENGTH,
                "16 to 65507 bytes with UDP",
            ),
        };
        if range.contains(&length) {
            return Ok(length);
        }
        Err(Malformed::Value {
            what: "the length",
            bounds,
        })
    }
}

impl Role {
    /// What the other side does with the same stream.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

impl Parameters {
    /// What the client does with each stream, in the order in which it opens them.
    #[must_use]
    pub fn roles_of_client(&self) -> Vec<Role> {
        let ways: &[Role] = match self.direction {
            Direction::Forward => &[Role::Sender],
            Direction::Reverse => &[Role::Receiver],
            Direction::Both => &[Role::Sender, Role::Receiver],
        };
        let streams = usize::from(self.streams);
        let each = ways.iter().map(|role| std::iter::repeat_n(*role, streams));
        each.flatten().collect()
    }

    /// The document that a client sends.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut document = json!({
            "omit": 0,
            "time": self.seconds.unwrap_or(0),
            "num": 0,
            "blockcount": 0,
            "parallel": self.streams,
            "len": self.length,
            "pacing_timer": 1000,
            "client_version": concat!("samctl ", env!("CARGO_PKG_VERSION")),
        });
        let mut set = |key: &str, value: Value| document[key] = value;
        match self.transport {
            Transport::Tcp => set("tcp", true.into()),
            Transport::Udp => set("udp", true.into()),
        }
        match self.direction {
            Direction::Forward => {}
            Direction::Reverse => set("reverse", true.into()),
            Direction::Both => set("bidirectional", true.into()),
        }
        if let Some(rate) = self.bits_per_second {
            set("bandwidth", rate.into());
        }
        if self.transport == Transport::Udp && self.wide_counters {
            set("udp_counters_64bit", 1.into());
        }
        document
    }

    /// Reads the document of a client.
    ///
    /// # Errors
    /// When it cannot be read, is out of bounds, or asks for what we do not do.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let wire: Wire = message::json(text, "parameters")?;
        let transport = wire.transport()?;
        wire.refuse_what_we_do_not()?;
        let direction = wire.direction()?;
        let length = match whole("the length", &wire.len, MAX_TCP_LENGTH as u64)? {
            0 => transport.default_length(),
            length => usize::try_from(length).unwrap_or(usize::MAX),
        };
        let rate = whole("the bit rate", &wire.bandwidth, MAX_RATE)?;
        Ok(Self {
            transport,
            direction,
            seconds: wire.seconds()?,
            streams: wire.streams()?,
            length: transport.check_length(length)?,
            bits_per_second: (rate > 0).then_some(rate),
            wide_counters: wire.udp_counters_64bit.is_some(),
        })
    }
}

/// The fields that matter.
#[derive(Debug, Deserialize)]
struct Wire {
    #[serde(default)]
    tcp: bool,
    #[serde(default)]
    udp: bool,
    #[serde(default)]
    sctp: bool,
    #[serde(default)]
    reverse: bool,
    #[serde(default)]
    bidirectional: bool,
    #[serde(default)]
    omit: Value,
    #[serde(default)]
    time: Value,
    #[serde(default)]
    parallel: Value,
    #[serde(default)]
    len: Value,
    #[serde(default)]
    bandwidth: Value,
    udp_counters_64bit: Option<Value>,
    authtoken: Option<Value>,
    /// Socket buffer, `-w`.
    window: Option<Value>,
    /// `-M`
    #[serde(rename = "MSS")]
    mss: Option<Value>,
    /// `-S`
    #[serde(rename = "TOS")]
    tos: Option<Value>,
    /// Congestion control, `-C`.
    congestion: Option<Value>,
    /// Pacing by the kernel, `--fq-rate`.
    fqrate: Option<Value>,
}

impl Wire {
    fn transport(&self) -> Result<Transport, Refusal> {
        match (self.tcp, self.udp, self.sctp) {
            (true, false, false) => Ok(Transport::Tcp),
            (false, true, false) => Ok(Transport::Udp),
            (_, _, true) => Err(Refusal::Unsupported("SCTP")),
            (_, _, false) => Err(Malformed::Value {
                what: "the transport",
                bounds: "either tcp or udp",
            }
            .into()),
        }
    }

    fn direction(&self) -> Result<Direction, Malformed> {
        match (self.reverse, self.bidirectional) {
            (false, false) => Ok(Direction::Forward),
            (true, false) => Ok(Direction::Reverse),
            (false, true) => Ok(Direction::Both),
            (true, true) => Err(Malformed::Value {
                what: "the direction",
                bounds: "either reverse or bidirectional",
            }),
        }
    }

    fn refuse_what_we_do_not(&self) -> Result<(), Refusal> {
        if whole("omit", &self.omit, u64::from(MAX_SECONDS))? > 0 {
            return Err(Refusal::Unsupported("omitting the first seconds"));
        }
        if self.authtoken.is_some() {
            return Err(Refusal::Unsupported("authentication"));
        }
        match self.tuning_of_sender() {
            Some(what) if self.reverse || self.bidirectional => Err(Refusal::Unsupported(what)),
            Some(_) | None => Ok(()),
        }
    }

    /// What only the sender's own side can heed: a figure without it would not be the one that was asked for.
    fn tuning_of_sender(&self) -> Option<&'static str> {
        let tunings = [
            (&self.window, "a socket buffer of the server"),
            (&self.mss, "a segment size of the server"),
            (&self.tos, "a type of service of the server"),
            (&self.congestion, "a congestion control of the server"),
            (&self.fqrate, "pacing by the server's kernel"),
        ];
        let asked = tunings.into_iter().find(|(value, _)| value.is_some())?;
        Some(asked.1)
    }

    fn seconds(&self) -> Result<Option<u32>, Malformed> {
        let seconds = whole("the time", &self.time, u64::from(MAX_SECONDS))?;
        let seconds = u32::try_from(seconds).unwrap_or(MAX_SECONDS);
        Ok((seconds > 0).then_some(seconds))
    }

    fn streams(&self) -> Result<u8, Malformed> {
        let streams = if self.parallel.is_null() {
            1
        } else {
            whole("the number of streams", &self.parallel, u64::MAX)?
        };
        u8::try_from(streams)
            .ok()
            .filter(|streams| (1..=MAX_STREAMS).contains(streams))
            .ok_or(Malformed::Value {
                what: "the number of streams",
                bounds: "1 to 128",
            })
    }
}

/// Reads a number that is not negative; absent means 0.
fn whole(what: &'static str, value: &Value, most: u64) -> Result<u64, Malformed> {
    let bounds = "a number from 0 to its bound";
    let wrong = Malformed::Value { what, bounds };
    if value.is_null() {
        return Ok(0);
    }
    let whole = value.as_u64().or_else(|| {
        // Beyond 2^53 a number with a fraction is out of all bounds anyway.
        let number = number(value).filter(|number| (0.0..9e15).contains(number))?;
        format!("{number:.0}").parse().ok()
    });
    whole.filter(|whole| *whole <= most).ok_or(wrong)
}

/// A terabit a second: more is a mistake.
pub const MAX_RATE: u64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: Parameters = Parameters {
        transport: Transport::Udp,
        direction: Direction::Reverse,
        seconds: Some(7),
        streams: 4,
        length: 484,
        bits_per_second: Some(5_000_000),
        wide_counters: true,
    };

    fn parse(text: &str) -> Result<Parameters, Refusal> {
        Parameters::parse(text.as_bytes())
    }

    #[test]
    fn what_a_client_sends_a_server_reads() {
        let tcp = Parameters {
            transport: Transport::Tcp,
            direction: Direction::Forward,
            seconds: Some(10),
            streams: 1,
            length: 131_072,
            bits_per_second: None,
            wide_counters: false,
        };
        let both = Parameters {
            direction: Direction::Both,
            ..tcp
        };
        for parameters in [UDP, tcp, both] {
            assert_eq!(
                parse(&parameters.document().to_string()),
                Ok(parameters),
                "{}",
                parameters.document()
            );
        }
    }

    #[test]
    fn the_parameters_of_iperf_3_12_are_read() {
        let text = r#"{"tcp":true,"omit":0,"time":2,"num":0,"blockcount":0,"parallel":4,"reverse":true,
            "len":131072,"bandwidth":1e+09,"pacing_timer":1000,"client_version":"3.12"}"#;
        let parameters = parse(text).expect("good");
        assert_eq!(parameters.streams, 4);
        assert_eq!(parameters.direction, Direction::Reverse);
        assert_eq!(parameters.bits_per_second, Some(1_000_000_000));
        assert_eq!(parameters.seconds, Some(2));
    }

    #[test]
    fn a_test_that_ends_by_bytes_has_no_time() {
        let parameters = parse(r#"{"tcp":true,"time":0,"num":1000000}"#).expect("good");
        assert_eq!(parameters.seconds, None);
    }

    #[test]
    fn what_we_do_not_do_is_refused_by_name() {
        for (text, word) in [
            (r#"{"sctp":true}"#, "SCTP"),
            (r#"{"tcp":true,"omit":2}"#, "omitting"),
            (r#"{"tcp":true,"authtoken":"x"}"#, "authentication"),
            (r#"{"tcp":true,"reverse":true,"window":65536}"#, "buffer"),
            (r#"{"tcp":true,"reverse":true,"MSS":600}"#, "segment size"),
            (r#"{"tcp":true,"reverse":true,"TOS":32}"#, "service"),
            (
                r#"{"tcp":true,"reverse":true,"congestion":"reno"}"#,
                "congestion",
            ),
            (r#"{"tcp":true,"bidirectional":true,"fqrate":1}"#, "pacing"),
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(matches!(refusal, Refusal::Unsupported(_)), "{text}");
            assert!(refusal.to_string().contains(word), "{refusal}");
        }
    }

    #[test]
    fn a_client_opens_the_streams_that_it_sends_on_first() {
        let roles = |direction| {
            let parameters = Parameters {
                direction,
                streams: 2,
                ..UDP
            };
            parameters.roles_of_client()
        };
        let (send, receive) = (Role::Sender, Role::Receiver);
        assert_eq!(roles(Direction::Forward), [send, send]);
        assert_eq!(roles(Direction::Reverse), [receive, receive]);
        assert_eq!(roles(Direction::Both), [send, send, receive, receive]);
    }

    #[test]
    fn a_client_that_sends_tunes_itself() {
        let text =
            r#"{"tcp":true,"window":65536,"MSS":600,"TOS":32,"congestion":"reno","fqrate":1000}"#;
        assert_eq!(
            parse(text).map(|parameters| parameters.direction),
            Ok(Direction::Forward)
        );
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for text in [
            "",
            "7",
            "[]",
            "{}",
            r#"{"tcp":true,"udp":true}"#,
            r#"{"tcp":true,"reverse":true,"bidirectional":true}"#,
            r#"{"tcp":1}"#,
            r#"{"tcp":true,"parallel":0}"#,
            r#"{"tcp":true,"parallel":129}"#,
            r#"{"tcp":true,"parallel":-1}"#,
            r#"{"tcp":true,"parallel":1e300}"#,
            r#"{"tcp":true,"parallel":"four"}"#,
            r#"{"tcp":true,"len":1048577}"#,
            r#"{"udp":true,"len":15}"#,
            r#"{"udp":true,"len":65508}"#,
            r#"{"tcp":true,"time":86401}"#,
            r#"{"tcp":true,"bandwidth":-5}"#,
            r#"{"tcp":true,"bandwidth":1e30}"#,
        ] {
            let refusal = parse(text).expect_err(text);
            assert!(matches!(refusal, Refusal::Malformed(_)), "{text}");
        }
    }
}
