//! What every Rust file must and must not have.

use crate::{assert_none, rust_files};

/// The most lines a file may have.
const LINES: usize = 500;

/// Files that may be longer, with the reason: a table is not easier to read in two halves.
const LONGER: [(&str, &str); 0] = [];

/// What may not be left behind, written in two halves so that this file passes its own rule.
const LEFTOVERS: [(&str, &str); 7] = [
    ("to", "do!("),
    ("unimple", "mented!("),
    ("db", "g!("),
    ("FIX", "ME"),
    ("TO", "DO"),
    ("X", "XX:"),
    ("#[ign", "ore"),
];

#[test]
fn every_file_says_what_it_is() {
    let broken: Vec<String> = rust_files()
        .iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| {
            format!(
                "{}: must begin with a //! line that says what it is",
                file.path
            )
        })
        .collect();
    assert_none(&broken);
}

#[test]
fn no_file_is_too_long() {
    let broken: Vec<String> = rust_files()
        .iter()
        .filter(|file| !LONGER.iter().any(|(path, _)| *path == file.path))
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > LINES).then(|| {
                format!(
                    "{}: {lines} lines, more than {LINES}: split it by noun",
                    file.path
                )
            })
        })
        .collect();
    assert_none(&broken);
}

#[test]
fn nothing_is_left_behind() {
    let mut broken = Vec::new();
    for file in rust_files() {
        for (index, line) in file.text.lines().enumerate() {
            for (head, tail) in LEFTOVERS {
                let word = format!("{head}{tail}");
                if line.contains(&word) {
                    broken.push(format!("{}:{}: {word}", file.path, index + 1));
                }
            }
        }
    }
    assert_none(&broken);
}
