//! IPv4 (RFC 791): the fixed header of 20 octets; options stand behind it.

use core::net::Ipv4Addr;

use crate::checksum::Sum;
use crate::view::header;

/// "Don't fragment" in [`Ipv4::fragmentation`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in [`Ipv4::fragmentation`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset in [`Ipv4::fragmentation`], units of 8 octets.
pub const OFFSET_MASK: u16 = 0x1fff;

/// Octets of the header without options.
pub const LEN: usize = 20;

header! {
    /// The fixed part of the IPv4 header.
    Ipv4, 20 {
        /// Version (upper four bits) and header length in units of four octets (lower four bits).
        version_ihl, set_version_ihl: u8 = 0;
        /// Type of service: DSCP (upper six bits) and ECN.
        tos, set_tos: u8 = 1;
        /// Octets of the datagram, header included.
        total_len, set_total_len: u16 = 2;
        /// Identification.
        id, set_id: u16 = 4;
        /// Flags (upper three bits) and fragment offset in units of eight octets.
        fragmentation, set_fragmentation: u16 = 6;
        /// Time to live.
        ttl, set_ttl: u8 = 8;
        /// Upper-layer protocol number.
        protocol, set_protocol: u8 = 9;
        /// Header checksum.
        checksum, set_checksum: u16 = 10;
        /// Source address.
        source, set_source: Ipv4Addr = 12;
        /// Destination address.
        destination, set_destination: Ipv4Addr = 16;
    }
}

impl<B: core::borrow::Borrow<[u8; LEN]>> Ipv4<B> {
    /// Octets of the header, options included, as the header says; below 20 it is malformed.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl() & 0x0f) * 4
    }

    /// Whether "don't fragment" is set.
    #[inline]
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.fragmentation() & DONT_FRAGMENT != 0
    }
}

/// What a header without options that is written anew says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Type of service.
    pub tos: u8,
    /// Octets of the datagram, header included.
    pub total_len: u16,
    /// Identification.
    pub id: u16,
    /// "Don't fragment".
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// Upper-layer protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

impl Fields {
    /// The header, its checksum filled in.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut header = Ipv4(&mut bytes);
        header.set_version_ihl(0x45);
        header.set_tos(self.tos);
        header.set_total_len(self.total_len);
        header.set_id(self.id);
        header.set_fragmentation(if self.dont_fragment { DONT_FRAGMENT } else { 0 });
        header.set_ttl(self.ttl);
        header.set_protocol(self.protocol);
        header.set_source(self.source);
        header.set_destination(self.destination);
        fill_checksum(&mut bytes);
        bytes
    }
}

/// Fills in the checksum of `header`, which is a whole IPv4 header with its options; nothing when it
/// is shorter than 20 octets.
pub(crate) fn fill_checksum(header: &mut [u8]) {
    if let Some(mut fixed) = Ipv4::of_mut(header) {
        fixed.set_checksum(0);
    }
    let checksum = Sum::of(header).finish();
    if let Some(mut fixed) = Ipv4::of_mut(header) {
        fixed.set_checksum(checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outer header of recording fwd.tcp4_ipip, first frame.
    const BYTES: [u8; 20] = [
        0x45, 0x00, 0x00, 0x44, 0x70, 0x9a, 0x00, 0x00, 0x3f, 0x04, 0xf7, 0x0a, 10, 2, 0, 1, 10, 3,
        0, 12,
    ];

    #[test]
    fn reads() {
        let header = Ipv4::of(&BYTES).unwrap();
        assert_eq!(
            (header.version_ihl(), header.header_len(), header.tos()),
            (0x45, 20, 0)
        );
        assert_eq!(
            (header.total_len(), header.id(), header.fragmentation()),
            (68, 28826, 0)
        );
        assert_eq!(
            (header.ttl(), header.protocol(), header.checksum()),
            (63, 4, 0xf70a)
        );
        assert_eq!(header.source(), Ipv4Addr::new(10, 2, 0, 1));
        assert_eq!(header.destination(), Ipv4Addr::new(10, 3, 0, 12));
        assert!(!header.dont_fragment());
        assert!(Ipv4::of(&BYTES[..19]).is_none());
    }

    #[test]
    fn writes() {
        let fields = Fields {
            tos: 0,
            total_len: 68,
            id: 28826,
            dont_fragment: false,
            ttl: 63,
            protocol: 4,
            source: Ipv4Addr::new(10, 2, 0, 1),
            destination: Ipv4Addr::new(10, 3, 0, 12),
        };
        assert_eq!(fields.to_bytes(), BYTES);
        let mut bytes = [0xa5; 20];
        let mut header = Ipv4::of_mut(&mut bytes).unwrap();
        header.set_version_ihl(0x45);
        header.set_tos(0);
        header.set_total_len(68);
        header.set_id(28826);
        header.set_fragmentation(0);
        header.set_ttl(63);
        header.set_protocol(4);
        header.set_source(fields.source);
        header.set_destination(fields.destination);
        fill_checksum(&mut bytes);
        assert_eq!(bytes, BYTES);
    }
}
