//! TCP (RFC 9293): the fixed header of 20 octets; options stand behind it.

use crate::view::header;

/// FIN in [`Tcp::flags`].
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// PSH.
pub const PSH: u8 = 0x08;
/// ACK.
pub const ACK: u8 = 0x10;
/// URG.
pub const URG: u8 = 0x20;
/// ECN-Echo.
pub const ECE: u8 = 0x40;
/// Congestion window reduced.
pub const CWR: u8 = 0x80;

/// Octets of the header without options.
pub const LEN: usize = 20;
/// Offset of the checksum in the header, octets.
pub const CHECKSUM: u16 = 16;

header! {
    /// The fixed part of the TCP header.
    Tcp, 20 {
        /// Source port.
        source, set_source: u16 = 0;
        /// Destination port.
        destination, set_destination: u16 = 2;
        /// Sequence number.
        sequence, set_sequence: u32 = 4;
        /// Acknowledgment number.
        acknowledgment, set_acknowledgment: u32 = 8;
        /// Data offset in units of four octets (upper four bits), reserved bits.
        data_offset, set_data_offset: u8 = 12;
        /// Flags, from the lowest bit: FIN SYN RST PSH ACK URG ECE CWR.
        flags, set_flags: u8 = 13;
        /// Window.
        window, set_window: u16 = 14;
        /// Checksum.
        checksum, set_checksum: u16 = 16;
        /// Urgent pointer.
        urgent, set_urgent: u16 = 18;
    }
}

impl<B: core::borrow::Borrow<[u8; LEN]>> Tcp<B> {
    /// Octets of the header, options included, as the header says; below 20 it is malformed.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> u8 {
        (self.data_offset() >> 4) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 20] = [
        0x03, 0xe9, 0x00, 0x50, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00, 0x13, 0x89, 0x70, 0x12, 0x20,
        0x00, 0x89, 0xeb, 0x00, 0x07,
    ];

    #[test]
    fn reads() {
        let header = Tcp::of(&BYTES).unwrap();
        assert_eq!((header.source(), header.destination()), (1001, 80));
        assert_eq!((header.sequence(), header.acknowledgment()), (1000, 5001));
        assert_eq!((header.header_len(), header.flags()), (28, SYN | ACK));
        assert_eq!(
            (header.window(), header.checksum(), header.urgent()),
            (8192, 0x89eb, 7)
        );
        assert!(Tcp::of(&BYTES[..19]).is_none());
    }

    #[test]
    fn writes() {
        let mut bytes = [0xa5; 20];
        let mut header = Tcp::of_mut(&mut bytes).unwrap();
        header.set_source(1001);
        header.set_destination(80);
        header.set_sequence(1000);
        header.set_acknowledgment(5001);
        header.set_data_offset(0x70);
        header.set_flags(SYN | ACK);
        header.set_window(8192);
        header.set_checksum(0x89eb);
        header.set_urgent(7);
        assert_eq!(bytes, BYTES);
    }
}
