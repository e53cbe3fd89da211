//! `samctl captures` and `samctl actions`

use std::net::Ipv4Addr;

use sam_router::view::{
    ActionRow, ActionView, ActionsView, CaptureMember, CaptureRow, CapturesView, EndedRow,
    PermissionRow, ROOM_REMEDY, StandingRow,
};

use super::{Page, Text, ago};

/// Addresses of an action that are shown in a table.
const SHOWN: usize = 3;

impl Text for CapturesView {
    fn write(&self, page: &mut Page) {
        let (Some(provider), Some(mode)) = (&self.provider, &self.mode) else {
            return page.line("off: this router captures nothing in a cloud");
        };
        let mut pairs = vec![("cloud", format!("{provider}, mode {mode}"))];
        if let Some(failure) = &self.failure {
            pairs.push(("provider", format!("cannot be called: {failure}")));
        }
        if let Some(nic) = &self.nic {
            let forwards = if nic.forwarding {
                "forwards"
            } else {
                "does not forward"
            };
            let limit = nic
                .limit
                .map_or_else(String::new, |limit| format!(" of {limit}"));
            pairs.push((
                "interface",
                format!(
                    "{}, {forwards}, {}{limit} addresses, seen {} ago",
                    nic.id,
                    nic.used,
                    ago(nic.seen_s)
                ),
            ));
        }
        if let Some(standing) = &self.standing {
            pairs.push(("last answer", standing_text(standing)));
        }
        if let Some(row) = &self.unclassified {
            let text = format!("{}, {} ago", row.words, ago(row.told_s));
            pairs.push(("unknown refusal", text));
        }
        if let Some(invalid) = &self.invalid {
            pairs.push(("last look", format!("no good: {invalid}")));
        }
        if self.journal_failed {
            pairs.push(("journal", "cannot be written: nothing is released".into()));
        }
        let without = self.without_room().count();
        if without > 0 {
            pairs.push((
                "no room",
                format!("for {without} of the addresses: {ROOM_REMEDY}"),
            ));
        }
        page.pairs(&pairs);
        let looks = self.failing.iter();
        let looks = looks.map(|row| (&row.look, &row.class, row.times, row.since_s, &row.detail));
        failing(looks, page);
        if let Some(group) = &self.group {
            page.title(format!("Routers of this site: {}", group.placement));
            let rows = group.members.iter().map(member_row).collect();
            page.table(["NODE", "STATE", "HELD", "AT MOST"], rows, "");
        }
        if !self.captures.is_empty() {
            page.title("Addresses");
            let rows = self.captures.iter().map(capture_row).collect();
            page.table(
                [
                    "ADDRESS", "WANT", "HELD BY", "STATE", "RULE", "SINCE", "WHY",
                ],
                rows,
                "",
            );
        }
        let missing = self
            .permissions
            .iter()
            .filter(|row| row.granted == Some(false));
        let rows: Vec<_> = missing.map(permission_row).collect();
        if !rows.is_empty() {
            page.title("Missing permissions");
            page.table(["ACTION", "ANSWER"], rows, "");
        }
    }
}

/// What the last answer told of clocks, credentials and limits.
fn standing_text(row: &StandingRow) -> String {
    let mut parts = vec![format!("{} ago", ago(row.told_s))];
    if let Some(ahead) = row.clock_ahead_s {
        parts.push(format!("clock {ahead:+} s"));
    }
    match row.credentials_left_s() {
        Some(left) if left > 0.0 => parts.push(format!("credentials good for {}", ago(left))),
        Some(_) => parts.push("its credentials have ended since".to_owned()),
        None => {}
    }
    let left = [(row.reads_left, "reads"), (row.writes_left, "writes")];
    for (count, kind) in left {
        parts.extend(count.map(|count| format!("{count} {kind} left")));
    }
    parts.join(", ")
}

fn member_row(row: &CaptureMember) -> [String; 4] {
    [
        row.node.name.clone(),
        row.state.clone(),
        row.held.to_string(),
        row.capacity
            .map_or_else(|| "?".into(), |most| most.to_string()),
    ]
}

fn capture_row(row: &CaptureRow) -> [String; 7] {
    let holder = match (&row.node, &row.holder) {
        (Some(node), _) => node.name.clone(),
        (None, Some(nic)) => nic.to_string(),
        (None, None) => "-".into(),
    };
    [
        row.address.to_string(),
        row.want.clone(),
        holder,
        row.state.clone(),
        row.place
            .as_ref()
            .map_or_else(|| "-".into(), |place| place.rule.clone()),
        row.since_s.map_or_else(|| "-".into(), ago),
        row.why.clone(),
    ]
}

fn permission_row(row: &PermissionRow) -> [String; 2] {
    [row.action.clone(), row.detail.clone()]
}

impl Text for ActionsView {
    fn write(&self, page: &mut Page) {
        let Some(mode) = &self.mode else {
            return page.line("off: this router captures nothing in a cloud");
        };
        page.pairs(&[("mode", mode.clone())]);
        let looks = self.failing.iter();
        let looks = looks.map(|row| (&row.look, &row.class, row.times, row.since_s, &row.detail));
        failing(looks, page);
        page.title("Open");
        if self.open.is_empty() {
            page.line("nothing is to be done");
        } else {
            let rows = self.open.iter().map(open_row).collect();
            page.table(
                [
                    "ID",
                    "KIND",
                    "ADDRESSES",
                    "STEP",
                    "STATE",
                    "SINCE",
                    "FAILURES",
                ],
                rows,
                "",
            );
        }
        ended(&self.ended, page);
    }
}

impl Text for ActionView {
    fn write(&self, page: &mut Page) {
        let mut pairs = vec![("action", self.id.to_string())];
        match &self.open {
            None => pairs.push(("state", "ended".into())),
            Some(row) => {
                let all: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
                pairs.extend([
                    ("kind", row.kind.clone()),
                    ("addresses", all.join(", ")),
                    (
                        "step",
                        row.step.clone().unwrap_or_else(|| "not known yet".into()),
                    ),
                    ("state", format!("{} for {}", row.state, ago(row.since_s))),
                    ("failures", row.failures.to_string()),
                ]);
                pairs.extend(row.why.iter().map(|why| ("why", why.clone())));
            }
        }
        page.pairs(&pairs);
        ended(&self.ended, page);
    }
}

fn open_row(row: &ActionRow) -> [String; 7] {
    [
        row.id.to_string(),
        row.kind.clone(),
        addresses(&row.addresses),
        row.step.clone().unwrap_or_else(|| "-".into()),
        row.state.clone(),
        ago(row.since_s),
        row.failures.to_string(),
    ]
}

/// Shows looks that fail: name, class, how often in a row, seconds since the first, and what was said.
fn failing<'a>(
    rows: impl Iterator<Item = (&'a String, &'a String, u32, f64, &'a String)>,
    page: &mut Page,
) {
    let rows = rows.map(|(look, class, times, since_s, detail)| {
        [
            look.clone(),
            class.clone(),
            times.to_string(),
            ago(since_s),
            detail.clone(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        page.title("Looks that fail");
        page.table(["LOOK", "CLASS", "TIMES", "SINCE", "DETAIL"], rows, "");
    }
}

fn ended(rows: &[EndedRow], page: &mut Page) {
    if rows.is_empty() {
        return;
    }
    page.title("Ended");
    let row = |row: &EndedRow| {
        [
            row.id.to_string(),
            row.operation.clone(),
            addresses(&row.addresses),
            row.result.clone(),
            ago(row.ago_s),
            row.detail.clone(),
        ]
    };
    page.table(
        ["ID", "CHANGE", "ADDRESSES", "RESULT", "AGO", "DETAIL"],
        rows.iter().map(row).collect(),
        "",
    );
}

fn addresses(all: &[Ipv4Addr]) -> String {
    let shown: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    match all.len().saturating_sub(SHOWN) {
        0 if all.is_empty() => "-".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
