//! What the pure core costs per packet, without any I/O: an established connection's packet by each forwarding
//! method at a thousand and at a million connections, a new connection, a malformed packet.
//!
//! `cargo bench --bench engine`; compare two revisions with `-- --save-baseline NAME` and `-- --baseline NAME`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion};
use director::connection::{HashKind, TableConfig};
use director::destination::{DestinationConfig, Method, TunnelConfig};
use director::director::{Director, Host};
use director::frame::Output;
use director::net::{Answer, Interface, Network, Route, RouteKind};
use director::protocol::Protocol;
use director::service::{ServiceConfig, ServiceKey};
use director::shared::{Options, Shared};
use director::time::Instant;
use director::verdict::Verdict;
use packet::{Mac, Packet, checksum};

const HEADROOM: usize = 64;
const OWN: Mac = Mac([2, 0, 0, 0, 1, 1]);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const SERVERS: u8 = 16;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A director with one TCP service on port 80, sixteen real servers and so many established connections.
fn director(method: Method, connections: u32) -> Director {
    let shared = Arc::new(Shared::new(Options::default()));
    let key = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: VIP.into(),
        port: 80,
    };
    let config = ServiceConfig {
        key,
        scheduler: "wlc".to_owned(),
        flags: 0,
        timeout: 0,
        netmask: u32::MAX,
        persistence_engine: None,
    };
    shared.add_service(config).expect("a new service");
    for last in 1..=SERVERS {
        let server = DestinationConfig {
            address: Ipv4Addr::new(10, 2, 0, last).into(),
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
    host.network.store(Arc::new(network()));
    let table = TableConfig {
        max_connections: 1 << 24,
        hash: HashKind::default(),
        seed: [1, 2],
    };
    let mut director = Director::new(shared, host, 0, &table);
    for client in 0..connections {
        for flags in [SYN, ACK] {
            let verdict = handle(&mut director, &mut segment(client, flags));
            assert_eq!(verdict, Verdict::Forwarded);
        }
    }
    director
}

fn network() -> Network {
    let own = IpAddr::from([10, 2, 0, 254]);
    let mut network = Network {
        interfaces: vec![Interface {
            index: 1,
            name: "eth0".to_owned(),
            mac: OWN,
            mtu: 1500,
            link_len: 14,
            addresses: vec![(own, 16)],
            up: true,
        }],
        ..Network::default()
    };
    let route = Route {
        kind: RouteKind::Unicast,
        interface: 1,
        gateway: None,
        source: None,
        mtu: None,
        metric: 0,
    };
    network.routes.insert(own, 16, route);
    network.vips.insert(VIP.into(), Answer::Owned);
    for last in 1..=SERVERS {
        let mac = Mac([2, 0, 0, 0, 2, last]);
        network.neighbours.insert((1, [10, 2, 0, last].into()), mac);
    }
    network
}

/// A TCP segment of client number `client`, with room in front.
fn segment(client: u32, flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADROOM + 54];
    let frame = &mut bytes[HEADROOM..];
    frame[..6].copy_from_slice(&OWN.0);
    frame[12..14].copy_from_slice(&[8, 0]);
    let [_, a, b, c] = client.to_be_bytes();
    frame[14..34].copy_from_slice(&[
        0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 11, a, b, c, 10, 8, 0, 1,
    ]);
    let sum = checksum::Sum::of(&frame[14..34]).finish();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame[34..38].copy_from_slice(&[4, 1, 0, 80]);
    frame[46] = 0x50;
    frame[47] = flags;
    bytes
}

fn handle(director: &mut Director, bytes: &mut [u8]) -> Verdict {
    let end = bytes.len();
    let mut output = Output::default();
    let packet = Packet::new(bytes, HEADROOM..end, 14);
    let now = Instant::START.after(Duration::from_secs(1));
    let verdict = director.handle(now, 1, 0, packet, &mut output);
    black_box(&output);
    verdict
}

fn established(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("established");
    let methods = [
        ("dr", Method::DirectRoute),
        ("nat", Method::Masq),
        ("ipip", Method::Tunnel),
    ];
    for connections in [1_000, 1_000_000] {
        for (name, method) in methods {
            let mut director = director(method, connections);
            let mut random = 0_u32;
            // Each client far from the one before, as packets come.
            let mut next = || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                segment((random >> 8) % connections, ACK)
            };
            group.bench_function(BenchmarkId::new(name, connections), |bencher| {
                bencher.iter_batched_ref(
                    &mut next,
                    |bytes| handle(&mut director, bytes),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn new_connection(criterion: &mut Criterion) {
    let mut director = director(Method::Masq, 0);
    let mut client = 0;
    let mut next = || {
        client += 1;
        segment(client & 0x00ff_ffff, SYN)
    };
    criterion.bench_function("new connection, nat, wlc over 16", |bencher| {
        bencher.iter_batched_ref(
            &mut next,
            |bytes| handle(&mut director, bytes),
            BatchSize::SmallInput,
        );
    });
}

fn malformed(criterion: &mut Criterion) {
    let mut director = director(Method::Masq, 0);
    let mut bytes = segment(1, SYN);
    bytes[HEADROOM + 24] ^= 1;
    criterion.bench_function("malformed", |bencher| {
        bencher.iter(|| handle(&mut director, &mut bytes));
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    established(&mut criterion);
    new_connection(&mut criterion);
    malformed(&mut criterion);
    criterion.final_summary();
}
