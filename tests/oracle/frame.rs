//! Frames made from scratch, byte by byte: headers, checksums, fragments.

use std::net::IpAddr;

use crate::decode::sum;
use crate::plan::{Endpoint, Outer};

/// TCP's protocol number.
pub(crate) const TCP: u8 = 6;
/// UDP's.
pub(crate) const UDP: u8 = 17;
/// SCTP's.
pub(crate) const SCTP: u8 = 132;

/// Octets of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The low sixteen bits.
pub(crate) fn word(number: usize) -> u16 {
    u16::try_from(number & 0xffff).unwrap_or(0)
}

/// Checksum over the pseudo-header and the segment.
fn transport_sum(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let pseudo = [
        &octets(from)[..],
        &octets(to),
        &[0, protocol],
        &word(segment.len()).to_be_bytes(),
    ]
    .concat();
    !sum(&[&pseudo, segment])
}

/// Writes a checksum at an offset.
fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Numbers of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    /// Sequence number.
    pub(crate) sequence: u32,
    /// Acknowledgement number.
    pub(crate) acknowledgement: u32,
}

/// A TCP segment without options.
pub(crate) fn tcp(
    from: Endpoint,
    to: Endpoint,
    flags: u8,
    numbers: Numbers,
    data: &[u8],
) -> Vec<u8> {
    let mut segment = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    segment.extend(numbers.sequence.to_be_bytes());
    segment.extend(numbers.acknowledgement.to_be_bytes());
    segment.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    segment.extend(data);
    let checksum = transport_sum(from.0, to.0, TCP, &segment);
    put(&mut segment, 16, checksum);
    segment
}

/// A UDP datagram; `checksum` in place of the right one.
pub(crate) fn udp(from: Endpoint, to: Endpoint, data: &[u8], checksum: Option<u16>) -> Vec<u8> {
    let mut segment = [
        from.1.to_be_bytes(),
        to.1.to_be_bytes(),
        word(data.len() + 8).to_be_bytes(),
        [0, 0],
    ]
    .concat();
    segment.extend(data);
    let right = transport_sum(from.0, to.0, UDP, &segment);
    let right = if right == 0 { 0xffff } else { right };
    put(&mut segment, 6, checksum.unwrap_or(right));
    segment
}

/// An SCTP packet of one chunk.
pub(crate) fn sctp(from: Endpoint, to: Endpoint, chunk: &[u8]) -> Vec<u8> {
    let mut segment = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    segment.extend([0; 8]);
    segment.extend(chunk);
    if let Some(checksum) = packet::sctp::checksum_of(&segment) {
        segment[8..12].copy_from_slice(&checksum);
    }
    segment
}

/// An ICMP or ICMPv6 message, by the addresses' family.
pub(crate) fn icmp(
    from: IpAddr,
    to: IpAddr,
    kind: (u8, u8),
    second: u32,
    data: &[u8],
    bad: bool,
) -> (u8, Vec<u8>) {
    let mut message = vec![kind.0, kind.1, 0, 0];
    message.extend(second.to_be_bytes());
    message.extend(data);
    let (protocol, checksum) = match from {
        IpAddr::V4(_) => (1, !sum(&[&message])),
        IpAddr::V6(_) => (58, transport_sum(from, to, 58, &message)),
    };
    put(&mut message, 2, checksum ^ u16::from(bad));
    (protocol, message)
}

/// IP packets around a payload: one, or its fragments of `cut` octets each.
pub(crate) fn packets(
    from: IpAddr,
    to: IpAddr,
    outer: &Outer,
    protocol: u8,
    payload: &[u8],
    cut: Option<usize>,
) -> Vec<Vec<u8>> {
    let size = cut.map_or_else(|| payload.len().max(1), |cut| (cut / 8).max(1) * 8);
    let count = payload.len().div_ceil(size).max(1);
    (0..count)
        .map(|place| {
            let start = place * size;
            let part = &payload[start..payload.len().min(start + size)];
            let piece = (count > 1).then_some((start, place + 1 < count));
            match from {
                IpAddr::V4(_) => v4(from, to, outer, protocol, part, piece),
                IpAddr::V6(_) => v6(from, to, outer, protocol, part, piece),
            }
        })
        .collect()
}

fn v4(
    from: IpAddr,
    to: IpAddr,
    outer: &Outer,
    protocol: u8,
    part: &[u8],
    piece: Option<(usize, bool)>,
) -> Vec<u8> {
    let header_len = 20 + outer.options.len();
    let version = 0x40 | u8::try_from(header_len / 4).unwrap_or(5);
    let (offset, more) = piece.unwrap_or((0, false));
    let field = word(offset / 8) | u16::from(more) << 13 | u16::from(outer.df) << 14;
    let mut header = vec![version, outer.tos];
    header.extend(word(header_len + part.len()).to_be_bytes());
    header.extend(outer.id.to_be_bytes());
    header.extend(field.to_be_bytes());
    header.extend([outer.ttl, protocol, 0, 0]);
    header.extend(octets(from));
    header.extend(octets(to));
    header.extend(&outer.options);
    let checksum = !sum(&[&header]);
    put(&mut header, 10, checksum);
    header.extend(part);
    header
}

fn v6(
    from: IpAddr,
    to: IpAddr,
    outer: &Outer,
    protocol: u8,
    part: &[u8],
    piece: Option<(usize, bool)>,
) -> Vec<u8> {
    let mut next = protocol;
    let mut extensions = Vec::new();
    if let Some((offset, more)) = piece {
        extensions.extend([next, 0]);
        extensions.extend((word(offset) | u16::from(more)).to_be_bytes());
        extensions.extend(u32::from(outer.id).to_be_bytes());
        next = 44;
    }
    if let Some(extension) = outer.extension {
        // PadN over the rest of its eight octets.
        extensions = [&[next, 0, 1, 4, 0, 0, 0, 0], &extensions[..]].concat();
        next = extension;
    }
    let mut packet = (0x6000_0000 | u32::from(outer.tos) << 20)
        .to_be_bytes()
        .to_vec();
    packet.extend(word(extensions.len() + part.len()).to_be_bytes());
    packet.extend([next, outer.ttl]);
    packet.extend(octets(from));
    packet.extend(octets(to));
    packet.extend(extensions);
    packet.extend(part);
    packet
}

/// An Ethernet frame around an IP packet.
pub(crate) fn ethernet(destination: [u8; 6], source: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let is_v4 = packet.first().is_none_or(|octet| octet >> 4 == 4);
    let ether_type: [u8; 2] = if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&destination[..], &source, &ether_type, packet].concat()
}
