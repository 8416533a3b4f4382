//! A datagram in fragments, in any order.

use crate::bytes::{Ip, datagram};
use crate::wire::{Wire, addresses, protocol, transport_offset};

/// Fragments of about `size` times 16 octets, in any order, any of them more than once or not at all.
pub fn pieces(wire: &Wire, size: u8, order: &[u8]) -> Vec<Wire> {
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
