//! `samctl bgp monitor` as a stream: one line of JSON per change.
//!
//! The control loop keeps nothing for a monitor. The stream keeps its place, asks for some lines whenever the reader
//! has room for more, and waits for news when there are none. So a reader that does not read holds up nobody, and
//! finds the latest state when it reads on.

use std::convert::Infallible;
use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use sam_router::Router;
use sam_router::view::{MonitorView, Watch};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::control_socket::{Call, Reply, Request, ask};

/// Lines in one answer of the control loop: few enough not to keep it from BGP.
const LINES: usize = 128;

/// A change with the time when it was read.
#[derive(Debug, Serialize)]
struct Stamped {
    /// Seconds since the Unix epoch.
    time: f64,
    /// What is the case now.
    #[serde(flatten)]
    change: MonitorView,
}

/// A monitor under way.
#[derive(Debug)]
pub(crate) struct Monitor {
    calls: mpsc::Sender<Call>,
    watch: Watch,
    news: watch::Receiver<u64>,
}

impl Monitor {
    /// Begins; `news` changes whenever there may be something to read.
    pub(crate) fn new(calls: mpsc::Sender<Call>, watch: Watch, news: watch::Receiver<u64>) -> Self {
        Self { calls, watch, news }
    }

    /// Returns the next lines and what is left; `None` when the router stops.
    pub(crate) async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            // Before the question: what comes after it wakes the wait.
            self.news.mark_unchanged();
            let request = Request::Changes(self.watch);
            let Reply::Changes(watch, lines) = ask(self.calls.clone(), request).await else {
                return None;
            };
            self.watch = watch;
            if !lines.is_empty() {
                return Some((Ok(Bytes::from(lines)), self));
            }
            self.news.changed().await.ok()?;
        }
    }
}

/// Reads on for a monitor: some lines, or none.
pub(crate) fn read(router: &Router, mut watch: Watch) -> (Watch, String) {
    let time = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let mut lines = String::new();
    for change in router.changes(&mut watch, LINES, Instant::now()) {
        let stamped = Stamped { time, change };
        lines.push_str(&serde_json::to_string(&stamped).unwrap_or_default());
        lines.push('\n');
    }
    (watch, lines)
}
