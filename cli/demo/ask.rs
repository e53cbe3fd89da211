//! One question to a router's control socket, without a runtime: the demo asks from ordinary threads.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gets a document.
///
/// # Errors
/// When the socket is missing or the answer is an error.
pub(super) fn get(socket: &Path, path: &str) -> Result<Value> {
    call(
        socket,
        &format!("GET {path} HTTP/1.0\r\nHost: samctl\r\n\r\n"),
    )
}

/// Posts a document.
///
/// # Errors
/// When the socket is missing or the answer is an error.
pub(super) fn post(socket: &Path, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    call(
        socket,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: samctl\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn call(socket: &Path, request: &str) -> Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the router's answer is no HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{}", body.trim());
    }
    serde_json::from_str(body).context("the router's answer is no JSON")
}
