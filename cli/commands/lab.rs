//! `samctl lab`: what to rehearse with.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sam_fakecloud::{Provider, World, server};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::check::write_report;
use super::key::random;
use crate::Streams;
use crate::args::{FakecloudArgs, Format};
use crate::config::load_world;
use crate::exit::{Exit, Failure};
use crate::output::machine;
use crate::wires;

/// Serves a cloud until SIGINT or SIGTERM. Standard output gets where it is and how clients find it.
///
/// # Errors
/// When the scenario is wrong or the address cannot be listened on.
pub fn fakecloud(
    args: &FakecloudArgs,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let failed = |error: String| Failure::new(Exit::Failed, error);
    let world = match load_world(&args.config, *random()?, server::now()) {
        Ok(world) => world,
        Err(report) => {
            write_report(&report, format, streams)?;
            return Ok(Exit::Usage);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let refused = |error| {
            failed(format!("cannot listen on {}: {error}", args.listen))
                .remedy("take another address with --listen; port 0 is a free one")
        };
        let listener = TcpListener::bind(args.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let text = introduction(&world, address, format)?;
        let world = Arc::new(Mutex::new(world));
        wires::attach(&world).map_err(|error| {
            let remedy = "`wire` of a NIC names an interface here: the far end of the instance's";
            failed(error.to_string()).remedy(remedy)
        })?;
        write!(streams.stdout, "{text}")?;
        streams.stdout.flush()?;
        tokio::select! {
            served = server::serve_shared(listener, world) => {
                served.map_err(|error| failed(format!("the listener failed: {error}")))?;
            }
            ended = end() => ended.map_err(|error| failed(format!("no signals: {error}")))?,
        }
        Ok(Exit::Ok)
    })
}

/// Waits for a signal to end.
async fn end() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn introduction(world: &World, address: SocketAddr, format: Format) -> Result<String, Failure> {
    let url = format!("http://{address}");
    match format {
        Format::Table => Ok(text(world, &url)),
        Format::Json => Ok(machine::json(&values(world, &url))),
        Format::Yaml => machine::yaml(&values(world, &url)),
    }
}

/// What a client must be told instead of the real addresses.
const fn variables(provider: Provider) -> [(&'static str, &'static str); 2] {
    match provider {
        Provider::Aws => [
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/instances/ID"),
        ],
        Provider::Azure => [
            ("Azure Resource Manager", ""),
            ("IMDS", "/instances/ID/metadata"),
        ],
        Provider::Oci => [
            ("iaas and auth", ""),
            ("OCI_METADATA_BASE_URL", "/instances/ID/opc/v2"),
        ],
    }
}

fn text(world: &World, url: &str) -> String {
    let mut lines = vec![format!("the fake cloud is at {url}")];
    for cloud in Provider::ALL
        .into_iter()
        .filter_map(|known| world.cloud(known))
    {
        let instances: Vec<&str> = cloud.instances().collect();
        lines.push(format!(
            "{}, instances {}",
            cloud.provider().name(),
            instances.join(" ")
        ));
        for (name, path) in variables(cloud.provider()) {
            lines.push(format!("  {name}={url}{path}"));
        }
    }
    lines.push(format!(
        "look: curl {url}/fakecloud/state, ledger, calls, fabric, faults"
    ));
    lines.join("\n") + "\n"
}

fn values(world: &World, url: &str) -> Value {
    let clouds = Provider::ALL
        .into_iter()
        .filter_map(|known| world.cloud(known));
    let clouds: serde_json::Map<String, Value> = clouds
        .map(|cloud| {
            let instances: Vec<&str> = cloud.instances().collect();
            let name = cloud.provider().name().to_owned();
            (name, json!({ "instances": instances }))
        })
        .collect();
    json!({ "url": url, "control": format!("{url}/fakecloud"), "clouds": clouds })
}
