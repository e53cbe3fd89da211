//! `samctl trace`: the stages of a packet and its verdict.

use sam_router::view::{
    LiveTraceView, StageResult, TraceOutcome, TraceQuery, TraceStage, TraceVerdict, TraceView,
};

use super::events::utc;
use super::{Mark, Page, Text};

impl Text for TraceView {
    fn write(&self, page: &mut Page) {
        let TraceQuery { from, to, .. } = self.query;
        page.title(format!(
            "{from} to {to}, by generation {}; nothing was sent",
            self.generation
        ));
        way(page, &self.stages, &self.verdict);
    }
}

impl Text for LiveTraceView {
    fn write(&self, page: &mut Page) {
        let Self { from, to, what, .. } = self;
        page.title(format!(
            "{} {from} to {to}, {what}, {} bytes",
            utc(self.time),
            self.length
        ));
        way(page, &self.stages, &self.verdict);
    }
}

fn way(page: &mut Page, stages: &[TraceStage], verdict: &TraceVerdict) {
    let width = stages.iter().map(|stage| stage.name.len()).max();
    let width = width.unwrap_or(0);
    for (number, stage) in (1..).zip(stages) {
        let mark = match stage.result {
            StageResult::Pass => Mark::Good,
            StageResult::Drop => Mark::Bad,
            StageResult::Note => Mark::Dim,
        };
        let result = page.marked(mark, stage.result.name());
        page.line(format!(
            "{number:2}. {:width$}  {result}  {}",
            stage.name, stage.text
        ));
    }
    let mark = match verdict.outcome {
        TraceOutcome::Forwarded | TraceOutcome::Delivered => Mark::Good,
        TraceOutcome::Waits | TraceOutcome::LeftToKernel => Mark::Attention,
        TraceOutcome::Dropped => Mark::Bad,
    };
    let outcome = page.marked(mark, verdict.outcome.name());
    let reason = verdict.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    page.line("");
    page.line(format!("{outcome}{reason}: {}", verdict.text));
}
