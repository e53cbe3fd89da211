//! The control packet (RFC 5880 section 4.1), and the checks that need no session (section 6.8.6).

use thiserror::Error;

use crate::state::{Diagnostic, State};

/// A control packet without authentication. Intervals are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender last went down.
    pub diagnostic: Diagnostic,
    /// State of the sender.
    pub state: State,
    /// P: the receiver shall answer with F.
    pub poll: bool,
    /// F: the answer to P.
    pub is_final: bool,
    /// C: the sender's BFD survives its control plane.
    pub control_independent: bool,
    /// D: the sender is in demand mode.
    pub demand: bool,
    /// Detection multiplier of the sender; not zero.
    pub multiplier: u8,
    /// Discriminator of the sender; not zero.
    pub my_discriminator: u32,
    /// Discriminator of the receiver as the sender knows it, else zero.
    pub your_discriminator: u32,
    /// Desired Min TX Interval.
    pub desired_min_tx: u32,
    /// Required Min RX Interval; zero asks for no periodic packets.
    pub required_min_rx: u32,
    /// Required Min Echo RX Interval; zero forbids echo.
    pub required_min_echo_rx: u32,
}

/// Why a packet is none that counts (RFC 5880 section 6.8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The version is not 1.
    #[error("the version is not 1")]
    Version,
    /// The length is less than the header, or more than there is.
    #[error("the length is wrong")]
    Length,
    /// The detection multiplier is zero.
    #[error("the detection multiplier is zero")]
    Multiplier,
    /// The multipoint bit is set.
    #[error("the multipoint bit is set")]
    Multipoint,
    /// The sender's discriminator is zero.
    #[error("the sender's discriminator is zero")]
    Discriminator,
    /// Nothing but Down and AdminDown can be without our discriminator.
    #[error("our discriminator is missing")]
    Unbound,
    /// There is authentication where none is configured.
    #[error("authentication is not configured")]
    Authentication,
}

impl Packet {
    /// Length on the wire.
    pub const LEN: usize = 24;

    /// Decodes the payload of a datagram; what follows the stated length is ignored.
    ///
    /// # Errors
    /// For the first of the checks of RFC 5880 section 6.8.6 that fails.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let header: &[u8; Self::LEN] = bytes.first_chunk().ok_or(Malformed::Length)?;
        let word = |at: usize| {
            let bytes = header[at..at + 4].try_into().unwrap_or_default();
            u32::from_be_bytes(bytes)
        };
        if header[0] >> 5 != VERSION {
            return Err(Malformed::Version);
        }
        let length = usize::from(header[3]);
        let flags = header[1];
        let least = if flags & AUTHENTICATION == 0 {
            Self::LEN
        } else {
            Self::LEN + 2
        };
        if length < least || length > bytes.len() {
            return Err(Malformed::Length);
        }
        let packet = Self {
            diagnostic: Diagnostic(header[0] & 0x1f),
            state: State::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            control_independent: flags & CONTROL_INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            multiplier: header[2],
            my_discriminator: word(4),
            your_discriminator: word(8),
            desired_min_tx: word(12),
            required_min_rx: word(16),
            required_min_echo_rx: word(20),
        };
        packet.check(flags)?;
        Ok(packet)
    }

    fn check(&self, flags: u8) -> Result<(), Malformed> {
        if self.multiplier == 0 {
            return Err(Malformed::Multiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Malformed::Multipoint);
        }
        if self.my_discriminator == 0 {
            return Err(Malformed::Discriminator);
        }
        if self.your_discriminator == 0 && self.state > State::Down {
            return Err(Malformed::Unbound);
        }
        if flags & AUTHENTICATION != 0 {
            return Err(Malformed::Authentication);
        }
        Ok(())
    }

    /// Encodes the packet.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut flags = (self.state as u8) << 6;
        for (set, bit) in [
            (self.poll, POLL),
            (self.is_final, FINAL),
            (self.control_independent, CONTROL_INDEPENDENT),
            (self.demand, DEMAND),
        ] {
            if set {
                flags |= bit;
            }
        }
        let mut bytes = [0; Self::LEN];
        bytes[0] = VERSION << 5 | self.diagnostic.0 & 0x1f;
        bytes[1] = flags;
        bytes[2] = self.multiplier;
        bytes[3] = LENGTH;
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (room, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            room.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

const VERSION: u8 = 1;
/// Length of the mandatory section, as the wire says it.
const LENGTH: u8 = 24;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What another implementation sends while Up (version 1, no diagnostic, multiplier 3, 300 ms both ways).
    const REAL: [u8; 24] = [
        0x20, 0xc8, 0x03, 0x18, 0x4a, 0x5b, 0x6c, 0x7d, 0x00, 0x00, 0x00, 0x2a, 0x00, 0x04, 0x93,
        0xe0, 0x00, 0x04, 0x93, 0xe0, 0x00, 0x00, 0xc3, 0x50,
    ];

    #[test]
    fn every_field_has_its_place() {
        let packet = Packet::decode(&REAL).expect("well-formed");
        let expected = Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Up,
            poll: false,
            is_final: false,
            control_independent: true,
            demand: false,
            multiplier: 3,
            my_discriminator: 0x4a5b_6c7d,
            your_discriminator: 42,
            desired_min_tx: 300_000,
            required_min_rx: 300_000,
            required_min_echo_rx: 50_000,
        };
        assert_eq!(packet, expected);
        assert_eq!(packet.encode(), REAL);
    }

    #[test]
    fn each_check_of_the_standard_refuses_what_it_is_for() {
        let changed = |at: usize, value: u8| {
            let mut bytes = REAL;
            bytes[at] = value;
            Packet::decode(&bytes)
        };
        assert_eq!(changed(0, 0x00), Err(Malformed::Version));
        assert_eq!(changed(0, 0x40), Err(Malformed::Version));
        assert_eq!(changed(3, 23), Err(Malformed::Length));
        assert_eq!(
            changed(3, 25),
            Err(Malformed::Length),
            "longer than the datagram"
        );
        assert_eq!(changed(2, 0), Err(Malformed::Multiplier));
        assert_eq!(changed(1, 0xc1), Err(Malformed::Multipoint));
        assert_eq!(
            changed(1, 0xc4),
            Err(Malformed::Length),
            "no room for authentication"
        );
        assert_eq!(Packet::decode(&REAL[..23]), Err(Malformed::Length));

        let mut authenticated = REAL.to_vec();
        authenticated.extend([1, 2]);
        authenticated[1] |= AUTHENTICATION;
        authenticated[3] = 26;
        assert_eq!(
            Packet::decode(&authenticated),
            Err(Malformed::Authentication)
        );

        let mut nobody = REAL;
        nobody[4..8].fill(0);
        assert_eq!(Packet::decode(&nobody), Err(Malformed::Discriminator));
    }

    #[test]
    fn only_down_and_admin_down_may_lack_our_discriminator() {
        for (state, allowed) in [
            (State::AdminDown, true),
            (State::Down, true),
            (State::Init, false),
            (State::Up, false),
        ] {
            let mut bytes = REAL;
            bytes[8..12].fill(0);
            bytes[1] = (state as u8) << 6;
            assert_eq!(Packet::decode(&bytes).is_ok(), allowed, "{state:?}");
        }
    }

    #[test]
    fn what_follows_the_packet_is_ignored() {
        let mut padded = REAL.to_vec();
        padded.extend([0xff; 9]);
        assert_eq!(Packet::decode(&padded), Packet::decode(&REAL));
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_encoded_to_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
            }
        }
    }
}
