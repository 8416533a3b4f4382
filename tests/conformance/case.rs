//! One recording replayed, and what came of it; many of them side by side.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::replay::{self, Findings};
use crate::workers::How;
use crate::{mask, recording};

/// How one case ended.
pub(crate) struct Outcome {
    /// `TOPIC.CASE`.
    pub(crate) name: String,
    /// Differences, or why the case could not run.
    pub(crate) result: Result<Findings, String>,
}

impl Outcome {
    /// Whether it ran and nothing differs.
    pub(crate) fn passed(&self) -> bool {
        self.result
            .as_ref()
            .is_ok_and(|findings| findings.differences.is_empty())
    }

    /// What to say of it: one line, and for a failing case the first difference, or all of them.
    pub(crate) fn lines(&self, note: &str, all: bool) -> Vec<String> {
        let name = &self.name;
        let findings = match &self.result {
            Ok(findings) if findings.differences.is_empty() => {
                return vec![format!("ok   {name}{note}")];
            }
            Err(sentence) => return vec![format!("FAIL {name}{note}: {sentence}")],
            Ok(findings) => findings,
        };
        let differences = &findings.differences;
        let count = if all { differences.len() } else { 1 };
        let mut lines = vec![format!(
            "FAIL {name}{note}: {} differences, the first:",
            differences.len()
        )];
        for difference in differences.iter().take(count) {
            lines.push(format!("  line {}: {}", difference.line, difference.what));
            lines.extend(difference.detail.lines().map(|line| format!("    {line}")));
        }
        lines
    }
}

/// Runs every recording, on all processors; outcomes in the order of their names.
pub(crate) fn run_all(paths: &[PathBuf], how: How) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(paths.len()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(paths.len()) {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(path, how);
                    if let Ok(mut list) = outcomes.lock() {
                        list.push(outcome);
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by(|left: &Outcome, right| left.name.cmp(&right.name));
    outcomes
}

/// Runs one recording; a panic of the code under test is a difference like any other.
fn run(path: &Path, how: How) -> Outcome {
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let recording = recording::read(path)?;
        let volatile = mask::volatile(&recording.folder)?;
        let masks = mask::masks(&recording, &volatile);
        replay::run(&recording, &masks, how)
    }));
    Outcome {
        name,
        result: result.unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(&*panic)))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}
