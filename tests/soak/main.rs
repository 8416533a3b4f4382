//! `scripts/soak`: the long runs of `tests/soak`, from the command line.

#[path = "../harness/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the end-to-end tests use the rest"
)]
mod harness;
#[path = "mod.rs"]
mod soak;

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use soak::report::Report;
use soak::world::Assist;
use soak::{churn, count, flood, million};

#[derive(Debug, Parser)]
#[command(
    name = "scripts/soak",
    about = "Long runs of ulvs in network namespaces of their own: docs/PERFORMANCE.md"
)]
struct Arguments {
    /// Write the result as JSON to this file.
    #[arg(long, global = true, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(subcommand)]
    soak: Soak,
}

#[derive(Debug, Subcommand)]
enum Soak {
    /// Numbered datagrams through every method: none may be lost, doubled, changed or out of place.
    Count(CountArguments),
    /// Connections come and go while services change: memory must stay flat and every counter add up.
    Churn(ChurnArguments),
    /// Twice the rate that is carried: losses must be counted, others served, and all be as before a second later.
    Flood(FloodArguments),
    /// The rate over a million connections against that over a thousand, and the memory of each.
    Million(MillionArguments),
}

#[derive(Debug, clap::Args)]
struct CountArguments {
    /// Datagrams, with each number of workers.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    frames: u64,
    /// Datagrams a second, at most.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Flows of each method and address family.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    flows: u32,
    /// Numbers of workers, one run each.
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_name = "N,...",
          value_parser = workers)]
    workers: Vec<usize>,
    /// Whose packets the kernel sends on by itself.
    #[arg(long, default_value = "all")]
    assist: Assist,
}

#[derive(Debug, clap::Args)]
struct ChurnArguments {
    /// How long it lasts.
    #[arg(long, default_value_t = 30.0, value_parser = minutes)]
    minutes: f64,
    /// Seconds between two readings of the counters.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    period: u32,
    /// TCP connections a second; as many UDP flows and garbage frames come beside them.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Workers of the director.
    #[arg(long, default_value = "2", value_name = "N", value_parser = workers)]
    workers: usize,
    /// Whose packets the kernel sends on by itself.
    #[arg(long, default_value = "all")]
    assist: Assist,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
struct FloodArguments {
    /// Seconds of each flood.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Floods of each kind: of known flows, and of new ones.
    #[arg(long, default_value_t = 3, value_parser = count_of)]
    rounds: usize,
    /// Workers of the director.
    #[arg(long, default_value = "1", value_name = "N", value_parser = workers)]
    workers: usize,
    /// Threads that make frames.
    #[arg(long, default_value = "2", value_name = "N", value_parser = workers)]
    threads: usize,
}

#[derive(Debug, clap::Args)]
struct MillionArguments {
    /// Connections.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=16_000_000))]
    connections: u32,
    /// Measurements of each.
    #[arg(long, default_value_t = 7, value_parser = count_of)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Workers of the director.
    #[arg(long, default_value = "1", value_name = "N", value_parser = workers)]
    workers: usize,
    /// Threads that make frames.
    #[arg(long, default_value = "1", value_name = "N", value_parser = workers)]
    threads: usize,
}

fn count_of(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1000) => Ok(count),
        _ => Err("must be a number from 1 to 1000".to_owned()),
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(time) if time > 0.0 && time <= 10_000.0 => Ok(time),
        _ => Err("must be a number above 0 and at most 10000".to_owned()),
    }
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=64) => Ok(count),
        _ => Err("must be a number from 1 to 64".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong(&error),
    };
    // A port for each flow, a descriptor for each port.
    let _ = link::sys::process::raise_open_files();
    // What cannot be set up panics with a sentence of its own.
    let Ok(report) = catch_unwind(|| run(arguments.soak)) else {
        eprintln!("soak: it could not be carried out: see above");
        return ExitCode::from(2);
    };
    print!("\n{}", report.text());
    if let Some(path) = &arguments.out
        && let Err(sentence) = report.write(path)
    {
        eprintln!("soak: {sentence}");
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(!report.wrong().is_empty()))
}

fn run(soak: Soak) -> Report {
    match soak {
        Soak::Count(CountArguments {
            frames,
            rate,
            flows,
            workers,
            assist,
        }) => count::run(&count::Plan {
            frames,
            rate,
            flows,
            workers,
            assist,
        }),
        Soak::Flood(given) => flood::run(&flood::Plan {
            time: Duration::from_secs(given.seconds.into()),
            rounds: given.rounds,
            workers: given.workers,
            threads: given.threads,
        }),
        Soak::Million(given) => million::run(&million::Plan {
            connections: given.connections,
            rounds: given.rounds,
            time: Duration::from_secs(given.seconds.into()),
            workers: given.workers,
            threads: given.threads,
        }),
        Soak::Churn(given) => churn::run(&churn::Plan {
            time: Duration::from_secs_f64(given.minutes * 60.0),
            period: Duration::from_secs(given.period.into()),
            rate: given.rate,
            workers: given.workers,
            assist: given.assist,
            seed: given.seed,
        }),
    }
}

/// Help is what was asked for; anything else is one sentence.
fn wrong(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Whoever closed the output does not want it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let sentence: Vec<&str> = lines.map(str::trim).collect();
    let sentence = sentence.join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    eprintln!("soak: {sentence} (`--help` says what there is)");
    ExitCode::from(2)
}
