//! TCP to BGP neighbors outside of the fabric: where to listen for them and how to call them, on the terms of each.
//!
//! A socket is used only with everything set that the terms ask for; without a signature that the kernel refuses there is
//! no session, rather than one that anybody can join. What cannot be listened on now (an address that comes later, say) is
//! tried again.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::Ipv4Net;
use sam_dataplane::dscp::CONTROL_TOS;
use sam_net::tcp_guard::{check_signature, set_hop_limits, set_signature};
use sam_net::{NetError, TcpAoAlgorithm, TcpSignature};
use sam_router::Foreign;
use sam_router::foreign::{AoAlgorithm, Authentication, Reach, Terms};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::{BACKLOG, BgpEvent, Door, PORT, accept};

/// Where neighbors find us: an address, and the only interface to hear it through.
type Place = (Ipv4Addr, Option<String>);

/// Sockets for all foreign neighbors.
#[derive(Debug, Default)]
pub(crate) struct ForeignDoors {
    foreign: Foreign,
    listening: BTreeMap<Place, AbortHandle>,
    /// Why nobody can listen at a place, as last told.
    failures: BTreeMap<Place, String>,
}

impl ForeignDoors {
    /// Follows the configuration: closes what changed; what is missing is opened by [`Self::open`].
    pub(crate) fn set(&mut self, foreign: Foreign) {
        let former = std::mem::replace(&mut self.foreign, foreign);
        let wanted = places(&self.foreign);
        let before = places(&former);
        self.listening.retain(|place, listener| {
            let needs = |guests: &Vec<(Ipv4Net, &Terms)>| needs(guests);
            if wanted.get(place).map(needs) != before.get(place).map(needs) {
                listener.abort();
            }
            // One that ends is kept until it has ended: until then the port is taken.
            wanted.contains_key(place)
        });
        self.failures.clear();
    }

    /// Returns what is agreed with somebody.
    pub(crate) fn terms(&self, address: Ipv4Addr) -> Option<&Terms> {
        self.foreign.terms(address).map(|(_, terms)| terms)
    }

    /// Listens where it is not done yet. A failure is told once, until it is another one.
    pub(crate) fn open(&mut self, events: &mpsc::Sender<BgpEvent>) {
        for (place, guests) in places(&self.foreign) {
            if self
                .listening
                .get(&place)
                .is_some_and(|listener| !listener.is_finished())
            {
                continue;
            }
            let (address, interface) = &place;
            match listen(&place, &guests) {
                Ok(listener) => {
                    info!(%address, ?interface, "listening for foreign BGP neighbors");
                    let task = tokio::spawn(accept(listener, Door::Foreign, events.clone()));
                    self.listening.insert(place.clone(), task.abort_handle());
                    self.failures.remove(&place);
                }
                Err(error) => {
                    let told = error.to_string();
                    if self.failures.get(&place) != Some(&told) {
                        warn!(%error, %address, ?interface, "cannot listen for foreign BGP neighbors");
                    }
                    self.failures.insert(place, told);
                }
            }
        }
    }
}

/// Asks the kernel whether it can do what is configured.
///
/// # Errors
/// What it cannot, with the remedy.
pub(crate) fn check(foreign: &Foreign) -> Result<(), NetError> {
    foreign
        .all()
        .filter_map(|(peers, terms)| Some((peers, terms.authentication.as_ref()?)))
        .try_for_each(|(peers, how)| check_signature(peers, signature(how)))
}

/// Connects to a neighbor on its terms.
pub(crate) async fn dial(address: Ipv4Addr, terms: Terms) -> io::Result<TcpStream> {
    let socket = socket(&(terms.local_address, terms.interface.clone()), 0)?;
    let (ttl, least) = terms.reach.hop_limits();
    set_hop_limits(socket.as_fd(), ttl, least).map_err(|error| error.source)?;
    if let Some(how) = &terms.authentication {
        let peer = Ipv4Net::from(address);
        set_signature(socket.as_fd(), peer, signature(how)).map_err(|error| error.source)?;
    }
    socket.connect(SocketAddr::from((address, PORT))).await
}

/// Holds an accepted connection to the terms of the neighbor; the signature is that of the listener.
pub(super) fn limit(stream: BorrowedFd<'_>, terms: &Terms) -> Result<(), NetError> {
    let (ttl, least) = terms.reach.hop_limits();
    set_hop_limits(stream, ttl, least)
}

/// Who is expected where, and on which terms.
fn places(foreign: &Foreign) -> BTreeMap<Place, Vec<(Ipv4Net, &Terms)>> {
    let mut places: BTreeMap<Place, Vec<(Ipv4Net, &Terms)>> = BTreeMap::new();
    for (peers, terms) in foreign.all() {
        let place = (terms.local_address, terms.interface.clone());
        places.entry(place).or_default().push((peers, terms));
    }
    places
}

/// What of the terms concerns the socket that listens: whom it signs how, and from how far they may come.
fn needs(guests: &[(Ipv4Net, &Terms)]) -> Vec<(Ipv4Net, Reach, Option<Authentication>)> {
    let needs = guests.iter();
    needs
        .map(|(peers, terms)| (*peers, terms.reach, terms.authentication.clone()))
        .collect()
}

fn listen(
    place: &Place,
    guests: &[(Ipv4Net, &Terms)],
) -> Result<tokio::net::TcpListener, NetError> {
    let shown = || format!("{}:{PORT}", place.0);
    let socket =
        socket(place, PORT).map_err(|error| NetError::new("listen for BGP on", shown(), error))?;
    // Answers to a call must pass the check of whoever asks for proof; each connection gets its own limits later.
    let least = guests
        .iter()
        .map(|(_, terms)| terms.reach.hop_limits().1)
        .min();
    set_hop_limits(socket.as_fd(), u8::MAX, least.unwrap_or(0))?;
    for (peers, terms) in guests {
        if let Some(how) = &terms.authentication {
            set_signature(socket.as_fd(), *peers, signature(how))?;
        }
    }
    socket
        .listen(BACKLOG)
        .map_err(|error| NetError::new("listen for BGP on", shown(), error))
}

fn socket((address, interface): &Place, port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.set_reuseaddr(port != 0)?;
    socket.set_tos_v4(CONTROL_TOS.into())?;
    socket.bind(SocketAddr::from((*address, port)))?;
    Ok(socket)
}

fn signature(how: &Authentication) -> TcpSignature<'_> {
    match how {
        Authentication::Md5(key) => TcpSignature::Md5 { key: key.bytes() },
        Authentication::TcpAo {
            key,
            send_id,
            receive_id,
            algorithm,
        } => TcpSignature::Ao {
            key: key.bytes(),
            send_id: *send_id,
            receive_id: *receive_id,
            algorithm: match algorithm {
                AoAlgorithm::HmacSha1 => TcpAoAlgorithm::HmacSha1,
                AoAlgorithm::Aes128Cmac => TcpAoAlgorithm::Aes128Cmac,
                AoAlgorithm::HmacSha256 => TcpAoAlgorithm::HmacSha256,
            },
        },
    }
}
