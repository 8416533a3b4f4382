//! NAT, TTL and link header rewriting: the bytes of the kernel, and laws on any bytes.

mod common;

use std::net::IpAddr;

use common::{
    Frame, Upper, build, checksums_are_right, fix_header_checksum, from_hex, specs, to_hex,
};
use packet::checksum::{Change, Sum};
use packet::{
    Headers, Mac, Malformed, Packet, Translation, decrement_ttl, finish_checksum, insert_link,
    sctp, set_link, strip_link, translate,
};
use proptest::prelude::*;

fn to(address: &str, port: u16) -> Option<(IpAddr, u16)> {
    Some((address.parse().unwrap(), port))
}

/// What the director of the recordings does to a frame from a client to a NAT service.
fn nat(frame: &mut Frame, destination: Option<(IpAddr, u16)>) {
    let headers = frame.headers();
    let mut packet = frame.packet();
    decrement_ttl(&mut packet, &headers).unwrap();
    translate(
        &mut packet,
        &headers,
        Translation {
            source: None,
            destination,
        },
    )
    .unwrap();
    set_link(
        &mut packet,
        Mac([2, 0, 0, 0, 2, 0x11]),
        Mac([2, 0, 0, 0, 2, 1]),
    );
}

#[test]
fn as_recorded() {
    // packets.zerosum_nat: a sum of zero is sent as ffff; then an arriving ffff.
    let cases = [
        (
            "0200000001010200000001fe08004500001e000100004011aebbc000020a0a080001\
             03e90050000a1f44104a",
            "02000000021102000000020108004500001e000100003f11afb7c000020a0a02000b\
             03e91f90000affff104a",
        ),
        (
            "0200000001010200000001fe08004500001e000200004011aebac000020a0a080001\
             03e90050000affff2f8e",
            "02000000021102000000020108004500001e000200003f11afb6c000020a0a02000b\
             03e91f90000ae0bb2f8e",
        ),
    ];
    for (before, after) in cases {
        let mut frame = Frame::hex(before);
        nat(&mut frame, to("10.2.0.11", 8080));
        assert_eq!(to_hex(frame.bytes()), after);
    }
}

#[test]
fn udp_without_checksum_gets_one() {
    for (v6, destination) in [(false, "10.2.0.11"), (true, "fd00:2::11")] {
        let mut spec = spec(v6, Upper::Udp);
        spec.payload = b"a payload of odd length".to_vec();
        let mut frame = build(&spec);
        let at = frame.headers().transport_offset + 6;
        frame.packet().bytes_mut()[at..at + 2].copy_from_slice(&[0, 0]);
        let mut super_frame = frame.clone();
        nat(&mut frame, to(destination, 8080));
        assert!(checksums_are_right(frame.bytes(), 14), "{v6}");

        let mut packet = super_frame.packet();
        packet.offload.gso = Some(packet::GsoKind::UdpL4);
        let headers = Headers::parse(&packet).unwrap();
        let translation = Translation {
            source: None,
            destination: to(destination, 8080),
        };
        translate(&mut packet, &headers, translation).unwrap();
        assert_eq!(
            packet.bytes()[at..at + 2],
            [0, 0],
            "of several datagrams none"
        );
    }
}

#[test]
fn ttl_one_is_left_alone() {
    for v6 in [false, true] {
        for ttl in [0, 1] {
            let mut frame = build(&common::Spec {
                ttl,
                ..spec(v6, Upper::Tcp)
            });
            let before = frame.bytes().to_vec();
            let headers = frame.headers();
            assert_eq!(decrement_ttl(&mut frame.packet(), &headers), None);
            assert_eq!(frame.bytes(), before);
        }
        let mut frame = build(&common::Spec {
            ttl: 2,
            ..spec(v6, Upper::Tcp)
        });
        let headers = frame.headers();
        assert_eq!(decrement_ttl(&mut frame.packet(), &headers), Some(1));
        assert_eq!(frame.headers().ttl, 1);
    }
}

#[test]
fn other_family_is_refused() {
    let mut frame = build(&spec(false, Upper::Tcp));
    let before = frame.bytes().to_vec();
    let headers = frame.headers();
    let translation = Translation {
        source: None,
        destination: to("fd00:2::11", 80),
    };
    let refused = translate(&mut frame.packet(), &headers, translation);
    assert_eq!(refused, Err(Malformed::BadVersion));
    assert_eq!(frame.bytes(), before);
}

fn spec(v6: bool, upper: Upper) -> common::Spec {
    common::Spec {
        v6,
        ethernet: true,
        upper,
        source: [9; 16],
        destination: [7; 16],
        ports: (1001, 80),
        ttl: 64,
        payload: b"payload".to_vec(),
    }
}

#[test]
fn sctp_checksum_is_computed_when_ports_change() {
    // The DATA of recording tcp_states.sctp_sloppy0; its checksum here is made wrong first.
    let hex = "0200000001010200000001fe0800 45000034000100004084ae32c000020a0a080001\
               0bb80050000000079969855600000014000000010000000000000000 68692121";
    let mut frame = Frame::hex(hex);
    nat(&mut frame, to("10.2.0.11", 80));
    assert_eq!(
        frame.bytes()[34..],
        from_hex(hex)[34..],
        "addresses are not covered"
    );
    nat(&mut frame, to("10.2.0.11", 8080));
    assert!(sctp::is_valid(&frame.bytes()[34..]));
    frame.buffer[common::HEADROOM + 42] ^= 1;
    nat(&mut frame, to("10.2.0.11", 80));
    assert!(sctp::is_valid(&frame.bytes()[34..]));
}

#[test]
fn fragments() {
    let mut first = build(&spec(false, Upper::Udp));
    let mut packet = first.packet();
    packet.bytes_mut()[20] |= 0x20; // more fragments
    fix_header_checksum(&mut packet.bytes_mut()[14..]);
    let whole = first.bytes().to_vec();
    nat(&mut first, to("10.2.0.11", 8080));
    assert_eq!(first.headers().ports(), (1001, 8080));
    let udp = &first.bytes()[34..];
    let pseudo = |destination: IpAddr| {
        Sum::of(udp)
            .pseudo_header([9, 9, 9, 9].into(), destination, 17, udp.len())
            .fold()
    };
    assert_eq!(pseudo([10, 2, 0, 11].into()), 0xffff);

    // A later fragment: what looks like ports stays.
    let mut later = Frame::new(&whole, 14);
    let mut packet = later.packet();
    packet.bytes_mut()[21] = 3; // offset 24
    fix_header_checksum(&mut packet.bytes_mut()[14..]);
    nat(&mut later, to("10.2.0.11", 8080));
    assert_eq!(later.headers().destination, IpAddr::from([10, 2, 0, 11]));
    assert_eq!(later.bytes()[34..], whole[34..]);
}

#[test]
fn link_headers_come_and_go() {
    let mut frame = build(&spec(true, Upper::Udp));
    let before = frame.bytes().to_vec();
    let mut packet = frame.packet();
    packet.offload.checksum_start = 54;
    strip_link(&mut packet);
    assert_eq!((packet.link_len, packet.offload.checksum_start), (0, 40));
    assert_eq!(packet.bytes(), &before[14..]);
    assert!(insert_link(
        &mut packet,
        Mac([2, 0, 0, 0, 0, 2]),
        Mac([2, 0, 0, 0, 0, 1])
    ));
    assert_eq!((packet.link_len, packet.offload.checksum_start), (14, 54));
    assert_eq!(packet.bytes(), before);

    let mut bytes = before[14..].to_vec();
    let len = bytes.len();
    let mut packet = Packet::new(&mut bytes, 0..len, 0);
    assert!(
        !insert_link(&mut packet, Mac::BROADCAST, Mac::BROADCAST),
        "no headroom"
    );
    set_link(&mut packet, Mac::BROADCAST, Mac::BROADCAST);
    assert_eq!(
        packet.bytes(),
        &before[14..],
        "TUN has no link header to write"
    );
}

proptest! {
    #[test]
    fn incremental_checksum_equals_the_full_one(
        mut words in proptest::collection::vec(any::<u16>(), 2..40),
        at in any::<prop::sample::Index>(),
        new: u16,
    ) {
        let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
        words[0] = 1; // a sum is never that of zeros alone: it covers a version or a protocol
        let at = 1 + at.index(words.len() - 1);
        let old = words[at];
        let before = Sum::of(&bytes(&words)).finish();
        words[at] = new;
        let after = Sum::of(&bytes(&words)).finish();
        prop_assert_eq!(Change::NONE.u16(old, new).apply(before), after);
    }

    #[test]
    fn a_sum_does_not_depend_on_how_it_is_cut(bytes: Vec<u8>, cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len() / 2 + 1) * 2;
        let naive = bytes.chunks(2).fold(0_u32, |sum, word| {
            let sum = sum + u32::from(word[0]) * 256 + word.get(1).map_or(0, |&low| u32::from(low));
            (sum & 0xffff) + (sum >> 16)
        });
        let cut = cut.min(bytes.len());
        prop_assert_eq!(u32::from(Sum::of(&bytes).fold()), naive);
        prop_assert_eq!(Sum::of(&bytes[..cut]).bytes(&bytes[cut..]).fold(), Sum::of(&bytes).fold());
    }

    #[test]
    fn translated_checksums_are_right(
        spec in specs(),
        new in any::<([u8; 16], [u8; 16])>(),
        ports in any::<(u16, u16)>(),
        which in any::<(bool, bool)>(),
    ) {
        let mut frame = build(&spec);
        let headers = frame.headers();
        let address = |octets: [u8; 16]| match spec.v6 {
            true => IpAddr::from(octets),
            false => IpAddr::from(*octets.first_chunk::<4>().unwrap()),
        };
        let translation = Translation {
            source: which.0.then_some((address(new.0), ports.0)),
            destination: which.1.then_some((address(new.1), ports.1)),
        };
        translate(&mut frame.packet(), &headers, translation).unwrap();
        prop_assert!(checksums_are_right(frame.bytes(), frame.link_len));
        let after = frame.headers();
        if let Some((address, port)) = translation.source {
            prop_assert_eq!(after.source, address);
            prop_assert!(spec.upper == Upper::Icmp || after.ports().0 == port);
        }
        if let Some((address, port)) = translation.destination {
            prop_assert_eq!(after.destination, address);
            prop_assert!(spec.upper == Upper::Icmp || after.ports().1 == port);
        }
    }

    #[test]
    fn translation_and_its_reverse_are_the_identity(
        spec in specs(),
        new in any::<([u8; 16], [u8; 16])>(),
        ports in any::<(u16, u16)>(),
        spoil: u16,
    ) {
        let mut frame = build(&spec);
        let headers = frame.headers();
        // Also where the checksum was wrong: it stays exactly as wrong. A UDP checksum of 0 is the
        // exception, being replaced.
        if let (Upper::Tcp, at) = (spec.upper, headers.transport_offset + 16) {
            frame.packet().bytes_mut()[at..at + 2].copy_from_slice(&(spoil | 1).to_be_bytes());
            if spoil == 0xffff {
                return Ok(()); // minus zero comes back as plus zero
            }
        }
        let before = frame.bytes().to_vec();
        let headers = frame.headers();
        let address = |octets: [u8; 16]| match spec.v6 {
            true => IpAddr::from(octets),
            false => IpAddr::from(*octets.first_chunk::<4>().unwrap()),
        };
        let there = Translation {
            source: Some((address(new.0), ports.0)),
            destination: Some((address(new.1), ports.1)),
        };
        translate(&mut frame.packet(), &headers, there).unwrap();
        let between = frame.headers();
        let back = Translation {
            source: Some((headers.source, headers.ports().0)),
            destination: Some((headers.destination, headers.ports().1)),
        };
        translate(&mut frame.packet(), &between, back).unwrap();
        prop_assert_eq!(to_hex(frame.bytes()), to_hex(&before));
    }

    #[test]
    fn partial_checksums_are_translated_and_completed(
        spec in specs(),
        new in any::<([u8; 16], [u8; 16])>(),
        ports in any::<(u16, u16)>(),
    ) {
        prop_assume!(spec.upper != Upper::Icmp || spec.v6);
        let mut frame = build(&spec);
        let headers = frame.headers();
        let offset = match spec.upper {
            Upper::Tcp => 16,
            Upper::Udp => 6,
            Upper::Icmp => 2,
        };
        let len = headers.end - headers.transport_offset;
        let pseudo = Sum::ZERO
            .pseudo_header(headers.source, headers.destination, headers.protocol, len)
            .fold();
        let at = headers.transport_offset + usize::from(offset);
        let mut packet = frame.packet();
        packet.bytes_mut()[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
        packet.offload.partial_checksum = Some(offset);
        packet.offload.checksum_start = u16::try_from(headers.transport_offset).unwrap();
        let address = |octets: [u8; 16]| match spec.v6 {
            true => IpAddr::from(octets),
            false => IpAddr::from(*octets.first_chunk::<4>().unwrap()),
        };
        let translation = Translation {
            source: Some((address(new.0), ports.0)),
            destination: Some((address(new.1), ports.1)),
        };
        let headers = Headers::parse(&packet).unwrap();
        translate(&mut packet, &headers, translation).unwrap();
        prop_assert!(finish_checksum(&mut packet));
        prop_assert!(checksums_are_right(frame.bytes(), frame.link_len));
    }

    #[test]
    fn stale_headers_do_no_harm(
        spec in specs(),
        other in specs(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = build(&spec);
        let headers = frame.headers();
        let mut other = build(&other);
        let end = cut.index(other.bytes().len() + 1);
        let mut packet = other.packet();
        packet.truncate(end);
        let translation = Translation { source: Some((headers.source, 1)), destination: None };
        let _ = translate(&mut packet, &headers, translation);
        let _ = decrement_ttl(&mut packet, &headers);
    }
}
