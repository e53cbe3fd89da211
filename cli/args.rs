//! Exactly what was typed: verbs, options and their help.
//!
//! The help text of a verb is its doc comment here. Nothing is checked beyond the shape of single values.

mod bgp;
mod cloud;
mod values;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use sam_router::view::TraceQuery;

pub use self::bgp::{
    BgpCommand, DecodeArgs, Direction, Family, InjectArgs, MrtCommand, NeighborTopic,
    PolicyCommand, Topic,
};
pub use self::cloud::{
    AwsPolicyArgs, AzureRoleArgs, CaptureCommand, FakecloudArgs, IamPolicyCommand, LabCommand,
    OciPolicyArgs, RehearseArgs,
};
use self::values::{hold, parse_rate};
use crate::bench::PORT;
use crate::bench::parameters::{MAX_SECONDS, MAX_STREAMS};

/// Where the router listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/samctl/samctl.sock";

/// Self-contained userspace router for Selective Address Mobility.
///
/// `samctl run` is the router; the other verbs show and steer a running one or need none.
#[derive(Debug, Parser)]
#[command(name = "samctl", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Args {
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,

    /// Control socket of the router
    #[arg(long, global = true, env = "SAMCTL_SOCKET", value_name = "PATH")]
    #[arg(default_value = DEFAULT_SOCKET, hide_env_values = true)]
    pub socket: PathBuf,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For people who want everything
    Yaml,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the router in the foreground
    Run(RunArgs),
    /// Check a configuration file and print every mistake
    Check(CheckArgs),
    /// Let the router read its configuration file again
    Reload,
    /// Show one page about the router
    Status,
    /// Show who owns each mobile address
    Owners,
    /// Show the forwarding table
    Routes,
    /// Show BGP
    #[command(subcommand)]
    Bgp(BgpCommand),
    /// Show the BFD sessions: who hears whom, how fast, and what follows for routes
    Bfd,
    /// Show the election on the LAN: who is master, since when and why
    Vrrp,
    /// Show the addresses on this router's network interface in its cloud: wanted, held by whom, and why
    Captures,
    /// Show what is to be changed in the cloud, and what was
    ///
    /// Without a verb it lists.
    Actions {
        /// What to do
        #[command(subcommand)]
        command: Option<ActionsCommand>,
    },
    /// Show the tunnels to the other nodes
    Tunnels,
    /// Show the LAN: answered addresses, neighbors, other answerers
    Arp,
    /// Show which addresses live on the LAN by what is heard there
    Discovery,
    /// Explain what happens to packets for an address, and why
    Explain {
        /// A mobile address
        address: Ipv4Addr,
    },
    /// Say what this router would do to a packet, stage by stage; sends nothing; exit 1 unless it arrives
    ///
    /// With --live: what it does to packets that really come, by the same stages. FILTER is empty or made of terms joined
    /// by `and`: `src ADDRESS`, `dst ADDRESS`, `host ADDRESS` (or prefixes), `proto icmp|tcp|udp|NUMBER`, `port NUMBER`.
    Trace(TraceArgs),
    /// Check the router, its host and its network; exit 5 when a check fails
    Doctor {
        /// Only this area: host, lan, capture, tunnel, bgp, routes, owners, identity, drops
        area: Option<String>,
        /// First take addresses of other sites off this host that its cloud's agent configured on it
        #[arg(long)]
        fix: bool,
    },
    /// Try what passes to the other nodes and back; exit 5 when a check fails
    ///
    /// Per node: the tunnel, the BGP session, an echo, the longest packet with DF set to the byte, a transfer by TCP
    /// whose bytes are compared, and whether our source address arrives there unchanged.
    Test {
        /// Only this node: name or overlay address
        #[arg(value_name = "NODE")]
        node: Option<String>,
        /// Let every router test, one after the other, and show all sites against all
        #[arg(long, conflicts_with = "node")]
        all: bool,
    },
    /// Show packet counters and drops by reason
    Counters,
    /// Show what happened
    Events {
        /// Keep printing what happens from now on
        #[arg(short, long)]
        follow: bool,
    },
    /// Make keys; the private key never leaves standard input and output
    #[command(subcommand)]
    Key(KeyCommand),
    /// Own an address from now on
    Announce {
        /// An address of a pool
        address: Ipv4Addr,
    },
    /// Stop owning an address
    Withdraw {
        /// An address that was announced or configured
        address: Ipv4Addr,
    },
    /// Give captured addresses back to the cloud, and leave them alone for a while
    ///
    /// Then a machine of this site can get the address. With --all the network interface is as it was before this router:
    /// give that before you remove it. A hold ends when the router restarts.
    Release {
        /// A captured address
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        address: Option<Ipv4Addr>,
        /// All of them, and the forwarding that was switched on
        #[arg(long)]
        all: bool,
        /// For how long; 0s ends it
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = hold)]
        hold: Duration,
    },
    /// Leave everything that this router does to others, before work on it; without an order, show what is left
    ///
    /// Its claims become the last choice and go when another node holds the address; the master on a LAN makes way. What
    /// nobody else can do goes on. It holds across restarts.
    Drain {
        /// Begin, or end it
        #[arg(value_enum)]
        order: Option<DrainOrder>,
        /// Wait until nothing is left to do here; exit 6 when that is not so in time
        #[arg(long, requires = "order")]
        wait: bool,
        /// Wait for so many seconds at most
        #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "wait")]
        timeout: u32,
    },
    /// Use this router again: `drain off`
    Undrain,
    /// Give an address to another node, without a moment in which nobody has it; without an order, list what is on offer
    Handover(HandoverArgs),
    /// Capture packets with the router's verdict on each, as pcapng
    Pcap {
        /// Write to this file instead of standard output
        #[arg(short, long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Show the version of this program and of the running router
    Version,
    /// Print a completion script
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Show a four-site fabric at work in namespaces of this machine
    Demo(DemoArgs),
    /// Rehearse: a cloud that is not there
    #[command(subcommand)]
    Lab(LabCommand),
    /// Rehearse what a configuration does in its cloud
    #[command(subcommand)]
    Capture(CaptureCommand),
    /// Print what a router at a cloud provider must be permitted, and no more
    #[command(subcommand)]
    IamPolicy(IamPolicyCommand),
    /// Measure throughput to a node or host; speaks the iperf3 protocol
    ///
    /// The other side runs `samctl bench --server` or a stock `iperf3 -s`; `iperf3 -c` measures against --server.
    Bench(BenchArgs),
}

/// Whether a router is to leave its work to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DrainOrder {
    /// Leave everything to others
    On,
    /// Act again; takes nothing back that others have
    Off,
}

/// `samctl handover`
#[derive(Debug, clap::Args)]
pub struct HandoverArgs {
    /// An address that this router owns
    #[arg(requires = "order")]
    pub address: Option<Ipv4Addr>,
    /// Who gets it: name or overlay address
    #[arg(long, value_name = "NODE", group = "order", requires = "address")]
    pub to: Option<String>,
    /// Keep an address that is on offer
    #[arg(long, group = "order", requires = "address")]
    pub cancel: bool,
    /// Wait until the other node has it; exit 6 when that is not so in time
    #[arg(long, requires = "to")]
    pub wait: bool,
    /// Wait for so many seconds at most
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "wait")]
    pub timeout: u32,
}

/// `samctl actions`
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ActionsCommand {
    /// List what is planned, waits or is under way, and what ended lately
    List,
    /// Show one action
    Show {
        /// Its number
        id: u64,
    },
    /// Let an action be done that waits for it
    Approve {
        /// Its number
        id: u64,
    },
    /// Give back what an action captured, or capture what was given back by order
    Undo {
        /// Its number
        id: u64,
    },
}

/// `samctl run`
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Configuration file, YAML or TOML by its ending
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `samctl check`
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Configuration file, YAML or TOML by its ending
    pub file: PathBuf,
    /// Do not open key files: for a machine that has no keys
    #[arg(long)]
    pub no_secrets: bool,
    /// Print the configuration with every default written out
    #[arg(long)]
    pub effective: bool,
}

/// `samctl trace`
#[derive(Debug, clap::Args)]
pub struct TraceArgs {
    /// Where the packet comes from
    #[arg(value_name = "SRC", required_unless_present = "live")]
    pub from: Option<Ipv4Addr>,
    /// Where it goes to
    #[arg(value_name = "DST", required_unless_present = "live")]
    pub to: Option<Ipv4Addr>,
    /// Transport protocol
    #[arg(value_name = "PROTO", value_enum, default_value_t = TraceProtocol::Icmp)]
    pub protocol: TraceProtocol,
    /// Destination port, of tcp and udp
    #[arg(value_name = "PORT", requires = "protocol")]
    pub port: Option<u16>,
    /// Length of the packet, IP header included
    #[arg(long, value_name = "BYTES", default_value_t = TraceQuery::DEFAULT_SIZE)]
    pub size: u16,
    /// Set Don't Fragment
    #[arg(long)]
    pub df: bool,
    /// Show packets that come from now on, all or those that match
    #[arg(long, value_name = "FILTER", num_args = 0..)]
    #[arg(conflicts_with_all = ["from", "to", "protocol", "port", "size", "df"])]
    pub live: Option<Vec<String>>,
    /// End after this many packets
    #[arg(short, long, value_name = "N", requires = "live")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this many seconds; exit 6 when fewer packets than wanted have come by then
    #[arg(long, value_name = "SECONDS", requires = "live")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
}

/// Transport protocol of a traced packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceProtocol {
    /// An echo request
    Icmp,
    /// A segment
    Tcp,
    /// A datagram
    Udp,
}

/// `samctl demo`
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep the sites running until interrupted
    #[arg(long)]
    pub keep: bool,
    /// Let things go wrong instead: D1 to D10, several with commas, or all
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub scenario: Vec<String>,
    /// Shorter delays and fewer repetitions than the scenarios are specified with; the report says so
    #[arg(long, requires = "scenario")]
    pub quick: bool,
    /// Say which scenarios there are, and what each does
    #[arg(long, conflicts_with_all = ["scenario", "keep"])]
    pub list: bool,
}

/// `samctl bench`
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Whom to measure against: an address, or the name of a node
    #[arg(value_name = "ADDRESS|NODE", required_unless_present = "server")]
    #[arg(conflicts_with = "server")]
    pub target: Option<String>,
    /// Wait for clients instead
    #[arg(long)]
    pub server: bool,
    /// Address to listen on; by default the router's overlay address, without a router all
    #[arg(long, value_name = "ADDRESS", conflicts_with = "target")]
    pub bind: Option<IpAddr>,
    /// TCP and UDP port of the server
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
    /// End after one test
    #[arg(long, conflicts_with = "target")]
    pub one_off: bool,
    /// Length of the test in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        conflicts_with = "server"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SECONDS)))]
    pub time: u32,
    /// Streams at the same time
    #[arg(
        long,
        value_name = "STREAMS",
        default_value_t = 1,
        conflicts_with = "server"
    )]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_STREAMS)))]
    pub parallel: u8,
    /// Let the server send
    #[arg(long, conflicts_with = "server")]
    pub reverse: bool,
    /// Let both send at the same time, each on streams of its own
    #[arg(long, conflicts_with_all = ["server", "reverse"])]
    pub bidir: bool,
    /// Send datagrams instead of a byte stream
    #[arg(long, conflicts_with = "server")]
    pub udp: bool,
    /// Bytes of a block (TCP, by default 131072) or datagram (UDP, by default 1232)
    #[arg(long, value_name = "BYTES", conflicts_with = "server")]
    pub length: Option<usize>,
    /// Bits a second of each stream, such as 500M; 0 is no limit; by default 1M for UDP, none for TCP
    #[arg(long, value_name = "RATE", value_parser = parse_rate, conflicts_with = "server")]
    pub bitrate: Option<u64>,
}

/// `samctl key`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print a new private key
    Gen,
    /// Read a private key from standard input and print its public key
    Pub,
}

/// Tells whether JSON was asked for on a command line that cannot be parsed.
pub(crate) fn wants_json(args: &[OsString]) -> bool {
    let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
    words
        .iter()
        .any(|word| matches!(&**word, "-ojson" | "-o=json" | "--output=json"))
        || words
            .windows(2)
            .any(|pair| matches!(&*pair[0], "-o" | "--output") && pair[1] == "json")
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, \
3 no router on the socket, 4 not permitted, 5 a check failed, 6 timed out";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
