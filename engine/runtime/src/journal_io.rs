//! The state file: what operators ordered at run time, and the sequence numbers of owned addresses.
//!
//! What another version wrote there that this one does not know is skipped, so that an older one can follow a newer one.
//! Written whole to a temporary file beside it and renamed, so that a crash leaves the old or the new state.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use sam_router::journal::RuntimeState;
use tracing::warn;

/// Reads the state, and writes it back: a place that cannot be written shows at start, not at the first order.
///
/// # Errors
/// What is wrong with the file, and what would help.
pub(crate) fn open(path: &Path) -> anyhow::Result<RuntimeState> {
    let shown = path.display();
    let (state, unknown) = load(path).with_context(|| {
        format!("cannot read the state file {shown}; repair it, or remove it to forget all orders")
    })?;
    if !unknown.is_empty() {
        warn!(
            path = %shown,
            count = unknown.len(),
            fields = unknown.join(", "),
            "the state file has fields that this version does not know; they are dropped"
        );
    }
    store(path, &state).with_context(|| {
        format!(
            "cannot write the state file {shown}; let this user write there (systemd: StateDirectory=samctl), \
             name another `self.stateFile`, or write `stateFile: none` to forget orders at each restart"
        )
    })?;
    Ok(state)
}

/// Reads the state, and the names of fields that it has besides; a missing file is an empty state.
///
/// # Errors
/// When the file cannot be read or is no state file.
fn load(path: &Path) -> io::Result<(RuntimeState, Vec<String>)> {
    match fs::read(path) {
        Ok(bytes) => {
            parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        }
        // What cannot be there is not there either; writing tells what is in the way.
        Err(error) if is_absent(error.kind()) => Ok((RuntimeState::default(), Vec::new())),
        Err(error) => Err(error),
    }
}

fn parse(bytes: &[u8]) -> anyhow::Result<(RuntimeState, Vec<String>)> {
    let state = serde_json::from_slice(bytes)?;
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    let is_known = |name: &str| RuntimeState::FIELDS.contains(&name);
    // Somebody else's file is not to be overwritten.
    anyhow::ensure!(
        fields.is_empty() || fields.keys().any(|name| is_known(name)),
        "it has no field of a state file"
    );
    let unknown = fields.into_iter().map(|(name, _)| name);
    Ok((state, unknown.filter(|name| !is_known(name)).collect()))
}

fn is_absent(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_state_is_read_back_and_the_folder_made() {
        let folder = folder("good");
        let path = folder.join("deep/er/state.json");
        let mut state = open(&path).expect("made");
        assert_eq!(state, RuntimeState::default());

        state.sequences.insert([10, 77, 60, 10].into(), 7);
        store(&path, &state).expect("written");

        assert_eq!(open(&path).expect("read"), state);
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_with_a_remedy() {
        let folder = folder("bad");
        let file = folder.join("file");
        fs::write(&file, "").expect("writable");
        // A file where a folder is needed stops root too.
        let error = open(&file.join("state.json")).expect_err("no folder");

        let text = format!("{error:#}");
        assert!(
            text.contains("state.json") && text.contains("stateFile"),
            "{text}"
        );
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn a_file_that_is_no_state_is_an_error_and_stays() {
        let folder = folder("foreign");
        let path = folder.join("state.json");
        for content in ["precious", r#"{"precious": 1}"#, r#"{"announced": 1}"#] {
            fs::write(&path, content).expect("writable");

            let text = format!("{:#}", open(&path).expect_err("no state"));

            assert!(
                text.contains("cannot read") && text.contains("remove it"),
                "{text}"
            );
            assert_eq!(fs::read_to_string(&path).expect("there"), content);
        }
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn what_another_version_saved_is_named_once_and_left_out() {
        let folder = folder("later");
        let path = folder.join("state.json");
        let later = r#"{"later": [{"x": 1}], "sequences": {"10.77.60.10": 7}}"#;
        fs::write(&path, later).expect("writable");
        let (state, unknown) = load(&path).expect("a state");
        assert_eq!(state.sequences, [([10, 77, 60, 10].into(), 7)].into());
        assert_eq!(unknown, ["later"]);

        assert_eq!(open(&path).expect("readable"), state);

        assert_eq!(load(&path).expect("written"), (state, Vec::new()));
        fs::remove_dir_all(&folder).expect("ours");
    }

    fn folder(name: &str) -> PathBuf {
        let name = format!("samctl-journal-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("not there yet");
        folder
    }
}
