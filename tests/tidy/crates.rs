//! Who may depend on whom, and where unsafe code may be.

use crate::{assert_none, files, read, root};

/// Each crate of the workspace and the crates of the workspace it may use, as ARCHITECTURE.md
/// draws them. `packet` may use nothing of ours, `director` only `packet`, and so on up.
const EDGES: [(&str, &[&str]); 9] = [
    ("packet", &[]),
    ("director", &["packet"]),
    ("link", &["packet"]),
    ("control", &["packet", "director"]),
    ("cli", &["packet", "director", "control"]),
    (
        "runtime",
        &["packet", "director", "link", "control", "baselines"],
    ),
    ("baselines", &["director"]),
    (
        "lab",
        &["packet", "director", "link", "control", "baselines"],
    ),
    (
        "replay",
        &["packet", "director", "link", "control", "cli", "baselines"],
    ),
];

/// The one crate that may contain unsafe code, and the folder in it.
const UNSAFE_FOLDER: &str = "crates/link/src/sys";

#[test]
fn dependency_edges_are_those_drawn() {
    let mut broken = Vec::new();
    let folders = std::fs::read_dir(root().join("crates")).expect("crates/ exists");
    for folder in folders {
        let name = folder
            .expect("crates/ is readable")
            .file_name()
            .to_string_lossy()
            .into_owned();
        let Some((_, allowed)) = EDGES.iter().find(|(crate_name, _)| *crate_name == name) else {
            broken.push(format!(
                "crates/{name}: not in EDGES of tests/tidy/crates.rs"
            ));
            continue;
        };
        let manifest: toml::Table = read(&format!("crates/{name}/Cargo.toml"))
            .parse()
            .expect("a manifest is TOML");
        for section in ["dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for used in table.keys() {
                let ours = EDGES.iter().any(|(crate_name, _)| crate_name == used);
                if ours && !allowed.contains(&used.as_str()) {
                    broken.push(format!("crates/{name} may not use {used}"));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_package_is_listed_with_its_reason() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("a manifest is TOML");
    let used = manifest["workspace"]["dependencies"]
        .as_table()
        .expect("the workspace names its dependencies");
    let shape = read("ARCHITECTURE.md");
    let (_, listed) = shape
        .split_once("\n## Packages\n")
        .expect("ARCHITECTURE.md lists packages");
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|names| names.split(", "))
        .collect();
    let broken: Vec<String> = used
        .iter()
        .filter(|(_, source)| source.get("path").is_none())
        .filter(|(name, _)| !names.iter().any(|listed| is_package(listed, name)))
        .map(|(name, _)| format!("{name}: ARCHITECTURE.md does not list the package"))
        .collect();
    assert_none(&broken);
}

/// Whether the name that is `listed` means the package `name`: `pnet` stands for its parts.
fn is_package(listed: &str, name: &str) -> bool {
    name.strip_prefix(listed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

#[test]
fn unsafe_code_is_in_one_folder_and_argued() {
    let mut broken = Vec::new();
    for (name, _) in EDGES {
        let library = format!("crates/{name}/src/lib.rs");
        if name != "link" && !read(&library).contains("#![forbid(unsafe_code)]") {
            broken.push(format!(
                "{library}: must begin with #![forbid(unsafe_code)]"
            ));
        }
    }
    for file in files("crates", ".rs")
        .into_iter()
        .chain(files("src", ".rs"))
    {
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let opens = code.contains("unsafe {") || code.contains("unsafe impl");
            if !opens && !code.contains("unsafe fn") {
                continue;
            }
            let place = format!("{}:{}", file.path, index + 1);
            if !file.path.starts_with(UNSAFE_FOLDER) {
                broken.push(format!("{place}: unsafe code belongs in {UNSAFE_FOLDER}"));
            } else if opens && !argued(&lines, index) {
                broken.push(format!(
                    "{place}: needs a // SAFETY: comment directly above"
                ));
            }
        }
    }
    assert_none(&broken);
}

/// Whether the comment or statement that ends at the line before `index` holds `SAFETY:`.
fn argued(lines: &[&str], index: usize) -> bool {
    lines[..=index]
        .iter()
        .rev()
        .take(12)
        .take_while(|line| !line.trim().is_empty())
        .any(|line| line.contains("SAFETY:"))
}
