//! ICMP errors and the packets they quote: the kernel's NAT (tests/recorded/icmp_nat.txt), tunnelled
//! quotes, and any bytes.

mod common;

use std::net::IpAddr;

use common::{Frame, build, fix_header_checksum, from_hex, specs, to_hex};
use packet::{
    ErrorTranslation, Family, Headers, IcmpError, Quoted, Translation, Tunnel, TunnelChecksum,
    TunnelKind, decrement_ttl, encapsulate, icmp_error, translate_error,
};
use proptest::prelude::*;

#[test]
fn nat_as_recorded() {
    let mut count = 0;
    for line in include_str!("recorded/icmp_nat.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [case, number, sent, received] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("four words in {line}");
        };
        let mut frame = Frame::hex(sent);
        let headers = frame.headers();
        let mut packet = frame.packet();
        let quoted = Quoted::of(&packet, &headers).unwrap();
        let (vip, server): (IpAddr, IpAddr) = match headers.family {
            Family::V4 => ("10.8.0.1".parse().unwrap(), "10.2.0.11".parse().unwrap()),
            Family::V6 => ("fd00:8::1".parse().unwrap(), "fd00:2::11".parse().unwrap()),
        };
        let translation = if quoted.source == vip {
            assert_eq!(quoted.ports, Some((80, 1001)), "{case} {number}");
            ErrorTranslation {
                source: None,
                destination: Some(server),
                quoted: Translation {
                    source: Some((server, 8080)),
                    destination: None,
                },
            }
        } else {
            assert_eq!(quoted.ports, Some((1001, 8080)), "{case} {number}");
            ErrorTranslation {
                source: Some(vip),
                destination: None,
                quoted: Translation {
                    source: None,
                    destination: Some((vip, 80)),
                },
            }
        };
        assert!(packet::checksum::is_valid(&packet, &headers));
        decrement_ttl(&mut packet, &headers).unwrap();
        translate_error(&mut packet, &headers, &quoted, &translation).unwrap();
        assert_eq!(
            to_hex(&packet.bytes()[14..]),
            to_hex(&from_hex(received)[14..]),
            "{case} {number}"
        );
        count += 1;
    }
    assert_eq!(count, 14);
}

#[test]
fn three_octets_of_ports_are_none() {
    // The error of icmp.nat_tcp 6, which quotes four octets behind the IP header, cut by one.
    let line = include_str!("recorded/icmp_nat.txt")
        .lines()
        .find(|line| line.contains("nat_tcp 6 "));
    let sent = line.unwrap().split(' ').nth(2).unwrap();
    let mut bytes = from_hex(sent);
    bytes.pop();
    bytes[17] -= 1;
    fix_header_checksum(&mut bytes[14..]);
    let mut frame = Frame::new(&bytes, 14);
    let headers = frame.headers();
    let quoted = Quoted::of(&frame.packet(), &headers).unwrap();
    assert_eq!((quoted.ports, quoted.protocol), (None, 6));
    bytes.truncate(14 + 28 + 19);
    bytes[17] = 47;
    fix_header_checksum(&mut bytes[14..]);
    let mut frame = Frame::new(&bytes, 14);
    let headers = frame.headers();
    assert_eq!(
        Quoted::of(&frame.packet(), &headers),
        None,
        "less than an IP header"
    );
}

fn tunnel(kind: TunnelKind, v6: bool) -> Tunnel {
    let (source, destination): (IpAddr, IpAddr) = match v6 {
        false => ([10, 2, 0, 1].into(), [10, 3, 0, 11].into()),
        true => ("fd00:2::1".parse().unwrap(), "fd00:3::11".parse().unwrap()),
    };
    Tunnel {
        kind,
        source,
        destination,
        source_port: 33925,
        destination_port: 6080,
        checksum: if kind == TunnelKind::Gre {
            TunnelChecksum::Full
        } else {
            TunnelChecksum::None
        },
        id: 77,
        copy_df: true,
    }
}

proptest! {
    #[test]
    fn the_client_packet_is_found_in_a_tunnel_error(
        spec in specs(),
        kind in prop_oneof![Just(TunnelKind::Ipip), Just(TunnelKind::Gre), Just(TunnelKind::Gue)],
        v6: bool,
    ) {
        let mut frame = build(&spec);
        let inner = frame.headers();
        let mut packet = frame.packet();
        encapsulate(&mut packet, &inner, &tunnel(kind, v6)).unwrap();
        let outer = Headers::parse(&packet).unwrap();
        let mut out = [0xa5; 1280];
        let router: IpAddr = if v6 { [0xfd; 16].into() } else { [10, 3, 0, 1].into() };
        let len = icmp_error(&packet, &outer, IcmpError::HostUnreachable, router, 1, &mut out).unwrap();
        let mut error = Frame::new(&out[..len], 0);
        let headers = error.headers();
        let packet = error.packet();
        let quoted = Quoted::of(&packet, &headers).unwrap();
        prop_assert_eq!((quoted.source, quoted.destination), (outer.source, outer.destination));
        prop_assert_eq!(
            quoted.udp_destination(&packet),
            (kind == TunnelKind::Gue).then_some(6080)
        );
        let client = quoted.tunnelled(&packet).unwrap();
        prop_assert_eq!((client.source, client.destination), (inner.source, inner.destination));
        prop_assert_eq!(client.protocol, inner.protocol);
        prop_assert_eq!(client.ports.unwrap_or((0, 0)), inner.ports());
    }

    #[test]
    fn translating_an_error_there_and_back_is_the_identity(
        spec in specs(),
        new: [u8; 16],
        port: u16,
    ) {
        let mut frame = build(&spec);
        let about = frame.headers();
        prop_assume!(icmp_error::may_be_answered(&about));
        let mut out = [0xa5; 1280];
        let error = IcmpError::PortUnreachable;
        let len = icmp_error(&frame.packet(), &about, error, about.destination, 1, &mut out).unwrap();
        let before = out[..len].to_vec();
        let mut frame = Frame::new(&before, 0);
        let address: IpAddr = match spec.v6 {
            true => new.into(),
            false => (*new.first_chunk::<4>().unwrap()).into(),
        };
        let mut translate = |source: IpAddr, port: u16| {
            let headers = frame.headers();
            let mut packet = frame.packet();
            let quoted = Quoted::of(&packet, &headers).unwrap();
            let translation = ErrorTranslation {
                source: Some(source),
                destination: None,
                quoted: Translation { source: None, destination: Some((source, port)) },
            };
            translate_error(&mut packet, &headers, &quoted, &translation).unwrap();
            let headers = Headers::parse(&packet).unwrap();
            assert!(packet::checksum::is_valid(&packet, &headers));
            frame.bytes().to_vec()
        };
        let changed = translate(address, port);
        prop_assert!(changed != before || address == about.destination);
        prop_assert_eq!(translate(about.destination, about.ports().1), before);
    }

    #[test]
    fn any_quote_is_survived(
        v6: bool,
        mut quote in proptest::collection::vec(any::<u8>(), 0..80),
        first in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), any::<u8>()],
        protocol in prop_oneof![Just(4_u8), Just(41), Just(47), Just(17), any::<u8>()],
    ) {
        if let [octet, ..] = &mut quote[..] {
            *octet = first;
        }
        if let Some(octet) = quote.get_mut(if v6 { 6 } else { 9 }) {
            *octet = protocol;
        }
        let mut message = vec![if v6 { 1 } else { 3 }, 3, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&quote);
        let len = u16::try_from(message.len()).unwrap();
        let mut bytes = if v6 {
            packet::ipv6::Fields {
                traffic_class: 0,
                payload_len: len,
                next_header: 58,
                hop_limit: 64,
                source: [1; 16].into(),
                destination: [2; 16].into(),
            }
            .to_bytes()
            .to_vec()
        } else {
            packet::ipv4::Fields {
                tos: 0,
                total_len: 20 + len,
                id: 1,
                dont_fragment: false,
                ttl: 64,
                protocol: 1,
                source: [1; 4].into(),
                destination: [2; 4].into(),
            }
            .to_bytes()
            .to_vec()
        };
        bytes.extend_from_slice(&message);
        let mut frame = Frame::new(&bytes, 0);
        let headers = frame.headers();
        let mut packet = frame.packet();
        if let Some(quoted) = Quoted::of(&packet, &headers) {
            prop_assert!(quoted.transport_offset <= quoted.end && quoted.end == bytes.len());
            if let Some(inner) = quoted.tunnelled(&packet) {
                prop_assert!(inner.network_offset >= quoted.transport_offset);
            }
            let translation = ErrorTranslation {
                quoted: Translation { source: Some((quoted.source, 9)), destination: None },
                ..ErrorTranslation::default()
            };
            translate_error(&mut packet, &headers, &quoted, &translation).unwrap();
            prop_assert!(packet::checksum::is_valid(&packet, &headers));
        }
    }
}
