//! The picture of a run: one panel of bars per question, as SVG that reads on light and dark ground.

use std::fmt::Write as _;

use super::results::{Key, Results};

/// A panel: title, offloads, case, value, digits after the point.
type Panel = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    usize,
);

const PANELS: [Panel; 6] = [
    ("TCP, 1 stream, Gbit/s", "whole", "tcp-1", "gbit_s", 2),
    (
        "the same, every packet real on the wire",
        "wire",
        "tcp-1",
        "gbit_s",
        2,
    ),
    ("TCP, 4 streams, Gbit/s", "whole", "tcp-4", "gbit_s", 2),
    ("UDP 64 B, thousand packets/s", "whole", "udp-64", "kpps", 0),
    (
        "processor seconds per GB (less is better)",
        "whole",
        "tcp-1",
        "cpu_s_per_gb",
        2,
    ),
    (
        "round trip p99 under load, µs (less is better)",
        "whole",
        "loaded",
        "rtt_p99_us",
        0,
    ),
];

const COLUMNS: usize = 2;
const WIDTH: usize = 880;
const PANEL_WIDTH: usize = WIDTH / COLUMNS;
/// Where bars begin within a panel, and the longest of them.
const BAR_LEFT: usize = 172;
const BAR_LONGEST: f64 = 190.0;
const LINE: usize = 20;
const TOP: usize = 16;

/// The ground is drawn too, so that a viewer that ignores the color scheme shows dark text on light ground.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.small{font-size:11px}\
.bar{fill:#8b949e}.ours{fill:#2f81f7}.ground{fill:#fff;stroke:#d0d7de}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117;stroke:#30363d}}";

/// Draws it.
pub(crate) fn svg(results: &Results) -> String {
    let panel_height = LINE * (results.systems.len() + 2);
    let panels_height = panel_height * PANELS.len().div_ceil(COLUMNS);
    let method = results.method();
    let captions: Vec<&str> = method
        .split("; ")
        .chain(["All on one machine: read ratios."])
        .collect();
    let height = TOP + panels_height + (captions.len() + 1) * LINE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Throughput, cost and latency of samctl beside other tunnels</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n",
        WIDTH - 1,
        height - 1,
    );
    for (index, panel) in PANELS.iter().enumerate() {
        let left = index % COLUMNS * PANEL_WIDTH;
        let top = TOP + index / COLUMNS * panel_height;
        let _ = writeln!(out, "<g transform=\"translate({left} {top})\">");
        draw(results, *panel, &mut out);
        out.push_str("</g>\n");
    }
    for (index, caption) in captions.iter().enumerate() {
        let y = height - LINE * (captions.len() - index) + LINE / 3;
        let text = escape(caption);
        let _ = writeln!(out, "<text class=\"small\" x=\"8\" y=\"{y}\">{text}</text>");
    }
    out.push_str("</svg>\n");
    out
}

fn draw(results: &Results, (title, offloads, case, value, digits): Panel, out: &mut String) {
    let _ = writeln!(
        out,
        "<text class=\"title\" x=\"8\" y=\"{LINE}\">{}</text>",
        escape(title)
    );
    let key = Key {
        offloads,
        case,
        value,
    };
    let medians: Vec<Option<f64>> = results
        .systems
        .iter()
        .map(|system| results.median(key, &system.name))
        .collect();
    let largest = medians.iter().flatten().copied().fold(0.0, f64::max);
    for (index, (system, median)) in results.systems.iter().zip(&medians).enumerate() {
        let base = LINE * (index + 2);
        let class = if system.name.starts_with("samctl") {
            "bar ours"
        } else {
            "bar"
        };
        let name_end = BAR_LEFT - 8;
        let _ = writeln!(
            out,
            "<text x=\"{name_end}\" y=\"{base}\" text-anchor=\"end\">{}</text>",
            escape(&system.name)
        );
        let length = match median {
            Some(median) if largest > 0.0 => median / largest * BAR_LONGEST,
            Some(_) | None => 0.0,
        };
        let label = median.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"));
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{BAR_LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"12\" rx=\"2\"/>\
             <text x=\"{:.1}\" y=\"{base}\">{label}</text>",
            base - 11,
            f64::from(u32::try_from(BAR_LEFT).unwrap_or(0)) + length + 6.0,
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
