//! `samctl key gen` and `samctl key pub`: the same texts as `wg genkey` and `wg pubkey`.

use std::fs::File;
use std::io::Read;

use sam_wg::PrivateKey;
use zeroize::Zeroizing;

use crate::Streams;
use crate::args::KeyCommand;
use crate::exit::{Exit, Failure};

/// Makes or converts a key.
///
/// # Errors
/// When no randomness can be read, or standard input holds no key.
pub fn key(command: &KeyCommand, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Gen => {
            let key = PrivateKey::generate(*random()?);
            writeln!(streams.stdout, "{}", *key.to_base64())?;
        }
        KeyCommand::Pub => {
            let key = read_private_key(streams.stdin)?;
            writeln!(streams.stdout, "{}", key.public())?;
        }
    }
    Ok(Exit::Ok)
}

/// Reads randomness of the system.
///
/// # Errors
/// When there is none.
pub(super) fn random() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut *bytes))
        .map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot read /dev/urandom: {error}"))
        })?;
    Ok(bytes)
}

fn read_private_key(stdin: &mut dyn Read) -> Result<PrivateKey, Failure> {
    let mut text = Zeroizing::new(String::new());
    let refuse = |reason: String| {
        Failure::new(
            Exit::Usage,
            format!("standard input holds no private key: {reason}"),
        )
        .remedy("for example `samctl key pub < wg.key`")
    };
    stdin
        .take(MAX_INPUT_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| refuse(error.to_string()))?;
    text.parse()
        .map_err(|error: sam_wg::KeyError| refuse(error.to_string()))
}

/// A key has 45 bytes; room for white space.
const MAX_INPUT_BYTES: u64 = 1_024;
