//! ICMP (RFC 792): the header of 8 octets and the types that a director meets.

use crate::checksum::Sum;
use crate::view::header;

/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const UNREACHABLE: u8 = 3;
/// Source quench (deprecated by RFC 6633, still related to connections by the kernel).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of [`REDIRECT`]: for the host that the packet goes to.
pub const REDIRECT_HOST: u8 = 1;

/// Codes of [`UNREACHABLE`].
pub mod unreachable {
    /// Network unreachable.
    pub const NETWORK: u8 = 0;
    /// Host unreachable.
    pub const HOST: u8 = 1;
    /// Protocol unreachable.
    pub const PROTOCOL: u8 = 2;
    /// Port unreachable.
    pub const PORT: u8 = 3;
    /// Fragmentation needed and "don't fragment" set; the MTU stands in the header (RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}

/// Octets of the header.
pub const LEN: usize = 8;
/// Offset of the checksum in the header, octets; the same in ICMPv6.
pub const CHECKSUM: u16 = 2;

header! {
    /// The header of an ICMP or ICMPv6 message.
    Icmp, 8 {
        /// Type.
        kind, set_kind: u8 = 0;
        /// Code.
        code, set_code: u8 = 1;
        /// Checksum.
        checksum, set_checksum: u16 = 2;
        /// What the type puts here: identifier and sequence number, or the MTU.
        rest, set_rest: u32 = 4;
    }
}

/// Whether an error of this type quotes a packet (RFC 792); redirects are errors too.
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
    )
}

/// Whether an ICMP message carries the right checksum.
#[must_use]
pub fn is_valid(message: &[u8]) -> bool {
    Sum::of(message).fold() == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 8] = [3, 4, 0xf7, 0xfb, 0, 0, 5, 0];

    #[test]
    fn reads() {
        let header = Icmp::of(&BYTES).unwrap();
        assert_eq!((header.kind(), header.code()), (UNREACHABLE, 4));
        assert_eq!((header.checksum(), header.rest()), (0xf7fb, 1280));
        assert!(Icmp::of(&BYTES[..7]).is_none());
    }

    #[test]
    fn writes() {
        let mut bytes = [0xa5; 8];
        let mut header = Icmp::of_mut(&mut bytes).unwrap();
        header.set_kind(UNREACHABLE);
        header.set_code(unreachable::FRAGMENTATION_NEEDED);
        header.set_rest(1280);
        header.set_checksum(0);
        let checksum = Sum::of(&bytes).finish();
        Icmp::of_mut(&mut bytes).unwrap().set_checksum(checksum);
        assert_eq!(bytes, BYTES);
        assert!(is_valid(&bytes));
    }
}
