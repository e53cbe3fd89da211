//! `samctl trace SRC DST`: what the router would do to a packet; `samctl trace --live`: what it does to those that come.

use std::io;

use sam_router::view::{LiveTraceEnd, LiveTraceView, TraceView};

use super::lines::Lines;
use super::show::Request;
use crate::Streams;
use crate::args::{Format, TraceArgs, TraceProtocol};
use crate::client::escape;
use crate::exit::{Exit, Failure};
use crate::output::Text;

/// Shows the way of a packet, and fails when it does not arrive; or follows those that come.
///
/// # Errors
/// When no router answers, there is no such packet or filter, or the answer cannot be written.
pub fn trace(
    args: &TraceArgs,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    if let Some(filter) = &args.live {
        return live(&filter.join(" "), args, request, streams);
    }
    let document = request.document::<TraceView>(&path(args))?;
    request.print(&document, streams)?;
    Ok(if document.view.verdict.outcome.is_success() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

fn path(args: &TraceArgs) -> String {
    let protocol = match args.protocol {
        TraceProtocol::Icmp => "icmp",
        TraceProtocol::Tcp => "tcp",
        TraceProtocol::Udp => "udp",
    };
    let address = |address: Option<std::net::Ipv4Addr>| {
        address.map_or_else(String::new, |address| address.to_string())
    };
    let (from, to) = (address(args.from), address(args.to));
    let port = args
        .port
        .map_or_else(String::new, |port| format!("&port={port}"));
    let (size, df) = (args.size, args.df);
    format!("/v1/trace?from={from}&to={to}&protocol={protocol}{port}&size={size}&df={df}")
}

fn live(
    filter: &str,
    args: &TraceArgs,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let mut path = format!("/v1/trace/live?filter={}", escape(filter));
    if let Some(count) = args.count {
        path.push_str(&format!("&count={count}"));
    }
    if let Some(timeout) = args.timeout {
        path.push_str(&format!("&timeout={timeout}"));
    }
    let mut end = None;
    let mut lines = Lines::default();
    request.client.follow(&path, |bytes| {
        lines.split(bytes, |line| match serde_json::from_str(line) {
            Ok(last) => {
                end = Some(last);
                Ok(())
            }
            Err(_) => print(line, request.format, streams),
        })
    })?;
    let end: LiveTraceEnd = end.ok_or_else(|| {
        Failure::new(Exit::Unreachable, "the router ended the trace")
            .remedy("did the router stop? see its log")
    })?;
    if end.missed > 0 {
        let missed = end.missed;
        writeln!(streams.stderr, "{missed} packets came too fast to be shown")?;
    }
    Ok(match args.count {
        Some(count) if end.timed_out && end.seen < count => Exit::TimedOut,
        Some(_) | None => Exit::Ok,
    })
}

/// Prints one packet; what is not understood is passed on as it came.
fn print(line: &str, format: Format, streams: &mut Streams<'_>) -> io::Result<()> {
    match (format, serde_json::from_str::<LiveTraceView>(line)) {
        (Format::Table, Ok(view)) => {
            writeln!(streams.stdout, "{}", view.text(streams.color_stdout))?;
        }
        (Format::Table, Err(_)) | (Format::Json, _) => writeln!(streams.stdout, "{line}")?,
        // A JSON object is YAML; the mark makes each one a document.
        (Format::Yaml, _) => writeln!(streams.stdout, "--- {line}")?,
    }
    streams.stdout.flush()
}
