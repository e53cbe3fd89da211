//! Exactly what was typed: verbs, options and their help.
//!
//! The help text of a verb is its doc comment here. Nothing is checked beyond the shape of single values.

mod values;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;
use sam_router::view::TraceQuery;

use self::values::{hold, parse_name, parse_name_or_any, parse_prefix, parse_rate};
use crate::bench::PORT;
use crate::bench::parameters::{MAX_SECONDS, MAX_STREAMS};
use crate::rehearsal::Trouble;

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

/// `samctl iam-policy`
#[derive(Debug, Subcommand)]
pub enum IamPolicyCommand {
    /// Print a policy of IAM, for the role of the routers' instance profile
    Aws(AwsPolicyArgs),
    /// Print a custom role of Azure, for the routers' managed identities
    Azure(AzureRoleArgs),
    /// Print statements of an OCI policy, for the dynamic group that the routers are in
    Oci(OciPolicyArgs),
}

/// `samctl iam-policy aws`
#[derive(Debug, clap::Args)]
pub struct AwsPolicyArgs {
    /// Value of the tag sam-group, which the network interfaces of all routers must have
    #[arg(long, value_name = "TAG", value_parser = parse_name)]
    pub group: String,
    /// Only in this region
    #[arg(long, default_value = "*", value_parser = parse_name_or_any)]
    pub region: String,
    /// Only in this account
    #[arg(long, default_value = "*", value_parser = parse_name_or_any)]
    pub account: String,
}

/// `samctl iam-policy azure`
#[derive(Debug, clap::Args)]
pub struct AzureRoleArgs {
    /// Subscription
    #[arg(long, value_name = "ID", value_parser = parse_name)]
    pub subscription: String,
    /// Resource group in which the role can be assigned
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub resource_group: String,
    /// The network interfaces have public addresses
    #[arg(long)]
    pub public_addresses: bool,
    /// The network interfaces are in application security groups
    #[arg(long)]
    pub application_groups: bool,
}

/// `samctl iam-policy oci`
#[derive(Debug, clap::Args)]
pub struct OciPolicyArgs {
    /// Dynamic group whose rule matches the routers' instances
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub dynamic_group: String,
    /// Compartment of the subnet and its VNICs: its name or OCID, or the OCID of the tenancy
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub compartment: String,
}

/// `samctl capture`
#[derive(Debug, Subcommand)]
pub enum CaptureCommand {
    /// Play the capture part of a configuration against a fake of its cloud, on loopback; exit 5 when a step fails
    ///
    /// The router's own reconciler and client plan, take addresses, give one back, leave one to another router, take it over when
    /// that one is dead, and give everything back. Printed is each change that this makes at the provider.
    Rehearse(RehearseArgs),
}

/// `samctl capture rehearse`
#[derive(Debug, clap::Args)]
pub struct RehearseArgs {
    /// Configuration file of the router, YAML or TOML by its ending; key files are not read
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Let this go wrong; can be given several times
    #[arg(long = "fault", value_name = "NAME", value_enum)]
    pub faults: Vec<Trouble>,
}

/// `samctl lab`
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Serve a cloud that is not there, for clients of real ones: APIs, instance metadata, faults and a ledger
    ///
    /// One address serves the EC2 Query API of AWS, Azure Resource Manager, OCI with its token service, and at /instances/ID what an instance sees at 169.254.169.254. What can be looked at and broken is below /fakecloud/: GET state,
    /// ledger, calls; POST faults, such as {"operation": "Assign*", "times": 1, "effect": "loseAnswer"}.
    Fakecloud(FakecloudArgs),
}

/// `samctl lab fakecloud`
#[derive(Debug, clap::Args)]
pub struct FakecloudArgs {
    /// What there is: subnets, instances, roles, latencies, faults; YAML
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8470")]
    pub listen: SocketAddr,
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

/// `samctl bgp`
#[derive(Debug, Subcommand)]
pub enum BgpCommand {
    /// Show all neighbors
    Neighbors,
    /// Show one neighbor, or one of its tables of routes
    Neighbor {
        /// Name or overlay address of the node
        #[arg(value_name = "NAME|ADDRESS")]
        neighbor: String,
        /// Which table
        #[arg(value_enum)]
        table: Option<RouteTable>,
    },
    /// Show all paths
    Rib {
        /// Only this prefix; an address means its /32
        #[arg(value_parser = parse_prefix)]
        prefix: Option<Ipv4Net>,
    },
    /// Follow changes: first what is there, then what changes
    Monitor {
        /// Of what
        #[arg(value_enum, default_value_t = Topic::Rib)]
        topic: Topic,
    },
    /// Write the table to a file of MRT, or read such a file
    #[command(subcommand)]
    Mrt(MrtCommand),
    /// Say what bytes of BGP mean and what this router would do with them; exit 5 unless it takes them as they are
    Decode(DecodeArgs),
    /// Ask neighbors of other ASes to use other ways, before this one goes away (RFC 8326)
    ///
    /// Sessions and routes stay. `samctl drain` does the same, and leaves addresses to other nodes too. It holds across
    /// restarts; `bgp neighbors` shows it.
    GracefulShutdown {
        /// Begin, or end it
        #[arg(value_enum)]
        order: DrainOrder,
    },
    /// Show why a path is the best, step by step
    Why {
        /// Prefix; an address means its /32
        #[arg(value_parser = parse_prefix)]
        prefix: Ipv4Net,
    },
}

/// `samctl bgp mrt`
#[derive(Debug, Subcommand)]
pub enum MrtCommand {
    /// Write all paths as TABLE_DUMP_V2 (RFC 6396)
    Dump {
        /// Write to this file instead of standard output
        file: Option<PathBuf>,
    },
    /// Show what a file holds, a line for each route; needs no router
    Read {
        /// TABLE_DUMP, TABLE_DUMP_V2 or BGP4MP, not compressed
        file: PathBuf,
    },
}

/// `samctl bgp decode`
#[derive(Debug, clap::Args)]
pub struct DecodeArgs {
    /// Messages in hexadecimal; `-` or nothing reads digits or bytes from standard input
    #[arg(allow_hyphen_values = true)]
    pub hex: Option<String>,
    /// Prefixes stand behind path identifiers (RFC 7911), as they do after an OPEN among the messages that offers it
    #[arg(long)]
    pub add_path: bool,
    /// AS numbers of AS_PATH and AGGREGATOR have two octets
    #[arg(long)]
    pub two_octet_as: bool,
    /// The session is external
    #[arg(long)]
    pub external: bool,
}

/// What can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// All paths of each prefix
    Rib,
    /// States of the sessions
    Neighbors,
    /// Who owns each address
    Owners,
}

/// A table of a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RouteTable {
    /// What it told us, before policy
    Received,
    /// What of it is used
    Accepted,
    /// What of it is not, and why
    Rejected,
    /// What we told it
    Advertised,
    /// What we do not tell it, and why
    Withheld,
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

    #[test]
    fn rates_have_decimal_suffixes_and_a_bound() {
        for (text, rate) in [
            ("0", 0),
            ("64000", 64_000),
            ("8k", 8_000),
            ("500M", 500_000_000),
            ("1000G", 1_000_000_000_000),
        ] {
            assert_eq!(parse_rate(text), Ok(rate));
        }
        for text in [
            "",
            "M",
            "1.5G",
            "-1",
            "1001G",
            "99999999999999999999",
            "5 M",
            "5é",
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_is_a_prefix_of_32_bits() {
        assert_eq!(parse_prefix("10.0.0.1"), parse_prefix("10.0.0.1/32"));
        assert!(parse_prefix("10.0.0.1/24").is_err_and(|help| help.contains("10.0.0.0/24")));
        assert!(parse_prefix("lan60").is_err());
    }
}
