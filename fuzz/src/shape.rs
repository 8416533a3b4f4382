//! What links and routers do to a datagram: offloads, fragments, damage.

use std::net::IpAddr;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::GsoKind;

use crate::bytes::{self, Ip, TCP, UDP, datagram};
use crate::wire::Wire;

/// What is done to a packet before it is sent.
#[derive(Debug, Arbitrary)]
pub enum Shape {
    /// Its checksum is left to the device.
    Partial,
    /// A super-frame.
    Super { size: u16, kind: u8, partial: bool },
    /// Fragments in this order: each number an index.
    Pieces { size: u8, order: Vec<u8> },
    /// An octet is another.
    Damaged { at: u16, xor: u8 },
    /// Cut off, or longer than it says.
    Resized { length: u16 },
}

impl Shape {
    /// The datagrams that a datagram becomes.
    #[must_use]
    pub fn shape(&self, mut wire: Wire) -> Vec<Wire> {
        if wire.bytes.is_empty() {
            // Its ends are of different families, which no datagram is.
            return Vec::new();
        }
        let protocol = protocol(&wire.bytes);
        match self {
            Self::Partial => leave_checksum(&mut wire, protocol),
            Self::Super {
                size,
                kind,
                partial,
            } => {
                if *partial {
                    leave_checksum(&mut wire, protocol);
                }
                wire.offload.gso = match kind & 3 {
                    0 | 1 if protocol == UDP => Some(GsoKind::UdpL4),
                    0 | 1 if wire.bytes[0] >> 4 == 4 => Some(GsoKind::TcpV4),
                    0 | 1 | 2 => Some(GsoKind::TcpV6),
                    _ => Some(GsoKind::UdpL4),
                };
                wire.offload.gso_size = if kind & 4 == 0 {
                    200 + size % 1300
                } else {
                    *size
                };
                wire.offload.gso_ecn = kind & 8 != 0;
                if kind & 16 != 0 {
                    wire.offload.checksum_start = *size;
                }
                wire.is_right &= partial & (kind & 18 == 0);
            }
            Self::Pieces { size, order } => return pieces(&wire, *size, order),
            Self::Damaged { at, xor } => {
                let at = usize::from(*at) % wire.bytes.len().max(1);
                if let Some(octet) = wire.bytes.get_mut(at) {
                    *octet ^= xor;
                }
                wire.is_right = false;
            }
            Self::Resized { length } => {
                wire.bytes.resize(usize::from(*length % 2048), 0);
                wire.is_right = false;
            }
        }
        vec![wire]
    }
}

/// Offset of the transport header of a datagram without fragment header.
fn transport_offset(datagram: &[u8]) -> Option<usize> {
    let first = *datagram.first()?;
    if first >> 4 == 4 {
        return Some(usize::from(first & 15) * 4);
    }
    let extension = usize::from(matches!(datagram.get(6)?, 0 | 43 | 60)) * 8;
    Some(40 + extension)
}

/// Upper-layer protocol of a datagram without fragment header; 0 where there is none.
fn protocol(datagram: &[u8]) -> u8 {
    let at = match datagram.first().map(|first| first >> 4) {
        Some(4) => 9,
        _ if matches!(datagram.get(6), Some(0 | 43 | 60)) => 40,
        _ => 6,
    };
    datagram.get(at).copied().unwrap_or(0)
}

fn leave_checksum(wire: &mut Wire, protocol: u8) {
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    let Some(start) = transport_offset(&wire.bytes) else {
        return;
    };
    if wire.bytes.len() < start + at + 2 {
        return;
    }
    let (source, destination) = addresses(&wire.bytes);
    let sum = bytes::partial(protocol, source, destination, wire.bytes.len() - start);
    wire.bytes[start + at..start + at + 2].copy_from_slice(&sum.to_be_bytes());
    wire.offload.partial_checksum = u16::try_from(at).ok();
    wire.offload.checksum_start = u16::try_from(start).unwrap_or(0);
}

fn addresses(datagram: &[u8]) -> (IpAddr, IpAddr) {
    let v4 = |at: usize| {
        let octets: [u8; 4] = datagram[at..at + 4].try_into().expect("four octets");
        IpAddr::from(octets)
    };
    let v6 = |at: usize| {
        let octets: [u8; 16] = datagram[at..at + 16].try_into().expect("sixteen octets");
        IpAddr::from(octets)
    };
    if datagram[0] >> 4 == 4 {
        (v4(12), v4(16))
    } else {
        (v6(8), v6(24))
    }
}

/// Fragments of about `size` times 16 octets, in any order, any of them more than once or not at all.
fn pieces(wire: &Wire, size: u8, order: &[u8]) -> Vec<Wire> {
    let Some(start) = transport_offset(&wire.bytes) else {
        return Vec::new();
    };
    let payload = &wire.bytes[start..];
    let size = (usize::from(size) * 16).max(8);
    let count = payload.len().div_ceil(size);
    if count == 0 {
        return vec![wire.clone()];
    }
    let (source, destination) = addresses(&wire.bytes);
    let (v4, protocol) = (source.is_ipv4(), protocol(&wire.bytes));
    let mut order = order.to_vec();
    if order.len() < 3 {
        // Mostly a datagram becomes whole.
        let backwards = order.len() == 1;
        order = (0..=u8::MAX).take(count).collect();
        if backwards {
            order.reverse();
        }
    }
    let piece = |number: u8| {
        let index = usize::from(number & 0x3f) % count;
        let from = index * size;
        let mut to = (from + size).min(payload.len());
        let more = to < payload.len() && number & 0xc0 != 0x40;
        if number & 0xc0 == 0xc0 {
            to = (to + 8).min(payload.len());
        }
        let ip = Ip {
            ttl: if v4 { wire.bytes[8] } else { wire.bytes[7] },
            tos: 0,
            id: wire.bytes[if v4 { 5 } else { 1 }],
            dont_fragment: false,
            options: 0,
            fragment: Some((u16::try_from(from).unwrap_or(0), more)),
        };
        Wire {
            bytes: datagram(source, destination, protocol, &ip, &payload[from..to]),
            is_right: false,
            ..wire.clone()
        }
    };
    order.into_iter().take(80).map(piece).collect()
}
