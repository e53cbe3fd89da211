//! The configuration files of the demo's eight routers, with their keys.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use sam_wg::PrivateKey;

use super::cloud;
use super::random;
use super::sites::{EXCLUDED, GUEST, Router, Site, VIRTUAL};

/// Writes keys and configurations of all routers into a folder.
///
/// # Errors
/// What cannot be written.
pub(super) fn write(folder: &Path) -> Result<()> {
    let mut nodes = String::new();
    for router in Router::all() {
        let key = PrivateKey::generate(random()?);
        let name = router.name();
        secret_file(&folder.join(format!("{name}.key")), &key.to_base64())?;
        nodes += &node(router, &key.public().to_string());
    }
    let fabric = format!(
        "version: 1
fabric:
  name: demo
  asn: 64577
  pools:
    - {{name: lan60, prefix: 10.77.60.0/24, exclude: [{EXCLUDED}]}}
  bgp: {{timers: fast, routeReflectors: [onprem-a, onprem-b]}}
  nodes:
{nodes}"
    );
    for router in Router::all() {
        let path = folder.join(format!("{}.yaml", router.name()));
        fs::write(&path, format!("{fabric}{}", own(router)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What all routers know of one.
fn node(router: Router, public: &str) -> String {
    let nic = router
        .nic()
        .map_or_else(String::new, |nic| format!(", nic: \"{nic}\""));
    format!(
        "    - {{id: {}, name: {}, site: {site}, role: {site}, overlay: {}, endpoint: \"{}:51820\", \
         publicKey: \"{public}\"{nic}}}\n",
        router.number(),
        router.name(),
        router.overlay(),
        router.underlay(),
        site = router.site.name(),
    )
}

/// What a router knows of itself.
fn own(router: Router) -> String {
    let name = router.name();
    let client = router.site.client();
    let (capture, owned) = match router.site {
        Site::Onprem => {
            let priority = if router.second { 100 } else { 150 };
            let capture = format!(
                "{{type: proxy-arp, interface: lan0, discovery: {{type: arp}}, activeWhen: {{vrrp: {{vrid: 60, \
                 address: {VIRTUAL}, priority: {priority}}}}}}}"
            );
            (capture, format!("{client}, {GUEST}"))
        }
        site @ (Site::Aws | Site::Azure | Site::Oci) => {
            let capture = format!(
                "{{type: {}, interface: lan0, mode: auto, releaseHold: 10s, journalFile: {name}.captures.jsonl, \
                 endpoints: {}}}",
                site.name(),
                cloud::endpoints(router),
            );
            (capture, client.to_string())
        }
    };
    format!(
        "self:
  node: {name}
  privateKeyFile: {name}.key
  capture: {capture}
  owned: [{owned}]
  control: {{socket: {name}.sock}}
  stateFile: {name}.state.json
"
    )
}

fn secret_file(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{text}")?;
    Ok(())
}
