//! `scheduler_models`: every scheduler against an independent model, pick for pick.
//!
//! ```text
//! cargo test --release -p director --test scheduler_models -- [--picks N] [--seed N] [SCHEDULER]...
//! ```
//!
//! The models are written from the kernel's formulas (BEHAVIOURS 1 to 8), slow and plain, and share nothing with
//! `director::scheduler`. A seeded stream of connections, their ends and changes of state, commands and time goes to
//! the director ([`director::shared::Shared::schedule`]) and to the model; the first pick or count that differs fails
//! the scheduler and says which seed shows it. `twos` draws lots: its picks are counted, and chi-square decides.

mod hashes;
mod loads;
mod locality;
mod lots;
mod service;
mod stream;
mod turns;
mod twos;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use director::scheduler::ENTRIES;
use stream::Stream;

/// Picks of each scheduler without `--picks`.
const PICKS: u64 = 200_000;
/// Picks of one service: then comes another one of another nature.
const PICKS_OF_STREAM: u64 = 4_000;
/// Picks of `twos` from one set of real servers.
const PICKS_OF_LOT: u64 = 10_000;
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(5);

/// What the command line asks for.
struct Request {
    picks: u64,
    seed: u64,
    /// Schedulers; empty = all.
    only: Vec<String>,
}

impl Request {
    /// # Errors
    /// A sentence for the user.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut request = Self {
            picks: PICKS,
            seed: 1,
            only: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                value.ok_or_else(|| format!("{argument} needs a number"))
            };
            match argument.as_str() {
                "--picks" => request.picks = number()?,
                "--seed" => request.seed = number()?,
                // `cargo test` passes its own options to every test binary.
                option if option.starts_with('-') => {}
                name => request.only.push(name.to_owned()),
            }
        }
        Ok(request)
    }
}

fn main() -> ExitCode {
    let request = match Request::parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(sentence) => {
            eprintln!("scheduler_models: {sentence}");
            return ExitCode::from(2);
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for entry in ENTRIES {
        // A name that is no scheduler's filters other tests: none of these.
        if !request.only.is_empty() && request.only.iter().all(|name| name != entry.name) {
            continue;
        }
        let began = Instant::now();
        match check(entry.name, &request) {
            Ok(()) => {
                passed += 1;
                let seconds = began.elapsed().as_secs_f64();
                println!(
                    "test {} ... ok ({} picks, {seconds:.1} s)",
                    entry.name, request.picks
                );
            }
            Err(difference) => {
                failed += 1;
                println!("test {} ... FAILED\n{difference}", entry.name);
            }
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Makes the picks of one scheduler, in streams with seeds of their own.
///
/// # Errors
/// The first difference, and the seed of its stream.
fn check(scheduler: &'static str, request: &Request) -> Result<(), String> {
    let (mut done, mut stream, mut shown) = (0, 0, Instant::now());
    while done < request.picks {
        let seed = request.seed.wrapping_mul(1 << 32).wrapping_add(stream);
        let wanted = if scheduler == "twos" {
            PICKS_OF_LOT
        } else {
            PICKS_OF_STREAM
        };
        let picks = wanted.min(request.picks - done);
        let made = if scheduler == "twos" {
            twos::check(seed, picks)
        } else {
            follow(scheduler, seed, picks)
        };
        made.map_err(|difference| format!("stream {stream}: {difference}"))?;
        done += picks;
        stream += 1;
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            println!("     {scheduler}: {done} of {} picks", request.picks);
        }
    }
    Ok(())
}

/// One stream.
///
/// # Errors
/// The first difference and its place.
fn follow(scheduler: &'static str, seed: u64, picks: u64) -> Result<(), String> {
    let mut stream = Stream::new(scheduler, seed)?;
    for pick in 0..picks {
        stream
            .step()
            .map_err(|difference| format!("pick {pick}: {difference}"))?;
    }
    Ok(())
}
