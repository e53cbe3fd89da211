//! `samctl drain`: the order to leave everything to others, and waiting until they have it.

use sam_router::view::DrainView;
use serde_json::json;

use super::order::order;
use super::show::{Request, show};
use super::wait::wait;
use crate::Streams;
use crate::args::DrainOrder;
use crate::exit::{Exit, Failure};

/// Empties the router or uses it again; with `patience` in seconds waits until it is empty.
///
/// # Errors
/// When no router answers, it refuses, or it is not empty in time.
pub fn drain(
    wanted: DrainOrder,
    patience: Option<u32>,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let on = wanted == DrainOrder::On;
    let said = match (on, patience) {
        (false, _) => "this router acts again; it takes nothing back that others have",
        (true, None) => "this router is being emptied: `samctl drain` shows what is left",
        (true, Some(_)) => "this router is being emptied",
    };
    order(
        request,
        ("/v1/drain", json!({ "on": on })),
        |_| said.into(),
        streams,
    )?;
    let Some(seconds) = patience.filter(|_| on) else {
        return Ok(Exit::Ok);
    };
    let empty = wait(seconds, || {
        Ok(request.document::<DrainView>("/v1/drain")?.view.empty)
    })?;
    show::<DrainView>(request, "/v1/drain", streams)?;
    if empty {
        return Ok(Exit::Ok);
    }
    let error = format!("after {seconds} s this router still has something to do");
    Err(Failure::new(Exit::TimedOut, error)
        .remedy("`samctl drain` names what nobody else takes over; it goes on to try"))
}
