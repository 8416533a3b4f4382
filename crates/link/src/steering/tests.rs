//! The program against the function, and the function against what it is for.

use proptest::prelude::*;

use super::*;

/// Runs a program as the kernel does: a load past the end ends it with 0.
fn run(program: &[Instruction], ether_type: u16, packet: &[u8]) -> u32 {
    let (mut a, mut x, mut scratch, mut at) = (0_u32, 0_u32, [None::<u32>; 16], 0_usize);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let load = |offset: u32, len: u32| {
            if offset == 0xffff_f000 {
                return Some(u32::from(ether_type));
            }
            let bytes = packet.get(offset as usize..(offset.checked_add(len)?) as usize)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |value, byte| value << 8 | u32::from(*byte)),
            )
        };
        let size = [4, 2, 1, 0][usize::from(code >> 3 & 3)];
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match code & 0xe7 {
            0x20 | 0x40 => {
                let offset = if code & 0xe0 == 0x40 {
                    x.wrapping_add(k)
                } else {
                    k
                };
                let Some(value) = load(offset, size) else {
                    return 0;
                };
                a = value;
            }
            0x60 if code & 7 == 0 => a = scratch[k as usize].expect("written before"),
            0x61 => x = scratch[k as usize].expect("written before"),
            0x00 if code == 0x00 => a = k,
            0x02 => scratch[k as usize] = Some(a),
            _ => match code {
                0x07 => x = a,
                0x0c => a = a.wrapping_add(x),
                0xac => a ^= x,
                0x04 => a = a.wrapping_add(k),
                0x54 => a &= k,
                0xa4 => a ^= k,
                0x24 => a = a.wrapping_mul(k),
                0x64 => a <<= k,
                0x74 => a >>= k,
                0x15 => at += jump(a == k),
                0x35 => at += jump(a >= k),
                0x45 => at += jump(a & k != 0),
                0x05 => at += k as usize,
                0x16 => return a,
                0x06 => return k,
                _ => panic!("unknown operation {code:#x}"),
            },
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An IP packet with ports, without checksums, IPv4 with `options` words of options.
fn packet(source: (IpAddr, u16), destination: (IpAddr, u16), options: u8, protocol: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    match (source.0, destination.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x45 + options, 0, 0, 60, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            bytes.resize(20 + usize::from(options) * 4, 1);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x60, 0, 0, 0, 0, 20, protocol, 64]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        _ => panic!("one family"),
    }
    bytes.extend(source.1.to_be_bytes());
    bytes.extend(destination.1.to_be_bytes());
    bytes.extend([0; 16]);
    bytes
}

/// An ICMP error from `from` to `to` about `inner`.
fn icmp_error(from: IpAddr, to: IpAddr, kind: u8, inner: &[u8]) -> Vec<u8> {
    let protocol = if from.is_ipv4() { ICMP } else { ICMPV6 };
    let mut bytes = packet((from, 0), (to, 0), 0, protocol);
    bytes.truncate(if from.is_ipv4() { 20 } else { 40 });
    bytes.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(inner);
    bytes
}

fn ether_type(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }
}

#[test]
fn all_frames_of_a_flow_meet_in_the_owner() {
    let steering = Steering::new(&[ip("10.0.0.100"), ip("2001:db8::100")], 0x1234_5678);
    for (client, vip, real, router, kinds) in [
        (
            "192.0.2.1",
            "10.0.0.100",
            "10.1.0.2",
            "198.51.100.9",
            [3, 11],
        ),
        (
            "2001:db8:1::1",
            "2001:db8::100",
            "fd00::2",
            "2001:db8:9::9",
            [1, 3],
        ),
    ] {
        let (client, vip, real) = ((ip(client), 40_000), (ip(vip), 80), (ip(real), 8080));
        let owner = steering.endpoint(client.0, client.1);
        assert_eq!(owner, steering.flow(client, vip));
        assert_eq!(owner, steering.flow(real, client));
        let request = packet(client, vip, 2, TCP);
        let reply = packet(real, client, 0, TCP);
        let translated = packet(client, real, 0, TCP);
        let answer = packet(vip, client, 0, TCP);
        let frames = [
            request,
            reply,
            // A router between director and real server about a translated request.
            icmp_error(ip(router), client.0, kinds[0], &translated),
            // The real server itself.
            icmp_error(real.0, client.0, kinds[1], &translated),
            // A router between client and director about an answer.
            icmp_error(ip(router), vip.0, kinds[0], &answer),
        ];
        for (at, frame) in frames.iter().enumerate() {
            let kind = ether_type(frame);
            assert_eq!(
                steering.frame(kind, frame),
                owner,
                "frame {at} of {client:?}"
            );
            assert_eq!(
                run(steering.program(), kind, frame),
                owner,
                "program, frame {at}"
            );
        }
    }
}

#[test]
fn fragments_and_portless_protocols_go_by_address() {
    let steering = Steering::new(&[ip("10.0.0.100")], 7);
    let (client, vip) = ((ip("192.0.2.1"), 40_000), (ip("10.0.0.100"), 80));
    let by_address = steering.endpoint(client.0, 0);
    for (offset, value) in [(6, 0x20), (7, 0x01)] {
        let mut fragment = packet(client, vip, 0, UDP);
        fragment[offset] = value;
        assert_eq!(steering.frame(0x0800, &fragment), by_address);
    }
    assert_eq!(
        steering.frame(0x0800, &packet(client, vip, 0, 50)),
        by_address
    );
    assert_eq!(
        steering.frame(0x0800, &icmp_error(client.0, vip.0, 8, &[])),
        by_address
    );
    assert_ne!(
        steering.frame(0x0800, &packet(client, vip, 0, UDP)),
        by_address
    );
    assert_eq!(steering.frame(0x0806, &packet(client, vip, 0, UDP)), 0);
    assert_eq!(
        steering.frame(0x0800, &packet(client, vip, 0, UDP)[..21]),
        0
    );
}

#[test]
fn clients_are_spread_evenly_whatever_differs() {
    let steering = Steering::new(&[ip("10.0.0.100"), ip("2001:db8::100")], 99);
    let ports: fn(u16) -> (IpAddr, u16) = |n| (Ipv4Addr::new(192, 0, 2, 1).into(), 20_000 + n);
    let hosts: fn(u16) -> (IpAddr, u16) =
        |n| (Ipv4Addr::from_bits(0xc000_0200 + u32::from(n)).into(), 0);
    let high: fn(u16) -> (IpAddr, u16) = |n| (Ipv6Addr::new(n, 0, 0, 0, 0, 0, 0, 1).into(), 443);
    for endpoints in [ports, hosts, high] {
        for workers in [2, 3, 4, 8] {
            let mut counts = vec![0_u32; workers as usize];
            for n in 0..20_000 {
                let (address, port) = endpoints(n);
                counts[(steering.endpoint(address, port) % workers) as usize] += 1;
            }
            let fair = 20_000 / workers;
            let even = counts.iter().all(|count| count.abs_diff(fair) < fair / 10);
            assert!(even, "{workers} workers: {counts:?}");
        }
    }
}

#[test]
fn another_seed_is_another_choice() {
    let (one, other) = (Steering::new(&[], 1), Steering::new(&[], 2));
    let same = (0..1000)
        .filter(|port| {
            let of = |steering: &Steering| steering.endpoint(ip("192.0.2.1"), *port) % 4;
            of(&one) == of(&other)
        })
        .count();
    assert!((150..350).contains(&same), "{same}");
}

#[test]
fn long_lists_become_a_tree_and_too_long_ones_are_not_listed() {
    let vip = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n * 7));
    let client = (ip("192.0.2.1"), 40_000);
    for (count, listed) in [
        (0, true),
        (1, true),
        (17, true),
        (1500, true),
        (5000, false),
    ] {
        let vips: Vec<IpAddr> = (0..count).map(vip).collect();
        let steering = Steering::new(&vips, 3);
        assert_eq!(!steering.coarse, listed, "{count}");
        assert!(steering.program().len() <= assembler::MAX_LEN, "{count}");
        for vip in vips.iter().step_by(13) {
            let request = packet(client, (*vip, 80), 0, TCP);
            let owner = steering.flow(client, (*vip, 80));
            assert_eq!(
                run(steering.program(), 0x0800, &request),
                owner,
                "{count} {vip}"
            );
        }
        let reply = packet((ip("10.1.0.2"), 80), client, 0, TCP);
        let owner = run(steering.program(), 0x0800, &reply);
        assert_eq!(owner, steering.frame(0x0800, &reply));
        assert_eq!(
            owner == steering.endpoint(client.0, client.1),
            listed,
            "{count}"
        );
    }
    // IPv6 addresses that share their last word stay findable.
    let vips: Vec<IpAddr> = (0..60_u16)
        .map(|n| Ipv6Addr::new(0x2001, 0xdb8, n, n / 2, 0, 0, 0, 1 + n % 2).into())
        .collect();
    let steering = Steering::new(&vips, 3);
    assert!(!steering.coarse);
    let client = (ip("2001:db8:ffff::1"), 40_000);
    for vip in vips {
        let request = packet(client, (vip, 80), 0, TCP);
        let owner = steering.endpoint(client.0, client.1);
        assert_eq!(run(steering.program(), 0x86dd, &request), owner, "{vip}");
    }
}

fn address() -> impl Strategy<Value = [u8; 16]> {
    // Few values, so that virtual addresses are hit.
    prop::array::uniform16(0..2_u8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_program_computes_the_function(
        vips in prop::collection::vec((any::<bool>(), address()), 0..40),
        (source, destination) in (address(), address()),
        (v4, seed) in (any::<bool>(), any::<u32>()),
        mut bytes in prop::collection::vec(any::<u8>(), 0..120),
        protocols in prop::array::uniform2(prop::sample::select(vec![1_u8, 6, 17, 58, 132, 50])),
        kind in 0..14_u8,
        ether_type in prop::sample::select(vec![0x0800_u16, 0x0800, 0x86dd, 0x86dd, 0x0806]),
    ) {
        let vips: Vec<IpAddr> = vips
            .iter()
            .map(|(v4, octets)| match octets.first_chunk::<4>() {
                Some(octets) if *v4 => Ipv4Addr::from(*octets).into(),
                _ => Ipv6Addr::from(*octets).into(),
            })
            .collect();
        // Random octets with the fields that decide set to what is interesting.
        let (addresses, length, header) = if v4 { (12, 4, 20) } else { (8, 16, 40) };
        let protocol_at = if v4 { 9 } else { 6 };
        for base in [0, header + 8] {
            let mut set = |at: usize, value: &[u8]| {
                if let Some(place) = bytes.get_mut(base + at..base + at + value.len()) {
                    place.copy_from_slice(value);
                }
            };
            set(addresses, &source[..length]);
            set(addresses + length, &destination[..length]);
            set(protocol_at, &protocols[usize::from(base > 0)..][..1]);
            if v4 {
                set(0, &[0x45]);
                set(6, &[0, 0]);
            }
        }
        if let Some(place) = bytes.get_mut(header) {
            *place = kind;
        }
        let steering = Steering::new(&vips, seed);
        prop_assert_eq!(
            run(steering.program(), ether_type, &bytes),
            steering.frame(ether_type, &bytes)
        );
    }

    #[test]
    fn the_program_computes_the_function_of_any_octets(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        v4 in any::<bool>(),
    ) {
        let steering = Steering::new(&[ip("10.0.0.1")], 1);
        let kind = if v4 { 0x0800 } else { 0x86dd };
        prop_assert_eq!(run(steering.program(), kind, &bytes), steering.frame(kind, &bytes));
    }
}
