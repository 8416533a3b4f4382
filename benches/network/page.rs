//! Results as one page that needs nothing else: a plot for each metric, and the ratios.

use std::fmt::Write as _;

use crate::goals::{Summary, is_ours, ratios, summaries};
use crate::measure::{METRICS, Metric};
use crate::report::{seen, verdict};
use crate::run::Results;

/// Left edge, width, room for numbers on the right, row height of a plot, in units of its own.
const LEFT: f64 = 100.0;
const WIDTH: f64 = 330.0;
const RIGHT: f64 = 70.0;
const ROW: f64 = 22.0;
/// Parts that an axis has at most.
const TICKS: f64 = 4.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}h1{font-size:1.5rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}\
.verdict{padding:.7rem 1rem;border-left:4px solid #2a7d4f;background:#eef7f1}.noisy{border-color:#b4540a;\
background:#fdf3e7}table{border-collapse:collapse;font-size:.88rem}td,th{padding:.2rem .7rem;text-align:left;\
border-bottom:1px solid #d8dde3}td.n{text-align:right;font-variant-numeric:tabular-nums}\
svg{width:100%;max-width:640px;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:#1b1f24}\
svg .axis text{fill:#59636e}svg .axis path{stroke:#d8dde3;fill:none}.note{color:#59636e}.wide{overflow-x:auto}\
.key{display:inline-block;width:.8em;height:.8em;opacity:.5;background:#7a838d}.key.own{background:#1f5fbf}\
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
         <p class='note'><span class='key own'></span> ulvs, <span class='key'></span> its peers. A dot is a round, \
         the bar and the number are the median of all rounds. A hollow dot is a measurement beside which the canary \
         saw something else run.</p>\n",
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
    let bottom = ROW * rows.iter().fold(0.0, |count, _| count + 1.0);
    let height = bottom + ROW;
    let better = if metric.more { "more" } else { "less" };
    let mut text = format!(
        "<h2>{} <span class='note'>({better} is better)</span></h2>\
         <svg viewBox='0 0 {} {height}' role='img' aria-label='{}'>\n{}",
        escaped(metric.title),
        LEFT + WIDTH + RIGHT,
        escaped(metric.title),
        axis(most, bottom, digits)
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

/// The length between two ticks of an axis up to `most`: 1, 2 or 5 times a power of ten, whole where `digits` is 0.
pub(crate) fn step(most: f64, digits: usize) -> f64 {
    let rough = most / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = nice.into_iter().find(|nice| *nice >= rough);
    let step = step.unwrap_or(power * 10.0);
    if digits == 0 { step.max(1.0) } else { step }
}

/// Lines from the top down to `bottom`, with their numbers.
pub(crate) fn axis(most: f64, bottom: f64, digits: usize) -> String {
    let step = step(most, digits);
    let mut text = "<g class='axis'>".to_owned();
    let mut value = 0.0;
    while value <= most {
        let x = LEFT + WIDTH * (value / most);
        let _ = write!(
            text,
            "<path d='M{x:.1} 0V{bottom}'/><text x='{x:.1}' y='{}' text-anchor='middle'>{value:.digits$}</text>",
            bottom + 14.0
        );
        value += step;
    }
    text + "</g>\n"
}

fn table(results: &Results) -> String {
    let ratios = ratios(results);
    if ratios.is_empty() {
        return String::new();
    }
    let mut text = "<h2>Of each round, ulvs to its peer</h2><div class='wide'><table><tr><th>ulvs<th>to<th>metric<th>median<th>each \
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
    text + "</table></div>\n"
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
    for why in &results.absent {
        let _ = writeln!(text, "<p class='noisy'>Missing: {}</p>", escaped(why));
    }
    text
}
