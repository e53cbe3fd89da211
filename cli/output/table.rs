//! Text for people, made from the same values as the JSON: a page of titles, pairs and tables.
//!
//! Headers name units. Colors only mark verdicts (good, look at it, bad) and carry no meaning of their own.

mod arp;
mod bench;
mod bfd;
mod bgp;
mod bgp_table;
mod captures;
mod counters;
mod decode;
mod discovery;
mod doctor;
mod drain;
mod events;
mod explain;
mod monitor;
mod mrt;
mod owners;
mod policy;
mod rehearsal;
mod routes;
mod status;
mod test;
mod trace;
mod tunnels;
mod vrrp;

use std::fmt::Display;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Table};
use sam_router::view::{CheckStatus, NodeRef};

pub use decode::decoded_text;
pub use events::event_line;
pub use monitor::monitor_line;
pub use mrt::mrt_line;

/// A view that can be shown as text.
pub trait Text {
    /// Writes itself onto a page.
    fn write(&self, page: &mut Page);

    /// Renders itself.
    fn text(&self, color: bool) -> String {
        let mut page = Page::new(color);
        self.write(&mut page);
        page.finish()
    }
}

/// Text under construction.
#[derive(Debug)]
pub struct Page {
    text: String,
    color: bool,
}

/// What a color says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Good,
    /// Look at it.
    Attention,
    /// Broken.
    Bad,
    /// Of no interest.
    Dim,
    /// A heading.
    Strong,
}

impl Page {
    fn new(color: bool) -> Self {
        Self {
            text: String::new(),
            color,
        }
    }

    fn finish(self) -> String {
        self.text
    }

    /// Adds a line.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref().trim_end());
        self.text.push('\n');
    }

    /// Adds a heading, after an empty line unless it is the first.
    pub fn title(&mut self, title: impl AsRef<str>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let title = self.marked(Mark::Strong, title.as_ref());
        self.line(title);
    }

    /// Adds names and values, aligned.
    pub fn pairs(&mut self, pairs: &[(&str, String)]) {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in pairs {
            self.line(format!("{name:width$}  {value}"));
        }
    }

    /// Adds a table, or a line when there are no rows.
    pub fn table<const N: usize>(&mut self, header: [&str; N], rows: Vec<[String; N]>, none: &str) {
        if rows.is_empty() {
            self.line(none);
            return;
        }
        self.grid(header, rows);
    }

    /// Adds a table whose columns depend on the values.
    pub fn grid(
        &mut self,
        header: impl IntoIterator<Item = impl Into<Cell>>,
        rows: impl IntoIterator<Item = impl IntoIterator<Item = impl Into<Cell>>>,
    ) {
        let header: Vec<Cell> = header.into_iter().map(Into::into).collect();
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().map(Into::into).collect::<Vec<Cell>>());
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(header).add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.line(line);
        }
    }

    /// Colors a text when the page has colors.
    #[must_use]
    pub fn marked(&self, mark: Mark, text: &str) -> String {
        colored(self.color, mark, text)
    }
}

/// Colors a text for a terminal.
pub(crate) fn colored(color: bool, mark: Mark, text: &str) -> String {
    let code = match mark {
        Mark::Good => "32",
        Mark::Attention => "33",
        Mark::Bad => "1;31",
        Mark::Dim => "2",
        Mark::Strong => "1",
    };
    if color {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// An optional value; a dash when there is none.
fn optional<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// A duration given in seconds, in its two largest units.
fn ago(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".into();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let whole = std::time::Duration::from_secs_f64(seconds.min(MAX_SECONDS)).as_secs();
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match whole {
        0..60 => format!("{whole}s"),
        60..3_600 => format!("{minutes}m{:02}s", whole % 60),
        3_600..86_400 => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

fn optional_ago(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".into(), ago)
}

fn node(node: &NodeRef) -> String {
    node.name.clone()
}

fn optional_node(node: Option<&NodeRef>) -> String {
    node.map_or_else(|| "-".into(), |node| node.name.clone())
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

fn words<T: Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "-".into();
    }
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn status_mark(status: CheckStatus) -> Mark {
    match status {
        CheckStatus::Skip => Mark::Dim,
        CheckStatus::Pass => Mark::Good,
        CheckStatus::Warn => Mark::Attention,
        CheckStatus::Fail => Mark::Bad,
    }
}

fn status_word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Skip => "skip",
        CheckStatus::Pass => "pass",
        CheckStatus::Warn => "warn",
        CheckStatus::Fail => "fail",
    }
}

/// A thousand years.
const MAX_SECONDS: f64 = 3.2e10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_their_two_largest_units() {
        let cases = [
            (0.0, "0.0s"),
            (0.26, "0.3s"),
            (9.94, "9.9s"),
            (10.0, "10s"),
            (59.9, "59s"),
            (60.0, "1m00s"),
            (3_725.0, "1h02m"),
            (90_061.0, "1d01h"),
            (f64::NAN, "-"),
            (-1.0, "-"),
            (f64::MAX, "370370d08h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(ago(seconds), text);
        }
    }

    #[test]
    fn colors_appear_only_when_wanted() {
        assert_eq!(colored(false, Mark::Bad, "x"), "x");
        assert_eq!(colored(true, Mark::Bad, "x"), "\u{1b}[1;31mx\u{1b}[0m");
    }
}
