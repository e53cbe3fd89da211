//! Prefixes on the wire (RFC 4271 section 4.3).
