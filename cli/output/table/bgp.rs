//! `samctl bgp neighbors`, `neighbor`, `rib` and `why`

use sam_router::view::{
    BgpNeighborView, BgpNeighborsView, BgpRibView, BgpWhyView, ComparisonView, ErrorRow, FamilyRow,
    ForeignView, MessageCounts, NeighborSummary, NodeRef, NotificationView, PathRow, RejectedRow,
    TimerRow,
};

use super::{Mark, Page, Text, ago, node, optional, optional_ago, optional_node, words, yes};

impl Text for BgpNeighborsView {
    fn write(&self, page: &mut Page) {
        page.line(format!("router id {}, AS {}", self.router_id, self.asn));
        if let Some(restarting) = &self.restarting {
            let awaited: Vec<String> = restarting.awaited.iter().map(node).collect();
            let (awaited, remaining) = (awaited.join(", "), ago(restarting.remaining_s));
            page.line(format!(
                "restarting: waits for {awaited}, {remaining} at most, and tells only its own routes"
            ));
        }
        if let Some(why) = &self.graceful_shutdown {
            page.line(format!(
                "graceful shutdown ({why}): neighbors of other ASes are asked to use other ways"
            ));
        }
        let rows = self.neighbors.iter().flat_map(|row| {
            let ipv6 = row.ipv6.as_ref().map(ipv6_row);
            std::iter::once(summary_row(self.asn, row)).chain(ipv6)
        });
        let rows = rows.collect();
        let header = [
            "NEIGHBOR",
            "PEER",
            "AS",
            "UP/DOWN",
            "STATE",
            "RECEIVED",
            "ACCEPTED",
            "ADVERTISED",
            "REFUSALS",
            "ROLE",
            "UPS",
            "LAST DOWN",
        ];
        page.table(header, rows, "no neighbors");
    }
}

/// In the order of the tables that people know from other speakers.
fn summary_row(asn: u32, neighbor: &NeighborSummary) -> [String; 12] {
    [
        node(&neighbor.node),
        neighbor.address.to_string(),
        neighbor.asn.unwrap_or(asn).to_string(),
        ago(neighbor.since_s),
        match neighbor.stale {
            0 => state(neighbor),
            stale => format!("{}, {stale} stale", state(neighbor)),
        },
        neighbor.received.to_string(),
        neighbor.accepted.to_string(),
        neighbor.advertised.to_string(),
        neighbor.refusals.values().sum::<u64>().to_string(),
        neighbor.role.clone(),
        neighbor.established_count.to_string(),
        optional(neighbor.last_down.as_ref()),
    ]
}

/// The state of the session, and whether that is by order.
fn state(neighbor: &NeighborSummary) -> String {
    match neighbor.disabled {
        true => format!("{} (disabled)", neighbor.state),
        false => neighbor.state.clone(),
    }
}

/// What a neighbor and its routes of IPv6 are, below its line.
fn ipv6_row(family: &FamilyRow) -> [String; 12] {
    let state = match (family.negotiated, family.stale) {
        (false, 0) => "not spoken".into(),
        (_, 0) => "spoken".into(),
        (_, stale) => format!("{stale} stale"),
    };
    let [received, accepted, advertised] =
        [family.received, family.accepted, family.advertised].map(|count| count.to_string());
    let none = String::new;
    [
        "  ipv6".into(),
        none(),
        none(),
        none(),
        state,
        received,
        accepted,
        advertised,
        none(),
        none(),
        none(),
        none(),
    ]
}

impl Text for BgpNeighborView {
    fn write(&self, page: &mut Page) {
        let summary = &self.summary;
        page.pairs(&[
            ("neighbor", who(self)),
            ("address", summary.address.to_string()),
            ("as", optional(summary.asn)),
            ("router id", optional(self.router_id)),
            (
                "state",
                format!("{} for {}", state(summary), ago(summary.since_s)),
            ),
            ("role", summary.role.clone()),
            (
                "established",
                format!("{} times", summary.established_count),
            ),
            ("last down", optional(summary.last_down.as_ref())),
            (
                "hold time",
                format!(
                    "{} ({} proposed)",
                    optional_ago(self.hold_time_s),
                    ago(self.proposed_hold_time_s)
                ),
            ),
            ("keepalive", optional_ago(self.keepalive_s)),
            ("add-path", add_path(self)),
            ("extended messages", self.extended_messages.clone()),
            ("timers", words(&timers(&self.timers))),
            ("bfd", super::bfd::line(self.bfd.as_ref())),
            ("end of rib", yes(self.end_of_rib)),
            ("stale", stale(summary)),
            ("capabilities sent", words(&self.capabilities_sent)),
            ("capabilities received", words(&self.capabilities_received)),
            (
                "last notification sent",
                notification(self.last_sent.as_ref()),
            ),
            (
                "last notification received",
                notification(self.last_received.as_ref()),
            ),
        ]);
        if let Some(terms) = &self.foreign {
            page.title("Terms");
            page.pairs(&foreign(terms, summary));
        }
        page.title("Messages");
        let header = [
            "DIRECTION",
            "OPEN",
            "UPDATE",
            "NOTIFICATION",
            "KEEPALIVE",
            "ROUTE-REFRESH",
        ];
        let rows = vec![
            messages("received", self.messages_received),
            messages("sent", self.messages_sent),
        ];
        page.table(header, rows, "none");
        write_errors(&self.errors, page);
        write_refusals(summary, page);
        write_routes(self, page);
    }
}

fn who(neighbor: &BgpNeighborView) -> String {
    let node = &neighbor.summary.node;
    match &neighbor.foreign {
        Some(_) => format!("{} (foreign)", node.name),
        None => format!("{} (node {})", node.name, node.id),
    }
}

/// Each kind of error with the start of the last message that had it, for `samctl bgp decode`.
fn write_errors(errors: &[ErrorRow], page: &mut Page) {
    if errors.is_empty() {
        return;
    }
    page.title("Errors");
    for error in errors {
        let attribute = match error.attribute {
            Some(kind) => format!(", attribute {kind}"),
            None => String::new(),
        };
        page.line(format!(
            "{} ago, {} times: {}{attribute}; the last message, of {} bytes, began with",
            ago(error.ago_s),
            error.count,
            error.reason,
            error.length
        ));
        page.line(format!("  {}", error.sample_hex));
    }
}

/// What was refused so far; which routes are refused now is a table of its own.
fn write_refusals(summary: &NeighborSummary, page: &mut Page) {
    if summary.refusals.is_empty() {
        return;
    }
    page.title("Refusals since it was configured");
    let rows = summary.refusals.iter();
    let rows = rows.map(|(reason, times)| [reason.clone(), times.to_string()]);
    page.table(["REASON", "TIMES"], rows.collect(), "none");
}

fn write_routes(neighbor: &BgpNeighborView, page: &mut Page) {
    let summary = &neighbor.summary;
    page.title("Routes");
    let rejected = |ipv6: bool| {
        let rows = neighbor.routes_rejected.iter();
        let rows = rows.filter(|row| row.route.prefix.addr().is_ipv6() == ipv6);
        rows.count().to_string()
    };
    page.table(
        ["RECEIVED", "ACCEPTED", "REJECTED", "ADVERTISED"],
        vec![[
            summary.received.to_string(),
            summary.accepted.to_string(),
            rejected(false),
            summary.advertised.to_string(),
        ]],
        "none",
    );
    if let Some(family) = &summary.ipv6 {
        page.title("Routes of IPv6");
        page.table(
            [
                "SPOKEN",
                "ADD-PATH",
                "RECEIVED",
                "ACCEPTED",
                "REJECTED",
                "ADVERTISED",
                "END OF RIB",
            ],
            vec![[
                yes(family.negotiated),
                family.add_path.clone(),
                family.received.to_string(),
                family.accepted.to_string(),
                rejected(true),
                family.advertised.to_string(),
                yes(family.end_of_rib),
            ]],
            "none",
        );
    }
    page.line(format!(
        "samctl bgp neighbor {} received|accepted|rejected|advertised|withheld lists them",
        summary.node.name
    ));
}

/// How many routes are kept from a session that ended, and for how long.
fn stale(summary: &NeighborSummary) -> String {
    match summary.stale_remaining_s {
        Some(remaining) => {
            format!(
                "{} routes, kept for {} at most",
                summary.stale,
                ago(remaining)
            )
        }
        None => "none".into(),
    }
}

/// What is agreed with a foreign neighbor.
fn foreign(terms: &ForeignView, summary: &NeighborSummary) -> [(&'static str, String); 9] {
    let policy = |rules: Option<usize>, passes: &str| match rules {
        Some(1) => "1 rule".into(),
        Some(count) => format!("{count} rules"),
        None => format!("none: nothing is {passes}"),
    };
    [
        ("local address", terms.local_address.to_string()),
        ("local IPv6 address", optional(terms.local_address_ipv6)),
        ("interface", optional(terms.interface.as_ref())),
        ("from range", optional(summary.range)),
        (
            "ttl",
            match terms.ttl_least {
                0 => terms.ttl.to_string(),
                least => format!("{} ({least} at least from it)", terms.ttl),
            },
        ),
        ("authentication", optional(terms.authentication.as_ref())),
        ("import policy", policy(terms.import_rules, "taken")),
        ("export policy", policy(terms.export_rules, "told")),
        ("graceful shutdown", yes(terms.graceful_shutdown)),
    ]
}

fn add_path(neighbor: &BgpNeighborView) -> String {
    match &neighbor.summary.degraded {
        Some(lack) => format!("{} (degraded: {lack})", neighbor.add_path),
        None => neighbor.add_path.clone(),
    }
}

fn timers(timers: &[TimerRow]) -> Vec<String> {
    let text = |timer: &TimerRow| format!("{} in {}", timer.name, ago(timer.due_s));
    timers.iter().map(text).collect()
}

pub(super) fn notification(notification: Option<&NotificationView>) -> String {
    let Some(notification) = notification else {
        return "-".into();
    };
    let NotificationView {
        code,
        subcode,
        text,
        data_hex,
    } = notification;
    match data_hex.as_str() {
        "" => format!("{code}/{subcode} {text}"),
        data => format!("{code}/{subcode} {text} (data {data})"),
    }
}

fn messages(direction: &str, counts: MessageCounts) -> [String; 6] {
    let MessageCounts {
        open,
        update,
        notification,
        keepalive,
        route_refresh,
    } = counts;
    let [open, update, notification, keepalive, route_refresh] =
        [open, update, notification, keepalive, route_refresh].map(|count| count.to_string());
    [
        direction.into(),
        open,
        update,
        notification,
        keepalive,
        route_refresh,
    ]
}

impl Text for BgpRibView {
    fn write(&self, page: &mut Page) {
        let rows = self.entries.iter().flat_map(|entry| {
            let prefix = entry.prefix.to_string();
            entry
                .paths
                .iter()
                .map(move |path| path_row(prefix.clone(), path))
        });
        let header = [
            " ",
            "PREFIX",
            "NODE",
            "FROM",
            "KIND",
            "STATE",
            "SEQUENCE",
            "NEXT HOP",
            "LOCAL_PREF",
            "AGE",
            "DECIDED BY",
        ];
        page.table(header, rows.collect(), "no paths");
        if !self.entries.is_empty() {
            page.line("");
            page.line("> best path, x not eligible, s stale: kept from a session that ended");
        }
    }
}

fn path_row(prefix: String, path: &PathRow) -> [String; 11] {
    let mark = match (path.best, &path.ineligible) {
        (true, _) => ">",
        (false, Some(_)) => "x",
        (false, None) if path.stale => "",
        (false, None) => " ",
    };
    let mark = format!("{mark}{}", if path.stale { "s" } else { "" });
    let decided = path.ineligible.as_ref().unwrap_or(&path.step.name);
    [
        mark,
        prefix,
        optional_node(path.node.as_ref()),
        source(path),
        optional(path.kind.as_ref()),
        optional(path.state.as_ref()),
        optional(path.sequence),
        path.next_hop.to_string(),
        path.local_pref.to_string(),
        ago(path.age_s),
        decided.clone(),
    ]
}

fn source(path: &PathRow) -> String {
    path.from.as_ref().map_or_else(|| "here".into(), node)
}

impl Text for BgpWhyView {
    fn write(&self, page: &mut Page) {
        let Some(best) = &self.best else {
            page.line(format!("{} has no eligible path", self.prefix));
            for path in &self.unusable {
                let reason = optional(path.ineligible.as_ref());
                page.line(format!("{}: {reason}", describe(path)));
            }
            write_rejected(page, &self.rejected);
            return;
        };
        page.line(format!("{}: best path is {}", self.prefix, describe(best)));
        if self.comparisons.is_empty() {
            page.line("it is the only path");
        }
        for comparison in &self.comparisons {
            write_comparison(page, comparison);
        }
        write_rejected(page, &self.rejected);
    }
}

fn write_rejected(page: &mut Page, rejected: &[(NodeRef, RejectedRow)]) {
    if rejected.is_empty() {
        return;
    }
    page.title("Refused routes");
    let rows = rejected.iter().map(|(from, rejected)| {
        [
            node(from),
            rejected.reason.clone(),
            words(&rejected.route.large_communities),
        ]
    });
    page.table(
        ["FROM", "REASON", "LARGE COMMUNITIES"],
        rows.collect(),
        "none",
    );
}

fn write_comparison(page: &mut Page, comparison: &ComparisonView) {
    let ComparisonView {
        loser,
        instead,
        step,
        ladder,
    } = comparison;
    page.title(format!("against {}", describe(loser)));
    if let Some(winner) = instead {
        page.line(format!("which lost against {}", describe(winner)));
    }
    if let Some(reason) = &loser.ineligible {
        page.line(format!("it cannot be chosen: {reason}"));
    }
    let rows = ladder.iter().map(|rung| {
        let verdict = match &rung.unused {
            Some(why) => format!("not used: {why}"),
            None if rung.decides => "decides".into(),
            None => "equal".into(),
        };
        let (number, name) = (rung.step.number.to_string(), rung.step.name.clone());
        [number, name, rung.best.clone(), rung.other.clone(), verdict]
    });
    page.table(
        ["STEP", "NAME", "BEST", "OTHER", "VERDICT"],
        rows.collect(),
        "no steps",
    );
    let verdict = page.marked(Mark::Strong, &step.text);
    page.line(format!("step {}: {verdict}", step.number));
}

fn describe(path: &PathRow) -> String {
    let (node, from) = (optional_node(path.node.as_ref()), source(path));
    format!("{node} from {from}, next hop {}", path.next_hop)
}
