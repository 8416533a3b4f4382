//! How long the lab takes for the standard scenario: 10 million connections, Poisson, exponential work, 16 real servers
//! at a load of 0.8, in as many repeats as there are processors, one on each.
//!
//! `cargo bench -p lab`, or `-- CONNECTIONS SCHEDULER REPEATS`. It says how long it took, how much
//! processor time (which says more on a busy machine), and how much memory (the most that was resident).

use std::time::Instant;

use lab::run::{Plan, run};
use lab::scenario::Scenario;

/// Real servers.
const SERVERS: f64 = 16.0;
/// Mean work, seconds.
const WORK: f64 = 0.01;
/// Share of the capacity that is asked for.
const LOAD: f64 = 0.8;

fn scenario(connections: f64, scheduler: &str) -> Scenario {
    let duration = connections * WORK / (SERVERS * LOAD);
    let text = format!(
        r#"
        name = "standard"
        summary = "Poisson, exponential work, 16 equal real servers"
        duration = {duration}
        schedulers = ["{scheduler}"]
        servers = [{{ count = {SERVERS} }}]
        arrivals = {{ kind = "poisson", load = {LOAD} }}
        connections = [{{ work = {{ kind = "exponential", mean = {WORK} }} }}]
        "#
    );
    toml::from_str(&text).expect("a scenario")
}

/// The most memory that was resident so far, MiB (Linux: `VmHWM`).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024)
}

/// Processor time of all threads so far, seconds (Linux: hundredths in `/proc/self/stat`).
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may have spaces in it: the state is field 3, the times are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(2);
    let hundredths: f64 = times.filter_map(|time| time.parse::<f64>().ok()).sum();
    Some(hundredths / 100.0)
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let number = |at: usize, default: u32| -> u32 {
        arguments
            .get(at)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let connections = number(0, 10_000_000);
    let scheduler = arguments.get(1).map_or("wlc", String::as_str);
    let repeats = number(2, 2);
    let scenario = scenario(f64::from(connections) / f64::from(repeats), scheduler);
    let plan = Plan {
        seed: 1,
        repeats,
        quick: false,
        threads: 0,
    };
    let begun = Instant::now();
    let results = run(&scenario, &plan, &|_| {}).expect("the standard scenario runs");
    let spent = begun.elapsed();
    let metrics = &results[0].schedulers[0].metrics;
    let made = metrics["connections"].mean * f64::from(repeats);
    println!(
        "{made:.0} connections by {scheduler} in {:.1} s, with {:.1} s of processor time, and {} MiB",
        spent.as_secs_f64(),
        processor_time().unwrap_or_default(),
        peak_memory().unwrap_or_default(),
    );
    println!(
        "sojourn mean {:.6} s, p99 {:.6} s; connections max/mean {:.4}",
        metrics["sojourn_mean"].mean, metrics["sojourn_p99"].mean, metrics["connections_max"].mean,
    );
}
