//! What a user gets through ulvs and through its peers on one machine: rates, round trips, CPU. `scripts/bench` runs
//! it; docs/PERFORMANCE.md says what each number means.
//!
//! One process drives everything: it makes a world of network namespaces for each contender, measures one contender
//! after the other, test by test and round by round, with a canary between any two measurements, and writes what it
//! saw. The same program is the load and the servers (`network serve`, `network load ...`, `network bare ...`) inside the namespaces.
//! Never touches the machine's own interfaces, routes or sysctls, and never calls a machine quiet that it did not
//! see quiet.
#![forbid(unsafe_code)]

mod bare;
mod canary;
mod contender;
mod director;
mod goals;
#[path = "../../tests/harness/lab.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod lab;
mod load;
mod measure;
mod options;
mod page;
#[path = "../../tests/harness/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod process;
mod report;
mod run;
mod serve;
mod usage;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["serve"] => serve::run().map_err(|error| error.to_string()),
        ["bare", rest @ ..] => bare::run(rest),
        ["load", rest @ ..] => load::run(rest),
        _ => run::run(&options::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("bench: {sentence}");
            ExitCode::FAILURE
        }
    }
}
