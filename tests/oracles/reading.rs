//! What a codec makes of one message, in terms that all codecs share.
//!
//! Faults carry a label of a few words. It names a kind of fault, never its details, so that a table can list it.

/// What becomes of the message (RFC 7606 section 2), from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Its routes stand, perhaps without some attributes.
    Accepted,
    /// Its routes count as withdrawn.
    Withdrawn,
    /// The session ends.
    Reset,
}

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it makes of the message.
    pub(crate) class: Class,
    /// Attribute type code; 0 when it concerns no single attribute.
    pub(crate) kind: u8,
    /// Names the kind of fault.
    pub(crate) label: String,
}

/// What a codec makes of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// All complaints.
    pub(crate) faults: Vec<Fault>,
    /// The message as the codec would send it on; `None` when it understood nothing.
    pub(crate) understood: Option<Vec<u8>>,
    /// Code of the NOTIFICATION, where the codec names one. Subcodes depend on which of several faults is found first.
    pub(crate) notification: Option<u8>,
}

impl Reading {
    /// Makes the reading of a message that cannot be survived.
    pub(crate) fn reset(label: String, notification: Option<u8>) -> Self {
        let fault = Fault {
            class: Class::Reset,
            kind: 0,
            label,
        };
        Self {
            faults: vec![fault],
            understood: None,
            notification,
        }
    }

    /// Returns the strongest class of all complaints (RFC 7606 section 3 h).
    pub(crate) fn class(&self) -> Class {
        let classes = self.faults.iter().map(|fault| fault.class);
        classes.max().unwrap_or(Class::Accepted)
    }
}

/// Makes a label of a text: numbers, what stands in brackets and what follows a semicolon are details.
pub(crate) fn label(text: &str) -> String {
    let mut depth = 0_u32;
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => break,
            _ if depth > 0 => {}
            '|' => plain.push('/'),
            _ => plain.push(character),
        }
    }
    let numeric = |word: &str| word.contains(|character: char| character.is_ascii_digit());
    let words = plain.split_whitespace();
    let words = words.map(|word| if numeric(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Makes a label of a `Debug` text: the names of the outer enum variants in it.
pub(crate) fn variants(debug: &str) -> String {
    const DEPTH: usize = 4;
    let words = debug.split(|character: char| !character.is_ascii_alphanumeric());
    words
        .filter(|word| word.starts_with(|first: char| first.is_ascii_uppercase()))
        .take(DEPTH)
        .collect::<Vec<_>>()
        .join(" ")
}
