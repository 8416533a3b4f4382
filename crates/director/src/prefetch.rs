//! What a batch will read of the connection table, brought into the cache before.
//!
//! Promises: changes nothing, and trusts nothing: a packet that is misread here costs time and no more, because
//! [`Director::handle`] reads it anew.

use core::net::IpAddr;

use packet::ipv4::Ipv4;
use packet::ipv6::{self, Ipv6};
use packet::{Packet, protocol};

use crate::connection::{FlowKey, Guess, Table};
use crate::director::Director;

/// What is guessed about the packets of a batch, in their order.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    guesses: Vec<Guess>,
    /// Where each packet lies in memory.
    places: Vec<usize>,
    next: usize,
}

impl Guesses {
    fn make(&mut self, connections: &Table, packets: &[Packet<'_>]) {
        self.guesses.clear();
        self.places.clear();
        self.next = 0;
        for packet in packets {
            if let Some(guess) = guess_at(connections, packet) {
                self.guesses.push(guess);
                self.places.push(place(packet));
            }
        }
        connections.prefetch(&mut self.guesses);
    }

    /// The guess about a packet, if it is the next one about which there is one; those before it are passed over.
    #[inline(always)]
    pub(crate) fn take(&mut self, packet: &Packet<'_>) -> Option<&Guess> {
        let place = place(packet);
        while let Some(&at) = self.places.get(self.next) {
            self.next += 1;
            if at == place {
                return self.guesses.get(self.next - 1);
            }
        }
        None
    }
}

/// Where a packet lies, as a name for it within its batch.
#[inline(always)]
fn place(packet: &Packet<'_>) -> usize {
    packet.bytes().as_ptr().addr()
}

impl Director {
    /// Brings into the cache what [`Director::handle`] will read for these packets of a batch; the misses of all of
    /// them overlap. To be called before the first of them is handled.
    pub fn prefetch(&mut self, packets: &[Packet<'_>]) {
        self.guesses.make(&self.worker.connections, packets);
    }
}

/// The guess about a packet as most packets are made: no IPv6 extension headers, no fragment.
#[inline(always)]
fn guess_at(connections: &Table, packet: &Packet<'_>) -> Option<Guess> {
    let network = packet.bytes().get(packet.link_len..)?;
    match network.first()? >> 4 {
        4 => Some(connections.guess(&flow_v4(network)?)),
        6 => Some(connections.guess(&flow_v6(network)?)),
        _ => None,
    }
}

#[inline(always)]
fn flow_v4(network: &[u8]) -> Option<FlowKey> {
    let header = Ipv4::of(network)?;
    let addresses = (header.source().into(), header.destination().into());
    flow(
        header.protocol(),
        addresses,
        network.get(header.header_len()..)?,
    )
}

#[inline(always)]
fn flow_v6(network: &[u8]) -> Option<FlowKey> {
    let header = Ipv6::of(network)?;
    let addresses = (header.source().into(), header.destination().into());
    flow(header.next_header(), addresses, network.get(ipv6::LEN..)?)
}

#[inline(always)]
fn flow(
    protocol: u8,
    (source, destination): (IpAddr, IpAddr),
    transport: &[u8],
) -> Option<FlowKey> {
    let is_known = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let &[a, b, c, d] = transport.first_chunk().filter(|_| is_known)?;
    Some(FlowKey {
        protocol,
        source: (source, u16::from_be_bytes([a, b])),
        destination: (destination, u16::from_be_bytes([c, d])),
    })
}

#[cfg(test)]
mod tests {
    use packet::Headers;

    use crate::connection::{HashKind, TableConfig};

    use super::*;

    fn table() -> Table {
        Table::new(&TableConfig {
            max_connections: 1,
            hash: HashKind::default(),
            seed: [1, 2],
        })
    }

    /// What is prefetched is what is looked up.
    #[test]
    fn the_flow_is_the_one_that_is_parsed() {
        let table = table();
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
            let guess = table.guess(&FlowKey::of(&headers));
            assert_eq!(guess_at(&table, &packet), Some(guess));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_read(mut octets in proptest::collection::vec(0_u8.., 0..80), link_len in 0_usize..20) {
            let end = octets.len();
            let link_len = link_len.min(end);
            let _ = guess_at(&table(), &Packet::new(&mut octets, 0..end, link_len));
        }
    }
}
