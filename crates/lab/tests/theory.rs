//! What the lab finds is what queueing theory says: the known value lies in the confidence interval.

use lab::results::{Estimate, SchedulerResults};
use lab::run::{Plan, run};
use lab::scenario::Scenario;

const PLAN: Plan = Plan {
    seed: 20,
    repeats: 10,
    quick: true,
    threads: 0,
};

/// The results of one scheduler in a scenario of one point.
fn results(text: &str) -> SchedulerResults {
    let scenario: Scenario = toml::from_str(text).expect("a scenario");
    let results = run(&scenario, &PLAN, &|_| {}).expect("the scenario runs");
    results[0].schedulers[0].clone()
}

/// Servers with exponential work of mean 1 s, Poisson arrivals.
fn queue(servers: &str, scheduler: &str, load: f64, duration: u32) -> SchedulerResults {
    results(&format!(
        r#"
        name = "queue"
        summary = "Exponential work of mean 1"
        duration = {duration}
        warmup = {}
        schedulers = ["{scheduler}"]
        servers = [{{ {servers} }}]
        arrivals = {{ kind = "poisson", load = {load} }}
        connections = [{{ work = {{ kind = "exponential", mean = 1.0 }} }}]
        "#,
        duration / 10,
    ))
}

fn assert_in(estimate: &Estimate, expected: f64) {
    let (mean, half) = (estimate.mean, estimate.half);
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
    for (load, duration) in [(0.5, 40_000), (0.8, 100_000)] {
        let found = queue("count = 1, discipline = \"fcfs\"", "rr", load, duration);
        // M/M/1: 1 / (mu - lambda).
        assert_in(&found.metrics["sojourn_mean"], 1.0 / (1.0 - load));
    }
}

#[test]
fn one_server_processor_sharing() {
    for (load, duration) in [(0.5, 40_000), (0.8, 100_000)] {
        let found = queue("count = 1, discipline = \"ps\"", "rr", load, duration);
        // M/M/1-PS has the same mean.
        assert_in(&found.metrics["sojourn_mean"], 1.0 / (1.0 - load));
    }
}

#[test]
fn one_server_with_many_processors() {
    let (c, load) = (8, 0.9);
    let found = queue(
        "count = 1, discipline = \"fcfs\", processors = 8",
        "rr",
        load,
        20_000,
    );
    let waits = erlang_c(c, load) / (f64::from(c) * (1.0 - load));
    assert_in(&found.metrics["sojourn_mean"], 1.0 + waits);
}
