//! The director's "nobody here": a TCP RST or an SCTP ABORT in answer to a segment, as the kernel
//! gives it where no service and no listener is (BEHAVIOURS 10).
//!
//! Each is written as an IP datagram into a buffer of the caller's, without link header, with all
//! checksums.

use crate::Packet;
use crate::checksum::{Sum, is_valid};
use crate::datagram::Datagram;
use crate::headers::{Headers, Transport};
use crate::icmp_error::{OWN_TTL, echoed, is_one_host};
use crate::sctp::{self, Chunk, Sctp, chunk};
use crate::tcp::{self, Tcp};
use crate::{protocol, view};

/// Octets that suffice for either answer.
pub const MAX_LEN: usize = 80;

/// The answer's IP header: addresses swapped, TTL 64, identification 0, "don't fragment".
fn reply(headers: &Headers, protocol: u8, tos: u8) -> Datagram {
    Datagram {
        source: headers.destination,
        destination: headers.source,
        protocol,
        tos,
        ttl: OWN_TTL,
        id: None,
    }
}

/// Whether the packet is one to be answered: right checksum, whole, from one host to one host.
fn may_be_answered(packet: &Packet<'_>, headers: &Headers) -> bool {
    headers.fragment.is_none()
        && is_one_host(headers.source)
        && is_one_host(headers.destination)
        && is_valid(packet, headers)
}

/// Writes the RST that answers a TCP segment into `out`, and returns its octets (RFC 9293, 3.10.7.1).
/// DSCP is copied, ECN is not (RFC 3168, 6.1.1).
///
/// `None`, when the packet is no TCP segment, an RST, malformed or with a wrong checksum, or `out` is
/// too short; [`MAX_LEN`] octets always suffice.
#[must_use]
pub fn tcp_reset(packet: &Packet<'_>, headers: &Headers, out: &mut [u8]) -> Option<usize> {
    let Transport::Tcp {
        source,
        destination,
        sequence,
        acknowledgment,
        flags,
        header_len,
    } = headers.transport
    else {
        return None;
    };
    let len = headers.end.checked_sub(headers.transport_offset)?;
    let payload = len.checked_sub(usize::from(header_len))?;
    let malformed = usize::from(header_len) < tcp::LEN;
    if flags & tcp::RST != 0 || malformed || !may_be_answered(packet, headers) {
        return None;
    }
    let (sequence, acknowledgment, flags) = if flags & tcp::ACK != 0 {
        (acknowledgment, 0, tcp::RST)
    } else {
        let control = u32::from(flags & tcp::SYN != 0) + u32::from(flags & tcp::FIN != 0);
        let payload = u32::try_from(payload).ok()?;
        let next = sequence.wrapping_add(control).wrapping_add(payload);
        (0, next, tcp::RST | tcp::ACK)
    };
    let reply = reply(headers, protocol::TCP, headers.tos & !3);
    let echo = echoed(packet, headers, reply.source)?;
    let at = reply.write_with_options(out, echo.octets(), tcp::LEN)?;
    let segment = out.get_mut(at..at + tcp::LEN)?;
    segment.fill(0);
    let mut header = Tcp::of_mut(segment)?;
    header.set_source(destination);
    header.set_destination(source);
    header.set_sequence(sequence);
    header.set_acknowledgment(acknowledgment);
    header.set_data_offset(0x50);
    header.set_flags(flags);
    let sum = Sum::of(segment);
    let sum = sum.pseudo_header(reply.source, reply.destination, protocol::TCP, tcp::LEN);
    Tcp::of_mut(segment)?.set_checksum(sum.finish());
    Some(at + tcp::LEN)
}

/// Error cause "stale cookie" (RFC 9260, 3.3.10.3).
const STALE_COOKIE: u16 = 3;

/// Writes the ABORT (or, to a SHUTDOWN ACK, the SHUTDOWN COMPLETE) that answers an SCTP packet
/// without an association into `out`, and returns its octets (RFC 9260, 8.4). The packet is ECT(0),
/// as the kernel's are (recording tcp_states.sctp_sloppy0).
///
/// `None`, when the packet is no SCTP packet with a chunk, one that must not be answered (ABORT,
/// SHUTDOWN COMPLETE, an ERROR for a stale cookie, nothing but COOKIE ACK), malformed or with a wrong
/// checksum, or `out` is too short; [`MAX_LEN`] octets always suffice.
#[must_use]
pub fn sctp_abort(packet: &Packet<'_>, headers: &Headers, out: &mut [u8]) -> Option<usize> {
    const LEN: usize = sctp::LEN + 4;
    if !matches!(headers.transport, Transport::Sctp { .. }) || !may_be_answered(packet, headers) {
        return None;
    }
    let asked = packet.bytes().get(headers.transport_offset..headers.end)?;
    let (kind, tag, reflected) = answer(asked)?;
    let reply = reply(headers, protocol::SCTP, 0x02);
    let at = reply.write(out, LEN)?;
    let answer = out.get_mut(at..at + LEN)?;
    let (source, destination) = headers.ports();
    let mut header = Sctp::of_mut(answer)?;
    header.set_source(destination);
    header.set_destination(source);
    header.set_tag(tag);
    view::put(answer, sctp::LEN, [kind, u8::from(reflected), 0, 4])?;
    sctp::fill_checksum(answer)?;
    Some(at + LEN)
}

/// The chunk that answers the packet, the verification tag to send it with, and whether that is the
/// packet's own (the T bit).
fn answer(asked: &[u8]) -> Option<(u8, u32, bool)> {
    let tag = Sctp::of(asked)?.tag();
    let mut chunks = asked.get(sctp::LEN..)?;
    let first = Chunk::of(chunks)?;
    if first.kind() == chunk::INIT {
        // The sender of an INIT said which tag it expects.
        let initiate_tag = u32::from_be_bytes(*chunks.get(4..)?.first_chunk()?);
        return Some((chunk::ABORT, initiate_tag, false));
    }
    let (mut shutdown, mut stale, mut answered) = (false, false, false);
    while let Some(header) = Chunk::of(chunks) {
        let len = usize::from(header.length());
        if len < 4 {
            return None;
        }
        match header.kind() {
            chunk::ABORT | chunk::SHUTDOWN_COMPLETE => return None,
            chunk::ERROR => stale |= is_stale_cookie(chunks.get(4..len).unwrap_or(&[])),
            chunk::SHUTDOWN_ACK => shutdown = true,
            _ => {}
        }
        answered |= header.kind() != chunk::COOKIE_ACK;
        chunks = chunks.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    match (shutdown, answered && !stale) {
        (true, _) => Some((chunk::SHUTDOWN_COMPLETE, tag, true)),
        (false, true) => Some((chunk::ABORT, tag, true)),
        (false, false) => None,
    }
}

/// Whether one of the causes of an ERROR chunk is a stale cookie (RFC 9260, 3.3.10.3).
fn is_stale_cookie(mut causes: &[u8]) -> bool {
    while let Some(&[high, low, len_high, len_low]) = causes.first_chunk() {
        if u16::from_be_bytes([high, low]) == STALE_COOKIE {
            return true;
        }
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        if len < 4 {
            return false;
        }
        causes = causes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    false
}
