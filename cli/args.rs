//! Exactly what was typed.

/// Where the router listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/samctl/samctl.sock";
