//! TOML text to the same tree of [`Node`]s. The only file that knows the `toml` crate.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::Findings;
use super::node::{Entry, Node, Value};
use super::source::{Sources, Span};

/// Parses one file; `None` after reporting all syntax errors.
pub(crate) fn parse(sources: &Sources, file: usize, findings: &mut Findings) -> Option<Node> {
    let (root, errors) = DeTable::parse_recoverable(&sources.file(file).text);
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        findings.error(
            Span {
                file,
                start: range.start,
                end: range.end,
            },
            error.message(),
        );
    }
    errors.is_empty().then(|| {
        let range = root.span();
        table(
            file,
            Span {
                file,
                start: range.start,
                end: range.end,
            },
            root.get_ref(),
        )
    })
}

fn node(file: usize, value: &Spanned<DeValue<'_>>) -> Node {
    let span = Span {
        file,
        start: value.span().start,
        end: value.span().end,
    };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Text(number.to_string()),
        DeValue::Float(number) => Value::Text(number.to_string()),
        DeValue::Boolean(value) => Value::Text(value.to_string()),
        DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(file, item)).collect()),
        DeValue::Table(entries) => return table(file, span, entries),
    };
    Node { span, value }
}

/// Entries come sorted from the parser; the order of the file is the order of the places.
fn table(file: usize, span: Span, entries: &DeTable<'_>) -> Node {
    let mut entries: Vec<Entry> = entries
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: Span {
                file,
                start: key.span().start,
                end: key.span().end,
            },
            node: node(file, value),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span);
    Node {
        span,
        value: Value::Map(entries),
    }
}
