//! `samctl bgp decode [HEX|-]`: what bytes say, and what this router would make of them; needs no router.

use std::io::Read;

use sam_bgp::wire::{DecodeContext, Ipv6Context};

use crate::Streams;
use crate::args::{DecodeArgs, Format};
use crate::decode::{Verdict, decode};
use crate::exit::{Exit, Failure};
use crate::output::{decoded_text, machine};

/// Takes messages apart; exit 5 unless all of them are accepted.
///
/// # Errors
/// When the input holds no bytes, or the output cannot be written.
pub fn bgp_decode(
    args: &DecodeArgs,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let bytes = match args.hex.as_deref() {
        None | Some("-") => read(streams.stdin)?,
        Some(text) => hex(text)?,
    };
    if bytes.is_empty() {
        return Err(no_bytes("there are none"));
    }
    let context = DecodeContext {
        four_octet_as: !args.two_octet_as,
        ibgp: !args.external,
        add_path: args.add_path,
        // A message is as long as it says: what was agreed on is not known here.
        extended: true,
        ipv6: Some(Ipv6Context {
            add_path: args.add_path,
        }),
    };
    let view = decode(&bytes, context);
    let json = || {
        serde_json::to_value(&view)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot print as JSON: {error}")))
    };
    let text = match format {
        Format::Table => decoded_text(&view, &bytes, streams.color_stdout),
        Format::Json => machine::json(&json()?),
        Format::Yaml => machine::yaml(&json()?)?,
    };
    streams.stdout.write_all(text.as_bytes())?;
    streams.stdout.flush()?;
    let mut messages = view.messages.iter();
    Ok(
        if messages.all(|message| message.verdict == Verdict::Accepted) {
            Exit::Ok
        } else {
            Exit::ChecksFailed
        },
    )
}

/// Reads hexadecimal text, or bytes as they are: these begin with a marker (RFC 4271 section 4.1).
fn read(input: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    input
        .take(MAX_INPUT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| no_bytes(&format!("standard input cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_INPUT_BYTES) {
        return Err(no_bytes("more than 1 MiB"));
    }
    if bytes.starts_with(&[0xff; 16]) {
        return Ok(bytes);
    }
    hex(&String::from_utf8_lossy(&bytes))
}

/// Reads hexadecimal digits; spaces, line ends, colons, commas and `0x` may stand between bytes.
fn hex(text: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let between = |c: char| c.is_whitespace() || matches!(c, ':' | ',' | '.' | '-');
    for word in text.split(between).filter(|word| !word.is_empty()) {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(no_bytes(&format!("'{word}' is not hexadecimal")));
        }
        if !digits.len().is_multiple_of(2) {
            return Err(no_bytes(&format!("'{word}' has an odd number of digits")));
        }
        let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
        bytes.extend(pairs.map(|[high, low]| value(*high) << 4 | value(*low)));
    }
    Ok(bytes)
}

/// The value of a hexadecimal digit.
fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

fn no_bytes(reason: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("these are no bytes to decode: {reason}"),
    )
    .remedy("give hexadecimal digits, or `-` and bytes or digits on standard input")
}

const MAX_INPUT_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_may_be_grouped_as_tools_do() {
        for text in ["ff00 1a", "ff:00:1A", "0xff, 0x00, 0x1a", "ff00\n1a\n"] {
            assert_eq!(hex(text), Ok(vec![0xff, 0, 0x1a]), "{text}");
        }
        for text in ["f", "fg", "ff 0", "+1", "ffé0"] {
            assert!(hex(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_with_a_marker_are_taken_as_they_are() {
        let message = [&[0xff; 16][..], &[0, 19, 4]].concat();
        assert_eq!(read(&mut message.as_slice()), Ok(message.clone()));
        assert_eq!(read(&mut &b"ff 00"[..]), Ok(vec![0xff, 0]));
        let long = vec![0xff; (1 << 20) + 1];
        assert!(read(&mut long.as_slice()).is_err());
    }
}
