//! A packet that stands for a client's next one.

use core::net::IpAddr;

use packet::checksum::Sum;
use packet::{Mac, ethernet, tcp};

use crate::connection::FlowKey;
use crate::protocol::Protocol;

/// Link address that the packet comes from: a locally administered one.
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
/// TTL or hop limit.
const HOPS: u8 = 64;
/// An SCTP INIT chunk (RFC 9260, section 3.3.2): one stream each way.
const INIT: [u8; 20] = [1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1];
/// An SCTP DATA chunk (RFC 9260, section 3.3.1) of one octet.
const DATA: [u8; 20] = [0, 3, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A client and what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The client's address and port.
    pub source: (IpAddr, u16),
    /// What it wants to reach; of the client's address family.
    pub destination: (IpAddr, u16),
}

impl Probe {
    /// The flow of its packets.
    pub(super) const fn key(&self) -> FlowKey {
        FlowKey {
            protocol: self.protocol.number(),
            source: self.source,
            destination: self.destination,
        }
    }

    /// A frame to this link address, or an IP packet without one: the first packet of a connection (SYN, INIT, a datagram),
    /// or of a known one the next.
    #[must_use]
    pub fn frame(&self, to: Option<Mac>, is_known: bool) -> Vec<u8> {
        let transport = self.transport(is_known);
        let mut frame = Vec::new();
        if let Some(mac) = to {
            frame.extend(mac.0);
            frame.extend(SENDER);
            let ether_type = match self.source.0 {
                IpAddr::V4(_) => ethernet::IPV4,
                IpAddr::V6(_) => ethernet::IPV6,
            };
            frame.extend(ether_type.to_be_bytes());
        }
        frame.extend(self.network_header(transport.len()));
        frame.extend(transport);
        frame
    }

    fn network_header(&self, payload: usize) -> Vec<u8> {
        let number = self.protocol.number();
        match (self.source.0, self.destination.0) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let length = u16::try_from(20 + payload).unwrap_or(u16::MAX);
                let mut header = vec![0x45, 0];
                header.extend(length.to_be_bytes());
                header.extend([0, 1, 0x40, 0, HOPS, number, 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                let sum = Sum::of(&header).finish();
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                header
            }
            (source, destination) => {
                let length = u16::try_from(payload).unwrap_or(u16::MAX);
                let mut header = vec![0x60, 0, 0, 0];
                header.extend(length.to_be_bytes());
                header.extend([number, HOPS]);
                for address in [source, destination] {
                    if let IpAddr::V6(address) = address {
                        header.extend(address.octets());
                    }
                }
                header
            }
        }
    }

    fn transport(&self, is_known: bool) -> Vec<u8> {
        let mut octets = [self.source.1, self.destination.1]
            .map(u16::to_be_bytes)
            .concat();
        let checksum_at = match self.protocol {
            Protocol::Tcp => {
                let flags = if is_known { tcp::ACK } else { tcp::SYN };
                octets.extend([0, 0, 0, 1, 0, 0, 0, u8::from(is_known), 5 << 4, flags]);
                octets.extend([0xfa, 0xf0, 0, 0, 0, 0]);
                16
            }
            Protocol::Udp => {
                octets.extend([0, 8, 0, 0]);
                6
            }
            Protocol::Sctp => {
                // Its checksum is left 0: a director does not look at it.
                octets.extend([0; 8]);
                octets.extend(if is_known { DATA } else { INIT });
                return octets;
            }
        };
        let length = octets.len();
        let number = self.protocol.number();
        let sum = Sum::of(&octets).pseudo_header(self.source.0, self.destination.0, number, length);
        let sum = match sum.finish() {
            0 => u16::MAX,
            sum => sum,
        };
        octets[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        octets
    }
}
