//! What the tests of this crate share: frames from an independent builder, and hexadecimal.
#![allow(dead_code, reason = "each test binary uses its own part")]

use etherparse::PacketBuilder;
use packet::{Headers, Packet};
use proptest::prelude::*;

/// Octets kept free in front of each frame.
pub(crate) const HEADROOM: usize = 128;

/// A frame in a buffer of its own, with headroom.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) buffer: Vec<u8>,
    pub(crate) link_len: usize,
}

impl Frame {
    pub(crate) fn new(bytes: &[u8], link_len: usize) -> Self {
        let mut buffer = vec![0xa5; HEADROOM];
        buffer.extend_from_slice(bytes);
        Self { buffer, link_len }
    }

    pub(crate) fn hex(hex: &str) -> Self {
        Self::new(&from_hex(hex), 14)
    }

    pub(crate) fn packet(&mut self) -> Packet<'_> {
        let end = self.buffer.len();
        Packet::new(&mut self.buffer, HEADROOM..end, self.link_len)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[HEADROOM..]
    }

    pub(crate) fn headers(&mut self) -> Headers {
        Headers::parse(&self.packet()).expect("a valid frame")
    }
}

pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the checksum of the IPv4 header of 20 octets at the start of `datagram`.
pub(crate) fn fix_header_checksum(datagram: &mut [u8]) {
    datagram[10..12].fill(0);
    let checksum = packet::checksum::Sum::of(&datagram[..20]).finish();
    datagram[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// The upper-layer protocol of a generated frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upper {
    Tcp,
    Udp,
    Icmp,
}

/// What a generated frame is made of.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) v6: bool,
    pub(crate) ethernet: bool,
    pub(crate) upper: Upper,
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) ports: (u16, u16),
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn specs() -> impl Strategy<Value = Spec> {
    (
        any::<(bool, bool)>(),
        prop_oneof![Just(Upper::Tcp), Just(Upper::Udp), Just(Upper::Icmp)],
        any::<([u8; 16], [u8; 16])>(),
        any::<(u16, u16)>(),
        2_u8..,
        proptest::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(
            |((v6, ethernet), upper, (source, destination), ports, ttl, payload)| Spec {
                v6,
                ethernet,
                upper,
                source,
                destination,
                ports,
                ttl,
                payload,
            },
        )
}

/// Builds the frame with etherparse, which fills in lengths and checksums.
pub(crate) fn build(spec: &Spec) -> Frame {
    let mut bytes = Vec::new();
    let [a, b, c, d, ..] = spec.source;
    let [e, f, g, h, ..] = spec.destination;
    let ip = if spec.v6 {
        etherparse::IpHeaders::Ipv6(
            etherparse::Ipv6Header {
                hop_limit: spec.ttl,
                source: spec.source,
                destination: spec.destination,
                ..Default::default()
            },
            etherparse::Ipv6Extensions::default(),
        )
    } else {
        let header = etherparse::Ipv4Header::new(
            0,
            spec.ttl,
            etherparse::ip_number::TCP,
            [a, b, c, d],
            [e, f, g, h],
        );
        etherparse::IpHeaders::Ipv4(header.unwrap(), etherparse::Ipv4Extensions::default())
    };
    let builder = match spec.ethernet {
        true => PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ip(ip),
        false => PacketBuilder::ip(ip),
    };
    let (source, destination) = spec.ports;
    match spec.upper {
        Upper::Tcp => builder
            .tcp(source, destination, 1000, 4096)
            .ack(77)
            .write(&mut bytes, &spec.payload),
        Upper::Udp => builder
            .udp(source, destination)
            .write(&mut bytes, &spec.payload),
        Upper::Icmp if spec.v6 => builder
            .icmpv6_echo_request(source, destination)
            .write(&mut bytes, &spec.payload),
        Upper::Icmp => builder
            .icmpv4_echo_request(source, destination)
            .write(&mut bytes, &spec.payload),
    }
    .unwrap();
    Frame::new(&bytes, if spec.ethernet { 14 } else { 0 })
}

/// Whether every checksum that the frame carries is right, as etherparse computes them.
pub(crate) fn checksums_are_right(frame: &[u8], link_len: usize) -> bool {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let Ok(sliced) = SlicedPacket::from_ip(&frame[link_len..]) else {
        return false;
    };
    match (sliced.net, sliced.transport) {
        (Some(NetSlice::Ipv4(ip)), transport) => {
            let header = ip.header();
            if header.to_header().calc_header_checksum() != header.header_checksum() {
                return false;
            }
            let header = header.to_header();
            match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    tcp.calc_checksum_ipv4(header.source, header.destination)
                        .unwrap()
                        == tcp.checksum()
                }
                Some(TransportSlice::Udp(udp)) => {
                    udp.to_header()
                        .calc_checksum_ipv4_raw(header.source, header.destination, udp.payload())
                        .unwrap()
                        == udp.checksum()
                }
                Some(TransportSlice::Icmpv4(icmp)) => packet::icmp::is_valid(icmp.slice()),
                _ => true,
            }
        }
        (Some(NetSlice::Ipv6(ip)), transport) => {
            let header = ip.header().to_header();
            match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    tcp.calc_checksum_ipv6(header.source, header.destination)
                        .unwrap()
                        == tcp.checksum()
                }
                Some(TransportSlice::Udp(udp)) => {
                    udp.to_header()
                        .calc_checksum_ipv6_raw(header.source, header.destination, udp.payload())
                        .unwrap()
                        == udp.checksum()
                }
                Some(TransportSlice::Icmpv6(icmp)) => {
                    icmp.is_checksum_valid(header.source, header.destination)
                }
                _ => true,
            }
        }
        _ => false,
    }
}
