//! One router asks another to test its own ways: the answer is the JSON of `samctl test` there, behind its length.
//!
//! ```text
//!   magic, 8 zero bytes  ───►
//!                        ◄─── length (4 bytes, big endian), JSON
//! ```
//! Only nodes of the fabric may ask, one at a time; the router asked tests with its own limits.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sam_router::path_test::{TEST_PORT, TestTarget};
use sam_router::view::PathTestView;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::exchange::HEAD;
use super::probe::run;
use crate::bgp_io::Near;
use crate::control_socket::{Call, Reply, Request, ask};

/// What a router sends that wants a test.
pub(super) const QUESTION: [u8; HEAD] = *b"samtests\0\0\0\0\0\0\0\0";
/// Longest answer in bytes: some hundred nodes.
const ANSWER_MAX: u32 = 1 << 20;
/// Time for a router to test all its ways, or to give up some.
const PATIENCE: Duration = Duration::from_secs(90);
/// Time to wait for one's turn, and between two attempts.
const TURN: (u32, Duration) = (40, Duration::from_millis(250));

/// Asks a router for a test of its ways.
///
/// # Errors
/// Why there is none, for people.
pub(crate) async fn fetch(target: TestTarget, near: &Near) -> Result<PathTestView, String> {
    match timeout(PATIENCE, try_fetch(target, near)).await {
        Ok(Ok(view)) => Ok(view),
        Ok(Err(error)) => Err(format!("it cannot be asked: {error}")),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Err(format!("it did not answer within {seconds} s"))
        }
    }
}

async fn try_fetch(target: TestTarget, near: &Near) -> io::Result<PathTestView> {
    let far = SocketAddr::from((target.overlay, TEST_PORT));
    let connected = timeout(CONNECT, near.socket(0)?.connect(far)).await;
    let mut stream = connected.map_err(|_| late())??;
    stream.write_all(&QUESTION).await?;
    read(&mut stream).await
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<PathTestView> {
    let length = stream.read_u32().await?;
    if length > ANSWER_MAX {
        return Err(foreign("its answer is too long"));
    }
    let mut text = Vec::new();
    stream.take(length.into()).read_to_end(&mut text).await?;
    let view: PathTestView =
        serde_json::from_slice(&text).map_err(|_| foreign("its answer cannot be read"))?;
    // What is printed on an operator's terminal must not steer it, nor look like lines of its own.
    if holds_control(&serde_json::to_value(&view)?) {
        return Err(foreign("its answer holds control characters"));
    }
    Ok(view)
}

fn holds_control(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(char::is_control),
        Value::Array(items) => items.iter().any(holds_control),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains(char::is_control) || holds_control(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Tests and answers; whoever asked has given up when that fails.
pub(super) async fn serve(
    stream: &mut (impl AsyncWrite + Unpin),
    calls: &mpsc::Sender<Call>,
) -> io::Result<()> {
    let Some(view) = test(calls).await else {
        return Ok(());
    };
    let text = serde_json::to_vec(&view)?;
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    stream.write_u32(length).await?;
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// Tests all ways, once it is our turn.
async fn test(calls: &mpsc::Sender<Call>) -> Option<Value> {
    let (attempts, pause) = TURN;
    for _ in 0..attempts {
        if let Reply::TestPlan(plan) = ask(calls.clone(), Request::TestPlan(None)).await {
            let outcomes = run(plan).await;
            let judged = ask(calls.clone(), Request::TestOutcome(outcomes)).await;
            return judged.document();
        }
        tokio::time::sleep(pause).await;
    }
    None
}

fn late() -> io::Error {
    let text = format!("no connection within {} s", CONNECT.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn foreign(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_back(length: u32, text: &[u8]) -> io::Result<PathTestView> {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        far.write_u32(length).await.expect("room");
        far.write_all(text).await.expect("room");
        drop(far);
        read(&mut near).await
    }

    fn answer(name: &str) -> String {
        let from = format!(r#"{{"id": 2, "name": "{name}", "site": "s"}}"#);
        format!(r#"{{"from": {from}, "overall": "pass", "peers": []}}"#)
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_end() {
        let text = answer("aws");
        let length = u32::try_from(text.len()).expect("short");
        let view = read_back(length, text.as_bytes()).await.expect("good");
        assert_eq!(view.from.name, "aws");
    }

    #[tokio::test]
    async fn answers_that_are_too_long_or_broken_or_steer_a_terminal_are_refused() {
        let good = answer("aws");
        let length = u32::try_from(good.len()).expect("short");
        for (length, text, words) in [
            (ANSWER_MAX + 1, good.clone(), "too long"),
            (length - 1, good.clone(), "cannot be read"),
            (length + 9, good[..40].to_owned(), "cannot be read"),
            (99, answer("\\u001b[2J"), "control characters"),
            (99, answer("\\u009b2J"), "control characters"),
            (99, answer("a\\npass"), "control characters"),
            (99, answer("a\\rpass"), "control characters"),
            (99, answer("\u{7f}"), "control characters"),
        ] {
            let length = if words == "control characters" {
                u32::try_from(text.len()).expect("short")
            } else {
                length
            };
            let refused = read_back(length, text.as_bytes()).await.expect_err(words);
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }
}
