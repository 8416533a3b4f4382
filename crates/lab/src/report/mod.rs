//! Results as one HTML page that needs nothing else: no script, no other file.
//!
//! The same results give the same page, octet for octet.

mod axis;
mod families;
mod figure;
#[cfg(test)]
mod geometry;
mod heat;
mod plot;
mod sections;
mod sentences;

use std::fmt::Write as _;

use crate::cost::Costs;
use crate::number;
use crate::results::{METRICS, Metric, Results, ScenarioResults};
use crate::table::{Standing, column, point, standings};

const STYLE: &str = include_str!("style.css");

/// Metrics of the page's tables; all are in JSON and CSV.
const TOLD: [&str; 16] = [
    "sojourn_p50",
    "sojourn_p99",
    "sojourn_p999",
    "slowdown_p50",
    "slowdown_p99",
    "slowdown_p999",
    "connections_max",
    "connections_jain",
    "packets_max",
    "work_max",
    "overprovision",
    "remapped",
    "remapped_least",
    "broken",
    "cache_hits",
    "refused",
];
/// Metrics with a heat map.
const HEATED: [&str; 4] = ["slowdown_p99", "overprovision", "broken", "refused"];

/// A text within HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
}

/// A scenario's name with its point of a sweep.
fn titled(scenario: &ScenarioResults) -> String {
    let at = point(scenario).map_or_else(String::new, |point| format!(" ({point})"));
    format!("{}{at}", scenario.name)
}

/// The page, with what decisions cost where that was measured.
#[must_use]
pub fn html(results: &Results, costs: &Costs) -> String {
    let groups = sections::grouped(&results.scenarios);
    // A sweep's last point stands for it.
    let lasts: Vec<&ScenarioResults> = groups
        .iter()
        .filter_map(|group| group.last().copied())
        .collect();
    let mut page = head(results, &groups, !costs.costs.is_empty());
    if lasts.len() > 1 {
        page += "<h2 id='all'>All workloads</h2>\n";
        for metric in HEATED.iter().filter_map(|name| crate::results::find(name)) {
            if lasts.iter().any(|scenario| tells(scenario, metric)) {
                page += &heat::html(&format!("heat-{}", metric.name), metric, &lasts);
            }
        }
    }
    for (number, group) in groups.iter().enumerate() {
        page += &section(&format!("s{}", number + 1), group);
    }
    if !costs.costs.is_empty() {
        let _ = writeln!(
            page,
            "<h2 id='cost'>What a decision costs</h2>\n<p>Measured on the real code by <code>ulvs lab cost</code> on one \
             machine ({}): read ratios, not numbers.</p>",
            escaped(&costs.machine)
        );
        for figure in sections::costs(&costs.costs) {
            page += &figure.html();
        }
    }
    page += &explained();
    page + "</html>\n"
}

/// Whether a metric tells one scheduler from another.
fn tells(scenario: &ScenarioResults, metric: &Metric) -> bool {
    let standings = standings(metric, &column(scenario, metric));
    standings.contains(&Standing::Best)
}

fn head(results: &Results, groups: &[Vec<&ScenarioResults>], has_costs: bool) -> String {
    let is_once = results.repeats < 2;
    let mut page = format!(
        "<!doctype html>\n<html lang='en'><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width,initial-scale=1'><title>ulvs lab</title>\
         <style>\n{STYLE}</style>\n<h1>ulvs lab: schedulers compared</h1>\n\
         <p>Each workload was run {} with each scheduler, in virtual time around the director that also runs as \
         daemon. This command gives the same results again, octet for octet (seed {}):</p>\n<pre>{}</pre>\n\
         <p class='note'>Schedulers are named as with <code>ipvsadm -s</code>, with their flags (<code>-b</code>); those that \
         end in * are not in kernel IPVS. {}</p>\n<nav><ul>",
        if is_once {
            "once".to_owned()
        } else {
            format!("{} times", results.repeats)
        },
        results.seed,
        command(&results.command),
        if is_once {
            "One repeat has no interval: how much of a difference is chance is not known."
        } else {
            "Values are means with the half width of their 95 % interval."
        }
    );
    if groups.len() > 1 {
        page += "<li><a href='#all'>All workloads</a>";
    }
    for (number, group) in groups.iter().enumerate() {
        let name = group.first().map_or("", |first| &first.name);
        let _ = write!(page, "<li><a href='#s{}'>{}</a>", number + 1, escaped(name));
    }
    if has_costs {
        page += "<li><a href='#cost'>What a decision costs</a>";
    }
    page + "<li><a href='#metrics'>Metrics</a></ul></nav>\n"
}

/// A command whose lines end between words, not after the dashes of an option.
fn command(text: &str) -> String {
    let words = text
        .split(' ')
        .map(|word| format!("<span>{}</span>", escaped(word)));
    words.collect::<Vec<String>>().join(" ")
}

/// A scenario, or all points of a sweep.
fn section(id: &str, group: &[&ScenarioResults]) -> String {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return String::new();
    };
    let mut html = format!(
        "<h2 id='{id}'>{}</h2>\n<p>{}</p>\n",
        escaped(&first.name),
        escaped(&first.summary)
    );
    let speeds: f64 = first.servers.iter().map(|server| server.speed).sum();
    let _ = writeln!(
        html,
        "<p class='note'>{} real servers that do {} seconds of work a second together.</p>",
        first.servers.len(),
        number::brief(speeds)
    );
    if let Some(at) = first.point.as_ref().filter(|_| group.len() > 1) {
        for figure in sections::sweep(id, &at.axis, group) {
            html += &figure.html();
        }
        let at = point(last).unwrap_or_default();
        let _ = writeln!(
            html,
            "<p class='point'>All that follows is at {}.</p>",
            escaped(&at)
        );
    }
    if let Some(finding) = sentences::finding(last) {
        let _ = writeln!(html, "<p>{}</p>", escaped(&finding));
    }
    html += &table(last);
    if !last.marks.is_empty() {
        let _ = writeln!(
            html,
            "<p class='events'>Events. {}.</p>",
            escaped(&sentences::events(last))
        );
    }
    for figure in [
        sections::sojourn(id, last),
        sections::imbalance(id, last),
        sections::fairness(id, last),
    ] {
        html += &figure.html();
    }
    html
}

fn table(scenario: &ScenarioResults) -> String {
    let metrics = TOLD.iter().filter_map(|name| crate::results::find(name));
    let has = |metric: &&Metric| column(scenario, metric).iter().any(Option::is_some);
    let metrics: Vec<&Metric> = metrics.filter(has).collect();
    let mut columns = Vec::new();
    let mut html = "<div class='wide'><table><thead><tr><th>scheduler".to_owned();
    for metric in metrics {
        let values = column(scenario, metric);
        let means = values.iter().flatten().map(|value| value.mean);
        let (factor, unit) = number::unit(metric.unit, means);
        let unit = match unit {
            "" | "connections" => String::new(),
            unit => format!(", {unit}"),
        };
        let _ = write!(
            html,
            "<th title='{}'>{}{unit}",
            escaped(metric.summary),
            escaped(metric.title)
        );
        let standings = standings(metric, &values);
        let cells = values.into_iter().zip(standings);
        columns.push((factor, cells.collect::<Vec<_>>()));
    }
    html += "<tbody>\n";
    for (row, scheduler) in scenario.schedulers.iter().enumerate() {
        let _ = write!(html, "<tr><td>{}", escaped(&scheduler.name));
        for (factor, cells) in &columns {
            let Some((Some(value), standing)) = cells.get(row) else {
                html += "<td>";
                continue;
            };
            let (mean, half) = number::estimate(value, *factor);
            let half = half.map_or_else(String::new, |half| format!(" <small>{half}</small>"));
            let class = match standing {
                Standing::Best => " class='b'",
                Standing::NotTold => " class='t'",
                Standing::Rest => "",
            };
            let _ = write!(html, "<td{class}>{mean}{half}");
        }
        html.push('\n');
    }
    let mut estimates = columns.iter().flat_map(|(_, cells)| cells);
    let has_interval = estimates.any(|(value, _)| value.is_some_and(|value| value.half.is_some()));
    let legend = if has_interval {
        "Bold is best; light blue is not told apart from it."
    } else {
        "Bold is best of the one repeat."
    };
    html + &format!("</table></div><p class='note'>{legend}</p>\n")
}

/// What each metric is.
fn explained() -> String {
    let mut html = "<h2 id='metrics'>Metrics</h2>\n<ul class='note'>".to_owned();
    for metric in METRICS {
        let _ = writeln!(
            html,
            "<li><b>{}</b> (<code>{}</code>): {}",
            escaped(metric.title),
            metric.name,
            escaped(metric.summary)
        );
    }
    html + "</ul>\n"
}
