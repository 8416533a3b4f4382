//! A run from outside: records, compares, tells.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::arguments::{Case, Options};
use crate::case::{self, Outcome};
use crate::recording::topic_of;
use crate::uml;
use crate::workers::How;

/// Runs every case; whether no case differs.
///
/// # Errors
/// A sentence when the cases cannot be recorded or read.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let folder = folder(options)?;
    let cases = options.all();
    for case in &cases {
        // What an earlier run left would be taken for this one's.
        let _ = std::fs::remove_file(path(&folder, case));
    }
    let start = Instant::now();
    let mut failed = Vec::new();
    let mut done = 0;
    let mut shown = 0;
    let recorded = uml::record(&cases, options.guests, &folder, |failure| {
        done += 1;
        failed.extend(failure);
        let percent = done * 100 / cases.len();
        if std::io::stdout().is_terminal() || percent >= shown + 10 {
            shown = percent;
            tell(&format!(
                "{done} of {} cases recorded, {} s",
                cases.len(),
                start.elapsed().as_secs()
            ));
        }
    });
    println!();
    if done == 0 {
        return Err(format!(
            "no kernel came up (see {}/guest0.log and .err); the first one said: {}",
            folder.display(),
            last_words(&folder)
        ));
    }
    let paths: Vec<PathBuf> = cases
        .iter()
        .map(|case| path(&folder, case))
        .filter(|path| path.exists())
        .collect();
    let how = How {
        workers: 1,
        asks: true,
    };
    let outcomes = case::run_all(&paths, how);
    if let Err(sentence) = recorded {
        println!("{sentence}");
    }
    for sentence in &failed {
        println!("{sentence}");
    }
    let differing = report(&outcomes, &folder);
    if options.keep.is_none() {
        for outcome in outcomes.iter().filter(|outcome| outcome.passed()) {
            let _ = std::fs::remove_file(folder.join(format!("{}.jsonl", outcome.name)));
        }
    }
    let missing = cases.len() - outcomes.len();
    if missing > 0 {
        println!(
            "{missing} cases were not recorded: see {}/guest*.log",
            folder.display()
        );
    }
    println!("{} cases, {differing} differences", outcomes.len());
    Ok(differing == 0 && missing == 0)
}

/// The last thing that the first kernel complained of, or said.
fn last_words(folder: &Path) -> String {
    ["guest0.err", "guest0.log"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(folder.join(name)).ok())
        .find_map(|text| text.lines().last().map(str::to_owned))
        .unwrap_or_else(|| "nothing".to_owned())
}

/// Where recordings go: by default below the build's own folder.
fn folder(options: &Options) -> Result<PathBuf, String> {
    let folder = options.keep.clone().unwrap_or_else(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        target.join("oracle")
    });
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn path(folder: &Path, case: &Case) -> PathBuf {
    folder.join(format!("{}.jsonl", case.name()))
}

/// The line of progress: written over itself on a terminal.
fn tell(line: &str) {
    if std::io::stdout().is_terminal() {
        print!("\r{line}");
    } else {
        println!("{line}");
    }
    // A progress that cannot be shown is not worth ending for.
    let _ = std::io::stdout().flush();
}

/// Prints the differing cases and the table; how many differ.
fn report(outcomes: &[Outcome], folder: &Path) -> usize {
    let mut rows: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for outcome in outcomes {
        let row = rows.entry(topic_of(&outcome.name)).or_default();
        row.0 += 1;
        if !outcome.passed() {
            row.1 += 1;
            for line in outcome.lines("", false) {
                println!("{line}");
            }
            println!(
                "  again: scripts/conformance -v {}/{}.jsonl",
                folder.display(),
                outcome.name
            );
        }
    }
    println!();
    println!("focus             cases  differ");
    for (focus, (cases, differing)) in &rows {
        println!("{focus:<16} {cases:>6}  {differing:>6}");
    }
    rows.values().map(|row| row.1).sum()
}
