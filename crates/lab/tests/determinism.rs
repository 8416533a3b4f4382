//! The same scenario and seed give the same JSON, octet for octet, on every run and with any number of threads.

use lab::run::{Plan, run};
use lab::scenario::Scenario;

/// Everything that draws lots or keeps tables: churn, a flood, several directors, schedulers of each kind.
const SCENARIO: &str = r#"
    name = "everything"
    summary = "Whatever could differ from run to run"
    duration = 3
    warmup = 0.5
    schedulers = ["wlc", "sh -b sh-port", "lblcr", "twos", "mh", "random", "p2c", "maglev"]
    service = { vips = 3, popularity = 1.0 }
    directors = { count = 3 }
    servers = [
        { count = 5, churn = { mtbf = 2.0, mttr = 0.3 }, slow_start = 0.5, weight = 3 },
        { count = 2, speed = 2.0, discipline = "fcfs", processors = 2, upper_threshold = 20 },
    ]
    arrivals = { kind = "bursty", load = 0.2, factor = 5.0, burst = 0.2, quiet = 0.5 }
    connections = [
        { share = 9.0, work = { kind = "lognormal", mean = 0.03, sigma = 1.0 }, packets = 3 },
        { work = { kind = "exponential", mean = 0.05 }, linger = { kind = "exponential", mean = 1.0 }, packets = 9 },
    ]
    clients = { kind = "zipf", count = 500, exponent = 1.1 }
    syn_flood = { rate = 50.0, from = 1.0, until = 2.0 }
    events = [
        { action = "remove", at = 1.0, count = 1 },
        { action = "add", at = 1.3, count = 1 },
        { action = "slow", at = 1.4, server = 2, factor = 0.2, lasting = 1.0 },
        { action = "director-dies", at = 1.8, director = 2 },
        { action = "restart", at = 2.3 },
    ]
"#;

fn json(seed: u64, threads: usize) -> String {
    let scenario: Scenario = toml::from_str(SCENARIO).expect("a scenario");
    let plan = Plan {
        seed,
        repeats: 2,
        quick: true,
        threads,
    };
    let results = run(&scenario, &plan, &|_| {}).expect("the scenario runs");
    serde_json::to_string_pretty(&results).expect("results are JSON")
}

#[test]
fn a_seed_gives_the_same_octets_with_any_number_of_threads() {
    let first = json(7, 1);
    assert!(
        first == json(7, 2),
        "another run, with two threads, gives something else"
    );
    assert!(first != json(8, 1), "the seed does not matter");
    let nothing = first.matches("null").count();
    assert_eq!(
        nothing,
        first.matches("\"point\": null").count(),
        "a number is not one"
    );
}
