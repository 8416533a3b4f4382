//! The pass behind [`Headers::parse`]: link header, IP header, extension headers, upper-layer header.
//!
//! Its steps are inlined, so that the result is built in place: copied from step to step, it costs as
//! much as the reading.

use core::net::IpAddr;

use crate::checksum::header_is_valid;
use crate::ethernet;
use crate::headers::{Family, Fragment, Headers, Malformed, Transport};
use crate::icmp::Icmp;
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, FragmentHeader, Ipv6, MAX_EXTENSIONS};
use crate::options::Options;
use crate::protocol;
use crate::sctp::{self, Sctp};
use crate::tcp::Tcp;
use crate::udp::Udp;
use crate::view::u16_at;

/// Reads `frame`, whose network header begins at `link_len`. `super_frame` allows an IP length of 0,
/// which Linux writes where a super-frame is too long for the field (BIG TCP).
#[inline]
pub(crate) fn frame(
    frame: &[u8],
    link_len: usize,
    super_frame: bool,
) -> Result<Headers, Malformed> {
    let network = frame.get(link_len..).ok_or(Malformed::LinkTruncated)?;
    let version = network.first().ok_or(Malformed::NetworkTruncated)? >> 4;
    match family(frame, link_len, version)? {
        Family::V4 => datagram_v4(network, link_len, super_frame),
        Family::V6 => datagram_v6(network, link_len, super_frame),
    }
}

/// The family that the EtherType (the last two octets of the link header) says, which the version
/// must agree with; without a link header the version alone.
#[inline(always)]
fn family(frame: &[u8], link_len: usize, version: u8) -> Result<Family, Malformed> {
    let Some(at) = link_len.checked_sub(2) else {
        return match version {
            4 => Ok(Family::V4),
            6 => Ok(Family::V6),
            _ => Err(Malformed::NotIp),
        };
    };
    match (u16_at(frame, at).ok_or(Malformed::LinkTruncated)?, version) {
        (ethernet::IPV4, 4) => Ok(Family::V4),
        (ethernet::IPV6, 6) => Ok(Family::V6),
        (ethernet::IPV4 | ethernet::IPV6, _) => Err(Malformed::BadVersion),
        _ => Err(Malformed::NotIp),
    }
}

/// Reads an IPv4 datagram that begins at `at` of the frame.
#[inline(always)]
fn datagram_v4(network: &[u8], at: usize, super_frame: bool) -> Result<Headers, Malformed> {
    let header = Ipv4::of(network).ok_or(Malformed::NetworkTruncated)?;
    let header_len = header.header_len();
    if header_len < ipv4::LEN {
        return Err(Malformed::NetworkTruncated);
    }
    let whole = network
        .get(..header_len)
        .ok_or(Malformed::NetworkTruncated)?;
    let total = match usize::from(header.total_len()) {
        0 if super_frame => network.len(),
        total => total,
    };
    if total < header_len {
        return Err(Malformed::BadLength);
    }
    let payload = network.get(header_len..total).ok_or(Malformed::BadLength)?;
    if !header_is_valid(whole) {
        return Err(Malformed::BadHeaderChecksum);
    }
    let fragmentation = header.fragmentation();
    let fragment =
        (fragmentation & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) != 0).then(|| Fragment {
            id: u32::from(header.id()),
            offset: (fragmentation & ipv4::OFFSET_MASK) << 3,
            more: fragmentation & ipv4::MORE_FRAGMENTS != 0,
        });
    let protocol = header.protocol();
    Ok(Headers {
        family: Family::V4,
        source: IpAddr::V4(header.source()),
        destination: IpAddr::V4(header.destination()),
        protocol,
        tos: header.tos(),
        ttl: header.ttl(),
        dont_fragment: header.dont_fragment(),
        id: header.id(),
        network_offset: at,
        transport_offset: at + header_len,
        end: at + total,
        has_options: header_len > ipv4::LEN,
        options: Options::default(),
        fragment,
        transport: transport(Family::V4, protocol, payload, fragment)?,
    })
}

/// Reads an IPv6 datagram that begins at `at` of the frame.
#[inline(always)]
fn datagram_v6(network: &[u8], at: usize, super_frame: bool) -> Result<Headers, Malformed> {
    let header = Ipv6::of(network).ok_or(Malformed::NetworkTruncated)?;
    let total = match usize::from(header.payload_len()) {
        0 if super_frame => network.len(),
        len => ipv6::LEN + len,
    };
    let payload = network.get(ipv6::LEN..total).ok_or(Malformed::BadLength)?;
    let chain = chain(header.next_header(), payload)?;
    let fragment = chain.fragment;
    let transport = match payload.get(chain.len..) {
        Some(upper) if chain.whole => transport(Family::V6, chain.protocol, upper, fragment)?,
        _ => Transport::Fragment,
    };
    Ok(Headers {
        family: Family::V6,
        source: IpAddr::V6(header.source()),
        destination: IpAddr::V6(header.destination()),
        protocol: chain.protocol,
        tos: header.traffic_class(),
        ttl: header.hop_limit(),
        dont_fragment: true,
        id: 0,
        network_offset: at,
        transport_offset: at + ipv6::LEN + chain.len,
        end: at + total,
        has_options: chain.options,
        options: Options::default(),
        fragment,
        transport,
    })
}

/// Where a chain of IPv6 extension headers leads.
pub(crate) struct Chain {
    /// Protocol behind the chain.
    pub(crate) protocol: u8,
    /// Octets of the chain.
    pub(crate) len: usize,
    /// Offset of the octet that names `protocol`, from the start of the fixed header.
    pub(crate) named_at: usize,
    /// Whether another header than the fragment header is in the chain.
    pub(crate) options: bool,
    /// The fragment header, unless it says "all of it" (RFC 6946).
    pub(crate) fragment: Option<Fragment>,
    /// Whether the chain was walked to its end; it is not where it continues in another fragment.
    pub(crate) whole: bool,
}

/// Walks the extension headers at the start of `payload`, the first one of kind `protocol`.
pub(crate) fn chain(protocol: u8, payload: &[u8]) -> Result<Chain, Malformed> {
    let mut chain = Chain {
        protocol,
        len: 0,
        named_at: 6,
        options: false,
        fragment: None,
        whole: true,
    };
    for _ in 0..MAX_EXTENSIONS {
        if !ipv6::is_extension(chain.protocol) {
            return Ok(chain);
        }
        let rest = payload.get(chain.len..).unwrap_or(&[]);
        let extension = match ipv6::extension(chain.protocol, rest) {
            Ok(extension) => extension,
            Err(_) if chain.fragment.is_some() => {
                chain.whole = false;
                return Ok(chain);
            }
            Err(malformed) => return Err(malformed),
        };
        if chain.protocol == protocol::FRAGMENT {
            let header = FragmentHeader::of(rest).ok_or(Malformed::ExtensionTruncated)?;
            let (offset, more) = (header.offset(), header.more());
            if offset != 0 || more {
                chain.fragment = Some(Fragment {
                    id: header.id(),
                    offset,
                    more,
                });
            }
        } else {
            chain.options = true;
        }
        chain.protocol = extension.next_header;
        chain.named_at = ipv6::LEN + chain.len;
        chain.len += extension.len;
        if chain.fragment.is_some_and(|fragment| fragment.offset != 0) {
            // What follows is a piece from the middle, not a header.
            return Ok(chain);
        }
    }
    Err(Malformed::ExtensionTruncated)
}

/// Reads the upper-layer header at the start of `payload`. The first fragment of a datagram may end
/// inside that header: it is legal, and reads as [`Transport::Fragment`].
#[inline(always)]
fn transport(
    family: Family,
    protocol: u8,
    payload: &[u8],
    fragment: Option<Fragment>,
) -> Result<Transport, Malformed> {
    if fragment.is_some_and(|fragment| fragment.offset != 0) {
        return Ok(Transport::Fragment);
    }
    let transport = match (protocol, family) {
        (protocol::TCP, _) => tcp(payload),
        (protocol::UDP, _) => udp(payload),
        (protocol::SCTP, _) => sctp(payload),
        (protocol::ICMP, Family::V4) | (protocol::ICMPV6, Family::V6) => icmp(payload),
        _ => Some(Transport::Other),
    };
    match (transport, fragment) {
        (Some(transport), _) => Ok(transport),
        (None, Some(_)) => Ok(Transport::Fragment),
        (None, None) if matches!(protocol, protocol::ICMP | protocol::ICMPV6) => {
            Err(Malformed::TransportTruncated)
        }
        (None, None) => Ok(Transport::Truncated {
            ports: u16_at(payload, 0).zip(u16_at(payload, 2)),
        }),
    }
}

#[inline(always)]
fn tcp(payload: &[u8]) -> Option<Transport> {
    let header = Tcp::of(payload)?;
    Some(Transport::Tcp {
        source: header.source(),
        destination: header.destination(),
        sequence: header.sequence(),
        acknowledgment: header.acknowledgment(),
        flags: header.flags(),
        header_len: header.header_len(),
    })
}

#[inline(always)]
fn udp(payload: &[u8]) -> Option<Transport> {
    let header = Udp::of(payload)?;
    Some(Transport::Udp {
        source: header.source(),
        destination: header.destination(),
        checksum: header.checksum(),
    })
}

#[inline(always)]
fn sctp(payload: &[u8]) -> Option<Transport> {
    let header = Sctp::of(payload)?;
    let (chunk, second_chunk) = sctp::first_chunks(payload.get(sctp::LEN..)?);
    Some(Transport::Sctp {
        source: header.source(),
        destination: header.destination(),
        chunk,
        second_chunk,
    })
}

#[inline(always)]
fn icmp(payload: &[u8]) -> Option<Transport> {
    let header = Icmp::of(payload)?;
    Some(Transport::Icmp {
        kind: header.kind(),
        code: header.code(),
    })
}
