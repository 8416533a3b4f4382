//! Packets between a few clients, virtual services and real servers, with right checksums and odd fields: by
//! choices from small sets, so that packets meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use director::connection::Connection;
use director::destination::Method;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::{GsoKind, Mac, Offload};

use crate::bytes::{self, ICMP, ICMPV6, Ip, SCTP, TCP, UDP, datagram, transport};
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

/// What FTP clients and servers say.
const SAID: [&str; 12] = [
    "PASV\r\n",
    "EPSV\r\n",
    "PORT 192,0,2,10,3,233\r\n",
    "EPRT |1|192.0.2.10|1001|\r\n",
    "EPRT |2|2001:db8:c::10|1001|\r\n",
    "227 Entering Passive Mode (10,2,0,11,195,80).\r\n",
    "227 1,1,1,1,3,234.\r\n",
    "229 Entering Extended Passive Mode (|||50001|)\r\n",
    "229 (!1!10.2.0.12!20!)\r\n",
    "227 Entering Passive Mode (10,8,0,1,0,21).\r\n",
    "EPRT |1|10.8.0.1|80|\r\n",
    "229 (|||20|)\r\n",
];

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
    ttl: u8,
    tos: u8,
    id: u8,
    bits: u8,
}

impl Fields {
    fn ip(self) -> Ip {
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

/// A packet of a connection that is there.
#[derive(Debug, Arbitrary)]
pub struct Follow {
    from_server: bool,
    kind: u8,
    fields: Fields,
    length: u16,
    /// An ICMP error about such a packet instead, from the other side, and of which kind.
    error: Option<u8>,
    /// The quoted packet is the tunnel's.
    tunnelled: bool,
}

impl Follow {
    /// A small packet with data, or with what FTP says (by number).
    #[must_use]
    pub fn ordinary(from_server: bool, said: u8) -> Self {
        Self {
            from_server,
            kind: if from_server { 0x12 } else { 0x10 },
            fields: Fields {
                ttl: 64,
                tos: 0,
                id: 0,
                bits: 0,
            },
            length: match said {
                0..=127 => 0x8000 | u16::from(said) << 8 & 0x0f00,
                _ => 40,
            },
            error: None,
            tunnelled: false,
        }
    }

    /// The datagram; none where the connection has no such packets.
    #[must_use]
    pub fn wire(&self, connection: &Connection) -> Option<Wire> {
        let (addresses, ports) = endpoints(connection, self.from_server)?;
        let protocol = connection.protocol().number();
        let said = SAID.get(usize::from(self.length >> 8 & 15));
        let data = match said.filter(|_| self.length & 0x8000 != 0) {
            Some(said) => said.as_bytes().to_vec(),
            None => vec![0xaa; usize::from(self.length % 3000)],
        };
        let payload = transport(protocol, addresses, ports, self.kind, &data);
        let ip = self.fields.ip();
        let bytes = datagram(addresses.0, addresses.1, protocol, &ip, &payload);
        let mut wire = Wire {
            server_side: self.from_server,
            bytes,
            offload: Offload::default(),
            is_right: true,
        };
        if let Some(kind) = self.error {
            self.quote(connection, kind, &mut wire);
        }
        Some(wire)
    }

    /// Makes of the packet the ICMP error about it.
    fn quote(&self, connection: &Connection, choice: u8, wire: &mut Wire) {
        let (mut quoted, mut v6) = (
            std::mem::take(&mut wire.bytes),
            connection.client().0.is_ipv6(),
        );
        let (client, _) = connection.client();
        let (server, _) = connection.server();
        let mut about = if self.from_server { server } else { client };
        let mut reporter = match (self.from_server, choice & 8 == 0) {
            // The error comes from the side that the quoted packet went to.
            (false, true) => server,
            (true, true) => client,
            (false, false) => server_address(if v6 { 7 } else { 3 }),
            (true, false) => client_address(v6, 1),
        };
        if self.from_server {
            // What the client saw came from the virtual service.
            about = connection.virtual_server().0;
            let Some((addresses, ports)) = endpoints(connection, true) else {
                return;
            };
            let seen = (about, addresses.1);
            let ports = (connection.virtual_server().1, ports.1);
            let protocol = connection.protocol().number();
            let payload = transport(protocol, seen, ports, self.kind, &[0xaa; 40]);
            quoted = datagram(seen.0, seen.1, protocol, &self.fields.ip(), &payload);
        } else if self.tunnelled && connection.method() == Method::Tunnel {
            let own: IpAddr = if server.is_ipv4() {
                Ipv4Addr::new(10, 2, 0, 1).into()
            } else {
                Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1).into()
            };
            quoted = in_tunnel(own, server, v6, choice, &quoted);
            v6 = server.is_ipv6();
            (about, reporter) = (own, server);
        } else if connection.method() == Method::Masq {
            let protocol = connection.protocol().number();
            let (from, to) = (connection.client(), connection.server());
            let payload = transport(
                protocol,
                (from.0, to.0),
                (from.1, to.1),
                self.kind,
                &[0xaa; 40],
            );
            quoted = datagram(from.0, to.0, protocol, &self.fields.ip(), &payload);
        }
        quoted.truncate([28, 48, 576, 1232][usize::from(choice >> 4 & 3)]);
        let (protocol, kind) = if v6 {
            (ICMPV6, [2, 1, 3, 4][usize::from(choice & 3)])
        } else {
            (ICMP, [3, 11, 4, 12][usize::from(choice & 3)])
        };
        // Code 4 is "fragmentation needed" where there is such a code; the MTU stands in the last octets.
        let code = choice & 4;
        let message = bytes::icmp(
            protocol,
            (reporter, about),
            (kind, code),
            self.length,
            &quoted,
        );
        let ip = self.fields.ip();
        wire.bytes = datagram(reporter, about, protocol, &ip, &message);
        wire.server_side = !self.from_server;
    }
}

/// Addresses and ports of a connection's packets, as they arrive at the director.
fn endpoints(connection: &Connection, from_server: bool) -> Option<((IpAddr, IpAddr), (u16, u16))> {
    let client = connection.client();
    if !from_server {
        let vip = connection.virtual_server();
        return Some(((client.0, vip.0), (client.1, vip.1)));
    }
    let server = connection.server();
    let masq = connection.method() == Method::Masq && server.0.is_ipv4() == client.0.is_ipv4();
    masq.then_some(((server.0, client.0), (server.1, client.1)))
}

/// A tunnel packet as ulvs makes them, to quote.
fn in_tunnel(own: IpAddr, server: IpAddr, v6: bool, choice: u8, inner: &[u8]) -> Vec<u8> {
    let ip = Ip {
        ttl: 64,
        dont_fragment: true,
        ..Ip::default()
    };
    let ether_type: [u8; 2] = if v6 { [0x86, 0xdd] } else { [8, 0] };
    let carried = if v6 { 41 } else { 4 };
    match choice >> 6 {
        0 | 1 => datagram(own, server, carried, &ip, inner),
        2 => datagram(
            own,
            server,
            47,
            &ip,
            &[&[0, 0], &ether_type[..], inner].concat(),
        ),
        _ => {
            let gue = [&[0, carried, 0, 0][..], inner].concat();
            let payload = transport(UDP, (own, server), (40_000, 6080), 0, &gue);
            datagram(own, server, UDP, &ip, &payload)
        }
    }
}

impl Shape {
    /// The datagrams that a datagram becomes.
    #[must_use]
    pub fn shape(&self, mut wire: Wire) -> Vec<Wire> {
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
