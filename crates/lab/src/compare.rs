//! What changed between two runs beyond what chance explains.
//!
//! Two values differ when their 95 % intervals do not meet. That is stricter than a test of one pair at 5 %, which
//! among the thousands of values of a whole run would call dozens changed that are not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::number;
use crate::results::{Better, Estimate, METRICS, Metric, Results, ScenarioResults};
use crate::table;

/// Whether the intervals of two estimates do not meet; one without an interval is taken as it stands.
pub(crate) fn differ(a: &Estimate, b: &Estimate) -> bool {
    (a.mean - b.mean).abs() > a.half.unwrap_or(0.0) + b.half.unwrap_or(0.0)
}

/// A value that changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Scenario, with its point of a sweep.
    pub scenario: String,
    /// Scheduler.
    pub scheduler: String,
    /// Of what.
    pub metric: &'static Metric,
    /// In the first run.
    pub before: Estimate,
    /// In the second.
    pub after: Estimate,
}

impl Change {
    /// Whether the second is better, where one can be.
    #[must_use]
    pub fn is_better(&self) -> Option<bool> {
        match self.metric.better {
            Better::Less => Some(self.after.mean < self.before.mean),
            Better::More => Some(self.after.mean > self.before.mean),
            Better::Neither => None,
        }
    }
}

/// What came of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Values beyond the interval, in the order of the first run.
    pub changes: Vec<Change>,
    /// Values that both runs have.
    pub compared: usize,
    /// Scenarios and schedulers that only the first run has.
    pub only_before: Vec<String>,
    /// And only the second.
    pub only_after: Vec<String>,
    /// Why the runs are not alike, a sentence each.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Whether nothing changed beyond the interval, and both have the same scenarios and schedulers.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.changes.is_empty() && self.only_before.is_empty() && self.only_after.is_empty()
    }
}

type Rows<'a> = BTreeMap<(String, &'a str), &'a BTreeMap<String, Estimate>>;

fn titled(scenario: &ScenarioResults) -> String {
    let point = table::point(scenario).map_or_else(String::new, |point| format!(", {point}"));
    format!("{}{point}", scenario.name)
}

fn rows(results: &Results) -> Rows<'_> {
    let mut rows = Rows::new();
    for scenario in &results.scenarios {
        for one in &scenario.schedulers {
            rows.insert((titled(scenario), &one.name), &one.metrics);
        }
    }
    rows
}

fn missing(of: &Rows<'_>, beside: &Rows<'_>) -> Vec<String> {
    let absent = of.keys().filter(|key| !beside.contains_key(*key));
    absent
        .map(|(scenario, scheduler)| format!("{scenario}: {scheduler}"))
        .collect()
}

/// Compares two runs.
#[must_use]
pub fn compare(before: &Results, after: &Results) -> Comparison {
    let (old, new) = (rows(before), rows(after));
    let mut found = Comparison {
        only_before: missing(&old, &new),
        only_after: missing(&new, &old),
        ..Comparison::default()
    };
    for (what, one, other) in [
        ("repeats", before.repeats.into(), after.repeats.into()),
        ("seed", before.seed, after.seed),
    ] {
        if one != other {
            found.notes.push(format!(
                "The first run has {what} {one}, the second {other}."
            ));
        }
    }
    if before.repeats < 2 || after.repeats < 2 {
        found.notes.push(
            "A run of one repeat has no interval: every difference counts; use --repeats.".into(),
        );
    }
    for scenario in &before.scenarios {
        for one in &scenario.schedulers {
            let Some(others) = new.get(&(titled(scenario), one.name.as_str())) else {
                continue;
            };
            for metric in METRICS {
                let pair = (one.metrics.get(metric.name), others.get(metric.name));
                let (Some(&before), Some(&after)) = pair else {
                    continue;
                };
                found.compared += 1;
                if differ(&before, &after) {
                    found.changes.push(Change {
                        scenario: titled(scenario),
                        scheduler: one.name.clone(),
                        metric,
                        before,
                        after,
                    });
                }
            }
        }
    }
    found
}

fn line(change: &Change) -> String {
    let means = [change.before.mean, change.after.mean];
    let (factor, unit) = number::unit(change.metric.unit, means.into_iter());
    let told = |one: &Estimate| {
        let (mean, half) = number::estimate(one, factor);
        half.map_or_else(|| mean.clone(), |half| format!("{mean} {half}"))
    };
    let relative = if change.before.mean == 0.0 {
        String::new()
    } else {
        let percent = 100.0 * (change.after.mean / change.before.mean - 1.0);
        format!(" ({percent:+.1} %)")
    };
    let judged = match change.is_better() {
        Some(true) => "better",
        Some(false) => "worse",
        None => "different",
    };
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    format!(
        "{}: {} -> {}{unit}{relative}, {judged}",
        change.metric.title,
        told(&change.before),
        told(&change.after)
    )
}

/// The comparison as text: a paragraph for each scenario, a line for each change.
#[must_use]
pub fn text(found: &Comparison) -> String {
    let mut text = String::new();
    for note in &found.notes {
        let _ = writeln!(text, "{note}");
    }
    let mut scenario = "";
    for change in &found.changes {
        if change.scenario != scenario {
            scenario = &change.scenario;
            let _ = writeln!(text, "{scenario}");
        }
        let _ = writeln!(text, "  {}: {}", change.scheduler, line(change));
    }
    for (which, list) in [("first", &found.only_before), ("second", &found.only_after)] {
        for one in list {
            let _ = writeln!(text, "Only in the {which} run: {one}");
        }
    }
    let count = |judged| {
        let all = found.changes.iter();
        all.filter(|change| change.is_better() == judged).count()
    };
    let _ = writeln!(
        text,
        "{} of {} values changed beyond the interval: {} better, {} worse, {} different.",
        found.changes.len(),
        found.compared,
        count(Some(true)),
        count(Some(false)),
        count(None)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    fn set(results: &mut Results, metric: &str, change: impl Fn(&mut Estimate)) {
        let metrics = &mut results.scenarios[0].schedulers[1].metrics;
        change(metrics.get_mut(metric).expect("it has that"));
    }

    #[test]
    fn a_run_is_as_itself() {
        let results = made_up::results(6);
        let found = compare(&results, &results);
        assert!(found.is_same());
        assert!(found.compared > 100);
        assert!(text(&found).starts_with("0 of "), "{}", text(&found));
    }

    #[test]
    fn changes_beyond_the_interval_are_told_and_judged() {
        let before = made_up::results(3);
        let mut after = before.clone();
        // Within the interval, beyond it for the better, for the worse, and neither.
        set(&mut after, "sojourn_p50", |one| {
            one.mean += one.half.unwrap_or(0.0)
        });
        set(&mut after, "sojourn_p99", |one| one.mean *= 0.5);
        set(&mut after, "connections_jain", |one| one.mean *= 0.5);
        set(&mut after, "connections", |one| one.mean *= 2.0);
        let found = compare(&before, &after);
        let told = text(&found);
        assert_eq!(found.changes.len(), 3, "{told}");
        assert!(told.starts_with("steady\n  wrr: sojourn p99: "), "{told}");
        assert!(told.contains(" (-50.0 %), better\n"), "{told}");
        assert!(told.contains("connections Jain: 0.800 ± 0.020 -> 0.400 ± 0.020 (-50.0 %), worse"));
        assert!(told.contains("(+100.0 %), different\n"), "{told}");
        assert!(told.ends_with("beyond the interval: 1 better, 1 worse, 1 different.\n"));
    }

    #[test]
    fn without_intervals_every_difference_counts() {
        let before = made_up::once(3);
        let mut after = before.clone();
        assert!(compare(&before, &after).is_same());
        set(&mut after, "sojourn_p99", |one| one.mean *= 1.001);
        let told = text(&compare(&before, &after));
        assert!(
            told.starts_with("A run of one repeat has no interval: every difference counts"),
            "{told}"
        );
        assert!(
            told.contains("wrr: sojourn p99: 31.2 -> 31.3 ms (+0.1 %), worse\n"),
            "{told}"
        );
        assert!(!told.contains('±'), "{told}");
    }

    #[test]
    fn what_only_one_run_has_is_told() {
        let before = made_up::results(3);
        let mut after = made_up::results(4);
        after.scenarios.remove(1);
        after.seed = 2;
        let found = compare(&before, &after);
        assert!(!found.is_same());
        let told = text(&found);
        assert!(told.contains("Only in the first run: rolling-update: wrr\n"));
        assert!(told.contains("Only in the second run: load-sweep, load 0.9: wlc\n"));
        assert!(told.contains("The first run has seed 1, the second 2."));
    }
}
