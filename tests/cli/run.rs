//! Helpers: run a command line within this process, run the binary, compare with a file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use samctl::Streams;
use samctl::exit::Exit;

/// What a command line printed.
pub(crate) struct Printed {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command line within this process, without color.
pub(crate) fn run(args: &[&str]) -> Printed {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        stdin: &mut std::io::empty(),
        stdout: &mut stdout,
        stderr: &mut stderr,
        color_stdout: false,
        color_stderr: false,
    };
    let args = std::iter::once("samctl")
        .chain(args.iter().copied())
        .map(OsString::from);
    let exit = samctl::main_with(args, &mut streams);
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Printed {
        exit,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// Prepares the real binary, with no socket and no terminal.
pub(crate) fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samctl"));
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("SAMCTL_SOCKET")
        .env_remove("NO_COLOR");
    command
}

/// Returns the exit code, standard output and standard error of a finished process.
pub(crate) fn finished(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    let code = output.status.code().expect("not killed");
    (code, text(output.stdout), text(output.stderr))
}

/// Compares a text with a file and returns the difference; under `UPDATE_EXPECT=1` rewrites the file.
pub(crate) fn difference(path: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, actual).expect("expected file is writable");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    (expected != actual).then(|| {
        let path = path.display();
        format!("{path}\n--- expected\n{expected}\n--- actual\n{actual}")
    })
}

/// Returns a folder of this repository.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Makes an empty folder for one test; it stays for a look at it until the next run.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).expect("scratch folder is removable");
    }
    std::fs::create_dir_all(&path).expect("scratch folder is creatable");
    path
}

/// Lists the files of a folder with one of some endings, in order.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let ending = |path: &Path| {
        path.extension()
            .map(|ending| ending.to_string_lossy().into_owned())
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("folder is readable")
        .map(|entry| entry.expect("entry is readable").path())
        .filter(|path| ending(path).is_some_and(|ending| endings.contains(&ending.as_str())))
        .collect();
    files.sort();
    files
}

/// A file that goes away.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let file = format!("samctl-cli-{}-{name}.yaml", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, text).expect("written");
        Self(path)
    }

    pub(crate) fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
