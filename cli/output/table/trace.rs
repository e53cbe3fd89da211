//! `samctl trace SRC DST`

use sam_router::view::{StageResult, TraceOutcome, TraceQuery, TraceView};

use super::{Mark, Page, Text};

impl Text for TraceView {
    fn write(&self, page: &mut Page) {
        let TraceQuery { from, to, .. } = self.query;
        page.title(format!(
            "{from} to {to}, by generation {}; nothing was sent",
            self.generation
        ));
        let width = self.stages.iter().map(|stage| stage.name.len()).max();
        let width = width.unwrap_or(0);
        for (number, stage) in (1..).zip(&self.stages) {
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
        let mark = match self.verdict.outcome {
            TraceOutcome::Forwarded | TraceOutcome::Delivered => Mark::Good,
            TraceOutcome::Waits | TraceOutcome::LeftToKernel => Mark::Attention,
            TraceOutcome::Dropped => Mark::Bad,
        };
        let outcome = page.marked(mark, self.verdict.outcome.name());
        let reason = self.verdict.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        page.line("");
        page.line(format!("{outcome}{reason}: {}", self.verdict.text));
    }
}
