//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and checksums that the
//! sender left to the device.
//!
//! A *complete* checksum field holds the complement of the one's complement sum. A *partial* one
//! ([`crate::Offload::partial_checksum`]) holds the folded, **not complemented** sum of the
//! pseudo-header alone: addresses change it, ports do not.

use core::net::{IpAddr, Ipv6Addr};

use crate::Packet;
use crate::headers::{Family, Headers, Transport};
use crate::sctp;
use crate::udp;
use crate::view::{put, u16_at};

/// A one's complement sum in the making, of 16-bit words in network order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`; an odd last octet counts as if a zero followed.
    #[inline(always)]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = 0_u64;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        sum += u64::from(u32::from_ne_bytes(last));
        // The sum is the same in either octet order, but for the order of the result (RFC 1071, 2).
        Self(u64::from(u16::from_be_bytes(fold(sum).to_ne_bytes())))
    }

    /// Adds a range that begins at an even offset of what is summed.
    #[inline(always)]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        Self(self.0 + Self::of(bytes).0)
    }

    /// Adds a 16-bit word.
    #[inline(always)]
    #[must_use]
    pub fn u16(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// Adds a 32-bit word.
    #[inline(always)]
    #[must_use]
    pub fn u32(self, word: u32) -> Self {
        // 2^16 counts as 1 in this arithmetic, so the halves need not be taken apart.
        Self(self.0 + u64::from(word))
    }

    /// Adds an address.
    #[inline(always)]
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.u32(address.to_bits()),
            IpAddr::V6(address) => words(address, u32::from_be_bytes)
                .into_iter()
                .fold(self, Self::u32),
        }
    }

    /// Adds the pseudo-header of IPv4 (RFC 9293, 3.1) or IPv6 (RFC 8200, 8.1); `len` counts the
    /// octets of the upper-layer header and its payload.
    #[inline(always)]
    #[must_use]
    pub fn pseudo_header(
        self,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        len: usize,
    ) -> Self {
        let sum = self
            .address(source)
            .address(destination)
            .u16(u16::from(protocol));
        Self(sum.0 + u64::from(fold(len as u64)))
    }

    /// The 16-bit sum, not complemented.
    #[inline(always)]
    #[must_use]
    pub const fn fold(self) -> u16 {
        fold(self.0)
    }

    /// The 16-bit checksum: the complement of the sum.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }
}

/// The address as 32-bit words, each read by `read`.
#[inline(always)]
pub(crate) fn words(address: Ipv6Addr, read: impl Fn([u8; 4]) -> u32) -> [u32; 4] {
    let octets = address.octets();
    let (words, _) = octets.as_chunks::<4>();
    let mut out = [0; 4];
    for (to, from) in out.iter_mut().zip(words) {
        *to = read(*from);
    }
    out
}

/// Adds the carries until 16 bits remain.
#[inline(always)]
pub(crate) const fn fold(sum: u64) -> u16 {
    // A word added to itself with its halves exchanged has their sum, the carry added again, in its upper half.
    let half = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (half.wrapping_add(half.rotate_left(16)) >> 16) as u16
}

/// What a rewrite changes in a sum: the new words minus the old ones (RFC 1624, equation 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change(Sum);

impl Change {
    /// No change.
    pub const NONE: Self = Self(Sum::ZERO);

    /// A 16-bit word changes.
    #[inline(always)]
    #[must_use]
    pub fn u16(self, old: u16, new: u16) -> Self {
        Self(self.0.u16(!old).u16(new))
    }

    /// A 32-bit word changes.
    #[inline(always)]
    #[must_use]
    pub fn u32(self, old: u32, new: u32) -> Self {
        Self(self.0.u32(!old).u32(new))
    }

    /// An address changes.
    #[inline(always)]
    #[must_use]
    pub fn address(self, old: IpAddr, new: IpAddr) -> Self {
        let minus = match old {
            IpAddr::V4(old) => self.0.u32(!old.to_bits()),
            IpAddr::V6(old) => words(old, u32::from_be_bytes)
                .into_iter()
                .fold(self.0, |sum, word| sum.u32(!word)),
        };
        Self(minus.address(new))
    }

    /// Adds another change.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(Sum(self.0.0 + other.0.0))
    }

    /// A complete checksum after the change. A checksum that was wrong stays wrong.
    #[inline(always)]
    #[must_use]
    pub fn apply(self, checksum: u16) -> u16 {
        self.0.u16(!checksum).finish()
    }

    /// A partial checksum after the change, of which only the pseudo-header's part may be passed.
    #[inline(always)]
    #[must_use]
    pub fn apply_partial(self, sum: u16) -> u16 {
        self.0.u16(sum).fold()
    }
}

/// Whether an IPv4 header (options included) carries the right checksum.
#[inline(always)]
#[must_use]
pub fn header_is_valid(header: &[u8]) -> bool {
    // Nearly every header has 20 octets: a sum of five words, without a loop.
    match header.first_chunk::<20>() {
        Some(fixed) if header.len() == 20 => Sum::of(fixed).fold() == 0xffff,
        _ => Sum::of(header).fold() == 0xffff,
    }
}

/// Whether a TCP, UDP or ICMPv6 message `transport` carries the right checksum, its pseudo-header
/// included. The caller deals with the UDP checksum 0 ("none").
#[must_use]
pub fn transport_is_valid(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    transport: &[u8],
) -> bool {
    let sum = Sum::of(transport).pseudo_header(source, destination, protocol, transport.len());
    sum.fold() == 0xffff
}

/// Whether the upper-layer checksum of a whole datagram is right: TCP, UDP, ICMP, ICMPv6, SCTP.
///
/// A partial checksum, UDP's "none" and protocols without a checksum count as right; a fragment does
/// not hold what is summed, and counts as wrong.
#[must_use]
pub fn is_valid(packet: &Packet<'_>, headers: &Headers) -> bool {
    let range = headers.transport_offset..headers.end;
    let Some(transport) = packet.bytes().get(range) else {
        return false;
    };
    if packet.offload.partial_checksum.is_some() {
        return true;
    }
    if headers.fragment.is_some() {
        return false;
    }
    match headers.transport {
        Transport::Icmp { .. } if headers.family == Family::V4 => {
            Sum::of(transport).fold() == 0xffff
        }
        Transport::Udp { checksum: 0, .. } => true,
        Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Icmp { .. } => {
            let (source, destination) = (headers.source, headers.destination);
            transport_is_valid(source, destination, headers.protocol, transport)
        }
        Transport::Sctp { .. } => sctp::is_valid(transport),
        Transport::Truncated { .. } | Transport::Fragment => false,
        Transport::Other => true,
    }
}

/// Completes in software a checksum that the sender left to the device, and clears
/// [`crate::Offload::partial_checksum`]. Without one there is nothing to do.
///
/// Returns whether the frame carries complete checksums now: false, with nothing changed, for a
/// super-frame (each of its segments needs its own) and where the offsets lie outside the frame.
#[must_use]
pub fn finish_checksum(packet: &mut Packet<'_>) -> bool {
    let Some(offset) = packet.offload.partial_checksum else {
        return true;
    };
    if packet.offload.gso.is_some() {
        return false;
    }
    let start = usize::from(packet.offload.checksum_start);
    let Some(transport) = packet.bytes_mut().get_mut(start..) else {
        return false;
    };
    let at = usize::from(offset);
    let done = match offset {
        // SCTP has no pseudo-header: what is due is the CRC over the whole packet.
        sctp::CHECKSUM => sctp::fill_checksum(transport),
        _ if u16_at(transport, at).is_some() => {
            let checksum = Sum::of(transport).finish();
            let checksum = if offset == udp::CHECKSUM {
                udp::sent_checksum(checksum)
            } else {
                checksum
            };
            put(transport, at, checksum.to_be_bytes())
        }
        _ => None,
    };
    if done.is_some() {
        packet.offload.partial_checksum = None;
    }
    done.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1071_example() {
        // RFC 1071, 3: 0001 f203 f4f5 f6f7 sum to 2ddf0, folded ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).fold(), 0xddf2);
        assert_eq!(Sum::of(&bytes[..4]).bytes(&bytes[4..]).fold(), 0xddf2);
        assert_eq!(Sum::of(&[]).fold(), 0);
        assert_eq!(Sum::of(&[0xab]).fold(), 0xab00);
        assert_eq!(Sum::of(&[1, 2, 0xab]).fold(), 0xac02);
    }

    #[test]
    fn rfc_1624_example() {
        // RFC 1624, 4: checksum dd2f, word 5555 becomes 3285, checksum becomes 0000 (not ffff).
        assert_eq!(Change::NONE.u16(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn partial_checksum_is_completed() {
        let mut frame = [0; 12];
        frame[4..].copy_from_slice(&[0x03, 0xe9, 0, 80, 0, 8, 0x12, 0x34]);
        let mut packet = Packet::new(&mut frame, 0..12, 0);
        packet.offload.partial_checksum = Some(6);
        packet.offload.checksum_start = 4;
        assert!(finish_checksum(&mut packet));
        assert_eq!(packet.offload.partial_checksum, None);
        let expected = !(0x03e9 + 80 + 8 + 0x1234_u16);
        assert_eq!(u16_at(packet.bytes(), 10), Some(expected));
    }

    #[test]
    fn partial_checksum_outside_the_frame_is_refused() {
        for (start, offset) in [(13, 6), (4, 7), (4, 9), (12, 16)] {
            let mut frame = [0xa5; 12];
            let mut packet = Packet::new(&mut frame, 0..12, 0);
            packet.offload.partial_checksum = Some(offset);
            packet.offload.checksum_start = start;
            assert!(!finish_checksum(&mut packet), "{start} {offset}");
            assert_eq!(packet.bytes(), [0xa5; 12]);
        }
    }
}
