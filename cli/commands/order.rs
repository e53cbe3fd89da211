//! `samctl announce`, `withdraw` and `reload`: orders to the running router.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use super::show::Request;
use crate::Streams;
use crate::args::{DrainOrder, Format};
use crate::config::scalar::duration_text;
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
    order(
        request,
        ("/v1/announce", json!({ "address": address })),
        |answer| announced(address, answer),
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
    order(
        request,
        ("/v1/withdraw", json!({ "address": address })),
        |_| format!("{address} is withdrawn"),
        streams,
    )
}

/// Lets an action be done that waits for it.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn approve(id: u64, request: &Request<'_>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    order(
        request,
        ("/v1/approve", json!({ "id": id })),
        |_| format!("action {id} is approved"),
        streams,
    )
}

/// Undoes an action.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn undo(id: u64, request: &Request<'_>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    order(
        request,
        ("/v1/undo", json!({ "id": id })),
        |_| format!("action {id} will be undone: see `samctl actions`"),
        streams,
    )
}

/// Gives captured addresses back, and leaves them alone for a while.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn release(
    address: Option<Ipv4Addr>,
    hold: Duration,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    // A part of a second is no end of a hold.
    let hold_s = hold.as_millis().div_ceil(1000);
    let hold_s = u64::try_from(hold_s).unwrap_or(u64::MAX);
    let what = address.map_or_else(
        || "everything captured".to_owned(),
        |address| address.to_string(),
    );
    order(
        request,
        (
            "/v1/release",
            json!({ "address": address, "hold_s": hold_s }),
        ),
        |_| {
            if hold_s == 0 {
                return format!("{what}: captured again where it is wanted");
            }
            let text = duration_text(hold);
            format!("{what} is given back and left alone for {text}: see `samctl captures`")
        },
        streams,
    )
}

/// Asks neighbors of other ASes to use other ways, or no longer.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn graceful_shutdown(
    wanted: DrainOrder,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let on = wanted == DrainOrder::On;
    let said = match on {
        true => {
            "neighbors of other ASes are asked to use other ways; what still comes is carried on"
        }
        false => "neighbors of other ASes are asked no longer to use other ways",
    };
    order(
        request,
        ("/v1/bgp/graceful-shutdown", json!({ "on": on })),
        |_| said.into(),
        streams,
    )
}

/// Takes addresses of other sites off this host, and says which.
///
/// # Errors
/// When no router answers, or it refuses.
pub fn fix(request: &Request<'_>, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let answer = request.client.order("/v1/fix", &json!({}))?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    for removed in answer["removed"].as_array().into_iter().flatten() {
        // The answer of the command itself stays one document.
        writeln!(
            streams.stderr,
            "removed {}",
            removed.as_str().unwrap_or_default()
        )?;
    }
    Ok(())
}

/// Reads the configuration again.
///
/// # Errors
/// When no router answers, or it refuses; then the former configuration stays.
pub fn reload(request: &Request<'_>, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    order(
        request,
        ("/v1/reload", json!({})),
        |_| "the configuration is reloaded".into(),
        streams,
    )
}

/// Says what became of an announcement: a claim may lose against that of another node.
fn announced(address: Ipv4Addr, answer: &Value) -> String {
    match (answer["state"].as_str(), answer["owner"].as_str()) {
        (Some("standby"), Some(owner)) => {
            format!("{address} is announced as standby: {owner} owns it; withdraw it there")
        }
        (Some("unannounced"), _) => format!(
            "{address} is to be owned here, but not announced yet: `samctl doctor` says why"
        ),
        _ => format!("{address} is announced"),
    }
}

/// Gives an order; for programs prints the router's answer, for people one sentence.
pub(super) fn order(
    request: &Request<'_>,
    (path, body): (&str, Value),
    done: impl FnOnce(&Value) -> String,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let answer = request.client.order(path, &body)?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or(body);
    if let Some(warning) = answer["warning"].as_str() {
        writeln!(streams.stderr, "warning: {warning}")?;
    }
    match request.format {
        Format::Table => writeln!(streams.stdout, "{}", done(&answer))?,
        Format::Json => write!(streams.stdout, "{}", machine::json(&answer))?,
        Format::Yaml => write!(streams.stdout, "{}", machine::yaml(&answer)?)?,
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_that_lost_names_the_owner_and_what_to_do() {
        let address = Ipv4Addr::new(10, 77, 60, 10);
        let said = |state, owner| announced(address, &json!({ "state": state, "owner": owner }));

        assert_eq!(
            said("standby", Some("a")),
            "10.77.60.10 is announced as standby: a owns it; withdraw it there"
        );
        assert_eq!(said("active", Some("b")), "10.77.60.10 is announced");
        assert!(said("unannounced", None).contains("not announced yet"));
    }
}
