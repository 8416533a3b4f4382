//! Headers::parse against an independent parser, against hostile bytes, and on the odd packets whose
//! fate the recordings packets.bad_* and packets.frags* show.

mod common;

use std::net::IpAddr;

use common::{Frame, HEADROOM, build, fix_header_checksum, from_hex, specs};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use packet::{Family, Fragment, GsoKind, Headers, Malformed, Packet, Transport};
use proptest::prelude::*;

fn parse(hex: &str) -> Result<Headers, Malformed> {
    Headers::parse(&Frame::hex(hex).packet())
}

/// A SYN of recording fwd.tcp4_ipip.
const SYN: &str = "0200000001010200000001fe0800 45000030000100004006aeb4c000020a0a080001
    03e90050000003e8000000007002200089eb0000020405b403030700";

#[test]
fn tcp_syn() {
    let headers = parse(SYN).unwrap();
    assert_eq!(headers.family, Family::V4);
    assert_eq!(headers.source, "192.0.2.10".parse::<IpAddr>().unwrap());
    assert_eq!(headers.destination, "10.8.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(
        (headers.protocol, headers.tos, headers.ttl, headers.id),
        (6, 0, 64, 1)
    );
    assert_eq!(
        (
            headers.network_offset,
            headers.transport_offset,
            headers.end
        ),
        (14, 34, 62)
    );
    assert!(!headers.dont_fragment && !headers.has_options);
    assert_eq!(headers.fragment, None);
    let tcp = Transport::Tcp {
        source: 1001,
        destination: 80,
        sequence: 1000,
        acknowledgment: 0,
        flags: 2,
        header_len: 28,
    };
    assert_eq!(headers.transport, tcp);
    assert_eq!(headers.ports(), (1001, 80));
}

#[test]
fn every_truncation_has_its_reason() {
    let whole = from_hex(SYN);
    let reason = |bytes: &[u8]| Headers::parse(&Frame::new(bytes, 14).packet()).unwrap_err();
    for len in 0..whole.len() {
        let expected = match len {
            0..14 => Malformed::LinkTruncated,
            14..34 => Malformed::NetworkTruncated,
            _ => Malformed::BadLength,
        };
        assert_eq!(reason(&whole[..len]), expected, "{len}");
    }
    let mut bytes = whole.clone();
    bytes[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(reason(&bytes), Malformed::NotIp);
    bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    assert_eq!(reason(&bytes), Malformed::BadVersion);
    let mut bytes = whole.clone();
    bytes[14] = 0x44;
    assert_eq!(
        reason(&bytes),
        Malformed::NetworkTruncated,
        "header length below 20"
    );
    let mut bytes = whole.clone();
    bytes[17] = 19;
    assert_eq!(
        reason(&bytes),
        Malformed::BadLength,
        "total length below the header's"
    );
    let mut bytes = whole;
    bytes[24] ^= 1;
    assert_eq!(reason(&bytes), Malformed::BadHeaderChecksum);
}

#[test]
fn padding_lies_behind_the_end() {
    let mut bytes = from_hex(SYN);
    bytes.extend_from_slice(&[0xa5; 6]);
    assert_eq!(Frame::new(&bytes, 14).headers().end, 62);
}

#[test]
fn length_zero_only_in_a_super_frame() {
    let mut bytes = from_hex(SYN);
    bytes[16..18].copy_from_slice(&[0, 0]);
    bytes[24..26].copy_from_slice(&[0xae, 0xe4]);
    let mut frame = Frame::new(&bytes, 14);
    assert_eq!(Headers::parse(&frame.packet()), Err(Malformed::BadLength));
    let mut packet = frame.packet();
    packet.offload.gso = Some(GsoKind::TcpV4);
    assert_eq!(Headers::parse(&packet).unwrap().end, 62);
}

#[test]
fn data_offset_below_five_is_read() {
    // BEHAVIOURS 18: such a segment is still forwarded.
    let mut bytes = from_hex(SYN);
    bytes[46] = 0x20;
    let headers = Frame::new(&bytes, 14).headers();
    assert!(matches!(
        headers.transport,
        Transport::Tcp { header_len: 8, .. }
    ));
}

/// An IPv4 header with the given protocol, flags and offset, and a payload.
fn v4(protocol: u8, fragmentation: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = packet::ipv4::Fields {
        tos: 0,
        total_len: u16::try_from(20 + payload.len()).unwrap(),
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol,
        source: [192, 0, 2, 10].into(),
        destination: [10, 8, 0, 1].into(),
    }
    .to_bytes()
    .to_vec();
    header[6..8].copy_from_slice(&fragmentation.to_be_bytes());
    fix_header_checksum(&mut header);
    header.extend_from_slice(payload);
    header
}

fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = packet::ipv6::Fields {
        traffic_class: 0,
        payload_len: u16::try_from(payload.len()).unwrap(),
        next_header,
        hop_limit: 64,
        source: "2001:db8:c::10".parse().unwrap(),
        destination: "fd00:8::1".parse().unwrap(),
    }
    .to_bytes()
    .to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn upper_layer_headers_cut_short() {
    for (protocol, least) in [(6, 20), (17, 8), (132, 12), (1, 8)] {
        let payload = vec![0; least];
        assert!(Headers::parse_datagram(&v4(protocol, 0, &payload)).is_ok());
        let parse = |len| Headers::parse_datagram(&v4(protocol, 0, &payload[..len]));
        if protocol == 1 {
            assert_eq!(parse(least - 1), Err(Malformed::TransportTruncated));
        } else {
            let cut = |ports| Ok(Transport::Truncated { ports });
            let (most, without) = (parse(least - 1), parse(3));
            assert_eq!(most.map(|headers| headers.transport), cut(Some((0, 0))));
            assert_eq!(without.map(|headers| headers.transport), cut(None));
        }
        let first = Headers::parse_datagram(&v4(protocol, 0x2000, &payload[1..])).unwrap();
        assert_eq!(
            first.transport,
            Transport::Fragment,
            "a first fragment may be short"
        );
    }
    assert_eq!(
        Headers::parse_datagram(&v4(50, 0, &[])).unwrap().transport,
        Transport::Other
    );
    assert_eq!(
        Headers::parse_datagram(&v4(58, 0, &[0; 8]))
            .unwrap()
            .transport,
        Transport::Other
    );
}

#[test]
fn ipv4_fragments() {
    let udp = [0x03, 0xe9, 0, 80, 0, 100, 0, 0];
    let first = Headers::parse_datagram(&v4(17, 0x2000, &udp)).unwrap();
    assert_eq!(
        first.fragment,
        Some(Fragment {
            id: 7,
            offset: 0,
            more: true
        })
    );
    assert_eq!(first.ports(), (1001, 80));
    let later = Headers::parse_datagram(&v4(17, 0x2000 | 3, &udp)).unwrap();
    assert_eq!(
        later.fragment,
        Some(Fragment {
            id: 7,
            offset: 24,
            more: true
        })
    );
    assert_eq!(later.transport, Transport::Fragment);
    let last = Headers::parse_datagram(&v4(17, 0x1fff, &udp)).unwrap();
    assert_eq!(
        last.fragment,
        Some(Fragment {
            id: 7,
            offset: 65528,
            more: false
        })
    );
    let whole = Headers::parse_datagram(&v4(17, 0x4000, &udp)).unwrap();
    assert!(whole.fragment.is_none() && whole.dont_fragment);
}

#[test]
fn ipv6_extension_headers() {
    let udp = [0x03, 0xe9, 0, 80, 0, 8, 0, 0];
    for kind in [0_u8, 43, 60] {
        let mut payload = vec![17, 0, 1, 4, 0, 0, 0, 0];
        payload.extend_from_slice(&udp);
        let headers = Headers::parse_datagram(&v6(kind, &payload)).unwrap();
        assert_eq!(
            (headers.protocol, headers.transport_offset),
            (17, 48),
            "{kind}"
        );
        assert!(headers.has_options && headers.fragment.is_none());
        assert_eq!(headers.ports(), (1001, 80));
        let cut = Headers::parse_datagram(&v6(kind, &payload[..7]));
        assert_eq!(cut, Err(Malformed::ExtensionTruncated));
    }
    let mut chain = Vec::new();
    for _ in 0..100 {
        chain.extend_from_slice(&[60, 0, 1, 4, 0, 0, 0, 0]);
    }
    assert_eq!(
        Headers::parse_datagram(&v6(60, &chain)),
        Err(Malformed::ExtensionTruncated)
    );
}

#[test]
fn ipv6_fragments() {
    let udp = [0x03, 0xe9, 0, 80, 0, 8, 0, 0];
    let fragment = |offset_more: u16, rest: &[u8]| {
        let mut payload = vec![17, 0, 0, 0, 0, 0, 0x12, 0x34];
        payload[2..4].copy_from_slice(&offset_more.to_be_bytes());
        payload.extend_from_slice(rest);
        Headers::parse_datagram(&v6(44, &payload)).unwrap()
    };
    let first = fragment(1, &udp);
    assert_eq!(
        first.fragment,
        Some(Fragment {
            id: 0x1234,
            offset: 0,
            more: true
        })
    );
    assert_eq!(first.ports(), (1001, 80));
    assert!(!first.has_options);
    let later = fragment(1352, &udp);
    assert_eq!(
        later.fragment,
        Some(Fragment {
            id: 0x1234,
            offset: 1352,
            more: false
        })
    );
    assert_eq!((later.transport, later.protocol), (Transport::Fragment, 17));
    let atomic = fragment(0, &udp);
    assert_eq!((atomic.fragment, atomic.ports()), (None, (1001, 80)));
    assert_eq!(fragment(1, &udp[..4]).transport, Transport::Fragment);
}

#[test]
fn sctp_chunks() {
    let mut payload = vec![0x0b, 0xb8, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0];
    let read = |payload: &[u8]| {
        Headers::parse_datagram(&v4(132, 0, payload))
            .unwrap()
            .transport
    };
    let expected = |chunk, second_chunk| Transport::Sctp {
        source: 3000,
        destination: 80,
        chunk,
        second_chunk,
    };
    assert_eq!(read(&payload), expected(None, None));
    payload.extend_from_slice(&[10, 0, 0, 4, 6, 0, 0, 4]);
    assert_eq!(read(&payload), expected(Some(10), Some(6)));
}

proptest! {
    #[test]
    fn agrees_with_etherparse(spec in specs()) {
        let mut frame = build(&spec);
        let headers = frame.headers();
        let link_len = frame.link_len;
        let bytes = frame.bytes();
        let sliced = SlicedPacket::from_ip(&bytes[link_len..]).unwrap();
        let (source, destination, ttl) = match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => (
                IpAddr::V4(ip.header().source_addr()),
                IpAddr::V4(ip.header().destination_addr()),
                ip.header().ttl(),
            ),
            NetSlice::Ipv6(ip) => (
                IpAddr::V6(ip.header().source_addr()),
                IpAddr::V6(ip.header().destination_addr()),
                ip.header().hop_limit(),
            ),
            NetSlice::Arp(_) => unreachable!("no ARP was built"),
        };
        prop_assert_eq!(headers.source, source);
        prop_assert_eq!(headers.destination, destination);
        prop_assert_eq!(headers.ttl, ttl);
        prop_assert_eq!(headers.end, bytes.len());
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(tcp) => prop_assert_eq!(
                headers.transport,
                Transport::Tcp {
                    source: tcp.source_port(),
                    destination: tcp.destination_port(),
                    sequence: tcp.sequence_number(),
                    acknowledgment: tcp.acknowledgment_number(),
                    flags: 0x10,
                    header_len: 20,
                }
            ),
            TransportSlice::Udp(udp) => prop_assert_eq!(
                headers.transport,
                Transport::Udp {
                    source: udp.source_port(),
                    destination: udp.destination_port(),
                    checksum: udp.checksum(),
                }
            ),
            TransportSlice::Icmpv4(icmp) => prop_assert_eq!(
                headers.transport,
                Transport::Icmp { kind: icmp.type_u8(), code: icmp.code_u8() }
            ),
            TransportSlice::Icmpv6(icmp) => prop_assert_eq!(
                headers.transport,
                Transport::Icmp { kind: icmp.type_u8(), code: icmp.code_u8() }
            ),
            TransportSlice::Igmp(_) => prop_assert!(false, "no IGMP was built"),
        }
    }

    #[test]
    fn offsets_lie_in_the_frame(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        first in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), any::<u8>()],
        link_len in prop_oneof![Just(0_usize), Just(14), 0..40_usize],
        super_frame: bool,
    ) {
        if let Some(octet) = bytes.get_mut(link_len) {
            *octet = first;
        }
        let mut frame = Frame::new(&bytes, link_len);
        let mut packet = frame.packet();
        packet.offload.gso = super_frame.then_some(GsoKind::TcpV4);
        if let Ok(headers) = Headers::parse(&packet) {
            prop_assert!(headers.network_offset <= headers.transport_offset);
            prop_assert!(headers.transport_offset <= headers.end);
            prop_assert!(headers.end <= bytes.len());
        }
    }

    #[test]
    fn mutated_frames_are_survived(
        spec in specs(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = build(&spec);
        let len = frame.bytes().len();
        for (index, value) in flips {
            frame.buffer[HEADROOM + index.index(len)] = value;
        }
        let end = HEADROOM + cut.index(len + 1);
        let packet = Packet::new(&mut frame.buffer, HEADROOM..end, spec.ethernet as usize * 14);
        if let Ok(headers) = Headers::parse(&packet) {
            prop_assert!(headers.end <= packet.len());
        }
    }
}
