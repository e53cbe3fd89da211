//! The picture of a run: for each event a line per client over time, silent where it heard nothing, with what changed
//! hands; as SVG that reads on light and dark ground.

use std::fmt::Write as _;

use super::report::Report;
use super::timeline::Timeline;

const WIDTH: f64 = 880.0;
/// Where time begins, and how wide it is.
const LEFT: f64 = 190.0;
const SPAN: f64 = 660.0;
const LINE: f64 = 18.0;
const TOP: f64 = 10.0;
/// What is shown of the time before an event.
const BEFORE_MS: f64 = 500.0;
/// Ticks of the axis at most.
const TICKS: f64 = 10.0;
/// Width of a letter of small text, about.
const LETTER: f64 = 5.6;

/// The ground is drawn too, so that a viewer that ignores the color scheme shows dark text on light ground.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.small{font-size:11px}\
.heard{fill:#8b949e}.silent{fill:#cf222e}.mark{stroke:#2f81f7;stroke-width:1.5}.event{stroke:#1f2328;stroke-width:1.5}\
.tick{stroke:#d0d7de}.ground{fill:#fff;stroke:#d0d7de}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.event{stroke:#e6edf3}.silent{fill:#f85149}\
.ground{fill:#0d1117;stroke:#30363d}.tick{stroke:#30363d}}";

/// Draws the events; nothing where none was watched.
pub(crate) fn svg(report: &Report) -> Option<String> {
    let events = worst(report);
    let end = events.iter().map(|event| event.watched.1);
    let scale = Scale::until(end.fold(0.0, f64::max))?;
    let heights = events.iter().map(|event| height(event));
    let body = TOP + heights.sum::<f64>();
    let bottom = body + 3.0 * LINE;
    let title = report.place.title();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {bottom:.0}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{:.0}\" rx=\"6\"/>\n",
        WIDTH - 1.0,
        bottom - 1.0,
    );
    scale.draw(body, &mut out);
    let mut top = TOP;
    for event in events {
        draw(event, &scale, top, &mut out);
        top += height(event);
    }
    let rounds = report.rounds;
    let captions = [
        format!(
            "Seconds since the event; red: no answer to pings every 10 ms. The worst of {rounds} rounds."
        ),
        report.machine.clone(),
    ];
    for (caption, y) in captions.iter().zip([body + LINE * 1.7, body + LINE * 2.6]) {
        let text = escape(caption);
        let _ = writeln!(
            out,
            "<text class=\"small\" x=\"8\" y=\"{y:.0}\">{text}</text>"
        );
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// Of each event the round with the longest silence, in the order in which they happened.
fn worst(report: &Report) -> Vec<&Timeline> {
    let mut worst: Vec<&Timeline> = Vec::new();
    for timeline in &report.timelines {
        let known = worst.iter_mut().find(|known| known.event == timeline.event);
        match known {
            Some(known) if known.longest() < timeline.longest() => *known = timeline,
            Some(_) => {}
            None => worst.push(timeline),
        }
    }
    worst
}

/// A title, the clients, what changed hands.
fn height(event: &Timeline) -> f64 {
    let lines = event.clients.iter().map(|_| LINE).sum::<f64>();
    lines + 2.2 * LINE
}

/// Where a time is.
struct Scale {
    end_ms: f64,
}

impl Scale {
    fn until(end_ms: f64) -> Option<Self> {
        (end_ms > 0.0).then_some(Self { end_ms })
    }

    fn place(&self, ms: f64) -> f64 {
        let share = (ms + BEFORE_MS) / (self.end_ms + BEFORE_MS);
        LEFT + SPAN * share.clamp(0.0, 1.0)
    }

    /// Seconds, with lines through all events.
    fn draw(&self, bottom: f64, out: &mut String) {
        let steps = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0];
        let fits = |step: &&f64| self.end_ms / 1e3 / **step <= TICKS;
        let step = steps.iter().find(fits).copied().unwrap_or(60.0);
        let mut seconds = 0.0;
        while seconds * 1e3 <= self.end_ms {
            let x = self.place(seconds * 1e3);
            let text = format!("{seconds:.1}").replace(".0", "");
            let _ = writeln!(
                out,
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.0}\"/>\
                 <text class=\"small\" x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{text}</text>",
                bottom + LINE * 0.7,
            );
            seconds += step;
        }
    }
}

fn draw(event: &Timeline, scale: &Scale, top: f64, out: &mut String) {
    let _ = writeln!(
        out,
        "<text class=\"title\" x=\"8\" y=\"{:.1}\">{}</text>",
        top + LINE * 0.8,
        escape(&event.event)
    );
    let (first, mut y) = (top + LINE * 1.3, top + LINE * 1.3);
    for client in &event.clients {
        let _ = writeln!(
            out,
            "<text class=\"small\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 10.0,
            escape(&client.name)
        );
        bar(
            "heard",
            4.0,
            (scale.place(event.watched.0), scale.place(event.watched.1)),
            y,
            out,
        );
        for (from, to) in &client.silences {
            bar(
                "silent",
                10.0,
                (scale.place(*from), scale.place(*to)),
                y,
                out,
            );
        }
        y += LINE;
    }
    stroke("event", scale.place(0.0), (first - 3.0, y), out);
    let mut free = LEFT;
    for mark in &event.marks {
        let x = scale.place(mark.at);
        stroke("mark", x, (first - 3.0, y), out);
        let text = escape(&mark.what);
        // Texts never overlap, and stay inside.
        let width = f64::from(u32::try_from(mark.what.chars().count()).unwrap_or(0)) * LETTER;
        let start = x.max(free).min(LEFT + SPAN - width);
        free = start + width + LETTER * 2.0;
        let _ = writeln!(
            out,
            "<text class=\"small\" x=\"{start:.1}\" y=\"{:.1}\">{text}</text>",
            y + LINE * 0.6,
        );
    }
}

fn bar(class: &str, height: f64, (from, to): (f64, f64), y: f64, out: &mut String) {
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height}\"/>",
        y + 6.0 - height / 2.0,
        (to - from).max(1.0),
    );
}

fn stroke(class: &str, x: f64, (from, to): (f64, f64), out: &mut String) {
    let _ = writeln!(
        out,
        "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\"/>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
