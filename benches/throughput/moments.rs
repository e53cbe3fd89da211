//! Times and sizes that operators ask for: start-up, from `announce` to the first packet, memory.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::lab::{Lab, address};
use crate::machine::resident_mib;
use crate::ours::configure;
use crate::results::{Moment, median};
use crate::running::Running;

/// Measurements of each.
const REPEATS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(10);
/// The address that appears.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 99);

/// Measures each some times and returns the medians.
pub(crate) fn measure_all() -> Result<Vec<Moment>> {
    let (mut start, mut announce, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let sample = measure()?;
        start.push(sample.0 * 1e3);
        announce.push(sample.1 * 1e3);
        memory.push(sample.2);
    }
    let moment = |name: &str, values: Vec<f64>, unit: &str| {
        median(values).map(|median| Moment {
            name: name.to_owned(),
            median,
            unit: unit.to_owned(),
        })
    };
    let moments = [
        moment(
            "start of the process to answering control socket",
            start,
            "ms",
        ),
        moment(
            "`samctl announce` at one site to first packet delivered from the other",
            announce,
            "ms",
        ),
        moment("resident memory of an idle router", memory, "MiB"),
    ];
    Ok(moments.into_iter().flatten().collect())
}

fn measure() -> Result<(f64, f64, f64)> {
    let lab = Lab::build()?;
    let mut running = Running::default();
    let folder = running.folder()?;
    let files = configure(&folder, "wireguard")?;
    let begun = Instant::now();
    let mut processes = Vec::new();
    for (site, file) in files.iter().enumerate() {
        let mut command = lab.routers[site].command(env!("CARGO_BIN_EXE_samctl"));
        command.arg("run").arg("-c").arg(file);
        processes.push(running.spawn(command)?);
    }
    let socket = folder.join("a.sock");
    wait(|| std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
    let start = begun.elapsed().as_secs_f64();
    wait(|| owner_known(&folder.join("a.sock"), "10.77.60.11"))?;
    lab.clients[1].enter(|| address("eth0", NEW, 32))??;
    let announced = first_packet(&lab, &folder)?;
    Ok((start, announced, resident_mib(processes[0])?))
}

/// Sends a datagram every 200 µs and waits for the first one that arrives after the order.
fn first_packet(lab: &Lab, folder: &Path) -> Result<f64> {
    let receiver = lab.clients[1].enter(|| UdpSocket::bind((NEW, 7000)))??;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let sender = lab.clients[0].enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let probing = std::thread::spawn(move || {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            sender.send_to(b"?", (NEW, 7000)).ok();
            std::thread::sleep(Duration::from_micros(200));
            if stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    std::thread::sleep(Duration::from_millis(100));
    let socket = folder.join("b.sock");
    let order = std::thread::spawn(move || -> Result<Instant> {
        let at = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_samctl"))
            .arg("--socket")
            .arg(&socket)
            .args(["announce", &NEW.to_string()])
            .stdout(std::process::Stdio::null())
            .status()?;
        if !status.success() {
            bail!("announce failed");
        }
        Ok(at)
    });
    receiver
        .recv_from(&mut [0; 16])
        .context("the new address was never reached")?;
    let arrived = Instant::now();
    stop.store(true, Ordering::Relaxed);
    let at = order
        .join()
        .map_err(|_| anyhow::anyhow!("the order panicked"))??;
    probing
        .join()
        .map_err(|_| anyhow::anyhow!("the prober panicked"))?;
    Ok(arrived.duration_since(at).as_secs_f64())
}

fn owner_known(socket: &Path, address: &str) -> bool {
    Command::new(env!("CARGO_BIN_EXE_samctl"))
        .arg("--socket")
        .arg(socket)
        .arg("owners")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(address))
}

fn wait(mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > end {
            bail!("nothing within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
