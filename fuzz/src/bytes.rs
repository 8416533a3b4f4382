//! Datagrams with right lengths and checksums, byte by byte: nothing of the packet crate builds them, as it is
//! what they test.

use std::net::IpAddr;

/// TCP, UDP, SCTP, ICMP, ICMPv6.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

/// Fields of the IP header that are not the addresses'.
#[derive(Clone, Debug, Default)]
pub struct Ip {
    pub ttl: u8,
    pub tos: u8,
    pub id: u8,
    pub dont_fragment: bool,
    /// IPv4 options or IPv6 extension headers by number; 0 = none.
    pub options: u8,
    /// Offset in octets and "more fragments".
    pub fragment: Option<(u16, bool)>,
}

/// A TCP segment, UDP datagram, SCTP packet or ICMP message with the right checksum.
///
/// `ports` are those of TCP, UDP and SCTP; `kind` is TCP's flags, SCTP's first chunk, ICMP's type.
#[must_use]
pub fn transport(
    protocol: u8,
    (source, destination): (IpAddr, IpAddr),
    (from, to): (u16, u16),
    kind: u8,
    data: &[u8],
) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let (mut bytes, at) = match protocol {
        TCP => {
            let rest = [0, 0, 3, 232, 0, 0, 0, 0, 0x50, kind, 32, 0, 0, 0, 0, 0];
            ([&ports[..], &rest, data].concat(), 16)
        }
        UDP => {
            let len = u16::try_from(8 + data.len()).unwrap_or(0).to_be_bytes();
            ([&ports[..], &len, &[0, 0], data].concat(), 6)
        }
        SCTP => {
            let mut bytes = [&ports[..], &[0; 8], &[kind % 16, 0, 0, 4]].concat();
            let sum = packet::sctp::checksum_of(&bytes).unwrap_or_default();
            bytes[8..12].copy_from_slice(&sum);
            return bytes;
        }
        ICMP | ICMPV6 => return icmp(protocol, (source, destination), (kind, 0), 1280, data),
        _ => return [&[0, 0, 1, 0, 0, 0, 0, 1][..], data].concat(),
    };
    let sum = finish(transport_sum(protocol, source, destination, &bytes));
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// An ICMP message of this type and code with the right checksum; `last` stands in the last octets of its header.
#[must_use]
pub fn icmp(
    protocol: u8,
    (source, destination): (IpAddr, IpAddr),
    (kind, code): (u8, u8),
    last: u16,
    data: &[u8],
) -> Vec<u8> {
    let [high, low] = last.to_be_bytes();
    let mut bytes = [&[kind, code, 0, 0, 0, 0, high, low][..], data].concat();
    let sum = finish(transport_sum(protocol, source, destination, &bytes));
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Sum over a transport header, its payload and what the protocol has of a pseudo-header.
fn transport_sum(protocol: u8, source: IpAddr, destination: IpAddr, bytes: &[u8]) -> u32 {
    let pseudo = if protocol == ICMP {
        0
    } else {
        pseudo_sum(protocol, source, destination, bytes.len())
    };
    pseudo + sum(bytes)
}

/// What the field of an unfinished checksum holds.
#[must_use]
pub fn partial(protocol: u8, source: IpAddr, destination: IpAddr, len: usize) -> u16 {
    !finish(pseudo_sum(protocol, source, destination, len))
}

fn pseudo_sum(protocol: u8, source: IpAddr, destination: IpAddr, len: usize) -> u32 {
    let len = u32::try_from(len).unwrap_or(0);
    let addresses = [octets(source), octets(destination)].concat();
    sum(&addresses) + u32::from(protocol) + (len >> 16) + (len & 0xffff)
}

/// An IP datagram with a right header; without a payload length when it is too long for the field (BIG TCP).
#[must_use]
pub fn datagram(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ip: &Ip,
    payload: &[u8],
) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => v4(source, destination, protocol, ip, payload),
        (IpAddr::V6(_), IpAddr::V6(_)) => v6(source, destination, protocol, ip, payload),
        _ => Vec::new(),
    }
}

fn v4(source: IpAddr, destination: IpAddr, protocol: u8, ip: &Ip, payload: &[u8]) -> Vec<u8> {
    let options: &[u8] = match ip.options {
        1 => &[1, 1, 1, 0],
        2 => &[7, 7, 4, 0, 0, 0, 0, 0],
        3 => &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        4 => &[131, 7, 4, 10, 2, 0, 11, 0],
        5 => &[7, 200, 9, 0],
        6 => &[148, 4, 0, 0],
        _ => &[],
    };
    let header_len = 20 + options.len();
    let len = u16::try_from(header_len + payload.len()).unwrap_or(0);
    let (offset, more) = ip.fragment.unwrap_or((0, false));
    let field = offset / 8 | u16::from(more) << 13 | u16::from(ip.dont_fragment) << 14;
    let first = 0x40 | u8::try_from(header_len / 4).unwrap_or(0);
    let mut header = vec![first, ip.tos];
    header.extend(len.to_be_bytes());
    header.extend([0, ip.id]);
    header.extend(field.to_be_bytes());
    header.extend([ip.ttl, protocol, 0, 0]);
    header.extend(octets(source));
    header.extend(octets(destination));
    header.extend(options);
    let checksum = finish(sum(&header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&header, payload].concat()
}

fn v6(source: IpAddr, destination: IpAddr, protocol: u8, ip: &Ip, payload: &[u8]) -> Vec<u8> {
    let (mut next, mut chain) = (protocol, Vec::new());
    if let Some((offset, more)) = ip.fragment {
        let [high, low] = (offset | u16::from(more)).to_be_bytes();
        chain = [&[next, 0, high, low, 0, 0, 0, ip.id][..], &chain].concat();
        next = 44;
    }
    // Hop-by-hop, destination and routing options; the last is of a type that nobody knows.
    let kind = match ip.options {
        1 => Some(0),
        2 => Some(60),
        3 => Some(43),
        _ => None,
    };
    if let Some(kind) = kind {
        chain = [&[next, 0, 1, 4, 0, 0, 0, 0][..], &chain].concat();
        next = kind;
    }
    let len = u16::try_from(chain.len() + payload.len()).unwrap_or(0);
    let mut header = vec![0x60 | ip.tos >> 4, ip.tos << 4, 0, 0];
    header.extend(len.to_be_bytes());
    header.extend([next, ip.ttl]);
    header.extend(octets(source));
    header.extend(octets(destination));
    [&header[..], &chain, payload].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    words.map(word).sum()
}

fn finish(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}
