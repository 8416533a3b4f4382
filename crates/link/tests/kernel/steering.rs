//! The kernel's fanout gives each frame to the worker that the Rust function names.

use std::net::IpAddr;

use link::steering::Steering;
use link::{Frame, Link, Outgoing, af_packet};
use packet::Vlan;

use crate::af_packet::{collect, open};
use crate::namespace::{Namespace, mac, veth};

const WORKERS: usize = 3;

fn steering(vips: &[&str]) -> Steering {
    let vips: Vec<IpAddr> = vips
        .iter()
        .map(|vip| vip.parse().expect("an address"))
        .collect();
    Steering::new(&vips, 0x5eed)
}

/// An Ethernet frame with an IP header and the payload given.
fn frame(from: &str, to: &str, protocol: u8, words_of_options: u8, payload: &[u8]) -> Frame {
    let mut bytes = [mac(2), mac(1)].concat();
    let (from, to): (IpAddr, IpAddr) = (from.parse().expect("from"), to.parse().expect("to"));
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([
                8,
                0,
                0x45 + words_of_options,
                0,
                0,
                60,
                0,
                0,
                0,
                0,
                64,
                protocol,
                0,
                0,
            ]);
            bytes.extend([from.octets(), to.octets()].concat());
            bytes.resize(34 + 4 * usize::from(words_of_options), 1);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, protocol, 64]);
            bytes.extend([from.octets(), to.octets()].concat());
        }
        _ => panic!("one family"),
    }
    bytes.extend(payload);
    Frame::new(&bytes, 14)
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &[0; 16],
    ]
    .concat()
}

/// Frames of many flows and kinds, each with a number at its end.
fn frames() -> Vec<Frame> {
    let mut frames = Vec::new();
    for client in 0..40_u16 {
        let port = 30_000 + 7 * client;
        for (vip, real, address, icmp, kind) in [
            ("10.0.0.100", "10.1.0.2", format!("192.0.2.{client}"), 1, 3),
            (
                "2001:db8::100",
                "fd00::2",
                format!("2001:db8:{client:x}::1"),
                58,
                1,
            ),
        ] {
            frames.push(frame(&address, vip, 6, 0, &ports(port, 80)));
            frames.push(frame(&address, vip, 17, 0, &ports(port, 53)));
            frames.push(frame(real, &address, 6, 0, &ports(8080, port)));
            frames.push(frame(
                &address,
                vip,
                icmp,
                0,
                &[128 - 120 * (icmp & 1), 0, 0, 0],
            ));
            let inner = frame(&address, real, 6, 0, &ports(port, 8080));
            let error = [&[kind, 0, 0, 0, 0, 0, 0, 0], &inner.bytes()[14..]].concat();
            frames.push(frame(real, &address, icmp, 0, &error));
            let inner = frame(vip, &address, 6, 0, &ports(80, port));
            let error = [&[kind, 0, 0, 0, 0, 0, 0, 0], &inner.bytes()[14..]].concat();
            frames.push(frame("10.9.9.9", "10.0.0.100", icmp, 0, &error));
            frames.retain(|frame| frame.bytes()[12] != 8 || icmp == 1 || frame.bytes()[23] != 58);
        }
        let options = frame(
            &format!("192.0.2.{client}"),
            "10.0.0.100",
            6,
            3,
            &ports(port, 80),
        );
        let mut tagged = options.clone();
        tagged.vlan = Some(Vlan {
            tpid: 0x8100,
            tci: client,
        });
        let mut fragment = options.clone();
        fragment.packet().bytes_mut()[20] = 0x20;
        frames.extend([options, tagged, fragment]);
    }
    for (number, frame) in (0_u32..).zip(&mut frames) {
        let (link_len, vlan) = (frame.link_len, frame.vlan);
        *frame = Frame::new(
            &[frame.bytes(), b"lk", &number.to_be_bytes()].concat(),
            link_len,
        );
        frame.vlan = vlan;
    }
    frames
}

/// Sends all frames and checks that each worker got exactly its own.
fn check(sender: &Link, workers: &mut [Link], steering: &Steering) {
    let frames = frames();
    let outgoing: Vec<Outgoing<'_>> = frames.iter().cloned().map(Outgoing::from).collect();
    assert_eq!(sender.sender.transmit(&outgoing).failed(), 0);
    let mut owned: Vec<Vec<&[u8]>> = vec![Vec::new(); workers.len()];
    for frame in &frames {
        let bytes = frame.bytes();
        let kind = u16::from_be_bytes([bytes[12], bytes[13]]);
        let hash = usize::try_from(steering.frame(kind, &bytes[14..])).expect("64 bits");
        owned[hash % workers.len()].push(bytes);
    }
    for (at, (worker, owned)) in workers.iter_mut().zip(&owned).enumerate() {
        let numbered = |packet: &packet::Packet<'_>| {
            packet.bytes().len() > 6 && packet.bytes()[packet.len() - 6..].starts_with(b"lk")
        };
        // One more than there should be, so that a frame too many is seen as well.
        let seen = collect(&mut *worker.receiver, owned.len(), numbered);
        let mut seen: Vec<&[u8]> = seen.iter().map(|seen| &seen.bytes[..]).collect();
        seen.sort_unstable();
        let mut owned = owned.clone();
        owned.sort_unstable();
        assert!(
            seen == owned,
            "worker {at}: {} of {} frames",
            seen.len(),
            owned.len()
        );
        assert!(
            owned.len() * 6 > frames.len(),
            "worker {at} has a fair share"
        );
    }
    for worker in workers {
        let mut batch = Vec::new();
        worker.receiver.receive(&mut batch).expect("receive");
        assert!(batch.iter().all(|packet| !packet.bytes().ends_with(b"lk")));
    }
}

#[test]
fn the_kernel_and_the_function_agree() {
    let (left, right) = (Namespace::new("l"), Namespace::new("r"));
    veth((&left, "v0", 1), (&right, "v1", 2));
    let sender = open(&left, "v0");
    let first = steering(&["10.0.0.100", "2001:db8::100"]);
    let wanted = first.clone();
    let (mut workers, group) = right.enter("opening a group", move || {
        af_packet::open("v1", WORKERS, &wanted).expect("open")
    });
    check(&sender, &mut workers, &first);
    // Another list while the group is open; with nothing in it every frame goes by destination.
    for vips in [&[][..], &["192.0.2.7", "10.0.0.100"]] {
        let other = steering(vips);
        group.steer(&other).expect("steer");
        if !vips.is_empty() {
            check(&sender, &mut workers, &other);
        }
    }
    // Interface down and up: the members come back in their order.
    right.ip("link set v1 down");
    right.ip("link set v1 up");
    group.steer(&first).expect("steer");
    check(&sender, &mut workers, &first);
}

#[test]
fn the_longest_programs_are_accepted() {
    let namespace = Namespace::new("p");
    let peer = Namespace::new("q");
    veth((&namespace, "v0", 1), (&peer, "v1", 2));
    namespace.enter("long programs", || {
        let (_links, group) = af_packet::open("v0", 2, &steering(&[])).expect("open");
        for count in [1_u32, 16, 100, 1600, 2000, 10_000] {
            let vips: Vec<IpAddr> = (0..count)
                .map(|n| std::net::Ipv4Addr::from_bits(0x0a00_0000 + 3 * n).into())
                .collect();
            group
                .steer(&Steering::new(&vips, 1))
                .unwrap_or_else(|error| panic!("{count}: {error}"));
        }
        let vips: Vec<IpAddr> = (0..200_u128)
            .map(|n| std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) + (n << 64) + n % 50).into())
            .collect();
        group.steer(&Steering::new(&vips, 1)).expect("IPv6");
    });
}
