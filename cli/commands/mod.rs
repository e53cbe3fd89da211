//! One verb per file; verbs that only show a view share [`show`].

pub mod bench;
pub mod check;
pub mod completion;
pub mod decode;
pub mod demo;
pub mod drain;
pub mod events;
pub mod handover;
pub mod iam_policy;
pub mod inject;
pub mod key;
pub mod lab;
mod lines;
pub mod monitor;
pub mod mrt;
pub mod neighbor;
pub mod order;
pub mod pcap;
pub mod rehearse;
pub mod run;
pub mod show;
pub mod test;
pub mod trace;
pub mod version;
mod wait;

use sam_router::view::{
    ActionView, ActionsView, ArpView, BfdView, BgpNeighborsView, BgpRibView, BgpWhyView,
    CapturesView, CheckStatus, CountersView, DiscoveryView, DoctorView, DrainView, ExplainView,
    OwnersView, PolicyTestView, PolicyView, RoutesView, StatusView, TunnelsView, VrrpView,
};

use crate::Streams;
use crate::args::{
    ActionsCommand, Args, BgpCommand, CaptureCommand, Command, DrainOrder, Family, LabCommand,
    PolicyCommand,
};
use crate::client::{Client, escape};
use crate::exit::{Exit, Failure};
use show::show;

/// Runs the verb.
///
/// # Errors
/// Why it failed; the caller reports it.
pub fn dispatch(args: &Args, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let client = Client::new(&args.socket);
    let view = show::Request {
        client: &client,
        format: args.output,
    };
    match &args.command {
        Command::Run(run) => run::run(run, args.output, streams),
        Command::Demo(demo) => demo::demo(demo, args.output, streams),
        Command::Check(check) => check::check(check, args.output, streams),
        Command::Reload => order::reload(&view, streams),
        Command::Status => show::<StatusView>(&view, "/v1/status", streams),
        Command::Owners => show::<OwnersView>(&view, "/v1/owners", streams),
        Command::Routes => show::<RoutesView>(&view, "/v1/routes", streams),
        Command::Bgp(command) => bgp(command, &view, streams),
        Command::Bfd => show::<BfdView>(&view, "/v1/bfd", streams),
        Command::Vrrp => show::<VrrpView>(&view, "/v1/vrrp", streams),
        Command::Captures => show::<CapturesView>(&view, "/v1/captures", streams),
        Command::Actions { command } => actions(*command, &view, streams),
        Command::Tunnels => show::<TunnelsView>(&view, "/v1/tunnels", streams),
        Command::Arp => show::<ArpView>(&view, "/v1/arp", streams),
        Command::Discovery => show::<DiscoveryView>(&view, "/v1/discovery", streams),
        Command::Explain { address } => {
            show::<ExplainView>(&view, &format!("/v1/explain/{address}"), streams)
        }
        Command::Trace(args) => trace::trace(args, &view, streams),
        Command::Doctor { area, fix } => {
            if *fix {
                order::fix(&view, streams)?;
            }
            doctor(area.as_deref(), &view, streams)
        }
        Command::Test { all: true, .. } => test::test_all(&view, streams),
        Command::Test { node, all: false } => test::test(node.as_deref(), &view, streams),
        Command::Counters => show::<CountersView>(&view, "/v1/counters", streams),
        Command::Events { follow } => events::events(*follow, &view, streams),
        Command::Key(command) => key::key(command, streams),
        Command::Announce { address } => order::announce(*address, &view, streams),
        Command::Withdraw { address } => order::withdraw(*address, &view, streams),
        Command::Release { address, hold, .. } => order::release(*address, *hold, &view, streams),
        Command::Drain { order: None, .. } => show::<DrainView>(&view, "/v1/drain", streams),
        Command::Drain {
            order: Some(order),
            wait,
            timeout,
        } => drain::drain(*order, wait.then_some(*timeout), &view, streams),
        Command::Undrain => drain::drain(DrainOrder::Off, None, &view, streams),
        Command::Handover(args) => handover::handover(args, &view, streams),
        Command::Pcap { write } => pcap::pcap(write.as_deref(), &client, streams),
        Command::Version => version::version(&view, streams),
        Command::Lab(LabCommand::Fakecloud(fake)) => lab::fakecloud(fake, args.output, streams),
        Command::Capture(CaptureCommand::Rehearse(args)) => {
            rehearse::rehearse(args, view.format, streams)
        }
        Command::IamPolicy(command) => iam_policy::iam_policy(command, args.output, streams),
        Command::Bench(args) => bench::bench(args, &view, streams),
        Command::Completion { shell } => completion::completion(*shell, streams),
    }
}

fn actions(
    command: Option<ActionsCommand>,
    view: &show::Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    match command {
        None | Some(ActionsCommand::List) => show::<ActionsView>(view, "/v1/actions", streams),
        Some(ActionsCommand::Show { id }) => {
            show::<ActionView>(view, &format!("/v1/actions/{id}"), streams)
        }
        Some(ActionsCommand::Approve { id }) => order::approve(id, view, streams),
        Some(ActionsCommand::Undo { id }) => order::undo(id, view, streams),
    }
}

fn bgp(
    command: &BgpCommand,
    view: &show::Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    match command {
        BgpCommand::Neighbors => show::<BgpNeighborsView>(view, "/v1/bgp/neighbors", streams),
        BgpCommand::Neighbor {
            neighbor,
            topic,
            direction,
            family,
            hard,
        } => {
            let particulars = neighbor::Particulars {
                direction: *direction,
                family: *family,
                hard: *hard,
            };
            neighbor::neighbor(neighbor, *topic, particulars, view, streams)
        }
        BgpCommand::Rib { prefix, family } => {
            let family = family.map(|family| format!("family={}", family_name(family)));
            let wanted = prefix.map(|prefix| format!("prefix={prefix}"));
            let query: Vec<String> = wanted.into_iter().chain(family).collect();
            let path = if query.is_empty() {
                "/v1/bgp/rib".to_owned()
            } else {
                format!("/v1/bgp/rib?{}", query.join("&"))
            };
            show::<BgpRibView>(view, &path, streams)
        }
        BgpCommand::Mrt(command) => mrt::mrt(command, view.client, view.format, streams),
        BgpCommand::Decode(args) => decode::bgp_decode(args, view.format, streams),
        BgpCommand::Monitor { topic } => monitor::monitor(*topic, view, streams),
        BgpCommand::GracefulShutdown { order } => order::graceful_shutdown(*order, view, streams),
        BgpCommand::Policy(command) => policy(command, view, streams),
        BgpCommand::Why { prefix } => {
            show::<BgpWhyView>(view, &format!("/v1/bgp/why?prefix={prefix}"), streams)
        }
    }
}

fn policy(
    command: &PolicyCommand,
    view: &show::Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Show => show::<PolicyView>(view, "/v1/bgp/policy", streams),
        PolicyCommand::Test { prefix, neighbor } => {
            let neighbor = neighbor.as_deref();
            let neighbor = neighbor.map(|name| format!("&neighbor={}", escape(name)));
            let neighbor = neighbor.unwrap_or_default();
            let path = format!("/v1/bgp/policy/test?prefix={prefix}{neighbor}");
            show::<PolicyTestView>(view, &path, streams)
        }
    }
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// Warnings and skipped checks do not fail the command; a failed check does.
fn doctor(
    area: Option<&str>,
    view: &show::Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let path = area.map_or_else(
        || "/v1/doctor".into(),
        |area| format!("/v1/doctor?area={}", escape(area)),
    );
    let document = view.document::<DoctorView>(&path)?;
    view.print(&document, streams)?;
    Ok(match document.view.overall {
        CheckStatus::Fail => Exit::ChecksFailed,
        CheckStatus::Skip | CheckStatus::Pass | CheckStatus::Warn => Exit::Ok,
    })
}
