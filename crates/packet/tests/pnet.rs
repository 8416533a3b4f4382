//! `pnet_packet` as an independent reader: after NAT and after a tunnel, it reads the fields and computes the
//! checksums that we wrote.

use std::net::{IpAddr, Ipv4Addr};

use packet::{Headers, Packet, Translation, Transport, decrement_ttl, translate};
use pnet_packet::Packet as _;
use pnet_packet::ethernet::EthernetPacket;
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::tcp::{self, TcpPacket};
use pnet_packet::udp::{self, UdpPacket};
use proptest::prelude::*;

const HEADROOM: usize = 64;

fn frame(source: [u8; 4], ports: (u16, u16), is_tcp: bool, payload: &[u8]) -> Vec<u8> {
    let builder =
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, [10, 8, 0, 1], 64);
    let mut bytes = vec![0; HEADROOM];
    if is_tcp {
        builder
            .tcp(ports.0, ports.1, 7, 64240)
            .ack(9)
            .write(&mut bytes, payload)
            .unwrap();
    } else {
        builder
            .udp(ports.0, ports.1)
            .write(&mut bytes, payload)
            .unwrap();
    }
    bytes
}

proptest! {
    #[test]
    fn reads_what_nat_wrote(
        source: [u8; 4],
        ports: (u16, u16),
        server: ([u8; 4], u16),
        is_tcp: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut buffer = frame(source, ports, is_tcp, &payload);
        let end = buffer.len();
        let mut packet = Packet::new(&mut buffer, HEADROOM..end, 14);
        let headers = Headers::parse(&packet).unwrap();
        prop_assert_eq!(headers.ports(), ports);
        prop_assert_eq!(decrement_ttl(&mut packet, &headers), Some(63));
        let server = (IpAddr::from(server.0), server.1);
        let translation = Translation { source: None, destination: Some(server) };
        translate(&mut packet, &headers, translation).unwrap();

        let ethernet = EthernetPacket::new(packet.bytes()).unwrap();
        let network = Ipv4Packet::new(ethernet.payload()).unwrap();
        prop_assert_eq!(network.get_source(), Ipv4Addr::from(source));
        prop_assert_eq!(IpAddr::V4(network.get_destination()), server.0);
        prop_assert_eq!(network.get_ttl(), 63);
        prop_assert_eq!(network.get_checksum(), ipv4::checksum(&network));
        let (from, to) = (network.get_source(), network.get_destination());
        if is_tcp {
            prop_assert_eq!(network.get_next_level_protocol(), IpNextHeaderProtocols::Tcp);
            let segment = TcpPacket::new(network.payload()).unwrap();
            prop_assert_eq!((segment.get_source(), segment.get_destination()), (ports.0, server.1));
            prop_assert_eq!(segment.get_checksum(), tcp::ipv4_checksum(&segment, &from, &to));
            let is_same = matches!(headers.transport, Transport::Tcp { sequence, .. } if sequence == segment.get_sequence());
            prop_assert!(is_same);
            prop_assert_eq!(segment.payload(), &payload[..]);
        } else {
            let datagram = UdpPacket::new(network.payload()).unwrap();
            prop_assert_eq!((datagram.get_source(), datagram.get_destination()), (ports.0, server.1));
            // A sum of 0 is written as 0xffff (RFC 768), which pnet_packet does not do.
            let expected = match udp::ipv4_checksum(&datagram, &from, &to) {
                0 => 0xffff,
                sum => sum,
            };
            prop_assert_eq!(datagram.get_checksum(), expected);
            prop_assert_eq!(datagram.payload(), &payload[..]);
        }
    }
}
