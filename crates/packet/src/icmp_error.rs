//! ICMP and ICMPv6 answers of the director: errors about a packet, and echo replies.
//!
//! Each is written as an IP datagram into a buffer of the caller's, without link header, with all
//! checksums. How often to answer is the caller's matter.

use core::net::{IpAddr, Ipv4Addr};

use crate::checksum::{Sum, is_valid};
use crate::datagram::Datagram;
use crate::headers::{Family, Headers, Transport};
use crate::icmp::{self, Icmp};
use crate::ipv6::{self, Ipv6};
use crate::option_echo::Echo;
use crate::view::put;
use crate::{Packet, icmpv6, protocol};

/// An ICMP error is at most this long in IPv4, IP header included (RFC 1812, 4.3.2.3).
pub const MAX_LEN_V4: usize = 576;
/// An ICMPv6 error is at most this long, IP header included: the minimum MTU (RFC 4443, 2.4 (c)).
pub const MAX_LEN_V6: usize = 1280;

/// TTL of what the director sends itself, as Linux does.
pub(crate) const OWN_TTL: u8 = 64;

/// What is wrong with a packet. Each stands for the type and code of the packet's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// No service behind the port, or no real server for it: 3/3, 1/4.
    PortUnreachable,
    /// The next hop does not answer: 3/1, 1/3.
    HostUnreachable,
    /// No route: 3/0, 1/0.
    NetworkUnreachable,
    /// Nobody speaks the protocol: 3/2; in IPv6 "unrecognized next header", 4/1, with the offset of
    /// the field in the packet.
    ProtocolUnreachable,
    /// Larger than the path takes: 3/4 or 2/0, with the path's MTU in octets.
    TooBig {
        /// The MTU; above 65,535 it is told as that in IPv4.
        mtu: u32,
    },
    /// An IPv4 option is impossible: 12/0, with the offset of the octet in the IP header.
    ParameterProblem {
        /// The offset.
        at: u8,
    },
    /// The hop limit ran out: 11/0, 3/0.
    TimeExceeded,
    /// Fragments did not arrive in time: 11/1, 3/1.
    ReassemblyTimeExceeded,
    /// What a router on a tunnel's path said, passed on to the sender of the packet in the tunnel: type,
    /// code and the word behind the checksum as they came.
    Relayed {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The word behind the checksum.
        rest: u32,
    },
    /// There is a shorter way to the packet's destination: 5/1, in IPv4 only.
    Redirect {
        /// The next hop on it.
        gateway: Ipv4Addr,
    },
}

impl IcmpError {
    /// Type, code and the four octets behind the checksum.
    fn message(self, family: Family, offending: &[u8]) -> (u8, u8, u32) {
        use icmp::unreachable as v4;
        use icmpv6::unreachable as v6;
        match (self, family) {
            (Self::Relayed { kind, code, rest }, _) => (kind, code, rest),
            (Self::PortUnreachable, Family::V4) => (icmp::UNREACHABLE, v4::PORT, 0),
            (Self::PortUnreachable, Family::V6) => (icmpv6::UNREACHABLE, v6::PORT, 0),
            (Self::HostUnreachable, Family::V4) => (icmp::UNREACHABLE, v4::HOST, 0),
            (Self::HostUnreachable, Family::V6) => (icmpv6::UNREACHABLE, v6::ADDRESS, 0),
            (Self::NetworkUnreachable, Family::V4) => (icmp::UNREACHABLE, v4::NETWORK, 0),
            (Self::NetworkUnreachable, Family::V6) => (icmpv6::UNREACHABLE, v6::NO_ROUTE, 0),
            (Self::ProtocolUnreachable, Family::V4) => (icmp::UNREACHABLE, v4::PROTOCOL, 0),
            (Self::ProtocolUnreachable, Family::V6) => {
                let (_, named_at) = upper_layer(offending);
                let at = u32::try_from(named_at).unwrap_or(6);
                (icmpv6::PARAMETER_PROBLEM, 1, at)
            }
            (Self::TooBig { mtu }, Family::V4) => {
                (icmp::UNREACHABLE, v4::FRAGMENTATION_NEEDED, mtu.min(0xffff))
            }
            (Self::TooBig { mtu }, Family::V6) => (icmpv6::PACKET_TOO_BIG, 0, mtu),
            (Self::ParameterProblem { at }, Family::V4) => {
                (icmp::PARAMETER_PROBLEM, 0, u32::from(at) << 24)
            }
            (Self::ParameterProblem { at }, Family::V6) => {
                (icmpv6::PARAMETER_PROBLEM, 0, at.into())
            }
            (Self::TimeExceeded, Family::V4) => (icmp::TIME_EXCEEDED, 0, 0),
            (Self::TimeExceeded, Family::V6) => (icmpv6::TIME_EXCEEDED, 0, 0),
            (Self::ReassemblyTimeExceeded, Family::V4) => (icmp::TIME_EXCEEDED, 1, 0),
            (Self::ReassemblyTimeExceeded, Family::V6) => (icmpv6::TIME_EXCEEDED, 1, 0),
            (Self::Redirect { gateway }, _) => {
                (icmp::REDIRECT, icmp::REDIRECT_HOST, gateway.to_bits())
            }
        }
    }
}

/// The upper-layer protocol of an IPv6 datagram to a host without IPsec, which knows AH as little as any other protocol,
/// and the offset of the octet that names it.
#[must_use]
pub fn upper_layer(datagram: &[u8]) -> (u8, usize) {
    let (mut next, mut named_at, mut at) = match Ipv6::of(datagram) {
        Some(header) => (header.next_header(), 6, ipv6::LEN),
        None => return (protocol::NO_NEXT_HEADER, 6),
    };
    while ipv6::is_extension(next) && next != protocol::AH {
        let header = ipv6::extension(next, datagram.get(at..).unwrap_or_default());
        let Ok(extension) = header else { break };
        next = extension.next_header;
        named_at = at;
        at += extension.len;
    }
    (next, named_at)
}

/// Whether an error about this packet may be sent at all (RFC 1122, 3.2.2; RFC 4443, 2.4 (e)): not
/// about an ICMP error, a later fragment, or between addresses that do not name one host. That the
/// frame came to the own MAC address is for the caller to know.
#[must_use]
pub fn may_be_answered(headers: &Headers) -> bool {
    let about_an_error = match (headers.transport, headers.family) {
        (Transport::Icmp { kind, .. }, Family::V4) => icmp::is_error(kind),
        (Transport::Icmp { kind, .. }, Family::V6) => {
            icmpv6::is_error(kind) || kind == icmpv6::REDIRECT
        }
        _ => false,
    };
    let later_fragment = headers
        .fragment
        .is_some_and(|fragment| fragment.offset != 0);
    !about_an_error
        && !later_fragment
        && is_one_host(headers.source)
        && is_one_host(headers.destination)
}

/// Whether the address names one host.
pub(crate) fn is_one_host(address: IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Writes an ICMP error about `packet` into `out`, and returns its octets.
///
/// It goes from `source` (an address of the director; for a packet to a VIP the VIP) to the packet's
/// source, with TTL 64; in IPv4 with TOS 0xc0 plus the packet's TOS bits and `id` as identification.
/// It quotes as much of the datagram as fits into 576 octets (IPv4) or 1280 (IPv6), padding excluded.
/// The packet is quoted as it is: for a kernel's bytes, decide before or after
/// [`crate::decrement_ttl`] as the kernel does.
///
/// The recorded route and the timestamps of the packet's options are repeated, with `source`'s ([`crate::options`]).
///
/// `None`, when no error may be sent ([`may_be_answered`]), `source` is of the other family, a redirect is asked for
/// in IPv6, or `out` is too short; [`MAX_LEN_V6`] octets always suffice.
#[must_use]
pub fn icmp_error(
    packet: &Packet<'_>,
    headers: &Headers,
    error: IcmpError,
    source: IpAddr,
    id: u16,
    out: &mut [u8],
) -> Option<usize> {
    let is_impossible = headers.family == Family::V6 && matches!(error, IcmpError::Redirect { .. });
    if is_impossible || !may_be_answered(headers) {
        return None;
    }
    let (protocol, tos, max) = match headers.family {
        Family::V4 => (protocol::ICMP, 0xc0 | headers.tos & 0x1e, MAX_LEN_V4),
        Family::V6 => (protocol::ICMPV6, 0, MAX_LEN_V6),
    };
    let destination = headers.source;
    let reply = Datagram {
        source,
        destination,
        protocol,
        tos,
        ttl: OWN_TTL,
        id: Some(id),
    };
    let offending = packet.bytes().get(headers.network_offset..headers.end)?;
    let echo = echoed(packet, headers, source)?;
    let options = echo.octets();
    let room = max - reply.header_len() - options.len() - icmp::LEN;
    let quote = offending.get(..room).unwrap_or(offending);
    let at = reply.write_with_options(out, options, icmp::LEN + quote.len())?;
    let end = at + icmp::LEN + quote.len();
    let message = out.get_mut(at..end)?;
    message.get_mut(icmp::LEN..)?.copy_from_slice(quote);
    let (kind, code, rest) = error.message(headers.family, offending);
    finish_message(message, kind, code, rest, &reply)?;
    Some(end)
}

/// The options that an answer from `source` repeats.
pub(crate) fn echoed(packet: &Packet<'_>, headers: &Headers, source: IpAddr) -> Option<Echo> {
    match source {
        IpAddr::V4(source) if headers.has_options => {
            let header = packet
                .bytes()
                .get(headers.network_offset..headers.transport_offset)?;
            Echo::of(header, &headers.options, source)
        }
        _ => Some(Echo::default()),
    }
}

/// Fills in the header of the ICMP message, whose body stands already.
fn finish_message(
    message: &mut [u8],
    kind: u8,
    code: u8,
    rest: u32,
    datagram: &Datagram,
) -> Option<()> {
    let mut header = Icmp::of_mut(message)?;
    header.set_kind(kind);
    header.set_code(code);
    header.set_checksum(0);
    header.set_rest(rest);
    fill_checksum(message, datagram.source, datagram.destination)
}

/// Fills in the checksum of an ICMP or ICMPv6 message, as the addresses' family says.
pub(crate) fn fill_checksum(message: &mut [u8], source: IpAddr, destination: IpAddr) -> Option<()> {
    let at = usize::from(icmp::CHECKSUM);
    put(message, at, [0, 0])?;
    let sum = Sum::of(message);
    let sum = match source {
        IpAddr::V4(_) => sum,
        IpAddr::V6(_) => sum.pseudo_header(source, destination, protocol::ICMPV6, message.len()),
    };
    put(message, at, sum.finish().to_be_bytes())
}

/// Writes the answer to a ping into `out`, and returns its octets: TOS and code as asked, TTL 64, `id`
/// as IPv4 identification.
///
/// `None`, when `packet` is no echo request with a right checksum from one host to one host, or `out`
/// is too short; as many octets as the request has always suffice.
#[must_use]
pub fn echo_reply(
    packet: &Packet<'_>,
    headers: &Headers,
    id: u16,
    out: &mut [u8],
) -> Option<usize> {
    let Transport::Icmp { kind, code } = headers.transport else {
        return None;
    };
    let (kind, protocol) = match (kind, headers.family) {
        (icmp::ECHO_REQUEST, Family::V4) => (icmp::ECHO_REPLY, protocol::ICMP),
        (icmpv6::ECHO_REQUEST, Family::V6) => (icmpv6::ECHO_REPLY, protocol::ICMPV6),
        _ => return None,
    };
    let valid = is_valid(packet, headers);
    if !valid || !is_one_host(headers.source) || !is_one_host(headers.destination) {
        return None;
    }
    let reply = Datagram {
        source: headers.destination,
        destination: headers.source,
        protocol,
        tos: headers.tos,
        ttl: OWN_TTL,
        id: Some(id),
    };
    let request = packet.bytes().get(headers.transport_offset..headers.end)?;
    let echo = echoed(packet, headers, reply.source)?;
    let at = reply.write_with_options(out, echo.octets(), request.len())?;
    let message = out.get_mut(at..at + request.len())?;
    message.copy_from_slice(request);
    let rest = Icmp::of(request)?.rest();
    finish_message(message, kind, code, rest, &reply)?;
    Some(at + request.len())
}
