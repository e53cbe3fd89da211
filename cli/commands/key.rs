//! `samctl key gen` and `samctl key pub`: the same texts as `wg genkey` and `wg pubkey`.

use std::fs::File;
use std::io::Read;

use sam_wg::PrivateKey;
use zeroize::Zeroizing;

use crate::Streams;
use crate::args::KeyCommand;
use crate::config::{decode_key, encode_key};
use crate::exit::{Exit, Failure};

/// Makes or converts a key.
///
/// # Errors
/// When no randomness can be read, or standard input holds no key.
pub fn key(command: &KeyCommand, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let text = match command {
        KeyCommand::Gen => Zeroizing::new(encode_key(&*private_key()?)),
        KeyCommand::Pub => {
            let key = PrivateKey(*read_private_key(streams.stdin)?);
            Zeroizing::new(encode_key(&key.public().0))
        }
    };
    writeln!(streams.stdout, "{}", *text)?;
    Ok(Exit::Ok)
}

/// Draws a key and clamps it (RFC 7748 section 5), as `wg genkey` does.
fn private_key() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut key = Zeroizing::new([0; 32]);
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut *key))
        .map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot read /dev/urandom: {error}"))
        })?;
    key[0] &= 248;
    key[31] = (key[31] & 127) | 64;
    Ok(key)
}

fn read_private_key(stdin: &mut dyn Read) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = stdin.take(MAX_INPUT_BYTES).read_to_string(&mut text);
    let key = read
        .ok()
        .and_then(|_| decode_key(text.trim()))
        .map(Zeroizing::new);
    key.ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "standard input holds no private key (base64 of 32 bytes)",
        )
        .remedy("for example `samctl key pub < wg.key`")
    })
}

/// A key has 45 bytes; room for white space.
const MAX_INPUT_BYTES: u64 = 1_024;
