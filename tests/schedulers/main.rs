//! docs/SCHEDULERS.md against a run of the lab: its numbers, what it says of one scheduler against another, its plots.
//!
//! `scripts/schedulers` runs the lab and calls it with the folder of the results. Ends with 0 where all is as the lab
//! found it, 1 where something is not (it says what), 2 where it could not look.

mod check;
mod document;
mod figures;
mod found;
mod pictures;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use figures::Figures;

/// The document, and the folder of its plots and of the list.
const DOCUMENT: &str = "docs/SCHEDULERS.md";
const FOLDER: &str = "docs/schedulers";

/// What it was asked for.
struct Request {
    /// Write instead of saying what differs.
    write: bool,
    /// Look at what is said of schedulers alone: other repeats give other numbers.
    claims: bool,
    /// Where results.json and report.html are.
    folder: PathBuf,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (options, folders): (Vec<&str>, Vec<&str>) = words
        .iter()
        .map(String::as_str)
        .partition(|word| word.starts_with('-'));
    let (options, [folder]) = (&options[..], &folders[..]) else {
        return wrong("usage: scripts/schedulers [--write | --full]");
    };
    let request = Request {
        write: options.contains(&"--write"),
        claims: options.contains(&"--claims"),
        folder: folder.into(),
    };
    match look(&request) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => wrong(&sentence),
    }
}

fn wrong(sentence: &str) -> ExitCode {
    eprintln!("schedulers: {sentence}");
    ExitCode::from(2)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    println!("written: {}", path.display());
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Looks at the document and its plots; whether all is right.
fn look(request: &Request) -> Result<bool, String> {
    let (document, list) = (
        root().join(DOCUMENT),
        root().join(FOLDER).join("figures.toml"),
    );
    let (text, listed) = (read(&document)?, read(&list)?);
    let figures: Figures =
        toml::from_str(&listed).map_err(|error| format!("{}: {error}", list.display()))?;
    let results = lab::json::results(&request.folder.join("results.json"));
    let results = results.map_err(|error| error.to_string())?;
    let outcome = check::check(&text, &figures, &results);
    for fault in &outcome.faults {
        println!("{DOCUMENT}: {fault}");
    }
    let mut differs = !outcome.faults.is_empty();
    if !request.claims {
        differs |= numbers(request, &outcome, (&document, &text), (&list, &listed))?;
        differs |= plots(request, &figures)?;
    }
    for claim in &outcome.unsure {
        println!("not told apart with {} repeats: {claim}", results.repeats);
    }
    println!(
        "{} numbers and {} plots are bound; {} claims hold beyond the intervals of {} repeats, {} in the mean",
        outcome.bound,
        figures.plot.len(),
        outcome.sure,
        results.repeats,
        outcome.unsure.len()
    );
    if differs && !request.write {
        println!("scripts/schedulers --write writes numbers and plots anew");
    }
    Ok(!differs)
}

/// Writes the numbers anew, or says which differ; whether some still do.
fn numbers(
    request: &Request,
    outcome: &check::Outcome,
    (document, text): (&Path, &str),
    (list, listed): (&Path, &str),
) -> Result<bool, String> {
    for change in &outcome.changes {
        println!("{DOCUMENT}: {}", change.told());
    }
    if outcome.changes.is_empty() || !request.write {
        return Ok(!outcome.changes.is_empty());
    }
    write(document, &check::mended(text, &outcome.changes))?;
    write(list, &check::listed(listed, &outcome.changes))?;
    Ok(false)
}

/// Writes the plots anew, or says which differ; whether some still do.
fn plots(request: &Request, figures: &Figures) -> Result<bool, String> {
    let page = read(&request.folder.join("report.html"))?;
    let mut differs = false;
    for plot in &figures.plot {
        let (path, drawn) = (
            root().join(FOLDER).join(&plot.file),
            pictures::svg(&page, plot)?,
        );
        if std::fs::read_to_string(&path).is_ok_and(|old| old == drawn) {
            continue;
        }
        if request.write {
            write(&path, &drawn)?;
        } else {
            println!("{FOLDER}/{} is not what the lab draws", plot.file);
            differs = true;
        }
    }
    Ok(differs)
}
