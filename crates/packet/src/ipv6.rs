//! IPv6 (RFC 8200): the fixed header of 40 octets, the fragment header, and the walk over extension
//! headers.

use core::net::Ipv6Addr;

use crate::headers::Malformed;
use crate::protocol::{AH, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};
use crate::view::header;

/// Octets of the fixed header.
pub const LEN: usize = 40;

/// More extension headers than this in one datagram are malformed: RFC 8200, 4.1 recommends at most
/// seven, and a bound keeps the cost of a hostile chain constant.
pub const MAX_EXTENSIONS: usize = 16;

header! {
    /// The fixed IPv6 header.
    Ipv6, 40 {
        /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
        version_class_flow, set_version_class_flow: u32 = 0;
        /// Octets behind this header, extension headers included; 0 for a jumbogram.
        payload_len, set_payload_len: u16 = 4;
        /// Protocol of the next header.
        next_header, set_next_header: u8 = 6;
        /// Hop limit.
        hop_limit, set_hop_limit: u8 = 7;
        /// Source address.
        source, set_source: Ipv6Addr = 8;
        /// Destination address.
        destination, set_destination: Ipv6Addr = 24;
    }
}

impl<B: core::borrow::Borrow<[u8; LEN]>> Ipv6<B> {
    /// Traffic class: DSCP (upper six bits) and ECN.
    #[inline]
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        let [a, b, ..] = self.version_class_flow().to_be_bytes();
        a << 4 | b >> 4
    }

    /// Flow label, 20 bits.
    #[inline]
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow() & 0xf_ffff
    }
}

header! {
    /// The fragment header (RFC 8200, 4.5).
    FragmentHeader, 8 {
        /// Protocol of the next header.
        next_header, set_next_header: u8 = 0;
        /// Reserved, 0.
        reserved, set_reserved: u8 = 1;
        /// Fragment offset in octets (its lower three bits are masked off by [`Self::offset`]) and
        /// in the last bit "more fragments".
        offset_more, set_offset_more: u16 = 2;
        /// Identification.
        id, set_id: u32 = 4;
    }
}

impl<B: core::borrow::Borrow<[u8; 8]>> FragmentHeader<B> {
    /// Offset of this piece, octets.
    #[inline]
    #[must_use]
    pub fn offset(&self) -> u16 {
        self.offset_more() & !7
    }

    /// Whether more fragments follow.
    #[inline]
    #[must_use]
    pub fn more(&self) -> bool {
        self.offset_more() & 1 != 0
    }
}

/// What a fixed header that is written anew says; the flow label is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Traffic class.
    pub traffic_class: u8,
    /// Octets behind the header.
    pub payload_len: u16,
    /// Protocol of the next header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

impl Fields {
    /// The header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut header = Ipv6(&mut bytes);
        header.set_version_class_flow(6 << 28 | u32::from(self.traffic_class) << 20);
        header.set_payload_len(self.payload_len);
        header.set_next_header(self.next_header);
        header.set_hop_limit(self.hop_limit);
        header.set_source(self.source);
        header.set_destination(self.destination);
        bytes
    }
}

/// One extension header of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    /// Protocol of the header behind it.
    pub(crate) next_header: u8,
    /// Its octets.
    pub(crate) len: usize,
}

/// Whether `protocol` is an extension header that the walk steps over.
#[inline]
pub(crate) const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AH | DESTINATION_OPTIONS
    )
}

/// Reads the extension header of kind `protocol` at the start of `bytes`.
///
/// # Errors
/// [`Malformed::ExtensionTruncated`] when it does not lie wholly inside `bytes`.
pub(crate) fn extension(protocol: u8, bytes: &[u8]) -> Result<Extension, Malformed> {
    let &[next_header, len] = bytes.first_chunk().ok_or(Malformed::ExtensionTruncated)?;
    let len = match protocol {
        FRAGMENT => 8,
        // RFC 4302, 2.2: the length of AH counts units of four octets, minus two.
        AH => (usize::from(len) + 2) * 4,
        _ => (usize::from(len) + 1) * 8,
    };
    if len > bytes.len() {
        return Err(Malformed::ExtensionTruncated);
    }
    Ok(Extension { next_header, len })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outer header of recording fwd.tcp4_in6_ipip, first frame, with another traffic class.
    const BYTES: [u8; 40] = [
        0x6b, 0x80, 0, 0, 0, 0x30, 4, 0x3f, 0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12,
    ];

    #[test]
    fn reads() {
        let header = Ipv6::of(&BYTES).unwrap();
        assert_eq!((header.traffic_class(), header.flow_label()), (0xb8, 0));
        assert_eq!(
            (
                header.payload_len(),
                header.next_header(),
                header.hop_limit()
            ),
            (48, 4, 63)
        );
        assert_eq!(header.source(), "fd00:2::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(
            header.destination(),
            "fd00:3::12".parse::<Ipv6Addr>().unwrap()
        );
        assert!(Ipv6::of(&BYTES[..39]).is_none());
    }

    #[test]
    fn writes() {
        let fields = Fields {
            traffic_class: 0xb8,
            payload_len: 48,
            next_header: 4,
            hop_limit: 63,
            source: "fd00:2::1".parse().unwrap(),
            destination: "fd00:3::12".parse().unwrap(),
        };
        assert_eq!(fields.to_bytes(), BYTES);
    }

    #[test]
    fn fragment_header_both_ways() {
        const FRAGMENT_BYTES: [u8; 8] = [17, 0, 0x05, 0x49, 0x0a, 0x20, 0xeb, 0xe5];
        let header = FragmentHeader::of(&FRAGMENT_BYTES).unwrap();
        assert_eq!(
            (header.offset(), header.more(), header.id()),
            (1352, true, 0x0a20_ebe5)
        );
        let mut bytes = [0xa5; 8];
        let mut written = FragmentHeader::of_mut(&mut bytes).unwrap();
        written.set_next_header(17);
        written.set_reserved(0);
        written.set_offset_more(1352 | 1);
        written.set_id(0x0a20_ebe5);
        assert_eq!(bytes, FRAGMENT_BYTES);
    }

    #[test]
    fn extension_lengths() {
        let options = [17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let hop = extension(HOP_BY_HOP, &options).unwrap();
        assert_eq!(
            hop,
            Extension {
                next_header: 17,
                len: 16
            }
        );
        assert_eq!(extension(AH, &options).unwrap().len, 12);
        assert_eq!(extension(FRAGMENT, &options).unwrap().len, 8);
        assert_eq!(
            extension(HOP_BY_HOP, &options[..15]),
            Err(Malformed::ExtensionTruncated)
        );
        assert_eq!(
            extension(HOP_BY_HOP, &[]),
            Err(Malformed::ExtensionTruncated)
        );
    }
}
