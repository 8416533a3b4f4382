//! Laws that every scheduler keeps, and a model of `wrr`'s search step by step.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::laws::Leeway;
use super::*;
use crate::changed_servers::ChangedServers;
use crate::destination::{DestinationConfig, Method, TunnelConfig};
use crate::stats::Stats;

mod many;

/// Schedulers that may refuse a connection although a real server could take it, or that give a known address its real
/// server without a look at thresholds.
fn leeway(entry: &Entry, flags: u32, list: &[Arc<Destination>]) -> Leeway {
    // The first real servers of a list may fill all of the 256 buckets.
    let crowded = || {
        list.iter()
            .map(|server| i64::from(server.weight().max(1)))
            .sum::<i64>()
            > 256
    };
    let refuses = match entry.name {
        "sh" => flags & FLAG_SCHED_1 == 0 || crowded(),
        "mh" => flags & FLAG_SCHED_1 == 0,
        "dh" | "ovf" => true,
        _ => false,
    };
    Leeway {
        refuses,
        overloads: matches!(entry.name, "lblc" | "lblcr"),
    }
}

#[derive(Clone, Copy, Debug)]
struct Server {
    weight: i32,
    active: u8,
    inactive: u8,
    /// Overloaded as soon as it has a connection.
    limited: bool,
}

fn server() -> impl Strategy<Value = Server> {
    let weight = prop_oneof![Just(0), 1..8_i32, Just(1000), Just(i32::MAX)];
    (weight, 0..4_u8, 0..4_u8, proptest::bool::weighted(0.2)).prop_map(
        |(weight, active, inactive, limited)| Server {
            weight,
            active,
            inactive,
            limited,
        },
    )
}

thread_local! {
    /// Where all real servers of a test note their changes: one too many does no harm.
    static CHANGED: Arc<ChangedServers> = Arc::default();
}

fn destination(number: u16, server: Server) -> Arc<Destination> {
    let config = DestinationConfig {
        address: Ipv4Addr::from_bits(0x0a02_0000 | u32::from(number)).into(),
        port: 80,
        method: Method::DirectRoute,
        tunnel: TunnelConfig::default(),
        weight: server.weight,
        upper_threshold: server.limited.into(),
        lower_threshold: 0,
    };
    let stats = Arc::new(Stats::new(1));
    let destination = Destination::noting(&config, stats, CHANGED.with(Arc::clone), 1);
    for connection in 0..server.active + server.inactive {
        destination.bind(false);
        if connection < server.active {
            destination.set_active(true);
        }
    }
    Arc::new(destination)
}

fn destinations(servers: &[Server]) -> Vec<Arc<Destination>> {
    destinations_of(servers.iter().copied())
}

fn destinations_of(servers: impl Iterator<Item = Server>) -> Vec<Arc<Destination>> {
    (1..)
        .zip(servers)
        .map(|(number, server)| destination(number, server))
        .collect()
}

fn weighted(weights: &[i32]) -> Vec<Arc<Destination>> {
    let idle = |&weight| Server {
        weight,
        active: 0,
        inactive: 0,
        limited: false,
    };
    destinations(&weights.iter().map(idle).collect::<Vec<_>>())
}

fn flow(client: u32, port: u16) -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        source: Ipv4Addr::from_bits(client).into(),
        source_port: port,
        destination: Ipv4Addr::new(10, 8, 0, 1).into(),
        destination_port: 80,
    }
}

/// A scheduler and what it looks at, as a service has them.
struct Bound {
    scheduler: Box<dyn Scheduler>,
    board: Board,
}

impl Bound {
    fn update(&mut self, destinations: &[Arc<Destination>], change: Change) {
        self.board.rebuild(destinations);
        self.scheduler.update(destinations, change);
    }
}

fn pick(
    bound: &mut Bound,
    destinations: &[Arc<Destination>],
    flow: &Flow,
    flags: u32,
) -> Option<usize> {
    pick_at(bound, destinations, flow, flags, Instant::START)
}

fn pick_at(
    bound: &mut Bound,
    destinations: &[Arc<Destination>],
    flow: &Flow,
    flags: u32,
    now: Instant,
) -> Option<usize> {
    bound.board.refresh(destinations);
    bound.scheduler.pick(&Request {
        destinations,
        board: &bound.board,
        flow,
        flags,
        now,
        cache_lifetime: Duration::from_secs(600),
    })
}

fn bound(entry: &Entry, destinations: &[Arc<Destination>]) -> Bound {
    let mut bound = Bound {
        scheduler: (entry.make)(0),
        board: Board::new(CHANGED.with(Arc::clone)),
    };
    bound.update(destinations, Change::Bound(Family::V4));
    bound
}

#[test]
fn every_scheduler_keeps_the_laws() {
    laws::check(ENTRIES, leeway);
}

proptest! {
    // Each case builds the tables of `mh` many times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A client stays where it is; its port matters only when the flag says so.
    #[test]
    fn hashing_is_stable(weights in proptest::collection::vec(1..5_i32, 1..6), client: u32) {
        let list = weighted(&weights);
        for name in ["sh", "mh", "dh"] {
            let entry = find(name).unwrap();
            let mut scheduler = bound(entry, &list);
            let first = pick(&mut scheduler, &list, &flow(client, 1), 0);
            prop_assert!(first.is_some());
            for port in 2..20 {
                prop_assert_eq!(pick(&mut scheduler, &list, &flow(client, port), 0), first);
            }
        }
    }

    /// `wrr` jumps over passes that cannot serve; the kernel's search takes them one by one.
    #[test]
    fn wrr_picks_as_the_search_does(
        servers in proptest::collection::vec(server(), 1..5),
        edits in proptest::collection::vec((any::<u8>(), 0..12_i32, 0..6_usize), 1..8),
    ) {
        let servers: Vec<_> = servers
            .iter()
            .map(|&server| Server { weight: server.weight.min(12), ..server })
            .collect();
        let list = destinations(&servers);
        let mut scheduler = bound(find("wrr").unwrap(), &list);
        let mut search = Search::default();
        search.update(&list);
        for (which, weight, picks) in edits {
            let index = usize::from(which) % list.len();
            let mut config = list[index].config();
            config.weight = weight;
            list[index].reconfigure(&config, false);
            scheduler.update(&list, Change::Edited(index));
            search.update(&list);
            for _ in 0..picks {
                let picked = pick(&mut scheduler, &list, &flow(1, 1), 0);
                prop_assert_eq!(picked, search.pick(&list));
            }
        }
    }
}

/// The kernel's `wrr` search, written out: list positions count from 1, 0 is the list's head.
#[derive(Debug, Default)]
struct Search {
    at: usize,
    level: i32,
    top: i32,
    step: i32,
}

impl Search {
    fn update(&mut self, list: &[Arc<Destination>]) {
        let weights = || {
            list.iter()
                .map(|destination| destination.weight())
                .filter(|&w| w > 0)
        };
        let top = weights().max().unwrap_or(0);
        let divides = |step: &i32| weights().all(|weight| weight % step == 0);
        self.step = (1..=top.max(1)).rev().find(divides).unwrap_or(1);
        self.at = 0;
        self.top = top - (self.step - 1);
        if self.level > self.top || self.level == 0 {
            self.level = self.top;
        } else if self.step > 1 {
            self.level = self.level / self.step * self.step + 1;
        }
    }

    fn pick(&mut self, list: &[Arc<Destination>]) -> Option<usize> {
        if self.top == 0 {
            return None;
        }
        let last = self.at;
        let (mut last_pass, mut restarted, mut stop) = (false, false, None);
        let mut at = last;
        loop {
            while at < list.len() {
                at += 1;
                let destination = &list[at - 1];
                if !destination.is_overloaded() && destination.weight() >= self.level {
                    self.at = at;
                    return Some(at - 1);
                }
                if Some(at) == stop {
                    self.at = at;
                    return None;
                }
            }
            at = 0;
            self.level -= self.step;
            if self.level <= 0 {
                self.level = self.top;
                if last_pass || last == 0 {
                    self.at = 0;
                    return None;
                }
                restarted = true;
            }
            last_pass = self.level <= self.step;
            if last_pass && restarted && last != 0 {
                stop = Some(last);
            }
        }
    }
}

/// How often each real server was picked in `count` picks; connections are held.
fn shares(name: &str, weights: &[i32], count: u32) -> BTreeMap<usize, u32> {
    let list = weighted(weights);
    let mut scheduler = bound(find(name).unwrap(), &list);
    let mut shares = BTreeMap::new();
    for client in 0..count {
        let client = client.wrapping_mul(2_654_435_769);
        let picked = pick(&mut scheduler, &list, &flow(client, 1), 0).unwrap();
        list[picked].bind(false);
        list[picked].set_active(true);
        *shares.entry(picked).or_default() += 1;
    }
    shares
}

#[test]
fn shares_follow_the_weights() {
    let weights = [1, 3, 0, 4];
    let by_weight = BTreeMap::from([(0, 100), (1, 300), (3, 400)]);
    assert_eq!(shares("wrr", &weights, 800), by_weight);
    assert_eq!(shares("wlc", &weights, 800), by_weight);
    assert_eq!(shares("sed", &weights, 800), by_weight);
    let equal = BTreeMap::from([(0, 300), (1, 300), (3, 300)]);
    assert_eq!(shares("rr", &weights, 900), equal);
    assert_eq!(shares("lc", &weights, 900), equal);
    assert_eq!(shares("fo", &weights, 10), BTreeMap::from([(3, 10)]));
    for name in ["sh", "mh", "twos"] {
        let shares = shares(name, &[1, 3, 4], 8000);
        for (index, weight) in [(0, 1000), (1, 3000), (2, 4000)] {
            let share = shares[&index];
            assert!(share.abs_diff(weight) < weight / 5, "{name}: {shares:?}");
        }
    }
}

/// The turn goes on behind a real server that was deleted, and is not given twice.
#[test]
fn rr_goes_on_after_a_deletion() {
    for (removed, expected) in [(0, 2), (1, 2), (2, 3)] {
        let mut list = weighted(&[1, 1, 1, 1]);
        let mut scheduler = bound(find("rr").unwrap(), &list);
        for first in [0, 1] {
            assert_eq!(pick(&mut scheduler, &list, &flow(1, 1), 0), Some(first));
        }
        let expected = Arc::clone(&list[expected]);
        list.remove(removed);
        scheduler.update(&list, Change::Removed(removed));
        let picked = pick(&mut scheduler, &list, &flow(1, 1), 0).unwrap();
        assert!(Arc::ptr_eq(&list[picked], &expected), "{removed}");
    }
}

/// Weights that a pass for each unit would take hours for.
#[test]
fn wrr_does_not_step_through_large_weights() {
    let heavy = Server {
        weight: i32::MAX,
        active: 1,
        inactive: 0,
        limited: true,
    };
    let light = Server {
        weight: 1,
        limited: false,
        ..heavy
    };
    let list = destinations(&[heavy, light]);
    let mut scheduler = bound(find("wrr").unwrap(), &list);
    for _ in 0..3 {
        assert_eq!(pick(&mut scheduler, &list, &flow(1, 1), 0), Some(1));
    }
}

#[test]
fn names_are_unique_and_short() {
    for (index, entry) in ENTRIES.iter().enumerate() {
        assert!(entry.name.len() <= 15);
        assert!(
            ENTRIES[..index]
                .iter()
                .all(|other| other.name != entry.name)
        );
        assert_eq!(find(entry.name).map(|found| found.name), Some(entry.name));
    }
    assert!(find("none").is_none());
}

/// A cached choice is forgotten after its lifetime, at the 30th collection.
#[test]
fn locality_forgets_unused_addresses() {
    let list = weighted(&[1, 1]);
    let mut scheduler = bound(find("lblc").unwrap(), &list);
    let mut at = |seconds: u64, client: u8| {
        let flow = Flow {
            destination: Ipv4Addr::new(10, 9, 0, client).into(),
            ..flow(1, 1)
        };
        let now = Instant::START.after(Duration::from_secs(seconds));
        pick_at(&mut scheduler, &list, &flow, 0, now)
    };
    assert_eq!(at(0, 1), Some(0));
    list[0].bind(false);
    assert_eq!(at(1, 1), Some(0), "cached although the other one is idle");
    assert_eq!(at(1700, 2), Some(1), "not yet collected");
    assert_eq!(at(1801, 1), Some(1), "collected");
}
