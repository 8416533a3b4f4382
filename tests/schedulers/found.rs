//! What the lab found, by the words of the list: scenario, metric and scheduler.

use lab::results::{Estimate, Results, ScenarioResults, SchedulerResults};

/// A value as the document says it.
///
/// Scenario: its name, with the value of a sweep behind it (`load 0.95`), or `all`. Metric: one of `ulvs lab list`,
/// `± METRIC` for half of its interval, `connections of N` for those of the N-th real server. Of `all`: `scenarios`,
/// `points`, `connections` (of all repeats, in millions), `repeats`, and nothing as scheduler.
pub(crate) fn text(
    results: &Results,
    scenario: &str,
    metric: &str,
    scheduler: &str,
) -> Result<String, String> {
    if scenario == "all" {
        return of_all(results, metric);
    }
    let row = row(results, scenario, scheduler)?;
    if let Some(number) = metric.strip_prefix("connections of ") {
        let number: Option<usize> = number.parse().ok();
        let share = number.and_then(|number| row.per_server.get(number.checked_sub(1)?));
        let share = share.ok_or_else(|| format!("{scenario} has no such server: {metric}"))?;
        return Ok(whole(share.connections));
    }
    let (name, is_half) = match metric.strip_prefix("± ") {
        Some(name) => (name, true),
        None => (metric, false),
    };
    let value = value(row, scenario, name)?;
    let number = if is_half {
        let none = || format!("{scenario} has no interval of {name}: one repeat has none");
        value.half.ok_or_else(none)?
    } else {
        value.mean
    };
    Ok(said(name, number))
}

/// What a metric is for a scheduler.
pub(crate) fn estimate(
    results: &Results,
    scenario: &str,
    metric: &str,
    scheduler: &str,
) -> Result<Estimate, String> {
    value(row(results, scenario, scheduler)?, scenario, metric)
}

fn value(row: &SchedulerResults, scenario: &str, metric: &str) -> Result<Estimate, String> {
    let found = row.metrics.get(metric).copied();
    found.ok_or_else(|| format!("{scenario} has no {metric} of {}", row.name))
}

/// A scenario's name, with its point of a sweep.
fn named(scenario: &ScenarioResults) -> String {
    let point = scenario.point.as_ref();
    let at = point.map_or_else(String::new, |point| format!(" {}", point.value));
    format!("{}{at}", scenario.name)
}

fn row<'a>(
    results: &'a Results,
    scenario: &str,
    scheduler: &str,
) -> Result<&'a SchedulerResults, String> {
    let found = results.scenarios.iter().find(|one| named(one) == scenario);
    let found = found.ok_or_else(|| format!("there is no scenario {scenario}"))?;
    let row = found.schedulers.iter().find(|row| row.name == scheduler);
    row.ok_or_else(|| format!("{scenario} has no scheduler {scheduler}"))
}

fn of_all(results: &Results, what: &str) -> Result<String, String> {
    let all = &results.scenarios;
    let mut names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    names.dedup();
    let rows = all.iter().flat_map(|one| &one.schedulers);
    let scheduled = rows.filter_map(|row| Some(row.metrics.get("connections")?.mean));
    let scheduled: f64 = scheduled.sum::<f64>() * f64::from(results.repeats);
    match what {
        "scenarios" => Ok(names.len().to_string()),
        "points" => Ok(all.len().to_string()),
        "schedulers" => Ok(all
            .first()
            .map_or(0, |one| one.schedulers.len())
            .to_string()),
        "connections" => Ok(format!("{:.0}", scheduled / 1e6)),
        _ => Err(format!("of all there is no {what}")),
    }
}

/// A value with three significant digits, and its unit.
fn said(metric: &str, value: f64) -> String {
    let unit = lab::results::find(metric).map_or("", |metric| metric.unit);
    let is_share = ["refused", "cache_hits", "disagreement"].contains(&metric);
    match unit {
        "s" if value < 1.0 => format!("{} ms", digits(value * 1e3)),
        "s" => format!("{} s", digits(value)),
        "connections" => whole(value),
        _ if is_share && value > 0.0 && value < 0.0995 => format!("{:.1} %", value * 100.0),
        _ if is_share => format!("{:.0} %", value * 100.0),
        _ if metric.ends_with("_max") => format!("{} times", digits(value)),
        _ => digits(value),
    }
}

fn digits(value: f64) -> String {
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// A whole number, with commas between thousands.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
