//! What a batch will read of the connection table, brought into the cache before.
//!
//! Promises: changes nothing, and trusts nothing: a packet that is misread here costs time and no more, because
//! [`Director::handle`] reads it anew.

use core::net::IpAddr;

use packet::{Packet, protocol};

use crate::connection::FlowKey;
use crate::director::Director;

/// Packets looked at in one go.
const BATCH: usize = 64;

impl Director {
    /// Brings into the cache what [`Director::handle`] will read for these packets of a batch; the misses of all of
    /// them overlap.
    pub fn prefetch(&self, packets: &[Packet<'_>]) {
        let connections = self.connections();
        if !connections.is_large() {
            return;
        }
        let mut hashes = [0; BATCH];
        for packets in packets.chunks(BATCH) {
            let mut known = 0;
            for key in packets.iter().filter_map(flow_of) {
                if let Some(hash) = hashes.get_mut(known) {
                    *hash = connections.hash(&key);
                    known += 1;
                }
            }
            connections.prefetch(hashes.get(..known).unwrap_or(&[]));
        }
    }
}

/// The flow of a packet as most packets are made: no IPv6 extension headers, no fragment.
fn flow_of(packet: &Packet<'_>) -> Option<FlowKey> {
    let network = packet.bytes().get(packet.link_len..)?;
    let version = network.first()? >> 4;
    let (number, source, destination, ports) = match version {
        4 => {
            let header: &[u8; 20] = network.first_chunk()?;
            let len = usize::from(header[0] & 15) * 4;
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
                Some(octets.into())
            };
            (header[9], address(12)?, address(16)?, network.get(len..)?)
        }
        6 => {
            let header: &[u8; 40] = network.first_chunk()?;
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
                Some(octets.into())
            };
            (header[6], address(8)?, address(24)?, network.get(40..)?)
        }
        _ => return None,
    };
    if !matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP) {
        return None;
    }
    let &[a, b, c, d] = ports.first_chunk()?;
    Some(FlowKey {
        protocol: number,
        source: (source, u16::from_be_bytes([a, b])),
        destination: (destination, u16::from_be_bytes([c, d])),
    })
}

#[cfg(test)]
mod tests {
    use packet::Headers;

    use super::*;

    /// What is prefetched is what is looked up.
    #[test]
    fn the_flow_is_the_one_that_is_parsed() {
        let mut v4 = [0; 40];
        v4[..20].copy_from_slice(&[
            0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 10, 10, 8, 0, 1,
        ]);
        let sum = packet::checksum::Sum::of(&v4[..20]).finish();
        v4[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut v6 = [7; 60];
        v6[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 6, 64]);
        for (bytes, ports) in [(&mut v4[..], 20), (&mut v6[..], 40)] {
            bytes[ports..ports + 4].copy_from_slice(&[4, 1, 0, 80]);
            bytes[ports + 12] = 0x50;
            let end = bytes.len();
            let packet = Packet::new(bytes, 0..end, 0);
            let headers = Headers::parse(&packet).unwrap();
            assert_eq!(flow_of(&packet), Some(FlowKey::of(&headers)));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_read(mut octets in proptest::collection::vec(0_u8.., 0..80), link_len in 0_usize..20) {
            let end = octets.len();
            let link_len = link_len.min(end);
            let _ = flow_of(&Packet::new(&mut octets, 0..end, link_len));
        }
    }
}
