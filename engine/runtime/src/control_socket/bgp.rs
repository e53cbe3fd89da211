//! What is asked of BGP, and orders about the session with one neighbor.

use axum::extract::{ConnectInfo, Json, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use sam_router::PeerOrder;
use serde::Deserialize;

use super::{
    Caller, Calls, FamilyName, Request, Routes, View, ask, order, refused, respond, slow, view,
};

/// Resources below `/v1/bgp` that are read, and the orders about a neighbor.
pub(super) fn views() -> Routes {
    axum::Router::new()
        .route(
            "/v1/bgp/neighbors",
            get(|State(s): Calls| view(s, View::BgpNeighbors)),
        )
        .route(
            "/v1/bgp/neighbors/{name}",
            get(|State(s): Calls, Path(name)| view(s, View::BgpNeighbor(name))),
        )
        .route(
            "/v1/bgp/neighbors/{name}/{table}",
            get(
                |State(s): Calls, Path((name, table)), Query(q): Query<Prefix>| {
                    view(s, View::BgpTable(name, table, q.family))
                },
            )
            .post(order_neighbor),
        )
        .route(
            "/v1/bgp/rib",
            get(|State(s): Calls, Query(q): Query<Prefix>| {
                view(s, View::BgpRib(q.prefix, q.family))
            }),
        )
        .route(
            "/v1/bgp/why",
            get(|State(s): Calls, Query(q): Query<Prefix>| {
                view(s, View::BgpWhy(q.prefix.unwrap_or_default()))
            }),
        )
        .route(
            "/v1/bgp/mrt",
            get(|State(s): Calls| async { respond(ask(s, Request::TableDump).await) }),
        )
        .route("/v1/bgp/monitor", get(slow::monitor))
        .route(
            "/v1/bgp/policy",
            get(|State(s): Calls| view(s, View::BgpPolicy)),
        )
        .route(
            "/v1/bgp/policy/test",
            get(|State(s): Calls, Query(q): Query<Trial>| {
                view(s, View::BgpPolicyTest(q.prefix, q.neighbor))
            }),
        )
}

#[derive(Debug, Deserialize)]
struct Prefix {
    prefix: Option<String>,
    family: Option<FamilyName>,
}

/// Which route to try, and at whom.
#[derive(Debug, Deserialize)]
struct Trial {
    prefix: String,
    neighbor: Option<String>,
}

/// The particulars of an order.
#[derive(Debug, Deserialize)]
struct Particulars {
    /// Of a refresh: which way; both without.
    direction: Option<Direction>,
    /// Of a reset: that routes go at once.
    #[serde(default)]
    hard: bool,
}

/// Which way routes are told again.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Direction {
    In,
    Out,
}

/// `POST /v1/bgp/neighbors/NAME/ORDER`
async fn order_neighbor(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path((name, verb)): Path<(String, String)>,
    Json(particulars): Json<Particulars>,
) -> Response {
    match orders(&verb, &particulars) {
        Some(orders) => order(calls, caller, Request::Neighbor(name, orders)).await,
        None => refused(
            StatusCode::NOT_FOUND,
            &format!("there is no order '{verb}' about a neighbor"),
            Some("orders: refresh, reset, disable, enable"),
        ),
    }
}

/// Returns what is to be done, in order.
fn orders(verb: &str, particulars: &Particulars) -> Option<Vec<PeerOrder>> {
    Some(match (verb, particulars.direction, particulars.hard) {
        ("refresh", Some(Direction::In), _) => vec![PeerOrder::RefreshIn],
        ("refresh", Some(Direction::Out), _) => vec![PeerOrder::RefreshOut],
        ("refresh", None, _) => vec![PeerOrder::RefreshIn, PeerOrder::RefreshOut],
        ("reset", _, false) => vec![PeerOrder::Reset],
        ("reset", _, true) => vec![PeerOrder::HardReset],
        ("disable", ..) => vec![PeerOrder::Disable],
        ("enable", ..) => vec![PeerOrder::Enable],
        _ => return None,
    })
}
