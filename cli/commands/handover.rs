//! `samctl handover`: the order to give an address to another node, and waiting until it has it.

use std::net::Ipv4Addr;

use sam_router::view::HandoversView;
use serde_json::json;

use super::order::order;
use super::show::{Request, show};
use super::wait::wait;
use crate::Streams;
use crate::args::HandoverArgs;
use crate::exit::{Exit, Failure};

/// Offers an address to another node, takes the offer back, or lists what is on offer.
///
/// # Errors
/// When no router answers, it refuses, or the other node does not have the address in time.
pub fn handover(
    args: &HandoverArgs,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let Some(address) = args.address else {
        return show::<HandoversView>(request, PATH, streams);
    };
    let Some(to) = &args.to else {
        return order(
            request,
            ("/v1/handover/cancel", json!({ "address": address })),
            |_| format!("{address} stays here"),
            streams,
        );
    };
    let said = match args.wait {
        true => format!("{address} is offered to {to}"),
        false => {
            format!("{address} is offered to {to}: `samctl handover` shows whether it is still")
        }
    };
    order(
        request,
        (PATH, json!({ "address": address, "to": to })),
        |_| said,
        streams,
    )?;
    if !args.wait {
        return Ok(Exit::Ok);
    }
    if wait(args.timeout, || is_over(address, request))? {
        writeln!(streams.stderr, "{to} has {address}")?;
        return Ok(Exit::Ok);
    }
    let error = format!("{to} did not take {address} over within {} s", args.timeout);
    Err(Failure::new(Exit::TimedOut, error).remedy(format!(
        "`samctl events` on {to} says why; the offer stands: `samctl handover {address} --cancel`"
    )))
}

/// Tells whether an address is on offer no more.
fn is_over(address: Ipv4Addr, request: &Request<'_>) -> Result<bool, Failure> {
    let view = request.document::<HandoversView>(PATH)?.view;
    Ok(view.handovers.iter().all(|row| row.address != address))
}

const PATH: &str = "/v1/handover";
