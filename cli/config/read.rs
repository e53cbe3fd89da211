//! From tree to typed fields, collecting every mistake: the work of a derived deserializer that never gives up.
//!
//! [`mapping!`](crate::config::read::mapping) declares a struct of [`Field`]s; reading one reports unknown keys (with
//! the nearest known one), repeated keys and values of the wrong shape, and carries on. What the values mean
//! together is checked in [`super::lower`].

use super::finding::Findings;
use super::node::{Entry, Node, Value};
use super::source::Span;

/// Makes a value from a node; on failure has reported why.
pub(crate) trait Read: Sized {
    /// Reads the value of `key`.
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self>;
}

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// What.
    pub(crate) value: T,
    /// Where.
    pub(crate) span: Span,
}

/// One key of a mapping.
#[derive(Debug, Clone)]
pub(crate) enum Field<T> {
    /// The key is not in the file.
    Absent,
    /// Its value is wrong, which has been reported.
    Wrong,
    /// Its value.
    Given(At<T>),
}

impl<T> Field<T> {
    /// Returns the value if there is a good one.
    pub(crate) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Returns the value and reports when the key is missing from the mapping at `owner`.
    pub(crate) fn required(
        &self,
        key: &str,
        owner: Span,
        help: &str,
        findings: &mut Findings,
    ) -> Option<&At<T>> {
        if matches!(self, Self::Absent) {
            findings
                .error(owner, format!("`{key}` is missing"))
                .help(help);
        }
        self.given()
    }

    /// Tells whether the key is not in the file.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Clone> Field<T> {
    /// Returns the value, or `default` when there is none.
    pub(crate) fn or(&self, default: T) -> T {
        self.given().map_or(default, |at| at.value.clone())
    }
}

impl<T: Read> Read for Vec<At<T>> {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let found = node.value.describe();
            findings
                .error(node.span, format!("`{key}` must be a list, not {found}"))
                .help(format!("write `{key}: [...]`, or one `- ...` per line"));
            return None;
        };
        let mut values = Vec::new();
        for item in items {
            if let Some(value) = T::read(item, key, findings) {
                values.push(At {
                    value,
                    span: span_of(item),
                });
            }
        }
        Some(values)
    }
}

/// The entries of one mapping, checked against the keys that it may have.
pub(crate) struct Fields<'a> {
    entries: &'a [Entry],
    /// Keys that an unknown one seems to stand for: misspelled, not missing.
    misspelled: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Takes the entries of `node`; reports unknown and repeated keys.
    pub(crate) fn of(
        node: &'a Node,
        key: &str,
        known: &[&'a str],
        findings: &mut Findings,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let found = node.value.describe();
            let owner = owner(key, "`", "`");
            findings
                .error(node.span, format!("{owner} must be a mapping, not {found}"))
                .help(format!("its keys are {}", listed(known)));
            return None;
        };
        let mut misspelled = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if !known.contains(&entry.key.as_str()) {
                misspelled.extend(report_unknown(entry, key, known, findings));
            } else if let Some(first) = entries[..index].iter().find(|other| other.key == entry.key)
            {
                findings
                    .error(entry.key_span, format!("`{}` is given twice", entry.key))
                    .also(first.key_span, "first given here")
                    .help("keep one of the two");
            }
        }
        Some(Self {
            entries,
            misspelled,
        })
    }

    /// Reads the value of one key.
    pub(crate) fn read<T: Read>(&self, key: &str, findings: &mut Findings) -> Field<T> {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == key) else {
            return match self.misspelled.contains(&key) {
                true => Field::Wrong,
                false => Field::Absent,
            };
        };
        if matches!(entry.node.value, Value::Empty) {
            findings
                .error(entry.key_span, format!("`{key}` has no value"))
                .help("give it a value or remove the line");
            return Field::Wrong;
        }
        match T::read(&entry.node, key, findings) {
            Some(value) => Field::Given(At {
                value,
                span: span_of(&entry.node),
            }),
            None => Field::Wrong,
        }
    }
}

/// Where a message about the whole value points: for a mapping, at its first key.
pub(crate) fn span_of(node: &Node) -> Span {
    match &node.value {
        Value::Map(entries) => entries.first().map_or(node.span, |entry| entry.key_span),
        Value::Empty | Value::Text(_) | Value::List(_) => node.span,
    }
}

/// Declares a mapping of the file: a struct of fields, its keys and how to read it.
macro_rules! mapping {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$field_meta:meta])* $key:literal => $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            $($(#[$field_meta])* pub(crate) $field: Field<$type>,)*
        }

        impl Read for $name {
            fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
                let fields = Fields::of(node, key, &[$($key),*], findings)?;
                Some(Self { $($field: fields.read($key, findings),)* })
            }
        }
    };
}
pub(crate) use mapping;

/// Renders a list of words as `a`, `b` and `c`.
pub(crate) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Finds the known word that a typing error most likely meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let wanted = word.to_lowercase().replace(['-', '_'], "");
    let distance = |candidate: &str| {
        strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase().replace('-', ""))
    };
    let best = known
        .iter()
        .copied()
        .min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= (wanted.chars().count() / 3).max(1)).then_some(best)
}

/// Reports an unknown key and returns the known one that it seems to stand for.
fn report_unknown<'a>(
    entry: &Entry,
    key: &str,
    known: &[&'a str],
    findings: &mut Findings,
) -> Option<&'a str> {
    let message = format!("unknown key `{}`{}", entry.key, owner(key, " in `", "`"));
    let meant = nearest(&entry.key, known);
    let help = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("its keys are {}", listed(known)),
    };
    findings.error(entry.key_span, message).help(help);
    meant
}

/// Names a mapping; the outermost one has no key.
fn owner(key: &str, before: &str, after: &str) -> String {
    match key {
        "" if before == "`" => "the file".into(),
        "" => String::new(),
        key => format!("{before}{key}{after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_a_strange_word_finds_none() {
        let known = ["privateKeyFile", "node", "owned", "proxy-arp"];
        assert_eq!(nearest("privatKeyFile", &known), Some("privateKeyFile"));
        assert_eq!(nearest("private_key_file", &known), Some("privateKeyFile"));
        assert_eq!(nearest("proxyarp", &known), Some("proxy-arp"));
        assert_eq!(nearest("ndoe", &known), Some("node"));
        assert_eq!(nearest("colour", &known), None);
    }

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        assert_eq!(listed(&["a"]), "`a`");
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
