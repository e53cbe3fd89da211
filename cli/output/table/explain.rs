//! `samctl explain ADDRESS`

use sam_router::view::{ExplainView, PathMtu};

use super::{Mark, Page, Text};

impl Text for ExplainView {
    fn write(&self, page: &mut Page) {
        let verdict = page.marked(Mark::Strong, &self.verdict);
        page.line(verdict);
        for question in &self.questions {
            page.title(format!("{}. {}", question.number, question.question));
            page.line(format!("   {}", question.answer));
            for evidence in &question.evidence {
                page.line(format!("   - {evidence}"));
            }
        }
        if let Some(mtu) = &self.mtu {
            page.title("MTU (bytes)");
            page.line(format!("   {}", mtu_sum(mtu)));
        }
        page.title(match self.arp.answered {
            true => "ARP: this router answers",
            false => "ARP: this router does not answer",
        });
        for condition in &self.arp.conditions {
            let (mark, word) = match condition.holds {
                Some(true) => (Mark::Good, "holds  "),
                Some(false) => (Mark::Bad, "fails  "),
                None => (Mark::Dim, "depends"),
            };
            let word = page.marked(mark, word);
            page.line(format!(
                "   {word}  {}: {}",
                condition.condition, condition.evidence
            ));
        }
        if !self.drops.is_empty() {
            page.title("Packets that would be dropped here");
        }
        for drop in &self.drops {
            page.line(format!("   {}: {}", drop.reason, drop.applies_to));
        }
    }
}

fn mtu_sum(mtu: &PathMtu) -> String {
    let PathMtu {
        underlay,
        path,
        overhead,
        tunnel,
        lan,
        tcp_mss,
    } = mtu;
    let lan = lan.map_or_else(String::new, |lan| format!(", LAN {lan}"));
    let mss = tcp_mss.map_or_else(
        || ", MSS is not clamped".into(),
        |mss| format!(", MSS of passing SYNs at most {mss}"),
    );
    let learnt = path
        .and_then(|path| underlay.checked_sub(path))
        .map_or_else(String::new, |missing| format!(" - learnt {missing}"));
    format!("underlay {underlay}{learnt} - overhead {overhead} = tunnel {tunnel}{lan}{mss}")
}
