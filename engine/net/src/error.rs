//! The error of everything that opens, configures or asks: which operation on which object failed, and why.
//!
//! Per-packet results are not here: they are plain `io::Error`s or named reasons beside the packet.

use std::io;

/// Says which operation failed on what, with the kernel's reason and, where one is known, the remedy.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {target}: {source}{}", remedy_text(.remedy))]
pub struct NetError {
    /// The operation, as a verb: `open`, `bind`, `set mtu of`.
    pub op: &'static str,
    /// The object: an interface, an address, a path.
    pub target: String,
    /// What the kernel answered.
    pub source: io::Error,
    /// What the operator can do about it.
    pub remedy: Option<&'static str>,
}

impl NetError {
    /// Names the operation and its object.
    #[must_use]
    pub fn new(op: &'static str, target: impl Into<String>, source: io::Error) -> Self {
        Self {
            op,
            target: target.into(),
            source,
            remedy: None,
        }
    }

    /// Makes the error of an argument that the kernel need not be asked about.
    #[must_use]
    pub fn invalid(op: &'static str, target: impl Into<String>, why: &'static str) -> Self {
        Self::new(op, target, io::Error::new(io::ErrorKind::InvalidInput, why))
    }

    /// Adds what the operator can do.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Option<&'static str>) -> Self {
        self.remedy = remedy;
        self
    }

    /// Returns the error number, if the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Tells whether the host does not have the address family that was asked for, such as IPv6.
    #[must_use]
    pub fn lacks_address_family(&self) -> bool {
        matches!(self.errno(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
    }
}

/// Attaches operation and object to an `io::Result`.
pub(crate) trait Context<T> {
    /// Wraps the error.
    fn context(self, op: &'static str, target: &str) -> Result<T, NetError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, op: &'static str, target: &str) -> Result<T, NetError> {
        self.map_err(|source| NetError::new(op, target, source))
    }
}

fn remedy_text(remedy: &Option<&'static str>) -> String {
    remedy.map_or_else(String::new, |text| format!("; {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_operation_object_reason_and_remedy() {
        let error = NetError::new(
            "open",
            "/dev/net/tun",
            io::Error::from_raw_os_error(libc::EPERM),
        )
        .with_remedy(Some("grant CAP_NET_ADMIN"));
        let text = error.to_string();
        assert!(
            text.starts_with("cannot open /dev/net/tun: Operation not permitted"),
            "{text}"
        );
        assert!(text.ends_with("; grant CAP_NET_ADMIN"), "{text}");
    }
}
