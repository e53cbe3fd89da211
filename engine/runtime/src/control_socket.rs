//! The control API: HTTP/1.1 with JSON on a unix socket.
//!
//! Who may do what is decided by the kernel's word about the caller (SO_PEERCRED): root and the router's own user may
//! change things, everybody else who can open the socket (mode 0660) may read.

mod bgp;
mod family;
mod slow;

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path as FilePath;
use std::time::Duration;

use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Json, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use sam_capture::NodeId;
use sam_dataplane::PacketFilter;
use sam_dataplane::trace::TapRecord;
use sam_router::PeerOrder;
use sam_router::RELEASE_MAX;
use sam_router::path_test::{Findings, TestTarget};
use sam_router::view::{PathTestView, Topic, TraceQuery, Watch};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub(crate) use self::family::FamilyName;
use crate::data_plane::Captured;
use crate::event_log::Stamped;
use crate::path_test::TestPlan;
use crate::pcapng::PcapngWriter;

/// A question or order for the control loop.
#[derive(Debug)]
pub(crate) enum Request {
    /// A view, as JSON.
    View(View),
    /// Own an address from now on.
    Announce(Ipv4Addr),
    /// Stop owning an address.
    Withdraw(Ipv4Addr),
    /// Leave everything to others, or act again.
    Drain(bool),
    /// `samctl bgp graceful-shutdown`
    GracefulShutdown(bool),
    /// An order about the session with the BGP neighbor of this name.
    Neighbor(String, Vec<PeerOrder>),
    /// Give an address to the node of this name.
    Handover(Ipv4Addr, String),
    /// Keep an address that is on offer.
    CancelHandover(Ipv4Addr),
    /// Do a change at the provider that waits for approval.
    Approve(u64),
    /// Undo a change at the provider.
    Undo(u64),
    /// Give a captured address back, or all, and leave it alone for so long.
    Release(Option<Ipv4Addr>, Duration),
    /// Remove from this host what must not be configured on it.
    Fix,
    /// Read the configuration again.
    Reload,
    /// Kept events, and further ones.
    Events,
    /// All paths as a table dump.
    TableDump,
    /// A place in a change feed.
    Watch(Topic),
    /// What changed from there on.
    Changes(Watch),
    /// Copies of packets.
    Pcap,
    /// Copies of packets that match.
    Trace(PacketFilter),
    /// What became of a packet, and why.
    TraceRecord(Box<TapRecord>),
    /// Whom to test: one node by name, or all.
    TestPlan(Option<String>),
    /// What a test found out.
    TestOutcome(Vec<(TestTarget, Findings)>),
    /// The tests of this router and of others.
    TestMatrix(Box<PathTestView>, OtherTests),
}

/// What other nodes said about their tests.
pub(crate) type OtherTests = Vec<(NodeId, Result<PathTestView, String>)>;

/// The views of `samctl`'s verbs.
#[derive(Debug)]
pub(crate) enum View {
    /// `samctl status`
    Status,
    /// `samctl owners`
    Owners,
    /// `samctl routes`
    Routes,
    /// `samctl bgp neighbors`
    BgpNeighbors,
    /// `samctl bgp neighbor`
    BgpNeighbor(String),
    /// `samctl bgp neighbor NODE TABLE`
    BgpTable(String, String, Option<FamilyName>),
    /// `samctl bfd`
    Bfd,
    /// `samctl vrrp`
    Vrrp,
    /// `samctl captures`
    Captures,
    /// `samctl actions`, all or one
    Actions(Option<u64>),
    /// `samctl bgp rib`
    BgpRib(Option<String>, Option<FamilyName>),
    /// `samctl bgp why`
    BgpWhy(String),
    /// `samctl bgp policy show`
    BgpPolicy,
    /// `samctl bgp policy test`
    BgpPolicyTest(String, Option<String>),
    /// `samctl tunnels`
    Tunnels,
    /// `samctl arp`
    Arp,
    /// `samctl discovery`
    Discovery,
    /// `samctl explain`
    Explain(Ipv4Addr),
    /// `samctl trace`
    Trace(TraceQuery),
    /// `samctl doctor`
    Doctor(Option<String>),
    /// `samctl counters`
    Counters,
    /// `samctl drain`
    Drain,
    /// `samctl handover`
    Handovers,
    /// `samctl version`
    Version,
}

/// The answer of the control loop.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A document.
    Json(Value),
    /// Kept events and the source of further ones.
    Events(Vec<Stamped>, broadcast::Receiver<Stamped>),
    /// A file.
    File(Vec<u8>),
    /// A place in a change feed, and what tells that it may be worth while to read on.
    Watch(Watch, watch::Receiver<u64>),
    /// The place after these lines.
    Changes(Watch, String),
    /// A capture under way.
    Pcap(PcapngWriter, Captured),
    /// Whom to test.
    TestPlan(TestPlan),
    /// A live trace under way.
    Trace(Captured),
    /// A refusal.
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What is wrong.
        error: String,
        /// What would help.
        remedy: Option<String>,
    },
}

impl Reply {
    /// Takes the document out, if it is one.
    pub(crate) fn document(self) -> Option<Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Events(..)
            | Self::File(_)
            | Self::Watch(..)
            | Self::Changes(..)
            | Self::Pcap(..)
            | Self::TestPlan(_)
            | Self::Trace(_)
            | Self::Refused { .. } => None,
        }
    }
}

/// A request on its way to the control loop, with the place for the answer.
pub(crate) type Call = (Request, oneshot::Sender<Reply>);

/// Who calls.
#[derive(Debug, Clone, Copy)]
struct Caller {
    may_change: bool,
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let own = sam_net::process::effective_user_id();
        let may_change = stream
            .io()
            .peer_cred()
            .is_ok_and(|credentials| credentials.uid() == 0 || credentials.uid() == own);
        Self { may_change }
    }
}

/// Opens the socket and serves it; requests go to `calls`.
///
/// # Errors
/// When the socket cannot be made, or another router listens on it.
pub(crate) async fn serve(path: &FilePath, calls: mpsc::Sender<Call>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another router listens on it; stop that one, or give this one another self.control.socket",
        ));
    }
    // A socket that nobody listens on is what a killed router leaves; anything else is not ours to remove.
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is in its place; correct self.control.socket",
            ));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    let service = router(calls).into_make_service_with_connect_info::<Caller>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(())
}

fn router(calls: mpsc::Sender<Call>) -> axum::Router {
    axum::Router::new()
        .merge(views())
        .merge(bgp::views())
        .merge(orders())
        .fallback(|| async {
            refused(
                StatusCode::NOT_FOUND,
                "no such resource",
                Some("samctl --help lists the verbs"),
            )
        })
        .with_state(calls)
}

type Routes = axum::Router<mpsc::Sender<Call>>;

fn views() -> Routes {
    axum::Router::new()
        .route("/v1/status", get(|State(s): Calls| view(s, View::Status)))
        .route("/v1/owners", get(|State(s): Calls| view(s, View::Owners)))
        .route("/v1/bfd", get(|State(s): Calls| view(s, View::Bfd)))
        .route("/v1/vrrp", get(|State(s): Calls| view(s, View::Vrrp)))
        .route("/v1/routes", get(|State(s): Calls| view(s, View::Routes)))
        .route("/v1/tunnels", get(|State(s): Calls| view(s, View::Tunnels)))
        .route("/v1/arp", get(|State(s): Calls| view(s, View::Arp)))
        .route(
            "/v1/discovery",
            get(|State(s): Calls| view(s, View::Discovery)),
        )
        .route("/v1/explain/{address}", get(explain))
        .route("/v1/trace", get(trace))
        .route("/v1/trace/live", get(slow::trace_live))
        .route(
            "/v1/doctor",
            get(|State(s): Calls, Query(q): Query<Area>| view(s, View::Doctor(q.area))),
        )
        .route(
            "/v1/counters",
            get(|State(s): Calls| view(s, View::Counters)),
        )
        .route("/v1/version", get(|State(s): Calls| view(s, View::Version)))
        .route("/v1/events", get(slow::events))
        .route("/v1/pcap", get(slow::pcap))
        .route(
            "/v1/captures",
            get(|State(s): Calls| view(s, View::Captures)),
        )
        .route(
            "/v1/actions",
            get(|State(s): Calls| view(s, View::Actions(None))),
        )
        .route("/v1/actions/{id}", get(action))
}

fn orders() -> Routes {
    axum::Router::new()
        .route("/v1/approve", post(approve))
        .route("/v1/undo", post(undo))
        .route("/v1/fix", post(fix))
        .route("/v1/release", post(release))
        .route(
            "/v1/drain",
            get(|State(s): Calls| view(s, View::Drain)).post(drain),
        )
        .route("/v1/bgp/graceful-shutdown", post(graceful_shutdown))
        .route(
            "/v1/handover",
            get(|State(s): Calls| view(s, View::Handovers)).post(handover),
        )
        .route("/v1/handover/cancel", post(cancel_handover))
        .route("/v1/announce", post(announce))
        .route("/v1/withdraw", post(withdraw))
        .route("/v1/reload", post(reload))
        .route("/v1/test", post(slow::test))
        .route("/v1/test/all", post(slow::test_all))
}

type Calls = State<mpsc::Sender<Call>>;

#[derive(Debug, Deserialize)]
struct ActionId {
    id: u64,
}

/// What to give back; all without an address.
#[derive(Debug, Deserialize)]
struct Release {
    address: Option<Ipv4Addr>,
    hold_s: u64,
}

#[derive(Debug, Deserialize)]
struct Area {
    area: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Address {
    address: String,
}

#[derive(Debug, Deserialize)]
struct Switch {
    on: bool,
}

#[derive(Debug, Deserialize)]
struct Offer {
    address: String,
    to: String,
}

pub(crate) async fn ask(calls: mpsc::Sender<Call>, request: Request) -> Reply {
    let (sender, receiver) = oneshot::channel();
    if calls.send((request, sender)).await.is_err() {
        return stopping();
    }
    receiver.await.unwrap_or_else(|_| stopping())
}

fn stopping() -> Reply {
    Reply::Refused {
        status: StatusCode::SERVICE_UNAVAILABLE,
        error: "the router is stopping".to_owned(),
        remedy: None,
    }
}

fn respond(reply: Reply) -> Response {
    match reply {
        Reply::Json(value) => Json(value).into_response(),
        Reply::Events(kept, _) => Json(kept).into_response(),
        Reply::File(bytes) => bytes.into_response(),
        Reply::Watch(..)
        | Reply::Changes(..)
        | Reply::Pcap(..)
        | Reply::TestPlan(_)
        | Reply::Trace(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Reply::Refused {
            status,
            error,
            remedy,
        } => refused(status, &error, remedy.as_deref()),
    }
}

fn refused(status: StatusCode, error: &str, remedy: Option<&str>) -> Response {
    (status, Json(json!({ "error": error, "remedy": remedy }))).into_response()
}

async fn view(calls: mpsc::Sender<Call>, view: View) -> Response {
    respond(ask(calls, Request::View(view)).await)
}

async fn explain(State(calls): Calls, Path(address): Path<String>) -> Response {
    match address.parse() {
        Ok(address) => view(calls, View::Explain(address)).await,
        Err(_) => not_an_address(&address),
    }
}

async fn trace(State(calls): Calls, query: Result<Query<TraceQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => view(calls, View::Trace(query)).await,
        Err(rejection) => refused(
            StatusCode::BAD_REQUEST,
            &rejection.body_text(),
            Some(
                "/v1/trace?from=ADDRESS&to=ADDRESS[&protocol=icmp|tcp|udp][&port=N][&size=BYTES][&df=true]",
            ),
        ),
    }
}

fn not_an_address(text: &str) -> Response {
    refused(
        StatusCode::BAD_REQUEST,
        &format!("'{text}' is no IPv4 address"),
        Some("give an address such as 10.77.60.10"),
    )
}

async fn announce(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Address>,
) -> Response {
    change(calls, caller, &body.address, Request::Announce).await
}

async fn withdraw(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Address>,
) -> Response {
    change(calls, caller, &body.address, Request::Withdraw).await
}

async fn drain(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Switch>,
) -> Response {
    order(calls, caller, Request::Drain(body.on)).await
}

async fn graceful_shutdown(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Switch>,
) -> Response {
    order(calls, caller, Request::GracefulShutdown(body.on)).await
}

async fn handover(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Offer>,
) -> Response {
    let Offer { address, to } = body;
    change(calls, caller, &address, |address| {
        Request::Handover(address, to)
    })
    .await
}

async fn cancel_handover(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Address>,
) -> Response {
    change(calls, caller, &body.address, Request::CancelHandover).await
}

async fn change(
    calls: mpsc::Sender<Call>,
    caller: Caller,
    address: &str,
    request: impl FnOnce(Ipv4Addr) -> Request,
) -> Response {
    if !caller.may_change {
        return not_permitted();
    }
    match address.parse() {
        Ok(address) => respond(ask(calls, request(address)).await),
        Err(_) => not_an_address(address),
    }
}

/// Passes on what changes something, from who may do that.
async fn order(calls: mpsc::Sender<Call>, caller: Caller, request: Request) -> Response {
    if !caller.may_change {
        return not_permitted();
    }
    respond(ask(calls, request).await)
}

fn not_permitted() -> Response {
    refused(
        StatusCode::FORBIDDEN,
        "only root and the router's own user may do this",
        Some("use sudo"),
    )
}

async fn action(State(calls): Calls, Path(id): Path<String>) -> Response {
    match id.parse() {
        Ok(id) => view(calls, View::Actions(Some(id))).await,
        Err(_) => refused(
            StatusCode::BAD_REQUEST,
            &format!("'{id}' is no number of an action"),
            Some("`samctl actions` lists them"),
        ),
    }
}

async fn approve(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<ActionId>,
) -> Response {
    order(calls, caller, Request::Approve(body.id)).await
}

async fn undo(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<ActionId>,
) -> Response {
    order(calls, caller, Request::Undo(body.id)).await
}

async fn release(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Release>,
) -> Response {
    let hold = Duration::from_secs(body.hold_s).min(RELEASE_MAX);
    order(calls, caller, Request::Release(body.address, hold)).await
}

async fn fix(State(calls): Calls, ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    order(calls, caller, Request::Fix).await
}

async fn reload(State(calls): Calls, ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    order(calls, caller, Request::Reload).await
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use sam_router::view::TraceProtocol;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_query_for_a_trace_has_defaults() {
        let mut api = Api::start("defaults").await;

        let asked = api.ask("/v1/trace?from=10.77.60.10&to=10.77.60.11").await;

        let expected = TraceQuery {
            from: Ipv4Addr::new(10, 77, 60, 10),
            to: Ipv4Addr::new(10, 77, 60, 11),
            protocol: TraceProtocol::Icmp,
            port: None,
            size: TraceQuery::DEFAULT_SIZE,
            df: false,
        };
        assert_eq!(asked, Ok(expected));
        let asked = api
            .ask("/v1/trace?from=10.77.60.10&to=10.77.60.11&protocol=tcp&port=22&size=1500&df=true")
            .await;
        let expected = TraceQuery {
            protocol: TraceProtocol::Tcp,
            port: Some(22),
            size: 1500,
            df: true,
            ..expected
        };
        assert_eq!(asked, Ok(expected));
    }

    #[tokio::test]
    async fn a_query_that_makes_no_sense_is_refused_in_json_and_asks_nobody() {
        let mut api = Api::start("nonsense").await;
        for (query, words) in [
            ("", "missing field `from`"),
            ("from=10.77.60.10", "missing field `to`"),
            ("from=lan60&to=10.77.60.11", "from"),
            (
                "from=10.77.60.10&to=10.77.60.11&protocol=sctp",
                "`icmp`, `tcp`, `udp`",
            ),
            ("from=10.77.60.10&to=10.77.60.11&size=65536", "size"),
            ("from=10.77.60.10&to=10.77.60.11&port=-1", "port"),
            ("from=10.77.60.10&to=10.77.60.11&df=perhaps", "df"),
        ] {
            let refused = api.ask(&format!("/v1/trace?{query}")).await;

            let refused = refused.expect_err(query);
            assert!(refused.starts_with("HTTP/1.1 400 "), "{query}: {refused}");
            let (_, body) = refused.split_once("\r\n\r\n").expect("a body");
            let body: Value = serde_json::from_str(body).expect("JSON");
            let error = body["error"].as_str().unwrap_or_default();
            assert!(error.contains(words), "{query}: {error}");
            assert!(body["remedy"].is_string(), "{query}");
        }
    }

    /// The control API without a router behind it.
    struct Api {
        folder: PathBuf,
        calls: mpsc::Receiver<Call>,
    }

    impl Api {
        async fn start(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("api-{}-{name}", std::process::id()));
            let (sender, calls) = mpsc::channel(1);
            serve(&folder.join("s"), sender).await.expect("served");
            Self { folder, calls }
        }

        /// Returns what the router was asked for, or the answer when it was not asked.
        async fn ask(&mut self, target: &str) -> Result<TraceQuery, String> {
            let stream = UnixStream::connect(self.folder.join("s")).await;
            let mut stream = stream.expect("connected");
            let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            tokio::select! {
                call = self.calls.recv() => match call {
                    Some((Request::View(View::Trace(query)), _)) => Ok(query),
                    other => panic!("{other:?}"),
                },
                read = stream.read_to_string(&mut answer) => {
                    read.expect("an answer");
                    Err(answer)
                }
            }
        }
    }

    impl Drop for Api {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}
