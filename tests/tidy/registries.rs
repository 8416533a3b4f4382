//! Lists kept by hand are complete: whatever has a file is in its folder's list, and every drop reason is in the one
//! that a test goes through.

use std::path::Path;

use crate::{assert_none, files, read};

/// A folder of files of one kind: each holds one constant, and its folder's list names them all.
struct Registry {
    folder: &'static str,
    constant: &'static str,
}

const REGISTRIES: [Registry; 2] = [
    Registry {
        folder: "crates/director/src/scheduler",
        constant: "ENTRY",
    },
    Registry {
        folder: "crates/director/src/forward",
        constant: "METHOD",
    },
];

#[test]
fn every_file_of_a_kind_is_in_its_list() {
    let mut broken = Vec::new();
    for Registry { folder, constant } in REGISTRIES {
        let list = read(&format!("{folder}/mod.rs"));
        let mut entries = 0;
        for file in files(folder, ".rs") {
            let name = Path::new(&file.path)
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            let holds = file.text.contains(&format!("const {constant}: "));
            entries += usize::from(holds);
            if holds && !list.contains(&format!("&{name}::{constant}")) {
                broken.push(format!(
                    "{}: its {constant} is missing in the list",
                    file.path
                ));
            }
        }
        if entries == 0 {
            broken.push(format!("{folder}: no file holds a const {constant}"));
        }
    }
    assert_none(&broken);
}

#[test]
fn every_drop_reason_is_in_the_list_that_tests_go_through() {
    let verdict = read("crates/director/src/verdict.rs");
    let variants = variants_of(&verdict, "pub enum DropReason");
    assert!(
        !variants.is_empty(),
        "crates/director/src/verdict.rs has no enum DropReason"
    );
    let list = verdict.split_once("pub const ALL").map(|(_, rest)| rest);
    let list = list.and_then(|rest| rest.split_once("];"));
    let list = list.map_or("", |(list, _)| list);
    let headers = read("crates/packet/src/headers.rs");
    let faults = variants_of(&headers, "pub enum Malformed").into_iter();
    // What is no IP is not dropped.
    let faults = faults.filter(|fault| fault != "NotIp");
    let faults = faults.map(|fault| format!("Malformed(Malformed::{fault})"));
    let reasons = variants.into_iter().filter(|reason| reason != "Malformed");
    let broken: Vec<String> = reasons
        .chain(faults)
        .filter(|variant| !list.contains(&format!("Self::{variant},")))
        .map(|variant| format!("DropReason::{variant} is missing in DropReason::ALL"))
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
