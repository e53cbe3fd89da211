//! Value of the graceful restart capability (RFC 4724 section 3, RFC 8538 section 2).

use super::reader::Reader;

/// What a speaker says about its restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GracefulRestart {
    /// R: it has restarted, so nobody is to wait for its End-of-RIB.
    pub restarted: bool,
    /// N: a NOTIFICATION ends its sessions as gracefully as a broken connection (RFC 8538).
    pub notification: bool,
    /// How long its sessions take to come back, in seconds; 12 bits on the wire, longer times are cut to that.
    pub restart_time_s: u16,
    /// Families whose routes are to be kept meanwhile.
    pub families: Vec<RestartFamily>,
}

/// One family of the capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartFamily {
    /// Address family.
    pub afi: u16,
    /// Subsequent address family.
    pub safi: u8,
    /// F: the speaker went on forwarding by these routes while it restarted.
    pub forwarding: bool,
}

/// Longest restart time in seconds.
pub const RESTART_TIME_MAX_S: u16 = 0x0fff;

impl GracefulRestart {
    /// Decodes a value; `None` when its length is wrong.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let head = reader.u16()?;
        let mut families = Vec::new();
        while !reader.is_empty() {
            families.push(RestartFamily {
                afi: reader.u16()?,
                safi: reader.u8()?,
                forwarding: reader.u8()? & FORWARDING != 0,
            });
        }
        Some(Self {
            restarted: head & RESTARTED != 0,
            notification: head & NOTIFICATION != 0,
            restart_time_s: head & RESTART_TIME_MAX_S,
            families,
        })
    }

    /// Encodes the value.
    pub(super) fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        let head = flag(self.restarted, RESTARTED)
            | flag(self.notification, NOTIFICATION)
            | self.restart_time_s.min(RESTART_TIME_MAX_S);
        let mut value = head.to_be_bytes().to_vec();
        for family in &self.families {
            value.extend(family.afi.to_be_bytes());
            value.extend([family.safi, if family.forwarding { FORWARDING } else { 0 }]);
        }
        value
    }
}

const RESTARTED: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
const FORWARDING: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_time_and_families_are_where_the_rfcs_put_them() {
        let capability = GracefulRestart {
            restarted: true,
            notification: true,
            restart_time_s: 120,
            families: vec![family(1, true), family(2, false)],
        };

        let value = capability.encode();

        assert_eq!(value, [0xc0, 0x78, 0, 1, 1, 0x80, 0, 2, 1, 0]);
        assert_eq!(GracefulRestart::decode(&value), Some(capability));
    }

    #[test]
    fn reserved_bits_are_ignored() {
        let decoded = GracefulRestart::decode(&[0x30, 0x05, 0, 1, 1, 0x7f]).unwrap();

        assert!(!decoded.restarted && !decoded.notification);
        assert_eq!(decoded.restart_time_s, 5);
        assert_eq!(decoded.families, [family(1, false)]);
    }

    #[test]
    fn a_family_that_is_cut_short_is_malformed() {
        for value in [&[][..], &[0], &[0, 1, 0], &[0, 1, 0, 1, 1]] {
            assert_eq!(GracefulRestart::decode(value), None, "{value:?}");
        }
    }

    #[test]
    fn a_time_beyond_twelve_bits_is_cut_to_them() {
        let long = GracefulRestart {
            restarted: false,
            notification: false,
            restart_time_s: 5000,
            families: Vec::new(),
        };

        assert_eq!(long.encode(), [0x0f, 0xff]);
    }

    fn family(afi: u16, forwarding: bool) -> RestartFamily {
        RestartFamily {
            afi,
            safi: 1,
            forwarding,
        }
    }
}
