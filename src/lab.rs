//! `ulvs lab`: its words on the command line, and the terminal that it prints to.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use lab::command::{self, LabError, Request};
use lab::outputs::Outputs;

/// Columns of a table where the output is no terminal.
const WIDTH: usize = 120;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios with each scheduler, print tables, write JSON, CSV and a page with plots.
    Run(RunArguments),
    /// Print the shipped scenarios, the schedulers and the metrics.
    List,
    /// Print a shipped scenario: the beginning of one's own.
    Show {
        /// Its name, as `ulvs lab list` has it.
        name: String,
    },
    /// Print what changed between two runs beyond the interval; exits with 0 if nothing, with 1 if something did, with
    /// 2 if a file cannot be used.
    Compare {
        /// JSON of the first run.
        before: PathBuf,
        /// JSON of the second run.
        after: PathBuf,
    },
    /// Make the page with plots from a run's JSON.
    Report {
        /// JSON of a run.
        results: PathBuf,
        /// JSON of `ulvs lab cost`, to be on the page too.
        #[arg(long, value_name = "FILE")]
        cost: Option<PathBuf>,
        /// The page to write.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Measure what decisions cost on this machine: time, memory, taking up a changed list of real servers.
    Cost {
        /// A scheduler, with its flags (`sh -b sh-port`); repeat for several (default: all).
        #[arg(long = "scheduler", value_name = "NAME")]
        schedulers: Vec<String>,
        /// Fewer sizes and samples, for a first look.
        #[arg(long)]
        quick: bool,
        /// JSON to write.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    /// Scenario files, or names of shipped scenarios.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// All shipped scenarios.
    #[arg(long)]
    all: bool,
    /// A first look: 3 repeats, and fewer flows are looked at when real servers change.
    #[arg(long)]
    quick: bool,
    /// Independent repeats of each scenario with each scheduler (default: 30).
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeats: Option<u32>,
    /// Seed of all randomness: the same gives the same results, octet for octet, on any machine.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// A scheduler instead of the scenario's, with its flags (`sh -b sh-port`); repeat for several.
    #[arg(long = "scheduler", value_name = "NAME")]
    schedulers: Vec<String>,
    /// Folder that gets results.json, results.csv and report.html.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Threads (default: as many as there are processors).
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// JSON to write.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// CSV to write.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Page with plots to write.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl RunArguments {
    fn request(self) -> Request {
        Request {
            scenarios: self.scenarios,
            all: self.all,
            quick: self.quick,
            repeats: self.repeats,
            seed: self.seed,
            schedulers: self.schedulers,
            threads: self.threads.map_or(0, usize::from),
            outputs: Outputs {
                folder: self.out,
                json: self.json,
                csv: self.csv,
                html: self.html,
            },
        }
    }
}

/// Does it, and says what came of it.
pub(crate) fn run(command: Command) -> ExitCode {
    let mut out = io::stdout().lock();
    let mut terminal = io::stderr();
    let bar = terminal.is_terminal();
    let bar = bar.then_some(&mut terminal as &mut (dyn Write + Send));
    let done = match command {
        Command::Run(arguments) => command::run(&arguments.request(), &mut out, bar, width()),
        Command::List => command::list().map(|text| print(&mut out, &text)),
        Command::Show { name } => command::show(&name).map(|text| print(&mut out, text)),
        Command::Compare { before, after } => return compare(&before, &after, &mut out),
        Command::Report {
            results,
            cost,
            output,
        } => command::report(&results, cost.as_deref(), &output),
        Command::Cost {
            schedulers,
            quick,
            output,
        } => command::cost(&schedulers, quick, output.as_deref(), &mut out, bar),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// As diff(1): 0 = the same, 1 = something changed, 2 = trouble.
fn compare(before: &std::path::Path, after: &std::path::Path, out: &mut dyn Write) -> ExitCode {
    match command::compare(before, after) {
        Ok(found) => {
            print(out, &lab::compare::text(&found));
            ExitCode::from(u8::from(!found.is_same()))
        }
        Err(error) => fail(&error, 2),
    }
}

fn print(out: &mut dyn Write, text: &str) {
    // Whoever closed the output does not want the rest.
    let _ = out.write_all(text.as_bytes());
}

/// Columns of the terminal.
fn width() -> usize {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(WIDTH, |(width, _)| usize::from(width.0))
}

/// One sentence to the operator.
fn fail(error: &LabError, code: u8) -> ExitCode {
    eprintln!("ulvs: {error}");
    ExitCode::from(code)
}
