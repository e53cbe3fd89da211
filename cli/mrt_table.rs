//! The routes of a file of MRT (RFC 6396) as this router's decoder takes them: what `samctl bgp mrt inject` tells.
//!
//! Of IPv4 unicast, and one for each prefix: the first that is found, until who told it withdraws it. What is left out is
//! counted by reason.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read;
use std::net::IpAddr;

use bgpkit_parser::error::ParserError;
use bgpkit_parser::models::EntryType;
use bgpkit_parser::{RawMrtRecord, chunk_mrt_record};
use ipnet::Ipv4Net;
use sam_bgp::PathAttributes;
use sam_bgp::wire::{DecodeContext, Message, PathId, Update};

use crate::mrt::{Change, address, number};

/// A peer, and the identifier of one of its paths to a prefix (RFC 7911).
type Teller = (IpAddr, Option<PathId>);

/// Routes of a file.
#[derive(Debug, Default)]
pub struct MrtTable {
    /// Who told a route, under which path identifier, and its attributes.
    routes: BTreeMap<Ipv4Net, (Teller, PathAttributes)>,
    left_out: BTreeMap<&'static str, u64>,
    /// The only peer of which routes are taken.
    from: Option<IpAddr>,
    /// Addresses of the peers of the table that is being read.
    peers: Vec<IpAddr>,
}

impl MrtTable {
    /// Reads a file; with `from` only what this peer told.
    ///
    /// # Errors
    /// When a record cannot be found, which one and why.
    pub fn read(mut input: impl Read, from: Option<IpAddr>) -> Result<Self, String> {
        let mut table = Self {
            from,
            ..Self::default()
        };
        for record in 1u64.. {
            match chunk_mrt_record(&mut input) {
                Ok(raw) => table.take_record(&raw),
                Err(error) if matches!(error.error, ParserError::EofExpected) => break,
                Err(error) => return Err(format!("record {record}: {}", error.error)),
            }
        }
        Ok(table)
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What is left out, and how often.
    #[must_use]
    pub fn left_out(&self) -> &BTreeMap<&'static str, u64> {
        &self.left_out
    }

    /// Hands out the routes, by prefix.
    pub fn into_routes(self) -> impl Iterator<Item = (Ipv4Net, PathAttributes)> {
        let routes = self.routes.into_iter();
        routes.map(|(prefix, (_, attributes))| (prefix, attributes))
    }

    fn take_record(&mut self, raw: &RawMrtRecord) {
        let (header, body) = (&raw.common_header, raw.message_bytes.as_ref());
        if !matches!(header.entry_type, EntryType::TABLE_DUMP_V2) {
            match Change::find(raw) {
                Some(change) => self.take_change(change),
                None => self.leave_out("records of another kind"),
            }
            return;
        }
        let whole = match header.entry_subtype {
            PEER_INDEX_TABLE => self.take_peers(body),
            RIB_IPV4_UNICAST => self.take_prefix(body, false),
            RIB_IPV4_UNICAST_ADDPATH => self.take_prefix(body, true),
            _ => {
                self.leave_out("prefixes of other families");
                Some(())
            }
        };
        if whole.is_none() {
            self.leave_out("records that break off");
        }
    }

    /// RFC 6396 section 4.3.1: who told the routes.
    fn take_peers(&mut self, mut body: &[u8]) -> Option<()> {
        self.peers.clear();
        number(&mut body, 4)?;
        let name = number(&mut body, 2)?;
        octets(&mut body, name)?;
        for _ in 0..number(&mut body, 2)? {
            let kind = number(&mut body, 1)?;
            number(&mut body, 4)?;
            let length = if kind & PEER_IS_IPV6 == 0 { 4 } else { 16 };
            self.peers.push(address(octets(&mut body, length)?)?);
            let width = if kind & PEER_HAS_LONG_AS == 0 { 2 } else { 4 };
            number(&mut body, width)?;
        }
        Some(())
    }

    /// Section 4.3.2: the routes to a prefix; RFC 8050 section 4.1: with identifiers.
    fn take_prefix(&mut self, mut body: &[u8], with_ids: bool) -> Option<()> {
        number(&mut body, 4)?;
        let bits = *body.first()?;
        let nlri = octets(&mut body, 1 + u32::from(bits.div_ceil(8)))?;
        for _ in 0..number(&mut body, 2)? {
            let index = number(&mut body, 2)?;
            number(&mut body, 4)?;
            let path_id = if with_ids {
                Some(PathId(number(&mut body, 4)?))
            } else {
                None
            };
            let length = number(&mut body, 2)?;
            let attributes = octets(&mut body, length)?;
            let peer = *self.peers.get(usize::try_from(index).ok()?)?;
            match decode(attributes, nlri) {
                Some(mut update) => {
                    let routes = update.announced.iter_mut();
                    routes.for_each(|route| route.path_id = path_id);
                    self.apply(peer, update, false);
                }
                None => self.leave_out("malformed routes"),
            }
        }
        Some(())
    }

    /// A change that the router would not take as it is ends what its peer told before, as far as it says so, and tells
    /// nothing.
    fn take_change(&mut self, change: Change) {
        if change.is_local {
            self.leave_out("messages of our side");
            return;
        }
        let is_faulty = change.decoded.is_ok() && change.objection().is_some();
        if is_faulty {
            self.leave_out("malformed messages");
        }
        let sound = |update: Update| Update {
            attributes: update.attributes.filter(|_| !is_faulty),
            ..update
        };
        match change.decoded {
            Ok(Message::Update(update)) => self.apply(change.peer, sound(update), true),
            Ok(Message::Ipv6Update(update)) => {
                self.leave_out("messages of other families");
                if let Some(update) = update.ipv4 {
                    self.apply(change.peer, sound(update), true);
                }
            }
            Ok(_) => {}
            Err(_) => self.leave_out("malformed messages"),
        }
    }

    /// Takes routes of a peer in; `replaces`: those that it told before.
    fn apply(&mut self, peer: IpAddr, update: Update, replaces: bool) {
        if self.from.is_some_and(|from| from != peer) {
            self.leave_out("routes of other peers");
            return;
        }
        for gone in update.withdrawn {
            let told = self.routes.get(&gone.prefix);
            if told.is_some_and(|(by, _)| *by == (peer, gone.path_id)) {
                self.routes.remove(&gone.prefix);
            }
        }
        let Some(attributes) = update.attributes else {
            return;
        };
        for route in update.announced {
            let teller = (peer, route.path_id);
            match self.routes.entry(route.prefix) {
                Entry::Vacant(place) => {
                    place.insert((teller, attributes.clone()));
                }
                Entry::Occupied(mut place) if replaces && place.get().0 == teller => {
                    place.insert((teller, attributes.clone()));
                }
                Entry::Occupied(_) => self.leave_out("further routes to a prefix"),
            }
        }
    }

    fn leave_out(&mut self, reason: &'static str) {
        *self.left_out.entry(reason).or_default() += 1;
    }
}

/// Has the router's own decoder read a route, as the UPDATE that would bring it.
fn decode(attributes: &[u8], nlri: &[u8]) -> Option<Update> {
    let length = HEADER_AND_LENGTHS + attributes.len() + nlri.len();
    let mut message = vec![0xff; 16];
    message.extend(u16::try_from(length).ok()?.to_be_bytes());
    message.extend([UPDATE, 0, 0]);
    message.extend(u16::try_from(attributes.len()).ok()?.to_be_bytes());
    message.extend(attributes);
    message.extend(nlri);
    match Message::decode(&message, CONTEXT) {
        Ok(Message::Update(update)) if update.faults.is_empty() => Some(update),
        Ok(_) | Err(_) => None,
    }
}

/// Takes octets off the front.
fn octets<'a>(rest: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    let (taken, further) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = further;
    Some(taken)
}

/// AS numbers of a table have four octets (RFC 6396 section 4.3.4), and LOCAL_PREF may be there.
const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: true,
    ipv6: None,
};
/// Subtypes of TABLE_DUMP_V2.
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV4_UNICAST_ADDPATH: u16 = 8;
/// Bits of the type of a peer.
const PEER_IS_IPV6: u32 = 1;
const PEER_HAS_LONG_AS: u32 = 2;
/// Type of an UPDATE, and its octets beside attributes and routes (RFC 4271 section 4.3).
const UPDATE: u8 = 2;
const HEADER_AND_LENGTHS: usize = 23;

#[cfg(test)]
mod tests {
    use sam_bgp::wire::Nlri;

    use super::*;

    const NEAR: [u8; 4] = [10, 99, 0, 2];
    const FAR: [u8; 4] = [10, 99, 0, 3];
    /// Subtypes of BGP4MP (RFC 8050 section 3).
    const AS4_ADD_PATH: u16 = 9;
    const AS4_LOCAL_ADD_PATH: u16 = 11;

    #[test]
    fn the_first_route_to_a_prefix_counts_and_the_rest_is_counted() {
        let (first, second) = (attributes(NEAR, 7), attributes(FAR, 9));
        let entries = [(0, &first), (1, &second)];
        let file = [peers(&[NEAR, FAR]), prefix([192, 0, 2, 1], &entries)].concat();

        let table = MrtTable::read(&file[..], None).expect("records");

        assert_eq!(
            table.left_out(),
            &[("further routes to a prefix", 1)].into()
        );
        let routes: Vec<_> = table.into_routes().collect();
        assert_eq!(
            routes,
            [("192.0.2.1/32".parse().expect("a prefix"), first.clone())]
        );
        let far = MrtTable::read(&file[..], Some(FAR.into())).expect("records");
        assert_eq!(
            far.into_routes().map(|(_, it)| it).collect::<Vec<_>>(),
            [second]
        );
    }

    #[test]
    fn changes_leave_what_the_last_one_says() {
        let said = |peer, med: Option<u32>| {
            let prefix: Ipv4Net = "192.0.2.1/32".parse().expect("a prefix");
            let mut update = Update::default();
            match med {
                Some(med) => {
                    update.announced = vec![prefix.into()];
                    update.attributes = Some(attributes(peer, med));
                }
                None => update.withdrawn = vec![prefix.into()],
            }
            change(peer, &Message::Update(update).encode(CONTEXT))
        };
        for (changes, last) in [
            (vec![said(NEAR, Some(1)), said(NEAR, Some(2))], Some(2)),
            (vec![said(NEAR, Some(1)), said(NEAR, None)], None),
            (vec![said(NEAR, Some(1)), said(FAR, None)], Some(1)),
        ] {
            let table = MrtTable::read(&changes.concat()[..], None).expect("records");
            let left: Vec<_> = table.into_routes().map(|(_, it)| it.med).collect();
            assert_eq!(left, last.map(Some).into_iter().collect::<Vec<_>>());
        }
    }

    /// Of two paths of a peer each stands for itself (RFC 7911); what the collector said (RFC 6396 section 4.4.3), and
    /// what is faulty, is no route.
    #[test]
    fn changes_are_of_one_path_of_the_peer_and_sound() {
        let update = |id, announced| {
            let prefix: Ipv4Net = "192.0.2.1/32".parse().expect("a prefix");
            let route = Nlri {
                prefix,
                path_id: Some(PathId(id)),
            };
            let update = if announced {
                Update {
                    announced: vec![route],
                    attributes: Some(attributes(NEAR, id)),
                    ..Update::default()
                }
            } else {
                Update {
                    withdrawn: vec![route],
                    ..Update::default()
                }
            };
            let context = DecodeContext {
                add_path: true,
                ..CONTEXT
            };
            Message::Update(update).encode(context)
        };
        let (first, second, gone) = (update(1, true), update(2, true), update(2, false));
        let file = [&first, &second, &gone].map(|it| change_of(AS4_ADD_PATH, NEAR, it));
        let table = MrtTable::read(&file.concat()[..], None).expect("records");
        let left: Vec<_> = table.into_routes().map(|(_, it)| it.med).collect();
        assert_eq!(left, [Some(1)], "the other path went");

        let local = change_of(AS4_LOCAL_ADD_PATH, NEAR, &first);
        let mut faulty = first;
        // ORIGIN is the first attribute; as an optional one it is malformed.
        faulty[HEADER_AND_LENGTHS] |= 0x80;
        let file = [local, change_of(AS4_ADD_PATH, NEAR, &faulty)].concat();
        let table = MrtTable::read(&file[..], None).expect("records");
        let expected = [("malformed messages", 1), ("messages of our side", 1)];
        assert_eq!((table.len(), table.left_out()), (0, &expected.into()));
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_counted() {
        let mut bad = encoded(&attributes(NEAR, 7));
        bad[0] = 0xc0;
        let broken = record(13, RIB_IPV4_UNICAST, &[0, 0, 0, 0, 32]);
        let unknown = prefix([192, 0, 2, 2], &[(5, &attributes(NEAR, 7))]);
        let file = [
            peers(&[NEAR]),
            raw_prefix([192, 0, 2, 1], &[(0, bad)]),
            broken,
            unknown,
            record(13, 4, &[]),
            record(12, 1, &[]),
        ];

        let table = MrtTable::read(&file.concat()[..], None).expect("records");

        let expected = [
            ("malformed routes", 1),
            ("prefixes of other families", 1),
            ("records of another kind", 1),
            ("records that break off", 2),
        ];
        assert_eq!((table.len(), table.left_out()), (0, &expected.into()));
        let mut cut = [peers(&[NEAR]), record(13, 4, &[1, 2])].concat();
        cut.pop();
        let refused = MrtTable::read(&cut[..], None).expect_err("the second record is cut");
        assert!(refused.starts_with("record 2: "), "{refused}");
    }

    fn attributes(next_hop: [u8; 4], med: u32) -> PathAttributes {
        PathAttributes {
            med: Some(med),
            local_pref: Some(300),
            communities: vec![77],
            ..PathAttributes::local(next_hop.into())
        }
    }

    /// What stands between the lengths and the route in an UPDATE.
    fn encoded(attributes: &PathAttributes) -> Vec<u8> {
        let prefix: Ipv4Net = "192.0.2.1/32".parse().expect("a prefix");
        let update = Update {
            announced: vec![prefix.into()],
            attributes: Some(attributes.clone()),
            ..Update::default()
        };
        let message = Message::Update(update).encode(CONTEXT);
        message[HEADER_AND_LENGTHS..message.len() - 5].to_vec()
    }

    fn peers(addresses: &[[u8; 4]]) -> Vec<u8> {
        let mut body = vec![10, 99, 0, 1, 0, 1, b'v', 0];
        body.extend(
            u8::try_from(addresses.len())
                .map(|count| [count])
                .expect("few"),
        );
        for address in addresses {
            body.push(2);
            body.extend(address);
            body.extend(address);
            body.extend([0, 0, 0xfc, 0x41]);
        }
        record(13, PEER_INDEX_TABLE, &body)
    }

    fn prefix(address: [u8; 4], entries: &[(u8, &PathAttributes)]) -> Vec<u8> {
        let entries = entries.iter().map(|(peer, it)| (*peer, encoded(it)));
        raw_prefix(address, &entries.collect::<Vec<_>>())
    }

    fn raw_prefix(address: [u8; 4], entries: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 32];
        body.extend(address);
        let count = u16::try_from(entries.len()).expect("few");
        body.extend(count.to_be_bytes());
        for (peer, attributes) in entries {
            body.extend([0, *peer, 0, 0, 0, 0]);
            let length = u16::try_from(attributes.len()).expect("short");
            body.extend(length.to_be_bytes());
            body.extend(attributes);
        }
        record(13, RIB_IPV4_UNICAST, &body)
    }

    /// A record BGP4MP_MESSAGE_AS4.
    fn change(peer: [u8; 4], message: &[u8]) -> Vec<u8> {
        change_of(4, peer, message)
    }

    fn change_of(subtype: u16, peer: [u8; 4], message: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0xfc, 0x41, 0, 0, 0xfc, 0x41, 0, 0, 0, 1];
        body.extend(peer);
        body.extend([10, 99, 0, 1]);
        body.extend(message);
        record(16, subtype, &body)
    }

    fn record(kind: u16, subtype: u16, body: &[u8]) -> Vec<u8> {
        let mut record = vec![0, 0, 0, 1];
        record.extend(kind.to_be_bytes());
        record.extend(subtype.to_be_bytes());
        let length = u32::try_from(body.len()).expect("short");
        record.extend(length.to_be_bytes());
        record.extend(body);
        record
    }
}
