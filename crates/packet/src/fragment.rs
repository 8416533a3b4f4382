//! IP fragmentation: a datagram becomes fragments, and what fragments have to say for the datagram to
//! be put together again. The putting together needs memory, and is the director's.

use core::ops::Range;

use crate::Packet;
use crate::headers::{Family, Headers};
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Extension, FragmentHeader, Ipv6};
use crate::protocol;
use crate::view::put;

/// Both ECN bits of TOS and traffic class (RFC 3168, 5).
const CONGESTION_EXPERIENCED: u8 = 3;
/// Octets of the IPv6 fragment header.
const FRAGMENT_HEADER: usize = 8;

/// The fragments that a datagram is to be cut into. Holds no copy: fragment by fragment is written
/// where the caller wants it.
#[derive(Clone, Copy, Debug)]
pub struct Fragments<'a> {
    family: Family,
    network_offset: usize,
    /// Link header, IP header, and what every fragment repeats behind it.
    front: &'a [u8],
    /// Offset in `front` of the octet that names what follows it (IPv6).
    named_at: usize,
    /// What is cut.
    payload: &'a [u8],
    /// Payload octets of each fragment but the last, a multiple of eight.
    size: usize,
    /// Offset of the payload in the datagram, octets; not 0 where the datagram is itself a fragment.
    base: usize,
    /// Whether fragments follow the last one.
    more: bool,
    /// IPv6 identification.
    id: u32,
}

impl<'a> Fragments<'a> {
    /// Prepares to cut the datagram of `packet` into fragments of at most `mtu` octets, IP header
    /// included; `id` is their identification in IPv6 (in IPv4 it is the datagram's).
    ///
    /// An IPv4 fragment is cut further. Options that fragments do not copy (RFC 791, 3.1) are overwritten
    /// with no-operation in all but the first, as Linux does. In IPv6, hop-by-hop options, routing
    /// header and the destination options before it stay in front of the fragment header.
    ///
    /// `None`, where that cannot be done: "don't fragment" is set, the datagram is an IPv6 fragment,
    /// its checksum is still partial or it is a super-frame, or `mtu` leaves no room for eight octets.
    #[must_use]
    pub fn new(packet: &'a Packet<'_>, headers: &Headers, mtu: usize, id: u32) -> Option<Self> {
        if packet.offload.partial_checksum.is_some() || packet.offload.gso.is_some() {
            return None;
        }
        let frame = packet.bytes().get(..headers.end)?;
        let network_offset = headers.network_offset;
        let network = frame.get(network_offset..)?;
        let (header_len, named_at, added) = match headers.family {
            Family::V4 if headers.dont_fragment => return None,
            Family::V4 => (Ipv4::of(network)?.header_len(), 0, 0),
            Family::V6 if headers.fragment.is_some() => return None,
            Family::V6 => {
                let (len, named_at) = unfragmentable(network)?;
                (len, network_offset + named_at, FRAGMENT_HEADER)
            }
        };
        let size = mtu.checked_sub(header_len + added)? & !7;
        if size == 0 {
            return None;
        }
        let (front, payload) = frame.split_at_checked(network_offset + header_len)?;
        Some(Self {
            family: headers.family,
            network_offset,
            front,
            named_at,
            payload,
            size,
            base: headers
                .fragment
                .map_or(0, |fragment| usize::from(fragment.offset)),
            more: headers.fragment.is_some_and(|fragment| fragment.more),
            id,
        })
    }

    /// How many fragments there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.size).max(1)
    }

    /// Octets of the longest fragment, link header included.
    #[must_use]
    pub fn max_len(&self) -> usize {
        let added = if self.family == Family::V6 {
            FRAGMENT_HEADER
        } else {
            0
        };
        self.front.len() + added + self.size.min(self.payload.len())
    }

    /// Octets that are cut: those behind the headers that every fragment repeats.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// Writes fragment `n` (from 0) with the link header into `out`, and returns its octets. `None`
    /// behind the last one, or when `out` is too short.
    #[must_use]
    pub fn write(&self, n: usize, out: &mut [u8]) -> Option<usize> {
        if n >= self.count() {
            return None;
        }
        let from = n.checked_mul(self.size)?;
        let to = self.payload.len().min(from.saturating_add(self.size));
        self.write_piece(from..to, out)
    }

    /// Writes the fragment that holds the octets `piece` of what is cut, for a caller who chooses the
    /// sizes (as the datagram's own fragments had them, BEHAVIOURS 16). `None`, when the range lies
    /// outside, begins or ends at no multiple of eight (but for the end), or `out` is too short.
    #[must_use]
    pub fn write_piece(&self, piece: Range<usize>, out: &mut [u8]) -> Option<usize> {
        let last = piece.end == self.payload.len();
        if !piece.start.is_multiple_of(8) || !(last || piece.end.is_multiple_of(8)) {
            return None;
        }
        let offset = u16::try_from(self.base + piece.start).ok()?;
        let more = self.more || !last;
        let bytes = self.payload.get(piece.clone())?;
        let at = self.front.len();
        out.get_mut(..at)?.copy_from_slice(self.front);
        match self.family {
            Family::V4 => {
                let len = at + bytes.len();
                let out = out.get_mut(..len)?;
                out.get_mut(at..)?.copy_from_slice(bytes);
                self.write_v4(offset, more, piece.start == 0, out)?;
                Some(len)
            }
            Family::V6 => {
                let len = at + FRAGMENT_HEADER + bytes.len();
                let out = out.get_mut(..len)?;
                out.get_mut(at + FRAGMENT_HEADER..)?.copy_from_slice(bytes);
                self.write_v6(offset, more, out)?;
                Some(len)
            }
        }
    }

    /// Fits the IPv4 header to a fragment.
    fn write_v4(&self, offset: u16, more: bool, first: bool, out: &mut [u8]) -> Option<()> {
        let header_len = self.front.len() - self.network_offset;
        let network = out.get_mut(self.network_offset..)?;
        let total = u16::try_from(network.len()).ok()?;
        let mut header = Ipv4::of_mut(network)?;
        header.set_total_len(total);
        header.set_fragmentation(offset >> 3 | if more { ipv4::MORE_FRAGMENTS } else { 0 });
        let whole = network.get_mut(..header_len)?;
        if !first {
            blank_options(whole.get_mut(ipv4::LEN..)?);
        }
        ipv4::fill_checksum(whole);
        Some(())
    }

    /// Fits the IPv6 headers to a fragment, and writes the fragment header.
    fn write_v6(&self, offset: u16, more: bool, out: &mut [u8]) -> Option<()> {
        let named = *self.front.get(self.named_at)?;
        put(out, self.named_at, [protocol::FRAGMENT])?;
        let payload_len = out.len() - self.network_offset - ipv6::LEN;
        let mut header = Ipv6::of_mut(out.get_mut(self.network_offset..)?)?;
        header.set_payload_len(u16::try_from(payload_len).ok()?);
        let mut header = FragmentHeader::of_mut(out.get_mut(self.front.len()..)?)?;
        header.set_next_header(named);
        header.set_reserved(0);
        header.set_offset_more(offset | u16::from(more));
        header.set_id(self.id);
        Some(())
    }
}

/// Overwrites the options that only the first fragment carries with no-operation.
fn blank_options(mut options: &mut [u8]) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (END, _) => return,
            (NO_OPERATION, rest) => rest,
            (kind_value, rest) => {
                let Some(len) = rest
                    .first()
                    .and_then(|len| usize::from(*len).checked_sub(1))
                else {
                    return;
                };
                if len == 0 || len > rest.len() {
                    return;
                }
                let (option, behind) = rest.split_at_mut(len);
                if kind_value & COPIED == 0 {
                    *kind = NO_OPERATION;
                    option.fill(NO_OPERATION);
                }
                behind
            }
        };
    }
}

/// Octets of the IPv6 headers that every fragment repeats, and the offset of the octet that names
/// what follows them (RFC 8200, 4.5; destination options behind a routing header are cut, as by Linux).
fn unfragmentable(datagram: &[u8]) -> Option<(usize, usize)> {
    let mut next = Ipv6::of(datagram)?.next_header();
    let (mut len, mut named_at) = (ipv6::LEN, 6);
    let mut routed = false;
    for _ in 0..ipv6::MAX_EXTENSIONS {
        match next {
            protocol::HOP_BY_HOP => {}
            protocol::ROUTING => routed = true,
            protocol::DESTINATION_OPTIONS if !routed => {}
            _ => return Some((len, named_at)),
        }
        let Extension {
            next_header,
            len: octets,
        } = ipv6::extension(next, datagram.get(len..)?).ok()?;
        named_at = len;
        next = next_header;
        len += octets;
    }
    None
}

/// The octets of the frame that a fragment brings to its datagram: those behind the IPv4 header or
/// the IPv6 fragment header. `None`, when the packet is no fragment.
#[must_use]
pub fn payload(packet: &Packet<'_>, headers: &Headers) -> Option<Range<usize>> {
    headers.fragment?;
    match headers.family {
        Family::V4 => Some(headers.transport_offset..headers.end),
        Family::V6 => {
            let (at, _) = fragment_header(packet, headers)?;
            Some(at + FRAGMENT_HEADER..headers.end)
        }
    }
}

/// Offset of the IPv6 fragment header in the frame, and of the octet that names it.
fn fragment_header(packet: &Packet<'_>, headers: &Headers) -> Option<(usize, usize)> {
    let datagram = packet.bytes().get(headers.network_offset..headers.end)?;
    let mut next = Ipv6::of(datagram)?.next_header();
    let (mut at, mut named_at) = (ipv6::LEN, 6);
    for _ in 0..ipv6::MAX_EXTENSIONS {
        if next == protocol::FRAGMENT {
            return Some((
                headers.network_offset + at,
                headers.network_offset + named_at,
            ));
        }
        if !ipv6::is_extension(next) {
            return None;
        }
        let extension = ipv6::extension(next, datagram.get(at..)?).ok()?;
        named_at = at;
        next = extension.next_header;
        at += extension.len;
    }
    None
}

/// Writes what stands in front of the payload of a reassembled datagram into `out`: the first
/// fragment's link header and IP headers, without the fragment header, for a payload of
/// `payload_len` octets. Returns the octets written; the payload belongs behind them.
///
/// `packet` and `headers` are those of the fragment with offset 0. "Don't fragment" is cleared; with
/// `congested`, "congestion experienced" is set (RFC 3168, 5.3).
/// `None`, when they are not, the datagram would exceed 65,535 octets, or `out` is too short.
#[must_use]
pub fn reassembled_header(
    packet: &Packet<'_>,
    headers: &Headers,
    payload_len: usize,
    congested: bool,
    out: &mut [u8],
) -> Option<usize> {
    let ecn = if congested { CONGESTION_EXPERIENCED } else { 0 };
    let first = headers
        .fragment
        .is_some_and(|fragment| fragment.offset == 0);
    let at = payload(packet, headers).filter(|_| first)?.start;
    match headers.family {
        Family::V4 => {
            let front = packet.bytes().get(..at)?;
            let total = u16::try_from(at - headers.network_offset + payload_len).ok()?;
            let out = out.get_mut(..at)?;
            out.copy_from_slice(front);
            let network = out.get_mut(headers.network_offset..)?;
            let mut header = Ipv4::of_mut(network)?;
            header.set_total_len(total);
            header.set_fragmentation(0);
            header.set_tos(headers.tos | ecn);
            ipv4::fill_checksum(network);
            Some(at)
        }
        Family::V6 => {
            let (fragment_at, named_at) = fragment_header(packet, headers)?;
            let front = packet.bytes().get(..fragment_at)?;
            let named = *packet.bytes().get(fragment_at)?;
            let extensions = fragment_at - headers.network_offset - ipv6::LEN;
            let out = out.get_mut(..fragment_at)?;
            out.copy_from_slice(front);
            put(out, named_at, [named])?;
            let mut header = Ipv6::of_mut(out.get_mut(headers.network_offset..)?)?;
            header.set_payload_len(u16::try_from(extensions + payload_len).ok()?);
            let version_class_flow = header.version_class_flow() | u32::from(ecn) << 20;
            header.set_version_class_flow(version_class_flow);
            Some(fragment_at)
        }
    }
}
