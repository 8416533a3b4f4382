//! What a page says of a scenario in words.

use super::titled;
use crate::number;
use crate::results::{Estimate, ScenarioResults};

/// The events, in one line.
pub(super) fn events(scenario: &ScenarioResults) -> String {
    let numbered = (1..).zip(&scenario.marks);
    let told = numbered.map(|(number, mark)| {
        let (at, label) = (number::brief(mark.at), &mark.label);
        let number: u32 = number;
        format!("{number}: {at} s {label}")
    });
    told.collect::<Vec<String>>().join("; ")
}

/// One sentence on who was best and worst at what matters most.
pub(super) fn finding(scenario: &ScenarioResults) -> Option<String> {
    let metric = crate::results::find("sojourn_p99")?;
    let with = scenario
        .schedulers
        .iter()
        .filter_map(|one| Some((one.name.as_str(), *one.metrics.get(metric.name)?)));
    let best = with.clone().min_by(|a, b| a.1.mean.total_cmp(&b.1.mean))?;
    let worst = with.clone().max_by(|a, b| a.1.mean.total_cmp(&b.1.mean))?;
    if !crate::compare::differ(&best.1, &worst.1) {
        return Some(format!(
            "{}: no scheduler can be told from another by its 99th percentile of sojourn time.",
            titled(scenario)
        ));
    }
    let close: Vec<&str> = with
        .filter(|(name, value)| *name != best.0 && !crate::compare::differ(value, &best.1))
        .map(|(name, _)| name)
        .collect();
    let told = |(name, value): (&str, Estimate)| {
        let (factor, unit) = number::unit(metric.unit, [value.mean].into_iter());
        format!("{name} with {} {unit}", number::brief(value.mean * factor))
    };
    let close = if close.is_empty() {
        String::new()
    } else {
        format!(" (not told apart from it: {})", close.join(", "))
    };
    Some(format!(
        "Shortest 99th percentile of sojourn time: {}{close}; longest: {}.",
        told(best),
        told(worst)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_the_worst_and_who_is_not_told_apart_are_named() {
        let mut results = crate::made_up::results(4);
        let told = |results: &crate::results::Results| finding(&results.scenarios[0]);
        // Each is worse than the one before it.
        let expected =
            "Shortest 99th percentile of sojourn time: rr with 20 ms; longest: wlc with 61.3 ms.";
        assert_eq!(told(&results).as_deref(), Some(expected));
        let schedulers = &mut results.scenarios[0].schedulers;
        for one in &mut *schedulers {
            let p99 = one.metrics.get_mut("sojourn_p99").expect("it has that");
            p99.half = Some(if one.name == "wrr" { 0.03 } else { 0.0 });
        }
        let found = told(&results).expect("there is one");
        assert!(found.contains("rr with 20 ms (not told apart from it: wrr); longest"));
        for one in &mut results.scenarios[0].schedulers {
            let p99 = one.metrics.get_mut("sojourn_p99").expect("it has that");
            p99.half = Some(0.03);
        }
        let found = told(&results).expect("there is one");
        assert!(
            found.contains("no scheduler can be told from another"),
            "{found}"
        );
    }
}
