//! Keys in files: base64 of 32 bytes, as the `wg` tool writes them, and shared keys of BGP as they are.
//!
//! Refuses a file that others may read, because a private key that others can read is not private.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;

use sam_net::tcp_guard::TCP_KEY_MAX_BYTES;
use sam_router::Secret;
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

/// Reads one key of WireGuard, private or preshared, from a file.
pub(crate) fn read_key<K: FromStr<Err = KeyError>>(path: &Path) -> Result<K, KeyFileError> {
    let shown = path.display();
    let make = format!("make one by `umask 077; samctl key gen > {shown}`");
    let text = read_private(path, &make)?;
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

/// Reads the shared key of a BGP session from a file; the end of its line is not part of it.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, KeyFileError> {
    let shown = path.display();
    let text = read_private(path, &format!("write it by `umask 077; cat > {shown}`"))?;
    let key = text.strip_suffix('\n').unwrap_or(&text);
    check_secret(key.as_bytes().to_vec(), &shown.to_string())
}

/// Takes the shared key of a BGP session over, which comes from `place`.
pub(crate) fn check_secret(key: Vec<u8>, place: &str) -> Result<Secret, KeyFileError> {
    let length = key.len();
    let key = Secret::new(key);
    if (1..=TCP_KEY_MAX_BYTES).contains(&length) {
        return Ok(key);
    }
    Err(KeyFileError {
        message: format!("the key in {place} has {length} bytes"),
        help: format!("TCP takes keys of 1 to {TCP_KEY_MAX_BYTES} bytes"),
    })
}

/// Reads a file that nobody else may read.
fn read_private(path: &Path, make: &str) -> Result<Zeroizing<String>, KeyFileError> {
    let shown = path.display();
    let unreadable = |error: &std::io::Error| KeyFileError {
        message: format!("cannot read key file {shown}: {}", reason(error)),
        help: make.to_owned(),
    };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE_BYTES {
        let message = format!("{shown} is not a key file");
        let help = "name a file that holds one key".into();
        return Err(KeyFileError { message, help });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError {
            message: format!("key file {shown} is open to others (mode {mode:04o})"),
            help: format!("run `chmod 600 {shown}`"),
        });
    }
    let owner = metadata.uid();
    if let Some(user) = effective_user().filter(|user| *user != owner) {
        return Err(not_ours(path, owner, user));
    }
    let text = std::fs::read_to_string(path);
    text.map(Zeroizing::new).map_err(|error| unreadable(&error))
}

/// Root may read a file of somebody else at start only: the router gives that capability up, and a reload would fail.
fn not_ours(path: &Path, owner: u32, user: u32) -> KeyFileError {
    let shown = path.display();
    KeyFileError {
        message: format!(
            "key file {shown} belongs to user {owner}, not to user {user}, who runs this"
        ),
        help: format!("run `chown {user} {shown}`"),
    }
}

/// The effective user of this process; `None` without /proc.
fn effective_user() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|own| own.uid())
}

/// What an unset key looks like.
pub(crate) const ZERO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// A key has 45 bytes; room for white space.
const MAX_KEY_FILE_BYTES: u64 = 1_024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use sam_wg::PrivateKey;

    use super::*;

    #[test]
    fn a_key_file_of_another_user_is_refused_with_the_remedy() {
        if effective_user() != Some(0) {
            eprintln!("skipped: a_key_file_of_another_user_is_refused_with_the_remedy: needs root");
            return;
        }
        let name = format!("samctl-key-owner-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let key = PrivateKey::generate([7; 32]).to_base64();
        std::io::Write::write_all(&mut file.expect("new"), key.as_bytes()).expect("writable");
        let own = read_key::<PrivateKey>(&path);
        std::os::unix::fs::chown(&path, Some(65_534), None).expect("root may");

        let foreign = read_key::<PrivateKey>(&path);

        std::fs::remove_file(&path).expect("ours");
        assert!(own.is_ok());
        let error = foreign.expect_err("refused");
        assert!(
            error.message.contains("belongs to user 65534"),
            "{}",
            error.message
        );
        assert!(error.help.starts_with("run `chown 0 "), "{}", error.help);
    }
}
