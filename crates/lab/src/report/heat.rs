//! A heat map: workloads by schedulers, numbers in the cells, colour by how far each is from the best of its row.

use std::fmt::Write as _;

use super::escaped;
use super::plot::{text, width};
use crate::number;
use crate::results::{Better, Metric, ScenarioResults};
use crate::statistics::count;
use crate::table::{self, Standing, column, standings};

const CELL: (f64, f64) = (44.0, 22.0);
const TEXT: f64 = 11.0;
/// Colours from the best to the worst, darker and darker, and the ratio to the best from which on each is used.
const SHADES: [(f64, &str, &str); 6] = [
    (0.0, "#f7fbff", "up to 1.1 times the best"),
    (1.1, "#d6e6f4", "1.1"),
    (1.5, "#abd0e6", "1.5"),
    (2.0, "#6aaed6", "2"),
    (5.0, "#2e7ebc", "5"),
    (10.0, "#08306b", "10 or more"),
];
/// Shades from this one on have white text.
const DARK: usize = 4;

/// How many times as bad as the best a value is.
fn ratio(value: f64, best: f64, better: Better) -> f64 {
    let (good, bad) = match better {
        Better::More => (value, best),
        _ => (best, value),
    };
    if bad.total_cmp(&good).is_eq() {
        1.0
    } else if good <= 0.0 {
        f64::INFINITY
    } else {
        bad / good
    }
}

fn shade(ratio: f64) -> usize {
    SHADES
        .iter()
        .rposition(|(from, ..)| ratio >= *from)
        .unwrap_or(0)
}

/// The heat map of a metric, as a figure; nothing when no scenario has it.
pub(super) fn html(id: &str, metric: &Metric, scenarios: &[&ScenarioResults]) -> String {
    let has = |scenario: &&&ScenarioResults| column(scenario, metric).iter().any(Option::is_some);
    let rows: Vec<&ScenarioResults> = scenarios.iter().filter(has).copied().collect();
    let mut names: Vec<&str> = Vec::new();
    for one in rows.iter().flat_map(|scenario| &scenario.schedulers) {
        if !names.contains(&one.name.as_str()) {
            names.push(&one.name);
        }
    }
    if rows.is_empty() || names.is_empty() {
        return String::new();
    }
    let better = match metric.better {
        Better::Less => "less is better",
        Better::More => "more is better",
        Better::Neither => "it only says what happened",
    };
    let unit = if metric.unit.is_empty() {
        String::new()
    } else {
        format!(" in {}", metric.unit)
    };
    format!(
        "<figure id='{id}'><figcaption><b>{}.</b> {} The number is the mean{unit}; the darker, the worse than the best of \
         the row ({better}); a frame is around the best of the row.{}</figcaption><div class='wide heatmap'>\n{}</div>\
         </figure>\n",
        escaped(metric.title),
        escaped(metric.summary),
        escaped(&(points(&rows) + left_out(metric))),
        svg(id, metric, &rows, &names)
    )
}

/// Which points of sweeps are shown, as a sentence.
fn points(rows: &[&ScenarioResults]) -> String {
    let shown = rows.iter().filter_map(|row| {
        let at = table::point(row)?;
        Some(format!("{} ({at})", row.name))
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        return String::new();
    }
    format!(" Of a sweep its last point is shown: {}.", shown.join(", "))
}

/// What a time does not say.
fn left_out(metric: &Metric) -> &'static str {
    let is_time = |name: &str| metric.name.starts_with(name);
    if is_time("sojourn") || is_time("slowdown") {
        " Connections that were refused are not in it: who refuses many serves the others well."
    } else {
        ""
    }
}

fn svg(id: &str, metric: &Metric, rows: &[&ScenarioResults], names: &[&str]) -> String {
    let labels: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let longest = labels.iter().map(|label| width(label, TEXT));
    let left = longest.fold(70.0, f64::max) + 16.0;
    let tallest = names.iter().map(|name| width(name, TEXT));
    let top = 74.0 + tallest.fold(0.0, f64::max);
    let right = (left + CELL.0 * count(names.len()) + 10.0).max(580.0);
    let height = top + CELL.1 * count(rows.len()) + 8.0;
    let unit = if metric.unit.is_empty() {
        String::new()
    } else {
        format!(" ({})", metric.unit)
    };
    let title = format!("{}{unit}, scheduler by workload", metric.title);
    let mut svg = format!(
        "<svg class='heat' viewBox='0 0 {right:.0} {height:.0}' style='width:{right:.0}px' role='img' aria-label='{}'>\n",
        escaped(&title)
    );
    svg += &text((8.0, 17.0), 13.0, "start", "title", &title);
    legend(&mut svg);
    svg += &text((8.0, top - 8.0), TEXT, "start", "y", "workload");
    svg += &text((left, 62.0), TEXT, "start", "x", "scheduler");
    for (at, name) in names.iter().enumerate() {
        let x = left + CELL.0 * (count(at) + 0.5) + 4.0;
        let _ = write!(
            svg,
            "<text transform='translate({x:.1} {:.1}) rotate(-90)' font-size='{TEXT}' class='tick'>{}</text>",
            top - 6.0,
            escaped(name)
        );
    }
    let _ = write!(svg, "<g id='{id}-labels'>");
    for (at, label) in labels.iter().enumerate() {
        let y = top + CELL.1 * count(at);
        svg += &text((left - 6.0, y + 15.0), TEXT, "end", "tick", label);
    }
    svg += "</g>\n";
    for (at, row) in rows.iter().enumerate() {
        cells(
            &mut svg,
            metric,
            row,
            names,
            (left, top + CELL.1 * count(at)),
        );
        svg.push('\n');
    }
    svg + "</svg>\n" + &labels_again(id, left, (top, height))
}

/// The names of the workloads once more: they stay in sight where a narrow screen shows only some columns.
fn labels_again(id: &str, left: f64, (top, height): (f64, f64)) -> String {
    format!(
        "<svg class='heat labels' viewBox='0 0 {left:.0} {height:.0}' style='width:{left:.0}px' aria-hidden='true'>\
         <rect y='{top:.1}' width='{left:.0}' height='{:.1}' fill='#fff'/><use href='#{id}-labels'/></svg>\n",
        height - top
    )
}

fn legend(svg: &mut String) {
    let mut x = 8.0;
    for (_, colour, label) in SHADES {
        let _ = write!(
            svg,
            "<rect class='cell' x='{x:.1}' y='28' width='14' height='14' fill='{colour}'/>"
        );
        *svg += &text((x + 19.0, 39.0), TEXT, "start", "key", label);
        x += 19.0 + width(label, TEXT) + 12.0;
    }
}

fn cells(
    svg: &mut String,
    metric: &Metric,
    row: &ScenarioResults,
    names: &[&str],
    (left, y): (f64, f64),
) {
    let values = column(row, metric);
    let standings = standings(metric, &values);
    let framed = standings.iter().filter(|one| **one == Standing::Best);
    // Where most are the best, a frame tells nothing.
    let has_frames = framed.count() * 2 <= values.len();
    let means = values.iter().flatten().map(|value| value.mean);
    let best = match metric.better {
        Better::More => means.fold(f64::MIN, f64::max),
        _ => means.fold(f64::MAX, f64::min),
    };
    for (at, name) in names.iter().enumerate() {
        let x = left + CELL.0 * count(at);
        let found = row.schedulers.iter().position(|one| one.name == *name);
        let value = found.and_then(|at| Some((values.get(at).copied()??, *standings.get(at)?)));
        let Some((value, standing)) = value else {
            continue;
        };
        let shade = shade(ratio(value.mean, best, metric.better));
        let class = if has_frames && standing == Standing::Best {
            "cell best"
        } else {
            "cell"
        };
        let _ = write!(
            svg,
            "<rect class='{class}' x='{:.1}' y='{:.1}' width='{}' height='{}' fill='{}'/>",
            x + 1.0,
            y + 1.0,
            CELL.0 - 2.0,
            CELL.1 - 2.0,
            SHADES[shade].1
        );
        let class = if shade >= DARK { "light" } else { "dark" };
        let middle = (x + CELL.0 / 2.0, y + 15.0);
        *svg += &text(middle, TEXT, "middle", class, &number::brief(value.mean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_are_by_the_ratio_to_the_best() {
        assert_eq!(shade(ratio(1.0, 1.0, Better::Less)), 0);
        assert_eq!(shade(ratio(3.0, 1.0, Better::Less)), 3);
        assert_eq!(shade(ratio(0.1, 1.0, Better::More)), 5);
        assert_eq!(shade(ratio(0.5, 0.0, Better::Less)), 5);
        assert_eq!(shade(ratio(0.0, 0.0, Better::Less)), 0);
    }

    #[test]
    fn of_what_should_be_more_the_least_is_darkest() {
        let mut results = crate::made_up::results(2);
        results.scenarios.truncate(1);
        for (one, mean) in results.scenarios[0].schedulers.iter_mut().zip([0.9, 0.45]) {
            let jain = one
                .metrics
                .get_mut("connections_jain")
                .expect("it has that");
            jain.mean = mean;
        }
        let metric = crate::results::find("connections_jain").expect("it is a metric");
        let page = html("heat", metric, &[&results.scenarios[0]]);
        // In the legend and in the map: the best of the row, and what is twice as bad.
        for (_, colour, _) in [SHADES[0], SHADES[3]] {
            assert_eq!(page.matches(colour).count(), 2, "{colour}: {page}");
        }
    }
}
