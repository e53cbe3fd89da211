//! Keys in files: base64 of 32 bytes, as the `wg` tool writes them.
//!
//! Refuses a file that others may read, because a private key that others can read is not private.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

use sam_wg::KeyError;
use zeroize::Zeroizing;

use super::source::reason;

/// What is wrong with a key file and what to do.
pub(crate) struct KeyFileError {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
}

/// Reads one key, private or preshared, from a file.
pub(crate) fn read_key<K: FromStr<Err = KeyError>>(path: &Path) -> Result<K, KeyFileError> {
    let shown = path.display();
    let make = format!("make one by `umask 077; samctl key gen > {shown}`");
    let unreadable = |error: &std::io::Error| KeyFileError {
        message: format!("cannot read key file {shown}: {}", reason(error)),
        help: make.clone(),
    };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE_BYTES {
        let message = format!("{shown} is not a key file");
        let help = "name a file that holds one key in base64".into();
        return Err(KeyFileError { message, help });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError {
            message: format!("key file {shown} is open to others (mode {mode:04o})"),
            help: format!("run `chmod 600 {shown}`"),
        });
    }
    let text = std::fs::read_to_string(path);
    let text = text
        .map(Zeroizing::new)
        .map_err(|error| unreadable(&error))?;
    if text.trim() == ZERO_KEY {
        let message = format!("the key in {shown} is all zeros");
        return Err(KeyFileError {
            message,
            help: make,
        });
    }
    text.parse().map_err(|error| KeyFileError {
        message: format!("{shown} does not hold a key: {error}"),
        help: make,
    })
}

/// What an unset key looks like.
pub(crate) const ZERO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// A key has 45 bytes; room for white space.
const MAX_KEY_FILE_BYTES: u64 = 1_024;
