//! The packet quoted inside an ICMP error: reading as much of it as was sent, and translating it
//! together with the error (BEHAVIOURS 34).

use core::net::IpAddr;

use crate::headers::{Family, Headers, Malformed, Transport};
use crate::icmp_error::fill_checksum;
use crate::ipv4::{self, Ipv4};
use crate::ipv6::{self, Ipv6};
use crate::parse::chain;
use crate::rewrite::Translation;
use crate::udp::Udp;
use crate::view::{put, u16_at};
use crate::{Packet, ethernet, gre, gue, icmp, icmpv6, protocol, udp};

/// A quoted packet. Only its IP header and four octets behind it need to have been sent; neither its
/// length nor its checksum is looked at. Offsets count octets from the frame's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Address family.
    pub family: Family,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper-layer protocol number, behind any IPv6 extension headers.
    pub protocol: u8,
    /// Source and destination port of TCP, UDP and SCTP; `None` for other protocols, for later
    /// fragments, and where they were not sent. What stands in a later IPv4 fragment of TCP or SCTP in their
    /// place is taken for them, as by the kernel's director.
    pub ports: Option<(u16, u16)>,
    /// Offset of the quoted IP header.
    pub network_offset: usize,
    /// Offset of the quoted upper-layer header.
    pub transport_offset: usize,
    /// Offset just behind what was sent of the packet.
    pub end: usize,
}

impl Quoted {
    /// Reads the packet quoted in the ICMP or ICMPv6 error `packet`; `None` when it is no error, is
    /// a fragment, or quotes less than an IP header.
    #[must_use]
    pub fn of(packet: &Packet<'_>, headers: &Headers) -> Option<Self> {
        let is_error = match (headers.transport, headers.family) {
            (Transport::Icmp { kind, .. }, Family::V4) => icmp::is_error(kind),
            (Transport::Icmp { kind, .. }, Family::V6) => icmpv6::is_error(kind),
            _ => false,
        };
        if !is_error || headers.fragment.is_some() {
            return None;
        }
        let at = headers.transport_offset + icmp::LEN;
        Self::at(packet.bytes().get(..headers.end)?, at, headers.family)
    }

    /// Where the quoted packet is a tunnel's (IPIP, GRE, GUE): the packet inside it, which is the one
    /// that a client sent. `None` when it is none, or not enough of it was sent.
    #[must_use]
    pub fn tunnelled(&self, packet: &Packet<'_>) -> Option<Self> {
        let frame = packet.bytes().get(..self.end)?;
        let rest = frame.get(self.transport_offset..)?;
        let (protocol, len) = match self.protocol {
            protocol::GRE => match gre::peek(rest)? {
                (ethernet::IPV4, len) => (protocol::IPIP, len),
                (ethernet::IPV6, len) => (protocol::IPV6, len),
                _ => return None,
            },
            protocol::UDP => {
                let (protocol, len) = gue::read(rest.get(udp::LEN..)?)?;
                (protocol, udp::LEN + len)
            }
            protocol => (protocol, 0),
        };
        let family = match protocol {
            protocol::IPIP => Family::V4,
            protocol::IPV6 => Family::V6,
            _ => return None,
        };
        Self::at(frame, self.transport_offset + len, family)
    }

    /// Destination port of a quoted UDP header, to tell GUE from other UDP.
    #[must_use]
    pub fn udp_destination(&self, packet: &Packet<'_>) -> Option<u16> {
        let rest = packet.bytes().get(self.transport_offset..self.end)?;
        (self.protocol == protocol::UDP)
            .then(|| Udp::of(rest))?
            .map(|udp| udp.destination())
    }

    /// Reads a whole packet with these headers as if an error quoted it.
    #[must_use]
    pub fn whole(packet: &Packet<'_>, headers: &Headers) -> Option<Self> {
        let frame = packet.bytes().get(..headers.end)?;
        Self::at(frame, headers.network_offset, headers.family)
    }

    /// Reads the packet of `family` at `at` of the frame, which ends with what was quoted.
    fn at(frame: &[u8], at: usize, family: Family) -> Option<Self> {
        let bytes = frame.get(at..)?;
        let (source, destination, protocol, len, later) = match family {
            Family::V4 => {
                let header = Ipv4::of(bytes)?;
                let len = header.header_len();
                if header.version_ihl() >> 4 != 4 || len < ipv4::LEN || len > bytes.len() {
                    return None;
                }
                let protocol = header.protocol();
                let later =
                    protocol == protocol::UDP && header.fragmentation() & ipv4::OFFSET_MASK != 0;
                let (source, destination) = (header.source(), header.destination());
                (source.into(), destination.into(), protocol, len, later)
            }
            Family::V6 => {
                let header = Ipv6::of(bytes)?;
                if header.version_class_flow() >> 28 != 6 {
                    return None;
                }
                let chain = chain(header.next_header(), bytes.get(ipv6::LEN..)?).ok()?;
                let later = chain.fragment.is_some_and(|fragment| fragment.offset != 0);
                let (source, destination) = (header.source(), header.destination());
                (
                    source.into(),
                    destination.into(),
                    chain.protocol,
                    ipv6::LEN + chain.len,
                    later,
                )
            }
        };
        let ports = match protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP if !later => {
                u16_at(bytes, len).zip(u16_at(bytes, len + 2))
            }
            _ => None,
        };
        Some(Self {
            family,
            source,
            destination,
            protocol,
            ports,
            network_offset: at,
            transport_offset: at + len,
            end: frame.len(),
        })
    }
}

/// What NAT changes in an ICMP error: its own addresses, and addresses and ports of the packet that
/// it quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorTranslation {
    /// New source of the error; `None` keeps it.
    pub source: Option<IpAddr>,
    /// New destination of the error; `None` keeps it.
    pub destination: Option<IpAddr>,
    /// What replaces source and destination in the quoted packet.
    pub quoted: Translation,
}

/// Translates an ICMP error with the packet it quotes.
///
/// Both IP header checksums and the ICMP checksum are computed anew (so verify the latter first:
/// [`crate::checksum::is_valid`]); the quoted packet's own TCP, UDP or SCTP checksum stays as it was
/// sent. All of that is what the kernel does (BEHAVIOURS 34). `headers` and `quoted` must be those of
/// this packet; they are out of date afterwards.
///
/// # Errors
/// [`Malformed::BadVersion`] when an address is of another family than what it replaces,
/// [`Malformed::TransportTruncated`] when `headers` or `quoted` are not those of this packet.
pub fn translate_error(
    packet: &mut Packet<'_>,
    headers: &Headers,
    quoted: &Quoted,
    translation: &ErrorTranslation,
) -> Result<(), Malformed> {
    let source = translation.source.unwrap_or(headers.source);
    let destination = translation.destination.unwrap_or(headers.destination);
    let inner = &translation.quoted;
    let (source_port, destination_port) = quoted.ports.unwrap_or((0, 0));
    let inner_source = inner.source.unwrap_or((quoted.source, source_port));
    let inner_destination = inner
        .destination
        .unwrap_or((quoted.destination, destination_port));
    let is = |family: Family, address: IpAddr| address.is_ipv4() == (family == Family::V4);
    let fits = is(headers.family, source)
        && is(headers.family, destination)
        && is(quoted.family, inner_source.0)
        && is(quoted.family, inner_destination.0);
    if !fits {
        return Err(Malformed::BadVersion);
    }
    let frame = packet
        .bytes_mut()
        .get_mut(..headers.end)
        .ok_or(Malformed::TransportTruncated)?;
    let rewrite = |frame: &mut [u8]| -> Option<()> {
        put_addresses(
            frame.get_mut(headers.network_offset..)?,
            source,
            destination,
        )?;
        let quoted_header = frame.get_mut(quoted.network_offset..)?;
        put_addresses(quoted_header, inner_source.0, inner_destination.0)?;
        if quoted.ports.is_some() {
            let [a, b] = inner_source.1.to_be_bytes();
            let [c, d] = inner_destination.1.to_be_bytes();
            put(frame, quoted.transport_offset, [a, b, c, d])?;
        }
        fill_checksum(
            frame.get_mut(headers.transport_offset..)?,
            source,
            destination,
        )
    };
    rewrite(frame).ok_or(Malformed::TransportTruncated)?;
    packet.offload.partial_checksum = None;
    Ok(())
}

/// Writes the addresses of the IP header at the start of `bytes`, and its checksum anew.
fn put_addresses(bytes: &mut [u8], source: IpAddr, destination: IpAddr) -> Option<()> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4::of_mut(bytes)?;
            header.set_source(source);
            header.set_destination(destination);
            let len = header.header_len();
            ipv4::fill_checksum(bytes.get_mut(..len)?);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = Ipv6::of_mut(bytes)?;
            header.set_source(source);
            header.set_destination(destination);
        }
        _ => return None,
    }
    Some(())
}
