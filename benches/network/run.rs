//! The whole run: worlds first, then round by round, test by test, contender by contender.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use serde::Serialize;

use crate::canary::{self, Canary};
use crate::contender::{Contender, Kind, Standing};
use crate::measure::Numbers;
use crate::options::Options;
use crate::{page, report, usage};

/// Other programs using more processors than this beside a measurement are noise.
const OTHERS: f64 = 0.05;

/// One measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    /// From 1.
    pub(crate) round: usize,
    /// The contender's name.
    pub(crate) contender: String,
    /// The test's name.
    pub(crate) test: String,
    /// What came out; empty where it failed.
    pub(crate) numbers: Numbers,
    /// Why nothing came out.
    pub(crate) failure: Option<String>,
    /// Processors that programs other than the bench used meanwhile.
    pub(crate) others: f64,
    /// Why it is not to be trusted, where that or the canary before or after it says so.
    pub(crate) noise: Option<String>,
}

/// Everything that was seen.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Processors, kernel and processor model.
    pub(crate) machine: String,
    /// The command line.
    pub(crate) command: String,
    /// Rounds done.
    pub(crate) rounds: usize,
    /// Seconds of a measurement.
    pub(crate) seconds: u32,
    /// Whether the interfaces had their offloads.
    pub(crate) offloads: bool,
    /// The contenders' names, in the order of reports.
    pub(crate) contenders: Vec<String>,
    /// The builds compared, where there are two.
    pub(crate) builds: Vec<String>,
    /// Why contenders are missing that could not be started.
    pub(crate) absent: Vec<String>,
    /// Every measurement.
    pub(crate) cells: Vec<Cell>,
    /// The looks between them: one before the first, one after each.
    pub(crate) canaries: Vec<Canary>,
}

impl Results {
    /// Measurements done, and those of them that the canary calls noisy.
    pub(crate) fn noisy(&self) -> (usize, usize) {
        let noisy = self.cells.iter().filter(|cell| cell.noise.is_some());
        (self.cells.len(), noisy.count())
    }
}

/// Measures, prints, writes `bench.json` and `bench.html`.
///
/// # Errors
/// A sentence: no cable without director, or a file that cannot be written.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let direct = stand(&Contender::peer(Kind::Direct), options)?;
    let (mut standing, mut absent) = (Vec::new(), Vec::new());
    for contender in &options.contenders {
        eprintln!("starting {}", contender.name);
        match stand(contender, options) {
            Ok(world) => standing.push((contender, world)),
            Err(sentence) => absent.push(sentence),
        }
    }
    let mut cells = Vec::new();
    let mut canaries = vec![Canary::look(&direct)?];
    for round in 1..=options.rounds {
        for test in &options.tests {
            // Each round begins with another one, so that none always follows the same.
            let begin = (round - 1) % standing.len().max(1);
            let order = standing[begin..].iter().chain(&standing[..begin]);
            for (contender, world) in order.filter(|(contender, _)| test.possible(contender.kind)) {
                let (before, begin) = (usage::others(), Instant::now());
                let outcome = catch_unwind(AssertUnwindSafe(|| test.run(world, options.seconds)));
                let outcome = outcome.unwrap_or_else(|_| Err("it panicked".to_owned()));
                // A process that its parent forgets takes its share out of the sum.
                let others = ((usage::others() - before) / begin.elapsed().as_secs_f64()).max(0.0);
                canaries.push(Canary::look(&direct)?);
                let (numbers, failure) = match outcome {
                    Ok(numbers) => (numbers, None),
                    Err(sentence) => (Numbers::new(), Some(sentence)),
                };
                let test = clap::ValueEnum::to_possible_value(test)
                    .map_or_else(String::new, |value| value.get_name().to_owned());
                eprintln!(
                    "round {round} {test:<11} {:<10} {}",
                    contender.name,
                    brief(&numbers, failure.as_ref())
                );
                cells.push(Cell {
                    round,
                    contender: contender.name.clone(),
                    test,
                    numbers,
                    failure,
                    others,
                    noise: None,
                });
            }
        }
    }
    let verdicts = canary::judge(&canaries);
    for (cell, around) in cells.iter_mut().zip(verdicts.windows(2)) {
        cell.noise = if cell.others > OTHERS {
            Some(format!("other programs used {:.2} processors", cell.others))
        } else {
            around.iter().flatten().next().cloned()
        };
    }
    write(
        options,
        &Results {
            machine: machine(),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            rounds: options.rounds,
            seconds: options.seconds,
            offloads: options.offloads,
            contenders: standing
                .iter()
                .map(|(contender, _)| contender.name.clone())
                .collect(),
            builds: options.builds.clone(),
            absent,
            cells,
            canaries,
        },
    )
}

fn stand(contender: &Contender, options: &Options) -> Result<Standing, String> {
    catch_unwind(AssertUnwindSafe(|| contender.start(options.offloads)))
        .map_err(|_| format!("{} cannot be started: see above", contender.name))
}

fn brief(numbers: &Numbers, failure: Option<&String>) -> String {
    if let Some(failure) = failure {
        return format!("FAILED: {failure}");
    }
    numbers
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"))
        .collect::<Vec<_>>()
        .join("  ")
}

fn write(options: &Options, results: &Results) -> Result<(), String> {
    let put = |name: &str, text: &str| {
        let path = options.out.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    std::fs::create_dir_all(&options.out)
        .map_err(|error| format!("{}: {error}", options.out.display()))?;
    let text = report::text(results);
    print!("{text}");
    put("bench.txt", &text)?;
    put("bench.json", &report::json(results))?;
    put("bench.html", &page::html(results))?;
    println!(
        "\nwritten: bench.txt, bench.json and bench.html in {}",
        options.out.display()
    );
    Ok(())
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let information = read("/proc/cpuinfo");
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{count} x {model}, Linux {}",
        read("/proc/sys/kernel/osrelease").trim()
    )
}
