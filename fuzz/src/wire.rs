//! Packets between a few clients, virtual services and real servers, with right checksums and odd fields.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use packet::{GsoKind, Mac, Offload, Vlan};

/// One packet, by choices from small sets: so that packets meet.
#[derive(Debug, Arbitrary)]
pub struct Segment {
    server_side: bool,
    v6: bool,
    client: u8,
    other: u8,
    protocol: u8,
    ports: u8,
    flags: u8,
    ttl: u8,
    fragment: u8,
    length: u16,
    tos: u8,
    mark: u8,
    quoted: Vec<u8>,
    foreign_mac: u8,
    work: u8,
    segment: u16,
    tag: Option<u16>,
}

/// Address of a virtual service; two of each family.
pub fn virtual_address(choice: u8) -> IpAddr {
    if choice & 2 == 0 {
        Ipv4Addr::new(10, 8, 0, 1 + (choice & 1)).into()
    } else {
        Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, 1 + u16::from(choice & 1)).into()
    }
}

/// Address of a real server; four of each family.
pub fn server_address(choice: u8) -> IpAddr {
    if choice & 4 == 0 {
        Ipv4Addr::new(10, 2, 0, 11 + (choice & 3)).into()
    } else {
        Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x11 + u16::from(choice & 3)).into()
    }
}

/// Address of a client; two of each family.
fn client_address(v6: bool, choice: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 12, 0, 0, 0, 0, 0x10 + u16::from(choice & 1)).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 10 + (choice & 1)).into()
    }
}

/// The director's link address on a side.
pub fn own_mac(server_side: bool) -> Mac {
    Mac([2, 0, 0, 0, if server_side { 2 } else { 1 }, 1])
}

impl Segment {
    /// Firewall mark: seldom one.
    pub fn mark(&self) -> u32 {
        u32::from(self.mark & 0x81 == 0x81)
    }

    /// What the sender left to be done: mostly nothing, else a checksum or a super-frame, seldom nonsense.
    pub fn offload(&self) -> Offload {
        let ip = if self.v6 { 40 } else { 20 };
        let checksum = match self.protocol & 7 {
            0..=2 => 16,
            _ => 6,
        };
        match self.work {
            0..=127 => Offload::default(),
            128..=175 => Offload {
                partial_checksum: Some(checksum),
                checksum_start: 14 + ip,
                ..Offload::default()
            },
            176..=239 => Offload {
                partial_checksum: Some(checksum),
                checksum_start: 14 + ip,
                gso: Some(match (checksum, self.v6) {
                    (16, false) => GsoKind::TcpV4,
                    (16, true) => GsoKind::TcpV6,
                    _ => GsoKind::UdpL4,
                }),
                gso_size: self.segment % 1600,
                gso_ecn: self.work & 1 == 1,
            },
            240..=255 => Offload {
                partial_checksum: Some(self.segment),
                checksum_start: self.length,
                gso: Some(GsoKind::TcpV4),
                gso_size: self.segment,
                gso_ecn: false,
            },
        }
    }

    /// The 802.1Q tag that the link took off.
    pub fn vlan(&self) -> Option<Vlan> {
        self.tag.map(|tci| Vlan { tpid: 0x8100, tci })
    }

    /// The side it arrives on and its bytes.
    pub fn frame(&self) -> (bool, Vec<u8>) {
        let family = if self.v6 { 2 } else { 0 };
        let client = client_address(self.v6, self.client);
        let (source, destination) = if self.server_side {
            let family = if self.v6 { 4 } else { 0 };
            (server_address(self.other & 3 | family), client)
        } else {
            (client, virtual_address(self.other & 1 | family))
        };
        let protocol = match self.protocol & 7 {
            0..=2 => 6,
            3 | 4 => 17,
            5 => 132,
            6 if self.v6 => 58,
            6 => 1,
            _ => 50,
        };
        let payload = self.payload(protocol, source, destination);
        let datagram = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.ipv4(protocol, source, destination, &payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.ipv6(protocol, source, destination, &payload)
            }
            _ => Vec::new(),
        };
        let mut mac = own_mac(self.server_side).0;
        if self.foreign_mac == 1 {
            mac[5] ^= 8;
        }
        let kind: [u8; 2] = if self.v6 { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&mac[..], &[2, 0, 0, 0, 9, 9], &kind, &datagram].concat();
        (self.server_side, frame)
    }

    fn payload(&self, protocol: u8, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let high = [1001, 1002, 1003, 20][usize::from(self.ports & 3)];
        let low = [80, 53, 21, 8080][usize::from(self.ports >> 2 & 3)];
        let (from, to): (u16, u16) = if self.server_side {
            (low, high)
        } else {
            (high, low)
        };
        let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
        let data = vec![0x55; usize::from(self.length % 4000)];
        let (mut bytes, checksum_at) = match protocol {
            6 => {
                let offset = if self.tos == 3 { 0x40 } else { 0x50 };
                let rest = [
                    0, 0, 3, 232, 0, 0, 0, 0, offset, self.flags, 32, 0, 0, 0, 0, 0,
                ];
                ([&ports[..], &rest, &data].concat(), 16)
            }
            17 => {
                let length = u16::try_from(8 + data.len()).unwrap_or(u16::MAX);
                (
                    [&ports[..], &length.to_be_bytes(), &[0, 0], &data].concat(),
                    6,
                )
            }
            132 => {
                let chunk = [self.flags % 16, 0, 0, 4];
                return [&ports[..], &[0; 8], &chunk].concat();
            }
            1 | 58 => {
                let kind = if protocol == 1 {
                    [3, 4, 11, 5, 8][usize::from(self.flags) % 5]
                } else {
                    [1, 2, 3, 4, 128][usize::from(self.flags) % 5]
                };
                let header = [kind, self.tos & 7, 0, 0, 0, 0, 5, 0];
                ([&header[..], &self.quoted].concat(), 2)
            }
            _ => return [&[0, 0, 1, 0, 0, 0, 0, 1][..], &data].concat(),
        };
        let pseudo = match (protocol, source, destination) {
            (1, ..) => Vec::new(),
            (_, IpAddr::V4(source), IpAddr::V4(destination)) => {
                [&source.octets()[..], &destination.octets()].concat()
            }
            (_, IpAddr::V6(source), IpAddr::V6(destination)) => {
                [&source.octets()[..], &destination.octets()].concat()
            }
            _ => Vec::new(),
        };
        let tail = if protocol == 1 {
            0
        } else {
            u32::from(protocol) + u32::try_from(bytes.len()).unwrap_or(0)
        };
        let checksum = checksum(&[&pseudo, &bytes], tail);
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn ipv4(
        &self,
        protocol: u8,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        payload: &[u8],
    ) -> Vec<u8> {
        let (offset, more, payload) = self.piece(payload);
        let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX);
        let df = if self.fragment & 0x40 != 0 && offset == 0 && !more {
            0x4000
        } else {
            0
        };
        let field = offset / 8 | if more { 0x2000 } else { 0 } | df;
        let mut header = vec![0x45, self.tos];
        header.extend(length.to_be_bytes());
        header.extend([0, self.fragment >> 4]);
        header.extend(field.to_be_bytes());
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        let sum = checksum(&[&header], 0);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&header, payload].concat()
    }

    fn ipv6(
        &self,
        protocol: u8,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        payload: &[u8],
    ) -> Vec<u8> {
        let (offset, more, payload) = self.piece(payload);
        let fragment = if offset > 0 || more {
            let field = offset | u16::from(more);
            let [high, low] = field.to_be_bytes();
            vec![protocol, 0, high, low, 0, 0, 0, self.fragment >> 4]
        } else {
            Vec::new()
        };
        let next = if fragment.is_empty() { protocol } else { 44 };
        let length = u16::try_from(fragment.len() + payload.len()).unwrap_or(u16::MAX);
        let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        header.extend(length.to_be_bytes());
        header.extend([next, self.ttl]);
        header.extend(source.octets());
        header.extend(destination.octets());
        [&header[..], &fragment, payload].concat()
    }

    /// The part of the payload that this packet carries: mostly all of it.
    fn piece<'a>(&self, payload: &'a [u8]) -> (u16, bool, &'a [u8]) {
        let cut = (payload.len() / 2) & !7;
        match self.fragment & 0x0f {
            1 => (0, true, &payload[..cut]),
            2 => (u16::try_from(cut).unwrap_or(0), false, &payload[cut..]),
            3 => (u16::from(self.tos) * 8, true, &payload[..cut]),
            _ => (0, false, payload),
        }
    }
}

fn checksum(parts: &[&[u8]], start: u32) -> u16 {
    let mut sum = start;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}
