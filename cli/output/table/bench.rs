//! `samctl bench`: what a test gave.

use super::{Page, Text};
use crate::bench::Report;
use crate::bench::parameters::Transport;
use crate::bench::report::{Row, Way};

impl Text for Report {
    fn write(&self, page: &mut Page) {
        let peer = match &self.node {
            Some(node) => format!("{node} ({})", self.peer),
            None => self.peer.to_string(),
        };
        let ways: Vec<&Way> = [Some(&self.way), self.back.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let words: Vec<&str> = ways.iter().map(|way| word(way.direction)).collect();
        let (transport, words) = (name(self.transport), words.join(" and "));
        page.title(format!("{transport} {words} {peer}, {:.1} s", self.seconds));
        let mut rows: Vec<[String; 5]> = Vec::new();
        for way in &ways {
            let title = |what: String| match ways.len() {
                1 => what,
                _ => format!("{}, {what}", word(way.direction)),
            };
            if way.streams.len() > 1 {
                let streams = way.streams.iter().zip(1..);
                rows.extend(
                    streams.map(|(stream, number)| row(title(format!("stream {number}")), stream)),
                );
            }
            rows.push(row(title("all".to_owned()), &way.sum));
        }
        let header = ["", "received/s", "sent", "received", "datagrams"];
        page.table(header, rows, "no streams");
        let percent = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.0} %"))
        };
        page.line(format!(
            "processor: {} here, {} there",
            percent(self.cpu_percent_here),
            percent(self.cpu_percent_there)
        ));
    }
}

fn row(name: String, row: &Row) -> [String; 5] {
    let datagrams = row.datagrams.map_or_else(
        || "-".to_owned(),
        |datagrams| {
            format!(
                "{:.0}/s, {} of {} lost ({:.2} %), jitter {:.3} ms",
                datagrams.datagrams_per_second,
                datagrams.datagrams_lost,
                datagrams.datagrams_sent,
                datagrams.lost_percent,
                datagrams.jitter_ms
            )
        },
    );
    [
        name,
        scaled(row.received_bits_per_second, "bit"),
        scaled_bytes(row.sent_bytes),
        scaled_bytes(row.received_bytes),
        datagrams,
    ]
}

fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    }
}

fn word(direction: &str) -> &'static str {
    if direction == "send" { "to" } else { "from" }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn scaled_bytes(bytes: u64) -> String {
    scaled(bytes as f64, "B")
}

/// Three digits with a decimal prefix.
fn scaled(value: f64, unit: &str) -> String {
    const PREFIXES: [&str; 5] = ["", "k", "M", "G", "T"];
    let mut value = value;
    let mut prefix = 0;
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let digits = match value {
        ..9.995 if prefix > 0 => 2,
        ..99.95 if prefix > 0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}{unit}", PREFIXES[prefix])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_three_digits_with_a_prefix() {
        for (value, text) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (999.9, "1.00 kB"),
            (1_234_000.0, "1.23 MB"),
            (12_340_000.0, "12.3 MB"),
            (4e14, "400 TB"),
            (4e18, "4000000 TB"),
        ] {
            assert_eq!(scaled(value, "B"), text);
        }
    }
}
