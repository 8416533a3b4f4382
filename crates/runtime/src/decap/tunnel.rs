//! From a tunnelled datagram to the inner one: IPIP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784, RFC 2890) and
//! GUE (draft-ietf-intarea-gue, as Linux `fou` speaks it).
//!
//! Pure: bytes in, bytes or a counted reason out. Never panics on any bytes.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;

use packet::checksum::{self, Sum};
use packet::{Headers, Packet, Transport};

/// IANA protocol numbers of what a tunnel carries, and the EtherTypes that GRE names them by.
pub const IPV4_IN_IP: u8 = 4;
/// IPv6 in IP.
pub const IPV6_IN_IP: u8 = 41;
/// GRE.
pub const GRE: u8 = 47;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// GRE flags (RFC 2784, RFC 2890).
const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_VERSION: u16 = 0x0007;

/// GUE flag "private data follows" and the private flag of remote checksum offload (linux/gue.h).
const GUE_PRIVATE: u16 = 0x0001;
const GUE_REMOTE_CHECKSUM: u32 = 0x8000_0000;

/// How a datagram came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// By a raw IPv4 socket: the outer IPv4 header stands in front.
    Ipv4,
    /// By a raw IPv6 socket of this protocol: the outer header is gone.
    Ipv6(u8),
    /// By a UDP socket: the GUE header stands in front.
    Gue,
}

/// Why a datagram was not handed to the host. Each is a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The outer or tunnel header is cut off, has an unknown version or names an unknown protocol.
    BadTunnel,
    /// The checksum of the tunnel header is wrong.
    BadChecksum,
    /// The inner datagram is not a readable IP datagram.
    BadInner,
    /// The inner destination is not one of the VIPs given on the command line.
    NotVip,
}

impl Refusal {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; 4] = [
        Self::BadTunnel,
        Self::BadChecksum,
        Self::BadInner,
        Self::NotVip,
    ];

    /// Text for the summary on exit.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::BadTunnel => "unreadable tunnel header",
            Self::BadChecksum => "bad tunnel checksum",
            Self::BadInner => "unreadable inner datagram",
            Self::NotVip => "inner destination is not a given VIP",
        }
    }
}

/// Finds the inner datagram in `datagram`, checks that it is for one of `vips`, and completes its checksum where
/// receive offload left it half done. Returns where the inner datagram lies and its destination.
///
/// # Errors
/// [`Refusal`] says why the datagram must not reach the host.
pub fn open(
    datagram: &mut [u8],
    outer: Outer,
    vips: &HashSet<IpAddr>,
) -> Result<(Range<usize>, IpAddr), Refusal> {
    let (protocol, start) = match outer {
        Outer::Ipv4 => strip_ipv4(datagram)?,
        Outer::Ipv6(protocol) => (protocol, 0),
        Outer::Gue => strip_gue(datagram, 0)?,
    };
    let (protocol, start) = match protocol {
        GRE => strip_gre(datagram, start)?,
        other => (other, start),
    };
    let version = match protocol {
        IPV4_IN_IP => 4,
        IPV6_IN_IP => 6,
        _ => return Err(Refusal::BadTunnel),
    };
    if datagram.get(start).is_none_or(|octet| octet >> 4 != version) {
        return Err(Refusal::BadInner);
    }
    let whole = start..datagram.len();
    let mut inner = Packet::new(datagram, whole, 0);
    let headers = Headers::parse(&inner).map_err(|_| Refusal::BadInner)?;
    if !vips.contains(&headers.destination) {
        return Err(Refusal::NotVip);
    }
    complete_checksum(&mut inner, &headers);
    Ok((start..start + headers.end, headers.destination))
}

/// The protocol that the outer IPv4 header names, and the offset behind that header.
fn strip_ipv4(datagram: &[u8]) -> Result<(u8, usize), Refusal> {
    let header = datagram.first_chunk::<20>().ok_or(Refusal::BadTunnel)?;
    let len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || len < 20 || datagram.len() < len {
        return Err(Refusal::BadTunnel);
    }
    Ok((header[9], len))
}

/// The inner protocol and the offset behind the GRE header at `start`.
fn strip_gre(datagram: &[u8], start: usize) -> Result<(u8, usize), Refusal> {
    let octets = datagram.get(start..).unwrap_or(&[]);
    let &[a, b, c, d, ..] = octets else {
        return Err(Refusal::BadTunnel);
    };
    let flags = u16::from_be_bytes([a, b]);
    if flags & (GRE_ROUTING | GRE_VERSION) != 0 {
        return Err(Refusal::BadTunnel);
    }
    let optional = [GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE];
    let len = 4 + 4 * optional.iter().filter(|&&flag| flags & flag != 0).count();
    if octets.len() < len {
        return Err(Refusal::BadTunnel);
    }
    if flags & GRE_CHECKSUM != 0 && Sum::of(octets).fold() != 0xffff {
        return Err(Refusal::BadChecksum);
    }
    let protocol = match u16::from_be_bytes([c, d]) {
        ETHERTYPE_IPV4 => IPV4_IN_IP,
        ETHERTYPE_IPV6 => IPV6_IN_IP,
        _ => return Err(Refusal::BadTunnel),
    };
    Ok((protocol, start + len))
}

/// The inner protocol and the offset behind the GUE header at `start`. Version 1 has no header: IP lies there at
/// once. Remote checksum offload is undone in place.
fn strip_gue(datagram: &mut [u8], start: usize) -> Result<(u8, usize), Refusal> {
    let octets = datagram.get_mut(start..).unwrap_or(&mut []);
    let &mut [first, protocol, c, d, ..] = octets else {
        return Err(Refusal::BadTunnel);
    };
    match first >> 4 {
        4 => return Ok((IPV4_IN_IP, start)),
        6 => return Ok((IPV6_IN_IP, start)),
        // Version 0, not a control message (C bit 0x20).
        0 | 1 => {}
        _ => return Err(Refusal::BadTunnel),
    }
    let len = 4 + 4 * usize::from(first & 0x1f);
    let (header, payload) = octets.split_at_mut_checked(len).ok_or(Refusal::BadTunnel)?;
    if u16::from_be_bytes([c, d]) & GUE_PRIVATE != 0 {
        undo_remote_checksum(header, payload)?;
    }
    Ok((protocol, start + len))
}

/// Remote checksum offload: the sender left the transport checksum to us and says where it begins and where it is
/// to stand, in octets from the inner header (two 16-bit words behind the private flags).
fn undo_remote_checksum(header: &[u8], payload: &mut [u8]) -> Result<(), Refusal> {
    let private = header.get(4..).and_then(|rest| rest.first_chunk::<4>());
    let private = private.ok_or(Refusal::BadTunnel)?;
    if u32::from_be_bytes(*private) & GUE_REMOTE_CHECKSUM == 0 {
        return Ok(());
    }
    let option = header.get(8..).and_then(|rest| rest.first_chunk::<4>());
    let &[a, b, c, d] = option.ok_or(Refusal::BadTunnel)?;
    let begin = usize::from(u16::from_be_bytes([a, b]));
    let field = usize::from(u16::from_be_bytes([c, d]));
    let covered = payload.get(begin..).ok_or(Refusal::BadTunnel)?;
    let value = Sum::of(covered).finish().to_be_bytes();
    let place = payload.get_mut(field..).and_then(|rest| rest.first_chunk_mut::<2>());
    *place.ok_or(Refusal::BadTunnel)? = value;
    Ok(())
}

/// Receive offload of the host (GRO) joins tunnelled TCP segments to one datagram whose checksum field holds only
/// the pseudo-header's sum: a raw socket hands it over like that, and the host would drop it.
fn complete_checksum(inner: &mut Packet<'_>, headers: &Headers) {
    let (protocol, field) = match headers.transport {
        Transport::Tcp { .. } => (6, 16),
        Transport::Udp { checksum, .. } if checksum != 0 => (17, 6),
        _ => return,
    };
    if headers.fragment.is_some() {
        return;
    }
    let (source, destination) = (headers.source, headers.destination);
    let range = headers.transport_offset..headers.end;
    let Some(transport) = inner.bytes_mut().get_mut(range) else {
        return;
    };
    let len = transport.len();
    let Some(&[a, b]) = transport.get(field..).and_then(|rest| rest.first_chunk::<2>()) else {
        return;
    };
    let partial = Sum::ZERO.pseudo_header(source, destination, protocol, len);
    if u16::from_be_bytes([a, b]) != partial.fold()
        || checksum::transport_is_valid(source, destination, protocol, transport)
    {
        return;
    }
    let value = Sum::of(transport).finish().to_be_bytes();
    if let Some(place) = transport.get_mut(field..).and_then(|rest| rest.first_chunk_mut()) {
        *place = value;
    }
}
