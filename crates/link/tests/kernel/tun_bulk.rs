//! Bulk transfers that a host routes through a TUN device: what a director there does to packets, without the director.
//! The peers verify every checksum, as nothing on their side does it for them.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use link::sys::poll;
use link::{Link, Outgoing, Statistics, Transmitted, tun};

use crate::bulk::{counter, exchange, offloads_off};
use crate::namespace::{Namespace, veth};

/// client c0 - d0 host d1 - r0 server; what comes by d0 and d1 is routed into a TUN device, and by
/// the routes to client and server when it comes out again.
struct Topology {
    client: Namespace,
    host: Namespace,
    server: Namespace,
    links: Vec<Link>,
}

fn topology(queues: usize) -> Topology {
    let (client, host, server) = (
        Namespace::new("c"),
        Namespace::new("h"),
        Namespace::new("s"),
    );
    veth((&client, "c0", 1), (&host, "d0", 2));
    veth((&host, "d1", 3), (&server, "r0", 4));
    for (namespace, interface, net, last) in [
        (&client, "c0", 1, 2),
        (&host, "d0", 1, 1),
        (&host, "d1", 2, 1),
        (&server, "r0", 2, 2),
    ] {
        namespace.ip(&format!("addr add 10.{net}.0.{last}/24 dev {interface}"));
        namespace.ip(&format!(
            "addr add fd0{net}::{last}/64 dev {interface} nodad"
        ));
    }
    for (namespace, net) in [(&client, 1), (&server, 2)] {
        namespace.ip(&format!("route add default via 10.{net}.0.1"));
        namespace.ip(&format!("-6 route add default via fd0{net}::1"));
    }
    host.sysctl("net/ipv4/ip_forward", "1");
    host.sysctl("net/ipv6/conf/all/forwarding", "1");
    let (links, _group) = host.enter("opening", move || tun::open("lktun", queues).expect("open"));
    for family in ["-4", "-6"] {
        host.ip(&format!("{family} route add default dev lktun table 100"));
        for interface in ["d0", "d1"] {
            host.ip(&format!("{family} rule add iif {interface} lookup 100"));
        }
    }
    Topology {
        client,
        host,
        server,
        links,
    }
}

/// What a queue saw.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    longest: usize,
    sent: Transmitted,
    statistics: Statistics,
}

/// Gives every packet back to the host, until told to stop.
fn forward(mut link: Link, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let mut batch = Vec::new();
        if link.receiver.receive(&mut batch).expect("receive") == 0 {
            drop(batch);
            let fd = link.receiver.fd().expect("a descriptor");
            poll::readable(&[fd], Some(Duration::from_millis(20))).expect("poll");
            continue;
        }
        seen.longest = batch
            .iter()
            .map(packet::Packet::len)
            .fold(seen.longest, usize::max);
        let outgoing: Vec<Outgoing<'_>> = batch.into_iter().map(Outgoing::from).collect();
        seen.sent += link.sender.transmit(&outgoing);
    }
    seen.statistics = link.receiver.statistics();
    seen
}

/// Runs a forwarder for each queue while `work` runs; returns what all saw together.
fn forwarded(topology: &mut Topology, work: impl FnOnce(&Topology)) -> Seen {
    let stop = Arc::new(AtomicBool::new(false));
    let links = std::mem::take(&mut topology.links);
    let start = |link| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || forward(link, &stop))
    };
    let forwarders: Vec<JoinHandle<Seen>> = links.into_iter().map(start).collect();
    work(topology);
    stop.store(true, Ordering::Relaxed);
    let mut all = Seen::default();
    for forwarder in forwarders {
        let seen = forwarder.join().expect("the forwarder does not panic");
        assert_eq!(seen.sent.failed(), 0, "{seen:?}");
        let lost = seen.statistics.truncated + seen.statistics.unknown_offload;
        assert_eq!(lost, 0, "{seen:?}");
        all.longest = all.longest.max(seen.longest);
        all.sent += seen.sent;
    }
    all
}

fn checksum_errors(namespace: &Namespace) -> u64 {
    counter(namespace, "Tcp", "InCsumErrors") + counter(namespace, "Udp", "InCsumErrors")
}

#[test]
fn super_frames_of_both_families_by_one_queue_and_by_two() {
    for queues in [1, 2] {
        let mut topology = topology(queues);
        let seen = forwarded(&mut topology, |topology| {
            exchange(&topology.client, &topology.server, "10.2.0.2:80");
            exchange(&topology.client, &topology.server, "[fd02::2]:80");
        });
        assert!(seen.longest > 30_000, "no super-frame came: {seen:?}");
        assert!(seen.sent.sent < 150_000, "super-frames were cut: {seen:?}");
    }
}

#[test]
fn the_host_finishes_checksums_and_segments_right() {
    let mut topology = topology(2);
    for interface in ["d0", "d1"] {
        offloads_off(&topology.host, interface);
    }
    forwarded(&mut topology, |topology| {
        exchange(&topology.client, &topology.server, "10.2.0.2:80");
        exchange(&topology.client, &topology.server, "[fd02::2]:80");
    });
    for namespace in [&topology.client, &topology.server] {
        assert_eq!(checksum_errors(namespace), 0);
        let segments = counter(namespace, "Tcp", "InSegs");
        assert!(segments > 20_000, "segments were not cut: {segments}");
    }
}

#[test]
fn complete_checksums_stay_as_they_are() {
    let mut topology = topology(1);
    offloads_off(&topology.client, "c0");
    offloads_off(&topology.server, "r0");
    forwarded(&mut topology, |topology| {
        exchange(&topology.client, &topology.server, "10.2.0.2:80");
    });
    for namespace in [&topology.client, &topology.server] {
        assert_eq!(checksum_errors(namespace), 0);
    }
}

/// Datagrams that a sender gave the kernel as one (`UDP_SEGMENT`) arrive as they were meant, whether the interface behind
/// the host cuts them or the kernel does.
#[test]
fn udp_super_frames_keep_their_datagrams() {
    const SIZE: usize = 1200;
    const COUNT: usize = 40;
    for without_offloads in [false, true] {
        let mut topology = topology(1);
        if without_offloads {
            offloads_off(&topology.host, "d1");
        }
        let seen = forwarded(&mut topology, |topology| {
            for address in ["10.2.0.2:53", "[fd02::2]:53"] {
                let server = topology
                    .server
                    .enter("binding", move || UdpSocket::bind(address).expect("bind"));
                let limit = Some(Duration::from_secs(5));
                server.set_read_timeout(limit).expect("timeout");
                topology.client.enter("sending", move || {
                    let any = if address.starts_with('[') {
                        "[::]:0"
                    } else {
                        "0.0.0.0:0"
                    };
                    let socket = UdpSocket::bind(any).expect("bind");
                    let mut octets = Vec::new();
                    for number in 0..COUNT {
                        octets.extend([u8::try_from(number).expect("small"); SIZE]);
                    }
                    let size = u16::try_from(SIZE).expect("small");
                    link::sys::datagrams::cut(&socket, size).expect("UDP_SEGMENT");
                    socket.send_to(&octets, address).expect("send");
                });
                let mut buffer = [0; 2000];
                for number in 0..COUNT {
                    let len = server.recv(&mut buffer).expect("a datagram");
                    let number = u8::try_from(number).expect("small");
                    assert_eq!(&buffer[..len], [number; SIZE], "{address}");
                }
            }
        });
        assert!(seen.longest > 40_000, "no super-frame came: {seen:?}");
        assert_eq!(checksum_errors(&topology.server), 0);
    }
}
