//! `samctl announce`, `withdraw` and `reload`: orders to the running router.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::show::Request;
use crate::Streams;
use crate::args::Format;
use crate::exit::{Exit, Failure};
use crate::output::machine;

/// Owns an address from now on.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn announce(
    address: Ipv4Addr,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let done = format!("{address} is announced");
    order(
        request,
        ("/v1/announce", json!({ "address": address })),
        &done,
        streams,
    )
}

/// Stops owning an address.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn withdraw(
    address: Ipv4Addr,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let done = format!("{address} is withdrawn");
    order(
        request,
        ("/v1/withdraw", json!({ "address": address })),
        &done,
        streams,
    )
}

/// Reads the configuration again.
///
/// # Errors
/// When no router answers, or it refuses; then the former configuration stays.
pub fn reload(request: &Request<'_>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    order(
        request,
        ("/v1/reload", json!({})),
        "the configuration is reloaded",
        streams,
    )
}

/// Gives an order; for programs prints the router's answer, for people one sentence.
fn order(
    request: &Request<'_>,
    (path, body): (&str, Value),
    done: &str,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let answer = request.client.order(path, &body)?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or(body);
    match request.format {
        Format::Table => writeln!(streams.stdout, "{done}")?,
        Format::Json => write!(streams.stdout, "{}", machine::json(&answer))?,
        Format::Yaml => write!(streams.stdout, "{}", machine::yaml(&answer)?)?,
    }
    Ok(Exit::Ok)
}
