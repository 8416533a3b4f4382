//! `conformance`: replays recordings of the kernel through ulvs and compares frame by frame.
//!
//! `scripts/conformance [--topic T] [--case NAME] [--workers N] [-v] DIR...` calls it. Prints one line a case, for a
//! failing one the first difference, a table by topic, and last `N passed, M failed`. The exit code
//! is 0 only when every required case passes and `expected.toml` is true.

mod compare;
mod decode;
mod expected;
mod flow;
mod forwarding;
mod host;
mod mark;
mod mask;
mod recording;
mod replay;
mod report;
mod sync;
mod system;
mod texts;
mod workers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use expected::Expected;
use report::{Outcome, Report};

/// What the command line asks for.
struct Options {
    folders: Vec<PathBuf>,
    topics: Vec<String>,
    cases: Vec<String>,
    /// Workers that share the work.
    workers: usize,
    verbose: bool,
}

/// Workers at most.
const WORKERS_MAX: usize = 64;

/// Where `ipvsadm -L` has names of services from.
const SERVICES: &str = "/etc/services";

const USAGE: &str =
    "usage: conformance [--topic TOPIC]... [--case TOPIC.CASE]... [--workers N] [-v] [DIR or FILE]...
Replays recordings through ulvs with N workers (1). Without DIR: the project's own, in tests/data/conformance.";

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A sentence for the user.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            folders: Vec::new(),
            topics: Vec::new(),
            cases: Vec::new(),
            workers: 1,
            verbose: false,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--topic" => options.topics.push(value()?),
                "--case" => options.cases.push(value()?),
                "--workers" => {
                    let count = value()?.parse().ok();
                    options.workers = count
                        .filter(|count| (1..=WORKERS_MAX).contains(count))
                        .ok_or_else(|| format!("--workers: 1 to {WORKERS_MAX}"))?;
                }
                "-v" | "--verbose" => options.verbose = true,
                "-h" | "--help" => return Err(USAGE.to_owned()),
                // `cargo test` passes these to every test binary.
                "--quiet" | "-q" | "--nocapture" => {}
                word if word.starts_with('-') => {
                    return Err(format!("unknown option {word}\n{USAGE}"));
                }
                folder => options.folders.push(PathBuf::from(folder)),
            }
        }
        if options.folders.is_empty() {
            options
                .folders
                .extend(["vectors", "found"].map(|name| data().join(name)));
        }
        Ok(options)
    }

    /// Whether the case was asked for.
    fn wants(&self, name: &str) -> bool {
        let topic = recording::topic_of(name);
        (self.topics.is_empty() || self.topics.iter().any(|want| want == topic))
            && (self.cases.is_empty() || self.cases.iter().any(|want| want == name))
    }

    /// Whether every case is run, so that names in `expected.toml` must match one.
    fn is_whole(&self) -> bool {
        self.topics.is_empty() && self.cases.is_empty()
    }
}

/// The project's own recordings.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conformance")
}

fn main() -> ExitCode {
    let done = Options::parse(std::env::args().skip(1)).and_then(|options| run(&options));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("conformance: {sentence}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for; whether all is as it should be.
///
/// # Errors
/// A sentence when the recordings or the list of expected differences cannot be read.
fn run(options: &Options) -> Result<bool, String> {
    if !Path::new(SERVICES).exists() {
        return Err(format!(
            "{SERVICES} is missing: recorded lists have names of services (Debian: apt-get install netbase)"
        ));
    }
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/expected.toml");
    let expected = Expected::read(&list)?;
    let mut paths = Vec::new();
    for folder in &options.folders {
        paths.extend(recording::list(folder)?);
    }
    paths.retain(|path| {
        let name = path.file_stem().map(|stem| stem.to_string_lossy());
        name.is_some_and(|name| options.wants(&name))
    });
    if paths.is_empty() {
        return Err("no recording matches".to_owned());
    }
    let outcomes = run_all(&paths, &expected, options.workers);
    let own = options
        .folders
        .iter()
        .all(|folder| folder.starts_with(data()));
    let report = Report {
        outcomes: &outcomes,
        expected: &expected,
        verbose: options.verbose,
        list_is_whole: own && options.is_whole(),
    };
    Ok(report.print())
}

/// Runs every recording, on all processors; outcomes in the order of `paths`.
fn run_all(paths: &[PathBuf], expected: &Expected, workers: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(paths.len()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(paths.len()) {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_case(path, expected, workers);
                    if let Ok(mut list) = outcomes.lock() {
                        list.push(outcome);
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by(|left: &Outcome, right| left.name.cmp(&right.name));
    outcomes
}

/// Runs one recording; a panic of the code under test is a difference like any other.
fn run_case(path: &Path, expected: &Expected, workers: usize) -> Outcome {
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let recording = recording::read(path)?;
        let volatile = mask::volatile(&recording.folder)?;
        let masks = mask::masks(&recording, &volatile);
        replay::run(&recording, &masks, &expected.text, workers)
    }));
    Outcome {
        name,
        result: result.unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(&*panic)))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}
