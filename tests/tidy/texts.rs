//! The texts people read: the changelog's shape, and a configuration file that explains every key.

use crate::{assert_none, files, read};

/// The kinds of change that Keep a Changelog knows.
const KINDS: [&str; 6] = [
    "Added",
    "Changed",
    "Deprecated",
    "Removed",
    "Fixed",
    "Security",
];

#[test]
fn changelog_keeps_its_shape() {
    let text = read("CHANGELOG.md");
    let mut broken = Vec::new();
    let mut headings = text.lines().filter(|line| line.starts_with("## "));
    if headings.next() != Some("## [Unreleased]") {
        broken.push("the first heading must be ## [Unreleased]".to_owned());
    }
    for heading in headings {
        let shape = heading
            .strip_prefix("## [")
            .and_then(|rest| rest.split_once("] - "));
        if !shape.is_some_and(|(version, date)| !version.is_empty() && is_date(date)) {
            broken.push(format!("{heading}: must read ## [VERSION] - YYYY-MM-DD"));
        }
    }
    for line in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        if !KINDS.contains(&line) {
            broken.push(format!("### {line}: must be one of {}", KINDS.join(", ")));
        }
    }
    assert_none(&broken);
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.char_indices().all(|(index, c)| match index {
            4 | 7 => c == '-',
            _ => c.is_ascii_digit(),
        })
}

#[test]
fn every_script_says_what_it_does() {
    let broken: Vec<String> = files("scripts", "")
        .iter()
        .filter(|file| {
            let mut lines = file.text.lines();
            !lines.next().is_some_and(|line| line.starts_with("#!"))
                || !lines.next().is_some_and(|line| line.starts_with("# "))
        })
        .map(|file| {
            format!(
                "{}: must begin with #! and a # line that says what it does",
                file.path
            )
        })
        .collect();
    assert_none(&broken);
}

#[test]
fn texts_exist() {
    for path in [
        "README.md",
        "ARCHITECTURE.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ] {
        assert!(
            read(path).len() > 500,
            "{path} is too short to say what it must"
        );
    }
}

/// README says which settings do nothing here: those that say so themselves, and no others.
#[test]
fn settings_without_effect_are_told() {
    let text = read("README.md");
    let told = text
        .split("These have no effect")
        .nth(1)
        .and_then(|rest| rest.split(".\n").next())
        .expect("README.md says which settings have no effect");
    let told: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
    let mute: Vec<&str> = director::sysctl::SYSCTLS
        .iter()
        .filter(|entry| entry.without_effect().is_some())
        .map(|entry| entry.name)
        .collect();
    assert_eq!(told, mute, "README.md's and the settings' own list");
}
