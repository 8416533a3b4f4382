//! ICMPv6 (RFC 4443): its types. The header is that of [`crate::icmp`]; the checksum covers a
//! pseudo-header.

/// Destination unreachable.
pub const UNREACHABLE: u8 = 1;
/// Packet too big; the MTU stands in the header.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Neighbor solicitation (RFC 4861, 4.3).
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Neighbor advertisement (RFC 4861, 4.4).
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Redirect (RFC 4861, 4.5).
pub const REDIRECT: u8 = 137;

/// Codes of [`UNREACHABLE`].
pub mod unreachable {
    /// No route to destination.
    pub const NO_ROUTE: u8 = 0;
    /// Address unreachable.
    pub const ADDRESS: u8 = 3;
    /// Port unreachable.
    pub const PORT: u8 = 4;
}

/// Whether a message of this type quotes a packet; error types have the top bit clear (RFC 4443, 2.1).
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    kind < 128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_below_128() {
        assert!(is_error(UNREACHABLE) && is_error(PARAMETER_PROBLEM) && is_error(127));
        assert!(!is_error(ECHO_REQUEST) && !is_error(REDIRECT));
    }
}
