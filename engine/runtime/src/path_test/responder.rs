//! Answers the tests of other routers, at the overlay address and through the TUN device only.
//!
//! Bounded: nodes of the fabric only, one at a time, [`LENGTH_MAX`](super::exchange::LENGTH_MAX) bytes each way, so
//! many seconds, so many a second; who comes meanwhile waits in the kernel's queue.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sam_router::path_test::TEST_PORT;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::exchange::answer;
use crate::bgp_io::Near;

/// Routers that may wait for their turn.
const BACKLOG: u32 = 16;
/// Time for one test.
const DEADLINE: Duration = Duration::from_secs(5);
/// Least time from one test to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// Starts to answer the nodes that have one of the addresses in `nodes`.
///
/// # Errors
/// When the device or the address cannot be bound.
pub(crate) fn serve(near: &Near, nodes: watch::Receiver<BTreeSet<Ipv4Addr>>) -> io::Result<()> {
    let listener = near.socket(TEST_PORT)?.listen(BACKLOG)?;
    tokio::spawn(run(listener, nodes));
    Ok(())
}

async fn run(listener: TcpListener, nodes: watch::Receiver<BTreeSet<Ipv4Addr>>) {
    loop {
        let begun = Instant::now();
        // A connection that failed before it was taken is nobody's; a lack of descriptors passes.
        if let Ok((stream, from)) = listener.accept().await
            && is_known(from, &nodes)
        {
            // Whoever breaks off is told nothing, and the next one gets its turn.
            tokio::time::timeout(DEADLINE, serve_one(stream, from))
                .await
                .ok();
        }
        tokio::time::sleep_until(begun + INTERVAL).await;
    }
}

fn is_known(from: SocketAddr, nodes: &watch::Receiver<BTreeSet<Ipv4Addr>>) -> bool {
    matches!(from, SocketAddr::V4(from) if nodes.borrow().contains(from.ip()))
}

async fn serve_one(mut stream: TcpStream, from: SocketAddr) {
    if let SocketAddr::V4(from) = from {
        answer(&mut stream, from).await.ok();
    }
}
