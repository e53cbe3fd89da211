//! ROUTE-REFRESH (RFC 2918, RFC 7313).

/// A ROUTE-REFRESH message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Address family.
    pub afi: u16,
    /// 0 request, 1 begin, 2 end.
    pub subtype: u8,
    /// Subsequent address family.
    pub safi: u8,
}
