//! TCP through a forwarder made of two links: what a director does to frames, without the director.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use link::af_xdp::Scope;
use link::guard::{Endpoint, Guard, Rules};
use link::sys::ethtool::{self, Feature};
use link::sys::poll;
use link::{Link, Outgoing, Transmitted, recycle};
use packet::Packet;

use crate::af_packet::open;
use crate::namespace::{Namespace, mac, veth};

const OCTETS: usize = 100 << 20;
/// Where the server listens.
const ADDRESS: &str = "10.0.0.2:80";

/// client c0 - d0 director d1 - r0 server, one subnet, the director a bump in the wire that puts
/// its own MAC addresses in.
struct Topology {
    client: Namespace,
    director: Namespace,
    server: Namespace,
}

fn topology() -> Topology {
    let (client, director, server) = (
        Namespace::new("c"),
        Namespace::new("d"),
        Namespace::new("s"),
    );
    veth((&client, "c0", 1), (&director, "d0", 2));
    veth((&director, "d1", 3), (&server, "r0", 4));
    client.ip("addr add 10.0.0.1/24 dev c0");
    server.ip("addr add 10.0.0.2/24 dev r0");
    client.ip("neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev c0");
    server.ip("neigh add 10.0.0.1 lladdr 02:00:00:00:00:03 dev r0");
    Topology {
        client,
        director,
        server,
    }
}

/// Forwards between two links until told to stop; returns what was sent.
fn forward(mut links: [(Link, [u8; 6], [u8; 6]); 2], stop: &AtomicBool) -> Transmitted {
    let mut total = Transmitted::default();
    let mut batch_store: Vec<Packet<'static>> = Vec::new();
    let mut out_store: Vec<Outgoing<'static>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for (from, to) in [(0, 1), (1, 0)] {
            let sender = Arc::clone(&links[to].0.sender);
            let (_, source, destination) = links[to];
            let mut batch = recycle(batch_store);
            let mut outgoing = recycle(out_store);
            idle &= links[from].0.receiver.receive(&mut batch).expect("receive") == 0;
            for mut packet in batch.drain(..) {
                let bytes = packet.bytes_mut();
                if bytes.len() > 14 && bytes[12..14] == [8, 0] {
                    bytes[..6].copy_from_slice(&destination);
                    bytes[6..12].copy_from_slice(&source);
                    outgoing.push(Outgoing::from(packet));
                }
            }
            total += sender.transmit(&outgoing);
            batch_store = recycle(batch);
            out_store = recycle(outgoing);
        }
        if idle {
            let fds = [0, 1].map(|at| links[at].0.receiver.fd().expect("a descriptor"));
            poll::readable(&fds, Some(Duration::from_millis(20))).expect("poll");
        }
    }
    total
}

/// Runs a forwarder by packet sockets while `work` runs.
fn forwarded<T>(topology: &Topology, work: impl FnOnce() -> T) -> (T, Transmitted) {
    let links = ["d0", "d1"].map(|name| open(&topology.director, name));
    forwarded_by(links, work)
}

/// Runs a forwarder by AF_XDP while `work` runs.
fn forwarded_by_af_xdp<T>(
    topology: &Topology,
    scope: Scope,
    work: impl FnOnce() -> T,
) -> (T, Transmitted) {
    let web = Endpoint {
        protocol: 6,
        address: [10, 0, 0, 2].into(),
        port: 80,
    };
    let guard = topology.director.enter("a guard", move || {
        let mut guard = Guard::attach(&["d0", "d1"]).expect("attach");
        let rules = Rules {
            services: vec![web],
            real_servers: vec![web],
            ..Rules::default()
        };
        guard.update(&rules).expect("update");
        guard
    });
    let links = ["d0", "d1"].map(|name| {
        let mut all = crate::af_xdp::open(&topology.director, name, (&guard, 1, scope));
        assert_eq!(all.status.tcp, scope == Scope::All);
        all.links.pop().expect("one worker, one link")
    });
    forwarded_by(links, work)
}

fn forwarded_by<T>(links: [Link; 2], work: impl FnOnce() -> T) -> (T, Transmitted) {
    let [to_client, to_server] = links;
    let links = [(to_client, mac(2), mac(1)), (to_server, mac(3), mac(4))];
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let forwarder = std::thread::spawn(move || forward(links, &stopped));
    let result = work();
    stop.store(true, Ordering::Relaxed);
    (
        result,
        forwarder.join().expect("the forwarder does not panic"),
    )
}

/// Fetches `OCTETS` from the server and sends them back; both sides check every octet.
pub(crate) fn exchange(client: &Namespace, server: &Namespace, address: &'static str) -> Duration {
    let listener = server.enter("listening", move || {
        TcpListener::bind(address).expect("bind")
    });
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        stream.write_all(pattern()).expect("send");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).expect("receive");
        assert!(back == pattern(), "the upload was changed on its way");
    });
    let start = Instant::now();
    client.enter("the client", move || {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        let mut data = vec![0; OCTETS];
        stream.read_exact(&mut data).expect("download");
        assert!(data == pattern(), "the download was changed on its way");
        stream.write_all(&data).expect("upload");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    });
    server.join().expect("the server got all");
    start.elapsed()
}

/// What is sent: octets whose period no segment size divides.
fn pattern() -> &'static [u8] {
    static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let tile: Vec<u8> = (0..1_000_003_usize)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect();
        let mut octets = tile.repeat(OCTETS / tile.len() + 1);
        octets.truncate(OCTETS);
        octets
    });
    &PATTERN
}

/// A counter of `/proc/net/snmp` such as `Tcp InCsumErrors`.
pub(crate) fn counter(namespace: &Namespace, protocol: &'static str, name: &'static str) -> u64 {
    namespace.enter("reading counters", move || {
        let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("snmp");
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with(&format!("{protocol}:")));
        let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
        let at = names
            .split_whitespace()
            .position(|word| word == name)
            .expect("the counter");
        values
            .split_whitespace()
            .nth(at)
            .expect("a value")
            .parse()
            .expect("a number")
    })
}

#[test]
fn bulk_tcp_with_default_offloads() {
    let topology = topology();
    let (time, sent) = forwarded(&topology, || {
        exchange(&topology.client, &topology.server, ADDRESS)
    });
    // 200 MiB in MTU-sized frames would be 145,000 frames and their acknowledgements.
    assert!(sent.sent < 60_000, "super-frames were cut: {sent:?}");
    assert_eq!(sent.failed(), 0, "{sent:?}");
    println!("200 MiB in {time:?}, {} frames", sent.sent);
}

#[test]
fn checksums_are_right_when_the_kernel_must_finish_them() {
    let topology = topology();
    // Without offloads the sending device has the kernel finish checksums and cut super-frames from
    // what the virtio-net header says, and the peers verify them in software.
    for interface in ["d0", "d1"] {
        offloads_off(&topology.director, interface);
    }
    let (_, sent) = forwarded(&topology, || {
        exchange(&topology.client, &topology.server, ADDRESS)
    });
    assert_eq!(sent.failed(), 0, "{sent:?}");
    for namespace in [&topology.client, &topology.server] {
        assert_eq!(counter(namespace, "Tcp", "InCsumErrors"), 0);
        assert!(
            counter(namespace, "Tcp", "InSegs") > 10_000,
            "segments were not cut"
        );
    }
}

#[test]
fn super_frames_pass_whole_beside_an_xdp_program() {
    let topology = topology();
    let (_, sent) = forwarded_by_af_xdp(&topology, Scope::Automatic, || {
        exchange(&topology.client, &topology.server, ADDRESS)
    });
    assert!(sent.sent < 60_000, "super-frames were cut: {sent:?}");
    assert_eq!(sent.failed(), 0, "{sent:?}");
}

#[test]
fn tcp_by_af_xdp_alone() {
    let topology = topology();
    // The peers verify every checksum: it was partial when it came, and is finished when it leaves.
    for (namespace, name) in [(&topology.client, "c0"), (&topology.server, "r0")] {
        namespace.offloads(name, "rx off");
    }
    let (_, sent) = forwarded_by_af_xdp(&topology, Scope::All, || {
        exchange(&topology.client, &topology.server, ADDRESS)
    });
    // Nobody sends super-frames any more.
    assert!(sent.sent > 145_000, "{sent:?}");
    for namespace in [&topology.client, &topology.server] {
        assert_eq!(counter(namespace, "Tcp", "InCsumErrors"), 0);
    }
}

/// `ethtool -K IFACE tx off`, which Debian does not install by default, by its ioctl.
pub(crate) fn offloads_off(namespace: &Namespace, name: &'static str) {
    namespace.enter("turning offloads off", move || {
        ethtool::set(name, Feature::TransmitChecksum, false).expect("ethtool");
    });
}
