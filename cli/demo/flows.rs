//! The directed flows: the client of each site pings and connects to that of each other site, and hears whom the server
//! saw.

use anyhow::{Result, bail};
use sam_net::Namespace;

use super::lab::Lab;
use super::ping;
use super::report::{Flow, Flows};
use super::server::Session;
use super::sites::Site;
use super::ssh::Ssh;

/// Flows between four sites.
pub(super) const ALL: usize = 12;

/// Tries all flows between some sites, with ssh too where it is there.
pub(super) fn between(lab: &Lab, sites: &[Site], ssh: Option<&Ssh>) -> Flows {
    let mut flows = Flows::default();
    for from in sites {
        for to in sites.iter().filter(|to| *to != from) {
            let flow = flow(lab.client(*from), *from, *to, ssh);
            if flow.error.is_none() {
                flows.passed += 1;
            } else {
                flows.failed += 1;
            }
            flows.list.push(flow);
        }
    }
    flows
}

fn flow(client: &Namespace, from: Site, to: Site, ssh: Option<&Ssh>) -> Flow {
    let source = from.client().to_string();
    let pinged = ping::thrice(client, to.client());
    let own = Session::open(client, to.client()).and_then(|mut session| {
        session.echo("over the overlay")?;
        same_source(&session.seen, &source)
    });
    let by_ssh = ssh.map(|ssh| {
        ssh.seen_source(client, to.client())
            .and_then(|seen| same_source(&seen, &source))
    });
    let errors = [pinged.as_ref().err(), own.as_ref().err()];
    let error = { errors.into_iter().flatten().next() }
        .or_else(|| by_ssh.as_ref().and_then(|r| r.as_ref().err()));
    Flow {
        from: from.name().to_owned(),
        to: to.name().to_owned(),
        destination: to.client().to_string(),
        ping: pinged.is_ok(),
        tcp: own.is_ok(),
        ssh: by_ssh.as_ref().map(Result::is_ok),
        error: error.map(|error| format!("{error:#}")),
        source,
    }
}

fn same_source(seen: &str, expected: &str) -> Result<()> {
    if seen != expected {
        bail!("the server saw {seen} instead of {expected}");
    }
    Ok(())
}
