//! YAML text to a tree of [`Node`]s. The only file that knows serde-saphyr.
//!
//! Aliases are resolved within the parser's limits; merge keys are refused; repeated keys are kept for the reader,
//! which reports both places.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Spanned};

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
            let message = without_position(&error.to_string());
            let finding = findings.error(Builder { file, text }.span(at), message);
            if text.contains('\t') {
                finding.help("YAML is indented by spaces; this file contains tab characters");
            }
            None
        }
    }
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

    /// A location without byte offsets, or past the end, becomes the nearest character boundary.
    fn span(&self, location: Location) -> Span {
        let offset = |bytes: Option<u64>| {
            bytes
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(0)
        };
        let boundary = |at: usize| {
            (0..=at.min(self.text.len()))
                .rev()
                .find(|at| self.text.is_char_boundary(*at))
                .unwrap_or(0)
        };
        let start = offset(location.span().byte_offset());
        let end = start + offset(location.span().byte_len());
        Span {
            file: self.file,
            start: boundary(start),
            end: boundary(end),
        }
    }
}

/// The parser's sentence without its own `at line …`, which the report adds in its own form.
fn without_position(message: &str) -> String {
    let first = message.lines().next().unwrap_or("this is not YAML");
    let cut = [" at line ", " at <input>"]
        .iter()
        .filter_map(|mark| first.find(mark))
        .min();
    first[..cut.unwrap_or(first.len())]
        .trim_start_matches("error: ")
        .to_owned()
}
