//! The unit tests of the bench: `main.rs` has no test harness, so its modules stand here once more.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "only what the tests reach is used")]

mod bare;
mod canary;
mod contender;
mod director;
mod goals;
#[path = "../../tests/harness/lab.rs"]
mod lab;
mod load;
mod measure;
mod options;
mod page;
#[path = "../../tests/harness/process.rs"]
mod process;
mod report;
mod run;
mod serve;
mod usage;
mod world;

use std::collections::BTreeMap;

use canary::{Canary, judge};
use goals::{Ratio, is_ours, median, ratios, summaries};
use page::{axis, step};
use run::{Cell, Results};

/// Rounds of contenders: name, then for each round a number and whether it was noisy.
fn results(
    metric: &'static str,
    contenders: &[(&str, &[(f64, bool)])],
    builds: &[&str],
) -> Results {
    let mut cells = Vec::new();
    for (name, rounds) in contenders {
        for (round, (value, noisy)) in (1..).zip(*rounds) {
            cells.push(Cell {
                round,
                contender: (*name).to_owned(),
                test: String::new(),
                numbers: BTreeMap::from([(metric, *value)]),
                failure: None,
                others: 0.0,
                noise: noisy.then(|| "noise".to_owned()),
            });
        }
    }
    Results {
        machine: String::new(),
        command: String::new(),
        rounds: 3,
        seconds: 1,
        offloads: true,
        contenders: contenders.iter().map(|one| one.0.to_owned()).collect(),
        builds: builds.iter().map(|&name| name.to_owned()).collect(),
        absent: Vec::new(),
        cells,
        canaries: Vec::new(),
    }
}

#[test]
fn medians_are_the_middle() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(median(&[]).is_nan());
}

#[test]
fn ratios_are_of_one_round_and_the_median_is_of_ratios() {
    let quiet = |values: [f64; 3]| values.map(|value| (value, false));
    let (ours, theirs) = (quiet([10.0, 30.0, 8.0]), quiet([10.0, 10.0, 10.0]));
    let results = results("tcp1_gbits", &[("nft", &theirs), ("dr", &ours)], &[]);
    let [ratio] = ratios(&results).try_into().expect("one goal");
    // The ratio of medians would be 1.0 as well; that of means 1.6.
    assert_eq!((ratio.rounds, ratio.median), (vec![1.0, 3.0, 0.8], 1.0));
    assert_eq!((ratio.quiet, ratio.reached), (3, Some(true)));
}

#[test]
fn a_noisy_majority_is_not_judged() {
    let ours = [(1.0, false), (1.0, true), (1.0, false)];
    let theirs = [(10.0, false), (10.0, false), (10.0, true)];
    let results = results("tcp1_gbits", &[("nft", &theirs), ("dr", &ours)], &[]);
    let [ratio] = ratios(&results).try_into().expect("one goal");
    assert_eq!((ratio.quiet, ratio.reached, ratio.median), (1, None, 0.1));
}

#[test]
fn round_trips_against_the_kernel_are_differences() {
    let results = results(
        "rtt_p50_us",
        &[("forward", &[(40.0, false)]), ("nat", &[(54.5, false)])],
        &[],
    );
    let [ratio] = ratios(&results).try_into().expect("one goal");
    assert_eq!((ratio.median, ratio.reached), (14.5, Some(false)));
}

#[test]
fn a_round_that_failed_is_left_out_of_the_ratio_only() {
    let mut results = results(
        "udp_mpps",
        &[
            ("nft", &[(1.0, false), (2.0, false)]),
            ("dr", &[(3.0, false), (5.0, false)]),
        ],
        &[],
    );
    results.cells[0].numbers.clear();
    let [ratio] = ratios(&results).try_into().expect("one goal");
    assert_eq!(ratio.rounds, [2.5]);
    let dr = summaries(&results)
        .into_iter()
        .find(|one| one.contender == "dr");
    assert_eq!(
        dr.map(|one| (one.median, one.range)),
        Some((4.0, [3.0, 5.0]))
    );
}

#[test]
fn other_links_are_held_against_the_default_and_builds_against_each_other() {
    let one: &[(f64, bool)] = &[(2.0, false)];
    let four: &[(f64, bool)] = &[(8.0, false)];
    let links = results(
        "udp_mpps",
        &[("nft", one), ("dr", one), ("dr+tun", four)],
        &[],
    );
    let named = |ratio: &Ratio| (ratio.ours.clone(), ratio.peer.clone(), ratio.median);
    let found: Vec<_> = ratios(&links).iter().map(named).collect();
    let expected = [("dr", "nft", 1.0), ("dr+tun", "dr", 4.0)];
    assert_eq!(
        found,
        expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c))
    );
    let builds = results(
        "udp_mpps",
        &[("dr+tun@a", one), ("dr+tun@b", four)],
        &["a", "b"],
    );
    let found: Vec<_> = ratios(&builds).iter().map(named).collect();
    assert_eq!(found, [("dr+tun@b".to_owned(), "dr+tun@a".to_owned(), 4.0)]);
    assert!(is_ours("nat+tun@x") && !is_ours("direct"));
}

#[test]
fn calls_noise_what_is_not_like_the_best_of_the_run() {
    let canary = |work_ms, waited, probe_mpps| Canary {
        work_ms,
        waited,
        probe_mpps,
    };
    let looks = [
        canary(100.0, 0.01, 0.90),
        canary(114.0, 0.05, 0.68),
        canary(116.0, 0.01, 0.90),
        canary(100.0, 0.06, 0.90),
        canary(100.0, 0.01, 0.67),
    ];
    let verdicts = judge(&looks);
    assert_eq!(verdicts[..2], [None, None]);
    for (verdict, part) in verdicts[2..]
        .iter()
        .zip(["1.16 x as long", "6 %", "0.74 x as much"])
    {
        let text = verdict.as_deref().unwrap_or_default();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_axis_has_a_few_round_numbers() {
    for (most, digits, expected) in [
        (0.93, 3, 0.5),
        (41.0, 2, 20.0),
        (30_000.0, 0, 10_000.0),
        (2.0, 0, 1.0),
    ] {
        assert_eq!(step(most, digits), expected, "{most}");
    }
    assert_eq!(axis(41.0, 44.0, 0).matches("<text").count(), 3);
}
