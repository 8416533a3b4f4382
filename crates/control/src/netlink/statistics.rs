//! Counters and rates of a service or a destination: the STATS and STATS64 nests.

use super::Errno;
use super::attribute::{Attributes, Writer, u32_value, u64_value};

/// Counters since the last zeroing, and rates per second, as the kernel's estimator gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets from real servers (only NAT sees them).
    pub out_packets: u64,
    /// Octets of IP datagrams from clients.
    pub in_bytes: u64,
    /// Octets of IP datagrams from real servers.
    pub out_bytes: u64,
    /// Connections a second.
    pub connection_rate: u64,
    /// Packets a second from clients.
    pub in_packet_rate: u64,
    /// Packets a second from real servers.
    pub out_packet_rate: u64,
    /// Octets a second from clients.
    pub in_byte_rate: u64,
    /// Octets a second from real servers.
    pub out_byte_rate: u64,
}

impl Statistics {
    /// In the order of the attribute types 1..=10.
    const fn values(&self) -> [u64; 10] {
        [
            self.connections,
            self.in_packets,
            self.out_packets,
            self.in_bytes,
            self.out_bytes,
            self.connection_rate,
            self.in_packet_rate,
            self.out_packet_rate,
            self.in_byte_rate,
            self.out_byte_rate,
        ]
    }

    fn from_values(values: [u64; 10]) -> Self {
        let [
            connections,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
            connection_rate,
            in_packet_rate,
            out_packet_rate,
            in_byte_rate,
            out_byte_rate,
        ] = values;
        Self {
            connections,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
            connection_rate,
            in_packet_rate,
            out_packet_rate,
            in_byte_rate,
            out_byte_rate,
        }
    }

    /// Writes STATS (32-bit but for the octet counters, wrapping as the kernel's do) as attribute
    /// `narrow` and STATS64 as attribute `wide`. Parsers insist on all ten members of each.
    pub(super) fn encode(&self, writer: &mut Writer, narrow: u16, wide: u16) {
        writer.nest(narrow, |nest| {
            for (kind, value) in (1..).zip(self.values()) {
                match kind {
                    4 | 5 => nest.put_u64(kind, value),
                    _ => nest.put_u32(kind, wrap(value)),
                }
            }
        });
        writer.nest(wide, |nest| {
            for (kind, value) in (1..).zip(self.values()) {
                nest.put_u64(kind, value);
            }
        });
    }

    /// Reads a STATS nest.
    pub(super) fn decode_narrow(nest: &[u8]) -> Result<Self, Errno> {
        Self::decode(nest, |kind, value| match kind {
            4 | 5 => u64_value(value),
            _ => u32_value(value).map(u64::from),
        })
    }

    /// Reads a STATS64 nest.
    pub(super) fn decode_wide(nest: &[u8]) -> Result<Self, Errno> {
        Self::decode(nest, |_, value| u64_value(value))
    }

    fn decode(nest: &[u8], read: impl Fn(u16, &[u8]) -> Result<u64, Errno>) -> Result<Self, Errno> {
        let mut values = [0; 10];
        for (kind, value) in Attributes::new(nest) {
            let slot = usize::from(kind)
                .checked_sub(1)
                .and_then(|index| values.get_mut(index));
            if let Some(slot) = slot {
                *slot = read(kind, value)?;
            }
        }
        Ok(Self::from_values(values))
    }
}

/// The low 32 bits, as the kernel's cast to u32 has them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "wrapping is what the kernel does here"
)]
const fn wrap(value: u64) -> u32 {
    value as u32
}
