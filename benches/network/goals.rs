//! Medians, ratios of one round each, and the figures that ulvs is to reach.

use serde::Serialize;

use crate::measure::{METRICS, Metric};
use crate::run::Results;

/// What ulvs must reach against a peer, the median of the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// At least so many times the peer's number.
    AtLeast(f64),
    /// At most so many times.
    AtMost(f64),
    /// At most so much more.
    Plus(f64),
}

use Bound::{AtLeast, AtMost, Plus};

/// Peer, metric, bound.
const GOALS: [(&str, &str, Bound); 21] = [
    ("haproxy", "tcp1_gbits", AtLeast(1.7)),
    ("haproxy", "tcp8_gbits", AtLeast(1.5)),
    ("haproxy", "conn_per_s", AtLeast(1.4)),
    ("haproxy", "rtt_p50_us", AtMost(0.55)),
    ("haproxy", "conn_cpu_us", AtMost(0.7)),
    ("nginx", "udp_mpps", AtLeast(2.0)),
    ("nginx", "tcp1_gbits", AtLeast(1.35)),
    ("nginx", "tcp8_gbits", AtLeast(1.2)),
    ("nginx", "conn_per_s", AtLeast(1.45)),
    ("nginx", "rtt_p50_us", AtMost(0.55)),
    ("nginx", "conn_cpu_us", AtMost(0.7)),
    ("nft", "udp_mpps", AtLeast(1.4)),
    ("nft", "tcp1_gbits", AtLeast(0.95)),
    ("nft", "conn_per_s", AtLeast(1.15)),
    ("nft", "rtt_p50_us", Plus(12.0)),
    ("nft", "conn_cpu_us", AtMost(1.0)),
    ("forward", "udp_mpps", AtLeast(1.1)),
    ("forward", "tcp1_gbits", AtLeast(0.85)),
    ("forward", "conn_per_s", AtLeast(1.0)),
    ("forward", "rtt_p50_us", Plus(13.0)),
    ("forward", "conn_cpu_us", AtMost(1.2)),
];

/// A contender's number over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// The metric's name.
    pub(crate) metric: &'static str,
    /// The contender's name.
    pub(crate) contender: String,
    /// Of all rounds.
    pub(crate) median: f64,
    /// The least and the most.
    pub(crate) range: [f64; 2],
    /// Of the rounds that were quiet, where there are any, and how many those are.
    pub(crate) quiet: Option<(f64, usize)>,
    /// Each round's number and whether it is noisy.
    pub(crate) rounds: Vec<(f64, bool)>,
}

/// ulvs beside a peer.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    /// The metric's name.
    pub(crate) metric: &'static str,
    /// The contender that is compared.
    pub(crate) ours: String,
    /// What it is compared with.
    pub(crate) peer: String,
    /// The goal, in words; empty where there is none.
    pub(crate) goal: String,
    /// Each round's quotient (difference, where the goal is one).
    pub(crate) rounds: Vec<f64>,
    /// Their median.
    pub(crate) median: f64,
    /// Rounds in which both measurements were quiet.
    pub(crate) quiet: usize,
    /// Whether the median reaches the goal; judged only where more than half of the rounds were quiet.
    pub(crate) reached: Option<bool>,
}

impl Ratio {
    /// Each round's quotient, in words.
    pub(crate) fn each(&self) -> String {
        let rounds = self.rounds.iter().map(|value| format!("{value:.2}"));
        rounds.collect::<Vec<String>>().join(" ")
    }
}

/// The middle; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.is_empty() {
        f64::NAN
    } else if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Round, number, whether noisy, of one contender and metric.
fn numbers(results: &Results, contender: &str, metric: &str) -> Vec<(usize, f64, bool)> {
    let cells = results
        .cells
        .iter()
        .filter(|cell| cell.contender == contender);
    cells
        .filter_map(|cell| Some((cell.round, *cell.numbers.get(metric)?, cell.noise.is_some())))
        .collect()
}

/// Every contender's numbers, metric by metric.
pub(crate) fn summaries(results: &Results) -> Vec<Summary> {
    let mut all = Vec::new();
    for Metric { name, .. } in &METRICS {
        for contender in &results.contenders {
            let found = numbers(results, contender, name);
            if found.is_empty() {
                continue;
            }
            let values: Vec<f64> = found.iter().map(|(_, value, _)| *value).collect();
            let quiet: Vec<f64> = found
                .iter()
                .filter(|(_, _, noisy)| !noisy)
                .map(|(_, value, _)| *value)
                .collect();
            all.push(Summary {
                metric: name,
                contender: contender.clone(),
                median: median(&values),
                range: [
                    values.iter().copied().fold(f64::MAX, f64::min),
                    values.iter().copied().fold(f64::MIN, f64::max),
                ],
                quiet: (!quiet.is_empty()).then(|| (median(&quiet), quiet.len())),
                rounds: found
                    .iter()
                    .map(|(_, value, noisy)| (*value, *noisy))
                    .collect(),
            });
        }
    }
    all
}

/// ulvs by packet sockets, whatever the kernel's assist does, against every peer's goals; all but the default against
/// that; with two builds, the second against the first.
pub(crate) fn ratios(results: &Results) -> Vec<Ratio> {
    let mut all = Vec::new();
    for contender in &results.contenders {
        let (kind, link, build) = parts(contender);
        if !OURS.contains(&kind) {
            continue;
        }
        if ["", "+assist", "+no_assist"].contains(&link) {
            for (peer, metric, bound) in GOALS {
                all.extend(compare(results, metric, (contender, peer), Some(bound)));
            }
        }
        if !link.is_empty() {
            let default = format!("{kind}{build}");
            for Metric { name, .. } in &METRICS {
                all.extend(compare(results, name, (contender, &default), None));
            }
        }
        if let [first, second] = results.builds.as_slice()
            && build == format!("@{second}")
        {
            let before = format!("{kind}{link}@{first}");
            for Metric { name, .. } in &METRICS {
                all.extend(compare(results, name, (contender, &before), None));
            }
        }
    }
    all
}

/// The methods of ulvs, as contenders are named after them.
const OURS: [&str; 3] = ["dr", "nat", "tun"];

/// Whether a contender of this name is ulvs.
pub(crate) fn is_ours(contender: &str) -> bool {
    OURS.contains(&parts(contender).0)
}

/// Kind, `+LINK`, `@BUILD` of a contender's name; the latter two are empty where it has none.
fn parts(contender: &str) -> (&str, &str, &str) {
    let (rest, build) = contender.split_at(contender.find('@').unwrap_or(contender.len()));
    let (kind, link) = rest.split_at(rest.find('+').unwrap_or(rest.len()));
    (kind, link, build)
}

fn compare(
    results: &Results,
    metric: &'static str,
    names: (&str, &str),
    bound: Option<Bound>,
) -> Option<Ratio> {
    let (ours, theirs) = (
        numbers(results, names.0, metric),
        numbers(results, names.1, metric),
    );
    let mut rounds = Vec::new();
    let mut quiet = 0;
    for (round, our, our_noise) in ours {
        let Some((_, their, their_noise)) = theirs.iter().find(|(at, ..)| *at == round) else {
            continue;
        };
        let difference = matches!(bound, Some(Plus(_)));
        let value = if difference { our - their } else { our / their };
        if !value.is_finite() {
            // Of nothing lost there is no multiple.
            continue;
        }
        rounds.push(value);
        quiet += usize::from(!our_noise && !their_noise);
    }
    if rounds.is_empty() {
        return None;
    }
    let median = median(&rounds);
    let (goal, reached) = match bound {
        None => (String::new(), None),
        Some(AtLeast(least)) => (format!(">= {least} x"), Some(median >= least)),
        Some(AtMost(most)) => (format!("<= {most} x"), Some(median <= most)),
        Some(Plus(most)) => (format!("<= +{most} us"), Some(median <= most)),
    };
    let judged = quiet * 2 > rounds.len();
    Some(Ratio {
        metric,
        ours: names.0.to_owned(),
        peer: names.1.to_owned(),
        goal,
        rounds,
        median,
        quiet,
        reached: reached.filter(|_| judged),
    })
}
