//! The control socket: one request, one answer, or a stream that ends with its reader.
//!
//! HTTP/1.1 over a unix socket. Refuses answers that are too large or too slow; every failure says what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::exit::{ErrorBody, Exit, Failure};

/// A client of one router.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Makes a client; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_path_buf(),
        }
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// When no router answers, or it refuses.
    pub fn fetch(&self, path: &str) -> Result<Bytes, Failure> {
        self.exchange(Method::GET, path, Bytes::new(), ANSWER_TIMEOUT)
    }

    /// Gives an order and returns the answer, which may be empty.
    ///
    /// # Errors
    /// When no router answers, or it refuses.
    pub fn order(&self, path: &str, body: &serde_json::Value) -> Result<Bytes, Failure> {
        self.order_within(path, body, ANSWER_TIMEOUT)
    }

    /// Gives an order that takes its time, and returns the answer.
    ///
    /// # Errors
    /// When no router answers within `patience`, or it refuses.
    pub fn order_within(
        &self,
        path: &str,
        body: &serde_json::Value,
        patience: Duration,
    ) -> Result<Bytes, Failure> {
        let body = Bytes::from(body.to_string());
        self.exchange(Method::POST, path, body, patience)
    }

    /// Follows a stream until it ends or `sink` fails.
    ///
    /// # Errors
    /// When no router answers, it refuses, or the sink fails.
    pub fn follow(
        &self,
        path: &str,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Failure> {
        block_on(async {
            let mut response = self.open(Method::GET, path, Bytes::new()).await?;
            while let Some(frame) = response.body_mut().frame().await {
                let frame = frame.map_err(|error| self.broken(&error))?;
                if let Some(bytes) = frame.data_ref() {
                    sink(bytes)?;
                }
            }
            Ok(())
        })
    }

    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, Failure> {
        let answer = async {
            let response = self.open(method, path, body).await?;
            self.collect(response).await
        };
        block_on(async {
            match tokio::time::timeout(patience, answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    let seconds = patience.as_secs();
                    let error = format!("the router did not answer within {seconds} s");
                    Err(Failure::new(Exit::TimedOut, error).remedy("is its process stopped?"))
                }
            }
        })
    }

    /// Sends a request; the answer is a good one, its body still to come.
    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        // The connection ends with the answer; its own error shows in the answer.
        drop(tokio::spawn(connection));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "samctl")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::new(Exit::Usage, format!("not a request: {error}")))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.collect(response).await?;
        Err(refusal(status, &body))
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let collected = body.collect().await.map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("the router's answer broke off: {error}"),
            )
        })?;
        Ok(collected.to_bytes())
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        let kind = error.kind();
        if kind == io::ErrorKind::PermissionDenied {
            return Failure::new(
                Exit::NotPermitted,
                format!("no permission to open {socket}"),
            )
            .remedy("use sudo, or join the group that owns the socket");
        }
        let error = if kind == io::ErrorKind::NotFound {
            format!("there is no socket {socket}")
        } else if kind == io::ErrorKind::ConnectionRefused {
            format!("no router listens on {socket}")
        } else {
            format!("cannot open {socket}: {error}")
        };
        Failure::new(Exit::Unreachable, error)
            .remedy("is `samctl run` running? another socket is named by --socket or SAMCTL_SOCKET")
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        let socket = self.socket.display();
        Failure::new(
            Exit::Unreachable,
            format!("the connection to {socket} broke: {error}"),
        )
        .remedy("did the router stop? see its log")
    }
}

/// Escapes one segment of a path (RFC 3986 section 2.3).
#[must_use]
pub fn escape(segment: &str) -> String {
    let mut escaped = String::new();
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Turns a refusal into a failure: 400 is about the request, 403 about the caller, anything else about the router.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let exit = match status {
        StatusCode::BAD_REQUEST => Exit::Usage,
        StatusCode::FORBIDDEN => Exit::NotPermitted,
        _ => Exit::Failed,
    };
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => Failure {
            exit,
            error: body.error,
            remedy: body.remedy,
        },
        Err(_) => Failure::new(exit, format!("the router answered {status}")),
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot wait for events: {error}")))?
        .block_on(future)
}

/// An answer takes milliseconds; a stopped process takes for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A RIB of 65 536 prefixes with several paths fits.
const MAX_ANSWER_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped() {
        assert_eq!(escape("aws-a.1_~"), "aws-a.1_~");
        assert_eq!(escape("a/b c?ü"), "a%2Fb%20c%3F%C3%BC");
    }

    #[test]
    fn refusals_keep_the_routers_words() {
        let body = br#"{"error": "10.0.0.1 is outside of all pools", "remedy": "choose another"}"#;
        let failure = refusal(StatusCode::CONFLICT, body);
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.error, "10.0.0.1 is outside of all pools");
        assert_eq!(failure.remedy.as_deref(), Some("choose another"));
        assert_eq!(refusal(StatusCode::FORBIDDEN, b"").exit, Exit::NotPermitted);
        assert_eq!(refusal(StatusCode::BAD_REQUEST, b"").exit, Exit::Usage);
    }
}
