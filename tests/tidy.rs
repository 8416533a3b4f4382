//! The repository's own rules, checked as a test: who may depend on whom, what every source file begins
//! with, how long it may be, what may not be left in it, and that lists kept by hand are complete.
//!
//! Reads the files of this repository and nothing else. A rule that is broken names the file and says
//! what to do.

mod tidy {
    //! One file a family of rules.
    pub(crate) mod behaviours;
    pub(crate) mod crates;
    pub(crate) mod registries;
    pub(crate) mod source;
    pub(crate) mod texts;
}

use std::path::{Path, PathBuf};

/// A text file of the repository.
#[derive(Debug)]
struct SourceFile {
    /// Path from the top of the repository.
    path: String,
    text: String,
}

/// The top of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` (from the top) whose name ends in `ending`, sorted by path.
fn files(folder: &str, ending: &str) -> Vec<SourceFile> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the repository can be read").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                let text = std::fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let path = path
                    .strip_prefix(root())
                    .expect("it was found below the top");
                found.push(SourceFile {
                    path: path.to_string_lossy().into_owned(),
                    text,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The text of one file, which must exist.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path} must exist and be readable: {error}"))
}

/// Every Rust file of the project.
fn rust_files() -> Vec<SourceFile> {
    let mut all = Vec::new();
    for folder in ["benches", "crates", "fuzz", "src", "tests"] {
        all.extend(files(folder, ".rs"));
    }
    all
}

/// Panics with every broken rule, one a line.
fn assert_none(broken: &[String]) {
    assert!(
        broken.is_empty(),
        "{} broken:\n{}",
        broken.len(),
        broken.join("\n")
    );
}
