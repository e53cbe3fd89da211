//! `samctl trace --live` as a stream: one line of JSON per packet, and a last one that says how it ended.
//!
//! Packets come from the workers through a bounded queue; the control loop, which alone has the forwarding state's
//! history, is asked about each. It is asked one question at a time, so a flood of packets cannot keep it from BGP.

use std::convert::Infallible;
use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use sam_dataplane::trace::TapRecord;
use sam_router::view::LiveTraceEnd;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::control_socket::{Call, Request, ask};
use crate::data_plane::Captured;

/// A live trace under way.
#[derive(Debug)]
pub(crate) struct LiveTrace {
    calls: mpsc::Sender<Call>,
    captured: Captured,
    /// Packets still to show; `None` for as many as come.
    left: Option<u64>,
    until: Option<tokio::time::Instant>,
    end: LiveTraceEnd,
    has_ended: bool,
}

impl LiveTrace {
    /// Shows `count` packets, or as many as come, until a time.
    pub(crate) fn new(
        calls: mpsc::Sender<Call>,
        captured: Captured,
        count: Option<u64>,
        until: Option<tokio::time::Instant>,
    ) -> Self {
        Self {
            calls,
            captured,
            left: count,
            until,
            end: LiveTraceEnd {
                seen: 0,
                missed: 0,
                timed_out: false,
            },
            has_ended: false,
        }
    }

    /// Returns the next line and what is left; `None` after the last, or when the router stops.
    pub(crate) async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.has_ended {
            return None;
        }
        while self.left != Some(0) {
            let record = tokio::select! {
                // A flood must not outlast the time.
                biased;
                () = sleep_until(self.until) => {
                    self.end.timed_out = true;
                    self.end.missed += self.captured.waiting();
                    break;
                }
                record = self.captured.next() => record?,
            };
            let shown = self.explain(record).await?;
            self.end.missed += self.captured.take_missed();
            if !shown.is_null() {
                self.end.seen += 1;
                self.left = self.left.map(|left| left - 1);
                return Some((line(&shown), self));
            }
        }
        self.end.missed += self.captured.take_missed();
        self.has_ended = true;
        Some((line(&self.end), self))
    }

    async fn explain(&self, record: TapRecord) -> Option<Value> {
        let request = Request::TraceRecord(Box::new(record));
        ask(self.calls.clone(), request).await.document()
    }
}

async fn sleep_until(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Returns when something happened, in seconds since the Unix epoch.
pub(crate) fn wall_seconds(at: Instant) -> f64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(at.elapsed()).as_secs_f64()
}

fn line(value: &impl Serialize) -> Result<Bytes, Infallible> {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    Ok(Bytes::from(text))
}
