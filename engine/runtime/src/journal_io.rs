//! The state file: what operators ordered at run time, and the sequence numbers of owned addresses.
//!
//! Written whole to a temporary file beside it and renamed, so that a crash leaves the old or the new state.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sam_router::journal::RuntimeState;

/// Reads the state; a missing file is an empty state.
///
/// # Errors
/// When the file cannot be read or is no state file.
pub(crate) fn load(path: &Path) -> io::Result<RuntimeState> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RuntimeState::default()),
        Err(error) => Err(error),
    }
}

/// Replaces the state.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn store(path: &Path, state: &RuntimeState) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(state)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
