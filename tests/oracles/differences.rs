//! The known differences: `differences.md`, one row each, with the reason.

use std::fs;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    oracle: String,
    difference: String,
    /// Whether the default number of messages shows it.
    pub(crate) in_every_run: bool,
}

impl Row {
    fn read(row: &str, in_every_run: bool) -> Self {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", oracle, difference, reason, ""] = cells[..] else {
            panic!("not three cells: {row}");
        };
        assert!(reason.contains("RFC "), "no RFC: {row}");
        Self {
            oracle: oracle.to_owned(),
            difference: difference.to_owned(),
            in_every_run,
        }
    }

    /// Tells whether the row lists a difference; a `*` at its end stands for any rest.
    pub(crate) fn lists(&self, oracle: &str, difference: &str) -> bool {
        let same = match self.difference.strip_suffix('*') {
            Some(start) => difference.starts_with(start),
            None => difference == self.difference,
        };
        same && self.oracle == oracle
    }
}

/// Reads the table.
pub(crate) fn known() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/differences.md");
    let text = fs::read_to_string(path).expect("table of differences");
    let (usual, rare) = text
        .split_once("## Seen in longer runs")
        .expect("two tables");
    let usual = rows(usual).map(|row| Row::read(row, true));
    usual
        .chain(rows(rare).map(|row| Row::read(row, false)))
        .collect()
}

/// The rows of a table, without its head.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with("| ")).skip(1)
}
