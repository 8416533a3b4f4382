//! What a run of the lab found, as its JSON has it: every plot, table and comparison is made from this alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that one `ulvs lab run` found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Of this form: 1.
    pub version: u32,
    /// The command that gives the same again.
    pub command: String,
    /// Seed of all randomness.
    pub seed: u64,
    /// Independent repeats of each scenario with each scheduler.
    pub repeats: u32,
    /// In the order in which they were run.
    pub scenarios: Vec<ScenarioResults>,
}

/// What one scenario found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioResults {
    /// Its name; points of one sweep have the same.
    pub name: String,
    /// One sentence about it.
    pub summary: String,
    /// Where in a sweep this is: p99 against load, remapped against removed.
    pub point: Option<Point>,
    /// Its real servers as it begins.
    pub servers: Vec<ServerRow>,
    /// What happened when, for plots over time.
    pub marks: Vec<Mark>,
    /// One for each scheduler, in the scenario's order.
    pub schedulers: Vec<SchedulerResults>,
}

/// A point of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What is swept: `load`, `removed`, `directors`.
    pub axis: String,
    /// Its value here.
    pub value: f64,
}

/// A real server as a scenario begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerRow {
    /// `rs1`, ...
    pub name: String,
    /// `-w`.
    pub weight: u32,
    /// Work that it does in a second.
    pub speed: f64,
}

/// Something that happened to the real servers or directors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// When, seconds of virtual time.
    pub at: f64,
    /// What, in a few words: `rs3 removed`.
    pub label: String,
}

/// What one scheduler did in one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SchedulerResults {
    /// Name and flags as typed: `wlc`, `sh -b sh-port`; those that kernel IPVS does not have end in `*`.
    pub name: String,
    /// By the name of a [`Metric`]; one that does not apply is left out.
    pub metrics: BTreeMap<String, Estimate>,
    /// Share of connections (0 to 1) whose sojourn time was at most so many seconds; all repeats together.
    pub sojourn: Vec<(f64, f64)>,
    /// Imbalance (coefficient of variation of load against weight) at times in seconds; the first repeat.
    pub imbalance: Vec<(f64, f64)>,
    /// Jain index of connections against weight over the first so many decisions; mean of all repeats.
    pub fairness: Vec<(u64, f64)>,
    /// What each real server got, in the order of [`ScenarioResults::servers`], then those added later; mean of all repeats.
    pub per_server: Vec<ServerShare>,
}

/// What one real server got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerShare {
    /// Connections.
    pub connections: f64,
    /// Packets of clients.
    pub packets: f64,
    /// Work, seconds of a server of speed 1.
    pub work: f64,
}

/// A mean over the repeats, with its 95 % confidence interval (Student's t).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Half the width of the interval: the mean of all repeats that could be made is in `mean ± half`, with 95 %.
    /// One repeat has no interval: nobody knows how much of its value is chance.
    pub half: Option<f64>,
    /// Least of the repeats.
    pub least: f64,
    /// Most of the repeats.
    pub most: f64,
}

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Less,
    /// More is better.
    More,
    /// It only says what happened.
    Neither,
}

/// A number that the lab takes of each scheduler in each scenario.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name in JSON and CSV.
    pub name: &'static str,
    /// Title in tables and plots.
    pub title: &'static str,
    /// Unit: `s`, `ns`, `octets`, `connections`, or nothing for a ratio.
    pub unit: &'static str,
    /// Which way it gets better.
    pub better: Better,
    /// What it is, one sentence.
    pub summary: &'static str,
}

const fn metric(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
    summary: &'static str,
) -> Metric {
    Metric {
        name,
        title,
        unit,
        better,
        summary,
    }
}

/// Every metric, in the order of tables.
pub const METRICS: &[Metric] = &[
    metric(
        "sojourn_p50",
        "sojourn p50",
        "s",
        Better::Less,
        "Half of the connections were done in this time.",
    ),
    metric(
        "sojourn_p99",
        "sojourn p99",
        "s",
        Better::Less,
        "99 % of the connections were done in this time.",
    ),
    metric(
        "sojourn_p999",
        "sojourn p99.9",
        "s",
        Better::Less,
        "99.9 % of the connections were done in this time.",
    ),
    metric(
        "sojourn_mean",
        "sojourn mean",
        "s",
        Better::Less,
        "Mean time from a connection's first packet until its work is done.",
    ),
    metric(
        "slowdown_p50",
        "slowdown p50",
        "",
        Better::Less,
        "Half of the connections took at most so many times what they would have taken alone on the server.",
    ),
    metric(
        "slowdown_p99",
        "slowdown p99",
        "",
        Better::Less,
        "99 % of the connections took at most so many times what they would have taken alone on the server.",
    ),
    metric(
        "slowdown_p999",
        "slowdown p99.9",
        "",
        Better::Less,
        "99.9 % of the connections took at most so many times what they would have taken alone on the server.",
    ),
    metric(
        "connections_max",
        "connections max/mean",
        "",
        Better::Less,
        "Connections of the server that had most for its weight, against the mean.",
    ),
    metric(
        "connections_cv",
        "connections CV",
        "",
        Better::Less,
        "Coefficient of variation of connections for weight.",
    ),
    metric(
        "connections_jain",
        "connections Jain",
        "",
        Better::More,
        "Jain's fairness index of connections for weight, 1 = fair.",
    ),
    metric(
        "packets_max",
        "packets max/mean",
        "",
        Better::Less,
        "Packets of the server that had most for its weight, against the mean.",
    ),
    metric(
        "packets_cv",
        "packets CV",
        "",
        Better::Less,
        "Coefficient of variation of packets for weight.",
    ),
    metric(
        "packets_jain",
        "packets Jain",
        "",
        Better::More,
        "Jain's fairness index of packets for weight.",
    ),
    metric(
        "work_max",
        "work max/mean",
        "",
        Better::Less,
        "Work of the server that had most for its weight, against the mean.",
    ),
    metric(
        "work_cv",
        "work CV",
        "",
        Better::Less,
        "Coefficient of variation of work for weight.",
    ),
    metric(
        "work_jain",
        "work Jain",
        "",
        Better::More,
        "Jain's fairness index of work for weight.",
    ),
    metric(
        "overprovision",
        "overprovision",
        "",
        Better::Less,
        "How many times the capacity is needed so that the busiest server is not above the mean: time-averaged largest load for weight, against that of all servers together.",
    ),
    metric(
        "remapped",
        "remapped flows",
        "connections",
        Better::Less,
        "Flows of the latest clients that a director without their connections gives another server after the change.",
    ),
    metric(
        "remapped_least",
        "least possible",
        "connections",
        Better::Neither,
        "Flows that any scheduler had to move: those of servers that went, or the share of those that came.",
    ),
    metric(
        "broken",
        "broken connections",
        "connections",
        Better::Less,
        "Live connections whose packets reached another server or none.",
    ),
    metric(
        "cache_hits",
        "cache hits",
        "",
        Better::More,
        "Share of requests for a destination that went to a server which has it: each holds twice its even part, the latest (lblc, lblcr).",
    ),
    metric(
        "refused",
        "refused",
        "",
        Better::Less,
        "Share of connections for which there was no server.",
    ),
    metric(
        "disagreement",
        "disagreement",
        "",
        Better::Less,
        "Share of flows for which two directors would pick different servers.",
    ),
    metric(
        "connections",
        "connections",
        "connections",
        Better::Neither,
        "Connections that were scheduled.",
    ),
];

/// The metric of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// What a decision costs, measured on the real code by `ulvs lab cost`. Not part of [`Results`]: it differs from run to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// As [`SchedulerResults::name`].
    pub scheduler: String,
    /// Real servers of the service.
    pub servers: u32,
    /// Connections that were live.
    pub connections: u32,
    /// A new connection's decision, nanoseconds: median of samples of many decisions each.
    pub decision_ns: f64,
    /// Memory of the scheduler's state, octets, but for what the allocator adds.
    pub state_octets: u64,
    /// Taking up a real server's new weight, microseconds: from the command to the end of the next decision, median.
    pub build_us: f64,
}
