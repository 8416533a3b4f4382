//! LVS-TUN: a datagram in a tunnel, in place, as kernel IPVS builds it (BEHAVIOURS 13 and 14), and
//! out of it again.
//!
//! IPIP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784) and GUE, each with IPv4 or IPv6 inside and
//! outside.

use core::net::IpAddr;
use core::ops::Range;

use crate::checksum::{Change, Sum, finish_checksum};
use crate::datagram::Datagram;
use crate::ethernet::{self, Ethernet};
use crate::headers::{Family, Headers, Malformed};
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Ipv6};
use crate::udp::{self, Udp};
use crate::view::put;
use crate::{Packet, gre, gue, protocol};

/// Kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// GRE.
    Gre,
    /// GUE: UDP and a header of four octets.
    Gue,
}

/// The checksum of the tunnel header; IPIP has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TunnelChecksum {
    /// None: UDP checksum 0, GRE without checksum field (`--tun-nocsum`).
    #[default]
    None,
    /// Over tunnel header and payload (`--tun-csum`).
    Full,
    /// GUE remote checksum offload (`--tun-remcsum`). Frames leave here with complete inner
    /// checksums, for which the kernel sends a full one (BEHAVIOURS 14).
    Remote,
}

/// How to encapsulate a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Kind.
    pub kind: TunnelKind,
    /// Source address of the outer header: the director's, on the route to the real server.
    pub source: IpAddr,
    /// Destination address of the outer header, of the same family: the real server's.
    pub destination: IpAddr,
    /// UDP source port, GUE alone: a hash of the flow, so that a flow keeps one path.
    pub source_port: u16,
    /// UDP destination port, GUE alone (`--tun-port`).
    pub destination_port: u16,
    /// Checksum of the tunnel header.
    pub checksum: TunnelChecksum,
    /// Identification of the outer IPv4 header, for a packet that may be fragmented; with "don't
    /// fragment" it is 0.
    pub id: u16,
    /// Copy "don't fragment" from an inner IPv4 header to an outer one (sysctl `pmtu_disc`).
    pub copy_df: bool,
}

/// Why a packet could not be encapsulated. But for a partial checksum that was completed, the packet
/// is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelError {
    /// Too little room in front of the frame.
    Headroom,
    /// The outer packet would exceed 65,535 octets.
    TooLong,
    /// A super-frame: segment it first ([`crate::segment`]).
    SuperFrame,
    /// Outer source and destination are of different families.
    Families,
    /// The headers given are not those of the packet.
    Malformed,
}

/// Octets that a tunnel of this kind, with an outer header of `outer` family, adds to a datagram.
#[must_use]
pub const fn overhead(kind: TunnelKind, outer: Family, checksum: TunnelChecksum) -> usize {
    let network = match outer {
        Family::V4 => ipv4::LEN,
        Family::V6 => ipv6::LEN,
    };
    network
        + match (kind, checksum) {
            (TunnelKind::Ipip, _) => 0,
            (TunnelKind::Gre, TunnelChecksum::None) => gre::LEN,
            (TunnelKind::Gre, _) => gre::LEN_CHECKSUM,
            (TunnelKind::Gue, _) => udp::LEN + gue::LEN,
        }
}

impl Tunnel {
    /// Octets that this tunnel adds to a datagram.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        let outer = if self.destination.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        overhead(self.kind, outer, self.checksum)
    }
}

/// What the outer header takes over from the inner one.
struct Inner {
    family: Family,
    tos: u8,
    ttl: u8,
    dont_fragment: bool,
    len: usize,
}

/// Puts the datagram into a tunnel. Padding behind it goes, a partial checksum is completed.
///
/// The outer header copies TTL and TOS as the packet has them now (call
/// [`crate::decrement_ttl`] first), ECN "congestion experienced" becomes ECT(0) outside (RFC 6040's
/// compatibility mode, as the kernel does), and "don't fragment" is copied from IPv4 to IPv4.
/// `headers` must be those of this packet; they are out of date afterwards.
///
/// # Errors
/// [`TunnelError`] says what stands in the way.
pub fn encapsulate(
    packet: &mut Packet<'_>,
    headers: &Headers,
    tunnel: &Tunnel,
) -> Result<(), TunnelError> {
    if headers.network_offset != packet.link_len {
        return Err(TunnelError::Malformed);
    }
    wrap(packet, headers.family, headers.end, tunnel)
}

/// [`encapsulate`] for the datagram of this family that stands behind the link header and ends at `end` of the frame.
///
/// # Errors
/// As [`encapsulate`].
pub fn wrap(
    packet: &mut Packet<'_>,
    family: Family,
    end: usize,
    tunnel: &Tunnel,
) -> Result<(), TunnelError> {
    if tunnel.source.is_ipv4() != tunnel.destination.is_ipv4() {
        return Err(TunnelError::Families);
    }
    if packet.offload.gso.is_some() {
        return Err(TunnelError::SuperFrame);
    }
    let inner = inner(packet, family, end).ok_or(TunnelError::Malformed)?;
    let overhead = tunnel.overhead();
    let outer_header = match tunnel.destination {
        IpAddr::V4(_) => 0, // its length field counts the header
        IpAddr::V6(_) => ipv6::LEN,
    };
    if overhead - outer_header + inner.len > usize::from(u16::MAX) {
        return Err(TunnelError::TooLong);
    }
    if packet.headroom() < overhead {
        return Err(TunnelError::Headroom);
    }
    if !finish_checksum(packet) {
        return Err(TunnelError::Malformed);
    }
    packet.truncate(end);
    if !packet.open_behind_link(overhead) {
        return Err(TunnelError::Headroom);
    }
    write(packet, tunnel, &inner).ok_or(TunnelError::Malformed)
}

/// Reads what the outer header takes over.
fn inner(packet: &Packet<'_>, family: Family, end: usize) -> Option<Inner> {
    let datagram = packet.bytes().get(packet.link_len..end)?;
    let len = datagram.len();
    Some(match family {
        Family::V4 => {
            let header = Ipv4::of(datagram)?;
            let (tos, ttl) = (header.tos(), header.ttl());
            Inner {
                family: Family::V4,
                tos,
                ttl,
                dont_fragment: header.dont_fragment(),
                len,
            }
        }
        Family::V6 => {
            let header = Ipv6::of(datagram)?;
            let (tos, ttl) = (header.traffic_class(), header.hop_limit());
            Inner {
                family: Family::V6,
                tos,
                ttl,
                dont_fragment: false,
                len,
            }
        }
    })
}

/// Writes the outer headers into the gap behind the link header.
fn write(packet: &mut Packet<'_>, tunnel: &Tunnel, inner: &Inner) -> Option<()> {
    let link_len = packet.link_len;
    if link_len != 0 {
        let ether_type = if tunnel.destination.is_ipv4() {
            ethernet::IPV4
        } else {
            ethernet::IPV6
        };
        Ethernet::of_mut(packet.bytes_mut())?.set_ether_type(ether_type);
    }
    let (inner_protocol, inner_ether_type) = match inner.family {
        Family::V4 => (protocol::IPIP, ethernet::IPV4),
        Family::V6 => (protocol::IPV6, ethernet::IPV6),
    };
    let protocol = match tunnel.kind {
        TunnelKind::Ipip => inner_protocol,
        TunnelKind::Gre => protocol::GRE,
        TunnelKind::Gue => protocol::UDP,
    };
    let outer = packet.bytes_mut().get_mut(link_len..)?;
    let datagram = Datagram {
        source: tunnel.source,
        destination: tunnel.destination,
        protocol,
        // The outer header must not say "congestion experienced" on behalf of the inner one.
        tos: if inner.tos & 3 == 3 {
            inner.tos & !1
        } else {
            inner.tos
        },
        ttl: inner.ttl,
        id: (!(tunnel.copy_df && inner.dont_fragment)).then_some(tunnel.id),
    };
    let payload_len = outer.len().checked_sub(datagram.header_len())?;
    let transport_at = datagram.write(outer, payload_len)?;
    let transport = outer.get_mut(transport_at..)?;
    match tunnel.kind {
        TunnelKind::Ipip => Some(()),
        TunnelKind::Gre => gre::write(
            transport,
            inner_ether_type,
            tunnel.checksum != TunnelChecksum::None,
        ),
        TunnelKind::Gue => write_gue(transport, tunnel, inner_protocol),
    }
}

/// Writes the UDP and GUE headers; `transport` reaches to the end of the packet.
fn write_gue(transport: &mut [u8], tunnel: &Tunnel, inner_protocol: u8) -> Option<()> {
    let len = u16::try_from(transport.len()).ok()?;
    put(transport, udp::LEN, gue::to_bytes(inner_protocol))?;
    let mut header = Udp::of_mut(transport)?;
    header.set_source(tunnel.source_port);
    header.set_destination(tunnel.destination_port);
    header.set_length(len);
    header.set_checksum(0);
    if tunnel.checksum != TunnelChecksum::None {
        let checksum = Sum::of(transport)
            .pseudo_header(
                tunnel.source,
                tunnel.destination,
                protocol::UDP,
                transport.len(),
            )
            .finish();
        Udp::of_mut(transport)?.set_checksum(udp::sent_checksum(checksum));
    }
    Some(())
}

/// Finds the datagram inside a tunnelled packet that begins with its outer IP header: IPIP, GRE or
/// GUE, told apart by the outer protocol number; UDP is taken as GUE whatever its port. The range
/// ends with the inner datagram.
///
/// # Errors
/// [`Malformed`] of the outer or the inner headers; [`Malformed::NotIp`] where the packet is no
/// tunnel or its tunnel header is not understood (options, versions, wrong checksum, fragments).
pub fn decapsulate(packet: &[u8]) -> Result<Range<usize>, Malformed> {
    let outer = Headers::parse_datagram(packet)?;
    let at = outer.transport_offset;
    let payload = packet
        .get(at..outer.end)
        .ok_or(Malformed::TransportTruncated)?;
    if outer.fragment.is_some() {
        return Err(Malformed::NotIp);
    }
    let inner = match outer.protocol {
        protocol::GRE => decapsulate_gre(payload)?,
        protocol::UDP => {
            let header = Udp::of(payload).ok_or(Malformed::TransportTruncated)?;
            let len = usize::from(header.length());
            let datagram = payload.get(..len).ok_or(Malformed::BadLength)?;
            let sum = Sum::of(datagram).pseudo_header(
                outer.source,
                outer.destination,
                protocol::UDP,
                len,
            );
            if header.checksum() != 0 && sum.fold() != 0xffff {
                return Err(Malformed::NotIp);
            }
            let body = datagram.get(udp::LEN..).ok_or(Malformed::BadLength)?;
            shifted(decapsulate_gue(body)?, udp::LEN)
        }
        protocol => inner_datagram(protocol, payload)?,
    };
    Ok(shifted(inner, at))
}

/// As [`decapsulate`], for a packet that begins with its GRE header.
///
/// # Errors
/// As [`decapsulate`].
pub fn decapsulate_gre(packet: &[u8]) -> Result<Range<usize>, Malformed> {
    let (ether_type, len) = gre::read(packet).ok_or(Malformed::NotIp)?;
    let protocol = match ether_type {
        ethernet::IPV4 => protocol::IPIP,
        ethernet::IPV6 => protocol::IPV6,
        _ => return Err(Malformed::NotIp),
    };
    Ok(shifted(
        inner_datagram(protocol, packet.get(len..).unwrap_or(&[]))?,
        len,
    ))
}

/// As [`decapsulate`], for the payload of a UDP datagram to the GUE port.
///
/// # Errors
/// As [`decapsulate`].
pub fn decapsulate_gue(payload: &[u8]) -> Result<Range<usize>, Malformed> {
    let (protocol, len) = gue::read(payload).ok_or(Malformed::NotIp)?;
    Ok(shifted(
        inner_datagram(protocol, payload.get(len..).unwrap_or(&[]))?,
        len,
    ))
}

/// Carries what routers marked on the outer header over to the inner one (RFC 6040, 4.2, as Linux):
/// "congestion experienced" outside is set inside. Returns whether the datagram may be delivered:
/// false, when it was marked and its sender does not know ECN, which asks for it to be dropped.
#[must_use]
pub fn mark_congestion(outer_tos: u8, datagram: &mut [u8]) -> bool {
    const CONGESTION_EXPERIENCED: u8 = 3;
    if outer_tos & CONGESTION_EXPERIENCED != CONGESTION_EXPERIENCED {
        return true;
    }
    let version = datagram.first().map_or(0, |octet| octet >> 4);
    if let (4, Some(mut header)) = (version, Ipv4::of_mut(datagram)) {
        let (version_ihl, old) = (header.version_ihl(), header.tos());
        let word = |tos| u16::from_be_bytes([version_ihl, tos]);
        let new = old | CONGESTION_EXPERIENCED;
        let checksum = Change::NONE
            .u16(word(old), word(new))
            .apply(header.checksum());
        if old & CONGESTION_EXPERIENCED != 0 {
            header.set_tos(new);
            header.set_checksum(checksum);
        }
        return old & CONGESTION_EXPERIENCED != 0;
    }
    if let (6, Some(mut header)) = (version, Ipv6::of_mut(datagram)) {
        let old = header.traffic_class();
        if old & CONGESTION_EXPERIENCED != 0 {
            let marked = header.version_class_flow() | u32::from(CONGESTION_EXPERIENCED) << 20;
            header.set_version_class_flow(marked);
        }
        return old & CONGESTION_EXPERIENCED != 0;
    }
    false
}

/// Checks the inner datagram that `protocol` announces, and returns its range.
fn inner_datagram(protocol: u8, bytes: &[u8]) -> Result<Range<usize>, Malformed> {
    let family = match protocol {
        protocol::IPIP => Family::V4,
        protocol::IPV6 => Family::V6,
        _ => return Err(Malformed::NotIp),
    };
    let inner = Headers::parse_datagram(bytes)?;
    if inner.family != family {
        return Err(Malformed::BadVersion);
    }
    Ok(0..inner.end)
}

/// The range, `by` octets further.
fn shifted(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}
