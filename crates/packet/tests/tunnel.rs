//! Encapsulation: the kernel's bytes, and encapsulate -> decapsulate = identity.

mod common;

use std::net::IpAddr;

use common::{Frame, HEADROOM, build, fix_header_checksum, from_hex, specs, to_hex};
use packet::tunnel::{TunnelChecksum, decapsulate_gre, decapsulate_gue, mark_congestion};
use packet::{
    GsoKind, Headers, Mac, Malformed, Packet, Tunnel, TunnelError, TunnelKind, decapsulate,
    decrement_ttl, encapsulate, set_link,
};
use proptest::prelude::*;

fn tunnel(kind: TunnelKind, source: &str, destination: &str, id: u16) -> Tunnel {
    Tunnel {
        kind,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        source_port: 0,
        destination_port: 6080,
        checksum: TunnelChecksum::None,
        id,
        copy_df: true,
    }
}

/// What the director of the recordings does to a client's frame.
fn forward(hex: &str, tunnel: &Tunnel) -> String {
    let mut frame = Frame::hex(hex);
    let headers = frame.headers();
    let mut packet = frame.packet();
    decrement_ttl(&mut packet, &headers).unwrap();
    encapsulate(&mut packet, &headers, tunnel).unwrap();
    set_link(
        &mut packet,
        Mac([2, 0, 0, 0, 2, 0xfd]),
        Mac([2, 0, 0, 0, 2, 1]),
    );
    to_hex(packet.bytes())
}

const SYN: &str = "0200000001010200000001fe080045000030000100004006aeb4c000020a0a08000103e90050\
                   000003e8000000007002200089eb0000020405b403030700";
const PING: &str = "0200000001010200000001fe080045000020000100004011aeb9c000020a0a08000103e90050\
                    000c50b970696e67";
const SYN6: &str = "0200000001010200000001fe86dd60000000001c064020010db8000c00000000000000000010\
                    fd00000800000000000000000000000103e90050000003e800000000700220002b200000\
                    020405b403030700";
const PING6: &str = "0200000001010200000001fe86dd60000000000c114020010db8000c00000000000000000010\
                     fd00000800000000000000000000000103e90050000cf1ed70696e67";

#[test]
fn ipip_as_recorded() {
    assert_eq!(
        forward(
            SYN,
            &tunnel(TunnelKind::Ipip, "10.2.0.1", "10.3.0.12", 28826)
        ),
        "0200000002fd020000000201080045000044709a00003f04f70a0a0200010a03000c45000030000100003f06\
         afb4c000020a0a08000103e90050000003e8000000007002200089eb0000020405b403030700"
    );
    assert_eq!(
        forward(SYN, &tunnel(TunnelKind::Ipip, "fd00:2::1", "fd00:3::12", 0)),
        "0200000002fd02000000020186dd600000000030043ffd000002000000000000000000000001fd0000030000\
         0000000000000000001245000030000100003f06afb4c000020a0a08000103e90050000003e8000000007002\
         200089eb0000020405b403030700"
    );
}

#[test]
fn gre_with_checksum_as_recorded() {
    let tunnel = Tunnel {
        checksum: TunnelChecksum::Full,
        ..tunnel(TunnelKind::Gre, "10.2.0.1", "10.3.0.12", 0x2fb0)
    };
    assert_eq!(
        forward(PING, &tunnel),
        "0200000002fd02000000020108004500003c2fb000003f2f37d20a0200010a03000c80000800443000004500\
         0020000100003f11afb9c000020a0a08000103e90050000c50b970696e67"
    );
}

#[test]
fn gue_as_recorded() {
    let tunnel4 = tunnel(TunnelKind::Gue, "10.2.0.1", "10.3.0.12", 0xb71e);
    assert_eq!(
        forward(
            SYN6,
            &Tunnel {
                source_port: 0xa6eb,
                ..tunnel4
            }
        ),
        "0200000002fd020000000201080045000064b71e00003f11b0590a0200010a03000ca6eb17c0005000000029\
         000060000000001c063f20010db8000c00000000000000000010fd0000080000000000000000000000010\
         3e90050000003e800000000700220002b200000020405b403030700"
    );
    let full = Tunnel {
        checksum: TunnelChecksum::Full,
        source_port: 0xa95d,
        id: 0x0357,
        ..tunnel4
    };
    let recorded = "0200000002fd020000000201080045000050035700003f1164350a0200010a03000ca95d17c0003cf6780004\
         000045000030000100003f06afb4c000020a0a08000103e90050000003e8000000007002200089eb00000204\
         05b403030700";
    assert_eq!(forward(SYN, &full), recorded);
    let remote = Tunnel {
        checksum: TunnelChecksum::Remote,
        ..full
    };
    assert_eq!(
        forward(SYN, &remote),
        recorded,
        "complete inner checksums: as with --tun-csum"
    );
    let tunnel6 = tunnel(TunnelKind::Gue, "fd00:2::1", "fd00:3::12", 0);
    assert_eq!(
        forward(
            PING6,
            &Tunnel {
                checksum: TunnelChecksum::Full,
                source_port: 0x9fcf,
                ..tunnel6
            }
        ),
        "0200000002fd02000000020186dd600000000040113ffd000002000000000000000000000001fd0000030000\
         000000000000000000129fcf17c00040dc6d0029000060000000000c113f20010db8000c0000000000000000\
         0010fd00000800000000000000000000000103e90050000cf1ed70696e67"
    );
}

#[test]
fn df_ecn_and_padding() {
    // "Don't fragment", CE and six octets of padding.
    let mut bytes = from_hex(PING);
    bytes[15] = 0xbb;
    bytes[20] = 0x40;
    fix_header_checksum(&mut bytes[14..]);
    bytes.extend_from_slice(&[0xee; 6]);
    let mut frame = Frame::new(&bytes, 14);
    let headers = frame.headers();
    let mut packet = frame.packet();
    encapsulate(
        &mut packet,
        &headers,
        &tunnel(TunnelKind::Ipip, "10.2.0.1", "10.3.0.12", 9),
    )
    .unwrap();
    let outer = Headers::parse(&packet).unwrap();
    assert_eq!((outer.tos, outer.dont_fragment, outer.id), (0xba, true, 0));
    assert_eq!(packet.len(), 14 + 20 + 32, "padding stays outside");

    let plain = Tunnel {
        copy_df: false,
        ..tunnel(TunnelKind::Ipip, "10.2.0.1", "10.3.0.12", 9)
    };
    let mut frame = Frame::new(&bytes, 14);
    let mut packet = frame.packet();
    encapsulate(&mut packet, &headers, &plain).unwrap();
    let outer = Headers::parse(&packet).unwrap();
    assert_eq!((outer.dont_fragment, outer.id), (false, 9));
}

#[test]
fn partial_checksums_are_completed() {
    let mut bytes = from_hex(PING);
    let pseudo = packet::checksum::Sum::ZERO.pseudo_header(
        [192, 0, 2, 10].into(),
        [10, 8, 0, 1].into(),
        17,
        12,
    );
    bytes[40..42].copy_from_slice(&pseudo.fold().to_be_bytes());
    let mut frame = Frame::new(&bytes, 14);
    let headers = frame.headers();
    let mut packet = frame.packet();
    packet.offload.partial_checksum = Some(6);
    packet.offload.checksum_start = 34;
    encapsulate(
        &mut packet,
        &headers,
        &tunnel(TunnelKind::Ipip, "10.2.0.1", "10.3.0.12", 9),
    )
    .unwrap();
    assert_eq!(packet.offload.partial_checksum, None);
    assert_eq!(packet.bytes()[34 + 20..], from_hex(PING)[34..]);
}

#[test]
fn refusals_change_nothing() {
    let good = tunnel(TunnelKind::Gue, "10.2.0.1", "10.3.0.12", 9);
    let refuse = |bytes: &[u8], headroom: usize, gso, tunnel: &Tunnel| {
        let mut buffer = vec![0xa5; headroom];
        buffer.extend_from_slice(bytes);
        let before = buffer.clone();
        let mut packet = Packet::new(&mut buffer, headroom..headroom + bytes.len(), 14);
        packet.offload.gso = gso;
        let headers = Headers::parse(&packet).unwrap();
        let error = encapsulate(&mut packet, &headers, tunnel).unwrap_err();
        assert_eq!(packet.bytes(), &before[headroom..]);
        error
    };
    let bytes = from_hex(SYN);
    assert_eq!(refuse(&bytes, 31, None, &good), TunnelError::Headroom);
    assert_eq!(
        refuse(&bytes, 64, Some(GsoKind::TcpV4), &good),
        TunnelError::SuperFrame
    );
    let families = Tunnel {
        source: "fd00:2::1".parse().unwrap(),
        ..good
    };
    assert_eq!(refuse(&bytes, 64, None, &families), TunnelError::Families);
    let mut long = packet::ipv4::Fields {
        tos: 0,
        total_len: 65535,
        id: 1,
        dont_fragment: false,
        ttl: 9,
        protocol: 200,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
    }
    .to_bytes()
    .to_vec();
    long.splice(..0, bytes[..14].iter().copied());
    long.resize(14 + 65535, 0);
    assert_eq!(refuse(&long, 64, None, &good), TunnelError::TooLong);
}

#[test]
fn congestion_marks_are_carried_over() {
    for (hex, v6) in [(PING, false), (PING6, true)] {
        // ECN of the inner header: what becomes of it under an outer CE.
        for (inner, delivered, after) in [(0, false, 0), (1, true, 3), (2, true, 3), (3, true, 3)] {
            let mut frame = Frame::hex(hex);
            let mut packet = frame.packet();
            let datagram = &mut packet.bytes_mut()[14..];
            if v6 {
                datagram[1] |= inner << 4;
            } else {
                datagram[1] |= inner;
                fix_header_checksum(datagram);
            }
            assert!(mark_congestion(0xb8 | 2, datagram), "nothing was marked");
            assert_eq!(Headers::parse_datagram(datagram).unwrap().tos, inner);
            assert_eq!(
                mark_congestion(0xb8 | 3, datagram),
                delivered,
                "{v6} {inner}"
            );
            assert_eq!(Headers::parse_datagram(datagram).unwrap().tos, after);
        }
    }
    assert!(!mark_congestion(3, &mut [0x45; 19]));
}

#[test]
fn what_is_no_tunnel() {
    let syn = from_hex(SYN);
    assert_eq!(decapsulate(&syn[14..]), Err(Malformed::NotIp), "TCP");
    assert_eq!(
        decapsulate(&from_hex(PING)[14..]),
        Err(Malformed::NotIp),
        "not GUE"
    );
    assert_eq!(
        decapsulate_gre(&[0, 0, 0x08, 0x06]),
        Err(Malformed::NotIp),
        "ARP in GRE"
    );
    assert_eq!(
        decapsulate_gue(&[0, 6, 0, 0]),
        Err(Malformed::NotIp),
        "TCP in GUE"
    );
    assert_eq!(
        decapsulate_gue(&[0, 4, 0, 0]),
        Err(Malformed::NetworkTruncated)
    );
    let mut mislabelled = vec![0, 41, 0, 0];
    mislabelled.extend_from_slice(&syn[14..]);
    assert_eq!(decapsulate_gue(&mislabelled), Err(Malformed::BadVersion));
}

fn tunnels() -> impl Strategy<Value = Tunnel> {
    (
        prop_oneof![
            Just(TunnelKind::Ipip),
            Just(TunnelKind::Gre),
            Just(TunnelKind::Gue)
        ],
        prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Full)],
        any::<bool>(),
        any::<(u128, u128)>(),
        any::<(u16, u16, u16)>(),
        any::<bool>(),
    )
        .prop_map(
            |(kind, checksum, v6, addresses, (id, source_port, destination_port), copy_df)| {
                let address = |bits: u128| match v6 {
                    true => IpAddr::from(bits.to_be_bytes()),
                    false => IpAddr::from(*bits.to_be_bytes().first_chunk::<4>().unwrap()),
                };
                let (source, destination) = (address(addresses.0), address(addresses.1));
                Tunnel {
                    kind,
                    source,
                    destination,
                    source_port,
                    destination_port,
                    checksum,
                    id,
                    copy_df,
                }
            },
        )
}

proptest! {
    #[test]
    fn decapsulation_undoes_encapsulation(spec in specs(), tunnel in tunnels()) {
        let mut frame = build(&spec);
        let before = frame.bytes().to_vec();
        let link_len = frame.link_len;
        let headers = frame.headers();
        let mut packet = frame.packet();
        encapsulate(&mut packet, &headers, &tunnel).unwrap();
        prop_assert_eq!(packet.len(), before.len() + tunnel.overhead());
        let outer = Headers::parse(&packet).unwrap();
        prop_assert_eq!((outer.source, outer.destination), (tunnel.source, tunnel.destination));
        prop_assert_eq!(outer.ttl, headers.ttl);
        let network = packet.network();
        let inner = decapsulate(network).unwrap();
        prop_assert_eq!(inner.end, network.len());
        prop_assert_eq!(to_hex(&network[inner]), to_hex(&before[link_len..]));
    }

    #[test]
    fn decapsulation_survives_anything(
        spec in specs(),
        tunnel in tunnels(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = build(&spec);
        let headers = frame.headers();
        let mut packet = frame.packet();
        encapsulate(&mut packet, &headers, &tunnel).unwrap();
        let link_len = packet.link_len;
        let mut bytes = packet.bytes()[link_len..].to_vec();
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(range) = decapsulate(&bytes) {
            prop_assert!(range.start <= range.end && range.end <= bytes.len());
        }
        prop_assert!(HEADROOM >= tunnel.overhead());
    }
}
