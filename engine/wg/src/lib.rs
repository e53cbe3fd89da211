//! WireGuard as a value: datagrams, packets, randomness and `now` go in; packets, datagrams and events come out.
//!
//! ```text
//!             handshake messages, signals, deadlines          packets, datagrams
//!                          |                                   |           |
//!   one thread:         Device --publishes sessions--> DataPath      DataPath   one per worker
//! ```
//!
//! [`Device`] owns what is rare: handshakes, timers, peers, endpoints, limits. [`DataPath`]s seal and open in parallel,
//! for the same peer too, with sessions that all of them share. No clock is read here, and no random source.
//!
//! Driver contract, control side: after any mutating call, drain [`Device::poll_transmit`] and [`Device::poll_event`], then
//! arrange for [`Device::handle_timeout`] at [`Device::poll_timeout`]. Worker side: call [`DataPath::refresh`] before each
//! batch, and [`DataPath::open_run`] for datagrams that came together; after the batch hand what [`DataPath::poll_signal`]
//! gives to [`Device::handle_signal`], and every datagram called [`Opened::Handshake`] to [`Device::handle_message`].

mod aead;
mod arrival;
mod config;
mod cookie;
mod data_path;
mod device;
mod error;
mod gate;
mod indices;
mod key;
mod limiter;
mod mac;
mod message;
mod noise;
mod outbox;
mod peer;
mod primitives;
mod random;
mod replay;
mod ring;
mod session;
mod signal;
mod source;
mod status;
mod table;
mod tai64n;
mod timers;
mod traffic;

pub use config::{PeerConfig, PeerIndex};
pub use data_path::{DataPath, Opened, RUN_MAX, Run};
pub use device::{Device, Event};
pub use error::{OpenError, SealError};
pub use key::{KeyError, PresharedKey, PrivateKey, PublicKey};
pub use message::HANDSHAKE_MAX;
pub use outbox::Dropped;
pub use replay::Order;
pub use signal::Signal;
pub use source::Source;
pub use status::PeerStatus;
pub use timers::TimerName;

/// Bytes that WireGuard adds to an inner packet: 16 header, 16 tag.
pub const OVERHEAD: usize = 32;
