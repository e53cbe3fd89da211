//! `samctl bgp neighbor`: one neighbor, one of its tables, or an order about its session.

use sam_router::view::{BgpNeighborView, BgpTableView};
use serde_json::{Value, json};

use super::family_name;
use super::order::order;
use super::show::{Request, show};
use crate::Streams;
use crate::args::{Direction, Family, NeighborTopic};
use crate::client::escape;
use crate::exit::{Exit, Failure};

/// What is said beside the topic.
#[derive(Debug, Clone, Copy)]
pub struct Particulars {
    /// Of a refresh.
    pub direction: Option<Direction>,
    /// Of a table.
    pub family: Option<Family>,
    /// Of a reset.
    pub hard: bool,
}

/// Shows a neighbor or one of its tables, or gives an order about its session.
///
/// # Errors
/// When no router answers, it refuses, or a particular belongs to another topic.
pub fn neighbor(
    name: &str,
    topic: Option<NeighborTopic>,
    particulars: Particulars,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let path = format!("/v1/bgp/neighbors/{}", escape(name));
    let Some(topic) = topic else {
        return show::<BgpNeighborView>(request, &path, streams);
    };
    check(topic, particulars)?;
    let (word, body, done) = match topic {
        NeighborTopic::Received => return table(&path, "received", particulars, request, streams),
        NeighborTopic::Accepted => return table(&path, "accepted", particulars, request, streams),
        NeighborTopic::Rejected => return table(&path, "rejected", particulars, request, streams),
        NeighborTopic::Advertised => {
            return table(&path, "advertised", particulars, request, streams);
        }
        NeighborTopic::Withheld => return table(&path, "withheld", particulars, request, streams),
        NeighborTopic::Refresh => refresh(name, particulars.direction),
        NeighborTopic::Reset => {
            let done = format!("the session with {name} is reset; it comes up again by itself");
            ("reset", json!({ "hard": particulars.hard }), done)
        }
        NeighborTopic::Disable => {
            let done = format!(
                "the session with {name} is disabled until it is enabled, or this router restarts"
            );
            ("disable", json!({}), done)
        }
        NeighborTopic::Enable => {
            let done = format!("the session with {name} is allowed again");
            ("enable", json!({}), done)
        }
    };
    order(
        request,
        (&format!("{path}/{word}"), body),
        |_| done,
        streams,
    )
}

fn refresh(name: &str, direction: Option<Direction>) -> (&'static str, Value, String) {
    let (body, done) = match direction {
        None => (
            json!({}),
            format!("{name} is asked for its routes, and told ours again"),
        ),
        Some(Direction::In) => (
            json!({ "direction": "in" }),
            format!("{name} is asked for its routes"),
        ),
        Some(Direction::Out) => (
            json!({ "direction": "out" }),
            format!("{name} is told our routes again"),
        ),
    };
    ("refresh", body, done)
}

fn table(
    path: &str,
    table: &str,
    particulars: Particulars,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let family = particulars.family;
    let family = family.map(|family| format!("?family={}", family_name(family)));
    let path = format!("{path}/{table}{}", family.unwrap_or_default());
    show::<BgpTableView>(request, &path, streams)
}

/// Each particular belongs to one kind of topic.
fn check(topic: NeighborTopic, particulars: Particulars) -> Result<(), Failure> {
    let (refresh, reset) = (
        topic == NeighborTopic::Refresh,
        topic == NeighborTopic::Reset,
    );
    let order = refresh || reset || matches!(topic, NeighborTopic::Disable | NeighborTopic::Enable);
    let misplaced = [
        (
            particulars.direction.is_some() && !refresh,
            "in and out are ways of a refresh",
        ),
        (particulars.hard && !reset, "--hard is for a reset"),
        (
            particulars.family.is_some() && order,
            "--family is for a table",
        ),
    ];
    match misplaced.into_iter().find(|(misplaced, _)| *misplaced) {
        Some((_, error)) => Err(Failure::new(Exit::Usage, error)
            .remedy("`samctl bgp neighbor --help` says what goes together")),
        None => Ok(()),
    }
}
