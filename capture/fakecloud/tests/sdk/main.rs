//! The vendors' own Python SDKs as judges: they drive the fake over HTTP and must find nothing odd.
//!
//! Each script of this folder asserts by itself. Without Python or the SDK a test is ignored, and the reason printed;
//! `SAM_TEST_PYTHON` names the Python that has them.

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use sam_fakecloud::{Scenario, World, server};
use tokio::net::TcpListener;

/// A test, what it imports, and its script.
const JUDGES: [(&str, &str, &str); 3] = [
    ("aws_by_boto3", "boto3", include_str!("aws.py")),
    (
        "azure_by_azure_mgmt_network",
        "azure.mgmt.network, azure.mgmt.resourcegraph",
        include_str!("azure.py"),
    ),
    ("oci_by_oci", "oci", include_str!("oci.py")),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = JUDGES.map(|(name, import, script)| judge(name, import, script));
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn judge(name: &str, import: &str, script: &'static str) -> Trial {
    match missing(import) {
        None => Trial::test(name, move || drive(script)),
        Some(reason) => {
            Trial::test(format!("{name} ({reason})"), || Ok(())).with_ignored_flag(true)
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by the environment which Python to use"
)]
fn python() -> String {
    std::env::var("SAM_TEST_PYTHON").unwrap_or_else(|_| "python3".into())
}

fn missing(import: &str) -> Option<String> {
    let python = python();
    let probe = format!("import {import}");
    match Command::new(&python).args(["-c", &probe]).output() {
        Err(error) => Some(format!("{python}: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(_) => Some(format!("{python} has no module {import}")),
    }
}

/// Serves the scenario, and runs a script against it.
fn drive(script: &str) -> Result<(), Failed> {
    let scenario: Scenario = serde_json::from_str(include_str!("scenario.json"))?;
    let world = World::new(&scenario, [0; 32], server::now())
        .map_err(|errors| format!("the scenario is wrong: {errors:?}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut command = Command::new(python());
    command.args(["-c", script, &url]);
    // Nothing of the machine's own credentials and proxies.
    for (name, _) in std::env::vars() {
        if [
            "AWS_", "AZURE_", "OCI_", "HTTP", "http", "NO_PROXY", "no_proxy",
        ]
        .iter()
        .any(|start| name.starts_with(start))
        {
            command.env_remove(name);
        }
    }
    command.env("AWS_CONFIG_FILE", "/dev/null");
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    let output = runtime.block_on(async {
        let driving = tokio::task::spawn_blocking(move || command.output());
        tokio::select! {
            served = server::serve(listener, world) => Err(format!("the server ended: {served:?}")),
            driven = driving => match driven {
                Ok(Ok(output)) => Ok(output),
                other => Err(format!("the script did not run: {other:?}")),
            },
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&text).into_owned().into())
}
