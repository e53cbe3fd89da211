//! The messages of iperf3's control connection as bytes: cookie, states, JSON behind its length, refusals.
//!
//! Nothing here reads or writes a socket. The protocol has no RFC; the values are those of iperf3's `iperf_api.h`.
//! Every byte from the network is hostile until parsed: a length is checked before memory is taken for it.

use serde::Serialize;
use serde_json::Value;

/// Bytes of a cookie: 36 characters and a zero.
pub const COOKIE_BYTES: usize = 37;
/// The cookie that a client sends at the head of the control connection and of each TCP stream.
pub type Cookie = [u8; COOKIE_BYTES];

/// Longest JSON that is accepted, in bytes; results of 128 streams in each direction take two thirds of it.
pub const MAX_JSON_BYTES: usize = 128 << 10;

/// What one side tells the other by a single byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum State {
    /// All streams are there.
    TestStart = 1,
    /// The sender may send.
    TestRunning = 2,
    /// The client has seen enough.
    TestEnd = 4,
    /// The client shall send its parameters.
    ParamExchange = 9,
    /// The client shall open its streams.
    CreateStreams = 10,
    /// The server goes away.
    ServerTerminate = 11,
    /// The client goes away.
    ClientTerminate = 12,
    /// Both sides send what they counted, the client first.
    ExchangeResults = 13,
    /// Nothing more will be asked.
    DisplayResults = 14,
    /// The client is done.
    IperfDone = 16,
    /// The server measures with somebody else.
    AccessDenied = -1,
    /// The server refuses; two numbers follow.
    ServerError = -2,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A byte that is no state.
    #[error("{0} is no state of the iperf3 protocol")]
    State(u8),
    /// A JSON text that would be too long.
    #[error("a message of {0} bytes is longer than the {MAX_JSON_BYTES} that are accepted")]
    Length(u32),
    /// A JSON text that does not say what it must.
    #[error("unreadable {what}: {why}")]
    Json {
        /// What the text should be.
        what: &'static str,
        /// What the parser says.
        why: String,
    },
    /// A value outside of its bounds.
    #[error("{what} must be {bounds}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What it may be.
        bounds: &'static str,
    },
}

impl State {
    /// Its byte on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        (self as i8).to_ne_bytes()[0]
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// When no state that matters to us has this byte.
    pub fn parse(byte: u8) -> Result<Self, Malformed> {
        const ALL: [State; 12] = [
            State::TestStart,
            State::TestRunning,
            State::TestEnd,
            State::ParamExchange,
            State::CreateStreams,
            State::ServerTerminate,
            State::ClientTerminate,
            State::ExchangeResults,
            State::DisplayResults,
            State::IperfDone,
            State::AccessDenied,
            State::ServerError,
        ];
        ALL.into_iter()
            .find(|state| state.byte() == byte)
            .ok_or(Malformed::State(byte))
    }
}

/// Makes a cookie from random bytes, of iperf3's alphabet.
#[must_use]
pub fn cookie(random: &[u8; COOKIE_BYTES - 1]) -> Cookie {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut cookie = [0; COOKIE_BYTES];
    for (character, byte) in cookie.iter_mut().zip(random) {
        *character = ALPHABET[usize::from(byte % 32)];
    }
    cookie
}

/// Puts a document behind its length (4 bytes, big endian).
#[must_use]
pub fn json_frame(document: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_vec(document).expect("own documents have text keys only");
    let length = u32::try_from(text.len()).expect("own documents are far below 4 GiB");
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(text);
    frame
}

/// Reads the length of a document.
///
/// # Errors
/// When it is above [`MAX_JSON_BYTES`].
pub fn json_length(head: [u8; 4]) -> Result<usize, Malformed> {
    let length = u32::from_be_bytes(head);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= MAX_JSON_BYTES => Ok(bytes),
        Ok(_) | Err(_) => Err(Malformed::Length(length)),
    }
}

/// Reads a document; `what` names it in the error.
///
/// # Errors
/// When it is no JSON or not of the expected form.
pub fn json<T: serde::de::DeserializeOwned>(
    text: &[u8],
    what: &'static str,
) -> Result<T, Malformed> {
    // iperf3 counts the zero at the end in some versions.
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    serde_json::from_slice(text).map_err(|error| Malformed::Json {
        what,
        why: error.to_string(),
    })
}

/// The number behind [`State::ServerError`] for parameters that we cannot serve (iperf3: IEUNIMP).
pub const NOT_IMPLEMENTED: u32 = 13;
/// The same for parameters that we cannot read (iperf3: IERECVPARAMS).
pub const UNREADABLE_PARAMETERS: u32 = 114;

/// What a server says when it refuses: the state and two numbers, the second one the system's errno.
#[must_use]
pub fn server_error(number: u32) -> [u8; 9] {
    let mut bytes = [0; 9];
    bytes[0] = State::ServerError.byte();
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Words for the numbers that a server sends with [`State::ServerError`].
#[must_use]
pub fn refusal(numbers: [u8; 8]) -> String {
    let number = u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]);
    let errno = u32::from_be_bytes([numbers[4], numbers[5], numbers[6], numbers[7]]);
    match (number, errno) {
        (NOT_IMPLEMENTED, _) => "it does not implement this test (iperf3 error 13)".to_owned(),
        (_, 0) => format!("iperf3 error {number}"),
        (_, _) => format!("iperf3 error {number}, system error {errno}"),
    }
}

/// A number that iperf3 may write as an integer or with a fraction; anything else is none.
#[must_use]
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_bytes_of_iperf3() {
        let cases = [
            (State::TestStart, 1),
            (State::TestRunning, 2),
            (State::TestEnd, 4),
            (State::ParamExchange, 9),
            (State::CreateStreams, 10),
            (State::ServerTerminate, 11),
            (State::ClientTerminate, 12),
            (State::ExchangeResults, 13),
            (State::DisplayResults, 14),
            (State::IperfDone, 16),
            (State::AccessDenied, 0xff),
            (State::ServerError, 0xfe),
        ];
        for (state, byte) in cases {
            assert_eq!(state.byte(), byte);
            assert_eq!(State::parse(byte), Ok(state));
        }
        let known = cases.map(|(_, byte)| byte);
        for byte in (0..=255).filter(|byte| !known.contains(byte)) {
            assert_eq!(State::parse(byte), Err(Malformed::State(byte)));
        }
    }

    #[test]
    fn a_document_stands_behind_its_length() {
        let frame = json_frame(&serde_json::json!({ "tcp": true }));
        assert_eq!(frame, b"\0\0\0\x0c{\"tcp\":true}");
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_anything_is_read() {
        let bound = u32::try_from(MAX_JSON_BYTES).expect("small");
        assert_eq!(json_length(bound.to_be_bytes()), Ok(MAX_JSON_BYTES));
        let above = bound + 1;
        assert_eq!(
            json_length(above.to_be_bytes()),
            Err(Malformed::Length(above))
        );
        assert_eq!(json_length([0xff; 4]), Err(Malformed::Length(u32::MAX)));
    }

    #[test]
    fn texts_that_are_no_json_are_refused() {
        let nested = b"[".repeat(100_000);
        for text in [&b""[..], b"{", b"\xff\xfe", b"{\"a\":1}x", &nested] {
            let parsed: Result<Value, Malformed> = json(text, "results");
            assert!(matches!(parsed, Err(Malformed::Json { .. })));
        }
        assert!(json::<Value>(b"{}\0", "results").is_ok());
    }

    #[test]
    fn a_cookie_is_36_characters_and_a_zero() {
        let mut random = [0; 36];
        for (byte, value) in random.iter_mut().zip(0_u8..) {
            *byte = value.wrapping_mul(37);
        }
        let cookie = cookie(&random);
        assert_eq!(cookie[36], 0);
        assert!(cookie[..36].iter().all(u8::is_ascii_alphanumeric));
    }

    #[test]
    fn a_refusal_says_its_numbers() {
        let bytes = server_error(NOT_IMPLEMENTED);
        let numbers = bytes[1..].try_into().expect("eight bytes");
        assert!(refusal(numbers).contains("not implement"));
        assert!(refusal([0, 0, 0, 114, 0, 0, 0, 2]).contains("114, system error 2"));
    }
}
