//! Lists kept by hand are complete: whatever has a file is in its folder's list, and every drop reason is
//! produced by a test.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{assert_none, files, read};

/// A folder of files of one kind, its list, and what stands in the list for a file `x.rs`.
struct Registry {
    folder: &'static str,
    list: &'static str,
    entry: fn(&str) -> String,
    /// Files in the folder that are helpers, not entries.
    helpers: &'static [&'static str],
}

const REGISTRIES: [Registry; 2] = [
    Registry {
        folder: "crates/director/src/scheduler",
        list: "crates/director/src/scheduler/mod.rs",
        entry: |name| format!("&{name}::ENTRY"),
        helpers: &["mod", "laws"],
    },
    Registry {
        folder: "crates/director/src/forward",
        list: "crates/director/src/forward/mod.rs",
        entry: |name| format!("&{name}::METHOD"),
        helpers: &["mod"],
    },
];

#[test]
fn every_file_of_a_kind_is_in_its_list() {
    let mut broken = Vec::new();
    for registry in REGISTRIES {
        let list = read(registry.list);
        for file in files(registry.folder, ".rs") {
            let name = Path::new(&file.path)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            let entry = (registry.entry)(&name);
            if !registry.helpers.contains(&name.as_ref()) && !list.contains(&entry) {
                broken.push(format!(
                    "{}: {entry} is missing in {}",
                    file.path, registry.list
                ));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_drop_reason_is_produced_by_a_test() {
    let verdict = read("crates/director/src/verdict.rs");
    let variants = variants_of(&verdict, "pub enum DropReason");
    assert!(
        !variants.is_empty(),
        "crates/director/src/verdict.rs has no enum DropReason"
    );
    let tested: BTreeSet<String> = files("crates/director", ".rs")
        .iter()
        .flat_map(|file| test_code(&file.path, &file.text))
        .flat_map(|line| {
            line.split("DropReason::")
                .skip(1)
                .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric()).collect())
                .collect::<Vec<String>>()
        })
        .collect();
    let broken: Vec<String> = variants
        .iter()
        .filter(|variant| !tested.contains(*variant))
        .map(|variant| format!("DropReason::{variant}: no test produces it"))
        .collect();
    assert_none(&broken);
}

/// The names of an enum's variants.
fn variants_of(text: &str, declaration: &str) -> Vec<String> {
    let Some((_, body)) = text.split_once(declaration) else {
        return Vec::new();
    };
    body.lines()
        .skip(1)
        .take_while(|line| *line != "}")
        .map(str::trim)
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect())
        .collect()
}

/// The lines of a file that only tests compile.
fn test_code<'text>(path: &str, text: &'text str) -> Vec<&'text str> {
    let whole = path.contains("/tests/") || path.ends_with("/tests.rs");
    let skipped = if whole {
        0
    } else {
        text.lines()
            .take_while(|line| line.trim() != "#[cfg(test)]")
            .count()
    };
    text.lines().skip(skipped).collect()
}
