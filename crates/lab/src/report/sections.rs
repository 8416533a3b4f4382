//! Which figures a scenario, a sweep and the costs have.

use std::collections::BTreeMap;

use super::axis::{Axis, Scale};
use super::figure::Figure;
use super::plot::{Line, Mark};
use crate::number;
use crate::results::{Cost, Metric, ScenarioResults, SchedulerResults};
use crate::statistics::float;

/// What is drawn against what is swept; a metric that the sweep does not have is left out.
const SWEEPS: [(&str, &[&str]); 4] = [
    ("load", &["sojourn_p99", "slowdown_p99"]),
    ("removed", &["remapped", "broken"]),
    (
        "directors",
        &["connections_max", "disagreement", "broken", "sojourn_p99"],
    ),
    ("", &["sojourn_p99", "connections_max"]),
];

/// Shares below this are left out of distributions: the few quickest would take half of a logarithmic axis.
const LEAST: f64 = 0.005;
/// Parts of a run whose means are drawn over time.
const PARTS: u32 = 60;

/// Values further apart than this are drawn by their logarithm.
const FAR: f64 = 30.0;
/// Lines of which a few may be beyond the end of the axis, and how many times as far as the third quartile they are then.
const MANY: usize = 6;
const BEYOND: f64 = 8.0;

fn plain(name: &str, points: Vec<(f64, f64)>) -> Line<'_> {
    Line {
        name,
        points,
        halves: Vec::new(),
    }
}

fn xs<'a>(lines: &'a [Line<'_>]) -> impl Iterator<Item = f64> + Clone + 'a {
    lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.0))
}

fn ys<'a>(lines: &'a [Line<'_>]) -> impl Iterator<Item = f64> + Clone + 'a {
    lines
        .iter()
        .flat_map(|line| line.points.iter().map(|point| point.1))
}

/// The end of an axis that most lines fit on, where a few are so far away that all others would lie on each other; and
/// a sentence about those.
fn end(lines: &[Line<'_>], of: fn(&(f64, f64)) -> f64) -> (f64, String) {
    let most = |line: &Line<'_>| line.points.iter().map(of).fold(0.0, f64::max);
    let mut all: Vec<f64> = lines.iter().map(most).collect();
    all.sort_by(f64::total_cmp);
    let usual = all.get(all.len() * 3 / 4).copied().unwrap_or(0.0);
    if all.len() < MANY || all.last().is_none_or(|far| *far <= usual * BEYOND) {
        return (f64::MAX, String::new());
    }
    let end = usual * 2.0;
    let beyond = lines.iter().filter(|line| most(line) > end);
    let beyond: Vec<&str> = beyond.map(|line| line.name).collect();
    let (names, verb) = (
        beyond.join(", "),
        if beyond.len() == 1 { "goes" } else { "go" },
    );
    (end, format!(" Beyond the end of the axis {verb} {names}."))
}

/// An axis of shares.
fn from_0_to_1(title: &str) -> Axis {
    Axis::new(title, "0 to 1", Scale::Linear, [0.0, 1.0].into_iter())
}

/// Share of connections against sojourn time.
pub(super) fn sojourn<'a>(id: &str, scenario: &'a ScenarioResults) -> Figure<'a> {
    let all = scenario.schedulers.iter();
    let times = all
        .clone()
        .flat_map(|one| one.sojourn.iter().map(|point| point.0));
    let (factor, unit) = number::unit("s", times);
    let curve = |one: &'a SchedulerResults| {
        let points = one.sojourn.iter().filter(|point| point.1 >= LEAST);
        let points = points.map(|(time, share)| (time * factor, *share));
        plain(&one.name, points.collect())
    };
    let lines: Vec<Line<'_>> = all.map(curve).collect();
    let (end, beyond) = end(&lines, |point| point.0);
    Figure {
        id: format!("{id}-sojourn"),
        title: "Sojourn time".to_owned(),
        note: format!(
            "Share of connections that were done in this time; further left and up is better.{beyond}"
        ),
        x: Axis::new(
            "sojourn time",
            unit,
            Scale::Log,
            xs(&lines).filter(|x| *x <= end),
        ),
        y: from_0_to_1("share of connections"),
        lines,
        reference: None,
        marks: Vec::new(),
    }
}

/// Means of so many parts of the time, each in its middle: single values of four lines hide each other.
fn calmed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = points.iter().map(|point| point.0).fold(0.0, f64::max);
    let long = last / f64::from(PARTS);
    let part = |number: u32| {
        let (from, to) = (f64::from(number) * long, f64::from(number + 1) * long);
        let is_in = |point: &&(f64, f64)| point.0 >= from && (point.0 < to || number + 1 == PARTS);
        let values = points.iter().filter(is_in).map(|point| point.1);
        let (sum, count) =
            values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        (count > 0.0).then(|| (f64::midpoint(from, to), sum / count))
    };
    (0..PARTS).filter_map(part).collect()
}

/// Imbalance over time, with what happened.
pub(super) fn imbalance<'a>(id: &str, scenario: &'a ScenarioResults) -> Figure<'a> {
    let all = scenario.schedulers.iter();
    let lines: Vec<Line<'_>> = all
        .map(|one| plain(&one.name, calmed(&one.imbalance)))
        .collect();
    let marks = scenario.marks.iter().map(|mark| Mark { at: mark.at });
    let times = marks.clone().map(|mark| mark.at);
    Figure {
        id: format!("{id}-imbalance"),
        title: "Imbalance over time".to_owned(),
        note: "Coefficient of variation of the servers' load for their weight in the first repeat, means of a sixtieth of the \
               time: 0 = even; lower is better. Dotted lines are events, with their numbers in the list of events."
            .to_owned(),
        x: Axis::new("time", "s", Scale::Linear, xs(&lines).chain(times)),
        y: Axis::new("imbalance", "ratio", Scale::Linear, ys(&lines)),
        lines,
        marks: marks.collect(),
        reference: None,
    }
}

/// Fairness over the first decisions.
pub(super) fn fairness<'a>(id: &str, scenario: &'a ScenarioResults) -> Figure<'a> {
    let curve = |one: &'a SchedulerResults| {
        let points = one.fairness.iter();
        let points = points.map(|(k, jain)| (float(*k), *jain));
        plain(&one.name, points.collect())
    };
    let lines: Vec<Line<'_>> = scenario.schedulers.iter().map(curve).collect();
    Figure {
        id: format!("{id}-fairness"),
        title: "Fairness at first".to_owned(),
        note: "Jain's index of connections for weight over the first k decisions: 1 = each server has its share."
            .to_owned(),
        x: Axis::new("first k", "decisions", Scale::Log, xs(&lines)),
        y: from_0_to_1("Jain's index"),
        lines,
        reference: None,
        marks: Vec::new(),
    }
}

/// The metrics of a sweep of this, as far as it has them.
fn drawn(points: &[&ScenarioResults], axis: &str) -> Vec<&'static Metric> {
    let known = SWEEPS
        .iter()
        .find(|(name, _)| *name == axis || name.is_empty());
    let names = known.map_or(&[][..], |(_, names)| names);
    let metrics = names.iter().filter_map(|name| crate::results::find(name));
    metrics
        .filter(|metric| {
            let mut all = points.iter().flat_map(|point| &point.schedulers);
            all.any(|one| one.metrics.contains_key(metric.name))
        })
        .collect()
}

/// One line for each scheduler: a metric against what is swept.
fn swept<'a>(points: &[&'a ScenarioResults], metric: &str, factor: f64) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for scenario in points {
        let value = scenario.point.as_ref().map_or(0.0, |point| point.value);
        for one in &scenario.schedulers {
            let Some(estimate) = one.metrics.get(metric) else {
                continue;
            };
            let known = lines.iter().position(|line| line.name == one.name);
            let at = known.unwrap_or_else(|| {
                lines.push(plain(&one.name, Vec::new()));
                lines.len() - 1
            });
            if let Some(line) = lines.get_mut(at) {
                line.points.push((value, estimate.mean * factor));
                line.halves.push(estimate.half.unwrap_or(0.0) * factor);
            }
        }
    }
    lines
}

/// The least that had to move: the median of the schedulers, whose flows may have been on the servers that went more
/// or less than equally.
fn least(points: &[&ScenarioResults]) -> Line<'static> {
    let lines = swept(points, "remapped_least", 1.0);
    let mut all: Vec<(f64, f64)> = lines.iter().flat_map(|line| line.points.clone()).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let values = all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    let medians = values.filter_map(|of_one| of_one.get(of_one.len() / 2).copied());
    plain("least possible", medians.collect())
}

/// The figures of a sweep.
pub(super) fn sweep<'a>(id: &str, axis: &str, points: &[&'a ScenarioResults]) -> Vec<Figure<'a>> {
    let metrics = drawn(points, axis).into_iter();
    metrics
        .map(|metric| swept_figure(id, axis, points, metric))
        .collect()
}

fn swept_figure<'a>(
    id: &str,
    axis: &str,
    points: &[&'a ScenarioResults],
    metric: &'static Metric,
) -> Figure<'a> {
    let (factor, unit) = number::unit(metric.unit, ys(&swept(points, metric.name, 1.0)));
    let unit = if unit.is_empty() { "ratio" } else { unit };
    let lines = swept(points, metric.name, factor);
    let reference = (metric.name == "remapped").then(|| least(points));
    let references = reference
        .iter()
        .flat_map(|line| ys(std::slice::from_ref(line)));
    let (end, beyond) = end(&lines, |point| point.1);
    let all = ys(&lines).chain(references).filter(|y| *y <= end);
    let all: Vec<f64> = all.collect();
    let low = all.iter().copied().fold(f64::MAX, f64::min);
    let high = all.iter().copied().fold(0.0, f64::max);
    let scale = if low > 0.0 && high / low > FAR {
        Scale::Log
    } else {
        Scale::Linear
    };
    let ends = lines.iter().flat_map(|line| {
        let pairs = line.points.iter().zip(&line.halves);
        pairs.flat_map(|((_, y), half)| [y + half, y - half])
    });
    // On a scale from 0, what chance takes below 0 is cut; a logarithm of it there is none.
    let all = all
        .iter()
        .copied()
        .chain(ends.filter(|y| *y > 0.0 && *y <= end));
    let x_scale = if axis == "directors" {
        Scale::Log
    } else {
        Scale::Linear
    };
    let (what, x_unit) = match axis {
        "load" => ("load", "share of capacity"),
        "removed" => ("servers removed", "count"),
        "directors" => ("directors", "count"),
        other => (other, "value"),
    };
    let least = if reference.is_some() {
        " The broad line is the least that has to move: flows of servers that went or the share of those that came \
         (the median of the schedulers; who has most flows on few servers may have to move less)."
    } else {
        ""
    };
    Figure {
        id: format!("{id}-{}", metric.name),
        title: format!("{} against {what}", metric.title),
        note: format!("{} Bars are 95 % intervals.{least}{beyond}", metric.summary),
        x: Axis::new(what, x_unit, x_scale, xs(&lines)),
        y: Axis::new(metric.title, unit, scale, all),
        lines,
        reference,
        marks: Vec::new(),
    }
}

/// The value that most measurements have, the least of equals.
fn commonest(costs: &[Cost], of: impl Fn(&Cost) -> u32) -> u32 {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for cost in costs {
        *counts.entry(of(cost)).or_default() += 1;
    }
    let most = counts
        .iter()
        .max_by_key(|(value, count)| (**count, core::cmp::Reverse(**value)));
    most.map_or(0, |(value, _)| *value)
}

/// What decisions cost: against real servers with the connections that most were measured with, and the other way round.
pub(super) fn costs(costs: &[Cost]) -> Vec<Figure<'_>> {
    let beside = commonest(costs, |cost| cost.connections);
    let among = commonest(costs, |cost| cost.servers);
    let by_servers: Vec<&Cost> = costs
        .iter()
        .filter(|cost| cost.connections == beside)
        .collect();
    let by_connections: Vec<&Cost> = costs.iter().filter(|cost| cost.servers == among).collect();
    let beside = format!("{beside} live connections");
    let among = format!("{among} real servers");
    let servers = |cost: &Cost| f64::from(cost.servers);
    let connections = |cost: &Cost| f64::from(cost.connections);
    let octets = |cost: &Cost| float(cost.state_octets);
    vec![
        cost_figure(
            ("decision", "Cost of a decision", "ns", &beside),
            &by_servers,
            servers,
            |cost| cost.decision_ns,
        ),
        cost_figure(
            ("state", "Memory of the state", "octets", &beside),
            &by_servers,
            servers,
            octets,
        ),
        cost_figure(
            ("build", "Time to take up a change", "µs", &beside),
            &by_servers,
            servers,
            |cost| cost.build_us,
        ),
        cost_figure(
            ("connections", "Decision by connections", "ns", &among),
            &by_connections,
            connections,
            |cost| cost.decision_ns,
        ),
    ]
}

fn cost_figure<'a>(
    (id, title, unit, beside): (&str, &str, &str, &str),
    costs: &[&'a Cost],
    x: impl Fn(&Cost) -> f64,
    y: impl Fn(&Cost) -> f64,
) -> Figure<'a> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for cost in costs {
        let point = (x(cost), y(cost));
        match lines.iter_mut().find(|line| line.name == cost.scheduler) {
            Some(line) => line.points.push(point),
            None => lines.push(plain(&cost.scheduler, vec![point])),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let (across, measured) = if id == "connections" {
        ("live connections", "cost of a decision")
    } else {
        ("real servers", title)
    };
    Figure {
        id: format!("cost-{id}"),
        title: title.to_owned(),
        note: format!("Measured with {beside}; less is better."),
        x: Axis::new(across, "count", Scale::Log, xs(&lines)),
        y: Axis::new(measured, unit, Scale::Log, ys(&lines)),
        lines,
        reference: None,
        marks: Vec::new(),
    }
}

/// The points of sweeps by name, and the scenarios that stand for themselves, in order.
pub(super) fn grouped(scenarios: &[ScenarioResults]) -> Vec<Vec<&ScenarioResults>> {
    let mut groups: Vec<Vec<&ScenarioResults>> = Vec::new();
    let axis = |one: &ScenarioResults| one.point.as_ref().map(|point| point.axis.clone());
    for one in scenarios {
        let fits = |group: &&mut Vec<&ScenarioResults>| {
            let first = group.first();
            first.is_some_and(|first| {
                first.point.is_some() && first.name == one.name && axis(first) == axis(one)
            })
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_drawn_from_left_to_right_whatever_was_measured_first() {
        let cost = |servers, connections| Cost {
            scheduler: "rr".to_owned(),
            servers,
            connections,
            decision_ns: 1.0,
            state_octets: 1,
            build_us: 1.0,
        };
        let sizes = [(2, 100), (64, 100), (8, 100), (64, 10), (64, 1000)];
        let all = sizes.map(|(servers, connections)| cost(servers, connections));
        let figures = costs(&all);
        let drawn = |at: usize| xs(&figures[at].lines).collect::<Vec<f64>>();
        assert_eq!(drawn(0), [2.0, 8.0, 64.0]);
        assert_eq!(drawn(3), [10.0, 100.0, 1000.0]);
        assert_eq!(
            commonest(&all[1..3], |cost| cost.servers),
            8,
            "the least of equals"
        );
    }

    #[test]
    fn the_mean_of_a_part_of_the_time_is_in_its_middle() {
        let points: Vec<(f64, f64)> = (0..=600)
            .map(|at| (f64::from(at), f64::from(at % 2)))
            .collect();
        let calm = calmed(&points);
        assert_eq!(calm.len(), 60);
        assert_eq!(calm[0], (5.0, 0.5));
        assert_eq!(calmed(&[(0.0, 3.0)]), [(0.0, 3.0)]);
        assert!(calmed(&[]).is_empty());
    }
}
