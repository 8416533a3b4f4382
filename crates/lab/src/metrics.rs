//! What is counted during one run, and the numbers that are made of it.

use std::collections::BTreeMap;

use control::imbalance::Imbalance;

use crate::histogram::Histogram;
use crate::results::ServerShare;
use crate::statistics::float;
use crate::time::{nanoseconds, seconds};

/// Slowdowns are counted in thousandths.
const SLOWDOWN_UNITS: f64 = 1000.0;
/// Looks at the load for each point of the imbalance over time.
pub(crate) const LOOKS_PER_POINT: u32 = 10;
/// Decisions after which the fairness of the first ones is looked at: powers of two up to this.
const MOST_DECISIONS: u64 = 1 << 20;
/// How many times its even part of the destinations a server's cache holds.
const CACHE_ROOM: u32 = 2;

/// One run in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunResults {
    /// By name of a metric; one that does not apply is missing.
    pub(crate) metrics: BTreeMap<&'static str, f64>,
    /// Sojourn times, nanoseconds.
    pub(crate) sojourn: Histogram,
    /// Imbalance at times in seconds.
    pub(crate) imbalance: Vec<(f64, f64)>,
    /// Jain index over so many first decisions.
    pub(crate) fairness: Vec<(u64, f64)>,
    /// By number of the server.
    pub(crate) per_server: Vec<ServerShare>,
}

/// What one real server got.
#[derive(Clone, Debug, Default)]
struct ServerTally {
    share: ServerShare,
    /// Decisions for it from the beginning, warm-up included.
    decisions: u64,
    /// Weight now, and its integral over the counted time until `weight_since`, seconds.
    weight: u32,
    weight_since: u64,
    exposure: f64,
    /// Connections that are live now, and their integral since the last point, connections times nanoseconds.
    live: u32,
    live_since: u64,
    live_time: u64,
    /// Weight at the beginning, which the fairness of the first decisions goes by.
    first_weight: u32,
    /// Destinations that it served last, the latest first.
    cache: Vec<u32>,
}

impl ServerTally {
    fn settle_live(&mut self, now: u64) {
        let lasted = now.saturating_sub(self.live_since);
        self.live_time += u64::from(self.live) * lasted;
        self.live_since = now;
    }
}

/// What is counted during one run.
#[derive(Debug)]
pub(crate) struct Tally {
    warmup: u64,
    end: u64,
    servers: Vec<ServerTally>,
    sojourn: Histogram,
    sojourn_sum: f64,
    slowdown: Histogram,
    scheduled: u64,
    refused: u64,
    broken: u64,
    decisions: u64,
    next_fairness: u64,
    fairness: Vec<(u64, f64)>,
    looks: u32,
    last_point: u64,
    imbalance: Vec<(f64, f64)>,
    /// Sums over all looks of the largest load for weight, and of the load of all servers for the weight of all.
    largest: f64,
    together: f64,
    cache_room: usize,
    requests: u64,
    hits: u64,
    /// Flows that moved, and those that had to; nothing as long as no change was looked at.
    pub(crate) remapped: Option<(u64, f64)>,
    /// Share of flows for which two directors differ.
    pub(crate) disagreement: Option<f64>,
}

impl Tally {
    /// Counting from `warmup` to `end`; `destinations` is how many virtual addresses there are for `servers` servers.
    pub(crate) fn new(warmup: u64, end: u64, destinations: u32, servers: u32) -> Self {
        let room = (CACHE_ROOM * destinations).div_ceil(servers.max(1));
        Self {
            warmup,
            end,
            servers: Vec::new(),
            sojourn: Histogram::default(),
            sojourn_sum: 0.0,
            slowdown: Histogram::default(),
            scheduled: 0,
            refused: 0,
            broken: 0,
            decisions: 0,
            next_fairness: 1,
            fairness: Vec::new(),
            looks: 0,
            last_point: 0,
            imbalance: Vec::new(),
            largest: 0.0,
            together: 0.0,
            cache_room: if destinations > 1 { room as usize } else { 0 },
            requests: 0,
            hits: 0,
            remapped: None,
            disagreement: None,
        }
    }

    /// Whether what begins now is counted.
    pub(crate) const fn is_counted(&self, now: u64) -> bool {
        now >= self.warmup
    }

    /// A real server has this weight from now on; 0 when it is not in the list.
    pub(crate) fn weigh(&mut self, now: u64, server: usize, weight: u32) {
        if server >= self.servers.len() {
            self.servers.resize_with(server + 1, ServerTally::default);
        }
        let (warmup, end) = (self.warmup, self.end);
        let tally = &mut self.servers[server];
        let (from, to) = (tally.weight_since.max(warmup), now.min(end));
        tally.exposure += f64::from(tally.weight) * seconds(to.saturating_sub(from));
        (tally.weight, tally.weight_since) = (weight, now);
        if now == 0 {
            tally.first_weight = weight;
        }
    }

    /// A connection for service `service` was given to a real server.
    pub(crate) fn decide(&mut self, now: u64, server: usize, service: u32, work: f64) {
        let is_counted = self.is_counted(now);
        let tally = &mut self.servers[server];
        tally.decisions += 1;
        if is_counted {
            self.scheduled += 1;
            tally.share.connections += 1.0;
            tally.share.work += work;
        }
        if self.cache_room > 0 {
            let at = tally.cache.iter().position(|&held| held == service);
            self.requests += u64::from(is_counted);
            self.hits += u64::from(is_counted && at.is_some());
            tally
                .cache
                .truncate(at.map_or(self.cache_room - 1, |_| self.cache_room));
            if let Some(at) = at {
                tally.cache.remove(at);
            }
            tally.cache.insert(0, service);
        }
        self.decisions += 1;
        if self.decisions == self.next_fairness && self.decisions <= MOST_DECISIONS {
            self.next_fairness *= 2;
            let first = self.servers.iter().filter(|tally| tally.first_weight > 0);
            let shares = first.map(|tally| float(tally.decisions) / f64::from(tally.first_weight));
            if let Some(even) = Imbalance::of(shares) {
                self.fairness.push((self.decisions, even.jain));
            }
        }
    }

    /// There was no real server for a connection.
    pub(crate) fn refuse(&mut self, now: u64) {
        self.refused += u64::from(self.is_counted(now));
    }

    /// A counted connection broke.
    pub(crate) fn break_one(&mut self) {
        self.broken += 1;
    }

    /// A packet of a counted connection reached a real server.
    pub(crate) fn packet(&mut self, server: usize) {
        self.servers[server].share.packets += 1.0;
    }

    /// A real server has one live connection more, or one less.
    pub(crate) fn live(&mut self, now: u64, server: usize, more: bool) {
        let tally = &mut self.servers[server];
        tally.settle_live(now);
        tally.live = if more {
            tally.live + 1
        } else {
            tally.live.saturating_sub(1)
        };
    }

    /// A counted connection was done after so many nanoseconds; alone it would have taken so many seconds.
    pub(crate) fn done(&mut self, took: u64, alone: f64) {
        self.sojourn.record(took);
        self.sojourn_sum += seconds(took);
        if alone > 0.0 {
            let slowdown = seconds(took) / alone * SLOWDOWN_UNITS;
            // A count of thousandths, rounded like a moment.
            self.slowdown.record(nanoseconds(slowdown * 1e-9));
        }
    }

    /// A look at the load of all real servers.
    pub(crate) fn look(&mut self, now: u64) {
        if self.is_counted(now) {
            let (mut largest, mut live, mut weight) = (0.0_f64, 0.0, 0.0);
            for tally in self.servers.iter().filter(|tally| tally.weight > 0) {
                let (its_live, its_weight) = (f64::from(tally.live), f64::from(tally.weight));
                largest = largest.max(its_live / its_weight);
                live += its_live;
                weight += its_weight;
            }
            if weight > 0.0 {
                self.largest += largest;
                self.together += live / weight;
            }
        }
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_POINT) {
            self.point(now);
        }
    }

    /// A point of the imbalance over time: of the mean loads since the one before.
    fn point(&mut self, now: u64) {
        for tally in &mut self.servers {
            tally.settle_live(now);
        }
        let weighted = self.servers.iter().filter(|tally| tally.weight > 0);
        let loads = weighted.map(|tally| float(tally.live_time) / f64::from(tally.weight));
        if let Some(even) = Imbalance::of(loads) {
            let middle = self.last_point + (now - self.last_point) / 2;
            self.imbalance.push((seconds(middle), even.cv));
        }
        for tally in &mut self.servers {
            tally.live_time = 0;
        }
        self.last_point = now;
    }

    /// The numbers of the run.
    pub(crate) fn finish(mut self) -> RunResults {
        let end = self.end;
        for server in 0..self.servers.len() {
            let weight = self.servers[server].weight;
            self.weigh(end, server, weight);
        }
        let mut metrics = BTreeMap::new();
        let mut put = |name, value: Option<f64>| {
            if let Some(value) = value {
                metrics.insert(name, value);
            }
        };
        put("sojourn_p50", quantile(&self.sojourn, 0.5).map(seconds));
        put("sojourn_p99", quantile(&self.sojourn, 0.99).map(seconds));
        put("sojourn_p999", quantile(&self.sojourn, 0.999).map(seconds));
        let done = self.sojourn.total();
        put(
            "sojourn_mean",
            (done > 0).then(|| self.sojourn_sum / float(done)),
        );
        for (name, share) in [
            ("slowdown_p50", 0.5),
            ("slowdown_p99", 0.99),
            ("slowdown_p999", 0.999),
        ] {
            let found = quantile(&self.slowdown, share);
            put(name, found.map(|it| float(it) / SLOWDOWN_UNITS));
        }
        for (of, [max, variation, jain]) in DIVIDED {
            let even = self.divided(of);
            put(max, even.map(|even| even.max));
            put(variation, even.map(|even| even.cv));
            put(jain, even.map(|even| even.jain));
        }
        put(
            "overprovision",
            (self.together > 0.0).then(|| self.largest / self.together),
        );
        put("remapped", self.remapped.map(|(moved, _)| float(moved)));
        put("remapped_least", self.remapped.map(|(_, least)| least));
        put("broken", Some(float(self.broken)));
        let asked = self.scheduled + self.refused;
        put(
            "cache_hits",
            (self.requests > 0).then(|| float(self.hits) / float(self.requests)),
        );
        put(
            "refused",
            (asked > 0).then(|| float(self.refused) / float(asked)),
        );
        put("disagreement", self.disagreement);
        put("connections", Some(float(self.scheduled)));
        RunResults {
            metrics,
            sojourn: self.sojourn,
            imbalance: self.imbalance,
            fairness: self.fairness,
            per_server: self.servers.iter().map(|tally| tally.share).collect(),
        }
    }

    /// How evenly something is divided for weight, each server's weight being its mean over the counted time.
    fn divided(&self, of: fn(&ServerShare) -> f64) -> Option<Imbalance> {
        let weighted = self.servers.iter().filter(|tally| tally.exposure > 0.0);
        Imbalance::of(weighted.map(|tally| of(&tally.share) / tally.exposure))
    }
}

/// A quantile that at least one value is expected to be above: of fewer it would be their largest, whatever it is called.
fn quantile(of: &Histogram, share: f64) -> Option<u64> {
    let above = (1.0 - share) * float(of.total());
    (above >= 1.0).then(|| of.quantile(share)).flatten()
}

/// What is divided, and the metrics that say how evenly.
type Divided = (fn(&ServerShare) -> f64, [&'static str; 3]);

const DIVIDED: [Divided; 3] = [
    (
        |share| share.connections,
        ["connections_max", "connections_cv", "connections_jain"],
    ),
    (
        |share| share.packets,
        ["packets_max", "packets_cv", "packets_jain"],
    ),
    (|share| share.work, ["work_max", "work_cv", "work_jain"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The numbers after ten seconds, a look every tenth, in which these servers (weight, connections) had the same all
    /// the time.
    fn steady(servers: &[(u32, u32)]) -> BTreeMap<&'static str, f64> {
        let mut tally = Tally::new(0, 10 * SECOND, 1, 2);
        for (number, &(weight, connections)) in servers.iter().enumerate() {
            tally.weigh(0, number, weight);
            for _ in 0..connections {
                tally.decide(0, number, 0, 1.0);
                tally.live(0, number, true);
            }
        }
        (1..=100).for_each(|look| tally.look(look * SECOND / 10));
        tally.finish().metrics
    }

    #[test]
    fn overprovision_is_the_capacity_that_the_busiest_server_asks_for() {
        // All is on one that is a fifth of the capacity; as it should be; on one that is four fifths.
        for (servers, expected) in [
            ([(4, 0), (1, 10)], 5.0),
            ([(4, 8), (1, 2)], 1.0),
            ([(4, 10), (1, 0)], 1.25),
            ([(1, 10), (1, 0)], 2.0),
        ] {
            let found = steady(&servers)["overprovision"];
            assert!((found - expected).abs() < 1e-12, "{servers:?}: {found}");
        }
    }

    #[test]
    fn connections_packets_and_work_are_divided_by_weight_and_time() {
        // Counted from 1 to 10 s: the second server has weight 1 for 4 s and 3 for 5 s, 19 to 9 of the first.
        let mut tally = Tally::new(SECOND, 10 * SECOND, 1, 2);
        (0..2).for_each(|server| tally.weigh(0, server, 1));
        tally.decide(SECOND / 2, 0, 0, 1000.0);
        tally.weigh(5 * SECOND, 1, 3);
        for (server, connections, packets, work) in [(0, 9, 27, 2.0), (1, 19, 19, 1.0)] {
            (0..connections).for_each(|_| tally.decide(6 * SECOND, server, 0, work));
            (0..packets).for_each(|_| tally.packet(server));
        }
        let found = tally.finish().metrics;
        // For weight and time 1 and 1 connections, 3 and 1 packets, 2 and 1 of work.
        for (name, expected) in [
            ("connections_max", 1.0),
            ("connections_cv", 0.0),
            ("connections_jain", 1.0),
            ("packets_max", 1.5),
            ("packets_cv", 0.5),
            ("packets_jain", 0.8),
            ("work_max", 4.0 / 3.0),
            ("work_cv", 1.0 / 3.0),
            ("work_jain", 0.9),
        ] {
            assert!(
                (found[name] - expected).abs() < 1e-9,
                "{name}: {}",
                found[name]
            );
        }
        assert_eq!((found["connections"], found["refused"]), (28.0, 0.0));
    }

    #[test]
    fn shares_are_of_what_is_counted() {
        let mut tally = Tally::new(SECOND, 10 * SECOND, 2, 2);
        tally.weigh(0, 0, 1);
        tally.refuse(0);
        tally.refuse(2 * SECOND);
        // Room for two destinations, the latest: the second is there again, the first would not be.
        for service in [0, 1, 2, 1] {
            tally.decide(2 * SECOND, 0, service, 1.0);
        }
        (0..100).for_each(|_| tally.done(3 * SECOND, 1.5));
        let found = tally.finish().metrics;
        assert_eq!((found["refused"], found["cache_hits"]), (0.2, 0.25));
        for name in ["slowdown_p50", "slowdown_p99"] {
            assert!((found[name] - 2.0).abs() < 0.008, "{found:?}");
        }
    }

    #[test]
    fn each_time_has_its_own_imbalance_and_first_decisions_their_fairness() {
        let mut tally = Tally::new(SECOND, 10 * SECOND, 1, 2);
        for (server, weight) in [(0, 1), (1, 3)] {
            tally.weigh(0, server, weight);
        }
        for server in [0, 1, 1, 1] {
            tally.decide(0, server, 0, 1.0);
        }
        // All at the first server for a second, then all at the second one; the first second is warm-up.
        tally.live(0, 0, true);
        for look in 1..=2 * u64::from(LOOKS_PER_POINT) {
            if look == u64::from(LOOKS_PER_POINT) + 1 {
                tally.live(SECOND, 0, false);
                tally.live(SECOND, 1, true);
            }
            tally.look(look * SECOND / u64::from(LOOKS_PER_POINT) - 1);
        }
        let found = tally.finish();
        let imbalance: Vec<f64> = found.imbalance.iter().map(|point| point.1).collect();
        assert!(imbalance.iter().all(|cv| (cv - 1.0).abs() < 1e-6) && imbalance.len() == 2);
        assert!((found.metrics["overprovision"] - 4.0 / 3.0).abs() < 1e-9);
        // The first decision is for one of two; the third gives 1 and 2/3, the fourth each its share.
        let fairness: Vec<u64> = found.fairness.iter().map(|point| point.0).collect();
        assert_eq!(fairness, [1, 2, 4]);
        assert_eq!((found.fairness[0].1, found.fairness[2].1), (0.5, 1.0));
    }

    #[test]
    fn a_percentile_is_of_enough_values_or_left_out() {
        for (values, expected) in [
            (1, [false; 3]),
            (99, [true, false, false]),
            (100, [true, true, false]),
            (1000, [true; 3]),
        ] {
            let mut tally = Tally::new(0, SECOND, 1, 1);
            (0..values).for_each(|_| tally.done(SECOND, 1.0));
            let found = tally.finish().metrics;
            let has =
                ["sojourn_p50", "sojourn_p99", "sojourn_p999"].map(|it| found.contains_key(it));
            let same = ["slowdown_p50", "slowdown_p99", "slowdown_p999"];
            assert_eq!(same.map(|it| found.contains_key(it)), has, "{values}");
            assert_eq!(has, expected, "{values}");
        }
    }
}
