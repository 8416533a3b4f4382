//! What the director answers itself: the kernel's bytes (tests/recorded/answers.txt), the rules about
//! what must stay unanswered, and laws on any packet.

mod common;

use std::net::IpAddr;

use common::{Frame, Upper, build, checksums_are_right, from_hex, specs, to_hex};
use packet::{
    Family, Headers, IcmpError, Transport, decrement_ttl, echo_reply, icmp_error, sctp, sctp_abort,
    tcp_reset,
};
use proptest::prelude::*;

/// The answer that the recorded one asks for.
fn answer_like(recorded: &[u8], frame: &mut Frame) -> Vec<u8> {
    let mut out = [0xa5; 1500];
    let theirs = Headers::parse_datagram(recorded).unwrap();
    let asked = frame.headers();
    let mut packet = frame.packet();
    let mtu = u32::from_be_bytes(
        recorded[recorded.len().min(28) - 4..][..4]
            .try_into()
            .unwrap(),
    );
    let mtu6 = u32::from_be_bytes(
        recorded
            .get(44..48)
            .map_or([0; 4], |mtu| mtu.try_into().unwrap()),
    );
    let error = match (theirs.transport, theirs.family) {
        (Transport::Tcp { .. }, _) => {
            let len = tcp_reset(&packet, &asked, &mut out).unwrap();
            return out[..len].to_vec();
        }
        (Transport::Sctp { .. }, _) => {
            let len = sctp_abort(&packet, &asked, &mut out).unwrap();
            return out[..len].to_vec();
        }
        (Transport::Icmp { kind: 0, .. }, Family::V4)
        | (Transport::Icmp { kind: 129, .. }, Family::V6) => {
            let len = echo_reply(&packet, &asked, theirs.id, &mut out).unwrap();
            return out[..len].to_vec();
        }
        (Transport::Icmp { kind: 3, code: 2 }, Family::V4) => IcmpError::ProtocolUnreachable,
        (Transport::Icmp { kind: 3, code: 3 }, Family::V4) => IcmpError::PortUnreachable,
        (Transport::Icmp { kind: 3, code: 4 }, Family::V4) => IcmpError::TooBig { mtu },
        (Transport::Icmp { kind: 11, code: 0 }, Family::V4) => IcmpError::TimeExceeded,
        (Transport::Icmp { kind: 1, code: 4 }, Family::V6) => IcmpError::PortUnreachable,
        (Transport::Icmp { kind: 2, code: 0 }, Family::V6) => IcmpError::TooBig { mtu: mtu6 },
        (Transport::Icmp { kind: 3, code: 0 }, Family::V6) => IcmpError::TimeExceeded,
        other => panic!("no such answer: {other:?}"),
    };
    if matches!(error, IcmpError::TooBig { .. }) {
        // The kernel finds a packet too big after it took one off its TTL.
        decrement_ttl(&mut packet, &asked).unwrap();
    }
    let len = icmp_error(&packet, &asked, error, theirs.source, theirs.id, &mut out).unwrap();
    out[..len].to_vec()
}

#[test]
fn as_recorded() {
    let mut count = 0;
    for line in include_str!("recorded/answers.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [case, number, sent, received] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("four words in {line}");
        };
        let mut recorded = from_hex(received)[14..].to_vec();
        if recorded[0] >> 4 == 6 {
            // The kernel's flow label is a hash with a random key; ours is 0.
            recorded[1] &= 0xf0;
            recorded[2..4].fill(0);
        }
        let ours = answer_like(&recorded, &mut Frame::hex(sent));
        assert_eq!(to_hex(&ours), to_hex(&recorded), "{case} {number}");
        count += 1;
    }
    assert_eq!(count, 19);
}

fn error_about(frame: &mut Frame, error: IcmpError) -> Option<Vec<u8>> {
    let headers = frame.headers();
    let mut out = [0xa5; 1280];
    let len = icmp_error(
        &frame.packet(),
        &headers,
        error,
        headers.destination,
        7,
        &mut out,
    )?;
    Some(out[..len].to_vec())
}

fn spec(v6: bool, upper: Upper, payload: usize) -> common::Spec {
    common::Spec {
        v6,
        ethernet: true,
        upper,
        source: [9; 16],
        destination: [7; 16],
        ports: (1001, 80),
        ttl: 64,
        payload: vec![0x5a; payload],
    }
}

#[test]
fn every_error_has_its_type_and_code() {
    let mtu = 1400;
    let expected = [
        (IcmpError::PortUnreachable, (3, 3), (1, 4)),
        (IcmpError::HostUnreachable, (3, 1), (1, 3)),
        (IcmpError::NetworkUnreachable, (3, 0), (1, 0)),
        (IcmpError::ProtocolUnreachable, (3, 2), (4, 1)),
        (IcmpError::TooBig { mtu }, (3, 4), (2, 0)),
        (IcmpError::TimeExceeded, (11, 0), (3, 0)),
        (IcmpError::ReassemblyTimeExceeded, (11, 1), (3, 1)),
    ];
    for (error, v4, v6) in expected {
        for (is_v6, (kind, code), at) in [(false, v4, 20), (true, v6, 40)] {
            let bytes = error_about(&mut build(&spec(is_v6, Upper::Udp, 9)), error).unwrap();
            let headers = Headers::parse_datagram(&bytes).unwrap();
            assert_eq!(headers.transport, Transport::Icmp { kind, code });
            assert!(checksums_are_right(&bytes, 0));
            let rest = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap());
            let expected = match error {
                IcmpError::TooBig { .. } => mtu,
                IcmpError::ProtocolUnreachable if is_v6 => 6,
                _ => 0,
            };
            assert_eq!(rest, expected, "{error:?}");
        }
    }
}

#[test]
fn unrecognized_next_header_is_pointed_at() {
    // Hop-by-hop and destination options, then protocol 200, which the second one names.
    let mut bytes = packet::ipv6::Fields {
        traffic_class: 0,
        payload_len: 24,
        next_header: 0,
        hop_limit: 64,
        source: "2001:db8:c::10".parse().unwrap(),
        destination: "fd00:8::1".parse().unwrap(),
    }
    .to_bytes()
    .to_vec();
    bytes.extend_from_slice(&[
        60, 0, 1, 4, 0, 0, 0, 0, 200, 0, 1, 4, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
    let error = error_about(&mut Frame::new(&bytes, 0), IcmpError::ProtocolUnreachable).unwrap();
    assert_eq!(error[40..48], [4, 1, error[42], error[43], 0, 0, 0, 48]);
}

#[test]
fn quotes_are_limited() {
    let long = |v6| {
        error_about(
            &mut build(&spec(v6, Upper::Udp, 1400)),
            IcmpError::TimeExceeded,
        )
    };
    assert_eq!(long(false).unwrap().len(), 576);
    assert_eq!(long(true).unwrap().len(), 1280);
    let mut frame = build(&spec(false, Upper::Udp, 1400));
    let headers = frame.headers();
    let mut out = [0; 575];
    let error = IcmpError::TimeExceeded;
    let cut = icmp_error(
        &frame.packet(),
        &headers,
        error,
        headers.destination,
        7,
        &mut out,
    );
    assert_eq!(cut, None, "the buffer is too short");
}

#[test]
fn tos_keeps_its_bits_under_internetwork_control() {
    let mut frame = build(&spec(false, Upper::Udp, 4));
    let mut headers = frame.headers();
    headers.tos = 0xb8 | 0x02;
    let mut out = [0; 1280];
    let packet = frame.packet();
    let _len = icmp_error(
        &packet,
        &headers,
        IcmpError::TimeExceeded,
        headers.destination,
        7,
        &mut out,
    );
    assert_eq!(out[1], 0xc0 | 0x1a);
}

#[test]
fn a_reset_copies_dscp_without_ecn() {
    let mut frame = build(&spec(false, Upper::Tcp, 4));
    let mut headers = frame.headers();
    headers.tos = 0xb8 | 0x03;
    let mut out = [0; 60];
    assert_eq!(tcp_reset(&frame.packet(), &headers, &mut out), Some(40));
    assert_eq!(out[1], 0xb8);
}

#[test]
fn what_stays_unanswered() {
    let error = IcmpError::PortUnreachable;
    for v6 in [false, true] {
        let mut about = build(&spec(v6, Upper::Udp, 4));
        let bytes = error_about(&mut about, error).unwrap();
        let mut about_an_error = Frame::new(&bytes, 0);
        assert_eq!(
            error_about(&mut about_an_error, error),
            None,
            "an error about an error"
        );
        let mut group = spec(v6, Upper::Udp, 4);
        group.destination = if v6 { [0xff; 16] } else { [224; 16] };
        assert_eq!(error_about(&mut build(&group), error), None, "multicast");
        let nobody = common::Spec {
            source: [0; 16],
            ..spec(v6, Upper::Udp, 4)
        };
        assert_eq!(error_about(&mut build(&nobody), error), None, "no source");
        assert!(
            error_about(&mut build(&spec(v6, Upper::Icmp, 4)), error).is_some(),
            "ping"
        );
    }
    let mut broadcast = spec(false, Upper::Udp, 4);
    broadcast.destination = [255; 16];
    assert_eq!(
        error_about(&mut build(&broadcast), error),
        None,
        "broadcast"
    );

    let mut out = [0; 100];
    for v6 in [false, true] {
        let mut frame = build(&spec(v6, Upper::Tcp, 4));
        let headers = frame.headers();
        assert!(tcp_reset(&frame.packet(), &headers, &mut out).is_some());
        assert_eq!(sctp_abort(&frame.packet(), &headers, &mut out), None);
        assert_eq!(echo_reply(&frame.packet(), &headers, 7, &mut out), None);
        assert_eq!(tcp_reset(&frame.packet(), &headers, &mut [0; 39]), None);
        let last = frame.buffer.len() - 1;
        frame.buffer[last] ^= 1;
        assert_eq!(
            tcp_reset(&frame.packet(), &headers, &mut out),
            None,
            "wrong checksum"
        );
        let mut packet = frame.packet();
        packet.offload.partial_checksum = Some(16);
        assert!(
            tcp_reset(&packet, &headers, &mut out).is_some(),
            "left to the device"
        );

        let mut ping = build(&spec(v6, Upper::Icmp, 4));
        let headers = ping.headers();
        assert!(echo_reply(&ping.packet(), &headers, 7, &mut out).is_some());
        let last = ping.buffer.len() - 1;
        ping.buffer[last] ^= 1;
        assert_eq!(
            echo_reply(&ping.packet(), &headers, 7, &mut out),
            None,
            "wrong checksum"
        );
    }
}

/// An SCTP packet with the given chunks, over IPv4.
fn sctp_packet(chunks: &[u8]) -> Frame {
    let mut sctp = vec![0x0b, 0xb8, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0];
    sctp.extend_from_slice(chunks);
    let checksum = sctp::checksum_of(&sctp).unwrap();
    sctp[8..12].copy_from_slice(&checksum);
    let mut bytes = packet::ipv4::Fields {
        tos: 0,
        total_len: u16::try_from(20 + sctp.len()).unwrap(),
        id: 7,
        dont_fragment: false,
        ttl: 64,
        protocol: 132,
        source: [192, 0, 2, 10].into(),
        destination: [10, 8, 0, 1].into(),
    }
    .to_bytes()
    .to_vec();
    bytes.extend_from_slice(&sctp);
    Frame::new(&bytes, 0)
}

#[test]
fn sctp_without_association() {
    // RFC 9260, 8.4: chunk sent -> chunk, verification tag and T bit of the answer.
    let init = [1, 0, 0, 20, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    type Answer = Option<(u8, u8, u8)>;
    let cases: [(&[u8], Answer); 8] = [
        (&[0, 3, 0, 4], Some((6, 7, 1))),
        (&init, Some((6, 9, 0))),
        (&[8, 0, 0, 4], Some((14, 7, 1))),
        (&[6, 0, 0, 4], None),
        (&[11, 0, 0, 4], None),
        (&[14, 0, 0, 4], None),
        (&[0, 3, 0, 5, 1, 0, 0, 0, 6, 0, 0, 4], None),
        (&[0, 3, 0, 3], None),
    ];
    for (chunks, expected) in cases {
        let mut frame = sctp_packet(chunks);
        let headers = frame.headers();
        let mut out = [0xa5; packet::reset::MAX_LEN];
        let answer =
            sctp_abort(&frame.packet(), &headers, &mut out).map(|len| out[20..len].to_vec());
        let read = answer.map(|sctp| {
            assert!(sctp::is_valid(&sctp));
            (sctp[12], sctp[7], sctp[13])
        });
        assert_eq!(read, expected, "{chunks:?}");
    }
    assert_eq!(
        sctp_abort(
            &sctp_packet(&[]).packet(),
            &sctp_packet(&[]).headers(),
            &mut [0; 60]
        ),
        None
    );
}

proptest! {
    #[test]
    fn answers_are_valid_and_go_back(spec in specs(), id: u16) {
        let mut frame = build(&spec);
        let headers = frame.headers();
        let mut out = [0xa5; 1500];
        let packet = frame.packet();
        let error = IcmpError::PortUnreachable;
        let answers = [
            icmp_error(&packet, &headers, error, headers.destination, id, &mut out)
                .map(|len| out[..len].to_vec()),
            tcp_reset(&packet, &headers, &mut out).map(|len| out[..len].to_vec()),
            echo_reply(&packet, &headers, id, &mut out).map(|len| out[..len].to_vec()),
        ];
        for answer in answers.into_iter().flatten() {
            let back = Headers::parse_datagram(&answer).unwrap();
            prop_assert_eq!(back.source, headers.destination);
            prop_assert_eq!(back.destination, headers.source);
            prop_assert_eq!(back.end, answer.len());
            prop_assert!(checksums_are_right(&answer, 0));
        }
    }

    #[test]
    fn stale_headers_do_no_harm(one in specs(), other in specs(), cut: prop::sample::Index) {
        let headers = build(&one).headers();
        let mut frame = build(&other);
        let end = cut.index(frame.bytes().len() + 1);
        let mut packet = frame.packet();
        packet.truncate(end);
        let mut out = [0xa5; 1500];
        let source: IpAddr = headers.destination;
        let _ = icmp_error(&packet, &headers, IcmpError::TimeExceeded, source, 1, &mut out);
        let _ = tcp_reset(&packet, &headers, &mut out);
        let _ = echo_reply(&packet, &headers, 1, &mut out);
    }
}
