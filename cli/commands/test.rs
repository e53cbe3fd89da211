//! `samctl test [NODE]`: what passes to the other nodes and back.

use std::time::Duration;

use sam_router::view::{CheckStatus, PathTestView};
use serde_json::json;

use super::show::Request;
use crate::Streams;
use crate::args::Format;
use crate::exit::{Exit, Failure};

/// Time for a test of all nodes: eight at a time, half a minute each when everything is lost.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lets the router test; a failed check fails the command, warnings and skipped checks do not.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn test(
    node: Option<&str>,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    if request.format == Format::Table && streams.color_stderr {
        writeln!(streams.stderr, "testing, this takes seconds")?;
    }
    let body = json!({ "node": node });
    let document = request.order::<PathTestView>("/v1/test", &body, PATIENCE)?;
    request.print(&document, streams)?;
    Ok(match document.view.overall {
        CheckStatus::Fail => Exit::ChecksFailed,
        CheckStatus::Skip | CheckStatus::Pass | CheckStatus::Warn => Exit::Ok,
    })
}
