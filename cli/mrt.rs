//! Files of MRT (RFC 6396), record by record: `samctl bgp mrt read`.
//!
//! bgpkit-parser reads the records. UPDATEs of IPv4 and IPv6 unicast in them are decoded by the router's own decoder first: it
//! says what is wrong with a message, and takes no default route for a path identifier.

use std::io::Read;
use std::net::IpAddr;

use bgpkit_parser::error::ParserError;
use bgpkit_parser::models::{
    BgpElem, ElemType, EntryType, MrtMessage, MrtRecord, TableDumpV2Message,
};
use bgpkit_parser::{Elementor, RawMrtRecord, chunk_mrt_record};
use sam_bgp::PathAttributes;
use sam_bgp::wire::{
    AttributeFault, DecodeContext, Ipv6Context, Message, Nlri, PathId, Prefix, Update,
};
use sam_router::view::AttributesView;
use serde::Serialize;

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MrtLine {
    /// A route, or its end.
    Route(Box<MrtRoute>),
    /// What cannot be read, or what this router would not take as it is.
    Problem(MrtProblem),
}

/// A route.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MrtRoute {
    /// `rib` for a route of a table, `announce` or `withdraw` for a change.
    pub kind: &'static str,
    /// Seconds since the Unix epoch: when a change came, when a route of a table was learned.
    pub time: f64,
    /// Address of the peer that told.
    pub peer: Option<IpAddr>,
    /// Its AS number.
    pub peer_asn: u32,
    /// Destination.
    pub prefix: String,
    /// Path identifier (RFC 7911), if there is one.
    pub path_id: Option<u32>,
    /// Next hop.
    pub next_hop: Option<IpAddr>,
    /// AS_PATH.
    pub as_path: String,
    /// ORIGIN: igp, egp, incomplete.
    pub origin: Option<String>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ORIGINATOR_ID; of changes only where the router's own decoder read them.
    pub originator_id: Option<IpAddr>,
    /// CLUSTER_LIST, likewise.
    pub cluster_list: Vec<IpAddr>,
    /// Communities of all kinds.
    pub communities: Vec<String>,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MrtProblem {
    /// Always `problem`.
    pub kind: &'static str,
    /// Number of the record, from 1.
    pub record: u64,
    /// What is wrong.
    pub reason: String,
}

/// Reads records until the end, or until the next one cannot be found.
pub struct MrtReader<R> {
    input: R,
    elementor: Elementor,
    record: u64,
    has_ended: bool,
}

impl<R: Read> MrtReader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            elementor: Elementor::new(),
            record: 0,
            has_ended: false,
        }
    }

    fn problem(&self, reason: impl Into<String>) -> MrtLine {
        MrtLine::Problem(MrtProblem {
            kind: "problem",
            record: self.record,
            reason: reason.into(),
        })
    }

    fn lines(&mut self, raw: RawMrtRecord) -> Vec<MrtLine> {
        let change = Change::find(&raw);
        let record = match raw.parse() {
            Ok(record) => record,
            Err(error) => {
                let told = change.and_then(|change| change.objection());
                let reason = told.unwrap_or_else(|| error.to_string());
                return vec![self.problem(reason)];
            }
        };
        let Some(change) = change else {
            return routes(self.rows(record));
        };
        let mut lines = Vec::new();
        lines.extend(change.objection().map(|reason| self.problem(reason)));
        match change.all_routes(seconds(&record)) {
            Some(found) if lines.is_empty() => lines.extend(routes(found)),
            _ => lines.extend(routes(self.rows(record))),
        }
        lines
    }

    fn rows(&mut self, record: MrtRecord) -> Vec<MrtRoute> {
        let kind = match record.message {
            MrtMessage::TableDumpV2Message(_)
            | MrtMessage::TableDumpMessage(_)
            | MrtMessage::TableDumpMessageBatch(_) => "rib",
            MrtMessage::Bgp4Mp(_) | MrtMessage::LegacyBgp(_) => "announce",
        };
        let reflected = reflection(&record);
        let elements = self.elementor.record_to_elems(record);
        let whole = elements.len() == reflected.len();
        let mut rows: Vec<MrtRoute> = elements.iter().map(|elem| row(kind, elem)).collect();
        if whole {
            for (row, (originator, clusters)) in rows.iter_mut().zip(reflected) {
                row.originator_id = originator;
                row.cluster_list = clusters;
            }
        }
        rows
    }
}

impl<R: Read> Iterator for MrtReader<R> {
    type Item = Vec<MrtLine>;

    fn next(&mut self) -> Option<Vec<MrtLine>> {
        if self.has_ended {
            return None;
        }
        self.record += 1;
        match chunk_mrt_record(&mut self.input) {
            Ok(raw) => Some(self.lines(raw)),
            Err(error) => {
                self.has_ended = true;
                let expected = matches!(error.error, ParserError::EofExpected);
                (!expected).then(|| vec![self.problem(error.error.to_string())])
            }
        }
    }
}

/// A BGP message within a record of changes (RFC 6396 section 4.4).
pub(crate) struct Change {
    /// Who sent it.
    pub(crate) peer: IpAddr,
    /// Who wrote the file sent it, to that peer.
    pub(crate) is_local: bool,
    peer_asn: u32,
    /// What this router makes of it.
    pub(crate) decoded: Result<Message, String>,
}

impl Change {
    /// Reads a record; `None` if it is none of changes.
    pub(crate) fn find(raw: &RawMrtRecord) -> Option<Self> {
        let header = &raw.common_header;
        if !matches!(header.entry_type, EntryType::BGP4MP | EntryType::BGP4MP_ET) {
            return None;
        }
        let (four_octet_as, add_path) = match header.entry_subtype {
            MESSAGE | MESSAGE_LOCAL => (false, false),
            MESSAGE_AS4 | MESSAGE_AS4_LOCAL => (true, false),
            MESSAGE_ADD_PATH | MESSAGE_LOCAL_ADD_PATH => (false, true),
            MESSAGE_AS4_ADD_PATH | MESSAGE_AS4_LOCAL_ADD_PATH => (true, true),
            _ => return None,
        };
        let mut rest = raw.message_bytes.as_ref();
        let width = if four_octet_as { 4 } else { 2 };
        let (peer_asn, local_asn) = (number(&mut rest, width)?, number(&mut rest, width)?);
        number(&mut rest, 2)?;
        let length = match number(&mut rest, 2)? {
            1 => 4,
            2 => 16,
            _ => return None,
        };
        let peer = address(rest.get(..length)?)?;
        let message = rest.get(2 * length..)?;
        let context = DecodeContext {
            four_octet_as,
            ibgp: peer_asn == local_asn,
            add_path,
            extended: true,
            ipv6: Some(Ipv6Context { add_path }),
        };
        let local = [
            MESSAGE_LOCAL,
            MESSAGE_AS4_LOCAL,
            MESSAGE_LOCAL_ADD_PATH,
            MESSAGE_AS4_LOCAL_ADD_PATH,
        ];
        Some(Self {
            peer,
            is_local: local.contains(&header.entry_subtype),
            peer_asn,
            decoded: Message::decode(message, context).map_err(|error| error.to_string()),
        })
    }

    /// What this router would find wrong with it; families that it does not speak are not wrong.
    pub(crate) fn objection(&self) -> Option<String> {
        if let Err(reason) = &self.decoded {
            return Some(format!("refused: {reason}"));
        }
        let mut faults = self.faults().iter();
        let fault = faults.find(|fault| !MULTIPROTOCOL.contains(&fault.kind))?;
        Some(format!(
            "malformed attribute type {}: {}",
            fault.kind, fault.reason
        ))
    }

    fn faults(&self) -> &[AttributeFault] {
        match &self.decoded {
            Ok(Message::Update(update)) => &update.faults,
            Ok(Message::Ipv6Update(update)) => &update.ipv6.faults,
            Ok(_) | Err(_) => &[],
        }
    }

    /// Its routes, if all of them are of families that this router speaks.
    fn all_routes(&self, time: f64) -> Option<Vec<MrtRoute>> {
        if !self.faults().is_empty() {
            return None;
        }
        match &self.decoded {
            Ok(Message::Update(update)) => Some(self.routes(update, time)),
            Ok(Message::Ipv6Update(update)) => {
                let mut routes = self.routes(&update.ipv6, time);
                let ipv4 = update.ipv4.as_ref();
                routes.extend(ipv4.into_iter().flat_map(|ipv4| self.routes(ipv4, time)));
                Some(routes)
            }
            Ok(_) | Err(_) => None,
        }
    }

    fn routes<N: Prefix>(&self, update: &Update<N>, time: f64) -> Vec<MrtRoute> {
        let route = |kind, route: &Nlri<N>| MrtRoute {
            kind,
            time,
            peer: Some(self.peer),
            peer_asn: self.peer_asn,
            prefix: route.prefix.to_string(),
            path_id: route.path_id.map(|PathId(id)| id),
            ..MrtRoute::default()
        };
        let withdrawn = update.withdrawn.iter().map(|gone| route("withdraw", gone));
        let attributes = update.attributes.as_ref();
        let announced = update.announced.iter();
        let announced = announced.map(|new| with_attributes(route("announce", new), attributes));
        withdrawn.chain(announced).collect()
    }
}

fn with_attributes<A: Copy + Into<IpAddr>>(
    route: MrtRoute,
    attributes: Option<&PathAttributes<A>>,
) -> MrtRoute {
    let Some(view) = attributes.map(AttributesView::from) else {
        return route;
    };
    let path: Vec<String> = view.as_path.iter().map(ToString::to_string).collect();
    MrtRoute {
        next_hop: Some(view.next_hop),
        as_path: path.join(" "),
        origin: Some(view.origin),
        med: view.med,
        local_pref: view.local_pref,
        originator_id: view.originator_id.map(IpAddr::V4),
        cluster_list: view.cluster_list.into_iter().map(IpAddr::V4).collect(),
        communities: [view.communities, view.large_communities].concat(),
        ..route
    }
}

fn routes(rows: Vec<MrtRoute>) -> Vec<MrtLine> {
    let rows = rows.into_iter();
    rows.map(|row| MrtLine::Route(Box::new(row))).collect()
}

/// What a reflector added, entry by entry of a table.
fn reflection(record: &MrtRecord) -> Vec<(Option<IpAddr>, Vec<IpAddr>)> {
    let MrtMessage::TableDumpV2Message(TableDumpV2Message::RibAfi(table)) = &record.message else {
        return Vec::new();
    };
    let added = table.rib_entries.iter().map(|entry| {
        let clusters = entry.attributes.clusters().unwrap_or_default();
        let clusters = clusters.iter().map(|id| IpAddr::V4((*id).into()));
        (
            entry.attributes.origin_id().map(IpAddr::V4),
            clusters.collect(),
        )
    });
    added.collect()
}

fn row(kind: &'static str, elem: &BgpElem) -> MrtRoute {
    let kind = match elem.elem_type {
        ElemType::ANNOUNCE => kind,
        ElemType::WITHDRAW => "withdraw",
    };
    let communities = elem.communities.iter().flatten();
    MrtRoute {
        kind,
        time: elem.timestamp,
        peer: Some(elem.peer_ip),
        peer_asn: elem.peer_asn.into(),
        prefix: elem.prefix.prefix.to_string(),
        path_id: elem.prefix.path_id,
        next_hop: elem.next_hop,
        as_path: elem
            .as_path
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        origin: elem.origin.map(|origin| origin.to_string().to_lowercase()),
        med: elem.med,
        local_pref: elem.local_pref,
        originator_id: None,
        cluster_list: Vec::new(),
        communities: communities.map(ToString::to_string).collect(),
    }
}

fn seconds(record: &MrtRecord) -> f64 {
    let header = &record.common_header;
    let micros = header.microsecond_timestamp.unwrap_or_default();
    f64::from(header.timestamp) + f64::from(micros) / 1e6
}

/// Takes a number of `width` octets off the front.
pub(crate) fn number(rest: &mut &[u8], width: usize) -> Option<u32> {
    let (octets, further) = rest.split_at_checked(width)?;
    *rest = further;
    Some(
        octets
            .iter()
            .fold(0, |number, octet| number << 8 | u32::from(*octet)),
    )
}

/// Reads an address of four octets or sixteen.
pub(crate) fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    four.or(sixteen).ok()
}

/// Subtypes of BGP4MP (RFC 6396 section 4.4; with path identifiers, RFC 8050 section 3).
const MESSAGE: u16 = 1;
const MESSAGE_AS4: u16 = 4;
const MESSAGE_LOCAL: u16 = 6;
const MESSAGE_AS4_LOCAL: u16 = 7;
const MESSAGE_ADD_PATH: u16 = 8;
const MESSAGE_AS4_ADD_PATH: u16 = 9;
const MESSAGE_LOCAL_ADD_PATH: u16 = 10;
const MESSAGE_AS4_LOCAL_ADD_PATH: u16 = 11;
/// MP_REACH_NLRI and MP_UNREACH_NLRI.
const MULTIPROTOCOL: [u8; 2] = [14, 15];

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const CONTEXT: DecodeContext = DecodeContext {
        four_octet_as: true,
        ibgp: true,
        add_path: false,
        extended: false,
        ipv6: None,
    };

    #[test]
    fn a_change_with_a_default_route_first_is_read_as_it_was_sent() {
        let prefixes = ["0.0.0.0/0", "10.0.16.0/24", "10.0.17.0/24"];
        let lines = read(&record(&update(&prefixes)));

        let routes: Vec<&MrtRoute> = lines.iter().filter_map(route).collect();
        let found: Vec<&str> = routes.iter().map(|row| row.prefix.as_str()).collect();
        assert_eq!(found, prefixes);
        assert_eq!(lines.len(), 3);
        let first = routes[0];
        assert_eq!((first.kind, first.time), ("announce", 1_795_262_400.0));
        assert_eq!(first.peer, Some(IpAddr::from([10, 99, 0, 2])));
        assert_eq!((first.peer_asn, first.path_id), (64_577, None));
        assert_eq!(first.originator_id, Some(IpAddr::from([10, 99, 0, 9])));
        assert_eq!(first.communities, ["no-export"]);
    }

    /// RFC 8050 section 3.
    #[test]
    fn the_subtype_says_whether_routes_have_path_identifiers() {
        let context = DecodeContext {
            add_path: true,
            ..CONTEXT
        };
        let update = Message::Update(Update {
            announced: vec![Nlri {
                prefix: "10.77.60.11/32".parse().expect("a prefix"),
                path_id: Some(PathId(7)),
            }],
            attributes: Some(PathAttributes::local(Ipv4Addr::new(10, 99, 0, 2))),
            ..Update::default()
        });
        let mut file = record(&update.encode(context));
        assert_eq!(file[6..8], [0, 4], "the subtype");
        file[7] = 9;

        let lines = read(&file);

        let [MrtLine::Route(row)] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((&*row.prefix, row.path_id), ("10.77.60.11/32", Some(7)));
        file[7] = 4;
        assert!(!read(&file).contains(&lines[0]));
    }

    #[test]
    fn what_the_router_would_not_take_is_said() {
        let mut malformed = update(&["10.0.0.0/8"]);
        malformed[23 + 2] = 200;
        let mut unframed = update(&["10.0.0.0/8"]);
        unframed[0] = 0;
        for (message, words) in [(malformed, "malformed attribute"), (unframed, "marker")] {
            let lines = read(&record(&message));
            let MrtLine::Problem(problem) = &lines[0] else {
                panic!("{lines:?}");
            };
            assert!(problem.reason.contains(words), "{}", problem.reason);
            assert_eq!(problem.record, 1);
        }
    }

    #[test]
    fn a_file_that_breaks_off_ends_with_a_problem_and_an_empty_one_without() {
        let mut file = record(&update(&["10.0.0.0/8"]));
        file.extend_from_within(..);
        file.pop();
        let lines = read(&file);
        assert_eq!(lines.len(), 2);
        assert!(matches!(&lines[1], MrtLine::Problem(problem) if problem.record == 2));
        assert_eq!(read(&[]), []);
    }

    fn read(file: &[u8]) -> Vec<MrtLine> {
        MrtReader::new(file).flatten().collect()
    }

    fn route(line: &MrtLine) -> Option<&MrtRoute> {
        match line {
            MrtLine::Route(route) => Some(route),
            MrtLine::Problem(_) => None,
        }
    }

    fn update(prefixes: &[&str]) -> Vec<u8> {
        let attributes = PathAttributes {
            originator_id: Some(Ipv4Addr::new(10, 99, 0, 9)),
            communities: vec![0xffff_ff01],
            ..PathAttributes::local(Ipv4Addr::new(10, 99, 0, 2))
        };
        let update = Update {
            announced: prefixes
                .iter()
                .map(|text| text.parse::<ipnet::Ipv4Net>().expect("a prefix").into())
                .collect(),
            attributes: Some(attributes),
            ..Update::default()
        };
        Message::Update(update).encode(CONTEXT)
    }

    /// A record BGP4MP_MESSAGE_AS4.
    fn record(message: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for asn in [64_577u32, 64_577] {
            body.extend(asn.to_be_bytes());
        }
        body.extend([0, 0, 0, 1, 10, 99, 0, 2, 10, 99, 0, 1]);
        body.extend(message);
        let mut record = 1_795_262_400u32.to_be_bytes().to_vec();
        record.extend([0, 16, 0, 4]);
        let length = u32::try_from(body.len()).expect("short");
        record.extend(length.to_be_bytes());
        record.extend(body);
        record
    }
}
