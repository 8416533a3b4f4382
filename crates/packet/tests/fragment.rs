//! Fragmentation: the kernel's outer fragments, IPv4 options, and that the pieces are the whole.

mod common;

use common::{Frame, Spec, build, fix_header_checksum, from_hex, specs, to_hex};
use packet::fragment::{payload, reassembled_header};
use packet::{
    Fragments, Headers, Mac, Packet, Tunnel, TunnelChecksum, TunnelKind, decrement_ttl,
    encapsulate, set_link,
};
use proptest::prelude::*;

/// All fragments, each written over 0xa5.
fn pieces(fragments: &Fragments<'_>) -> Vec<Vec<u8>> {
    let pieces: Vec<_> = (0..fragments.count())
        .map(|n| {
            let mut out = vec![0xa5; fragments.max_len()];
            let len = fragments.write(n, &mut out).unwrap();
            out.truncate(len);
            out
        })
        .collect();
    assert_eq!(fragments.write(pieces.len(), &mut [0; 2000]), None);
    pieces
}

/// Puts fragments, in any order, together again as the director would.
fn reassemble(pieces: &[Vec<u8>], link_len: usize) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut front = Vec::new();
    let parsed: Vec<_> = pieces
        .iter()
        .map(|piece| {
            let mut frame = Frame::new(piece, link_len);
            let headers = frame.headers();
            (headers, piece.clone())
        })
        .collect();
    let mut lengths = 0;
    for (headers, piece) in &parsed {
        let mut frame = Frame::new(piece, link_len);
        let range = payload(&frame.packet(), headers).unwrap();
        let at = usize::from(headers.fragment.unwrap().offset);
        lengths += range.len();
        whole.resize(whole.len().max(at + range.len()), 0xa5);
        whole[at..at + range.len()].copy_from_slice(&piece[range]);
    }
    assert_eq!(lengths, whole.len(), "fragments do not overlap");
    for (headers, piece) in &parsed {
        if headers.fragment.unwrap().offset == 0 {
            front = vec![0xa5; piece.len()];
            let mut frame = Frame::new(piece, link_len);
            let packet = frame.packet();
            let len = reassembled_header(&packet, headers, whole.len(), false, &mut front).unwrap();
            front.truncate(len);
        }
    }
    front.extend_from_slice(&whole);
    front
}

#[test]
fn outer_fragments_as_recorded() {
    let lines = include_str!("recorded/outer_fragments.txt").lines();
    let mut count = 0;
    for line in lines.filter(|line| !line.starts_with('#')) {
        let [number, mtu, sent, ref recorded @ ..] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("words in {line}");
        };
        let mut frame = Frame::hex(sent);
        let headers = frame.headers();
        let mut packet = frame.packet();
        decrement_ttl(&mut packet, &headers).unwrap();
        let tunnel = Tunnel {
            kind: TunnelKind::Ipip,
            source: [10, 2, 0, 1].into(),
            destination: [10, 3, 0, 11].into(),
            source_port: 0,
            destination_port: 0,
            checksum: TunnelChecksum::None,
            id: u16::from_be_bytes(from_hex(recorded[0])[18..20].try_into().unwrap()),
            copy_df: true,
        };
        encapsulate(&mut packet, &headers, &tunnel).unwrap();
        set_link(
            &mut packet,
            Mac([2, 0, 0, 0, 2, 0xfd]),
            Mac([2, 0, 0, 0, 2, 1]),
        );
        let headers = Headers::parse(&packet).unwrap();
        let fragments = Fragments::new(&packet, &headers, mtu.parse().unwrap(), 0).unwrap();
        let ours: Vec<_> = pieces(&fragments)
            .iter()
            .map(|piece| to_hex(piece))
            .collect();
        assert_eq!(ours, recorded, "{number}");
        count += 1;
    }
    assert_eq!(count, 4);
}

/// An IPv4 datagram with options and a payload of counting octets.
fn with_options(options: &[u8], payload: usize) -> Vec<u8> {
    let mut bytes = packet::ipv4::Fields {
        tos: 0,
        total_len: u16::try_from(20 + options.len() + payload).unwrap(),
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol: 17,
        source: [192, 0, 2, 10].into(),
        destination: [10, 8, 0, 1].into(),
    }
    .to_bytes()
    .to_vec();
    bytes[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    bytes.extend_from_slice(options);
    bytes[10..12].fill(0);
    let checksum = packet::checksum::Sum::of(&bytes).finish();
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend((0..=255_u8).cycle().take(payload));
    bytes
}

#[test]
fn later_fragments_copy_only_what_is_to_be_copied() {
    // Record route (not copied), no-operation, loose source route (copied), end.
    let options = [7, 3, 4, 1, 0x83, 7, 8, 1, 2, 3, 4, 0];
    let mut frame = Frame::new(&with_options(&options, 40), 0);
    let headers = frame.headers();
    let packet = frame.packet();
    let cut = pieces(&Fragments::new(&packet, &headers, 32 + 16, 0).unwrap());
    assert_eq!(cut.len(), 3);
    assert_eq!(cut[0][20..32], options);
    for later in &cut[1..] {
        assert_eq!(later[20..32], [1, 1, 1, 1, 0x83, 7, 8, 1, 2, 3, 4, 0]);
    }
    for bad in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 9, 0, 0]] {
        let mut frame = Frame::new(&with_options(&bad, 40), 0);
        let headers = frame.headers();
        let packet = frame.packet();
        let cut = pieces(&Fragments::new(&packet, &headers, 48, 0).unwrap());
        assert_eq!(cut[1][20..24], bad, "an impossible option is left alone");
    }
}

#[test]
fn a_fragment_is_cut_further() {
    let mut bytes = with_options(&[], 64);
    bytes[6..8].copy_from_slice(&(0x2000_u16 | 10).to_be_bytes());
    fix_header_checksum(&mut bytes);
    let mut frame = Frame::new(&bytes, 0);
    let headers = frame.headers();
    let packet = frame.packet();
    let found: Vec<_> = pieces(&Fragments::new(&packet, &headers, 20 + 24, 0).unwrap())
        .iter()
        .map(|piece| {
            let fragment = Frame::new(piece, 0).headers().fragment.unwrap();
            (fragment.offset, fragment.more, piece.len())
        })
        .collect();
    assert_eq!(found, [(80, true, 44), (104, true, 44), (128, true, 36)]);
}

#[test]
fn ipv6_headers_in_front_and_behind() {
    // Hop-by-hop, routing, destination options: the first two stay in front.
    let mut bytes = packet::ipv6::Fields {
        traffic_class: 3,
        payload_len: 24 + 40,
        next_header: 0,
        hop_limit: 64,
        source: "2001:db8:c::10".parse().unwrap(),
        destination: "fd00:8::1".parse().unwrap(),
    }
    .to_bytes()
    .to_vec();
    bytes.extend_from_slice(&[43, 0, 1, 4, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[60, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[17, 0, 1, 4, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[0, 1, 0, 2, 0, 40, 0, 0]);
    bytes.extend(0..32);
    let mut frame = Frame::new(&bytes, 0);
    let headers = frame.headers();
    let packet = frame.packet();
    let fragments = Fragments::new(&packet, &headers, 64 + 24, 0xdead_beef).unwrap();
    assert_eq!(fragments.payload_len(), 48);
    let cut = pieces(&fragments);
    assert_eq!(cut.len(), 2);
    assert_eq!(
        cut[0][48..64],
        [44, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]
    );
    assert_eq!(cut[1][56..64], [60, 0, 0, 24, 0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(to_hex(&reassemble(&cut, 0)), to_hex(&bytes));
}

#[test]
fn what_cannot_be_cut() {
    let mut bytes = with_options(&[], 64);
    let refused = |bytes: &[u8], mtu, change: fn(&mut Packet<'_>)| {
        let mut frame = Frame::new(bytes, 0);
        let headers = frame.headers();
        let mut packet = frame.packet();
        change(&mut packet);
        Fragments::new(&packet, &headers, mtu, 0).is_none()
    };
    assert!(!refused(&bytes, 28, |_| ()));
    assert!(refused(&bytes, 27, |_| ()));
    assert!(refused(&bytes, 0, |_| ()));
    assert!(refused(&bytes, 28, |packet| packet
        .offload
        .partial_checksum =
        Some(6)));
    assert!(refused(&bytes, 28, |packet| packet.offload.gso =
        Some(packet::GsoKind::UdpL4)));
    bytes[6] = 0x40;
    fix_header_checksum(&mut bytes);
    assert!(refused(&bytes, 28, |_| ()), "don't fragment");
}

#[test]
fn pieces_of_chosen_sizes() {
    let bytes = with_options(&[], 64);
    let mut frame = Frame::new(&bytes, 0);
    let headers = frame.headers();
    let packet = frame.packet();
    let fragments = Fragments::new(&packet, &headers, 28, 0).unwrap();
    let mut out = [0xa5; 100];
    assert_eq!(fragments.write_piece(0..40, &mut out), Some(60));
    assert_eq!(fragments.write_piece(40..64, &mut out), Some(44));
    for outside in [4..16, 0..12, 0..65, 64..72] {
        assert_eq!(fragments.write_piece(outside, &mut out), None);
    }
    assert_eq!(fragments.write_piece(0..40, &mut out[..59]), None);
}

proptest! {
    #[test]
    fn reassembly_undoes_fragmentation(base in specs(), extra in 0_usize..3000, mtu in 68_usize..1500) {
        let payload = (0..=255).cycle().take(base.payload.len() + extra + 16).collect();
        let spec = Spec { payload, ..base };
        let mut frame = build(&spec);
        if !spec.v6 {
            // etherparse sets "don't fragment".
            let link_len = frame.link_len;
            let mut packet = frame.packet();
            packet.bytes_mut()[link_len + 6] = 0;
            fix_header_checksum(&mut packet.bytes_mut()[link_len..]);
        }
        let before = frame.bytes().to_vec();
        let headers = frame.headers();
        let packet = frame.packet();
        let fragments = Fragments::new(&packet, &headers, mtu, 77).unwrap();
        let mut cut = pieces(&fragments);
        prop_assert!(cut.iter().all(|piece| piece.len() <= mtu + packet.link_len));
        if cut.len() == 1 && !spec.v6 {
            prop_assert_eq!(&cut[0], &before);
            return Ok(());
        }
        cut.reverse();
        if cut.len() > 1 {
            prop_assert_eq!(to_hex(&reassemble(&cut, packet.link_len)), to_hex(&before));
        }
    }

    #[test]
    fn any_datagram_is_survived(
        spec in specs(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        mtu in 0_usize..200,
    ) {
        let mut frame = build(&spec);
        let len = frame.bytes().len();
        let mut packet = frame.packet();
        for (index, value) in flips {
            packet.bytes_mut()[index.index(len)] = value;
        }
        if let Ok(headers) = Headers::parse(&packet) {
            let mut out = [0xa5; 1500];
            let _ = payload(&packet, &headers);
            let _ = reassembled_header(&packet, &headers, 1000, false, &mut out);
            if let Some(fragments) = Fragments::new(&packet, &headers, mtu, 1) {
                for n in 0..fragments.count() {
                    let _ = fragments.write(n, &mut out);
                }
            }
        }
    }
}
