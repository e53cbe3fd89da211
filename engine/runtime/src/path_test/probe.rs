//! One test of several nodes: echo, then lengths, then a transfer, the nodes side by side.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use sam_router::path_test::{Findings, Sweep, TEST_PORT, TestTarget, Transfer};
use tokio::sync::OwnedSemaphorePermit;

use super::echo::Echo;
use super::exchange::{self, Request};
use crate::bgp_io::Near;

/// Nodes that are tested at the same time.
const NODES_AT_ONCE: usize = 8;
/// Length of the first packets in bytes, as `ping` sends them.
const ECHO_SIZE: u16 = 84;
/// Time for each of the first answers; the first may have to wait for a handshake.
const ECHO_PATIENCE: [Duration; 3] = [
    Duration::from_millis(1500),
    Duration::from_millis(1500),
    Duration::from_secs(3),
];
/// Least and longest time for an answer while lengths are tried; between, four times that of the first one.
const SWEEP_PATIENCE: (Duration, Duration) =
    (Duration::from_millis(300), Duration::from_millis(1500));
/// Bytes of a transfer in each direction.
const TRANSFER_BYTES: u32 = 128 * 1024;
/// Time for a transfer; the other side, which gives each 15 s, may have to finish with somebody else first.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(32);

/// What to test, and from where. While it exists no other test runs.
#[derive(Debug)]
pub(crate) struct TestPlan {
    /// The nodes.
    pub(crate) targets: Vec<TestTarget>,
    /// Our end.
    pub(crate) near: Near,
    /// What makes it the only one.
    pub(crate) turn: OwnedSemaphorePermit,
}

/// Tests all nodes of a plan.
pub(crate) async fn run(plan: TestPlan) -> Vec<(TestTarget, Findings)> {
    let TestPlan {
        targets,
        near,
        turn,
    } = plan;
    let near = &near;
    let outcomes = stream::iter(targets)
        .map(|target| async move { (target, probe(target, near).await) })
        .buffered(NODES_AT_ONCE)
        .collect()
        .await;
    drop(turn);
    outcomes
}

async fn probe(target: TestTarget, near: &Near) -> Findings {
    let mut findings = Findings::default();
    if let Err(obstacle) = try_probe(target, near, &mut findings).await {
        findings.obstacle = Some(format!("{obstacle:#}"));
    }
    findings
}

async fn try_probe(
    target: TestTarget,
    near: &Near,
    findings: &mut Findings,
) -> Result<(), anyhow::Error> {
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or_default();
    let mut echo = Echo::open(near.overlay, &near.tun, target.overlay, id)?;
    for patience in ECHO_PATIENCE {
        findings.echo = echo.ask(ECHO_SIZE, patience).await?;
        if findings.echo.is_some() {
            break;
        }
    }
    let Some(time) = findings.echo else {
        return Ok(());
    };
    let (least, longest) = SWEEP_PATIENCE;
    let patience = (time * 4).clamp(least, longest);
    let mut sweep = Sweep::new(ECHO_SIZE, target.mtu);
    while let Some(size) = sweep.poll_size() {
        let answer = echo.ask(size, patience).await?;
        sweep.handle_outcome(answer.is_some());
    }
    findings.sweep = Some(sweep.result());
    findings.transfer = Some(transfer(target, near).await);
    Ok(())
}

async fn transfer(target: TestTarget, near: &Near) -> Transfer {
    match tokio::time::timeout(TRANSFER_PATIENCE, try_transfer(target, near)).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Transfer::Refused,
        Ok(Err(error)) => Transfer::Failed(format!("the transfer broke off: {error}")),
        Err(_) => {
            let seconds = TRANSFER_PATIENCE.as_secs();
            Transfer::Failed(format!("the transfer did not end within {seconds} s"))
        }
    }
}

async fn try_transfer(target: TestTarget, near: &Near) -> io::Result<Transfer> {
    let far = SocketAddr::from((target.overlay, TEST_PORT));
    let mut stream = near.socket(0)?.connect(far).await?;
    let request = Request {
        length: TRANSFER_BYTES,
        seed: std::process::id(),
    };
    let begun = Instant::now();
    let (report, intact_here) = exchange::ask(&mut stream, request).await?;
    let expected = exchange::sum_of(request.length, request.seed);
    let own = match stream.local_addr()? {
        SocketAddr::V4(own) => own,
        SocketAddr::V6(own) => SocketAddrV4::new(near.overlay, own.port()),
    };
    Ok(Transfer::Done {
        bytes: request.length,
        time: begun.elapsed(),
        intact_there: report.received == request.length && report.checksum == expected,
        intact_here,
        own,
        seen: report.seen,
    })
}
