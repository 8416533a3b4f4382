//! The command lines of both faces.

use std::path::{Path, PathBuf};

use crate::focus::{self, FOCUSES, Focus};

/// One random case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Seed of the run.
    pub(crate) seed: u64,
    /// Its number in the run.
    pub(crate) index: u64,
    /// What it is about.
    pub(crate) focus: &'static Focus,
}

impl Case {
    /// The name of its recording.
    pub(crate) fn name(&self) -> String {
        format!("{}.s{}_{}", self.focus.name, self.seed, self.index)
    }
}

/// What a run is to do.
#[derive(Debug)]
pub(crate) struct Options {
    /// Where choices start.
    pub(crate) seed: u64,
    /// How many cases.
    pub(crate) cases: u64,
    /// The only focus; every one in turn when `None`.
    pub(crate) focus: Option<&'static Focus>,
    /// Where all recordings stay.
    pub(crate) keep: Option<PathBuf>,
    /// Kernels side by side.
    pub(crate) guests: usize,
}

/// What the program is called for.
#[derive(Debug)]
pub(crate) enum Face {
    /// By a user.
    Outside(Options),
    /// As the only program of a kernel: the list of its cases.
    Guest(PathBuf),
    /// In a network namespace of that kernel: one case, and the folder for its recording.
    Record(Case, PathBuf),
}

const USAGE: &str = "usage: oracle [--seed N] [--cases N] [--focus TOPIC] [--keep DIR] [--guests N]
Sends random configurations and packets through kernel IPVS (User Mode Linux) and through ulvs, and compares.";

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{option}: {text} is not a number"))
}

fn focus_named(text: &str) -> Result<&'static Focus, String> {
    let names: Vec<&str> = FOCUSES.iter().map(|focus| focus.name).collect();
    focus::named(text)
        .ok_or_else(|| format!("no focus is called {text}; there are {}", names.join(", ")))
}

/// Reads the arguments.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Face, String> {
    let words: Vec<String> = arguments.collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--guest", list] => return Ok(Face::Guest(PathBuf::from(list))),
        ["--record", seed, index, focus, folder] => {
            let case = case(seed, index, focus)?;
            return Ok(Face::Record(case, PathBuf::from(folder)));
        }
        _ => {}
    }
    let guests = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    let mut options = Options {
        seed: 1,
        cases: 48,
        focus: None,
        keep: None,
        guests,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word {
            "--seed" => options.seed = number(word, value()?)?,
            "--cases" => options.cases = number(word, value()?)?,
            "--focus" => options.focus = Some(focus_named(value()?)?),
            "--keep" => options.keep = Some(absolute(value()?)?),
            "--guests" => options.guests = number(word, value()?)?,
            "-h" | "--help" => return Err(USAGE.to_owned()),
            _ => return Err(format!("unknown argument {word}\n{USAGE}")),
        }
    }
    if options.cases == 0 || options.guests == 0 {
        return Err("nothing to do: --cases and --guests must be above 0".to_owned());
    }
    Ok(Face::Outside(options))
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(Path::new(text)).map_err(|error| format!("{text}: {error}"))
}

/// A case by its three words.
///
/// # Errors
/// A sentence that names the word that cannot be read.
pub(crate) fn case(seed: &str, index: &str, focus: &str) -> Result<Case, String> {
    Ok(Case {
        seed: number("seed", seed)?,
        index: number("case", index)?,
        focus: focus_named(focus)?,
    })
}

impl Options {
    /// The cases of the run, in order.
    pub(crate) fn all(&self) -> Vec<Case> {
        let turn = |index: u64| &FOCUSES[usize::try_from(index).unwrap_or(0) % FOCUSES.len()];
        (0..self.cases)
            .map(|index| Case {
                seed: self.seed,
                index,
                focus: self.focus.unwrap_or_else(|| turn(index)),
            })
            .collect()
    }
}
