//! What is wrong with a configuration: collected first, printed together.
//!
//! Readers and checks push into [`Findings`] and carry on, so that one run names every mistake. Printing is in
//! [`super::report`]; here is only the list.

use super::source::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, and the operator should look at it.
    Warning,
}

/// One mistake at one place.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Where.
    pub(crate) span: Span,
    /// What is wrong, naming the value; lower case, one line.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) help: Option<String>,
    /// A second place that matters, with its words.
    pub(crate) related: Option<(Span, String)>,
}

/// All mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
}

impl Finding {
    /// Adds what to write instead.
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place.
    pub(crate) fn also(&mut self, span: Span, words: impl Into<String>) -> &mut Self {
        self.related = Some((span, words.into()));
        self
    }
}

impl Findings {
    /// Records an error and returns it for more detail.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Error, span, message.into())
    }

    /// Records a warning and returns it for more detail.
    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Warning, span, message.into())
    }

    /// Tells whether an error was recorded.
    #[must_use]
    pub(crate) fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Counts errors, to see whether a check found some: what depends on it then stays silent.
    #[must_use]
    pub(crate) fn errors(&self) -> usize {
        let is_error = |finding: &&Finding| finding.severity == Severity::Error;
        self.list.iter().filter(is_error).count()
    }

    /// Returns everything in the order of the text.
    #[must_use]
    pub(crate) fn into_sorted(mut self) -> Vec<Finding> {
        self.list
            .sort_by(|a, b| (a.span, &a.message).cmp(&(b.span, &b.message)));
        self.list
    }

    fn push(&mut self, severity: Severity, span: Span, message: String) -> &mut Finding {
        self.list.push(Finding {
            severity,
            span,
            message,
            help: None,
            related: None,
        });
        self.list.last_mut().expect("an element was just pushed")
    }
}
