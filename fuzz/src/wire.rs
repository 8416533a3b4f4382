//! Packets between a few clients, virtual services and real servers, with right checksums and odd fields: by
//! choices from small sets, so that packets meet.

use std::net::IpAddr;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::{Mac, Offload};

use crate::bytes::{ICMP, ICMPV6, Ip, SCTP, TCP, UDP, datagram, transport};
use crate::host::{client_address, server_address, virtual_address};

/// A datagram and what its link says of it; the link header is put on by whoever sends it.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// Arrives on the servers' side.
    pub server_side: bool,
    pub bytes: Vec<u8>,
    /// Offsets count from the datagram's start.
    pub offload: Offload,
    /// Whole, with right checksums, so that all that comes of it must be right too.
    pub is_right: bool,
}

/// One packet that nobody asked for.
#[derive(Debug, Arbitrary)]
pub struct Segment {
    server_side: bool,
    v6: bool,
    client: u8,
    other: u8,
    protocol: u8,
    ports: u8,
    kind: u8,
    fields: Fields,
    length: u16,
    quoted: Vec<u8>,
}

/// The first packet of an ordinary client to a service that most runs have.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Opening {
    v6: bool,
    protocol: u8,
    client: u8,
    other: u8,
    port: u8,
}

impl Opening {
    /// The datagram.
    #[must_use]
    pub fn wire(self) -> Wire {
        let family = if self.v6 { 2 } else { 0 };
        let addresses = (
            client_address(self.v6, self.client & 1),
            virtual_address(self.other & 1 | family),
        );
        let (protocol, to, kind) = [(TCP, 80, 2), (UDP, 53, 0), (TCP, 21, 2), (SCTP, 80, 1)]
            [usize::from(self.protocol & 3)];
        let ports = (1001 + u16::from(self.port & 15), to);
        let payload = transport(protocol, addresses, ports, kind, &[]);
        let ip = Ip {
            ttl: 64,
            ..Ip::default()
        };
        Wire {
            bytes: datagram(addresses.0, addresses.1, protocol, &ip, &payload),
            is_right: true,
            ..Wire::default()
        }
    }
}

/// Fields of the IP header, mostly ordinary.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Fields {
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) id: u8,
    pub(crate) bits: u8,
}

impl Fields {
    pub(crate) fn ip(self) -> Ip {
        Ip {
            ttl: if self.bits & 3 == 3 { self.ttl } else { 64 },
            tos: self.tos,
            id: self.id & 3,
            dont_fragment: self.bits & 4 != 0,
            options: if self.bits & 0x18 == 0x18 {
                self.bits >> 5
            } else {
                0
            },
            fragment: None,
        }
    }
}

impl Segment {
    /// The datagram.
    #[must_use]
    pub fn wire(&self) -> Wire {
        let family = if self.v6 { 2 } else { 0 };
        let client = client_address(self.v6, self.client);
        let addresses = if self.server_side {
            let family = if self.v6 { 4 } else { 0 };
            (server_address(self.other & 3 | family), client)
        } else {
            (client, virtual_address(self.other & 1 | family))
        };
        let high = [1001, 1002, 1003, 20][usize::from(self.ports & 3)];
        let usual = if matches!(self.protocol & 7, 3 | 4) {
            53
        } else {
            80
        };
        let low =
            [usual, usual, usual, usual, usual, 21, 8080, 500][usize::from(self.ports >> 2 & 7)];
        let ports = if self.server_side {
            (low, high)
        } else {
            (high, low)
        };
        let (protocol, kind) = match self.protocol & 7 {
            // One bit in two is a SYN: only those begin anything.
            0..=2 => (
                TCP,
                if self.kind & 1 == 0 {
                    2
                } else {
                    self.kind >> 1
                },
            ),
            3 | 4 => (UDP, 0),
            5 => (SCTP, self.kind),
            6 if self.v6 => (
                ICMPV6,
                [128, 1, 2, 3, 4, 135, 136][usize::from(self.kind) % 7],
            ),
            6 => (ICMP, [8, 3, 4, 11, 5][usize::from(self.kind) % 5]),
            _ => (50, 0),
        };
        let data = if protocol == ICMP || protocol == ICMPV6 || self.length & 1 == 1 {
            self.quoted.clone()
        } else {
            vec![0x55; usize::from(self.length % 4000)]
        };
        let payload = transport(protocol, addresses, ports, kind, &data);
        let ip = self.fields.ip();
        let bytes = datagram(addresses.0, addresses.1, protocol, &ip, &payload);
        Wire {
            server_side: self.server_side,
            bytes,
            offload: Offload::default(),
            is_right: true,
        }
    }
}

/// ARP and neighbour discovery.
#[derive(Debug, Arbitrary)]
pub struct Neighbour {
    server_side: bool,
    v6: bool,
    answer: bool,
    /// Who speaks, and who is asked for.
    sender: u8,
    target: u8,
    /// The speaker's link address; 0 is the director's own.
    mac: u8,
}

impl Neighbour {
    /// The side it arrives on and the whole frame.
    #[must_use]
    pub fn frame(&self, own: Mac) -> (bool, Vec<u8>) {
        let mac = if self.mac == 0 {
            own
        } else {
            Mac([2, 0, 0, 0, 7, self.mac])
        };
        let mut frame = vec![0; 128];
        let family = if self.v6 { 4 } else { 0 };
        let sender = match self.sender & 0x30 {
            0x10 => client_address(self.v6, self.sender),
            0x20 if self.v6 => "fd00:1::fe".parse().expect("an address"),
            0x20 => "10.1.0.254".parse().expect("an address"),
            _ => server_address(self.sender & 3 | family),
        };
        let target = virtual_address(self.target & 1 | family >> 1);
        let len = match (sender, target) {
            (IpAddr::V4(sender), IpAddr::V4(target)) => {
                let question = packet::arp::Arp::request(mac, sender, target);
                if self.answer {
                    let asked = packet::arp::Arp::request(own, target, sender);
                    asked.reply(mac).write(None, &mut frame)
                } else {
                    question.write(None, &mut frame)
                }
            }
            (IpAddr::V6(sender), IpAddr::V6(target)) => {
                if self.answer {
                    let question = packet::ndp::Solicitation {
                        source: target,
                        source_mac: Some(own),
                        target: sender,
                    };
                    question.answer(mac, own, &mut frame)
                } else {
                    packet::ndp::Solicitation::write(mac, sender, target, None, &mut frame)
                }
            }
            _ => None,
        };
        frame.truncate(len.unwrap_or(0));
        (self.server_side, frame)
    }
}
