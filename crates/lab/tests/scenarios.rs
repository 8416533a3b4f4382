//! Scenario files: what is wrong with one is said in a sentence, and no file makes the lab panic or run without end.

use lab::scenario::{self, Scenario};
use proptest::prelude::*;

/// A scenario with something of everything.
const TEXT: &str = r#"name = "test"
summary = "A test."
duration = 100.0
warmup = 10.0
schedulers = ["wlc", "sh -b sh-port"]

[service]
protocol = "tcp"
persistent = 0
vips = 1

[[servers]]
count = 8
weight = 2
speed = 1.5

[[servers]]
count = 8
discipline = "fcfs"
upper_threshold = 100
lower_threshold = 50
churn = { mtbf = 50.0, mttr = 5.0 }

[arrivals]
kind = "poisson"
load = 0.7

[[connections]]
share = 9
work = { kind = "exponential", mean = 0.05 }

[[connections]]
work = { kind = "lognormal", mean = 0.1, sigma = 1.0 }
linger = { kind = "bounded-pareto", shape = 1.5, least = 1.0, most = 60.0 }
packets = 20

[clients]
kind = "zipf"
count = 1000
exponent = 1.0

[[events]]
action = "remove"
at = 50.0
count = 2

[[events]]
action = "weight"
at = 60.0
server = 3
weight = 0

[directors]
count = 2
shared = false

[syn_flood]
rate = 100.0
from = 20.0
until = 30.0

[sweep]
of = "load"
values = [0.5, 0.6, 0.9]
"#;

/// The scenario with one piece of its text replaced.
fn with(old: &str, new: &str) -> String {
    assert_eq!(TEXT.matches(old).count(), 1, "{old} is there once");
    TEXT.replace(old, new)
}

fn refusal(text: &str) -> String {
    match scenario::read("s.toml", text) {
        Ok(_) => panic!("it was read:\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused(old: &str, new: &str, sentence: &str) {
    assert_eq!(refusal(&with(old, new)), sentence);
}

#[test]
fn what_is_written_is_read() {
    let scenario: Scenario = scenario::read("s.toml", TEXT).expect("it is good");
    assert_eq!(scenario.servers.len(), 2);
    assert_eq!(scenario.capacity(), 20.0);
    assert!((scenario.mean_work() - 0.055).abs() < 1e-12);
    assert!((scenario.rate().expect("an open loop") - 0.7 * 20.0 / 0.055).abs() < 1e-9);
    let points = scenario.points();
    let loads: Vec<_> = points.iter().map(|(_, point)| point.load()).collect();
    assert_eq!(points.len(), 3);
    for (load, expected) in loads.into_iter().zip([0.5, 0.6, 0.9]) {
        assert!((load.expect("an open loop") - expected).abs() < 1e-12);
    }
}

#[test]
fn keys_that_there_are_not_are_named_with_those_that_there_are() {
    refused(
        "warmup = 10.0",
        "warmpu = 10.0",
        "s.toml:4: `warmpu = 10.0`: there is no key `warmpu`, did you mean `warmup`?",
    );
    refused(
        "load = 0.7",
        "lod = 0.7",
        "s.toml:26: `lod = 0.7`: there is no key `lod`, did you mean `load`?",
    );
    refused(
        "exponent = 1.0",
        "skew = 1.0",
        "s.toml:40: `skew = 1.0`: there is no key `skew`, the keys here are count, exponent",
    );
    refused(
        "server = 3",
        "sever = 3",
        "s.toml:50: `sever = 3`: there is no key `sever`, did you mean `server`?",
    );
}

/// What is replaced, by what, what is said.
const TYPES: &[(&str, &str, &str)] = &[
    (
        "count = 8\nweight = 2",
        "count = \"8\"\nweight = 2",
        "s.toml:13: `count = \"8\"`: invalid type: string \"8\", expected a whole number from 0 to 4294967295",
    ),
    (
        "load = 0.7",
        "load = \"0.7\"",
        "s.toml:26: `load = \"0.7\"`: invalid type: string \"0.7\", expected a number",
    ),
    (
        "server = 3",
        "server = -3",
        "s.toml:50: `server = -3`: invalid value: integer `-3`, expected a whole number from 0 to 4294967295",
    ),
    (
        "server = 3",
        "server = 3.5",
        "s.toml:50: `server = 3.5`: invalid type: floating point `3.5`, expected a whole number from 0 to 4294967295",
    ),
    (
        "kind = \"poisson\"",
        "kind = \"poison\"",
        "s.toml:25: `kind = \"poison\"`: unknown variant `poison`, expected one of `poisson`, `bursty`, `closed`, `trace`",
    ),
    (
        "exponent = 1.0\n",
        "",
        "s.toml:37: `[clients]`: the key `exponent` is missing here",
    ),
    (
        "duration = 100.0",
        "duration = ",
        "s.toml:3: `duration =`: string values must be quoted, expected literal string",
    ),
    (
        "duration = 100.0\n",
        "",
        "s.toml:1: `name = \"test\"`: the key `duration` is missing here",
    ),
    (
        "discipline = \"fcfs\"",
        "discipline = \"fifo\"",
        "s.toml:19: `discipline = \"fifo\"`: unknown variant `fifo`, expected `ps` or `fcfs`",
    ),
];

#[test]
fn values_of_another_type_are_named() {
    for (old, new, sentence) in TYPES {
        refused(old, new, sentence);
    }
}

/// What is replaced, by what, what is said.
const BOUNDS: &[(&str, &str, &str)] = &[
    (
        "duration = 100.0",
        "duration = nan",
        "s.toml:3: `duration = nan`: `duration` NaN is not possible: it is more than 0, and at most 1000000",
    ),
    (
        "duration = 100.0",
        "duration = inf",
        "s.toml:3: `duration = inf`: `duration` inf is not possible: it is more than 0, and at most 1000000",
    ),
    (
        "duration = 100.0",
        "duration = -1",
        "s.toml:3: `duration = -1`: `duration` -1 is not possible: it is more than 0, and at most 1000000",
    ),
    (
        "warmup = 10.0",
        "warmup = 100",
        "s.toml:4: `warmup = 100`: nothing would be counted: it is from 0 to less than `duration`, 100",
    ),
    (
        "summary = \"A test.\"",
        "summary = \"\"",
        "s.toml:2: `summary = \"\"`: a summary is one line of 1 to 300 octets",
    ),
    (
        "name = \"test\"",
        "name = \"../x\"",
        "s.toml:1: `name = \"../x\"`: a name has 1 to 40 small letters, digits and dashes",
    ),
    (
        "\"wlc\"",
        "\"wlcc\"",
        "s.toml:5: `schedulers = [\"wlcc\", \"sh -b sh-port\"]`: scheduler \"wlcc\": there is no scheduler \"wlcc\", only rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh, twos, random, p2c, bounded, maglev",
    ),
    (
        "\"wlc\"",
        "\"wlc -b sh-port\"",
        "s.toml:5: `schedulers = [\"wlc -b sh-port\", \"sh -b sh-port\"]`: scheduler \"wlc -b sh-port\": \"sh-port\" is not a flag of wlc, which has none",
    ),
    (
        "\"wlc\"",
        "\"sh  -b sh-port\"",
        "s.toml:5: `schedulers = [\"sh  -b sh-port\", \"sh -b sh-port\"]`: scheduler \"sh -b sh-port\": it is there twice; leave one out",
    ),
    (
        "load = 0.7",
        "load = -1",
        "s.toml:26: `load = -1`: `load` -1 is not possible: it is more than 0, and less than 1",
    ),
    (
        "load = 0.7",
        "load = inf",
        "s.toml:26: `load = inf`: `load` inf is not possible: it is more than 0, and less than 1",
    ),
    (
        "vips = 1",
        "vips = 100000",
        "s.toml:10: `vips = 100000`: `vips` 100000 is not possible: it is from 0 to 16384",
    ),
    (
        "count = 8\nweight = 2",
        "count = 0\nweight = 2",
        "s.toml:13: `count = 0`: `count` 0 is not possible: it is from 1 to 16384",
    ),
    (
        "count = 8\nweight = 2",
        "count = 100000\nweight = 2",
        "s.toml:13: `count = 100000`: `count` 100000 is not possible: it is from 1 to 16384",
    ),
    (
        "weight = 2",
        "weight = 70000",
        "s.toml:14: `weight = 70000`: `weight` 70000 is not possible: it is from 0 to 65535",
    ),
    (
        "speed = 1.5",
        "speed = 0",
        "s.toml:15: `speed = 0`: `speed` 0 is not possible: it is more than 0, and at most 1000000",
    ),
    (
        "lower_threshold = 50",
        "lower_threshold = 101",
        "s.toml:21: `lower_threshold = 101`: the lower threshold is at most the upper one, which is 100",
    ),
    (
        "mtbf = 50.0",
        "mtbf = -50.0",
        "s.toml:22: `churn = { mtbf = -50.0, mttr = 5.0 }`: `mtbf` -50 is not possible: it is more than 0, and at most 1000000",
    ),
    (
        "mtbf = 50.0, mttr = 5.0",
        "mtbf = 1e-9, mttr = 1e-9",
        "s.toml:22: `churn = { mtbf = 1e-9, mttr = 1e-9 }`: that is 400000000000 failures: at most 1000000",
    ),
    (
        "load = 0.7",
        "load = 1.2",
        "s.toml:26: `load = 1.2`: that is load 1.2: 436.4 connections a second of 0.055 s each are 24 s of work a second, and the real servers do 20, so queues would grow without end; stay below 1, add real servers, or use kind = \"closed\"",
    ),
    (
        "load = 0.7",
        "rate = 500",
        "s.toml:26: `rate = 500`: that is load 1.375: 500 connections a second of 0.055 s each are 27.5 s of work a second, and the real servers do 20, so queues would grow without end; stay below 1, add real servers, or use kind = \"closed\"",
    ),
    (
        "load = 0.7",
        "load = 0.7\nrate = 5",
        "s.toml:24: `[arrivals]`: Poisson arrivals have either `load`, the share of the capacity that is asked for, or `rate`, connections a second",
    ),
    (
        "mean = 0.05",
        "mean = 0",
        "s.toml:30: `work = { kind = \"exponential\", mean = 0 }`: `mean` 0 is not possible: it is more than 0, and at most 1000000",
    ),
    (
        "sigma = 1.0",
        "sigma = 40",
        "s.toml:33: `work = { kind = \"lognormal\", mean = 0.1, sigma = 40 }`: `sigma` 40 is not possible: it is from 0 to 5",
    ),
    (
        "least = 1.0",
        "least = 60.0",
        "s.toml:34: `linger = { kind = \"bounded-pareto\", shape = 1.5, least = 60.0, most = 60.0 }`: the lower bound is below the upper one, 60, and at least 1e-9 of it",
    ),
    (
        "packets = 20",
        "packets = 20000",
        "s.toml:35: `packets = 20000`: `packets` 20000 is not possible: it is from 0 to 10000",
    ),
    (
        "share = 9",
        "share = -9",
        "s.toml:29: `share = -9`: `share` -9 is not possible: it is more than 0, and at most 1000000",
    ),
    (
        "count = 1000\n",
        "count = 10000000\n",
        "s.toml:39: `count = 10000000`: `count` 10000000 is not possible: it is from 1 to 1000000",
    ),
    (
        "at = 50.0",
        "at = 100.0",
        "s.toml:44: `at = 100.0`: nothing happens then: a run goes from 0 to `duration`, 100",
    ),
    (
        "at = 50.0\ncount = 2",
        "at = 50.0\ncount = 16",
        "s.toml:45: `count = 16`: there are 16 real servers then, and one at least remains: 1 to 15",
    ),
    (
        "server = 3",
        "server = 17",
        "s.toml:50: `server = 17`: there is no real server 17: they are numbered from 1 to 16",
    ),
    (
        "count = 2\nshared",
        "count = 0\nshared",
        "s.toml:54: `count = 0`: `count` 0 is not possible: it is from 1 to 256",
    ),
    (
        "count = 2\nshared",
        "count = 1000\nshared",
        "s.toml:54: `count = 1000`: `count` 1000 is not possible: it is from 1 to 256",
    ),
    (
        "until = 30.0",
        "until = 10.0",
        "s.toml:60: `until = 10.0`: a flood ends after it has begun, at 20, and at the end of the run at the latest, at 100",
    ),
    (
        "rate = 100.0",
        "rate = 1e8",
        "s.toml:58: `rate = 1e8`: that is about 1000025455 connections: at most 100000000; shorten `duration`, or make the work of each longer",
    ),
    (
        "of = \"load\"",
        "of = \"removed\"",
        "s.toml:64: `values = [0.5, 0.6, 0.9]`: `values` 0.5 is not possible: it is from 1 to 16384",
    ),
    (
        "values = [0.5, 0.6, 0.9]",
        "values = [0.5, 1.5]",
        "s.toml:64: `values = [0.5, 1.5]`: with 1.5 here: that is load 1.5: 545.5 connections a second of 0.055 s each are 30 s of work a second, and the real servers do 20, so queues would grow without end; stay below 1, add real servers, or use kind = \"closed\"",
    ),
    (
        "values = [0.5, 0.6, 0.9]",
        "values = []",
        "s.toml:64: `values = []`: a sweep has 1 to 64 values, not 0",
    ),
    (
        "protocol = \"tcp\"",
        "protocol = \"tcp\"\none_packet = true",
        "s.toml:9: `one_packet = true`: one-packet scheduling is for UDP: set protocol = \"udp\", or leave this out",
    ),
    (
        "protocol = \"tcp\"",
        "protocol = \"udp\"",
        "s.toml:57: `[syn_flood]`: UDP has no SYN: leave [syn_flood] out, or set protocol = \"tcp\"",
    ),
];

#[test]
fn numbers_out_of_bounds_are_named_with_the_bounds() {
    for (old, new, sentence) in BOUNDS {
        refused(old, new, sentence);
    }
}

/// A line with one of its values replaced by another one that a file may have.
fn changed(line: &str, value: &str) -> String {
    match line.split_once(" = ") {
        Some((key, _)) => format!("{key} = {value}"),
        None => format!("{line}\n{value}"),
    }
}

const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "1e300",
    "1e-300",
    "nan",
    "inf",
    "-0.0",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "65535",
    "\"\"",
    "\"x.1.y\"",
    "true",
    "[]",
    "{}",
    "{ kind = \"deterministic\", mean = 1e-300 }",
    "{ kind = \"bounded-pareto\", shape = 100, least = 1e-3, most = 1e6 }",
    "1979-05-27",
    "[[",
    "\"udp\"",
    "\"directors\"",
    "\"nat\"",
];

#[test]
fn shipped_scenarios_are_good_and_small() {
    let mut together = 0.0;
    for (file, text) in scenario::SHIPPED {
        let scenario = scenario::read(file, text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(*file, format!("{}.toml", scenario.name));
        assert!(scenario.summary.ends_with(['.', '?']), "{file}: a sentence");
        for (_, point) in scenario.points() {
            let plan = lab::workload::Plan::new(&point).expect("it was checked");
            let mut workload = plan.start(1, 0);
            let mut count = 0.0;
            while let Some(arrival) = workload.next() {
                count += 1.0;
                if !arrival.is_flood {
                    // All are done after a while, with users who think.
                    let end = arrival.at + core::time::Duration::from_millis(200);
                    workload.done(&arrival, end);
                }
            }
            assert!((4_000.0..60_000.0).contains(&count), "{file}: {count}");
            together += count;
        }
    }
    // What `--all --quick` has time for: see docs/SCHEDULERS.md.
    assert!(together < 1_200_000.0, "{together} connections");
    println!("{together} connections");
}

/// Whatever is read begins and goes on.
fn survives(text: &str) {
    let Ok(scenario) = scenario::read("s.toml", text) else {
        return;
    };
    for (_, point) in scenario.points() {
        let plan = lab::workload::Plan::new(&point).expect("it was checked");
        let mut workload = plan.start(1, 0);
        for _ in 0..200 {
            let Some(at) = workload.peek() else {
                break;
            };
            let arrival = workload.next().expect("what was promised");
            assert!(arrival.at == at && arrival.work.is_finite() && arrival.work >= 0.0);
            if !arrival.is_flood {
                workload.done(&arrival, at);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        survives(&text);
    }

    #[test]
    fn any_change_of_a_scenario_is_read_or_refused(
        changes in prop::collection::vec((0..TEXT.lines().count(), prop::sample::select(VALUES)), 1..4),
        cut in 0..TEXT.len() * 2,
    ) {
        let lines = TEXT.lines().enumerate().map(|(index, line)| {
            let mut found = changes.iter().filter(|(at, _)| *at == index);
            found.next().map_or_else(|| line.to_owned(), |(_, value)| changed(line, value))
        });
        let mut text = lines.collect::<Vec<_>>().join("\n");
        text.truncate(cut);
        survives(&text);
    }
}
