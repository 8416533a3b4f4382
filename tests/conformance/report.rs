//! What the runner prints: a line a case, differences, the table by topic, the last line.

use std::collections::BTreeMap;

use crate::case::Outcome;
use crate::expected::{Demand, Expected};
use crate::recording::topic_of;

/// All outcomes and what was asked of them.
pub(crate) struct Report<'a> {
    /// In the order to print.
    pub(crate) outcomes: &'a [Outcome],
    /// `expected.toml`.
    pub(crate) expected: &'a Expected,
    /// Print every difference, not only the first.
    pub(crate) verbose: bool,
    /// Every case of the project's own recordings ran: each line of the list must match one.
    pub(crate) list_is_whole: bool,
}

/// Counts of one topic.
#[derive(Default)]
struct Row {
    passed: usize,
    failed: usize,
    expected: usize,
}

impl Report<'_> {
    /// Prints everything; whether all required cases pass and the list is true.
    pub(crate) fn print(&self) -> bool {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        let mut complaints = Vec::new();
        let mut missing = Vec::new();
        for outcome in self.outcomes {
            let topic = topic_of(&outcome.name);
            let row = rows.entry(topic).or_default();
            let demand = self.expected.demand(&outcome.name);
            self.case(outcome, demand);
            match (outcome.passed(), demand) {
                (true, Demand::Differs) => {
                    row.passed += 1;
                    complaints.push(format!(
                        "{} is listed as an expected difference, but passes: take it off the list",
                        outcome.name
                    ));
                }
                (true, _) => row.passed += 1,
                (false, Demand::Differs) => {
                    row.failed += 1;
                    row.expected += 1;
                }
                (false, Demand::Required) => {
                    row.failed += 1;
                    missing.push(outcome.name.as_str());
                }
            }
        }
        if self.list_is_whole {
            complaints.extend(self.stale());
        }
        if !missing.is_empty() {
            complaints.push(format!(
                "{} required cases fail: {}",
                missing.len(),
                missing.join(" ")
            ));
        }
        self.table(&rows);
        for complaint in &complaints {
            println!("error: {complaint}");
        }
        let passed: usize = rows.values().map(|row| row.passed).sum();
        let failed: usize = rows.values().map(|row| row.failed).sum();
        println!("{passed} passed, {failed} failed");
        complaints.is_empty()
    }

    /// One case's lines.
    fn case(&self, outcome: &Outcome, demand: Demand) {
        let note = match demand {
            Demand::Required => "",
            Demand::Differs => " (expected difference)",
        };
        for line in outcome.lines(note, self.verbose) {
            println!("{line}");
        }
    }

    /// Lines of the list that match no case.
    fn stale(&self) -> Vec<String> {
        let cases = self.expected.case.iter().filter(|line| {
            !self
                .outcomes
                .iter()
                .any(|outcome| line.matches(&outcome.name))
        });
        cases
            .map(|line| format!("expected.toml names {}, which no recording has", line.name))
            .collect()
    }

    fn table(&self, rows: &BTreeMap<&str, Row>) {
        println!();
        println!("topic            passed  failed  (of these expected)");
        for (topic, row) in rows {
            println!(
                "{topic:<16} {:>6}  {:>6}  {:>6}",
                row.passed, row.failed, row.expected
            );
        }
    }
}
