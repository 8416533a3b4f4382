//! Results as text and as JSON.

use std::fmt::Write as _;

use serde_json::json;

use crate::canary::Canary;
use crate::goals::{ratios, summaries};
use crate::measure::METRICS;
use crate::run::Results;

/// What the canary says of the whole run, in one sentence.
pub(crate) fn verdict(results: &Results) -> String {
    let (all, noisy) = results.noisy();
    let mut rounds: Vec<usize> = results
        .cells
        .iter()
        .filter(|cell| cell.noise.is_some())
        .map(|cell| cell.round)
        .collect();
    rounds.dedup();
    if noisy == 0 {
        return format!("QUIET: the canary saw nothing else in {all} measurements.");
    }
    let rounds: Vec<String> = rounds.iter().map(ToString::to_string).collect();
    format!(
        "NOISY MACHINE: something else ran beside {noisy} of {all} measurements (rounds {}). \
         Absolute numbers do not hold; ratios of one round are rough.",
        rounds.join(", ")
    )
}

/// The range of what the canary saw.
pub(crate) fn seen(results: &Results) -> String {
    let range = |pick: fn(&Canary) -> f64| {
        let values = results.canaries.iter().map(pick);
        let most = values.clone().fold(f64::MIN, f64::max);
        (values.fold(f64::MAX, f64::min), most)
    };
    let (work, waited, probe) = (
        range(|canary| canary.work_ms),
        range(|canary| canary.waited * 100.0),
        range(|canary| canary.probe_mpps),
    );
    format!(
        "Canary: the fixed work took {:.0} to {:.0} ms, waited {:.0} to {:.0} % of that for a processor; the direct \
         probe passed {:.2} to {:.2} Mpps.",
        work.0, work.1, waited.0, waited.1, probe.0, probe.1
    )
}

/// Everything, for programs.
pub(crate) fn json(results: &Results) -> String {
    let (_, noisy) = results.noisy();
    let value = json!({
        "verdict": verdict(results),
        "quiet": noisy == 0,
        "results": results,
        "summary": summaries(results),
        "ratios": ratios(results),
    });
    format!("{value:#}\n")
}

/// Medians and ratios, for people.
pub(crate) fn text(results: &Results) -> String {
    let mut text = format!(
        "\n{}\n{}\n{}; {} rounds of {} s, offloads {}\n",
        verdict(results),
        seen(results),
        results.machine,
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
        let digits = metric.digits;
        let mut titled = false;
        for one in all.iter().filter(|one| one.metric == metric.name) {
            if !titled {
                let better = if metric.more { "more" } else { "less" };
                let _ = writeln!(text, "\n{} ({better} is better)", metric.title);
                titled = true;
            }
            let quiet = one.quiet.map_or_else(
                || "none quiet".to_owned(),
                |(value, count)| format!("quiet {value:.digits$}, {count} of {}", one.rounds.len()),
            );
            let [least, most] = one.range;
            let _ = writeln!(
                text,
                "  {:<12} {:>12.digits$}   [{least:.digits$} .. {most:.digits$}]   {quiet}",
                one.contender, one.median
            );
        }
    }
    text += &compared(results);
    for cell in results.cells.iter().filter(|cell| cell.failure.is_some()) {
        let why = cell.failure.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "FAILED: round {} {} {}: {why}",
            cell.round, cell.contender, cell.test
        );
    }
    for why in &results.absent {
        let _ = writeln!(text, "MISSING: {why}");
    }
    let _ = writeln!(text, "\n{}", verdict(results));
    text
}

fn compared(results: &Results) -> String {
    let mut text = String::new();
    let ratios = ratios(results);
    if ratios.is_empty() {
        return text;
    }
    text += "\nOf each round, ulvs to its peer: the median, [each round], the goal\n";
    for ratio in ratios {
        let reached = match ratio.reached {
            Some(true) => "reached",
            Some(false) => "not reached",
            None if ratio.goal.is_empty() => "",
            None => "not judged, noise",
        };
        let _ = writeln!(
            text,
            "  {:<10} to {:<10} {:<18} {:>8.2}   [{}]   {} {reached} ({} of {} quiet)",
            ratio.ours,
            ratio.peer,
            ratio.metric,
            ratio.median,
            ratio.each(),
            ratio.goal,
            ratio.quiet,
            ratio.rounds.len(),
        );
    }
    text
}
