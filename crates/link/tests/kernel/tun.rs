//! TUN: the kernel talks to itself through a device whose other end swaps the addresses.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use link::steering::Steering;
use link::sys::poll;
use link::{Link, Outgoing, Statistics, tun, tun_plain};

use crate::namespace::Namespace;

const OCTETS: usize = 20 << 20;

/// Sends every IPv4 packet back with source and destination swapped: a connection to 10.9.0.2
/// reaches the host's own 10.9.0.1 as one from 10.9.0.2. Returns the longest packet seen.
fn reflect(mut link: Link, stop: &AtomicBool) -> (usize, Statistics) {
    let mut longest = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut batch = Vec::new();
        if link.receiver.receive(&mut batch).expect("receive") == 0 {
            drop(batch);
            let fd = link.receiver.fd().expect("a descriptor");
            poll::readable(&[fd], Some(Duration::from_millis(20))).expect("poll");
            continue;
        }
        let mut outgoing = Vec::new();
        for mut packet in batch {
            longest = longest.max(packet.len());
            assert_eq!(packet.link_len, 0);
            let bytes = packet.bytes_mut();
            if bytes[0] >> 4 == 4 {
                let (source, destination) = bytes[12..20].split_at_mut(4);
                source.swap_with_slice(destination);
                outgoing.push(Outgoing::from(packet));
            }
        }
        let result = link.sender.transmit(&outgoing);
        assert_eq!(result.failed(), 0, "{result:?}");
    }
    (longest, link.receiver.statistics())
}

/// Talks to itself through the links; returns the longest packet and the counters of each.
fn talk(namespace: &Namespace, links: Vec<Link>) -> Vec<(usize, Statistics)> {
    namespace.ip("addr add 10.9.0.1/24 dev lktun");
    let stop = Arc::new(AtomicBool::new(false));
    let start = |link| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || reflect(link, &stop))
    };
    let reflectors: Vec<_> = links.into_iter().map(start).collect();
    namespace.enter("talking", || {
        datagram();
        bulk();
    });
    stop.store(true, Ordering::Relaxed);
    reflectors
        .into_iter()
        .map(|thread| thread.join().expect("reflect"))
        .collect()
}

fn datagram() {
    let server = UdpSocket::bind("10.9.0.1:53").expect("bind");
    server
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("timeout");
    let client = UdpSocket::bind("10.9.0.1:5300").expect("bind");
    client.send_to(b"question", "10.9.0.2:53").expect("send");
    let mut buffer = [0; 100];
    let (len, from) = server.recv_from(&mut buffer).expect("receive");
    let other_end = Ipv4Addr::new(10, 9, 0, 2);
    assert_eq!(
        (&buffer[..len], from.ip()),
        (&b"question"[..], other_end.into())
    );
}

fn bulk() {
    let listener = TcpListener::bind("10.9.0.1:80").expect("bind");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        stream.write_all(&vec![0x5a; OCTETS]).expect("send");
    });
    let mut stream = TcpStream::connect("10.9.0.2:80").expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    let mut data = Vec::new();
    stream.read_to_end(&mut data).expect("receive");
    assert!(data == vec![0x5a; OCTETS]);
    server.join().expect("sent");
}

#[test]
fn datagrams_and_bulk_tcp_through_two_queues() {
    let namespace = Namespace::new("t");
    let links = namespace.enter("opening", || tun::open("lktun", 2).expect("open").0);
    assert_eq!(links.len(), 2);
    let seen = talk(&namespace, links);
    assert!(
        seen.iter().any(|(longest, _)| *longest > 20_000),
        "no super-frame: {seen:?}"
    );
    assert!(seen.iter().all(|(_, statistics)| statistics.truncated == 0));
}

/// Packets to virtual addresses and from real servers, of many clients, each in the queue of its owner.
#[test]
fn the_kernel_gives_each_packet_to_its_owner() {
    const WORKERS: usize = 3;
    let namespace = Namespace::new("t");
    let (mut links, group) =
        namespace.enter("opening", || tun::open("lktun", WORKERS).expect("open"));
    namespace.ip("addr add 10.9.0.1/24 dev lktun");
    namespace.ip("addr add fd09::1/64 dev lktun nodad");
    for vips in [
        &["10.9.0.100", "fd09::100"][..],
        &[],
        &["10.9.0.100", "10.9.0.7"],
    ] {
        let vips: Vec<IpAddr> = vips.iter().map(|vip| vip.parse().expect("VIP")).collect();
        let steering = Steering::new(&vips, 0x5eed);
        group.steer(&steering).expect("steer");
        namespace.enter("sending", || {
            for (own, vip, client) in [
                ("10.9.0.1", "10.9.0.100", "10.9.0.7"),
                ("fd09::1", "fd09::100", "fd09::7"),
            ] {
                for port in 20_000..20_060 {
                    let own: IpAddr = own.parse().expect("own");
                    let socket = UdpSocket::bind((own, port)).expect("bind");
                    for (to, port) in [(vip, 53), (client, port)] {
                        let to: IpAddr = to.parse().expect("to");
                        socket.send_to(b"lk", (to, port)).expect("send");
                    }
                }
            }
        });
        let mut counts = [0; WORKERS];
        for (at, link) in links.iter_mut().enumerate() {
            loop {
                let mut batch = Vec::new();
                if link.receiver.receive(&mut batch).expect("receive") == 0 {
                    break;
                }
                let ours = batch
                    .iter()
                    .filter(|packet| packet.bytes().ends_with(b"lk"));
                for bytes in ours.map(packet::Packet::bytes) {
                    let kind = if bytes[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
                    let owner = usize::try_from(steering.frame(kind, bytes)).expect("64 bits");
                    assert_eq!(owner % WORKERS, at, "{bytes:?}");
                    counts[at] += 1;
                }
            }
        }
        assert_eq!(counts.iter().sum::<i32>(), 240, "{counts:?}");
        assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
    }
    // As many addresses as the classic program has room for, and more.
    for count in [100, 1600, 10_000_u32] {
        let vip = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a01_0000 + n * 7));
        let vips: Vec<IpAddr> = (0..count).map(vip).collect();
        group
            .steer(&Steering::new(&vips, 1))
            .expect("a long program");
    }
}

#[test]
fn without_virtio_headers_every_packet_is_complete() {
    let namespace = Namespace::new("t");
    let link = namespace.enter("opening", || tun_plain::open("lktun").expect("open"));
    let mut unfinished = link::Frame::new(&[0x45; 40], 0);
    unfinished.offload.partial_checksum = Some(16);
    let result = link.sender.transmit(&[unfinished.into()]);
    assert_eq!(
        (result.refused, result.last_errno),
        (1, Some(95)),
        "{result:?}"
    );
    let [(longest, statistics)] = talk(&namespace, vec![link])[..] else {
        panic!("one link")
    };
    assert_eq!(longest, 1500);
    assert!(
        statistics.received > 10_000 && statistics.truncated == 0,
        "{statistics:?}"
    );
}

#[test]
fn a_removed_device_is_an_error_and_one_that_is_down_takes_nothing() {
    let namespace = Namespace::new("t");
    let mut links = namespace.enter("opening", || tun::open("lktun", 1).expect("open").0);
    let mut link = links.pop().expect("one");
    let packet = link::Frame::new(&[0x45; 20], 0);
    namespace.ip("link set lktun down");
    assert_eq!(link.sender.transmit(&[packet.into()]).down, 1);
    namespace.ip("link del lktun");
    let error = link
        .receiver
        .receive(&mut Vec::new())
        .expect_err("removed")
        .to_string();
    assert!(
        error.starts_with("cannot receive on lktun: No such device"),
        "{error}"
    );
}

/// Each refusal is a sentence that says why, and what to do.
#[test]
fn refusals_are_sentences() {
    let namespace = Namespace::new("t");
    let said = |name: &'static str, workers| {
        namespace.enter("opening", move || {
            let error = tun::open(name, workers).map(drop).expect_err("refused");
            error.to_string()
        })
    };
    let begin = "cannot open a TUN queue (/dev/net/tun) on ";
    let text = said("lo", 1);
    assert!(
        text.starts_with(begin) && text.contains("it is no TUN device"),
        "{text}"
    );
    namespace.ip("tuntap add lktun mode tun");
    let text = said("lktun", 2);
    assert!(
        text.starts_with(begin) && text.contains("has one queue only"),
        "{text}"
    );
    let held = namespace.enter("opening", || tun::open("lktun", 1).expect("one queue"));
    let text = said("lktun", 1);
    assert!(
        text.starts_with(begin) && text.contains("another program has it open"),
        "{text}"
    );
    drop(held);
    namespace.ip("tuntap del lktun mode tun");
    namespace.ip("tuntap add lktun mode tun multi_queue");
    let held = namespace.enter("opening", || tun::open("lktun", 1).expect("one of several"));
    let text = said("lktun", 2);
    assert!(text.contains("another program has it open"), "{text}");
    drop(held);
    namespace.enter("opening", || tun::open("lktun", 2).expect("two queues"));
}
