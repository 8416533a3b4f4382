//! UDP (RFC 768): a header of 8 octets.

use crate::view::header;

/// Octets of the header.
pub const LEN: usize = 8;
/// Offset of the checksum in the header, octets.
pub const CHECKSUM: u16 = 6;

header! {
    /// The UDP header.
    Udp, 8 {
        /// Source port.
        source, set_source: u16 = 0;
        /// Destination port.
        destination, set_destination: u16 = 2;
        /// Octets of header and payload.
        length, set_length: u16 = 4;
        /// Checksum; 0 = none.
        checksum, set_checksum: u16 = 6;
    }
}

/// The checksum as it is sent: a sum of 0 is sent as 0xffff, since 0 says "none" (RFC 768).
#[inline]
#[must_use]
pub const fn sent_checksum(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 8] = [0xa9, 0x5d, 0x17, 0xc0, 0x00, 0x3c, 0xf6, 0x78];

    #[test]
    fn reads() {
        let header = Udp::of(&BYTES).unwrap();
        assert_eq!((header.source(), header.destination()), (43357, 6080));
        assert_eq!((header.length(), header.checksum()), (60, 0xf678));
        assert!(Udp::of(&BYTES[..7]).is_none());
    }

    #[test]
    fn writes() {
        let mut bytes = [0xa5; 8];
        let mut header = Udp::of_mut(&mut bytes).unwrap();
        header.set_source(43357);
        header.set_destination(6080);
        header.set_length(60);
        header.set_checksum(0xf678);
        assert_eq!(bytes, BYTES);
        assert_eq!((sent_checksum(0), sent_checksum(7)), (0xffff, 7));
    }
}
