//! What the lab finds is what queueing theory says: the known value lies in the confidence interval.

use lab::results::{Estimate, SchedulerResults};
use lab::run::{Plan, run};
use lab::scenario::Scenario;

const PLAN: Plan = Plan {
    seed: 20,
    repeats: 12,
    quick: true,
    threads: 0,
};

/// The results of one scheduler in a scenario of one point.
fn results(scheduler: &str, duration: u32, rest: &str) -> SchedulerResults {
    let text = format!(
        "name = \"theory\"\nsummary = \"Its numbers are known\"\nduration = {duration}\nschedulers = [\"{scheduler}\"]\n{rest}"
    );
    let scenario: Scenario = toml::from_str(&text).expect("a scenario");
    let results = run(&scenario, &PLAN, &|_| {}).expect("the scenario runs");
    results[0].schedulers[0].clone()
}

/// Servers with exponential work of mean 1 s, Poisson arrivals.
fn queue(servers: &str, scheduler: &str, load: f64, duration: u32) -> SchedulerResults {
    let rest = format!(
        r#"
        warmup = {}
        servers = [{{ {servers} }}]
        arrivals = {{ kind = "poisson", load = {load} }}
        connections = [{{ work = {{ kind = "exponential", mean = 1.0 }} }}]
        "#,
        duration / 10,
    );
    results(scheduler, duration, &rest)
}

/// Half of its interval.
fn half(estimate: &Estimate) -> f64 {
    estimate.half.expect("several repeats have an interval")
}

fn assert_in(estimate: &Estimate, expected: f64) {
    let (mean, half) = (estimate.mean, half(estimate));
    assert!(
        (mean - expected).abs() <= half,
        "{mean} ± {half}, theory says {expected}"
    );
    // An interval that has everything in it says nothing.
    assert!(half < expected / 10.0, "{mean} ± {half} is too wide");
}

/// The probability that an arrival waits in M/M/c (Erlang C), `load` being that of each of `c` servers.
fn erlang_c(c: u32, load: f64) -> f64 {
    let offered = load * f64::from(c);
    let blocking = (1..=c).fold(1.0, |blocking, n| {
        offered * blocking / (f64::from(n) + offered * blocking)
    });
    blocking / (1.0 - load * (1.0 - blocking))
}

#[test]
fn one_server_first_come_first_served() {
    for (load, duration) in [(0.5, 4_000), (0.7, 6_000)] {
        let found = queue("count = 1, discipline = \"fcfs\"", "rr", load, duration);
        // M/M/1: 1 / (mu - lambda).
        assert_in(&found.metrics["sojourn_mean"], 1.0 / (1.0 - load));
    }
}

#[test]
fn one_server_processor_sharing() {
    for (load, duration) in [(0.5, 4_000), (0.7, 6_000)] {
        let found = queue("count = 1, discipline = \"ps\"", "rr", load, duration);
        // M/M/1-PS has the same mean.
        assert_in(&found.metrics["sojourn_mean"], 1.0 / (1.0 - load));
    }
}

#[test]
fn one_server_with_many_processors() {
    let (c, load) = (8, 0.8);
    let servers = "count = 1, discipline = \"fcfs\", processors = 8";
    let found = queue(servers, "rr", load, 1_000);
    let waits = erlang_c(c, load) / (f64::from(c) * (1.0 - load));
    assert_in(&found.metrics["sojourn_mean"], 1.0 + waits);
}

/// Poisson arrivals divided by lot are Poisson arrivals at each; the shortest queue is between that and one queue for
/// all, which no division can beat.
#[test]
fn many_servers_lie_between_one_queue_and_lots() {
    let (c, load) = (8, 0.8);
    let servers = "count = 8, discipline = \"fcfs\"";
    let random = queue(servers, "random", load, 2_500);
    let apart = 1.0 / (1.0 - load);
    assert_in(&random.metrics["sojourn_mean"], apart);
    let shortest = &queue(servers, "lc", load, 1_000).metrics["sojourn_mean"];
    let together = 1.0 + erlang_c(c, load) / (f64::from(c) * (1.0 - load));
    assert!(
        shortest.mean - half(shortest) > together,
        "{shortest:?} beats {together}"
    );
    assert!(shortest.mean + half(shortest) < apart / 2.0, "{shortest:?}");
}

/// The supermarket model (Mitzenmacher 1996): with very many servers, the better of two lots takes the sum of
/// load^(2^i - 2) on average.
#[test]
fn two_lots_are_a_supermarket() {
    let load: f64 = 0.7;
    let found = queue("count = 100, discipline = \"fcfs\"", "p2c", load, 100);
    let mut expected = 0.0;
    for i in 1..8 {
        expected += load.powi((1 << i) - 2);
    }
    assert_in(&found.metrics["sojourn_mean"], expected);
}

/// Probability that no bin gets more than `most` of `balls` balls thrown into as many bins: the coefficient of z^balls
/// in (sum of z^j / j!)^balls, times balls! / balls^balls.
fn none_above(most: u32, balls: u32) -> f64 {
    let n = f64::from(balls);
    let term = |j: u32| (1..=j).fold(1.0, |term, i| term / f64::from(i));
    let mut power = vec![1.0];
    for m in 1..=balls {
        // J. C. P. Miller's recurrence for powers of a series.
        let sum: f64 = (1..=most.min(m))
            .map(|j| (n * f64::from(j) - f64::from(m - j)) * term(j) * power[(m - j) as usize])
            .sum();
        power.push(sum / f64::from(m));
    }
    (1..=balls).fold(power[balls as usize], |chance, i| chance * f64::from(i) / n)
}

/// As many connections as servers, none of which ends: the most that one server gets, by lot and by the better of two.
#[test]
fn the_fullest_of_two_lots_is_much_emptier() {
    let balls = 300_u32;
    let mut trace = String::new();
    for ball in 0..balls {
        let [_, _, high, low] = ball.to_be_bytes();
        trace += &format!(
            "{},10.77.{high}.{low},4000,1000,1\n",
            f64::from(ball) / 1000.0
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("balls.csv");
    std::fs::write(&file, trace).expect("a trace");
    let thrown = |scheduler: &str| {
        let rest = format!(
            r#"
            servers = [{{ count = {balls} }}]
            arrivals = {{ kind = "trace", file = {file:?} }}
            connections = [{{ work = {{ kind = "deterministic", mean = 1000.0 }} }}]
            "#
        );
        let found = results(scheduler, 1, &rest);
        assert_eq!(found.metrics["connections"].mean, f64::from(balls));
        // The mean is one ball a bin.
        found.metrics["connections_max"]
    };
    let (random, better) = (thrown("random"), thrown("p2c"));
    let expected: f64 = (0..20).map(|most| 1.0 - none_above(most, balls)).sum();
    assert!(
        (random.mean - expected).abs() <= half(&random),
        "{random:?}, theory says {expected}"
    );
    // Azar et al. 1994: ln ln n / ln 2 and a constant.
    let doubly = f64::from(balls).ln().ln() / 2.0_f64.ln();
    assert!(
        (better.mean - doubly).abs() < 1.0,
        "{better:?}, theory says about {doubly}"
    );
    assert!(better.most < random.least, "{better:?} {random:?}");
}

/// Eisenbud et al. 2016: with 65,537 places for 1,000 servers, shares differ by a percent. What the finite number of
/// clients adds to the variation is known.
#[test]
fn maglev_divides_to_a_percent() {
    let (servers, flows) = (1000.0, 10_000.0);
    let variation = |scheduler: &str| {
        let rest = format!(
            r#"
            servers = [{{ count = {servers} }}]
            arrivals = {{ kind = "poisson", rate = {} }}
            connections = [{{ work = {{ kind = "deterministic", mean = 0.0001 }}, packets = 0 }}]
            clients = {{ kind = "uniform", count = 8000000 }}
            "#,
            flows / 10.0
        );
        let found = results(scheduler, 10, &rest);
        found.metrics["connections_cv"]
    };
    let by_lot: f64 = servers / flows;
    let expected = |of_table: f64| (by_lot + of_table * of_table).sqrt();
    let maglev = variation("maglev");
    assert!(maglev.mean - half(&maglev) <= expected(0.01), "{maglev:?}");
    assert!(maglev.mean + half(&maglev) >= expected(0.0), "{maglev:?}");
    // The kernel's 4,093 places are four or five for each server, 9.7 % apart.
    let mh = variation("mh");
    let coarse = (4.093_f64 - 4.0) * (5.0 - 4.093);
    assert!(
        (mh.mean - expected(coarse.sqrt() / 4.093)).abs() <= half(&mh),
        "{mh:?}"
    );
}

/// A removed server's flows must move: of equal ones, as many as its part.
#[test]
fn least_disruption_is_the_part_of_what_went() {
    for (removed, part) in [(1, 1.0 / 16.0), (4, 4.0 / 16.0)] {
        let rest = format!(
            r#"
            servers = [{{ count = 16 }}]
            arrivals = {{ kind = "poisson", rate = 100 }}
            connections = [{{ work = {{ kind = "deterministic", mean = 0.001 }}, packets = 0 }}]
            clients = {{ kind = "uniform", count = 8000000 }}
            events = [{{ action = "remove", at = 10.5, count = {removed} }}]
            "#
        );
        let found = results("maglev", 11, &rest);
        let (least, moved) = (found.metrics["remapped_least"], found.metrics["remapped"]);
        assert!(
            (least.mean - 1050.0 * part).abs() <= half(&least) + 20.0 * part,
            "{least:?}"
        );
        assert!(
            moved.mean >= least.mean && moved.mean < 1.1 * least.mean,
            "{moved:?} {least:?}"
        );
    }
}

/// What a hash of addresses decides is luck, and the interval has to say so: no repeat has the addresses of another one.
#[test]
fn repeats_have_addresses_of_their_own() {
    let found = queue("count = 16", "dh", 0.05, 100);
    // One virtual address, one server; twelve draws of sixteen give 8.6 different ones.
    let served = found
        .per_server
        .iter()
        .filter(|share| share.connections > 0.0);
    let served = served.count();
    assert!((4..=12).contains(&served), "{:?}", found.per_server);
}

/// M/M/1: the time of a connection is exponential, so its quantiles are known.
#[test]
fn percentiles_are_those_of_an_exponential() {
    let load = 0.5;
    let found = queue("count = 1, discipline = \"fcfs\"", "rr", load, 10_000);
    for (metric, above) in [
        ("sojourn_p50", 0.5_f64),
        ("sojourn_p99", 0.01),
        ("sojourn_p999", 0.001),
    ] {
        let (found, expected) = (&found.metrics[metric], -above.ln() / (1.0 - load));
        let off = (found.mean - expected).abs();
        assert!(
            off <= half(found) && half(found) < expected / 5.0,
            "{metric}: {found:?}, theory says {expected}"
        );
    }
}
