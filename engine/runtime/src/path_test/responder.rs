//! Answers the tests of other routers, at the overlay address and through the TUN device only.
//!
//! Bounded: nodes of the fabric only, one at a time, [`LENGTH_MAX`](super::exchange::LENGTH_MAX) bytes each way, so
//! many seconds, so many a second; who comes meanwhile waits in the kernel's queue.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use sam_router::path_test::TEST_PORT;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::exchange::{HEAD, answer};
use super::remote;
use crate::bgp_io::Near;
use crate::control_socket::Call;

/// Routers that may wait for their turn.
const BACKLOG: u32 = 16;
/// Time for one test.
const DEADLINE: Duration = Duration::from_secs(15);
/// Time for a test of all our ways that another router wants.
const QUESTION_DEADLINE: Duration = Duration::from_secs(90);
/// Least time from one test to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// Starts to answer the nodes that have one of the addresses in `nodes`.
///
/// # Errors
/// When the device or the address cannot be bound.
pub(crate) fn serve(
    near: &Near,
    nodes: watch::Receiver<BTreeSet<Ipv4Addr>>,
    calls: mpsc::Sender<Call>,
) -> io::Result<()> {
    let listener = near.socket(TEST_PORT)?.listen(BACKLOG)?;
    let responder = Responder {
        nodes,
        calls,
        question: Arc::new(Semaphore::new(1)),
    };
    tokio::spawn(responder.run(listener));
    Ok(())
}

/// Who answers.
struct Responder {
    nodes: watch::Receiver<BTreeSet<Ipv4Addr>>,
    calls: mpsc::Sender<Call>,
    /// Who wants a test of our ways: one at a time.
    question: Arc<Semaphore>,
}

impl Responder {
    async fn run(self, listener: TcpListener) {
        loop {
            let begun = Instant::now();
            // A connection that failed before it was taken is nobody's; a lack of descriptors passes.
            if let Ok((stream, SocketAddr::V4(from))) = listener.accept().await
                && self.nodes.borrow().contains(from.ip())
            {
                // Whoever breaks off is told nothing, and the next one gets its turn.
                tokio::time::timeout(DEADLINE, self.serve_one(stream, from))
                    .await
                    .ok();
            }
            tokio::time::sleep_until(begun + INTERVAL).await;
        }
    }

    async fn serve_one(&self, mut stream: TcpStream, from: SocketAddrV4) {
        let mut head = [0; HEAD];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        if head == remote::QUESTION {
            self.serve_question(stream);
        } else {
            answer(&mut stream, head, from).await.ok();
        }
    }

    /// Tests beside the other connections: the nodes that are tested may test us meanwhile.
    fn serve_question(&self, mut stream: TcpStream) {
        let Ok(turn) = Arc::clone(&self.question).try_acquire_owned() else {
            return;
        };
        let calls = self.calls.clone();
        tokio::spawn(async move {
            let answered = remote::serve(&mut stream, &calls);
            tokio::time::timeout(QUESTION_DEADLINE, answered).await.ok();
            drop(turn);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::{LENGTH_MAX, Request, ask, sum_of};
    use super::*;

    /// A responder on the loopback that knows `nodes`.
    async fn respond_to(nodes: &[Ipv4Addr]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (sender, nodes) = watch::channel(nodes.iter().copied().collect());
        let responder = Responder {
            nodes,
            calls: mpsc::channel(1).0,
            question: Arc::new(Semaphore::new(1)),
        };
        tokio::spawn(async move {
            responder.run(listener).await;
            drop(sender);
        });
        address
    }

    fn request(length: u32) -> Request {
        Request { length, seed: 5 }
    }

    #[tokio::test]
    async fn a_node_is_answered_again_and_again_and_told_its_address() {
        let address = respond_to(&[Ipv4Addr::LOCALHOST]).await;
        for length in [0, 1, 100_000] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let own = stream.local_addr().expect("connected");
            let (report, intact) = ask(&mut stream, request(length)).await.expect("answered");
            assert_eq!(SocketAddr::from(report.seen), own);
            let expected = (length, sum_of(length, 5), true);
            assert_eq!((report.received, report.checksum, intact), expected);
        }
    }

    #[tokio::test]
    async fn strangers_and_those_who_want_too_much_get_nothing_and_hold_up_nobody() {
        let strange = respond_to(&[Ipv4Addr::new(10, 99, 0, 2)]).await;
        let mut stream = TcpStream::connect(strange)
            .await
            .expect("the kernel accepts");
        assert!(ask(&mut stream, request(10)).await.is_err());

        let known = respond_to(&[Ipv4Addr::LOCALHOST]).await;
        for wanted in [LENGTH_MAX + 1, u32::MAX] {
            let mut stream = TcpStream::connect(known).await.expect("connected");
            assert!(ask(&mut stream, request(wanted)).await.is_err());
        }
        let mut stream = TcpStream::connect(known).await.expect("connected");
        assert!(ask(&mut stream, request(10)).await.is_ok());
    }
}
