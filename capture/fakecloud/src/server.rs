//! A [`World`] on a socket: the one file here that reads the clock and the network. It decides nothing.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::{Delivery, Request, Response, Time, World};

/// The body of a request at most; a NIC with 256 addresses has a tenth of it.
const MAX_BODY: usize = 4 << 20;

/// Connections at the same time; further ones wait.
const MAX_CONNECTIONS: usize = 512;

/// How long a caller that gets no answer is kept waiting.
const SILENCE: Duration = Duration::from_secs(3600);

/// A world that is served, and perhaps carries frames at the same time.
pub type Shared = Arc<Mutex<World>>;

/// Serves a world until the future is dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, world: World) -> io::Result<()> {
    serve_shared(listener, Arc::new(Mutex::new(world))).await
}

/// Serves a world that others use too, until the future is dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve_shared(listener: TcpListener, world: Shared) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&room).acquire_owned().await;
        let (stream, peer) = listener.accept().await?;
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            connection(stream, peer.ip(), world).await;
            drop(place);
        });
    }
}

/// Reads the clock.
#[must_use]
pub fn now() -> Time {
    #[expect(
        clippy::disallowed_methods,
        reason = "the world is told the time; somebody has to read it"
    )]
    let now = std::time::SystemTime::now();
    DateTime::from(now)
}

async fn connection(stream: TcpStream, peer: IpAddr, world: Shared) {
    let service = service_fn(move |request| exchange(request, peer, Arc::clone(&world)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A caller that goes away is its own affair, and a lost answer ends as an error on purpose.
    connection.await.unwrap_or(());
}

/// Answers one request; an error closes the connection without an answer.
async fn exchange(
    incoming: hyper::Request<Incoming>,
    peer: IpAddr,
    world: Shared,
) -> Result<hyper::Response<Served>, io::Error> {
    let (parts, body) = incoming.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(convert(Response::empty(413), Served::whole));
    };
    let request = convert_request(peer, &parts, body.to_bytes().to_vec());
    let admission = locked(&world, |world| world.admit(&request, now()));
    pause(admission.wait).await;
    let reply = locked(&world, |world| world.answer(&request, &admission, now()));
    pause(reply.wait).await;
    match reply.delivery {
        Delivery::Answer(response) => Ok(convert(response, Served::whole)),
        Delivery::Cut(response) => Ok(convert(response, Served::cut)),
        Delivery::Closed => Err(io::ErrorKind::ConnectionAborted.into()),
        Delivery::Silence => {
            tokio::time::sleep(SILENCE).await;
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

/// Does something with a world between two requests.
pub fn locked<T>(world: &Shared, act: impl FnOnce(&mut World) -> T) -> T {
    act(&mut world.lock().unwrap_or_else(PoisonError::into_inner))
}

fn convert_request(peer: IpAddr, parts: &Parts, body: Vec<u8>) -> Request {
    let headers = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body,
        peer: Some(peer),
    }
}

async fn pause(wait: TimeDelta) {
    if let Ok(wait) = wait.to_std()
        && !wait.is_zero()
    {
        tokio::time::sleep(wait).await;
    }
}

/// The body of an answer, of which the end may be kept back.
#[derive(Debug)]
struct Served {
    /// What is still to be sent.
    part: Bytes,
    /// Bytes that are announced, and never come.
    missing: u64,
    /// Whether what was sent had time to leave.
    has_left: bool,
}

impl Served {
    fn whole(part: Bytes) -> Self {
        Self {
            part,
            missing: 0,
            has_left: false,
        }
    }

    /// Announces all and sends half.
    fn cut(mut part: Bytes) -> Self {
        let missing = part.split_off(part.len() / 2);
        Self {
            missing: missing.len() as u64,
            ..Self::whole(part)
        }
    }
}

impl Body for Served {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.part.is_empty() {
            let part = std::mem::take(&mut self.part);
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if self.missing == 0 {
            return Poll::Ready(None);
        }
        if !self.has_left {
            // What is buffered is written out only when there is nothing more for the moment.
            self.has_left = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.part.is_empty() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.part.len() as u64 + self.missing)
    }
}

fn convert(response: Response, body: fn(Bytes) -> Served) -> hyper::Response<Served> {
    let mut answer = hyper::Response::new(body(Bytes::from(response.body)));
    let status = StatusCode::from_u16(response.status);
    *answer.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), value.parse()) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}
