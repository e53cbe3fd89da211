//! `samctl bench`: measures to a node or host, or waits for those who measure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sam_router::view::{StatusView, TunnelsView};

use super::show::Request;
use crate::Streams;
use crate::args::{BenchArgs, Format};
use crate::bench::parameters::{Direction, Parameters, Transport};
use crate::bench::server::Server;
use crate::bench::{Report, client};
use crate::exit::{Exit, Failure};
use crate::output::{Text, machine};

/// Bits a second of a UDP stream for which none are asked, as in iperf3.
const DEFAULT_UDP_RATE: u64 = 1_000_000;

/// Measures, or serves.
///
/// # Errors
/// When the other side cannot be found or reached, refuses, or breaks off.
pub fn bench(
    args: &BenchArgs,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    match &args.target {
        Some(target) => measure(target, args, request, streams),
        None => serve(args, request, streams),
    }
}

fn measure(
    target: &str,
    args: &BenchArgs,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let parameters = parameters(args)?;
    let (address, node) = match target.parse() {
        Ok(address) => (address, None),
        Err(_) => (overlay(target, request)?, Some(target.to_owned())),
    };
    let server = SocketAddr::new(address, args.port);
    if request.format == Format::Table {
        writeln!(streams.stderr, "measuring {} s against {server}", args.time)?;
    }
    let mut report = client::measure(server, &parameters)?;
    report.node = node;
    print(&report, request.format, streams)?;
    Ok(Exit::Ok)
}

fn serve(
    args: &BenchArgs,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let address = match args.bind {
        Some(address) => address,
        None => own_overlay(request)?,
    };
    let server = Server::bind(SocketAddr::new(address, args.port))?;
    writeln!(streams.stderr, "listening on {}", server.address())?;
    loop {
        match server.serve() {
            Ok(report) => print(&report, request.format, streams)?,
            Err(fault) if args.one_off => return Err(fault.into()),
            Err(fault) => writeln!(streams.stderr, "a test failed: {fault}")?,
        }
        if args.one_off {
            return Ok(Exit::Ok);
        }
    }
}

fn parameters(args: &BenchArgs) -> Result<Parameters, Failure> {
    let transport = if args.udp {
        Transport::Udp
    } else {
        Transport::Tcp
    };
    let length = args.length.unwrap_or_else(|| transport.default_length());
    let length = transport
        .check_length(length)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let rate = match (args.bitrate, transport) {
        (Some(0), _) | (None, Transport::Tcp) => None,
        (None, Transport::Udp) => Some(DEFAULT_UDP_RATE),
        (rate, _) => rate,
    };
    Ok(Parameters {
        transport,
        direction: match (args.reverse, args.bidir) {
            (false, false) => Direction::Forward,
            (true, _) => Direction::Reverse,
            (false, true) => Direction::Both,
        },
        seconds: Some(args.time),
        streams: args.parallel,
        length,
        bits_per_second: rate,
        wide_counters: true,
    })
}

/// The overlay address of a node, as the running router knows it.
fn overlay(name: &str, request: &Request<'_>) -> Result<IpAddr, Failure> {
    let view = request.document::<TunnelsView>("/v1/tunnels")?.view;
    let node = view.tunnels.iter().find(|tunnel| tunnel.node.name == name);
    node.map(|tunnel| tunnel.overlay.into()).ok_or_else(|| {
        let known: Vec<&str> = view
            .tunnels
            .iter()
            .map(|tunnel| tunnel.node.name.as_str())
            .collect();
        Failure::new(
            Exit::Usage,
            format!("'{name}' is no address and no other node"),
        )
        .remedy(format!("nodes: {}", known.join(", ")))
    })
}

/// The overlay address of the running router, where only tunnels lead; without a router every address of this host.
fn own_overlay(request: &Request<'_>) -> Result<IpAddr, Failure> {
    match request.document::<StatusView>("/v1/status") {
        Ok(document) => Ok(document.view.overlay.into()),
        Err(failure) if failure.exit == Exit::Unreachable => Ok(Ipv4Addr::UNSPECIFIED.into()),
        Err(failure) => Err(failure),
    }
}

fn print(report: &Report, format: Format, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let values = || serde_json::to_value(report).unwrap_or_default();
    let text = match format {
        Format::Table => report.text(streams.color_stdout),
        Format::Json => machine::json(&values()),
        Format::Yaml => machine::yaml(&values())?,
    };
    streams.stdout.write_all(text.as_bytes())?;
    Ok(streams.stdout.flush()?)
}
