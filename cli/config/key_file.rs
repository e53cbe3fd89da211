//! Keys in files: base64 of 32 bytes, as the `wg` tool writes them.
//!
//! Refuses a file that others may read, because a private key that others can read is not private.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::source::reason;

/// Decodes one key; `None` unless it is the canonical base64 of 32 bytes.
#[must_use]
pub fn decode_key(text: &str) -> Option<[u8; 32]> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    bytes.as_slice().try_into().ok()
}

/// Encodes one key.
#[must_use]
pub fn encode_key(key: &[u8; 32]) -> String {
    STANDARD.encode(key)
}

/// What is wrong with a key file and what to do.
pub(crate) struct KeyFileError {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

/// Reads one key from a file.
pub(crate) fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let shown = path.display();
    let make = format!("make one with `samctl key gen > {shown}` under umask 077");
    let unreadable = |error: &std::io::Error| KeyFileError {
        message: format!("cannot read key file {shown}: {}", reason(error)),
        help: make.clone(),
    };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE_BYTES {
        let message = format!("{shown} is not a key file");
        return Err(KeyFileError {
            message,
            help: make,
        });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError {
            message: format!("key file {shown} is open to others (mode {mode:04o})"),
            help: format!("run `chmod 600 {shown}`"),
        });
    }
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| unreadable(&error))?;
    match decode_key(text.trim()) {
        Some(key) if key != [0; 32] => Ok(Zeroizing::new(key)),
        Some(_) => Err(KeyFileError {
            message: format!("the key in {shown} is all zeros"),
            help: make,
        }),
        None => Err(KeyFileError {
            message: format!("{shown} does not hold a key (base64 of 32 bytes)"),
            help: make,
        }),
    }
}

/// A key has 45 bytes; room for white space.
const MAX_KEY_FILE_BYTES: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_exactly_32_bytes_of_padded_base64() {
        let key = [7; 32];
        assert_eq!(decode_key(&encode_key(&key)), Some(key));
        let cases = [
            "",
            "AAAA",
            "not base64 at all!",
            &encode_key(&key)[..43],
            &STANDARD.encode([7; 33]),
        ];
        for text in cases {
            assert_eq!(decode_key(text), None, "{text}");
        }
    }
}
