//! The IP header of a datagram that is written anew, in either family.

use core::net::IpAddr;

use crate::view::put;
use crate::{ipv4, ipv6};

/// What the header says, but for its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    /// TOS or traffic class.
    pub(crate) tos: u8,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// IPv4 identification; `None` sets "don't fragment", with identification 0.
    pub(crate) id: Option<u16>,
}

impl Datagram {
    /// Octets of the header: 20 or 40.
    pub(crate) const fn header_len(&self) -> usize {
        match self.destination {
            IpAddr::V4(_) => ipv4::LEN,
            IpAddr::V6(_) => ipv6::LEN,
        }
    }

    /// Writes the header at the start of `out`, for a payload of `payload_len` octets, and returns
    /// its octets. `None` when the addresses are of two families, `out` is too short for the header
    /// or the length does not fit its field.
    pub(crate) fn write(&self, out: &mut [u8], payload_len: usize) -> Option<usize> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let fields = ipv4::Fields {
                    tos: self.tos,
                    total_len: u16::try_from(ipv4::LEN + payload_len).ok()?,
                    id: self.id.unwrap_or(0),
                    dont_fragment: self.id.is_none(),
                    ttl: self.ttl,
                    protocol: self.protocol,
                    source,
                    destination,
                };
                put(out, 0, fields.to_bytes())?;
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let fields = ipv6::Fields {
                    traffic_class: self.tos,
                    payload_len: u16::try_from(payload_len).ok()?,
                    next_header: self.protocol,
                    hop_limit: self.ttl,
                    source,
                    destination,
                };
                put(out, 0, fields.to_bytes())?;
            }
            _ => return None,
        }
        Some(self.header_len())
    }

    /// As [`Datagram::write`], with IPv4 options of a multiple of four octets; the header's octets with them.
    pub(crate) fn write_with_options(
        &self,
        out: &mut [u8],
        options: &[u8],
        payload_len: usize,
    ) -> Option<usize> {
        let len = self.write(out, options.len() + payload_len)?;
        if options.is_empty() {
            return Some(len);
        }
        let header = out.get_mut(..len + options.len())?;
        let words = u8::try_from(header.len() / 4).ok()?;
        put(header, 0, [0x40 | words])?;
        header.get_mut(len..)?.copy_from_slice(options);
        ipv4::fill_checksum(header);
        Some(header.len())
    }
}
