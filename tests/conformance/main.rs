//! `conformance`: replays recordings of the kernel through ulvs and compares frame by frame.
//!
//! `scripts/conformance [--topic T] [--case NAME] [--workers N] [--explain] [-v] DIR...` calls it. Prints one line a case, for a
//! failing one the first difference, a table by topic, and last `N passed, M failed`. The exit code
//! is 0 only when every required case passes and `expected.toml` is true.

mod case;
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

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use expected::Expected;
use report::Report;
use workers::How;

/// What the command line asks for.
struct Options {
    folders: Vec<PathBuf>,
    topics: Vec<String>,
    cases: Vec<String>,
    /// Workers that share the work.
    how: How,
    verbose: bool,
}

/// Workers at most.
const WORKERS_MAX: usize = 64;

/// Where `ipvsadm -L` has names of services from.
const SERVICES: &str = "/etc/services";

const USAGE: &str =
    "usage: conformance [--topic TOPIC]... [--case TOPIC.CASE]... [--workers N] [--explain] [-v] [DIR or FILE]...
Replays recordings through ulvs with N workers (1); with --explain, it must foretell what becomes of each frame. Without DIR: the project's own, in tests/data/conformance.";

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
            how: How {
                workers: 1,
                asks: false,
            },
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
                    options.how.workers =
                        count
                            .filter(|count| (1..=WORKERS_MAX).contains(count))
                            .ok_or_else(|| format!("--workers: 1 to {WORKERS_MAX}"))?;
                }
                "--explain" => options.how.asks = true,
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
        paths.extend(recordings(folder)?);
    }
    paths.retain(|path| {
        let name = path.file_stem().map(|stem| stem.to_string_lossy());
        name.is_some_and(|name| options.wants(&name))
    });
    if paths.is_empty() {
        return Err("no recording matches".to_owned());
    }
    let outcomes = case::run_all(&paths, options.how);
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

/// The recordings of a folder, sorted by name; or the one file given.
///
/// # Errors
/// A sentence when the folder cannot be listed or holds no recording.
fn recordings(folder: &Path) -> Result<Vec<PathBuf>, String> {
    if folder.is_file() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("{}: cannot be listed: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(format!("{}: holds no .jsonl recording", folder.display()));
    }
    Ok(paths)
}
