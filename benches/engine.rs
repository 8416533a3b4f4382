//! What the pure core costs per packet, without any I/O: an established connection's packet by each forwarding
//! method, family and number of connections, a reply under NAT, a new connection, refused and malformed packets.
//! Packets come in batches as from a ring, each of a client far from the one before.
//!
//! `cargo bench --bench engine`; compare two revisions with `-- --save-baseline NAME` and `-- --baseline NAME`.

#[path = "one_service.rs"]
mod one_service;

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use criterion::Criterion;
use director::destination::Method;
use director::director::{Director, Host};
use director::frame::{Outgoing, Output};
use director::shared::{Options, Shared};
use director::time::Instant;
use director::verdict::Verdict;
use link::recycle;
use one_service::{
    ACK, Endpoint, HEADROOM, ROOM, SERVERS, SYN, client, frame_len, key, network, real_server,
    server, service, table, vip, write,
};
use packet::{Family, Packet};

/// Frames handled in one go.
const BATCH: usize = 32;
/// Connections that the figures are taken at.
const CONNECTIONS: [u32; 3] = [10_000, 1_000_000, 10_000_000];

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
    let key = key(family);
    shared
        .add_service(service(key, "wlc"))
        .expect("a new service");
    for last in 1..=SERVERS {
        let server = real_server(server(family, last), method, 1);
        let added = shared.add_destination(&key, &server);
        added.expect("a new real server");
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
    let mut director = Director::new(Arc::clone(shared), Arc::clone(host), index, &table());
    let mut frames = Frames::new(family);
    for client in clients {
        for flags in [SYN, ACK] {
            let verdict = frames.handle(&mut director, &[request(family, client, flags)]);
            assert_eq!(verdict, Verdict::Forwarded);
        }
    }
    director
}

/// A TCP segment: source, destination, flags.
type Segment = (Endpoint, Endpoint, u8);

/// What client number `number` sends.
fn request(family: Family, number: u32, flags: u8) -> Segment {
    (client(family, number), (vip(family), 80), flags)
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

    /// Writes the batch's frames.
    fn fill(&mut self, segments: &[Segment]) {
        let len = frame_len(self.family);
        for (buffer, &(source, destination, flags)) in self.buffers.iter_mut().zip(segments) {
            let frame = &mut buffer[HEADROOM..HEADROOM + len];
            write(frame, source, destination, flags);
        }
    }

    /// Handles the first `count` frames as one batch: the last verdict, and how long that took. As in a worker, the link
    /// has made the packets before, and the lists' memory is that of the batch before.
    fn run(&mut self, director: &mut Director, count: usize) -> (Verdict, Duration) {
        let len = frame_len(self.family);
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
