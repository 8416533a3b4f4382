//! What the words of `ulvs lab` do: read files, run, write files, print.
//!
//! Nothing is run before every file was read and every name understood; what cannot be written is said before the run,
//! as far as it can be known.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::compare::{self, Comparison};
use crate::cost::{self, Costs};
use crate::json::FileError;
use crate::outputs::{self, Kind, Outputs};
use crate::progress::{Progress, WHOLE};
use crate::results::{Better, METRICS, Results};
use crate::run::{self, Plan, RunError};
use crate::scenario::{self, SHIPPED, Scenario, ScenarioError};
use crate::schedulers;
use crate::{csv, json, report, table};

/// Repeats by default, and with `--quick`.
pub const REPEATS: u32 = 30;
/// Repeats with `--quick`.
pub const QUICK_REPEATS: u32 = 3;

/// Why a command of the lab did nothing, or not all.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// No scenario.
    #[error("no scenario is given: name a file, a scenario that `ulvs lab list` shows, or --all")]
    Nothing,
    /// Neither a file nor shipped.
    #[error("{name}: {error}; give a scenario's file, or a name that `ulvs lab list` shows")]
    Unreadable {
        /// As typed.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// A name that is not shipped.
    #[error("there is no shipped scenario {0}; `ulvs lab list` shows their names")]
    NotShipped(String),
    /// Two with the same name, which results could not tell apart.
    #[error("two scenarios are named {0}: give one of them another name, or leave one out")]
    Twice(String),
    /// A scenario that is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A scenario that cannot be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of results that cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that cannot be written.
    #[error("{}: cannot be written: {error}; name a file in a folder that you may write to", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Two outputs in one file.
    #[error("{}: this file is to be written twice: give each output a name of its own", .0.display())]
    SameFile(PathBuf),
    /// The director refuses what is measured.
    #[error("the director refused a command of the measurement: {0}")]
    Refused(#[from] director::shared::CommandError),
}

/// What `ulvs lab run` was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Files, or names of shipped scenarios.
    pub scenarios: Vec<String>,
    /// All shipped scenarios.
    pub all: bool,
    /// A first look: fewer repeats, fewer flows looked at.
    pub quick: bool,
    /// Repeats; none = [`REPEATS`], or [`QUICK_REPEATS`].
    pub repeats: Option<u32>,
    /// Seed of all randomness.
    pub seed: u64,
    /// Instead of the scenarios' own schedulers.
    pub schedulers: Vec<String>,
    /// Threads; 0 = as many as there are processors.
    pub threads: usize,
    /// What is written where.
    pub outputs: Outputs,
}

impl Request {
    /// The command that gives the same results: nothing in it about threads and files.
    fn command(&self) -> String {
        let mut words = vec!["ulvs lab run".to_owned()];
        words.extend(self.all.then(|| "--all".to_owned()));
        words.extend(self.scenarios.iter().map(|word| quoted(word)));
        words.extend(self.quick.then(|| "--quick".to_owned()));
        words.extend(self.repeats.map(|repeats| format!("--repeats {repeats}")));
        words.push(format!("--seed {}", self.seed));
        let schedulers = self.schedulers.iter();
        words.extend(schedulers.map(|name| format!("--scheduler {}", quoted(name))));
        words.join(" ")
    }

    /// Reads what it asks for.
    fn read(&self) -> Result<Vec<Scenario>, LabError> {
        let mut scenarios = Vec::new();
        if self.all {
            for (file, text) in SHIPPED {
                scenarios.push(scenario::read(file, text)?);
            }
        }
        for name in &self.scenarios {
            scenarios.push(match shipped(name) {
                Some((file, text)) => scenario::read(file, text)?,
                None => scenario::read(name, &text(name)?)?,
            });
        }
        for scenario in &mut scenarios {
            if !self.schedulers.is_empty() {
                scenario.schedulers.clone_from(&self.schedulers);
            }
            schedulers::chosen(&scenario.schedulers)?;
        }
        let mut names: Vec<&str> = scenarios.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LabError::Twice(pair[0].to_owned()));
        }
        if scenarios.is_empty() {
            return Err(LabError::Nothing);
        }
        Ok(scenarios)
    }
}

/// The shipped scenario of this name: its file, and its text.
fn shipped(name: &str) -> Option<&'static (&'static str, &'static str)> {
    let mut all = SHIPPED.iter();
    all.find(|(file, _)| file.strip_suffix(".toml") == Some(name))
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn text(name: &str) -> Result<String, LabError> {
    let unreadable = |error| LabError::Unreadable {
        name: name.to_owned(),
        error,
    };
    let octets = std::fs::read(name).map_err(unreadable)?;
    let not_text = |error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error));
    String::from_utf8(octets).map_err(not_text)
}

/// `ulvs lab run`: runs, prints tables of this width, writes files. The bar is on `bar`, where there is one.
///
/// # Errors
/// [`LabError`].
pub fn run(
    request: &Request,
    out: &mut dyn Write,
    bar: Option<&mut (dyn Write + Send)>,
    width: usize,
) -> Result<(), LabError> {
    let scenarios = request.read()?;
    request.outputs.prepare()?;
    let usual = if request.quick {
        QUICK_REPEATS
    } else {
        REPEATS
    };
    let plan = Plan {
        seed: request.seed,
        repeats: request.repeats.unwrap_or(usual),
        quick: request.quick,
        threads: request.threads,
    };
    let mut results = Results {
        version: json::VERSION,
        command: request.command(),
        seed: plan.seed,
        repeats: plan.repeats,
        scenarios: Vec::new(),
    };
    let bar = Progress::new(bar);
    let parts =
        |part: usize, of: usize| u64::try_from(part).unwrap_or(0) * WHOLE / of.max(1) as u64;
    let ran = scenarios
        .iter()
        .enumerate()
        .try_for_each(|(number, scenario)| {
            let tell = |at: run::Progress<'_>| {
                let before = parts(number, scenarios.len());
                let inside = parts(at.done, at.total) / scenarios.len() as u64;
                bar.at(
                    before + inside,
                    &format!("{}, {}", at.scenario, at.scheduler),
                );
            };
            results.scenarios.extend(run::run(scenario, &plan, &tell)?);
            Ok::<(), RunError>(())
        });
    bar.finish();
    ran?;
    // Whoever closed the output does not want the rest, but may want the files.
    let _ = out.write_all(table::text(&results, width).as_bytes());
    for (path, kind) in request.outputs.files() {
        let content = match kind {
            Kind::Json => json::text(&results),
            Kind::Csv => csv::text(&results),
            Kind::Html => report::html(&results, &Costs::default()),
        };
        outputs::write(&path, &content)?;
        let _ = writeln!(out, "Written: {}", path.display());
    }
    Ok(())
}

/// `ulvs lab list`: the shipped scenarios, the schedulers and the metrics, as text.
///
/// # Errors
/// [`LabError::Scenario`] when a shipped scenario is wrong.
pub fn list() -> Result<String, LabError> {
    use std::fmt::Write as _;

    let mut text = "Shipped scenarios (`ulvs lab show NAME` prints one):\n".to_owned();
    for (file, content) in SHIPPED {
        let scenario = scenario::read(file, content)?;
        let name = file.trim_end_matches(".toml");
        let _ = writeln!(text, "  {name:<22} {}", scenario.summary);
    }
    text +=
        "\nSchedulers (--scheduler, with flags as \"sh -b sh-port\"; * is not in kernel IPVS):\n";
    for choice in schedulers::all() {
        let entry = baselines::find(choice.name);
        let summary = entry.map_or("", |entry| entry.summary);
        let _ = writeln!(text, "  {:<22} {summary}", choice.label);
    }
    text += "\nMetrics:\n";
    for metric in METRICS {
        let better = match metric.better {
            Better::Less => " Less is better.",
            Better::More => " More is better.",
            Better::Neither => "",
        };
        let unit = if metric.unit.is_empty() {
            String::new()
        } else {
            format!(" [{}]", metric.unit)
        };
        let _ = writeln!(
            text,
            "  {:<22} {}{better}{unit}",
            metric.name, metric.summary
        );
    }
    Ok(text)
}

/// `ulvs lab show NAME`: a shipped scenario's text.
///
/// # Errors
/// [`LabError::NotShipped`].
pub fn show(name: &str) -> Result<&'static str, LabError> {
    let found = shipped(name).map(|(_, text)| *text);
    found.ok_or_else(|| LabError::NotShipped(name.to_owned()))
}

/// `ulvs lab compare A.json B.json`.
///
/// # Errors
/// [`LabError::File`].
pub fn compare(before: &Path, after: &Path) -> Result<Comparison, LabError> {
    Ok(compare::compare(
        &json::results(before)?,
        &json::results(after)?,
    ))
}

/// `ulvs lab report A.json [--cost COST.json] -o PAGE.html`.
///
/// # Errors
/// [`LabError::File`], [`LabError::Write`].
pub fn report(results: &Path, costs: Option<&Path>, page: &Path) -> Result<(), LabError> {
    let results = json::results(results)?;
    let costs: Costs = match costs {
        Some(path) => json::costs(path)?,
        None => Costs::default(),
    };
    outputs::write(page, &report::html(&results, &costs))
}

/// `ulvs lab cost`: measures these schedulers (none = all), prints a table, writes JSON.
///
/// # Errors
/// [`LabError`].
pub fn cost(
    names: &[String],
    quick: bool,
    file: Option<&Path>,
    out: &mut dyn Write,
    bar: Option<&mut (dyn Write + Send)>,
) -> Result<(), LabError> {
    let chosen = schedulers::chosen(names)?;
    file.map_or(Ok(()), outputs::try_out)?;
    let choices = if chosen.is_empty() {
        schedulers::all()
    } else {
        chosen
    };
    let plan = if quick {
        cost::Plan::quick()
    } else {
        cost::Plan::full()
    };
    let bar = Progress::new(bar);
    let costs = cost::measure(&choices, &plan, &|scheduler, done, total| {
        bar.at(done as u64 * WHOLE / total.max(1) as u64, scheduler);
    })?;
    bar.finish();
    let _ = out.write_all(cost::text(&costs).as_bytes());
    if let Some(path) = file {
        outputs::write(path, &json::text(&costs))?;
        let _ = writeln!(out, "Written: {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_repeat_is_what_a_shell_takes_and_names_no_output() {
        let request = Request {
            scenarios: vec!["steady".to_owned(), "my scenario's.toml".to_owned()],
            quick: true,
            repeats: Some(5),
            seed: 9,
            schedulers: vec!["sh -b sh-port".to_owned(), "wlc".to_owned()],
            threads: 2,
            outputs: Outputs {
                json: Some("out.json".into()),
                ..Outputs::default()
            },
            ..Request::default()
        };
        let command = "ulvs lab run steady 'my scenario'\\''s.toml' --quick --repeats 5 --seed 9 \
                       --scheduler 'sh -b sh-port' --scheduler wlc";
        assert_eq!(request.command(), command);
    }

    #[test]
    fn every_shipped_scenario_is_listed_and_shown() {
        let list = list().expect("they are all right");
        for (file, text) in SHIPPED {
            let name = file.trim_end_matches(".toml");
            assert_eq!(show(name).expect("it is shipped"), *text);
            assert!(list.contains(&format!("\n  {name} ")), "{name}: {list}");
        }
        for metric in METRICS {
            assert!(list.contains(metric.summary), "{}", metric.name);
        }
    }
}
