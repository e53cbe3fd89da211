//! WireGuard behind a sans-IO seam: datagrams, packets and `now` go in; packets, datagrams and events come out.
//!
//! boringtun (`Tunn`) does the Noise handshake and the AEAD; this crate owns everything that has to do with time,
//! peers, endpoints and limits, because that is where boringtun's known defects lie (data-plane.md section 10, rows
//! 27 to 35). No clock is read here: `Tunn::update_timers` is never called. What boringtun itself takes from the
//! clock decides nothing but the timestamp of initiations (a wall clock that is set back makes peers refuse them until
//! it has caught up, as with other implementations) and the age of cookie secrets.
//!
//! Not here yet: cookies bound to the source port (row 33, see `gate.rs`), a replay window of more than 1024 packets
//! (row 28), padding to 16 bytes.
//!
//! Driver contract: after any mutating call, drain [`Device::poll_transmit`] and [`Device::poll_event`], then
//! arrange for [`Device::handle_timeout`] at [`Device::poll_timeout`].

mod device;
mod error;
mod gate;
mod identity;
mod indices;
mod key;
mod limiter;
mod outbox;
mod peer;
mod random;
mod ring;
mod session;
mod timers;

pub use device::{Device, Event, Opened};
pub use error::{OpenError, SealError};
pub use key::{KeyError, PresharedKey, PrivateKey, PublicKey};
pub use outbox::Dropped;
pub use peer::{PeerConfig, PeerIndex, PeerStatus};
pub use timers::TimerName;

/// Bytes that WireGuard adds to an inner packet: 16 header, 16 tag.
pub const OVERHEAD: usize = 32;
