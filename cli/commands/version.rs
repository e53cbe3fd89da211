//! `samctl version`: of this program and, when one answers, of the running router.

use sam_router::view::VersionView;
use serde_json::json;

use super::show::Request;
use crate::Streams;
use crate::args::Format;
use crate::exit::{Exit, Failure};
use crate::output::machine;

/// Prints the versions; that no router runs is no failure.
///
/// # Errors
/// When the output cannot be written, or the router answers nonsense.
pub fn version(request: &Request<'_>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let router = match request.document::<VersionView>("/v1/version") {
        Ok(document) => Some(document.view),
        Err(failure) if failure.exit == Exit::Unreachable => None,
        Err(failure) => return Err(failure),
    };
    let answer = json!({ "program": own, "router": router });
    match (request.format, &router) {
        (Format::Json, _) => write!(streams.stdout, "{}", machine::json(&answer))?,
        (Format::Yaml, _) => write!(streams.stdout, "{}", machine::yaml(&answer)?)?,
        (Format::Table, Some(router)) => {
            writeln!(streams.stdout, "samctl {own}")?;
            writeln!(
                streams.stdout,
                "router {} (api {})",
                router.version, router.api
            )?;
        }
        (Format::Table, None) => {
            writeln!(streams.stdout, "samctl {own}\nrouter not running")?;
        }
    }
    Ok(Exit::Ok)
}
