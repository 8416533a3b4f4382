//! Software segmentation: what each piece says, and that the pieces are the whole.

mod common;

use common::{Frame, Spec, Upper, build, checksums_are_right};
use packet::{GsoKind, Headers, Packet, Segments, Transport};
use proptest::prelude::*;

fn spec(v6: bool, upper: Upper, payload: usize) -> Spec {
    Spec {
        v6,
        ethernet: true,
        upper,
        source: [9; 16],
        destination: [7; 16],
        ports: (1001, 80),
        ttl: 64,
        payload: (0..=250).cycle().take(payload).collect(),
    }
}

/// Marks the frame as a super-frame as the kernel would: the checksum is partial.
fn super_frame<'a>(frame: &'a mut Frame, gso_size: u16) -> (Packet<'a>, Headers) {
    let headers = frame.headers();
    let (kind, offset) = match headers.transport {
        Transport::Udp { .. } => (GsoKind::UdpL4, 6),
        _ if headers.source.is_ipv4() => (GsoKind::TcpV4, 16),
        _ => (GsoKind::TcpV6, 16),
    };
    let mut packet = frame.packet();
    packet.offload.gso = Some(kind);
    packet.offload.gso_size = gso_size;
    packet.offload.partial_checksum = Some(offset);
    packet.offload.checksum_start = u16::try_from(headers.transport_offset).unwrap();
    let at = headers.transport_offset + usize::from(offset);
    packet.bytes_mut()[at..at + 2].copy_from_slice(&[0x12, 0x34]);
    (packet, headers)
}

/// All segments, each in a buffer full of 0xa5.
fn pieces(segments: &Segments<'_>) -> Vec<Vec<u8>> {
    let pieces: Vec<_> = (0..segments.count())
        .map(|n| {
            let mut out = vec![0xa5; segments.max_len()];
            let len = segments.write(n, &mut out).unwrap();
            assert!(out[len..].iter().all(|&octet| octet == 0xa5));
            out.truncate(len);
            out
        })
        .collect();
    assert_eq!(segments.write(pieces.len(), &mut [0; 2000]), None);
    pieces
}

fn read(bytes: &[u8]) -> Headers {
    Frame::new(bytes, 14).headers()
}

#[test]
fn tcp_flags_sequence_and_identification() {
    for v6 in [false, true] {
        let mut frame = build(&spec(v6, Upper::Tcp, 2500));
        let at = frame.headers().transport_offset + 13;
        frame.packet().bytes_mut()[at] = 0x80 | 0x10 | 0x08 | 0x01; // CWR ACK PSH FIN
        let (packet, headers) = super_frame(&mut frame, 1000);
        let segments = Segments::new(&packet, &headers, 1460).unwrap();
        let pieces = pieces(&segments);
        let expected = [(0x90, 1000, 1000), (0x10, 2000, 1000), (0x19, 3000, 500)];
        for (n, (piece, (expected_flags, expected_sequence, payload))) in
            pieces.iter().zip(expected).enumerate()
        {
            let piece_headers = read(piece);
            let Transport::Tcp {
                flags, sequence, ..
            } = piece_headers.transport
            else {
                panic!("TCP");
            };
            assert_eq!((flags, sequence), (expected_flags, expected_sequence));
            assert_eq!(
                piece_headers.end - piece_headers.transport_offset - 20,
                payload
            );
            assert_eq!(
                piece_headers.id,
                if v6 {
                    0
                } else {
                    headers.id + u16::try_from(n).unwrap()
                }
            );
            assert!(checksums_are_right(piece, 14));
        }
        assert_eq!(pieces.len(), 3);
    }
}

#[test]
fn identification_wraps() {
    let mut frame = build(&spec(false, Upper::Tcp, 30));
    frame.packet().bytes_mut()[18..20].copy_from_slice(&[0xff, 0xff]);
    common::fix_header_checksum(&mut frame.packet().bytes_mut()[14..]);
    let (packet, headers) = super_frame(&mut frame, 10);
    let segments = Segments::new(&packet, &headers, 10).unwrap();
    let ids: Vec<_> = pieces(&segments)
        .iter()
        .map(|piece| read(piece).id)
        .collect();
    assert_eq!(ids, [0xffff, 0, 1]);
}

#[test]
fn a_plain_segment_is_split() {
    let mut frame = build(&spec(false, Upper::Tcp, 1460));
    let headers = frame.headers();
    let packet = frame.packet();
    let segments = Segments::new(&packet, &headers, 1440).unwrap();
    let pieces = pieces(&segments);
    assert_eq!(
        pieces.iter().map(Vec::len).collect::<Vec<_>>(),
        [14 + 40 + 1440, 14 + 40 + 20]
    );
    assert!(pieces.iter().all(|piece| checksums_are_right(piece, 14)));
}

#[test]
fn udp_keeps_its_datagrams() {
    let mut frame = build(&spec(false, Upper::Udp, 250));
    let (packet, headers) = super_frame(&mut frame, 100);
    assert!(
        Segments::new(&packet, &headers, 99).is_none(),
        "a datagram cannot be cut"
    );
    let segments = Segments::new(&packet, &headers, 1472).unwrap();
    let lengths: Vec<_> = pieces(&segments)
        .iter()
        .map(|piece| {
            assert!(checksums_are_right(piece, 14));
            u16::from_be_bytes([piece[38], piece[39]])
        })
        .collect();
    assert_eq!(lengths, [108, 108, 58]);

    let mut packet = packet;
    packet.offload.partial_checksum = None;
    packet.bytes_mut()[40..42].copy_from_slice(&[0, 0]);
    let headers = Headers::parse(&packet).unwrap();
    let segments = Segments::new(&packet, &headers, 1472).unwrap();
    assert!(
        pieces(&segments)
            .iter()
            .all(|piece| piece[40..42] == [0, 0]),
        "none stays none"
    );
}

#[test]
fn jumbo_header_goes() {
    // A BIG TCP super-frame: payload length 0, and the length in a hop-by-hop header.
    let mut frame = build(&spec(true, Upper::Tcp, 300));
    let bytes = frame.bytes().to_vec();
    let mut jumbo = bytes[..54].to_vec();
    jumbo[18..20].fill(0);
    jumbo[20] = 0;
    jumbo.extend_from_slice(&[6, 0, 0xc2, 4, 0, 0, 1, 0x48]);
    jumbo.extend_from_slice(&bytes[54..]);
    let mut jumbo = Frame::new(&jumbo, 14);
    let mut packet = jumbo.packet();
    packet.offload.gso = Some(GsoKind::TcpV6);
    packet.offload.gso_size = 100;
    let headers = Headers::parse(&packet).unwrap();
    assert!(headers.has_options);
    let cut = pieces(&Segments::new(&packet, &headers, 1440).unwrap());
    let (packet, headers) = super_frame(&mut frame, 100);
    assert_eq!(
        cut,
        pieces(&Segments::new(&packet, &headers, 1440).unwrap())
    );
}

#[test]
fn what_cannot_be_cut() {
    let mut frame = build(&spec(false, Upper::Tcp, 100));
    let headers = frame.headers();
    let at = headers.transport_offset + 13;
    assert!(Segments::new(&frame.packet(), &headers, 0).is_none());
    let last = frame.buffer.len() - 1;
    frame.buffer[last] ^= 1;
    assert!(
        Segments::new(&frame.packet(), &headers, 50).is_none(),
        "wrong checksum"
    );
    for flags in [0x02, 0x04] {
        frame.packet().bytes_mut()[at] = flags;
        let (packet, headers) = super_frame(&mut frame, 50);
        assert!(Segments::new(&packet, &headers, 50).is_none(), "{flags}");
    }
    let mut udp = build(&spec(false, Upper::Udp, 100));
    let headers = udp.headers();
    assert!(
        Segments::new(&udp.packet(), &headers, 50).is_none(),
        "plain UDP"
    );
}

proptest! {
    #[test]
    fn the_pieces_are_the_whole(
        base in common::specs(),
        extra in 0_usize..3000,
        gso_size in 1_u16..1500,
        max_payload in 1_usize..1500,
    ) {
        prop_assume!(base.upper != Upper::Icmp);
        let payload = (0..=255).cycle().skip(extra).take(base.payload.len() + extra).collect();
        let spec = Spec { payload, ethernet: true, ..base };
        let mut frame = build(&spec);
        let (packet, headers) = super_frame(&mut frame, gso_size);
        let Some(segments) = Segments::new(&packet, &headers, max_payload) else {
            prop_assert!(spec.upper == Upper::Udp && usize::from(gso_size) > max_payload);
            return Ok(());
        };
        let headers_len = if spec.upper == Upper::Tcp { 20 } else { 8 };
        let mut whole = Vec::new();
        let mut sequence = 1000_u32;
        for piece in pieces(&segments) {
            prop_assert!(piece.len() <= segments.max_len());
            let read = read(&piece);
            if let Transport::Tcp { sequence: found, .. } = read.transport {
                prop_assert_eq!(found, sequence);
            }
            prop_assert_eq!((read.source, read.ports()), (headers.source, headers.ports()));
            prop_assert!(checksums_are_right(&piece, 14));
            let payload = &piece[read.transport_offset + headers_len..read.end];
            prop_assert!(payload.len() <= max_payload.min(usize::from(gso_size)));
            sequence += u32::try_from(payload.len()).unwrap();
            whole.extend_from_slice(payload);
        }
        prop_assert_eq!(whole, spec.payload);
    }

    #[test]
    fn hostile_super_frames_are_survived(
        spec in common::specs(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        gso in prop_oneof![Just(GsoKind::TcpV4), Just(GsoKind::TcpV6), Just(GsoKind::UdpL4)],
        gso_size: u16,
        max_payload in 0_usize..100,
    ) {
        let mut frame = build(&spec);
        let len = frame.bytes().len();
        let mut packet = frame.packet();
        for (index, value) in flips {
            packet.bytes_mut()[index.index(len)] = value;
        }
        packet.offload.gso = Some(gso);
        packet.offload.gso_size = gso_size;
        if let Ok(headers) = Headers::parse(&packet)
            && let Some(segments) = Segments::new(&packet, &headers, max_payload)
        {
            let mut out = [0xa5; 1500];
            for n in 0..segments.count() {
                let _ = segments.write(n, &mut out);
            }
        }
    }
}
