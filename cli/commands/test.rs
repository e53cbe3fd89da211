//! `samctl test [NODE]`: what passes to the other nodes and back; `--all`: between all sites.

use std::time::Duration;

use sam_router::view::{CheckStatus, PathTestView, TestMatrixView};
use serde_json::json;

use super::show::Request;
use crate::Streams;
use crate::args::Format;
use crate::exit::{Exit, Failure};

/// Time for a test of all nodes: eight at a time, half a minute each when everything is lost.
const PATIENCE: Duration = Duration::from_secs(180);

/// Time for the routers of a fabric, each with its own patience.
const PATIENCE_ALL: Duration = Duration::from_secs(1800);

/// Lets the router test; a failed check fails the command, warnings and skipped checks do not.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn test(
    node: Option<&str>,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    announce(request, streams)?;
    let body = json!({ "node": node });
    let document = request.order::<PathTestView>("/v1/test", &body, PATIENCE)?;
    request.print(&document, streams)?;
    Ok(exit(document.view.overall))
}

/// Lets every router test, one after the other.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn test_all(request: &Request<'_>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    announce(request, streams)?;
    let body = json!({});
    let document = request.order::<TestMatrixView>("/v1/test/all", &body, PATIENCE_ALL)?;
    request.print(&document, streams)?;
    Ok(exit(document.view.overall))
}

fn announce(request: &Request<'_>, streams: &mut Streams<'_>) -> Result<(), Failure> {
    if request.format == Format::Table && streams.color_stderr {
        writeln!(streams.stderr, "testing, this takes seconds")?;
    }
    Ok(())
}

fn exit(overall: CheckStatus) -> Exit {
    match overall {
        CheckStatus::Fail => Exit::ChecksFailed,
        CheckStatus::Skip | CheckStatus::Pass | CheckStatus::Warn => Exit::Ok,
    }
}
