//! Results as tables for a terminal: a row for each scheduler, a column for each metric that applies.

use std::fmt::Write as _;

use crate::compare::differ;
use crate::number;
use crate::results::{Better, Estimate, METRICS, Metric, Results, ScenarioResults};

/// Between columns.
const GAP: &str = "  ";

/// How a value stands among those of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// None is better.
    Best,
    /// Its interval meets that of the best.
    NotTold,
    /// The rest, and all values of a metric in which none is better.
    Rest,
}

impl Standing {
    const fn mark(self) -> &'static str {
        match self {
            Self::Best => "•",
            Self::NotTold => "◦",
            Self::Rest => " ",
        }
    }
}

/// How the values of a column stand; where all are the same, none is best.
pub(crate) fn standings(metric: &Metric, values: &[Option<Estimate>]) -> Vec<Standing> {
    let ordered = |a: &Estimate, b: &Estimate| match metric.better {
        Better::More => b.mean.total_cmp(&a.mean),
        _ => a.mean.total_cmp(&b.mean),
    };
    let present = values.iter().flatten().copied();
    let best = present.clone().min_by(ordered);
    let worst = present.max_by(ordered);
    let (Some(best), Some(worst)) = (best, worst) else {
        return vec![Standing::Rest; values.len()];
    };
    let is_plain = metric.better == Better::Neither || best.mean.total_cmp(&worst.mean).is_eq();
    let standing = |value: &Option<Estimate>| match value {
        Some(value) if !is_plain && value.mean.total_cmp(&best.mean).is_eq() => Standing::Best,
        Some(value) if !is_plain && !differ(value, &best) => Standing::NotTold,
        _ => Standing::Rest,
    };
    values.iter().map(standing).collect()
}

/// The metrics that at least one scheduler of a scenario has, in the order of [`METRICS`].
pub(crate) fn applying(scenario: &ScenarioResults) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(|metric| {
        let mut all = scenario.schedulers.iter();
        all.any(|one| one.metrics.contains_key(metric.name))
    })
}

/// A column's values, in the order of the scenario's schedulers.
pub(crate) fn column(scenario: &ScenarioResults, metric: &Metric) -> Vec<Option<Estimate>> {
    let of = |one: &crate::results::SchedulerResults| one.metrics.get(metric.name).copied();
    scenario.schedulers.iter().map(of).collect()
}

/// `load 0.9`, where the scenario is a point of a sweep.
pub(crate) fn point(scenario: &ScenarioResults) -> Option<String> {
    let point = scenario.point.as_ref()?;
    Some(format!("{} {}", point.axis, number::brief(point.value)))
}

/// Lines of one column, the heading's two first; all are equally wide.
fn cells(scenario: &ScenarioResults, metric: &Metric) -> Vec<String> {
    let values = column(scenario, metric);
    let means = values.iter().flatten().map(|value| value.mean);
    let (factor, unit) = number::unit(metric.unit, means);
    let mut parts = Vec::new();
    for (value, standing) in values.iter().zip(standings(metric, &values)) {
        parts.push(match value {
            Some(value) => {
                let (mean, half) = number::estimate(value, factor);
                let half = half.map_or_else(String::new, |half| format!(" {half}"));
                (format!("{} {mean}", standing.mark()), half)
            }
            None => ("-".to_owned(), String::new()),
        });
    }
    let width = |text: &str| text.chars().count();
    let left = parts.iter().map(|(mean, _)| width(mean)).max().unwrap_or(0);
    let right = parts.iter().map(|(_, half)| width(half)).max().unwrap_or(0);
    let whole = (left + right).max(width(metric.title)).max(width(unit));
    let mut lines = vec![
        format!("{:>whole$}", metric.title),
        format!("{unit:>whole$}"),
    ];
    for (mean, half) in parts {
        let cell = format!("{mean:>left$}{half:<right$}");
        lines.push(format!("{cell:>whole$}"));
    }
    lines
}

/// The table of a scenario, in as many blocks as the width needs.
fn scenario(text: &mut String, scenario: &ScenarioResults, repeats: u32, width: usize) {
    let at = point(scenario).map_or_else(String::new, |point| format!(", {point}"));
    let _ = writeln!(text, "{}{at}: {}", scenario.name, scenario.summary);
    let _ = writeln!(
        text,
        "{} real servers, {} events, {}",
        scenario.servers.len(),
        scenario.marks.len(),
        if repeats < 2 {
            "one repeat, which has no interval; • best of it".to_owned()
        } else {
            format!(
                "mean ± half of the 95 % interval of {repeats} repeats; • best, ◦ not told apart from it"
            )
        }
    );
    let names = scenario.schedulers.iter().map(|one| one.name.as_str());
    let names: Vec<&str> = ["scheduler", ""].into_iter().chain(names).collect();
    let first = names.iter().map(|name| name.chars().count()).max();
    let first = first.unwrap_or(0);
    let mut columns = applying(scenario)
        .map(|metric| cells(scenario, metric))
        .peekable();
    while columns.peek().is_some() {
        let mut lines: Vec<String> = names.iter().map(|name| format!("{name:<first$}")).collect();
        let mut taken = first;
        let mut is_first = true;
        while let Some(column) = columns.next_if(|column| {
            let more = GAP.len() + column.first().map_or(0, |line| line.chars().count());
            is_first || taken + more <= width
        }) {
            is_first = false;
            taken += GAP.len() + column.first().map_or(0, |line| line.chars().count());
            for (line, cell) in lines.iter_mut().zip(column) {
                line.push_str(GAP);
                line.push_str(&cell);
            }
        }
        text.push('\n');
        for (number, line) in lines.iter().enumerate() {
            // The line of units, where nothing has one.
            if number != 1 || !line.trim().is_empty() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    text.push('\n');
}

/// All tables; their rows are lines of at most `width` characters where a scheduler and one metric fit in that.
#[must_use]
pub fn text(results: &Results, width: usize) -> String {
    let mut text = String::new();
    for one in &results.scenarios {
        scenario(&mut text, one, results.repeats, width);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    /// The rows of a scenario's blocks: those that begin with a scheduler's name.
    fn rows(text: &str, scheduler: &str) -> Vec<String> {
        let begins = |line: &&str| line.starts_with(&format!("{scheduler} "));
        text.lines().filter(begins).map(str::to_owned).collect()
    }

    #[test]
    fn columns_line_up_and_fit() {
        let results = made_up::results(24);
        for width in [60, 80, 120, 400] {
            let text = text(&results, width);
            let blocks: Vec<&str> = text.split("\n\n").collect();
            assert!(blocks.len() > results.scenarios.len());
            for block in blocks.iter().filter(|block| block.contains("\nrr ")) {
                let lines: Vec<&str> = block.lines().filter(|line| line.contains('±')).collect();
                let places = |line: &str| -> Vec<usize> {
                    let signs = line.chars().enumerate().filter(|(_, c)| *c == '±');
                    signs.map(|(at, _)| at).collect()
                };
                let table = lines.iter().filter(|line| !line.contains("95 %"));
                for line in table {
                    assert_eq!(places(line), places(lines[lines.len() - 1]), "{block}");
                    assert!(line.chars().count() <= width, "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn the_best_is_marked_and_so_is_what_cannot_be_told_apart() {
        let mut results = made_up::results(3);
        results.scenarios.truncate(1);
        let schedulers = &mut results.scenarios[0].schedulers;
        for (scheduler, mean) in schedulers.iter_mut().zip([0.020, 0.021, 0.030]) {
            let estimate = Estimate {
                mean,
                half: Some(0.001),
                least: mean,
                most: mean,
            };
            let none = Estimate {
                half: Some(0.0),
                ..Estimate::default()
            };
            scheduler.metrics = [
                ("sojourn_p99".to_owned(), estimate),
                ("refused".to_owned(), none),
            ]
            .into();
        }
        let text = text(&results, 100);
        assert_eq!(rows(&text, "rr"), ["rr         • 20.0 ± 1.0    0 ± 0"]);
        assert_eq!(rows(&text, "wrr"), ["wrr        ◦ 21.0 ± 1.0    0 ± 0"]);
        assert_eq!(rows(&text, "lc"), ["lc           30.0 ± 1.0    0 ± 0"]);
        assert!(text.contains("sojourn p99"), "{text}");
    }

    /// A `± 0` would say that another repeat gives the same again.
    #[test]
    fn one_repeat_has_no_interval() {
        let text = text(&made_up::once(2), 100);
        assert!(!text.contains(['±', '◦']), "{text}");
        assert!(
            text.contains(
                "16 real servers, 0 events, one repeat, which has no interval; • best of it\n"
            ),
            "{text}"
        );
        assert!(
            rows(&text, "rr")[0].starts_with("rr              • 4.00       • 20.0"),
            "{text}"
        );
    }

    #[test]
    fn more_is_better_where_the_metric_says_so() {
        let of = |mean| {
            Some(Estimate {
                mean,
                ..Estimate::default()
            })
        };
        let metric = crate::results::find("connections_jain").expect("it is a metric");
        let standings = standings(metric, &[of(0.5), None, of(0.9)]);
        assert_eq!(standings[2], Standing::Best);
        assert_eq!(standings[0], Standing::Rest);
    }
}
