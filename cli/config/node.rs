//! A configuration file as a tree of values with their places, the same for YAML and TOML.
//!
//! Scalars stay text: the schema decides what `no` or `1.10` means, not the notation. The tree is strict about
//! nothing; [`super::read`] is.

use super::source::Span;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where.
    pub(crate) span: Span,
    /// What.
    pub(crate) value: Value,
}

/// The shapes that both notations share.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing after the colon.
    Empty,
    /// A scalar, with the spelling of the file.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file; keys may repeat.
    Map(Vec<Entry>),
}

/// One key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key is written.
    pub(crate) key_span: Span,
    /// Its value.
    pub(crate) node: Node,
}

impl Value {
    /// Names the shape for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Empty => "nothing".into(),
            Self::Text(text) => format!("`{}`", shorten(text)),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a mapping".into(),
        }
    }
}

/// Cuts a value so that it fits a message line.
fn shorten(text: &str) -> String {
    let line = text.lines().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= SHOWN_CHARACTERS {
        return line;
    }
    line.chars().take(SHOWN_CHARACTERS).chain(['…']).collect()
}

const SHOWN_CHARACTERS: usize = 60;
