//! Joining TCP segments: the whole is what segmentation cut, and what must stay apart does.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::checksums_are_right;
use packet::checksum::Sum;
use packet::{GsoKind, Headers, Packet, Segments, Train, Trains, Transport, coalesce};
use proptest::prelude::*;

const LONGEST: usize = 30_000;
/// A timestamp option and two octets of padding.
const STAMP: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];

/// A TCP segment to be written.
#[derive(Clone, Debug)]
struct Tcp {
    v6: bool,
    tos: u8,
    ttl: u8,
    /// Flags and fragment offset of IPv4, flow label of IPv6.
    extra: u16,
    host: u8,
    port: u16,
    sequence: u32,
    acknowledgment: u32,
    flags: u8,
    window: u16,
    urgent: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
}

fn segment(v6: bool, payload: usize) -> Tcp {
    Tcp {
        v6,
        tos: 0,
        ttl: 63,
        extra: 0x4000,
        host: 9,
        port: 1001,
        sequence: 5000,
        acknowledgment: 77,
        flags: 0x10,
        window: 500,
        urgent: 0,
        options: STAMP.to_vec(),
        payload: (0..=250).cycle().take(payload).collect(),
    }
}

impl Tcp {
    /// The segment behind this one, with as long a payload.
    fn next(&self) -> Self {
        let mut next = self.clone();
        next.sequence = next
            .sequence
            .wrapping_add(u32::try_from(self.payload.len()).unwrap());
        next.payload.iter_mut().for_each(|octet| *octet ^= 0x5a);
        next
    }

    fn datagram(&self) -> Vec<u8> {
        let words = u8::try_from(5 + self.options.len() / 4).unwrap();
        let mut tcp = [self.port.to_be_bytes(), 80_u16.to_be_bytes()].concat();
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgment.to_be_bytes());
        tcp.extend([words << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urgent.to_be_bytes());
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let [high, low] = u16::try_from(tcp.len()).unwrap().to_be_bytes();
        let mut bytes = Vec::new();
        let (source, destination): (IpAddr, IpAddr) = if self.v6 {
            let source = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, self.host.into());
            let [label, more] = self.extra.to_be_bytes();
            bytes.extend([0x60 | self.tos >> 4, self.tos << 4, label, more]);
            bytes.extend([high, low, 6, self.ttl]);
            (source.into(), Ipv6Addr::LOCALHOST.into())
        } else {
            let [high, low] = u16::try_from(tcp.len() + 20).unwrap().to_be_bytes();
            let [flags, offset] = self.extra.to_be_bytes();
            bytes.extend([0x45, self.tos, high, low, 1, 2, flags, offset]);
            bytes.extend([self.ttl, 6, 0, 0]);
            let source = Ipv4Addr::new(10, 9, 9, self.host);
            (source.into(), Ipv4Addr::LOCALHOST.into())
        };
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        if !self.v6 {
            common::fix_header_checksum(&mut bytes);
        }
        let sum = Sum::of(&tcp).pseudo_header(source, destination, 6, tcp.len());
        tcp[16..18].copy_from_slice(&sum.finish().to_be_bytes());
        bytes.extend(tcp);
        bytes
    }
}

/// What leaves: the numbers of those that each datagram is made of, and the datagram.
fn join(datagrams: &[Vec<u8>], longest: usize) -> Vec<(Vec<usize>, Vec<u8>)> {
    let mut trains = Trains::new(longest);
    // A batch before leaves no traces.
    for before in [segment(false, 100), segment(true, 100)] {
        let before = before.datagram();
        trains.add(&before, &Headers::parse_datagram(&before).unwrap());
    }
    trains.clear();
    for datagram in datagrams {
        let headers = Headers::parse_datagram(datagram).unwrap();
        assert!(trains.add(datagram, &headers));
    }
    let whole = |train: &Train| {
        let members: Vec<usize> = train.members().collect();
        let Some(head) = train.head() else {
            assert_eq!(members.len(), 1);
            return (members.clone(), datagrams[members[0]].clone());
        };
        let mut bytes = head.to_vec();
        for member in &members {
            bytes.extend(&datagrams[*member][head.len()..]);
        }
        (members, bytes)
    };
    trains.finish().iter().map(whole).collect()
}

/// Which datagrams leave together.
fn groups(segments: &[Tcp]) -> Vec<Vec<usize>> {
    let datagrams: Vec<_> = segments.iter().map(Tcp::datagram).collect();
    let joined = join(&datagrams, LONGEST);
    joined.into_iter().map(|(members, _)| members).collect()
}

/// The datagram cut into segments with at most `size` octets of payload.
fn cut(datagram: &[u8], size: u16) -> Vec<Vec<u8>> {
    let mut buffer = datagram.to_vec();
    let len = buffer.len();
    let mut packet = Packet::new(&mut buffer, 0..len, 0);
    let headers = Headers::parse(&packet).unwrap();
    let v6 = headers.source.is_ipv6();
    packet.offload.gso = Some(if v6 { GsoKind::TcpV6 } else { GsoKind::TcpV4 });
    packet.offload.gso_size = size;
    let segments = Segments::new(&packet, &headers, 65_535).unwrap();
    let write = |n| {
        let mut out = vec![0; segments.max_len()];
        let len = segments.write(n, &mut out).unwrap();
        out.truncate(len);
        out
    };
    (0..segments.count()).map(write).collect()
}

#[test]
fn a_train_is_joined() {
    for v6 in [false, true] {
        let first = segment(v6, 1001);
        let second = first.next();
        let mut last = second.next();
        last.payload.truncate(7);
        last.flags = 0x19;
        let datagrams: Vec<_> = [&first, &second, &last].map(Tcp::datagram).to_vec();
        let joined = join(&datagrams, LONGEST);
        let mut expected = first.clone();
        expected.payload.extend(&second.payload);
        expected.payload.extend(&last.payload);
        expected.flags = 0x19;
        assert_eq!(joined, [(vec![0, 1, 2], expected.datagram())]);
        assert!(checksums_are_right(&joined[0].1, 0));
    }
}

#[test]
fn what_differs_stays_apart() {
    type Change = (&'static str, fn(&mut Tcp));
    let changes: [Change; 16] = [
        ("TOS", |tcp| tcp.tos = 2),
        ("TTL", |tcp| tcp.ttl = 62),
        ("DF, flow label", |tcp| tcp.extra = 0),
        ("acknowledgment", |tcp| tcp.acknowledgment = 78),
        ("window", |tcp| tcp.window = 501),
        ("urgent pointer", |tcp| tcp.urgent = 1),
        ("an option", |tcp| tcp.options[11] = 8),
        ("other options", |tcp| tcp.options.truncate(8)),
        ("no options", |tcp| tcp.options.clear()),
        ("a gap", |tcp| tcp.sequence += 1),
        ("again", |tcp| tcp.sequence -= 100),
        ("longer", |tcp| tcp.payload.push(1)),
        ("SYN", |tcp| tcp.flags |= 2),
        ("RST", |tcp| tcp.flags |= 4),
        ("ECE", |tcp| tcp.flags |= 0x40),
        ("CWR", |tcp| tcp.flags |= 0x80),
    ];
    for v6 in [false, true] {
        let first = segment(v6, 100);
        assert_eq!(groups(&[first.clone(), first.next()]), [[0, 1]]);
        for (what, change) in changes {
            let mut second = first.next();
            change(&mut second);
            assert_eq!(groups(&[first.clone(), second]), [[0], [1]], "{what}");
        }
        // Without ACK, or urgent, not even its likes follow.
        for flags in [0, 0x30, 0x12, 0x14] {
            let mut first = first.clone();
            first.flags = flags;
            assert_eq!(groups(&[first.clone(), first.next()]), [[0], [1]]);
        }
    }
}

#[test]
fn what_ends_a_train() {
    for v6 in [false, true] {
        let first = segment(v6, 100);
        for flags in [0x18, 0x11] {
            let mut second = first.next();
            second.flags = flags;
            let mut third = second.next();
            third.flags = 0x10;
            let fourth = third.next();
            let all = [first.clone(), second.clone(), third.clone(), fourth];
            assert_eq!(groups(&all), [[0, 1], [2, 3]]);
            assert_eq!(groups(&[second, third.clone(), third.next()])[0], [0]);
        }
        let mut short = first.next();
        short.payload.truncate(99);
        let third = short.next();
        let all = [first.clone(), short, third.clone(), third.next()];
        assert_eq!(groups(&all), [[0, 1], [2, 3]]);
        // An acknowledgment without a payload keeps its place.
        let mut bare = first.next();
        bare.payload.clear();
        let third = bare.next();
        let mut follows = first.next();
        follows.payload = third.payload;
        assert_eq!(groups(&[first, bare, follows]), [[0], [1], [2]]);
    }
}

#[test]
fn congestion_window_reduced_stays_with_the_first() {
    let mut first = segment(false, 100);
    first.flags = 0x90;
    let mut second = first.next();
    second.flags = 0x10;
    let joined = join(&[first.datagram(), second.datagram()], LONGEST);
    assert_eq!(joined.len(), 1);
    assert_eq!(joined[0].1[33], 0x90);
}

#[test]
fn a_wrong_checksum_is_never_joined() {
    for v6 in [false, true] {
        let first = segment(v6, 100);
        let (second, fourth) = (first.next(), first.next().next().next());
        for wrong in 0..3 {
            let mut datagrams = [&first, &second, &second.next(), &fourth].map(Tcp::datagram);
            *datagrams[wrong].last_mut().unwrap() ^= 1;
            let joined = join(&datagrams, LONGEST);
            assert!(joined.contains(&(vec![wrong], datagrams[wrong].clone())));
            assert!(
                joined.iter().all(|(members, bytes)| {
                    members == &[wrong] || checksums_are_right(bytes, 0)
                })
            );
            assert!(joined.len() > 1);
        }
    }
}

#[test]
fn fragments_options_and_extension_headers_stay_apart() {
    // More fragments; a later fragment.
    for extra in [0x2000, 0x0001] {
        let mut first = segment(false, 104);
        first.extra = extra;
        assert_eq!(groups(&[first.clone(), first.next()]), [[0], [1]]);
    }
    let with_options = |tcp: &Tcp| {
        let mut bytes = tcp.datagram();
        bytes.splice(20..20, [1, 1, 1, 0]);
        bytes[0] = 0x46;
        let [high, low] = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        bytes[2..4].copy_from_slice(&[high, low]);
        bytes[10..12].fill(0);
        let checksum = Sum::of(&bytes[..24]).finish();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes
    };
    // Destination options; a fragment header that says "all of it".
    let with_extension = |kind: u8| {
        move |tcp: &Tcp| {
            let mut bytes = tcp.datagram();
            let more = if kind == 60 {
                [1, 4, 0, 0]
            } else {
                [0, 0, 0, 1]
            };
            bytes.splice(40..40, [[6, 0, 0, 0], more].concat());
            bytes[6] = kind;
            let [high, low] = u16::try_from(bytes.len() - 40).unwrap().to_be_bytes();
            bytes[4..6].copy_from_slice(&[high, low]);
            bytes
        }
    };
    let four = segment(false, 100);
    let six = segment(true, 100);
    for datagrams in [
        [&four, &four.next()].map(with_options),
        [&six, &six.next()].map(with_extension(60)),
        [&six, &six.next()].map(with_extension(44)),
    ] {
        assert!(checksums_are_right(&datagrams[0], 0));
        assert_eq!(join(&datagrams, LONGEST).len(), 2);
    }
}

#[test]
fn no_longer_than_allowed() {
    let first = segment(false, 1000);
    let mut all = vec![first];
    for _ in 0..9 {
        all.push(all.last().unwrap().next());
    }
    let datagrams: Vec<_> = all.iter().map(Tcp::datagram).collect();
    for (longest, expected) in [(4052, 4), (4051, 3), (1051, 1), (0, 1)] {
        let joined = join(&datagrams, longest);
        assert_eq!(joined[0].0.len(), expected, "{longest}");
        assert_eq!(joined[0].1.len(), 52 + expected * 1000);
    }
    // What an IP header can say is the limit all the same.
    let mut all = vec![segment(true, 9000)];
    for _ in 0..9 {
        all.push(all.last().unwrap().next());
    }
    let datagrams: Vec<_> = all.iter().map(Tcp::datagram).collect();
    assert_eq!(join(&datagrams, usize::MAX)[0].0.len(), 7);
}

#[test]
fn several_flows_at_a_time() {
    for flows in [8, 9_u16] {
        let mut all = Vec::new();
        let mut current: Vec<_> = (0..flows)
            .map(|flow| {
                let mut first = segment(flow % 2 == 1, 100);
                first.port += flow;
                first
            })
            .collect();
        for _ in 0..7 {
            all.extend(current.iter().cloned());
            current = current.iter().map(Tcp::next).collect();
        }
        let groups = groups(&all);
        assert_eq!(groups.iter().flatten().count(), all.len());
        if flows == 8 {
            assert_eq!(groups[3], [3, 11, 19, 27, 35, 43, 51]);
            assert_eq!(groups.len(), 8);
        }
    }
}

#[test]
fn a_fragment_between_the_same_addresses_is_not_overtaken() {
    let first = segment(false, 100);
    // A later one, which has no ports.
    let mut fragment = segment(false, 100);
    fragment.extra = 0x0001;
    let mut others = fragment.clone();
    others.host = 8;
    let second = first.next();
    let all = [first.clone(), fragment, second.clone()];
    assert_eq!(groups(&all), [[0], [1], [2]]);
    assert_eq!(groups(&[first, others, second]), [vec![0, 2], vec![1]]);
}

#[test]
fn a_full_batch_takes_no_more() {
    let mut trains = Trains::new(LONGEST);
    let datagram = segment(false, 10).datagram();
    let headers = Headers::parse_datagram(&datagram).unwrap();
    for _ in 0..coalesce::MOST {
        assert!(trains.add(&datagram, &headers));
    }
    assert!(!trains.add(&datagram, &headers));
    let members = trains.finish().iter().flat_map(Train::members);
    assert!(members.eq(0..coalesce::MOST));
}

/// Sender and receiver with their ports, and the sequence number.
fn flow(datagram: &[u8]) -> ((IpAddr, IpAddr, (u16, u16)), u32) {
    let headers = Headers::parse_datagram(datagram).unwrap();
    let sequence = match headers.transport {
        Transport::Tcp { sequence, .. } => sequence,
        _ => 0,
    };
    let flow = (headers.source, headers.destination, headers.ports());
    (flow, sequence)
}

proptest! {
    #[test]
    fn segments_joined_are_the_whole(
        v6 in any::<bool>(),
        (sequence, flags) in (any::<u32>(), prop_oneof![Just(0x10_u8), Just(0x18), Just(0x90), Just(0xd9), Just(0x11)]),
        with_options in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 1..20_000),
        size in 400_u16..2000,
    ) {
        let mut whole = segment(v6, 0);
        whole.payload = payload;
        (whole.sequence, whole.flags) = (sequence, flags);
        if !with_options {
            whole.options.clear();
        }
        let whole = whole.datagram();
        let pieces = cut(&whole, size);
        let joined = join(&pieces, LONGEST);
        prop_assert_eq!(joined, vec![((0..pieces.len()).collect(), whole)]);
    }

    /// Segments of few kinds, so that some follow on each other, with octets changed here and there.
    #[test]
    fn hostile_segments(
        kinds in proptest::collection::vec((any::<bool>(), 0_u16..3, 0_u32..6, 0_u8..8, 1_usize..40), 0..64),
        damage in proptest::collection::vec((0_usize..64, 0_usize..100, any::<u8>()), 0..20),
    ) {
        let mut datagrams: Vec<Vec<u8>> = kinds.iter().map(|&(v6, port, at, kind, payload)| {
            let mut tcp = segment(v6, if payload > 20 { 20 } else { payload });
            tcp.port += port;
            tcp.sequence += 20 * at;
            match kind {
                0 => tcp.flags = 0x18,
                1 => tcp.window = 7,
                2 => tcp.flags = 0x12,
                _ => {}
            }
            tcp.datagram()
        }).collect();
        for (which, at, octet) in damage {
            if let Some(octet_there) = datagrams.get_mut(which).and_then(|bytes| bytes.get_mut(at)) {
                *octet_there = octet;
            }
        }
        datagrams.retain(|bytes| Headers::parse_datagram(bytes).is_ok_and(|headers| headers.end == bytes.len()));
        let joined = join(&datagrams, 150);
        let mut left: Vec<usize> = joined.iter().flat_map(|(members, _)| members.clone()).collect();
        for number in &left {
            let own = flow(&datagrams[*number]).0;
            let of_flow: Vec<_> = left.iter().filter(|other| flow(&datagrams[**other]).0 == own).collect();
            prop_assert!(of_flow.is_sorted());
        }
        left.sort_unstable();
        prop_assert!(left.iter().copied().eq(0..datagrams.len()));
        for (members, bytes) in joined.iter().filter(|(members, _)| members.len() > 1) {
            prop_assert!(bytes.len() <= 150);
            prop_assert!(checksums_are_right(bytes, 0));
            let (_, begin) = flow(bytes);
            let mut expected = begin;
            for member in members {
                prop_assert!(checksums_are_right(&datagrams[*member], 0));
                prop_assert_eq!(flow(&datagrams[*member]).1, expected);
                let headers = Headers::parse_datagram(&datagrams[*member]).unwrap();
                let Transport::Tcp { header_len, .. } = headers.transport else { panic!("TCP") };
                let payload = headers.end - headers.transport_offset - usize::from(header_len);
                expected = expected.wrapping_add(u32::try_from(payload).unwrap());
            }
        }
    }
}
