//! Capture in a cloud: can the provider be called, is what it shows good, is there room, and is what is wanted done?

use std::net::IpAddr;

use super::{Evidence, fail, listed, pass, skip, warn};
use crate::config::CloudKind;
use crate::view::{
    CaptureMember, CaptureNic, CaptureRow, CapturesView, CheckRow, ROOM_REMEDY, StandingRow,
};

const AREA: &str = "capture";
/// A look that is older than this is missing: regular ones come at least every twelve minutes.
const OLD_S: f64 = 900.0;
/// A clock that is further off is not a matter of the time that an answer takes.
const CLOCK_OFF_S: u64 = 5;
/// One that is further off is not corrected in signatures either.
const CLOCK_WRONG_S: u64 = 900;
/// A change that is needed for longer does not get done.
const LATE_S: f64 = 60.0;
const DAY_S: f64 = 86_400.0;

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    let view = &evidence.captures;
    let Some(mode) = view.mode.as_deref() else {
        return;
    };
    if mode == "off" {
        checks.push(skip(AREA, "provider", "self.capture.mode is off"));
        return;
    }
    checks.push(provider(view));
    if let Some(standing) = &view.standing {
        let signed = view.provider.as_deref() != Some(CloudKind::Azure.name());
        checks.extend(clock(standing, signed));
        checks.extend(credentials(standing));
    }
    checks.extend(refusals(view));
    let Some(nic) = view.nic.as_ref().filter(|_| view.failure.is_none()) else {
        return;
    };
    checks.push(forwarding(nic));
    checks.push(room(evidence, view, nic));
    checks.push(wanted(view, mode));
    checks.push(guest(evidence, view));
    checks.push(journal(evidence, view));
    checks.push(permissions(view));
    checks.extend(moves(view));
    checks.push(members(evidence));
    checks.extend(takers(evidence, view));
    checks.extend(placement(view));
}

fn provider(view: &CapturesView) -> CheckRow {
    const NAME: &str = "provider";
    if let Some(failure) = &view.failure {
        return fail(AREA, NAME, "the provider of the cloud cannot be called")
            .detail(failure.clone())
            .remedy("nothing is captured; `self.capture.mode: off` says that this is wanted");
    }
    match (&view.nic, &view.invalid) {
        (_, Some(invalid)) => fail(AREA, NAME, "looks at the network interface fail")
            .detail(invalid.clone())
            .remedy("nothing is changed meanwhile; see the permissions of the instance, and `samctl captures`"),
        (None, None) => skip(AREA, NAME, "the network interface was not seen yet"),
        (Some(nic), None) if nic.seen_s > OLD_S => warn(
            AREA,
            NAME,
            format!("{} was not seen for {:.0} s", nic.id, nic.seen_s),
        )
        .remedy("a call to the provider hangs; see the log of the router"),
        (Some(nic), None) => pass(
            AREA,
            NAME,
            format!("{} was seen {:.0} s ago", nic.id, nic.seen_s),
        ),
    }
}

/// `signed`: whether the provider wants calls signed with the time.
fn clock(standing: &StandingRow, signed: bool) -> Option<CheckRow> {
    const NAME: &str = "clock";
    let ahead = standing.clock_ahead_s?;
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let off = ahead.unsigned_abs();
    let message = format!("the provider's clock is {off} s {side} ours");
    Some(if off > CLOCK_OFF_S && !signed {
        warn(AREA, NAME, message)
            .remedy("set this host's clock; calls do without, but tokens may be renewed too early or too late")
    } else if off > CLOCK_WRONG_S {
        fail(AREA, NAME, message)
            .remedy("set this host's clock; calls that are signed with it are refused")
    } else if off > CLOCK_OFF_S {
        warn(AREA, NAME, message)
            .remedy("set this host's clock; calls are signed with the provider's time meanwhile")
    } else {
        pass(AREA, NAME, message)
    })
}

/// Those that have ended since the last answer are no fault: the next call fetches others first. It comes before long.
fn credentials(standing: &StandingRow) -> Option<CheckRow> {
    const NAME: &str = "credentials";
    if standing.credentials_s? <= 0.0 {
        let row = fail(AREA, NAME, "the credentials have ended");
        return Some(row.remedy(
            "the instance's metadata service gives no new ones: `samctl captures` shows what it says",
        ));
    }
    let left = standing.credentials_left_s()?;
    let minutes = left.abs() / 60.0;
    Some(if left > 0.0 {
        let message = format!("those of the last answer are good for {minutes:.0} min");
        pass(AREA, NAME, message)
    } else if left > -OLD_S {
        let message = "those of the last answer have ended, the next call fetches others";
        pass(AREA, NAME, message)
    } else {
        let message = format!("they ended {minutes:.0} min ago, and no call was answered since");
        let row = warn(AREA, NAME, message);
        row.remedy(
            "`samctl captures` shows what the provider and the instance's metadata service say",
        )
    })
}

/// What is done about such a refusal is careful, not right. Nothing tells whether it is over, so it is named for a day.
fn refusals(view: &CapturesView) -> Option<CheckRow> {
    let newest = view.unclassified.as_ref()?;
    if newest.told_s > DAY_S {
        return None;
    }
    let minutes = newest.told_s / 60.0;
    let message = format!("the provider has refused in unknown words, {minutes:.0} min ago");
    let row = warn(AREA, "refusals", message).detail(newest.words.clone());
    Some(row.remedy("please report the words; see `samctl captures`"))
}

fn forwarding(nic: &CaptureNic) -> CheckRow {
    const NAME: &str = "forwarding";
    if nic.forwarding {
        return pass(AREA, NAME, format!("{} carries packets of others", nic.id));
    }
    warn(
        AREA,
        NAME,
        format!("{} carries no packets but its own", nic.id),
    )
    .remedy("the router changes that before the first capture; in mode plan it is for you to do")
}

fn room(evidence: &Evidence<'_>, view: &CapturesView, nic: &CaptureNic) -> CheckRow {
    const NAME: &str = "room";
    let number = |most: Option<usize>| most.map_or_else(|| "?".to_owned(), |most| most.to_string());
    let message = format!("{} of {} addresses are used", nic.used, number(nic.limit));
    let without: Vec<_> = view.without_room().collect();
    if !without.is_empty() {
        return warn(
            AREA,
            NAME,
            format!("{message}, and no router of the site has room for more"),
        )
        .detail(listed(without))
        .remedy(ROOM_REMEDY);
    }
    let waiting = of_state(view, "no-room");
    if !waiting.is_empty() {
        let waiting = waiting.iter().map(|row| row.address);
        return warn(AREA, NAME, format!("{message}, and there is no room here for more"))
            .detail(listed(waiting))
            .remedy("they have a place at a router of the site: `samctl captures` shows which, and follows before long");
    }
    let own = evidence.config.local.node;
    let members = view.group.iter().flat_map(|group| &group.members);
    let mut own = members.filter(|member| member.node.id == own);
    match own.next() {
        Some(own) if own.capacity.is_some_and(|most| own.held > most) => {
            let most = number(own.capacity);
            warn(AREA, NAME, format!("{} are captured, and {most} may be", own.held))
                .remedy("nothing that works is given back: `samctl drain on` has other routers of the site take over")
        }
        Some(_) | None => pass(AREA, NAME, message),
    }
}

fn wanted(view: &CapturesView, mode: &str) -> CheckRow {
    const NAME: &str = "wanted";
    let text = |row: &&CaptureRow| format!("{}: {}, {}", row.address, row.state, row.why);
    let waiting = of_state(view, "waiting");
    if !waiting.is_empty() {
        return warn(AREA, NAME, "wanted addresses cannot be captured")
            .detail(listed(waiting.iter().map(text)))
            .remedy("free them where they are; an address that a machine here has as its own stays there");
    }
    let open = ["planned", "awaits-approval"];
    let open: Vec<&CaptureRow> = view
        .captures
        .iter()
        .filter(|row| open.contains(&row.state.as_str()))
        .collect();
    if !open.is_empty() {
        return warn(AREA, NAME, format!("mode {mode} leaves changes to you"))
            .detail(listed(open.iter().map(text)))
            .remedy("`samctl actions` shows them; self.capture.mode: auto does them");
    }
    let late = of_state(view, "due");
    let late: Vec<&&CaptureRow> = late
        .iter()
        .filter(|row| row.since_s.is_some_and(|since| since > LATE_S))
        .collect();
    if late.is_empty() {
        return pass(AREA, NAME, "what is wanted is done or under way");
    }
    warn(AREA, NAME, "changes are needed and do not get done")
        .detail(listed(late.iter().map(|row| text(row))))
        .remedy("`samctl actions` shows the failures")
}

/// Agents of clouds and network managers like to configure whatever the provider puts on an interface: then packets for
/// another site end on this host.
fn guest(evidence: &Evidence<'_>, view: &CapturesView) -> CheckRow {
    const NAME: &str = "guest-address";
    let Some(addresses) = &evidence.facts.host.addresses else {
        return skip(AREA, NAME, "the addresses of this host cannot be read");
    };
    let is_captured = |address: IpAddr| {
        let mut rows = view.captures.iter();
        rows.any(|row| IpAddr::V4(row.address) == address && row.is_for_others())
    };
    let found = addresses.iter().filter(|held| is_captured(held.address));
    let found: Vec<String> = found
        .map(|held| format!("{} on {}", held.address, held.interface))
        .collect();
    if found.is_empty() {
        return pass(AREA, NAME, "no captured address is configured on this host");
    }
    fail(
        AREA,
        NAME,
        "addresses of other sites are configured on this host: their packets end here",
    )
    .detail(listed(found))
    .remedy(
        "`samctl doctor --fix` removes them now; keep the cloud's agent (amazon-ec2-net-utils, nm-cloud-setup, \
         cloud-init, secondary_vnic_all_configure) from configuring secondary addresses",
    )
}

fn of_state<'a>(view: &'a CapturesView, state: &str) -> Vec<&'a CaptureRow> {
    let rows = view.captures.iter();
    rows.filter(|row| row.state == state).collect()
}

fn journal(evidence: &Evidence<'_>, view: &CapturesView) -> CheckRow {
    const NAME: &str = "journal";
    let file = evidence
        .config
        .cloud()
        .and_then(|cloud| cloud.journal_file.as_ref());
    match file {
        Some(file) if view.journal_failed => fail(
            AREA,
            NAME,
            format!("{} cannot be written: nothing is released", file.display()),
        )
        .remedy("make room on that disk, and see its permissions"),
        Some(file) => pass(
            AREA,
            NAME,
            format!("what is done is written to {}", file.display()),
        ),
        None => skip(AREA, NAME, "self.capture.journalFile is none"),
    }
}

fn permissions(view: &CapturesView) -> CheckRow {
    const NAME: &str = "permissions";
    let missing = view
        .permissions
        .iter()
        .filter(|row| row.granted == Some(false));
    let missing: Vec<&str> = missing.map(|row| row.action.as_str()).collect();
    if !missing.is_empty() {
        return fail(AREA, NAME, "the instance may not do what it has to")
            .detail(listed(missing))
            .remedy("grant them to the instance's role");
    }
    let granted = view
        .permissions
        .iter()
        .filter(|row| row.granted.is_some())
        .count();
    if granted == 0 {
        return skip(
            AREA,
            NAME,
            "the provider does not say what the instance may do",
        );
    }
    pass(AREA, NAME, format!("{granted} permissions are there"))
}

/// What a takeover costs, which is up to the provider; once it was asked.
fn moves(view: &CapturesView) -> Option<CheckRow> {
    const NAME: &str = "moves";
    if view.moves? {
        let message = "an address moves from one router to the other in one change";
        return Some(pass(AREA, NAME, message));
    }
    let message = "an address moves in two changes: hosts of this subnet lose what they send to it for as long as one takes";
    let mut asked = view.permissions.iter();
    let asked = asked.find(|row| row.action.contains("moveIpConfigurations"));
    let row = pass(AREA, NAME, message);
    Some(match asked {
        Some(asked) => row.detail(asked.detail.clone()),
        None => row,
    })
}

/// Who would take over from this router, if it captures: one that says why it cannot does not.
fn takers(evidence: &Evidence<'_>, view: &CapturesView) -> Option<CheckRow> {
    const NAME: &str = "takers";
    const SILENT: [&str; 2] = ["captures", "not-there"];
    let own = evidence.config.local.node;
    let members = &view.group.as_ref()?.members;
    let captures = |member: &&CaptureMember| member.node.id == own && member.state == "captures";
    members.iter().find(captures)?;
    let mut others = members
        .iter()
        .filter(|member| member.node.id != own)
        .peekable();
    others.peek()?;
    let unable = others.filter(|member| !SILENT.contains(&member.state.as_str()));
    let unable = unable.map(|member| format!("{} is {}", member.node.name, member.state));
    let unable: Vec<_> = unable.collect();
    if unable.is_empty() {
        return Some(pass(
            AREA,
            NAME,
            "no router of the site says that it cannot take over",
        ));
    }
    let row = warn(
        AREA,
        NAME,
        "routers of this site could not take over from this one",
    );
    Some(
        row.detail(listed(unable))
            .remedy("`samctl doctor capture` there says what is missing"),
    )
}

/// Captures are shared only where all routers that capture are told so.
fn placement(view: &CapturesView) -> Option<CheckRow> {
    const NAME: &str = "placement";
    let group = view.group.as_ref()?;
    let there = group.members.iter();
    let there = there.filter(|member| member.state != "not-there");
    let told = there.filter_map(|member| Some((member, member.placement.as_deref()?)));
    let told: Vec<_> = told.collect();
    let (_, first) = told.first()?;
    if told.iter().all(|(_, placement)| placement == first) {
        let message = format!("the routers of the site are all told {first}");
        return Some(pass(AREA, NAME, message));
    }
    let each = told.iter();
    let each = each.map(|(member, placement)| format!("{} {placement}", member.node.name));
    let message = format!(
        "not all routers of the site are told the same: {} holds",
        group.placement
    );
    let row = warn(AREA, NAME, message).detail(listed(each));
    Some(row.remedy("give them all the same `self.capture.placement`"))
}

/// Nothing is taken over from a router whose interface nobody knows.
fn members(evidence: &Evidence<'_>) -> CheckRow {
    const NAME: &str = "members";
    let own = evidence.config.own_node();
    let nodes = evidence.config.fabric.nodes.values();
    let unknown = nodes.filter(|node| {
        node.id != own.id && node.site == own.site && node.role == own.role && node.nic.is_none()
    });
    let unknown: Vec<&str> = unknown.map(|node| node.name.as_str()).collect();
    if unknown.is_empty() {
        return pass(
            AREA,
            NAME,
            "the network interfaces of the site's routers are known",
        );
    }
    warn(
        AREA,
        NAME,
        "routers of this site have no `nic`: nothing is taken over from them",
    )
    .detail(listed(unknown))
    .remedy("add `nic` to them in fabric.nodes on every router, unless they are mere reflectors")
}
