//! The document against what the lab found: what differs, and how it must read.

use lab::results::Results;

use crate::document::{self, Number};
use crate::figures::{Bound, Claim, Figures};
use crate::found;

/// What came of a look at the document.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What nobody but a writer can mend: a number that is not bound, a claim that does not hold.
    pub(crate) faults: Vec<String>,
    /// Numbers that read otherwise now.
    pub(crate) changes: Vec<Change>,
    /// Claims that hold, and whose intervals do not meet.
    pub(crate) sure: usize,
    /// Claims that hold in the mean only.
    pub(crate) unsure: Vec<String>,
    /// Numbers that are bound.
    pub(crate) bound: usize,
}

/// A number that must read otherwise.
#[derive(Debug)]
pub(crate) struct Change {
    /// Where it stands in the document.
    pub(crate) number: Number,
    /// As it stands in the list.
    pub(crate) listed: Bound,
    /// What the lab found.
    pub(crate) now: String,
}

impl Change {
    /// A sentence about it.
    pub(crate) fn told(&self) -> String {
        let Bound(listed, scenario, metric, scheduler) = &self.listed;
        let Number { line, text, .. } = &self.number;
        let beside = if listed == text {
            String::new()
        } else {
            format!(" (the list has {listed})")
        };
        format!(
            "line {line}: {text}{beside} is {} now: {scenario}, {metric}, {scheduler}",
            self.now
        )
    }
}

/// Looks at the document.
pub(crate) fn check(text: &str, figures: &Figures, results: &Results) -> Outcome {
    let mut outcome = Outcome::default();
    let numbers = findings(text, figures, &mut outcome);
    let mut titles: Vec<&str> = numbers
        .iter()
        .map(|number| number.section.as_str())
        .collect();
    titles.dedup();
    for title in &titles {
        if !figures
            .section
            .iter()
            .any(|section| section.title == **title)
        {
            outcome.faults.push(format!(
                "figures.toml has no section \"{title}\", which has numbers"
            ));
        }
    }
    for section in &figures.section {
        let of_it = numbers
            .iter()
            .filter(|number| number.section == section.title);
        let of_it: Vec<&Number> = of_it.collect();
        bind(
            &of_it,
            &section.numbers,
            &section.title,
            results,
            &mut outcome,
        );
        for claim in &section.claims {
            judge(claim, results, &mut outcome);
        }
    }
    outcome
}

/// The document's numbers but for those that are given.
fn findings(text: &str, figures: &Figures, outcome: &mut Outcome) -> Vec<Number> {
    let mut given = Vec::new();
    for phrase in &figures.given {
        let places = document::places(text, phrase);
        if places.is_empty() {
            outcome.faults.push(format!(
                "given: \"{phrase}\" is not in the document: take it away"
            ));
        }
        given.extend(places);
    }
    let is_given = |number: &Number| {
        let (from, until) = number.place;
        given
            .iter()
            .any(|(start, end)| *start <= from && until <= *end)
    };
    let mut numbers = document::numbers(text);
    numbers.retain(|number| !is_given(number));
    numbers
}

/// Numbers of a section beside those of the list.
fn bind(
    numbers: &[&Number],
    listed: &[Bound],
    title: &str,
    results: &Results,
    outcome: &mut Outcome,
) {
    // Where there is one more or less, the first that differ say where.
    let is_whole = numbers.len() == listed.len();
    for (at, number) in numbers.iter().enumerate() {
        let Some(bound) = listed.get(at) else {
            let Number { line, text, .. } = number;
            outcome.faults.push(format!(
                "line {line}: {text} is bound to nothing: say in figures.toml what it is"
            ));
            continue;
        };
        let now = match found::text(results, &bound.1, &bound.2, &bound.3) {
            Ok(now) => now,
            Err(reason) => {
                outcome
                    .faults
                    .push(format!("line {}: {}: {reason}", number.line, number.text));
                continue;
            }
        };
        if !is_whole && number.text != bound.0 && number.text != now {
            outcome.faults.push(format!(
                "line {}: {} stands where figures.toml has {}: {}, {}, {}",
                number.line, number.text, bound.0, bound.1, bound.2, bound.3
            ));
            return;
        }
        outcome.bound += 1;
        if number.text != now || bound.0 != now {
            outcome.changes.push(Change {
                number: (*number).clone(),
                listed: bound.clone(),
                now,
            });
        }
    }
    for bound in listed.iter().skip(numbers.len()) {
        outcome.faults.push(format!(
            "figures.toml: \"{title}\" has no number {} any more",
            bound.0
        ));
    }
}

/// Whether what is said of two schedulers holds.
fn judge(claim: &Claim, results: &Results, outcome: &mut Outcome) {
    let Claim(said, scenario, metric) = claim;
    let told = format!("{said} in {metric} of {scenario}");
    let (first, sign, second) = match (said.split_once(" < "), said.split_once(" = ")) {
        (Some((first, second)), _) => (first, '<', second),
        (_, Some((first, second))) => (first, '=', second),
        _ => {
            outcome.faults.push(format!("{told}: write A < B or A = B"));
            return;
        }
    };
    let of = |scheduler| found::estimate(results, scenario, metric, scheduler);
    let (first, second) = match (of(first), of(second)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(reason), _) | (_, Err(reason)) => {
            outcome.faults.push(format!("{told}: {reason}"));
            return;
        }
    };
    let (Some(half), Some(other)) = (first.half, second.half) else {
        outcome
            .faults
            .push(format!("{told}: one repeat has no interval"));
        return;
    };
    let values = format!(
        "{told}: {:.4} ± {half:.4} and {:.4} ± {other:.4}",
        first.mean, second.mean
    );
    let apart = (first.mean - second.mean).abs() > half + other;
    match sign {
        '=' if apart => outcome.faults.push(format!("does not hold: {values}")),
        '<' if first.mean >= second.mean => outcome.faults.push(format!("does not hold: {values}")),
        '<' if !apart => outcome.unsure.push(values),
        _ => outcome.sure += 1,
    }
}

/// The document with the numbers as they must read.
pub(crate) fn mended(text: &str, changes: &[Change]) -> String {
    let mut mended = text.to_owned();
    for change in changes.iter().rev() {
        let (from, until) = change.number.place;
        let breaks = text.get(from..until).is_some_and(|old| old.contains('\n'));
        let now = if breaks {
            change.now.replace(' ', "\n")
        } else {
            change.now.clone()
        };
        mended.replace_range(from..until, &now);
    }
    mended
}

/// The list with the numbers as they must read.
pub(crate) fn listed(list: &str, changes: &[Change]) -> String {
    let mut mended = list.to_owned();
    for Change { listed, now, .. } in changes {
        let Bound(old, scenario, metric, scheduler) = listed;
        let rest = format!("\", \"{scenario}\", \"{metric}\", \"{scheduler}\"]");
        mended = mended.replace(&format!("[\"{old}{rest}"), &format!("[\"{now}{rest}"));
    }
    mended
}
