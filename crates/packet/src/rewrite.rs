//! What forwarding changes in a frame, in place: hop limit, addresses and ports, link header.
//!
//! Checksums follow incrementally (RFC 1624), so that one which arrived wrong leaves wrong, as from
//! the kernel (BEHAVIOURS 12).

use core::net::IpAddr;

use crate::checksum::{Change, Sum};
use crate::ethernet::{self, Ethernet, Mac};
use crate::headers::{Family, Headers, Malformed, Transport};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::view::{put, u16_at};
use crate::{Packet, icmp, sctp, tcp, udp};

/// A network address translation: what replaces source and destination, address and port together.
/// Where the protocol has no ports, the ports given are not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// New source; `None` keeps it.
    pub source: Option<(IpAddr, u16)>,
    /// New destination; `None` keeps it.
    pub destination: Option<(IpAddr, u16)>,
}

/// Takes one off the TTL or hop limit and returns what remains; `None`, with the packet unchanged,
/// where it was 1 or 0: the answer to such a packet is "time exceeded".
#[must_use]
pub fn decrement_ttl(packet: &mut Packet<'_>, headers: &Headers) -> Option<u8> {
    let network = packet.bytes_mut().get_mut(headers.network_offset..)?;
    match headers.family {
        Family::V4 => {
            let mut header = Ipv4::of_mut(network)?;
            let old = header.ttl();
            let new = old.checked_sub(1).filter(|&ttl| ttl > 0)?;
            let word = |ttl| u16::from_be_bytes([ttl, header.protocol()]);
            let checksum = Change::NONE
                .u16(word(old), word(new))
                .apply(header.checksum());
            header.set_ttl(new);
            header.set_checksum(checksum);
            Some(new)
        }
        Family::V6 => {
            let mut header = Ipv6::of_mut(network)?;
            let new = header.hop_limit().checked_sub(1).filter(|&hops| hops > 0)?;
            header.set_hop_limit(new);
            Some(new)
        }
    }
}

/// Replaces addresses and ports, the IP, TCP, UDP, ICMPv6 and SCTP checksums with them.
///
/// * A UDP checksum of 0 ("none") is replaced by a full one, in both families (BEHAVIOURS 12), but in
///   a fragment or a super-frame, which do not hold what is summed, it stays 0.
/// * An SCTP checksum is computed anew when a port changes; it does not cover addresses.
/// * A partial checksum is updated as the pseudo-header sum that it is; ports do not enter it.
/// * Of a fragmented datagram the first fragment has the ports and the checksum; later ones change
///   addresses alone.
///
/// `headers` must be those of this packet; they are out of date afterwards.
///
/// # Errors
/// [`Malformed::BadVersion`] when a new address is of the other family,
/// [`Malformed::TransportTruncated`] when a first fragment is too short for what must change in it
/// (reassemble first). The packet is unchanged then.
pub fn translate(
    packet: &mut Packet<'_>,
    headers: &Headers,
    translation: Translation,
) -> Result<(), Malformed> {
    let (old_source, old_destination) = headers.ports();
    let source = translation.source.unwrap_or((headers.source, old_source));
    let destination = translation
        .destination
        .unwrap_or((headers.destination, old_destination));
    let family = |address: IpAddr| {
        if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    };
    if family(source.0) != headers.family || family(destination.0) != headers.family {
        return Err(Malformed::BadVersion);
    }
    if translation == Translation::default() {
        return Ok(());
    }
    let addresses = Change::NONE
        .address(headers.source, source.0)
        .address(headers.destination, destination.0);
    translate_transport(packet, headers, source, destination, addresses)?;
    translate_network(packet, headers, source.0, destination.0, addresses)
        .ok_or(Malformed::NetworkTruncated)
}

/// Replaces the addresses in the IP header.
fn translate_network(
    packet: &mut Packet<'_>,
    headers: &Headers,
    source: IpAddr,
    destination: IpAddr,
    change: Change,
) -> Option<()> {
    let network = packet.bytes_mut().get_mut(headers.network_offset..)?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4::of_mut(network)?;
            header.set_source(source);
            header.set_destination(destination);
            let checksum = change.apply(header.checksum());
            header.set_checksum(checksum);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = Ipv6::of_mut(network)?;
            header.set_source(source);
            header.set_destination(destination);
        }
        _ => return None,
    }
    Some(())
}

/// Replaces the ports, and the checksum that covers ports or addresses.
fn translate_transport(
    packet: &mut Packet<'_>,
    headers: &Headers,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    addresses: Change,
) -> Result<(), Malformed> {
    const CUT: Malformed = Malformed::TransportTruncated;
    let partial = packet.offload.partial_checksum.is_some();
    let super_frame = packet.offload.gso.is_some();
    let range = headers.transport_offset..headers.end;
    let transport = packet.bytes_mut().get_mut(range).ok_or(CUT)?;
    let (old_source, old_destination) = headers.ports();
    let ports = Change::NONE
        .u16(old_source, source.1)
        .u16(old_destination, destination.1);
    let put_ports = |transport: &mut [u8]| {
        let [a, b] = source.1.to_be_bytes();
        let [c, d] = destination.1.to_be_bytes();
        put(transport, 0, [a, b, c, d]).ok_or(CUT)
    };
    let update = |transport: &mut [u8], at: u16, ports: Change| {
        let at = usize::from(at);
        let field = u16_at(transport, at).ok_or(CUT)?;
        let field = match partial {
            true => addresses.apply_partial(field),
            false => addresses.and(ports).apply(field),
        };
        put(transport, at, field.to_be_bytes()).ok_or(CUT)
    };
    match headers.transport {
        Transport::Tcp { .. } => {
            update(transport, tcp::CHECKSUM, ports)?;
            put_ports(transport)
        }
        Transport::Udp { checksum: 0, .. } if !partial => {
            put_ports(transport)?;
            if headers.fragment.is_some() || super_frame {
                return Ok(());
            }
            fill_udp_checksum(transport, headers.protocol, source.0, destination.0).ok_or(CUT)
        }
        Transport::Udp { .. } => {
            update(transport, udp::CHECKSUM, ports)?;
            if !partial {
                let at = usize::from(udp::CHECKSUM);
                let field = u16_at(transport, at).ok_or(CUT)?;
                put(transport, at, udp::sent_checksum(field).to_be_bytes()).ok_or(CUT)?;
            }
            put_ports(transport)
        }
        Transport::Sctp { .. } => {
            if (source.1, destination.1) == headers.ports() {
                return Ok(());
            }
            if headers.fragment.is_some() {
                return Err(CUT);
            }
            put_ports(transport)?;
            sctp::fill_checksum(transport).ok_or(CUT)?;
            packet.offload.partial_checksum = None;
            Ok(())
        }
        Transport::Icmp { .. } if headers.family == Family::V6 => {
            update(transport, icmp::CHECKSUM, Change::NONE)
        }
        Transport::Truncated { .. } => Err(CUT),
        Transport::Fragment
            if headers
                .fragment
                .is_some_and(|fragment| fragment.offset == 0) =>
        {
            Err(CUT)
        }
        Transport::Icmp { .. } | Transport::Fragment | Transport::Other => Ok(()),
    }
}

/// Writes the full checksum of the UDP datagram `transport`.
fn fill_udp_checksum(
    transport: &mut [u8],
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
) -> Option<()> {
    let at = usize::from(udp::CHECKSUM);
    put(transport, at, [0, 0])?;
    let sum = Sum::of(transport).pseudo_header(source, destination, protocol, transport.len());
    put(
        transport,
        at,
        udp::sent_checksum(sum.finish()).to_be_bytes(),
    )
}

/// Writes both addresses of the link header; nothing where the link has none (TUN).
#[inline]
pub fn set_link(packet: &mut Packet<'_>, destination: Mac, source: Mac) {
    if packet.link_len == 0 {
        return;
    }
    if let Some(mut header) = Ethernet::of_mut(packet.bytes_mut()) {
        header.set_destination(destination);
        header.set_source(source);
    }
}

/// Takes the link header off, for a link without one (TUN).
pub fn strip_link(packet: &mut Packet<'_>) {
    let len = packet.link_len.min(packet.len());
    packet.pull_front(len);
    packet.link_len = 0;
    let start = usize::from(packet.offload.checksum_start).saturating_sub(len);
    packet.offload.checksum_start = u16::try_from(start).unwrap_or(0);
}

/// Puts an Ethernet header in front of an IP datagram that has no link header; replaces the
/// addresses where it has one.
///
/// Returns whether it could: false, with the packet unchanged, when headroom lacks or the datagram
/// is neither IPv4 nor IPv6.
#[inline]
#[must_use]
pub fn insert_link(packet: &mut Packet<'_>, destination: Mac, source: Mac) -> bool {
    if packet.link_len == 0 {
        let ether_type = match packet.bytes().first().map(|octet| octet >> 4) {
            Some(4) => ethernet::IPV4,
            Some(6) => ethernet::IPV6,
            _ => return false,
        };
        if !packet.open_behind_link(ethernet::LEN) {
            return false;
        }
        packet.link_len = ethernet::LEN;
        if let Some(mut header) = Ethernet::of_mut(packet.bytes_mut()) {
            header.set_ether_type(ether_type);
        }
    }
    set_link(packet, destination, source);
    true
}
