//! `samctl bgp decode`: the verdict, the meaning, then every field with its bytes.

use super::bgp_table::attributes;
use super::{Mark, Page};
use crate::decode::{DecodeView, FieldView, MessageView, Verdict};

/// Renders messages; `bytes` are those that they were made of.
#[must_use]
pub fn decoded_text(view: &DecodeView, bytes: &[u8], color: bool) -> String {
    let mut page = Page::new(color);
    for message in &view.messages {
        write_message(&mut page, message, bytes);
    }
    page.finish()
}

fn write_message(page: &mut Page, message: &MessageView, bytes: &[u8]) {
    let (mark, word) = match message.verdict {
        Verdict::Accepted => (Mark::Good, "accepted"),
        Verdict::Survived => (Mark::Attention, "malformed, survived"),
        Verdict::Refused => (Mark::Bad, "refused, the session ends"),
        Verdict::Incomplete => (Mark::Attention, "incomplete"),
    };
    let verdict = page.marked(mark, word);
    let kind = message.kind.to_uppercase();
    page.title(format!("{kind}, {} bytes", message.length));
    let reason = message
        .reason
        .as_ref()
        .map_or(String::new(), |reason| format!(": {reason}"));
    page.line(format!("{verdict}{reason}"));
    if let Some(answer) = &message.answer {
        page.line(format!(
            "answer: {}",
            super::bgp::notification(Some(answer))
        ));
    }
    for fault in &message.faults {
        let (kind, reason, done) = (fault.kind, &fault.reason, &fault.disposition);
        page.line(format!("attribute type {kind}: {reason} ({done})"));
    }
    if let Some(told) = &message.notification {
        page.line(format!("says {}", super::bgp::notification(Some(told))));
    }
    if !message.withdrawn.is_empty() {
        page.line(format!("withdraws {}", super::words(&message.withdrawn)));
    }
    if !message.announced.is_empty() {
        page.line(format!("announces {}", super::words(&message.announced)));
    }
    if let Some(set) = &message.attributes {
        page.line(format!("next hop {}, {}", set.next_hop, attributes(set)));
    }
    let mut rows = Vec::new();
    add_fields(&mut rows, &message.fields, 0, bytes);
    page.table(["OFFSET", "LENGTH", "FIELD", "BYTES"], rows, "no fields");
}

fn add_fields(rows: &mut Vec<[String; 4]>, fields: &[FieldView], depth: usize, bytes: &[u8]) {
    for field in fields {
        let own = bytes.get(field.offset..field.offset.saturating_add(field.length));
        let shown = own.filter(|_| field.fields.is_empty()).unwrap_or_default();
        let cut = if shown.len() > SHOWN_BYTES { "…" } else { "" };
        let digits = shown
            .iter()
            .take(SHOWN_BYTES)
            .map(|byte| format!("{byte:02x}"));
        rows.push([
            field.offset.to_string(),
            field.length.to_string(),
            format!("{}{}", "  ".repeat(depth), field.text),
            format!("{}{cut}", digits.collect::<String>()),
        ]);
        add_fields(rows, &field.fields, depth + 1, bytes);
    }
}

const SHOWN_BYTES: usize = 16;
