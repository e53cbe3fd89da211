//! `samctl trace SRC DST`: what the router would do to a packet.

use sam_router::view::TraceView;

use super::show::Request;
use crate::Streams;
use crate::args::{TraceArgs, TraceProtocol};
use crate::exit::{Exit, Failure};

/// Shows the way of the packet; fails when it does not arrive.
///
/// # Errors
/// When no router answers, there is no such packet, or the answer cannot be written.
pub fn trace(
    args: &TraceArgs,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let document = request.document::<TraceView>(&path(args))?;
    request.print(&document, streams)?;
    Ok(if document.view.verdict.outcome.is_success() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

fn path(args: &TraceArgs) -> String {
    let TraceArgs {
        from,
        to,
        protocol,
        port,
        size,
        df,
    } = args;
    let protocol = match protocol {
        TraceProtocol::Icmp => "icmp",
        TraceProtocol::Tcp => "tcp",
        TraceProtocol::Udp => "udp",
    };
    let port = port.map_or_else(String::new, |port| format!("&port={port}"));
    format!("/v1/trace?from={from}&to={to}&protocol={protocol}{port}&size={size}&df={df}")
}
