//! Findings for people (text with an excerpt) and for editors (a list of plain values).
//!
//! Both come from the same [`Diagnostic`]s. Every text begins with `severity: file:line:column: message`, so that
//! terminals and editors can jump to the place.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde::Serialize;

use super::finding::{Finding, Findings, Severity};
use super::source::{Sources, Span};

/// All findings of one configuration with the text that they are about.
#[derive(Debug, Clone)]
pub struct Report {
    sources: Sources,
    findings: Vec<Finding>,
}

/// One finding as plain values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// File as the operator named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Report {
    pub(super) fn new(sources: Sources, findings: Findings) -> Self {
        Self {
            sources,
            findings: findings.into_sorted(),
        }
    }

    /// Tells whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns all findings in the order of the text.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.findings
            .iter()
            .map(|finding| self.diagnostic(finding))
            .collect()
    }

    /// Renders all findings with excerpts; `color` for terminals.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut theme = if color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::none()
        };
        theme.characters.error = "error:".into();
        theme.characters.warning = "warning:".into();
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_wrap_lines(false)
            .with_context_lines(1);
        let mut text = String::new();
        for finding in &self.findings {
            let excerpt = Excerpt::new(self, finding);
            handler
                .render_report(&mut text, &excerpt)
                .expect("a string accepts all text");
            text.push('\n');
        }
        text
    }

    fn diagnostic(&self, finding: &Finding) -> Diagnostic {
        let position = self.sources.position(finding.span);
        Diagnostic {
            file: self
                .sources
                .file(finding.span.file)
                .path
                .display()
                .to_string(),
            line: position.line,
            column: position.column,
            severity: finding.severity,
            message: finding.message.clone(),
            help: finding.help.clone(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

/// One finding in the shape that the renderer wants.
#[derive(Debug)]
struct Excerpt {
    diagnostic: Diagnostic,
    source: NamedSource<String>,
    labels: Vec<LabeledSpan>,
}

impl Excerpt {
    fn new(report: &Report, finding: &Finding) -> Self {
        let file = report.sources.file(finding.span.file);
        let source = NamedSource::new(file.path.display().to_string(), file.text.clone());
        let range = |span: Span| (span.start, first_line(&file.text, span));
        let mut labels = vec![LabeledSpan::new_primary_with_span(
            None,
            range(finding.span),
        )];
        if let Some((span, words)) = &finding.related
            && span.file == finding.span.file
        {
            labels.push(LabeledSpan::new_with_span(
                Some(words.clone()),
                range(*span),
            ));
        }
        if file.text.is_empty() {
            labels.clear();
        }
        Self {
            diagnostic: report.diagnostic(finding),
            source,
            labels,
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl std::error::Error for Excerpt {}

impl miette::Diagnostic for Excerpt {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// Length of the part of `span` on its first line: an excerpt shows where to look, not a whole block.
fn first_line(text: &str, span: Span) -> usize {
    let shown = text.get(span.start..span.end).unwrap_or_default();
    shown.lines().next().unwrap_or_default().trim_end().len()
}
