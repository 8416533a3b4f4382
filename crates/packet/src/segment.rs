//! Software segmentation: a TCP or UDP super-frame, or a plain TCP segment that is too long for the
//! path, becomes segments that stand alone.
//!
//! As Linux's own segmentation: each piece copies the headers; the IPv4 identification counts up, the
//! sequence number moves on, FIN and PSH stay with the last piece, CWR with the first, and all
//! checksums are complete.

use crate::buffer::GsoKind;
use crate::checksum::{Sum, is_valid};
use crate::headers::{Family, Headers, Transport};
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Ipv6};
use crate::protocol::HOP_BY_HOP;
use crate::tcp::{self, Tcp};
use crate::udp::{self, Udp};
use crate::{Packet, view};

/// Octets of the hop-by-hop header that carries the length of an IPv6 super-frame above 65,535 octets
/// (RFC 2675): its segments need none.
const JUMBO_LEN: usize = 8;

/// The segments that a frame is to be cut into. Holds no copy: segment by segment is written where
/// the caller wants it.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a> {
    headers: Headers,
    /// Link and IP header, without what follows the fixed IPv6 header.
    front: &'a [u8],
    /// IPv4 options or IPv6 extension headers, and the transport header.
    rest: &'a [u8],
    /// Octets of the transport header, the last ones of `rest`.
    transport_len: usize,
    payload: &'a [u8],
    size: usize,
    without_checksum: bool,
}

impl<'a> Segments<'a> {
    /// Prepares to cut `packet` into segments whose payload (behind the TCP or UDP header) has at
    /// most `max_payload` octets.
    ///
    /// TCP is cut to that or to the super-frame's segment size, if that is less. UDP keeps the
    /// super-frame's datagrams as they are.
    ///
    /// `None`, where that cannot be done: no TCP, no UDP super-frame, UDP datagrams longer than
    /// `max_payload`, a fragment, a SYN or RST, an impossible header length, a `max_payload` of 0, or
    /// a plain segment whose checksum is wrong (it would come out right).
    #[must_use]
    pub fn new(packet: &'a Packet<'_>, headers: &Headers, max_payload: usize) -> Option<Self> {
        let gso = packet.offload.gso;
        let gso_size = match usize::from(packet.offload.gso_size) {
            0 => usize::MAX,
            size => size,
        };
        let (transport_len, size, without_checksum) = match (headers.transport, gso) {
            (
                Transport::Tcp {
                    flags, header_len, ..
                },
                None | Some(GsoKind::TcpV4 | GsoKind::TcpV6),
            ) if flags & (tcp::SYN | tcp::RST) == 0 && usize::from(header_len) >= tcp::LEN => {
                let size = if gso.is_some() {
                    gso_size.min(max_payload)
                } else {
                    max_payload
                };
                (usize::from(header_len), size, false)
            }
            (Transport::Udp { checksum, .. }, Some(GsoKind::UdpL4)) if gso_size <= max_payload => {
                let partial = packet.offload.partial_checksum.is_some();
                (udp::LEN, gso_size, checksum == 0 && !partial)
            }
            _ => return None,
        };
        let trusted = gso.is_some() || is_valid(packet, headers);
        if size == 0 || headers.fragment.is_some() || !trusted {
            return None;
        }
        let frame = packet.bytes().get(..headers.end)?;
        let fixed_len = match headers.family {
            Family::V4 => ipv4::LEN,
            Family::V6 => ipv6::LEN,
        };
        let (front, behind) = frame.split_at_checked(headers.network_offset + fixed_len)?;
        let headers_len = headers.transport_offset.checked_sub(front.len())? + transport_len;
        let (rest, payload) = behind.split_at_checked(headers_len)?;
        let headers = *headers;
        Some(Self {
            headers,
            front,
            rest,
            transport_len,
            payload,
            size,
            without_checksum,
        })
    }

    /// How many segments there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.size).max(1)
    }

    /// Octets of the longest segment, link header included.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.front.len() + self.rest.len() + self.size.min(self.payload.len())
    }

    /// Writes segment `n` (from 0) with the link header into `out`, and returns its octets. `None`
    /// behind the last one, or when `out` is too short.
    #[must_use]
    pub fn write(&self, n: usize, out: &mut [u8]) -> Option<usize> {
        if n >= self.count() {
            return None;
        }
        let from = n.checked_mul(self.size)?;
        let to = self.payload.len().min(from.saturating_add(self.size));
        let piece = self.payload.get(from..to)?;
        let (front, rest) = self.headers_of_segment();
        let at = front.len();
        let transport_at = at + rest.len() - self.transport_len;
        let len = at + rest.len() + piece.len();
        let out = out.get_mut(..len)?;
        out.get_mut(..at)?.copy_from_slice(front);
        out.get_mut(at..at + rest.len())?.copy_from_slice(rest);
        out.get_mut(at + rest.len()..)?.copy_from_slice(piece);
        self.write_network(n, transport_at, out)?;
        self.write_transport(n, from, out.get_mut(transport_at..)?)?;
        Some(len)
    }

    /// Front and rest as a segment has them: without the jumbo payload option.
    fn headers_of_segment(&self) -> (&'a [u8], &'a [u8]) {
        if self.is_jumbo() {
            (self.front, self.rest.get(JUMBO_LEN..).unwrap_or(self.rest))
        } else {
            (self.front, self.rest)
        }
    }

    /// Whether an IPv6 super-frame says its length in a hop-by-hop header that holds nothing else.
    fn is_jumbo(&self) -> bool {
        let Some(header) = self
            .front
            .get(self.headers.network_offset..)
            .and_then(Ipv6::of)
        else {
            return false;
        };
        self.headers.family == Family::V6
            && header.payload_len() == 0
            && header.next_header() == HOP_BY_HOP
            && self.rest.len() >= JUMBO_LEN + self.transport_len
            && self.rest.get(1..4) == Some(&[0, 0xc2, 4])
    }

    /// Fits the IP header at the network offset to segment `n`.
    fn write_network(&self, n: usize, transport_at: usize, out: &mut [u8]) -> Option<()> {
        let at = self.headers.network_offset;
        let network = out.get_mut(at..)?;
        let total = network.len();
        match self.headers.family {
            Family::V4 => {
                let mut header = Ipv4::of_mut(network)?;
                header.set_total_len(u16::try_from(total).ok()?);
                let id = header.id().wrapping_add(view::low16(n as u64));
                header.set_id(id);
                ipv4::fill_checksum(network.get_mut(..transport_at - at)?);
            }
            Family::V6 => {
                let mut header = Ipv6::of_mut(network)?;
                header.set_payload_len(u16::try_from(total - ipv6::LEN).ok()?);
                if self.is_jumbo() {
                    header.set_next_header(*self.rest.first()?);
                }
            }
        }
        Some(())
    }

    /// Fits the transport header at the start of `transport` to segment `n`, whose payload begins at
    /// `from` of the whole.
    fn write_transport(&self, n: usize, from: usize, transport: &mut [u8]) -> Option<()> {
        let headers = &self.headers;
        let len = transport.len();
        let pseudo =
            Sum::ZERO.pseudo_header(headers.source, headers.destination, headers.protocol, len);
        if let Transport::Tcp {
            sequence,
            mut flags,
            ..
        } = headers.transport
        {
            if n != 0 {
                flags &= !tcp::CWR;
            }
            if n + 1 != self.count() {
                flags &= !(tcp::FIN | tcp::PSH);
            }
            let mut header = Tcp::of_mut(transport)?;
            header.set_sequence(sequence.wrapping_add(u32::try_from(from).ok()?));
            header.set_flags(flags);
            header.set_checksum(0);
            let checksum = pseudo.bytes(transport).finish();
            Tcp::of_mut(transport)?.set_checksum(checksum);
        } else {
            let mut header = Udp::of_mut(transport)?;
            header.set_length(u16::try_from(len).ok()?);
            header.set_checksum(0);
            if !self.without_checksum {
                let checksum = udp::sent_checksum(pseudo.bytes(transport).finish());
                Udp::of_mut(transport)?.set_checksum(checksum);
            }
        }
        Some(())
    }
}
