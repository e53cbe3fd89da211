//! Bytes that nobody can guess.

use std::io::Read;

use anyhow::Context;

use crate::StartError;

/// Returns bytes of the kernel's random source.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub(crate) fn kernel_random<const LENGTH: usize>() -> Result<[u8; LENGTH], StartError> {
    let mut bytes = [0; LENGTH];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_follow_from_others() {
        let [one, other] = [(); 2].map(|()| kernel_random::<32>().expect("readable"));
        assert_ne!(one, other);
        assert_ne!(one[..16], one[16..]);
    }
}
