//! How long an operation stops a worker: growth to ten million connections, mass expiry, deletion of what has a million
//! connections, a configuration of 5,000 services and 100,000 real servers, and the schedulers' picks.
//!
//! `cargo bench --bench pauses`, or `-- NAME...` for those whose name has one of these in it. A *step* is what a worker
//! does before it looks at its rings again. Its length is processor time of the thread, so that what else runs on the
//! machine does not count; the clock's is printed beside it. Memory is the process's, everything counted.

mod configuration;
mod connections;
mod explain;
mod gauge;
mod memory;
#[path = "../one_service.rs"]
mod one_service;
mod picks;
mod world;

use std::fmt::Display;
use std::time::Duration;

use gauge::Gauge;

/// What the command line asks for.
struct Wanted(Vec<String>);

impl Wanted {
    fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| name.contains(word.as_str()))
    }

    /// Measures an operation, if it is asked for, and prints a line for each of its kinds of steps.
    fn measure(&self, name: &str, run: impl FnOnce() -> Vec<(&'static str, Gauge)>) {
        if !self.has(name) {
            return;
        }
        for (step, gauge) in run() {
            let of = gauge.summary();
            let [total, p99, longest, wall] =
                [of.total, of.p99, of.longest, of.longest_wall].map(time);
            let steps = of.steps;
            println!("{name:<44} {step:<10} {steps:>9} {total:>9} {p99:>9} {longest:>9} {wall:>9}");
        }
    }
}

/// A time in the unit that suits it.
fn time(time: Duration) -> String {
    match time.as_nanos() {
        0..10_000 => format!("{} ns", time.as_nanos()),
        10_000..10_000_000 => format!("{} us", time.as_micros()),
        _ => format!("{} ms", time.as_millis()),
    }
}

/// A line about an operation beside its steps.
fn note(name: &str, text: impl Display) {
    println!("{name:<44} {text}");
}

fn main() {
    let words = std::env::args().skip(1);
    let wanted = Wanted(words.filter(|word| !word.starts_with('-')).collect());
    let [total, p99, longest, wall] = ["total", "p99", "longest", "by clock"];
    println!(
        "{:<44} {:<10} {:>9} {total:>9} {p99:>9} {longest:>9} {wall:>9}",
        "operation", "step of", "steps"
    );
    connections::measure(&wanted);
    configuration::measure(&wanted);
    memory::measure(&wanted);
    picks::measure(&wanted);
    explain::measure(&wanted);
}
