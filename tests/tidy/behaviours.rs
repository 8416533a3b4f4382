//! ARCHITECTURE.md's table of the kernel's behaviours: every file, function and recording it names is there.

use crate::{assert_none, files, read, root};

/// What the table's first line begins with.
const HEAD: &str = "| what the kernel does |";
/// The recordings, one file a case.
const RECORDINGS: &str = "tests/data/conformance";
/// Fewer lines than this mean that the table was not found whole.
const LINES_MIN: usize = 46;

/// The words of a cell that stand in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The cells of each line of the table: behaviour, code, recordings.
fn lines(text: &str) -> Vec<[&str; 3]> {
    let table = text.lines().skip_while(|line| !line.starts_with(HEAD));
    table
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells
                .try_into()
                .unwrap_or_else(|_| panic!("not three cells: {line}"))
        })
        .collect()
}

/// Whether `name` is one that `pattern` means; `*` stands for anything.
fn is_meant(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| is_meant(rest, &tail[at..]))
        }),
    }
}

#[test]
fn behaviours_name_what_is_there() {
    let text = read("ARCHITECTURE.md");
    let cases: Vec<String> = files(RECORDINGS, ".jsonl")
        .iter()
        .filter_map(|file| Some(file.path.rsplit('/').next()?.strip_suffix(".jsonl")?.into()))
        .collect();
    let lines = lines(&text);
    assert!(lines.len() >= LINES_MIN, "{} lines", lines.len());
    let mut broken = Vec::new();
    for [behaviour, code, recordings] in lines {
        let mut source: Option<String> = None;
        for word in quoted(code) {
            if word.ends_with(".rs") {
                let path = format!("crates/{word}");
                source = root().join(&path).exists().then(|| read(&path));
                if source.is_none() {
                    broken.push(format!("{behaviour}: there is no {path}"));
                }
            } else if let Some(text) = &source
                && !text.contains(&format!("fn {word}("))
                && !text.contains(&format!("fn {word}<"))
            {
                broken.push(format!(
                    "{behaviour}: no function {word} in the file before it"
                ));
            }
        }
        let recordings = quoted(recordings);
        if source.is_none() || recordings.is_empty() {
            broken.push(format!("{behaviour}: names no file or no recording"));
        }
        for pattern in recordings {
            if !cases.iter().any(|case| is_meant(pattern, case)) {
                broken.push(format!("{behaviour}: there is no recording {pattern}"));
            }
        }
    }
    assert_none(&broken);
}
