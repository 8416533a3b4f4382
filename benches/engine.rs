//! What the pure core costs per packet, without any I/O: an established connection's packet by each forwarding
//! method, family and number of connections, a reply under NAT, a new connection, refused and malformed packets.
//! Packets come in batches as from a ring, each of a client far from the one before.
//!
//! `cargo bench --bench engine`; compare two revisions with `-- --save-baseline NAME` and `-- --baseline NAME`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use criterion::Criterion;
use director::connection::{HashKind, TableConfig};
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::director::{Director, Host};
use director::frame::{Outgoing, Output};
use director::net::{Answer, Interface, Network, Route, RouteKind};
use director::protocol::Protocol;
use director::service::{ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::time::Instant;
use director::verdict::Verdict;
use link::recycle;
use packet::{Family, Mac, Packet, checksum};

/// Octets in front of a frame.
const HEADROOM: usize = 64;
/// Octets of a frame's memory.
const ROOM: usize = HEADROOM + 74;
/// Frames handled in one go.
const BATCH: usize = 32;
const OWN: Mac = Mac([2, 0, 0, 0, 1, 1]);
const SERVERS: u8 = 16;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Connections that the figures are taken at.
const CONNECTIONS: [u32; 3] = [10_000, 1_000_000, 10_000_000];

const fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 8, 0, 1)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 8, 0, 0, 0, 0, 0, 1)),
    }
}

fn server(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => [10, 2, 0, last].into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// A director with one TCP service on port 80, sixteen real servers and so many established connections.
fn director(method: Method, family: Family, connections: u32) -> Director {
    worker(&world(method, family, 1), family, 0, 0..connections)
}

/// What so many workers share: that service, and the host.
fn world(method: Method, family: Family, workers: usize) -> (Arc<Shared>, Arc<Host>) {
    let shared = Arc::new(Shared::new(Options {
        workers,
        ..Options::default()
    }));
    let key = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: vip(family),
        port: 80,
    };
    let config = ServiceConfig {
        key,
        scheduler: "wlc".to_owned(),
        flags: 0,
        timeout: 0,
        netmask: match family {
            Family::V4 => u32::MAX,
            Family::V6 => 128,
        },
        persistence_engine: None,
    };
    shared.add_service(config).expect("a new service");
    for last in 1..=SERVERS {
        let server = DestinationConfig {
            address: server(family, last),
            port: 80,
            method,
            tunnel: TunnelConfig::default(),
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
        };
        shared
            .add_destination(&key, &server)
            .expect("a new real server");
    }
    let host = Arc::new(Host::default());
    host.network.store(Arc::new(network(family)));
    (shared, host)
}

/// A worker with established connections of these clients.
fn worker(
    (shared, host): &(Arc<Shared>, Arc<Host>),
    family: Family,
    index: usize,
    clients: Range<u32>,
) -> Director {
    let table = TableConfig {
        max_connections: 1 << 24,
        hash: HashKind::default(),
        seed: [1, 2],
    };
    let mut director = Director::new(Arc::clone(shared), Arc::clone(host), index, &table);
    let mut frames = Frames::new(family);
    for client in clients {
        for flags in [SYN, ACK] {
            let verdict = frames.handle(&mut director, &[request(family, client, flags)]);
            assert_eq!(verdict, Verdict::Forwarded);
        }
    }
    director
}

/// One interface to real servers and clients, and a default route.
fn network(family: Family) -> Network {
    let own = server(family, 254);
    let len = match family {
        Family::V4 => 16,
        Family::V6 => 64,
    };
    let mut network = Network {
        interfaces: vec![Interface {
            index: 1,
            name: "eth0".to_owned(),
            mac: OWN,
            mtu: 1500,
            link_len: 14,
            addresses: vec![(own, len)],
            up: true,
        }],
        ..Network::default()
    };
    let route = |gateway| Route {
        kind: RouteKind::Unicast,
        interface: 1,
        gateway,
        source: None,
        mtu: None,
        metric: 0,
    };
    let router = server(family, 253);
    network.routes.insert(own, len, route(None));
    let anywhere: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    network.routes.insert(anywhere, 0, route(Some(router)));
    network.vips.insert(vip(family), Answer::Owned);
    for last in (1..=SERVERS).chain([253]) {
        let mac = Mac([2, 0, 0, 0, 2, last]);
        network.neighbours.insert((1, server(family, last)), mac);
    }
    network
}

/// A TCP segment: source, destination, flags.
type Segment = ((IpAddr, u16), (IpAddr, u16), u8);

/// What client number `client` sends.
fn request(family: Family, client: u32, flags: u8) -> Segment {
    let [_, a, b, c] = client.to_be_bytes();
    let address = match family {
        Family::V4 => IpAddr::from([11, a, b, c]),
        Family::V6 => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(client)).into(),
    };
    ((address, 1025), (vip(family), 80), flags)
}

/// Memory of a batch, as a ring has it.
struct Frames {
    family: Family,
    buffers: Vec<[u8; ROOM]>,
    packets: Vec<Packet<'static>>,
    frames: Vec<Outgoing<'static>>,
}

impl Frames {
    fn new(family: Family) -> Self {
        let buffers = vec![[0; ROOM]; BATCH];
        Self {
            family,
            buffers,
            packets: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Octets of a frame: link, IP and TCP header.
    fn len(&self) -> usize {
        match self.family {
            Family::V4 => 54,
            Family::V6 => 74,
        }
    }

    /// Writes the batch's frames.
    fn fill(&mut self, segments: &[Segment]) {
        let len = self.len();
        for (buffer, &(source, destination, flags)) in self.buffers.iter_mut().zip(segments) {
            let frame = &mut buffer[HEADROOM..HEADROOM + len];
            frame[..6].copy_from_slice(&OWN.0);
            let transport = match (source.0, destination.0) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    frame[12..14].copy_from_slice(&[8, 0]);
                    frame[14..26].copy_from_slice(&[0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
                    frame[26..30].copy_from_slice(&source.octets());
                    frame[30..34].copy_from_slice(&destination.octets());
                    let sum = checksum::Sum::of(&frame[14..34]).finish();
                    frame[24..26].copy_from_slice(&sum.to_be_bytes());
                    34
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
                    frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, 6, 64]);
                    frame[22..38].copy_from_slice(&source.octets());
                    frame[38..54].copy_from_slice(&destination.octets());
                    54
                }
                _ => unreachable!("families are not mixed"),
            };
            let segment = &mut frame[transport..];
            segment[..2].copy_from_slice(&source.1.to_be_bytes());
            segment[2..4].copy_from_slice(&destination.1.to_be_bytes());
            segment[4..20]
                .copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0]);
        }
    }

    /// Handles the first `count` frames as one batch: the last verdict, and how long that took. As in a worker, the link
    /// has made the packets before, and the lists' memory is that of the batch before.
    fn run(&mut self, director: &mut Director, count: usize) -> (Verdict, Duration) {
        let len = self.len();
        let now = Instant::START.after(Duration::from_secs(1));
        let mut output = Output {
            frames: recycle(std::mem::take(&mut self.frames)),
            told: Vec::new(),
        };
        let mut packets: Vec<Packet<'_>> = recycle(std::mem::take(&mut self.packets));
        let buffers = self.buffers.iter_mut().take(count);
        packets.extend(buffers.map(|buffer| Packet::new(buffer, HEADROOM..HEADROOM + len, 14)));
        let begun = std::time::Instant::now();
        director.prefetch(&packets);
        let mut verdict = Verdict::Pass;
        for packet in packets.drain(..) {
            verdict = director.handle(now, 1, 0, packet, &mut output);
        }
        black_box(&output.frames);
        let spent = begun.elapsed();
        self.packets = recycle(packets);
        self.frames = recycle(output.frames);
        (verdict, spent)
    }

    fn handle(&mut self, director: &mut Director, segments: &[Segment]) -> Verdict {
        self.fill(segments);
        self.run(director, segments.len()).0
    }
}

/// Whether the command line asks for the measurement of this name. Criterion would skip the others too, but only after
/// their connections have been made; made inside, they would be taken for its warm-up.
fn is_wanted(name: &str) -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = words.iter().enumerate().filter_map(|(at, word)| {
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        let is_value = before.is_some_and(|before| before.starts_with("--") && before != "--bench");
        (!word.starts_with('-') && !is_value).then_some(word)
    });
    filters
        .next()
        .is_none_or(|filter| match filter.strip_suffix('$') {
            Some(end) => name.ends_with(end),
            None => name.contains(filter.as_str()),
        })
}

/// Measures what one packet of `family` costs in batches of what `next` gives; `make` is called if this one was asked for.
fn measure(
    criterion: &mut Criterion,
    name: String,
    family: Family,
    make: impl Fn() -> Director,
    expected: Verdict,
    mut next: impl FnMut() -> Segment,
) {
    if !is_wanted(&name) {
        return;
    }
    let mut frames = Frames::new(family);
    let mut director = make();
    criterion.bench_function_id(name, |iterations| {
        let mut spent = Duration::ZERO;
        let mut left = iterations;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(BATCH).min(BATCH);
            left -= count as u64;
            let segments: Vec<Segment> = (0..count).map(|_| next()).collect();
            frames.fill(&segments);
            let (verdict, took) = frames.run(&mut director, count);
            spent += took;
            assert_eq!(verdict, expected);
        }
        spent
    });
}

/// What Criterion calls `bench_function` with `iter_custom`, in one word.
trait Bench {
    fn bench_function_id(&mut self, id: String, run: impl FnMut(u64) -> Duration);
}

impl Bench for Criterion {
    fn bench_function_id(&mut self, id: String, mut run: impl FnMut(u64) -> Duration) {
        let mut group = self.benchmark_group("engine");
        group.bench_function(id, |bencher| bencher.iter_custom(&mut run));
        group.finish();
    }
}

/// Clients in an order without neighbours.
fn clients(connections: u32) -> impl FnMut() -> u32 {
    let mut random = 0_u32;
    move || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % connections
    }
}

fn established(criterion: &mut Criterion) {
    for connections in CONNECTIONS {
        for (name, method) in [
            ("dr", Method::DirectRoute),
            ("nat", Method::Masq),
            ("ipip", Method::Tunnel),
        ] {
            for (version, family) in [("v4", Family::V4), ("v6", Family::V6)] {
                if connections == 10_000_000 && (family, method) != (Family::V4, Method::Masq) {
                    continue;
                }
                let make = || director(method, family, connections);
                let mut client = clients(connections);
                let id = format!("established {name} {version}/{connections}");
                measure(criterion, id, family, make, Verdict::Forwarded, || {
                    request(family, client(), ACK)
                });
            }
        }
    }
}

fn replies(criterion: &mut Criterion) {
    for connections in [10_000, 1_000_000] {
        let family = Family::V4;
        let make = || director(Method::Masq, family, connections);
        // wlc gives the first sixteen clients the sixteen servers in turn, newest first, and so on.
        let mut client = clients(connections / 16);
        let id = format!("reply nat v4/{connections}");
        measure(criterion, id, family, make, Verdict::Forwarded, || {
            let number = client() * 16;
            let (from, _, _) = request(family, number, ACK);
            ((server(family, SERVERS), 80), from, ACK)
        });
    }
}

/// What another worker, as busy with packets of its own, costs this one: they share services, real servers and their
/// counters.
fn beside_another(criterion: &mut Criterion) {
    let (family, connections) = (Family::V4, 10_000);
    let stop = &AtomicBool::new(false);
    thread::scope(|scope| {
        let make = || {
            let world = world(Method::Masq, family, 2);
            let mut other = worker(&world, family, 1, connections..2 * connections);
            scope.spawn(move || {
                let (mut frames, mut client) = (Frames::new(family), clients(connections));
                while !stop.load(Relaxed) {
                    let segment = |_| request(family, connections + client(), ACK);
                    let segments: Vec<Segment> = (0..BATCH).map(segment).collect();
                    assert_eq!(frames.handle(&mut other, &segments), Verdict::Forwarded);
                }
            });
            worker(&world, family, 0, 0..connections)
        };
        let mut client = clients(connections);
        let id = format!("established nat v4/{connections}, beside another worker");
        measure(criterion, id, family, make, Verdict::Forwarded, || {
            request(family, client(), ACK)
        });
        stop.store(true, Relaxed);
    });
}

fn new_connection(criterion: &mut Criterion) {
    let family = Family::V4;
    let make = || director(Method::Masq, family, 0);
    let mut client = 0;
    let id = "new connection, nat, wlc over 16".to_owned();
    measure(criterion, id, family, make, Verdict::Forwarded, || {
        client += 1;
        // As many connections as a million, which begin anew in turn.
        request(family, client & 0x000f_ffff, SYN)
    });
}

fn unwanted(criterion: &mut Criterion) {
    let family = Family::V4;
    let make = || director(Method::Masq, family, 10_000);
    let id = "not for a service".to_owned();
    measure(criterion, id, family, make, Verdict::Pass, || {
        let (client, _, flags) = request(family, 7, ACK);
        (client, ([10, 99, 0, 1].into(), 80), flags)
    });
    let mut frames = Frames::new(family);
    frames.fill(&vec![request(family, 1, ACK); BATCH]);
    for buffer in &mut frames.buffers {
        buffer[HEADROOM + 24] ^= 1;
    }
    let mut director = director(Method::Masq, family, 1);
    let id = "malformed".to_owned();
    criterion.bench_function_id(id, |iterations| {
        let batches = 0..iterations.div_ceil(BATCH as u64);
        batches.map(|_| frames.run(&mut director, BATCH).1).sum()
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    established(&mut criterion);
    replies(&mut criterion);
    beside_another(&mut criterion);
    new_connection(&mut criterion);
    unwanted(&mut criterion);
    criterion.final_summary();
}
