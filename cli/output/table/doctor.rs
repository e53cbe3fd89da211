//! `samctl doctor`

use sam_router::view::DoctorView;

use super::{Page, Text, status_mark, status_word};

impl Text for DoctorView {
    fn write(&self, page: &mut Page) {
        let name = |check: &sam_router::view::CheckRow| format!("{}/{}", check.area, check.name);
        let width = self
            .checks
            .iter()
            .map(|check| name(check).len())
            .max()
            .unwrap_or(0);
        for check in &self.checks {
            let status = page.marked(status_mark(check.status), status_word(check.status));
            page.line(format!(
                "{status}  {:width$}  {}",
                name(check),
                check.message
            ));
            let more = [("detail", &check.detail), ("remedy", &check.remedy)];
            for (label, text) in more {
                for line in text.iter().flat_map(|text| text.lines()) {
                    page.line(format!("      {label}: {line}"));
                }
            }
        }
        let summary = &self.summary;
        let overall = page.marked(status_mark(self.overall), status_word(self.overall));
        page.line(format!(
            "{overall}: {} passed, {} warned, {} failed, {} skipped",
            summary.pass, summary.warn, summary.fail, summary.skip
        ));
    }
}
