//! Verbs about BGP.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use ipnet::IpNet;

use super::DrainOrder;
use super::values::{parse_prefix, parse_speaker};

/// `samctl bgp`
#[derive(Debug, Subcommand)]
pub enum BgpCommand {
    /// Show all neighbors
    Neighbors,
    /// Show one neighbor or one of its tables of routes, or do something with its session
    ///
    /// What is ordered holds until this router stops: after a restart no session is disabled.
    Neighbor {
        /// Name or overlay address of the node
        #[arg(value_name = "NAME|ADDRESS")]
        neighbor: String,
        /// Which table, or what to do
        #[arg(value_enum, value_name = "TABLE|ORDER")]
        topic: Option<NeighborTopic>,
        /// Of a refresh: which way; both without
        #[arg(value_enum, requires = "topic")]
        direction: Option<Direction>,
        /// Only routes of this family, of a table
        #[arg(short = 'a', long, value_enum, requires = "topic")]
        family: Option<Family>,
        /// Of a reset: routes go at once, where both sides would keep them until the session is back (RFC 8538)
        #[arg(long, requires = "topic")]
        hard: bool,
    },
    /// Show all paths
    Rib {
        /// Only this prefix and those inside of it; an address means itself
        #[arg(value_parser = parse_prefix)]
        prefix: Option<IpNet>,
        /// Only paths of this family
        #[arg(short = 'a', long, value_enum)]
        family: Option<Family>,
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
    /// Show which routes may pass, or try one
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show why a path is the best, step by step
    Why {
        /// Prefix; an address means itself
        #[arg(value_parser = parse_prefix)]
        prefix: IpNet,
    },
}

/// `samctl bgp policy`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show the rules of each neighbor, in order: the first that matches decides
    Show,
    /// Say what would become of a route, and which term decides; nothing is sent or changed
    ///
    /// Tried is the route that the neighbor told, and each path that it may be told; without one, of neighbors of other ASes
    /// a plain route.
    Test {
        /// Prefix; an address means itself
        #[arg(value_parser = parse_prefix)]
        prefix: IpNet,
        /// Only at this neighbor
        #[arg(value_name = "NAME|ADDRESS")]
        neighbor: Option<String>,
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
    /// Tell a BGP speaker the routes of a file, as a neighbor of it would: to test one; needs no router here
    ///
    /// Without --live nothing is sent, and it is shown what would be. The speaker must expect this host as a neighbor, and its
    /// policy decides what it believes; it forgets the routes when this command ends. What is told is IPv4 unicast, of several
    /// routes to a prefix the first.
    Inject(InjectArgs),
}

/// `samctl bgp mrt inject`
#[derive(Debug, clap::Args)]
pub struct InjectArgs {
    /// TABLE_DUMP_V2 or BGP4MP, not compressed
    pub file: PathBuf,
    /// Whom to tell
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = parse_speaker)]
    pub to: Option<SocketAddrV4>,
    /// AS number of this neighbor
    #[arg(long, value_name = "NUMBER")]
    pub asn: Option<u32>,
    /// AS number of the speaker, if it is another one
    #[arg(long, value_name = "NUMBER")]
    pub peer_asn: Option<u32>,
    /// Only routes that this peer told, as the file says
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// Next hop of all routes instead of their own; a speaker of another AS is told the address of this host
    #[arg(long, value_name = "ADDRESS")]
    pub next_hop: Option<Ipv4Addr>,
    /// End so many seconds after all routes are told, not when interrupted
    #[arg(long, value_name = "NUMBER")]
    pub seconds: Option<u64>,
    /// Really tell them
    #[arg(long, requires_all = ["to", "asn"])]
    pub live: bool,
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
    /// All paths of each prefix of IPv4 unicast
    Rib,
    /// The same of IPv6 unicast
    RibIpv6,
    /// States of the sessions
    Neighbors,
    /// Who owns each address
    Owners,
}

/// A family of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IPv4 unicast
    Ipv4,
    /// IPv6 unicast
    Ipv6,
}

/// A table of a neighbor, or an order about its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NeighborTopic {
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
    /// Have it tell all its routes again, and tell it all of ours
    Refresh,
    /// End the session, which comes up again by itself
    Reset,
    /// End the session until it is enabled
    Disable,
    /// Allow the session again
    Enable,
}

/// Which way routes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// Its routes, to us
    In,
    /// Our routes, to it
    Out,
}
