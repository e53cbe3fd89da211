//! YAML text to a tree of [`Node`]s. The only file that knows serde-saphyr.
//!
//! Aliases are resolved within the parser's limits; merge keys are refused; repeated keys are kept for the reader,
//! which reports both places.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Spanned, UserMessageFormatter};

use super::finding::Findings;
use super::node::{Entry, Node, Value};
use super::source::{Sources, Span};

/// Parses one file; `None` after reporting the first syntax error.
pub(crate) fn parse(sources: &Sources, file: usize, findings: &mut Findings) -> Option<Node> {
    let text = &sources.file(file).text;
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Yaml>>(text, options) {
        Ok(root) => Some(Builder { file, text }.node(root)),
        Err(error) => {
            let at = error.location().unwrap_or(Location::UNKNOWN);
            let (message, help) = describe(&error, text);
            let finding = findings.error(Builder { file, text }.span(at), message);
            if let Some(help) = help {
                finding.help(help);
            }
            None
        }
    }
}

/// Parses one file into a type of its own; `None` after reporting the first mistake.
pub(crate) fn typed<T: DeserializeOwned>(
    sources: &Sources,
    file: usize,
    findings: &mut Findings,
) -> Option<T> {
    let text = &sources.file(file).text;
    let options = serde_saphyr::options! {
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<T>(text, options) {
        Ok(value) => Some(value),
        Err(error) => {
            let at = error.location().unwrap_or(Location::UNKNOWN);
            let (message, help) = describe(&error, text);
            let finding = findings.error(Builder { file, text }.span(at), message);
            if let Some(help) = help {
                finding.help(help);
            }
            None
        }
    }
}

/// Puts a syntax error into an operator's words: the parser's, unless they are meant for programmers.
fn describe(error: &serde_saphyr::Error, text: &str) -> (String, Option<&'static str>) {
    let rendered = error.render_with_formatter(&UserMessageFormatter);
    let first = rendered.lines().next().unwrap_or_default();
    let cut = [" at line ", " at <input>"]
        .iter()
        .filter_map(|mark| first.find(mark))
        .min();
    let message = first[..cut.unwrap_or(first.len())]
        .trim_start_matches("error: ")
        .to_owned();
    let known: [(&str, &'static str); 4] = [
        (
            "mapping values are not allowed",
            "indent this key exactly like the keys above it",
        ),
        (
            "YAML document expected",
            "a configuration is one document; remove the line `---`",
        ),
        ("merge key", "write the keys out; `<<` is not supported"),
        (
            "quoted scalar",
            "a quotation mark is missing, here or earlier",
        ),
    ];
    let help = known
        .iter()
        .find(|(mark, _)| message.contains(mark))
        .map(|(_, help)| *help);
    let tabs = text
        .lines()
        .any(|line| line.trim_start_matches(' ').starts_with('\t'));
    (
        message,
        if tabs {
            Some("YAML is indented by spaces; remove the tab characters")
        } else {
            help
        },
    )
}

/// Any YAML value.
enum Yaml {
    /// A scalar that is text already.
    Text(String),
    /// A scalar that the parser took for a number, a truth value or nothing; its spelling is in the file.
    Typed,
    /// A sequence.
    List(Vec<Spanned<Yaml>>),
    /// A mapping.
    Map(Vec<(Spanned<String>, Spanned<Yaml>)>),
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Yaml, E> {
        Ok(Yaml::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Yaml, E> {
        Ok(Yaml::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Yaml, E> {
        Ok(Yaml::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Yaml, E> {
        Ok(Yaml::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Yaml, E> {
        Ok(Yaml::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Yaml, E> {
        Ok(Yaml::Typed)
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Typed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Yaml, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Yaml::Map(map))
    }
}

/// Turns parser locations into spans of one file.
struct Builder<'a> {
    file: usize,
    text: &'a str,
}

impl Builder<'_> {
    fn node(&self, yaml: Spanned<Yaml>) -> Node {
        let span = self.span(yaml.referenced);
        let value = match yaml.value {
            Yaml::Text(text) => Value::Text(text),
            Yaml::Typed => {
                let defined = self.span(yaml.defined);
                match self.text[defined.start..defined.end].trim() {
                    "" => Value::Empty,
                    spelling => Value::Text(spelling.to_owned()),
                }
            }
            Yaml::List(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            Yaml::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry {
                        key_span: self.span(key.referenced),
                        key: key.value,
                        node: self.node(value),
                    })
                    .collect(),
            ),
        };
        Node { span, value }
    }

    /// Syntax errors come without byte offsets; they are found by line and column.
    fn span(&self, location: Location) -> Span {
        let bytes = location.span();
        let start = bytes
            .byte_offset()
            .map_or_else(|| self.offset(location), index);
        let end = start + bytes.byte_len().map_or(0, index);
        Span {
            file: self.file,
            start: self.boundary(start),
            end: self.boundary(end),
        }
    }

    fn offset(&self, location: Location) -> usize {
        let line = index(location.line()).saturating_sub(1);
        let column = index(location.column()).saturating_sub(1);
        let mut lines = self.text.split_inclusive('\n');
        let before: usize = lines.by_ref().take(line).map(str::len).sum();
        let within = lines.next().unwrap_or_default().char_indices().nth(column);
        before + within.map_or(0, |(at, _)| at)
    }

    /// The nearest character boundary within the text.
    fn boundary(&self, at: usize) -> usize {
        (0..=at.min(self.text.len()))
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0)
    }
}

/// A file is smaller than the address space.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
