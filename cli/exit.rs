//! Exit codes and failures: one code per kind of trouble, so that scripts need no text.

use std::fmt::Write;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// How a verb ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Tried and failed, or the router refused.
    Failed = 1,
    /// The command line or a configuration file is wrong.
    Usage = 2,
    /// No router answers on the control socket.
    Unreachable = 3,
    /// The router, or the kernel, does not permit it.
    NotPermitted = 4,
    /// A check of `samctl doctor` failed.
    ChecksFailed = 5,
    /// Did not happen in time.
    TimedOut = 6,
}

/// Why a verb failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Kind of trouble.
    pub exit: Exit,
    /// What failed, one sentence in lower case.
    pub error: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// The JSON form of a failure, here and in answers of the control API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What failed.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Failure {
    /// Makes a failure without remedy.
    #[must_use]
    pub fn new(exit: Exit, error: impl Into<String>) -> Self {
        Self {
            exit,
            error: error.into(),
            remedy: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Renders it for people.
    #[must_use]
    pub fn text(&self, color: bool) -> String {
        let (on, off) = if color {
            ("\u{1b}[1;31m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        let mut text = format!("{on}error:{off} {}\n", self.error);
        if let Some(remedy) = &self.remedy {
            writeln!(text, "  help: {remedy}").expect("a string accepts all text");
        }
        text
    }

    /// Renders it for programs.
    #[must_use]
    pub fn json(&self) -> String {
        let body = ErrorBody {
            error: self.error.clone(),
            remedy: self.remedy.clone(),
        };
        serde_json::to_string(&body).expect("texts are always valid JSON")
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<std::io::Error> for Failure {
    /// A closed pipe is the reader's wish, not trouble.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, "the reader went away");
        }
        Self::new(Exit::Failed, format!("cannot write the output: {error}"))
    }
}
