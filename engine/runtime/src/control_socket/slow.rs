//! Answers that take their time: streams that end with their reader, and tests that wait for the network. They run
//! beside the control loop, which is asked for single steps only.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Json, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use sam_dataplane::PacketFilter;
use sam_router::view::Topic;
use serde::Deserialize;
use tokio::sync::broadcast;

use super::{Caller, Calls, Reply, Request, ask, not_permitted, refused, respond, stopping};
use crate::event_log::Stamped;
use crate::live_trace::LiveTrace;
use crate::monitor::Monitor;
use crate::path_test;

#[derive(Debug, Deserialize)]
pub(super) struct Follow {
    #[serde(default)]
    follow: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Watched {
    #[serde(default)]
    topic: Topic,
}

#[derive(Debug, Deserialize)]
pub(super) struct Live {
    #[serde(default)]
    filter: String,
    count: Option<u64>,
    /// Seconds.
    timeout: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    #[serde(default)]
    node: Option<String>,
}

pub(super) async fn events(State(calls): Calls, Query(query): Query<Follow>) -> Response {
    let reply = ask(calls, Request::Events).await;
    let Reply::Events(kept, receiver) = reply else {
        return respond(reply);
    };
    if !query.follow {
        return respond(Reply::Events(kept, receiver));
    }
    let kept = stream::iter(kept.into_iter().map(|event| line(&event)));
    let further = stream::unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Ok(event) => Some((line(&event), receiver)),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                let notice = format!("{{\"missed\":{missed}}}\n");
                Some((Ok(Bytes::from(notice)), receiver))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    });
    let body = Body::from_stream(stream::StreamExt::chain(kept, further));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// A reader that does not read holds up nobody: the stream asks for more only when there is room for it.
pub(super) async fn monitor(
    State(calls): Calls,
    query: Result<Query<Watched>, QueryRejection>,
) -> Response {
    let topic = match query {
        Ok(Query(query)) => query.topic,
        Err(rejection) => {
            let usage = "/v1/bgp/monitor[?topic=rib|neighbors|owners]";
            return refused(StatusCode::BAD_REQUEST, &rejection.body_text(), Some(usage));
        }
    };
    let reply = ask(calls.clone(), Request::Watch(topic)).await;
    let Reply::Watch(watch, news) = reply else {
        return respond(reply);
    };
    let monitor = Monitor::new(calls, watch, news);
    let body = Body::from_stream(stream::unfold(monitor, Monitor::next));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn line(event: &Stamped) -> Result<Bytes, Infallible> {
    let mut text = serde_json::to_string(event).unwrap_or_default();
    text.push('\n');
    Ok(Bytes::from(text))
}

pub(super) async fn pcap(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
) -> Response {
    if !caller.may_change {
        return not_permitted();
    }
    let reply = ask(calls, Request::Pcap).await;
    let Reply::Pcap(writer, captured) = reply else {
        return respond(reply);
    };
    let header = Bytes::from(writer.header());
    let packets = stream::unfold((writer, captured), |(writer, mut captured)| async move {
        let mut missed = 0;
        loop {
            let record = captured.next().await?;
            missed += captured.take_missed();
            match writer.packet(&record, missed) {
                Some(bytes) => {
                    return Some((Ok::<_, Infallible>(Bytes::from(bytes)), (writer, captured)));
                }
                // A tunnel that is younger than the capture has no interface there.
                None => missed += 1,
            }
        }
    });
    let start = stream::once(async move { Ok(header) });
    let body = Body::from_stream(stream::StreamExt::chain(start, packets));
    ([(header::CONTENT_TYPE, "application/x-pcapng")], body).into_response()
}

pub(super) async fn trace_live(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    query: Result<Query<Live>, QueryRejection>,
) -> Response {
    if !caller.may_change {
        return not_permitted();
    }
    let usage = "/v1/trace/live[?filter=TERMS][&count=N][&timeout=SECONDS]";
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => {
            return refused(StatusCode::BAD_REQUEST, &rejection.body_text(), Some(usage));
        }
    };
    let filter = match query.filter.parse::<PacketFilter>() {
        Ok(filter) => filter,
        Err(refusal) => {
            let remedy = refusal.remedy();
            return refused(StatusCode::BAD_REQUEST, &refusal.to_string(), Some(&remedy));
        }
    };
    let reply = ask(calls.clone(), Request::Trace(filter)).await;
    let Reply::Trace(captured) = reply else {
        return respond(reply);
    };
    let timeout = query
        .timeout
        .map(|seconds| Duration::from_secs(seconds.into()));
    let until = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    let trace = LiveTrace::new(calls, captured, query.count, until);
    let body = Body::from_stream(stream::unfold(trace, LiveTrace::next));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// Runs beside the control loop, which must not wait for the network.
pub(super) async fn test(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(body): Json<Node>,
) -> Response {
    if !caller.may_change {
        return not_permitted();
    }
    let reply = ask(calls.clone(), Request::TestPlan(body.node)).await;
    let Reply::TestPlan(plan) = reply else {
        return respond(reply);
    };
    let outcomes = path_test::run(plan).await;
    respond(ask(calls, Request::TestOutcome(outcomes)).await)
}

/// Tests here first, then asks the other routers in turn, so that no two tests disturb each other.
pub(super) async fn test_all(
    State(calls): Calls,
    ConnectInfo(caller): ConnectInfo<Caller>,
) -> Response {
    if !caller.may_change {
        return not_permitted();
    }
    let reply = ask(calls.clone(), Request::TestPlan(None)).await;
    let Reply::TestPlan(plan) = reply else {
        return respond(reply);
    };
    let (targets, near) = (plan.targets.clone(), plan.near.clone());
    let outcomes = path_test::run(plan).await;
    let judged = ask(calls.clone(), Request::TestOutcome(outcomes)).await;
    let Some(Ok(own)) = judged.document().map(serde_json::from_value) else {
        return respond(stopping());
    };
    let mut others = Vec::new();
    for target in targets {
        others.push((target.node, path_test::fetch(target, &near).await));
    }
    let request = Request::TestMatrix(Box::new(own), others);
    respond(ask(calls, request).await)
}
