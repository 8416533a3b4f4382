//! Workloads: what they promise of their means, their shapes and their sameness.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use lab::random;
use lab::scenario::{
    Arrivals, Clients, ConnectionsSection, Directors, Distribution, Scenario, ServersSection,
    ServiceSection, SynFlood,
};
use lab::workload::{Arrival, Plan, Workload};

/// Poisson at load 0.5 of 10 servers, exponential work of mean 0.01: 500 connections a second.
fn scenario(duration: f64) -> Scenario {
    Scenario {
        name: "test".into(),
        summary: "A test.".into(),
        duration,
        warmup: 0.0,
        schedulers: Vec::new(),
        service: ServiceSection::default(),
        servers: vec![toml::from_str::<ServersSection>("count = 10").expect("a section")],
        arrivals: Arrivals::Poisson {
            load: Some(0.5),
            rate: None,
        },
        connections: vec![kind(1.0, Distribution::Exponential { mean: 0.01 })],
        clients: Clients::default(),
        events: Vec::new(),
        directors: Directors::default(),
        syn_flood: None,
        sweep: None,
    }
}

fn kind(share: f64, work: Distribution) -> ConnectionsSection {
    ConnectionsSection {
        share,
        work,
        packets: 1,
        linger: None,
    }
}

fn begin(scenario: &Scenario, seed: u64, repeat: u32) -> Box<dyn Workload> {
    let plan = Plan::new(scenario).expect("a workload");
    plan.start(seed, repeat)
}

fn start(scenario: &Scenario, seed: u64) -> Box<dyn Workload> {
    begin(scenario, seed, 0)
}

/// All arrivals; each ends as soon as it has begun.
fn all(scenario: &Scenario, seed: u64) -> Vec<Arrival> {
    let mut workload = start(scenario, seed);
    let mut arrivals = Vec::new();
    while let Some(at) = workload.peek() {
        let arrival = workload.next().expect("what was promised");
        assert_eq!(arrival.at, at);
        if !arrival.is_flood {
            workload.done(&arrival, at);
        }
        arrivals.push(arrival);
    }
    assert_eq!(workload.next(), None);
    assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
    arrivals
}

/// Mean and variance.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    (mean, squares / (count - 1.0))
}

#[track_caller]
fn near(value: f64, expected: f64, tolerance: f64) {
    assert!(
        (value - expected).abs() <= tolerance * expected,
        "{value} is not within {tolerance} of {expected}"
    );
}

fn samples(distribution: Distribution, count: usize) -> Vec<f64> {
    let mut stream = random::stream(1, 0, "test");
    (0..count)
        .map(|_| distribution.sample(&mut stream))
        .collect()
}

#[test]
fn distributions_have_their_means_and_mean_squares() {
    let distributions = [
        Distribution::Deterministic { mean: 0.3 },
        Distribution::Exponential { mean: 0.3 },
        Distribution::Lognormal {
            mean: 0.3,
            sigma: 1.0,
        },
        Distribution::BoundedPareto {
            shape: 1.5,
            least: 0.01,
            most: 10.0,
        },
        // Both moments of these have a logarithm instead of a power.
        Distribution::BoundedPareto {
            shape: 1.0,
            least: 0.01,
            most: 1.0,
        },
        Distribution::BoundedPareto {
            shape: 2.0,
            least: 0.01,
            most: 1.0,
        },
        Distribution::Bimodal {
            short: 0.1,
            long: 2.0,
            share: 0.1,
        },
    ];
    for distribution in distributions {
        let values = samples(distribution, 1_000_000);
        let (mean, _) = moments(values.iter().copied());
        near(mean, distribution.mean(), 0.01);
        let (square, _) = moments(values.iter().map(|value| value * value));
        near(square, distribution.mean_square(), 0.04);
        assert!(values.iter().all(|value| *value > 0.0));
    }
}

#[test]
fn a_bounded_pareto_stays_inside_and_has_its_tail() {
    let (shape, least, most) = (1.2, 0.5, 50.0);
    let values = samples(Distribution::BoundedPareto { shape, least, most }, 200_000);
    assert!(values.iter().all(|value| (least..=most).contains(value)));
    let beyond: f64 = values.iter().filter(|value| **value > 5.0).count() as f64 / 200_000.0;
    let tail = |x: f64| (least / x).powf(shape);
    near(beyond, (tail(5.0) - tail(most)) / (1.0 - tail(most)), 0.03);
}

#[test]
fn poisson_arrivals_have_the_rate_of_the_load_and_independent_counts() {
    let arrivals = all(&scenario(200.0), 7);
    near(arrivals.len() as f64, 100_000.0, 0.01);
    let (mean, variance) = counts(&arrivals, 0.1);
    near(variance / mean, 1.0, 0.1);
    let (work, _) = moments(arrivals.iter().map(|arrival| arrival.work));
    near(work, 0.01, 0.02);
}

/// Mean and variance of the number of arrivals in slots of so many seconds.
fn counts(arrivals: &[Arrival], slot: f64) -> (f64, f64) {
    let last = arrivals.last().expect("arrivals").at.as_secs_f64();
    let mut slots = Vec::new();
    let mut arrivals = arrivals.iter().peekable();
    let mut end = slot;
    while end < last {
        let mut count = 0.0;
        while arrivals.next_if(|one| one.at.as_secs_f64() < end).is_some() {
            count += 1.0;
        }
        slots.push(count);
        end += slot;
    }
    moments(slots.into_iter())
}

#[test]
fn bursts_come_as_often_and_as_strong_as_asked_for() {
    let mut bursty = scenario(4_000.0);
    bursty.arrivals = Arrivals::Bursty {
        load: 0.5,
        factor: 10.0,
        burst: 0.5,
        quiet: 4.5,
    };
    let arrivals = all(&bursty, 3);
    near(arrivals.len() as f64, 2_000_000.0, 0.05);
    // Two rates r1, r2 left at rates s1, s2: the variance of counts in a slot of t is the mean and
    // 2 p1 p2 (r1 - r2)^2 (t / s - (1 - exp(-s t)) / s^2) with s = s1 + s2 (Fischer and Meier-Hellstern, 1993).
    let low = 500.0 / (0.9 + 0.1 * 10.0);
    let (p1, s, t): (f64, f64, f64) = (0.1, 1.0 / 0.5 + 1.0 / 4.5, 0.1);
    let between = 2.0 * p1 * (1.0 - p1) * (9.0_f64 * low).powi(2);
    let expected = between * (t / s - (1.0 - (-s * t).exp()) / (s * s));
    let (mean, variance) = counts(&arrivals, t);
    near(variance - mean, expected, 0.1);
}

#[test]
fn a_closed_loop_holds_the_number_of_users() {
    let mut closed = scenario(100.0);
    closed.arrivals = Arrivals::Closed {
        users: 40,
        think: Distribution::Exponential { mean: 1.0 },
    };
    closed.clients = Clients::Nat;
    let mut workload = start(&closed, 5);
    assert!(workload.peek() > Some(Duration::ZERO), "all think first");
    // Each connection takes a second: 40 users are 20 connections a second.
    let mut live: BTreeMap<(Duration, u32), Arrival> = BTreeMap::new();
    let mut count = 0;
    loop {
        let first = live
            .first_key_value()
            .map(|((at, _), arrival)| (*at, *arrival));
        match (workload.peek(), first) {
            (Some(at), first) if first.is_none_or(|(end, _)| at < end) => {
                let arrival = workload.next().expect("what was promised");
                let end = (at + Duration::from_secs(1), arrival.user);
                assert!(live.values().all(|other| other.user != arrival.user));
                assert!(live.values().all(|other| other.client != arrival.client));
                assert!(live.insert(end, arrival).is_none());
                assert!(live.len() <= 40);
                count += 1;
            }
            (_, Some((end, arrival))) => {
                live.remove(&(end, arrival.user));
                workload.done(&arrival, end);
            }
            (None, None) => break,
            (Some(_), None) => unreachable!("the first arm took it"),
        }
    }
    near(f64::from(count), 40.0 * 100.0 / 2.0, 0.05);
}

/// How often each address came, the most frequent first.
fn frequencies(arrivals: &[Arrival]) -> Vec<f64> {
    let mut counts: BTreeMap<IpAddr, f64> = BTreeMap::new();
    for arrival in arrivals {
        *counts.entry(arrival.client.0).or_default() += 1.0 / arrivals.len() as f64;
    }
    let mut counts: Vec<f64> = counts.into_values().collect();
    counts.sort_by(|a, b| b.total_cmp(a));
    counts
}

#[test]
fn clients_come_as_often_as_asked_for() {
    let mut zipf = scenario(400.0);
    zipf.clients = Clients::Zipf {
        count: 1_000,
        exponent: 1.0,
    };
    let found = frequencies(&all(&zipf, 1));
    let harmonic: f64 = (1..=1_000).map(|rank| 1.0 / f64::from(rank)).sum();
    for rank in [1, 2, 3, 10, 30] {
        near(found[rank - 1], 1.0 / rank as f64 / harmonic, 0.06);
    }

    let mut uniform = scenario(400.0);
    uniform.clients = Clients::Uniform { count: 100 };
    let found = frequencies(&all(&uniform, 1));
    assert_eq!(found.len(), 100);
    near(found[0], 0.01, 0.1);
    near(found[99], 0.01, 0.1);

    let mut subnets = scenario(400.0);
    subnets.clients = Clients::Subnets { count: 8 };
    let arrivals = all(&subnets, 1);
    assert_eq!(frequencies(&arrivals).len(), 8 * 254);
    let networks: BTreeSet<[u8; 3]> = arrivals
        .iter()
        .map(|arrival| match arrival.client.0 {
            IpAddr::V4(address) => [0, 1, 2].map(|octet| address.octets()[octet]),
            IpAddr::V6(address) => panic!("{address}"),
        })
        .collect();
    assert_eq!(networks.len(), 8);
}

#[test]
fn one_giant_nat_has_each_live_connection_on_a_port_of_its_own() {
    let mut nat = scenario(200.0);
    nat.clients = Clients::Nat;
    let mut workload = start(&nat, 1);
    let mut live = Vec::new();
    while let Some(arrival) = workload.next() {
        live.push(arrival);
    }
    let ports: BTreeSet<u16> = live.iter().map(|arrival| arrival.client.1).collect();
    assert_eq!(ports.len(), 64_512, "all ports from 1024 on");
    assert_eq!(live.len(), 64_512);
    assert_eq!(ports.first(), Some(&1024));
    // One ends: its port is the next one's, and what waited comes then.
    let end = Duration::from_secs(150);
    workload.done(&live[99], end);
    assert_eq!(workload.peek(), Some(end));
    let next = workload.next().expect("what waited");
    assert_eq!(next.client, live[99].client);
    assert_eq!(workload.peek(), None);
}

#[test]
fn few_ports_are_used_again_as_soon_as_they_are_free() {
    let mut reuse = scenario(10.0);
    reuse.clients = Clients::PortReuse { count: 3, ports: 4 };
    let arrivals = all(&reuse, 1);
    let endpoints: BTreeSet<_> = arrivals.iter().map(|arrival| arrival.client).collect();
    assert_eq!(endpoints.len(), 12);

    let mut workload = start(&reuse, 1);
    let first: Vec<Arrival> = core::iter::from_fn(|| workload.next()).collect();
    let endpoints: BTreeSet<_> = first.iter().map(|arrival| arrival.client).collect();
    assert_eq!((first.len(), endpoints.len()), (12, 12));
    workload.done(&first[5], Duration::from_secs(1));
    let next = workload.next().expect("what waited");
    assert_eq!(next.client, first[5].client);
    assert_eq!(next.at, Duration::from_secs(1));
}

#[test]
fn kinds_are_mixed_by_their_shares() {
    let mut mixed = scenario(200.0);
    mixed.arrivals = Arrivals::Poisson {
        load: None,
        rate: Some(500.0),
    };
    mixed.connections = vec![
        kind(9.0, Distribution::Deterministic { mean: 1.0 }),
        kind(1.0, Distribution::Deterministic { mean: 2.0 }),
    ];
    mixed.connections[1].linger = Some(Distribution::Deterministic { mean: 5.0 });
    mixed.connections[1].packets = 30;
    let arrivals = all(&mixed, 1);
    let long: Vec<&Arrival> = arrivals.iter().filter(|one| one.work > 1.5).collect();
    near(long.len() as f64 / arrivals.len() as f64, 0.1, 0.05);
    assert!(
        long.iter()
            .all(|one| one.linger == 5.0 && one.packets == 30)
    );
}

#[test]
fn many_services_are_asked_for_by_their_popularity() {
    let mut cache = scenario(200.0);
    cache.service.vips = 100;
    let share = |scenario: &Scenario, service: u32| {
        let arrivals = all(scenario, 1);
        assert!(arrivals.iter().all(|arrival| arrival.service < 100));
        let asked = arrivals.iter().filter(|arrival| arrival.service == service);
        asked.count() as f64 / arrivals.len() as f64
    };
    near(share(&cache, 17), 0.01, 0.1);
    cache.service.popularity = 1.0;
    let harmonic: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
    near(share(&cache, 0), 1.0 / harmonic, 0.03);
    near(share(&cache, 9), 0.1 / harmonic, 0.1);
}

#[test]
fn a_flood_stands_beside_the_clients_and_changes_nothing_of_them() {
    let calm = scenario(20.0);
    let mut flooded = calm.clone();
    flooded.syn_flood = Some(SynFlood {
        rate: 2_000.0,
        from: 5.0,
        until: 15.0,
    });
    let arrivals = all(&flooded, 1);
    let (flood, honest): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|one| one.is_flood);
    near(flood.len() as f64, 20_000.0, 0.03);
    assert!(
        flood
            .iter()
            .all(|one| (5.0..15.0).contains(&one.at.as_secs_f64()))
    );
    assert_eq!(honest, all(&calm, 1));
    let clients: BTreeSet<IpAddr> = honest.iter().map(|one| one.client.0).collect();
    assert!(flood.iter().all(|one| !clients.contains(&one.client.0)));
}

#[test]
fn streams_do_not_disturb_each_other() {
    let plain = all(&scenario(20.0), 1);
    let mut other = scenario(20.0);
    other.connections[0].work = Distribution::Lognormal {
        mean: 0.01,
        sigma: 1.0,
    };
    other.connections[0].linger = Some(Distribution::Exponential { mean: 1.0 });
    other.service.vips = 10;
    for (one, other) in plain.iter().zip(all(&other, 1)) {
        assert_eq!((one.at, one.client), (other.at, other.client));
    }
    assert_ne!(plain, all(&scenario(20.0), 2), "another seed");
    let again = begin(&scenario(20.0), 1, 1);
    assert_ne!(Some(plain[0].at), again.peek(), "another repeat");
}

#[test]
fn the_first_arrivals_of_a_seed_are_these_on_every_machine() {
    let mut scenario = scenario(20.0);
    scenario.connections[0].work = Distribution::Lognormal {
        mean: 0.01,
        sigma: 1.5,
    };
    scenario.clients = Clients::Zipf {
        count: 1_000,
        exponent: 1.1,
    };
    let first: Vec<String> = all(&scenario, 42)
        .iter()
        .take(5)
        .map(|one| {
            let (address, port) = one.client;
            format!("{} {address}:{port} {:e}", one.at.as_nanos(), one.work)
        })
        .collect();
    assert_eq!(first, FIRST);
}

/// Written down once; nanoseconds, endpoint, work.
const FIRST: [&str; 5] = [
    "265782 93.15.239.106:50895 9.134769605072935e-4",
    "842131 93.125.48.150:31310 7.445828733365312e-4",
    "6218056 91.149.156.236:25094 5.1914808969646805e-3",
    "7298301 70.100.135.59:21439 2.0881414063194402e-2",
    "7733399 73.213.90.58:52189 2.4812641287752517e-3",
];
