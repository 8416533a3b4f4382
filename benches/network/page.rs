//! Results as one page that needs nothing else: a plot for each metric, and the ratios.

use std::fmt::Write as _;

use crate::goals::{Summary, is_ours, ratios, summaries};
use crate::measure::{METRICS, Metric};
use crate::report::{seen, verdict};
use crate::run::Results;

/// Left edge, width and row height of a plot, in pixels.
const LEFT: f64 = 120.0;
const WIDTH: f64 = 520.0;
const ROW: f64 = 24.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}h1{font-size:1.5rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}\
.verdict{padding:.7rem 1rem;border-left:4px solid #2a7d4f;background:#eef7f1}.noisy{border-color:#b4540a;\
background:#fdf3e7}table{border-collapse:collapse;font-size:.88rem}td,th{padding:.2rem .7rem;text-align:left;\
border-bottom:1px solid #d8dde3}td.n{text-align:right;font-variant-numeric:tabular-nums}\
svg{max-width:100%;height:auto}svg text{font:13px system-ui,sans-serif;fill:#1b1f24}.note{color:#59636e}\
.ours{fill:#1f5fbf;stroke:#1f5fbf}.peer{fill:#7a838d;stroke:#7a838d}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
}

/// The page.
pub(crate) fn html(results: &Results) -> String {
    let (_, noisy) = results.noisy();
    let mut page = format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>\
         <title>ulvs bench</title><style>{STYLE}</style><h1>ulvs beside its peers</h1>\
         <p class='verdict{}'>{}<br>{}</p><p>{}. {} rounds of {} s, offloads {}.</p>\
         <p class='note'>A dot is a round, the bar the median of all rounds. A hollow dot is a measurement beside \
         which the canary saw something else run.</p>\n",
        if noisy > 0 { " noisy" } else { "" },
        escaped(&verdict(results)),
        escaped(&seen(results)),
        escaped(&results.machine),
        results.rounds,
        results.seconds,
        if results.offloads {
            "as by default"
        } else {
            "off"
        },
    );
    let all = summaries(results);
    for metric in &METRICS {
        let rows: Vec<&Summary> = all.iter().filter(|one| one.metric == metric.name).collect();
        if !rows.is_empty() {
            page += &plot(metric, &rows);
        }
    }
    page += &table(results);
    page += &failures(results);
    page + "</html>\n"
}

fn plot(metric: &Metric, rows: &[&Summary]) -> String {
    let digits = metric.digits;
    let most = rows
        .iter()
        .map(|row| row.range[1])
        .fold(f64::MIN_POSITIVE, f64::max);
    let height = ROW * rows.iter().fold(0.5, |count, _| count + 1.0);
    let better = if metric.more { "more" } else { "less" };
    let mut text = format!(
        "<h2>{} <span class='note'>({better} is better)</span></h2>\
         <svg viewBox='0 0 780 {height}' width='780' height='{height}' role='img' aria-label='{}'>\n",
        escaped(metric.title),
        escaped(metric.title)
    );
    let mut top = 0.0;
    for row in rows {
        let at = |value: f64| LEFT + WIDTH * (value / most).max(0.0);
        let class = if is_ours(&row.contender) {
            "ours"
        } else {
            "peer"
        };
        let middle = top + ROW / 2.0;
        let _ = write!(
            text,
            "<text x='{}' y='{}' text-anchor='end'>{}</text><rect class='{class}' fill-opacity='.25' stroke='none' x='{LEFT}' y='{}' \
             width='{:.1}' height='{}'/><text x='{}' y='{}'>{:.digits$}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escaped(&row.contender),
            top + 4.0,
            at(row.median) - LEFT,
            ROW - 8.0,
            LEFT + WIDTH + 14.0,
            middle + 4.0,
            row.median
        );
        for (value, noisy) in &row.rounds {
            let hollow = if *noisy { " style='fill:#fff'" } else { "" };
            let _ = write!(
                text,
                "<circle class='{class}'{hollow} cx='{:.1}' cy='{middle}' r='4'><title>{value:.digits$}</title></circle>",
                at(*value)
            );
        }
        text.push('\n');
        top += ROW;
    }
    text + "</svg>\n"
}

fn table(results: &Results) -> String {
    let ratios = ratios(results);
    if ratios.is_empty() {
        return String::new();
    }
    let mut text = "<h2>Of each round, ulvs to its peer</h2><table><tr><th>ulvs<th>to<th>metric<th>median<th>each \
                    round<th>goal<th>reached<th>quiet rounds\n"
        .to_owned();
    for ratio in ratios {
        let reached = match ratio.reached {
            Some(true) => "yes",
            Some(false) => "no",
            None if ratio.goal.is_empty() => "",
            None => "not judged, noise",
        };
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td>{}<td class='n'>{:.2}<td>{}<td>{}<td>{reached}<td class='n'>{} of {}",
            escaped(&ratio.ours),
            escaped(&ratio.peer),
            ratio.metric,
            ratio.median,
            ratio.each(),
            escaped(&ratio.goal),
            ratio.quiet,
            ratio.rounds.len()
        );
    }
    text + "</table>\n"
}

fn failures(results: &Results) -> String {
    let mut text = String::new();
    for cell in &results.cells {
        if let Some(why) = &cell.failure {
            let told = format!(
                "Failed: round {} {} {}: {why}",
                cell.round, cell.contender, cell.test
            );
            let _ = writeln!(text, "<p class='noisy'>{}</p>", escaped(&told));
        }
    }
    text
}
